// What the bench makes of its figures, in which order it takes them, and what it tells the two poolers.

import t from 'tap';
import { historySvg, type PastRun, readRun } from '../../../bench/history.js';
import { pgbouncerFiles, prepareRefusal, weirToml } from '../../../bench/pooler-config.js';
import { byRound, report } from '../../../bench/report.js';
import { failed, type Metrics, measured, type Outcome, type Sample } from '../../../bench/samples.js';
import { rotate } from '../../../bench/schedule.js';
import { median, pairByRound, percentile, summarise } from '../../../bench/statistics.js';
import { longClientCounts, usualClientCounts, type Work, workTable } from '../../../bench/works.js';
import { loadConfig } from '../../../lib/config/index.js';
import { Secret } from '../../../lib/util/index.js';

void t.test('a median is the middle value, or the mean of the two in the middle', (t) => {
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([4, 1, 10, 2]), 3);
  t.equal(median([7]), 7);
  t.ok(Number.isNaN(median([])));
  t.end();
});

void t.test('a summary holds the median, the extremes and the median deviation', (t) => {
  t.strictSame(summarise([10, 12, 11, 100, 9]), { rounds: 5, median: 11, min: 9, max: 100, mad: 1 });
  t.equal(summarise([]), undefined);
  t.end();
});

void t.test('percentiles at the ends are the first and the last value', (t) => {
  const sorted = [1, 2, 3, 4];
  t.equal(percentile(sorted, 0), 1);
  t.equal(percentile(sorted, 0.5), 2);
  t.equal(percentile(sorted, 1), 4);
  t.ok(Number.isNaN(percentile([], 0.5)));
  t.end();
});

void t.test('ratios are taken within a round, and rounds that one side lacks are left out', (t) => {
  const ours = new Map([
    [0, 20],
    [1, 60],
    [2, 5],
  ]);
  const theirs = new Map([
    [0, 10],
    [1, 20],
    [3, 1],
  ]);
  t.strictSame(
    pairByRound(ours, theirs, (a, b) => a / b),
    [2, 3],
  );
  t.strictSame(
    pairByRound(ours, new Map([[0, 0]]), (a, b) => a / b),
    [],
  );
  t.end();
});

void t.test('each target goes first equally often', (t) => {
  const names = ['direct', 'pgbouncer', 'weir'];
  t.strictSame(
    [0, 1, 2, 3].map((round) => rotate(names, round)[0]),
    ['direct', 'pgbouncer', 'weir', 'direct'],
  );
  t.strictSame(rotate(names, 1), ['pgbouncer', 'weir', 'direct']);
  t.strictSame(rotate([], 4), []);
  t.end();
});

void t.test('the work table has no name twice and covers every protocol, script and client count', (t) => {
  const works = workTable({ clientCounts: usualClientCounts, idleClients: 1_000 });
  t.equal(new Set(works.map((work) => work.name)).size, works.length);
  for (const script of ['select', 'tpcb']) {
    for (const protocol of ['simple', 'extended', 'prepared']) {
      for (const clients of usualClientCounts) {
        const name = `${script}/${protocol}/${clients}`;
        t.ok(
          works.some((work) => work.name === name),
          name,
        );
      }
    }
  }
  const long = workTable({ clientCounts: longClientCounts, idleClients: 1_000 });
  t.equal(long.length - works.length, 6);
  t.end();
});

const baselines = ['direct', 'pgbouncer'];
const [work, idle] = [workNamed('select/simple/16'), workNamed('memory/idle/1000')];

void t.test('the report shows medians, the median of the ratios by round, and the spread', (t) => {
  // The second round was three times slower for everybody: the ratio does not notice.
  const samples = [
    ...rounds('pgbouncer', [
      { transactionsPerS: 900, poolerCpuUs: 20 },
      { transactionsPerS: 300, poolerCpuUs: 60 },
    ]),
    ...rounds('weir', [
      { transactionsPerS: 1_350, poolerCpuUs: 10 },
      { transactionsPerS: 450, poolerCpuUs: 30 },
    ]),
  ];
  const text = report({ works: [work], targets: ['pgbouncer', 'weir'], baselines, samples });
  const line = lineOf(text, 'weir');
  t.match(line, /900 \(450\.\.1350\)/);
  t.match(line, /1\.50 \(1\.50\.\.1\.50\)/);
  t.match(line, /0\.50 \(0\.50\.\.0\.50\)/);
  t.notMatch(text, /FAILED|n\/a|\/ direct/);
  t.strictSame([...byRound(samples, work.name, 'weir', 'transactionsPerS').values()], [1_350, 450]);
  t.end();
});

void t.test('a failure is counted in its line, shown with its message, and takes part in no median', (t) => {
  const samples = [
    ...rounds('pgbouncer', [{ transactionsPerS: 100 }, { transactionsPerS: 100 }]),
    ...rounds('weir', [{ transactionsPerS: 200 }]),
    sample('weir', 1, failed('pgbench ended with 2\nFATAL: gone')),
  ];
  const text = report({ works: [work], targets: ['pgbouncer', 'weir'], baselines, samples });
  t.match(lineOf(text, 'weir'), /200 .*2\.00 .*1 of 2$/);
  t.match(text, /select\/simple\/16 on weir FAILED: pgbench ended with 2\n\s+FATAL: gone/);
  t.end();
});

void t.test('what does not apply is marked and explained, and a single round shows no spread', (t) => {
  const samples = [
    { ...sample('direct', 0, { kind: 'not-applicable', why: 'not a pooler' }), work: idle.name },
    { ...sample('weir', 0, measured({ heldKb: 7.5 })), work: idle.name },
  ];
  const text = report({ works: [idle], targets: ['direct', 'weir'], baselines, samples });
  t.match(lineOf(text, 'direct'), /n\/a$/);
  t.match(lineOf(text, 'weir'), /7\.50$/);
  t.match(text, /n\/a on direct: not a pooler \(memory\/idle\/1000\)/);
  t.end();
});

void t.test('a failure message is cut to a length that a results file can hold', (t) => {
  const outcome = failed('x'.repeat(5_000));
  t.equal(outcome.kind === 'failed' && outcome.message.length, 2_000 + ' [cut]'.length);
  t.end();
});

const settings = {
  port: 6432,
  serverConnections: 16,
  clientsMax: 2_000,
  certificate: { certificate: '/run/bench.crt', key: '/run/bench.key' },
  server: { host: '127.0.0.1', port: 5433, user: 'bench', database: 'bench', password: new Secret('pa"ss\\word') },
};
const pgbouncer = { ...settings, directory: '/run', version: 'PgBouncer 1.18.0' };

void t.test('weir accepts the configuration that is written for it, and means by it what PgBouncer is told', (t) => {
  const text = weirToml({ ...settings, metricsPort: 9_000, more: {} });
  const loaded = loadConfig('weir.toml', { env: {}, readFile: () => text });
  if (!loaded.ok) {
    t.fail(loaded.problems.map((problem) => problem.message).join('; '));
    t.end();
    return;
  }
  t.strictSame(loaded.warnings, []);
  const { weir, databases } = loaded.config;
  t.equal(weir.listen_port, 6432);
  t.equal(weir.default_pool_size, 16);
  t.equal(weir.max_client_conn, 2_000);
  t.equal(weir.pool_mode, 'transaction');
  t.equal(weir.auth_type, 'trust');
  t.equal(weir.client_tls_sslmode, 'allow');
  t.equal(databases.get('bench')?.dbname, 'bench');
  const ini = pgbouncerFiles(pgbouncer)[0]?.text ?? '';
  for (const line of [
    'listen_port = 6432',
    'default_pool_size = 16',
    'max_client_conn = 2000',
    'pool_mode = transaction',
    'auth_type = trust',
    'client_tls_sslmode = allow',
    'server_tls_sslmode = disable',
  ]) {
    t.ok(ini.split('\n').includes(line), line);
  }
  t.end();
});

void t.test('without a certificate neither pooler is told of TLS with clients', (t) => {
  const plain = { ...settings, certificate: undefined };
  t.notMatch(weirToml({ ...plain, metricsPort: 9_000, more: {} }), /client_tls/);
  t.notMatch(pgbouncerFiles({ ...pgbouncer, certificate: undefined })[0]?.text, /client_tls/);
  t.end();
});

void t.test('a further arrangement of weir adds its own settings', (t) => {
  t.match(weirToml({ ...settings, metricsPort: 9_000, more: { workers: 2 } }), /^workers = 2$/m);
  t.end();
});

void t.test('prepared statements are asked of PgBouncer from 1.21 on', (t) => {
  t.match(prepareRefusal('PgBouncer 1.18.0'), /1\.21/);
  t.match(prepareRefusal('PgBouncer 1.20.1'), /1\.21/);
  t.equal(prepareRefusal('PgBouncer 1.21.0'), undefined);
  t.equal(prepareRefusal('PgBouncer 1.25.2'), undefined);
  t.equal(prepareRefusal('PgBouncer 2.0.0'), undefined);
  t.match(prepareRefusal('unknown'), /prepared/);
  // An unknown setting would keep an older PgBouncer from starting.
  t.notMatch(pgbouncerFiles(pgbouncer)[0]?.text, /max_prepared_statements/);
  t.match(pgbouncerFiles({ ...pgbouncer, version: 'PgBouncer 1.21.0' })[0]?.text, /^max_prepared_statements = 200$/m);
  t.end();
});

function workNamed(name: string): Work {
  const found = workTable({ clientCounts: usualClientCounts, idleClients: 1_000 }).find((one) => one.name === name);
  if (found === undefined) throw new Error(`no work ${name}`);
  return found;
}

function rounds(target: string, metrics: readonly Metrics[]): Sample[] {
  return metrics.map((one, round) => sample(target, round, measured(one)));
}

function sample(target: string, round: number, outcome: Outcome): Sample {
  return { work: work.name, target, round, place: 0, startedAt: '2026-01-01T00:00:00.000Z', outcome };
}

function lineOf(text: string, target: string): string {
  const line = text.split('\n').find((one) => new RegExp(`^  \\S+ +${target}\\b`).test(one));
  if (line === undefined) throw new Error(`no line for ${target} in\n${text}`);
  return line;
}

void t.test(
  'the picture of past runs has a panel for each work, and a point for each run that has both poolers',
  (t) => {
    const sample = (work: string, target: string, round: number, metrics: Metrics): Sample => ({
      ...{ work, target, round, place: 0, startedAt: '2026-01-01T00:00:00Z' },
      outcome: measured(metrics),
    });
    const run = (startedAt: string, factor: number): PastRun => ({
      startedAt,
      commit: 'abc',
      samples: [0, 1].flatMap((round) => [
        sample('select <a>', 'weir', round, { transactionsPerS: 100 * factor, poolerCpuUs: 10 }),
        sample('select <a>', 'pgbouncer', round, { transactionsPerS: 100, poolerCpuUs: 20 }),
        sample('alone', 'weir', round, { transactionsPerS: 1 }),
      ]),
    });
    const svg = historySvg([run('2026-01-01T10:00:00Z', 1), run('2026-01-02T10:00:00Z', 2)]);
    t.equal(svg.match(/<g /g)?.length, 1, 'a work without the other pooler is not drawn');
    t.match(svg, 'select &lt;a&gt;');
    t.equal(svg.match(/<title>/g)?.length, 4);
    t.match(svg, '2026-01-02T10:00 abc: 2.00 (2.00..2.00)');
    t.equal(readRun('{"format":2}'), undefined);
    t.equal(readRun('no json'), undefined);
    t.match(readRun(JSON.stringify({ format: 1, ...run('2026-01-01T10:00:00Z', 1) })), { commit: 'abc' });
    t.match(historySvg([]), '</svg>', 'also of nothing');
    t.end();
  },
);
