// Runs compiled tests with tap and prints what failed: `node dist/test/run.js [--fuzz] [path ...]`. The last line is `N passed, N failed`.

import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect, parseArgs } from 'node:util';
import { projectRoot } from './support/project-root.js';
import { type Counts, type FileResult, TapResults } from './support/tap-results.js';

const testDir = dirname(fileURLToPath(import.meta.url));
const fuzzStepsDefault = 5_000;
const fuzzTimeoutSeconds = 3_600;
/** What tap says about a whole file that helps nobody. */
const dull: ReadonlySet<string> = new Set([
  'args',
  'command',
  'cwd',
  'externalID',
  'jobId',
  'stdio',
  'isToplevel',
  'typeName',
]);

const { values, positionals } = parseArgs({
  options: { fuzz: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const files = compiledTests().filter(
  (file) => (values.fuzz ? file.startsWith('fuzz/') : true) && isWanted(file, positionals),
);
if (files.length === 0) {
  console.log(positionals.length === 0 ? 'There are no tests.' : `No test file matches ${positionals.join(', ')}.`);
  finish({ passed: 0, failed: 0, skipped: 0 }, 1);
} else {
  const environment = values.fuzz ? fuzzEnvironment() : {};
  const { counts, exitCode } = await runTap(files, environment, values.fuzz ? [`--timeout=${fuzzTimeoutSeconds}`] : []);
  if (exitCode !== 0 && counts.failed === 0) {
    console.log(`tap ended with ${exitCode ?? 'a signal'} although no assertion failed.`);
    counts.failed++;
  }
  if (counts.passed + counts.failed === 0) console.log('No assertion was made.');
  finish(counts, counts.failed > 0 || counts.passed === 0 ? 1 : 0);
}

/** Relative to the directory of compiled tests. One whose source is gone is left over from an earlier build. */
function compiledTests(): string[] {
  return readdirSync(testDir, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js'))
    .filter((file) => existsSync(join(projectRoot, 'test', file.replace(/\.js$/, '.ts'))))
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

/** tap's own reporters draw for terminals and lose the diagnostics without one, hence plain TAP and a printer of our own. */
function runTap(
  tests: readonly string[],
  environment: Record<string, string>,
  extra: readonly string[],
): Promise<{ counts: Counts; exitCode: number | null }> {
  const cwd = configDirectory();
  const inherited = Object.entries(process.env).filter(([name]) => !/^_?TAP(_|$)/.test(name));
  const paths = tests.map((file) => relative(cwd, join(testDir, file)));
  const tap = spawn(join(cwd, 'node_modules', '.bin', 'tap'), ['--reporter=tap', '--no-color', ...extra, ...paths], {
    cwd,
    env: { ...Object.fromEntries(inherited), ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const results = new TapResults({ file: printFile, text: (line) => process.stdout.write(line) });
  tap.stdout.setEncoding('utf8');
  tap.stdout.on('data', (chunk: string) => results.write(chunk));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tap.kill(signal));
  return new Promise((resolve) => {
    tap.once('error', (error) => {
      console.log(`tap did not start: ${error.message}`);
      resolve({ counts: { passed: 0, failed: 1, skipped: 0 }, exitCode: 1 });
    });
    tap.once('close', (exitCode) => resolve({ counts: results.end(), exitCode }));
  });
}

/** Where tap finds its configuration. */
function configDirectory(): string {
  let at = testDir;
  while (!existsSync(join(at, '.taprc')) && dirname(at) !== at) at = dirname(at);
  return at;
}

function printFile({ file, passed, failed, skipped, ms, failures }: FileResult): void {
  const verdict = failed > 0 ? 'FAIL' : 'ok  ';
  console.log(`${verdict}  ${file}  ${countsText({ passed, failed, skipped })}  ${(ms / 1_000).toFixed(1)} s`);
  for (const { name, diagnostics } of failures) {
    console.log(`  not ok  ${name}`);
    for (const [key, value] of Object.entries(diagnostics)) {
      if (dull.has(key) || value === null) continue;
      const text = typeof value === 'string' ? value : inspect(value, { depth: 6, breakLength: 100 });
      console.log(`    ${key}: ${text.trimEnd().replaceAll('\n', '\n      ')}`);
    }
  }
}

function countsText({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

function finish(counts: Counts, exitCode: number): void {
  console.log(countsText(counts));
  process.exitCode = exitCode;
}
