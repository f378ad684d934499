// Runs compiled tests, two files at a time: `node dist/test/run.js [--fuzz] [--limit SECONDS] [--in DIRECTORY] [path ...]`. The last line is `N passed, N failed`.

import { randomInt } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect, parseArgs } from 'node:util';
import { RunPlace } from './runner/run-place.js';
import { type FileResult, TestFile } from './runner/test-file.js';
import { projectRoot } from './support/project-root.js';
import type { Counts } from './support/tap-results.js';

const filesAtOnce = 2;
const limitSecondsDefault = 480;
const fuzzLimitSecondsDefault = 3_600;
const fuzzStepsDefault = 5_000;
const aliveMs = 60_000;
const slowestShown = 10;

const { values, positionals } = parseArgs({
  options: {
    fuzz: { type: 'boolean', default: false },
    limit: { type: 'string' },
    // Compiled tests that lie elsewhere, without sources.
    in: { type: 'string' },
  },
  allowPositionals: true,
});
const testDir = values.in ?? dirname(fileURLToPath(import.meta.url));
const limitSeconds = Number(values.limit ?? (values.fuzz ? fuzzLimitSecondsDefault : limitSecondsDefault));
const files = compiledTests().filter(
  (file) => (values.fuzz ? file.startsWith('fuzz/') : true) && isWanted(file, positionals),
);
if (files.length === 0) {
  console.log(positionals.length === 0 ? 'There are no tests.' : `No test file matches ${positionals.join(', ')}.`);
  finish({ passed: 0, failed: 0, skipped: 0 });
} else {
  finish(await runAll(files, values.fuzz ? fuzzEnvironment() : {}));
}

/** Relative to the directory of compiled tests. One whose source is gone is left over from an earlier build. */
function compiledTests(): string[] {
  return readdirSync(testDir, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js'))
    .filter((file) => values.in !== undefined || existsSync(join(projectRoot, 'test', file.replace(/\.js$/, '.ts'))))
    .sort();
}

/** A filter is the beginning of a path below test/, with or without `test/` in front and the suffix behind. */
function isWanted(file: string, filters: readonly string[]): boolean {
  if (filters.length === 0) return true;
  return filters.some((filter) =>
    file.startsWith(filter.replace(/^(\.\/)?(dist\/)?test\//, '').replace(/(\.test)?\.[jt]s$/, '')),
  );
}

/** Printed, so that a failure can be had again. */
function fuzzEnvironment(): Record<string, string> {
  const seed = process.env['SEED'] ?? String(randomInt(2 ** 31));
  const steps = process.env['STEPS'] ?? String(fuzzStepsDefault);
  console.log(`SEED=${seed} STEPS=${steps}`);
  return { SEED: seed, STEPS: steps };
}

async function runAll(tests: readonly string[], environment: Readonly<Record<string, string>>): Promise<Counts> {
  const begin = performance.now();
  const place = await RunPlace.make();
  const running = new Map<string, TestFile>();
  const results = new Map<string, FileResult>();
  const queue = [...tests.entries()];
  console.log(`${count(tests.length, 'file')}, ${filesAtOnce} at a time`);

  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.once(signal, () => {
      console.log(`stopped while these ran: ${[...running.keys()].join(', ')}`);
      queue.length = 0;
      for (const file of running.values()) file.kill();
      void place.leave().then(() => process.exit(128 + number));
    });
  }
  const alive = setInterval(() => {
    for (const [name, file] of running) console.log(`...   ${name}  ${file.seconds.toFixed(0)} s: ${file.running}`);
  }, aliveMs);
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [index, path] = next;
      const name = path.replace(/\.test\.js$/, '');
      console.log(`run   ${name}  (${index + 1} of ${tests.length})`);
      const text = (line: string): unknown => process.stdout.write(line);
      const file = new TestFile(join(testDir, path), { place, number: index, limitSeconds, environment, text });
      running.set(name, file);
      const result = await file.finish();
      running.delete(name);
      results.set(name, result);
      printFile(name, result);
    }
  };
  await Promise.all(Array.from({ length: filesAtOnce }, worker));
  clearInterval(alive);
  await place.leave();
  printSummary(results, performance.now() - begin);
  const sum = (of: keyof Counts): number => [...results.values()].reduce((total, result) => total + result[of], 0);
  return { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
}

function printFile(name: string, { passed, failed, skipped, ms, failures }: FileResult): void {
  const skips = skipped > 0 ? `, ${skipped} skipped` : '';
  console.log(`${failed > 0 ? 'FAIL' : 'ok  '}  ${name}  ${passed} passed, ${failed} failed${skips}  ${duration(ms)}`);
  for (const failure of failures) {
    console.log(`  not ok  ${failure.name === '' ? name : failure.name}`);
    for (const [key, value] of Object.entries(failure.diagnostics)) {
      if (value === null) continue;
      const text = typeof value === 'string' ? value : inspect(value, { depth: 6, breakLength: 100 });
      console.log(`    ${key}: ${text.trimEnd().replaceAll('\n', '\n      ')}`);
    }
  }
}

function printSummary(results: ReadonlyMap<string, FileResult>, ms: number): void {
  const all = [...results];
  const skips = all.flatMap(([name, { skips }]) => skips.map((reason) => `  ${name}: ${reason}`));
  if (skips.length > 0) console.log(['', 'Skipped:', ...skips].join('\n'));
  const slowest = [...all].sort(([, a], [, b]) => b.ms - a.ms).slice(0, slowestShown);
  console.log(
    ['', 'The slowest:', ...slowest.map(([name, { ms }]) => `  ${duration(ms).padStart(9)}  ${name}`)].join('\n'),
  );
  const failed = all.flatMap(([name, { failed }]) => (failed > 0 ? [`  ${name}`] : [])).sort();
  if (failed.length > 0) console.log(['', 'Failed:', ...failed].join('\n'));
  console.log(`\n${count(all.length, 'file')} in ${duration(ms)}`);
}

function duration(ms: number): string {
  const seconds = ms / 1_000;
  return seconds < 100 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

function finish({ passed, failed, skipped }: Counts): void {
  if (passed + failed === 0) console.log('No assertion was made.');
  if (skipped > 0) console.log(`${skipped} skipped`);
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}
