// What the bench reads: pgbench's summaries and logs, /proc, a server's answer to a log-in.

import t from 'tap';
import { parseStat, residentKb, treeCpuMs, treeResidentKb } from '../../../bench/cpu.js';
import {
  latencyPercentiles,
  parseLog,
  parseSummary,
  pgbenchArguments,
  summaryProblem,
} from '../../../bench/pgbench.js';
import { readLogin, startupPacket } from '../../../bench/plain-client.js';

const onceConnected = `pgbench (15.18 (Debian 15.18-0+deb12u1), server 18.4)
transaction type: <builtin: select only>
scaling factor: 5
query mode: simple
number of clients: 16
number of threads: 2
maximum number of tries: 1
duration: 2 s
number of transactions actually processed: 66567
number of failed transactions: 0 (0.000%)
latency average = 0.480 ms
initial connection time = 60.187 ms
tps = 33290.219533 (without initial connection time)
`;

const connectedEachTime = `transaction type: <builtin: select only>
number of transactions actually processed: 493/493
number of failed transactions: 0 (0.000%)
latency average = 65.464 ms
average connection time = 8.084 ms
tps = 244.409331 (including reconnection times)
`;

void t.test('a summary of clients that stay connected gives rate, count and latency', (t) => {
  t.strictSame(parseSummary(onceConnected), {
    transactions: 66567,
    failedTransactions: 0,
    transactionsPerS: 33290.219533,
    latencyMs: 0.48,
    connectMs: undefined,
  });
  t.end();
});

void t.test('a summary of a connection per transaction gives the time to connect as well', (t) => {
  const summary = parseSummary(connectedEachTime);
  t.equal(summary.transactionsPerS, 244.409331);
  t.equal(summary.connectMs, 8.084);
  t.equal(summary.transactions, 493);
  t.end();
});

void t.test('what is not a summary is an error that shows it', (t) => {
  t.throws(() => parseSummary('pgbench: error: connection failed'), /no summary.*connection failed/s);
  const old = onceConnected.replace('without initial connection time', 'excluding connections establishing');
  t.throws(() => parseSummary(old), /version 14/);
  const idle = 'number of transactions actually processed: 0\nnumber of failed transactions: 0 (NaN%)\n';
  t.throws(() => parseSummary(idle), /no transaction/);
  t.end();
});

void t.test(
  'a run that ended with 0 is a failure all the same when transactions failed or errors were printed',
  (t) => {
    const summary = parseSummary(onceConnected);
    t.equal(summaryProblem(summary, ''), undefined);
    t.equal(summaryProblem(summary, 'pgbench (15.18, server 18.4)'), undefined);
    t.match(summaryProblem({ ...summary, failedTransactions: 3 }, 'why'), /^3 transactions failed\nwhy/);
    t.equal(summaryProblem(summary, 'noise\npgbench: error: client 3 aborted'), 'pgbench: error: client 3 aborted');
    t.match(summaryProblem(summary, 'FATAL:  no more connections allowed'), /no more connections/);
    t.end();
  },
);

void t.test('a log gives the latency of each transaction that ran, leaving out those skipped or failed', (t) => {
  const log =
    '0 1 412 0 1767225600 100 7\n1 1 skipped 0 1767225600 200 9\n1 2 380 0 1767225600 300 2\n2 1 failed 0 1 2\n';
  t.strictSame(parseLog(log), [412, 380]);
  t.strictSame(parseLog(''), []);
  t.end();
});

void t.test('percentiles are taken by nearest rank and turned from microseconds into milliseconds', (t) => {
  const latencies = Array.from({ length: 1_000 }, (_, i) => 1_000 * (1_000 - i));
  t.strictSame(latencyPercentiles(latencies), { p50Ms: 500, p99Ms: 990, p999Ms: 999 });
  t.strictSame(latencyPercentiles([2_500]), { p50Ms: 2.5, p99Ms: 2.5, p999Ms: 2.5 });
  t.throws(() => latencyPercentiles([]), /no transaction/);
  t.end();
});

void t.test('pgbench is told of a rate and a log only for a run at a fixed rate', (t) => {
  const run = {
    script: 'select-only',
    protocol: 'prepared',
    clients: 1,
    seconds: 2,
    connect: 'once',
    tls: 'disable',
  } as const;
  const paths = { logPrefix: '/log', scriptPath: '/script.sql' };
  const plain = pgbenchArguments(run, paths);
  t.ok(plain.includes('--builtin=select-only'));
  t.ok(plain.includes('--protocol=prepared') && plain.includes('--jobs=1') && plain.includes('--time=2'));
  t.notOk(plain.some((word) => /rate|log|connect/.test(word)));
  const paced = pgbenchArguments({ ...run, perSecond: 5_000, connect: 'per-transaction' }, paths);
  for (const word of ['--rate=5000', '--log', '--log-prefix=/log', '--connect']) t.ok(paced.includes(word), word);
  const own = pgbenchArguments({ ...run, script: 'set-once' }, paths);
  t.ok(own.includes('--file=/script.sql') && own.includes('--define=first=1'));
  t.notOk(own.some((word) => word.startsWith('--builtin')));
  t.end();
});

void t.test('the time of a process counts its own and that of children it has waited for', (t) => {
  const stat = '4242 (a) odd (name) S 17 4242 4242 0 -1 4194560 900 70 0 0 100 20 3 4 20 0 1 0 555 1000 200 1844\n';
  t.strictSame(parseStat(stat), { pid: 4242, parentPid: 17, ticks: 127 });
  t.equal(parseStat(''), undefined);
  t.equal(parseStat('12 (short) S 1 2'), undefined);
  t.end();
});

void t.test('resident memory is read in kB, and a process without any has none', (t) => {
  t.equal(residentKb('Name:\tx\nVmRSS:\t   20480 kB\nRssAnon:\t 1 kB\n'), 20_480);
  t.equal(residentKb('Name:\tkthreadd\n'), undefined);
  t.end();
});

void t.test(
  'this very process has used time and memory, and one that does not exist has not',
  { skip: process.platform !== 'linux' },
  async (t) => {
    t.ok((treeCpuMs(process.pid) ?? 0) > 0);
    t.ok((treeResidentKb(process.pid) ?? 0) > 10_000);
    const noSuchPid = 2 ** 30;
    t.equal(treeCpuMs(noSuchPid), undefined);
    t.equal(treeResidentKb(noSuchPid), undefined);
  },
);

void t.test('a log-in is done at ReadyForQuery, however its bytes are split', (t) => {
  const trusted = Buffer.concat([
    frame('R', int32(0)),
    frame('S', text('a', 'b')),
    frame('K', int32(1), int32(2)),
    frame('Z', Buffer.from('I')),
  ]);
  for (let cut = 0; cut < trusted.length; cut++) t.equal(readLogin(trusted.subarray(0, cut)).kind, 'more');
  t.equal(readLogin(trusted).kind, 'ready');
  t.end();
});

void t.test('a log-in that is refused, or wants a password, or makes no sense says so', (t) => {
  const refusal = frame('E', text('SFATAL', 'C53300', 'Mno more connections allowed'), Buffer.from([0]));
  t.strictSame(readLogin(refusal), { kind: 'refused', why: 'no more connections allowed' });
  t.match(readLogin(frame('R', int32(10))), { kind: 'refused', why: /password/ });
  t.match(readLogin(Buffer.concat([Buffer.from('Z'), int32(3), int32(0)])), { kind: 'refused', why: /impossible/ });
  t.end();
});

void t.test('a startup packet names its own length, the protocol, the user and the database', (t) => {
  const packet = startupPacket('me', 'mine');
  t.equal(packet.readInt32BE(0), packet.length);
  t.equal(packet.readInt32BE(4), 3 << 16);
  t.equal(packet.subarray(8).toString(), 'user\0me\0database\0mine\0\0');
  t.end();
});

function frame(tag: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(tag), int32(body.length + 4), body]);
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function text(...strings: readonly string[]): Buffer {
  return Buffer.from(strings.map((string) => `${string}\0`).join(''));
}
