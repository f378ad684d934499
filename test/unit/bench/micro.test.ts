// How the micro works are timed and read, and how comparisons and their targets are put together.

import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { comparisonNames, comparisons } from '../../../bench/comparisons.js';
import { type Prepared, timeSlices, warmUp } from '../../../bench/micro/exercise.js';
import { readMicroLines } from '../../../bench/micro/protocol.js';
import { makeStatementTools } from '../../../bench/micro/statements.js';
import { microTable } from '../../../bench/micro/table.js';
import { microMs } from '../../../bench/micro-rounds.js';
import { parseOptions } from '../../../bench/options.js';
import { report } from '../../../bench/report.js';
import { measured, type Sample } from '../../../bench/samples.js';
import { scriptTexts } from '../../../bench/scripts.js';
import { keysOf, targetTable } from '../../../bench/targets.js';
import { usualClientCounts, type Work } from '../../../bench/works.js';

const sizes = { clientCounts: usualClientCounts, idleClients: 1_000 };

/** A clock that a prepared piece of code moves on, and the number of calls it was asked for. */
class Workload {
  nowMs = 0;
  readonly runs: number[] = [];
  readonly #msPerCall: (run: number) => number;

  constructor(msPerCall: (run: number) => number) {
    this.#msPerCall = msPerCall;
  }

  readonly now = (): number => this.nowMs;

  readonly prepared: Prepared = {
    run: (calls) => {
      this.nowMs += calls * this.#msPerCall(this.runs.length);
      this.runs.push(calls);
      return calls;
    },
    expected: (calls) => calls,
  };
}

void t.test('a warm-up lasts as long as it was told and finds how many calls fill a slice', (t) => {
  const work = new Workload((run) => (run < 3 ? 0.1 : 0.001));
  t.equal(warmUp(work.prepared, 50, { sliceMs: 10, now: work.now }), 10_000);
  t.ok(work.nowMs >= 50);
  t.ok(work.nowMs < 150, String(work.nowMs));
  t.end();
});

void t.test('one call that is longer than a slice is a slice', (t) => {
  const work = new Workload(() => 35);
  t.equal(warmUp(work.prepared, 50, { sliceMs: 10, now: work.now }), 1);
  t.strictSame(work.runs, [1, 1]);
  t.end();
});

void t.test('a warm-up ends also where the clock has not moved at first', (t) => {
  const work = new Workload((run) => (run < 4 ? 0 : 0.01));
  t.equal(warmUp(work.prepared, 5, { sliceMs: 10, now: work.now }), 1_000);
  t.end();
});

void t.test('a figure is the median over the slices, beside that of the quickest', (t) => {
  const perCall = [0.002, 0.001, 0.05, 0.003, 0.002];
  const work = new Workload((run) => perCall[run] ?? 0);
  const timing = timeSlices(work.prepared, 100, { sliceMs: 10, slices: 5, now: work.now });
  t.equal(Math.round(timing.callNs), 2_000);
  t.equal(Math.round(timing.bestCallNs), 1_000);
  t.strictSame(work.runs, [100, 100, 100, 100, 100]);
  t.end();
});

void t.test('code whose results do not add up is not timed', (t) => {
  const wrong: Prepared = { run: (calls) => calls - 1, expected: (calls) => calls };
  t.throws(() => timeSlices(wrong, 10, { sliceMs: 1, slices: 1, now: () => 0 }), /10 calls add up to 9, not 10/);
  t.end();
});

void t.test('every exercise gives the results it says it will', async (t) => {
  const tools = await makeStatementTools();
  for (const { name, prepare } of microTable) {
    const prepared = await prepare(tools);
    for (const calls of [1, 700]) t.equal(prepared.run(calls), prepared.expected(calls), `${name}, ${calls} calls`);
  }
  await tools.close();
});

void t.test('the texts of the scanner are as long as their names say', async (t) => {
  const tools = await makeStatementTools();
  const bytes = new Map<string, number>();
  for (const { name, prepare } of microTable) bytes.set(name, (await prepare(tools)).bytes ?? 0);
  await tools.close();
  const expected = { 'scan/join-200': 200, 'scan/in-list-4k': 4_096, 'scan/insert-100k': 100_000 };
  for (const [name, length] of Object.entries(expected)) {
    const share = (bytes.get(name) ?? 0) / length;
    t.ok(share > 0.9 && share < 1.1, `${name}: ${bytes.get(name)} bytes`);
  }
});

void t.test('a line of a micro round is a figure by the call, the byte and the message, or a failure', (t) => {
  const outcomes = readMicroLines(
    [
      '{"name":"a","callNs":500,"bestCallNs":400,"bytes":50,"messages":5}',
      '{"name":"b","callNs":7,"bestCallNs":6}',
      '{"name":"c","failure":"went wrong"}',
      '{"name":"d","callNs":null,"bestCallNs":6}',
      '',
    ].join('\n'),
  );
  t.strictSame(outcomes.get('a'), measured({ callNs: 500, bestCallNs: 400, byteNs: 10, messageNs: 100 }));
  t.strictSame(outcomes.get('b'), measured({ callNs: 7, bestCallNs: 6 }));
  t.strictSame(outcomes.get('c'), { kind: 'failed', message: 'went wrong' });
  t.equal(outcomes.get('d')?.kind, 'failed');
  t.throws(() => readMicroLines('[1]'), /not a figure/);
  t.throws(() => readMicroLines('word'));
  t.equal(microMs(5), 500);
  t.end();
});

void t.test('each comparison names targets there are, baselines among them, and no work twice', (t) => {
  const names = targetTable(new Map()).map((target) => target.name);
  for (const name of comparisonNames) {
    const { targets, baselines, works } = comparisons[name];
    t.ok(
      targets.every((target) => names.includes(target)),
      `${name}: targets`,
    );
    t.ok(
      baselines.every((target) => targets.includes(target)),
      `${name}: baselines`,
    );
    const all = works(sizes).map((work) => work.name);
    t.equal(new Set(all).size, all.length, `${name}: works`);
  }
  t.end();
});

void t.test('the ladder runs every protocol with 1, 16 and 128 clients, and what sets something', (t) => {
  const works = comparisons.ladder.works(sizes).map((work) => work.name);
  for (const clients of usualClientCounts) {
    for (const name of ['select/simple', 'select/extended', 'select/prepared', 'tpcb/simple', 'tpcb/prepared']) {
      t.ok(works.includes(`${name}/${clients}`), `${name}/${clients}`);
    }
    for (const script of Object.keys(scriptTexts).filter((each) => each.startsWith('set-'))) {
      t.ok(works.includes(`${script}/simple/${clients}`), `${script}/${clients}`);
    }
  }
  t.end();
});

void t.test('every script is measured by some comparison', (t) => {
  const works = comparisonNames.flatMap((name) => comparisons[name].works(sizes).map((work) => work.name));
  for (const script of Object.keys(scriptTexts))
    t.ok(
      works.some((name) => name.startsWith(`${script}/`)),
      script,
    );
  t.end();
});

void t.test('the ladder is reported as ratios within a round to the weir that does not track', (t) => {
  const work = comparisons.ladder.works(sizes).find((one) => one.name === 'select/simple/16') as Work;
  const sample = (target: string, round: number, transactionsPerS: number): Sample => ({
    ...{ work: work.name, target, round, place: 0, startedAt: '2026-01-01T00:00:00.000Z' },
    outcome: measured({ transactionsPerS }),
  });
  const samples = [
    ...[1_000, 500, 2_000].map((rate, round) => sample('weir-untracked', round, rate)),
    ...[1_010, 500, 1_900].map((rate, round) => sample('weir-control', round, rate)),
    ...[900, 490, 1_900].map((rate, round) => sample('weir', round, rate)),
  ];
  const { targets, baselines } = comparisons.ladder;
  const text = report({ works: [work], targets, baselines, samples });
  t.match(text, /transactions\/s +\/ weir-untracked/);
  t.match(text, /weir-control +1010 \(500\.\.1900\) +1\.00 \(0\.95\.\.1\.01\)/);
  t.match(text, /weir +900 \(490\.\.1900\) +0\.95 \(0\.90\.\.0\.98\)/);
  t.end();
});

void t.test('the control of the ladder is told what the weir it repeats is told', (t) => {
  const names = targetTable(new Map()).map((target) => target.name);
  t.strictSame(comparisons.ladder.targets, ['weir-untracked', 'weir-control', 'weir']);
  t.equal(new Set(names).size, names.length);
  t.strictSame(keysOf('weir-control', new Map()), { track_session_state: false });
  t.strictSame(keysOf('weir', new Map()), {});
  const told = new Map([['weir-untracked', { default_pool_size: 3 }]]);
  t.strictSame(keysOf('weir-untracked', told), { default_pool_size: 3 });
  t.strictSame(keysOf('weir-control', told), { default_pool_size: 3 });
  t.strictSame(keysOf('weir', told), {});
  t.end();
});

void t.test('the trail is compared in both modes with a weir that has none', (t) => {
  t.strictSame(comparisons.audit.targets, ['weir', 'weir-audit-after', 'weir-audit-before']);
  t.strictSame(comparisons.audit.baselines, ['weir']);
  t.ok(comparisons.audit.works(sizes).some(({ name }) => name === 'select/simple/128'));
  t.strictSame(keysOf('weir-audit-before', new Map()), { audit_mode: 'before' });
  t.equal(parseOptions(['--comparison', 'audit']).comparison, 'audit');
  t.end();
});

void t.test('the keys of a weir are taken from the command line in place of its own', (t) => {
  const options = parseOptions([
    '--keys',
    'weir-untracked:',
    '--keys',
    'weir:server_reset_query=DISCARD ALL,log_stats=false,n=7',
  ]);
  t.strictSame(options.arrangements.get('weir-untracked'), {});
  t.strictSame(options.arrangements.get('weir'), { server_reset_query: 'DISCARD ALL', log_stats: false, n: 7 });
  t.equal(options.comparison, 'poolers');
  t.equal(parseOptions(['--comparison', 'ladder']).comparison, 'ladder');
  t.equal(parseOptions([]).arrangements.size, 0);
  t.end();
});

void t.test('the micro works are printed and kept in the results file, without any server', async (t) => {
  const directory = t.testdir();
  const program = fileURLToPath(new URL('../../../bench/main.js', import.meta.url));
  const flags = ['--quick', '--only', 'micro/(loop-itself|hit/same-text)$', '--results', directory];
  const nowhere = ['--pgbench', '/nowhere/pgbench'];
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...flags, ...nowhere]);
  t.match(stdout, /ns\/call .*ns\/byte/);
  t.match(stdout, /micro\/hit\/same-text +lib +\d+ +\d+ +\d+\.\d\d/);
  const [name = ''] = await readdir(directory);
  const record = JSON.parse(await readFile(join(directory, name), 'utf8')) as { readonly samples: readonly Sample[] };
  t.strictSame(
    record.samples.map((sample) => [sample.work, sample.target, sample.outcome.kind]),
    [
      ['micro/loop-itself', 'lib', 'measured'],
      ['micro/hit/same-text', 'lib', 'measured'],
    ],
  );
});
