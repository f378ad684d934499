// What runs the tests: nothing outlives a run, however it ends; a limit names the test that ran; what went wrong is told in a few lines.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { eventually, temporaryDirectory } from '../support/index.js';
import { isRunning } from '../support/processes.js';
import type { Teardown } from '../support/temporary-directory.js';

const runner = fileURLToPath(new URL('../run.js', import.meta.url));
const compiled = (path: string): string => JSON.stringify(new URL(`../${path}`, import.meta.url).href);

interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<string>;
}

/** @param source of a test file, which finds `t` and what else it needs already imported */
function runTests(t: Teardown, files: Readonly<Record<string, string>>, ...options: readonly string[]): Run {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'package.json'), '{"type": "module"}');
  for (const [name, source] of Object.entries(files)) {
    const imports = [
      `import t from ${JSON.stringify(import.meta.resolve('tap'))};`,
      "import { spawn } from 'node:child_process';",
      "import { writeFileSync } from 'node:fs';",
      `import { startPostgres } from ${compiled('support/index.js')};`,
      `import { childrenOf } from ${compiled('support/processes.js')};`,
      `import { startWeirCluster } from ${compiled('support/weir-cluster.js')};`,
    ];
    writeFileSync(join(directory, `${name}.test.js`), [...imports, source].join('\n'));
  }
  const child = spawn(process.execPath, [runner, '--in', directory, ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      output += bytes.toString();
    });
  }
  t.teardown(() => {
    child.kill('SIGTERM');
  });
  return { child, ended: once(child, 'close').then(() => output) };
}

/** Starts a program that does not obey and what else is told, names their processes in a file, and goes on for ever. */
function endlessTest(reportFile: string, more = ''): string {
  return `t.test('goes on for ever', async (t) => {
    const stubborn = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)']);
    const pids = [process.pid, stubborn.pid];
    ${more}
    writeFileSync(${JSON.stringify(reportFile)}, JSON.stringify({ pids, scratch: process.env.TMPDIR }));
    await new Promise((resolve) => setTimeout(resolve, 2 ** 30));
  });`;
}

const postgresAndCluster = `
    const server = await startPostgres();
    const weir = await startWeirCluster(t, { server, settings: { auth_type: 'trust' }, users: { postgres: 'x' } });
    pids.push(server.pid, weir.process.pid, ...weir.workers());`;

interface Report {
  readonly pids: readonly number[];
  /** The directory of the file, in that of the run. */
  readonly scratch: string;
}

const soon = { withinMs: 30_000 };

for (const [signal, more, processes] of [
  ['SIGKILL', postgresAndCluster, 6],
  ['SIGTERM', '', 2],
] as const) {
  void t.test(`when the runner ends by ${signal}, so does all that its tests have started`, async (t) => {
    const file = join(temporaryDirectory(t), 'report.json');
    const { child, ended } = runTests(t, { endless: endlessTest(file, more) });
    const report = await eventually(() => JSON.parse(readFileSync(file, 'utf8')) as Report, soon);
    t.equal(report.pids.length, processes);
    t.ok(report.pids.every(isRunning));
    child.kill(signal);
    t.match(await ended, /run {3}endless {2}\(1 of 1\)/);
    await eventually(() => !report.pids.some(isRunning), soon);
    await eventually(() => !existsSync(dirname(report.scratch)), soon);
  });
}

void t.test('a test that takes too long is named, and all that it has started is ended', async (t) => {
  const file = join(temporaryDirectory(t), 'report.json');
  const source = endlessTest(file);
  const output = await runTests(t, { endless: source, fine: `t.pass('fine');` }, '--limit', '2').ended;
  t.match(output, /not ok {2}goes on for ever\n {4}reason: still running after \d+ s; the limit is 2 s/);
  t.notMatch(output, /Socket|handles/);
  t.match(output, /\n1 passed, 1 failed\n$/);
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  await eventually(() => !report.pids.some(isRunning), soon);
  t.notOk(existsSync(dirname(report.scratch)));
});

void t.test(
  'a process that a test leaves behind is ended, and the test has failed',
  { skip: process.platform === 'linux' ? false : 'processes are found on Linux only' },
  async (t) => {
    const file = join(temporaryDirectory(t), 'pid');
    const source = `
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', 'left'], { detached: true, stdio: 'ignore' });
    child.unref();
    writeFileSync(${JSON.stringify(file)}, String(child.pid));
    t.pass('fine');`;
    const output = await runTests(t, { leaves: source }).ended;
    const pid = Number(readFileSync(file, 'utf8'));
    t.match(output, new RegExp(`reason: process ${pid} was left running: .*left`));
    t.match(output, /\n1 passed, 1 failed\n$/);
    t.notOk(isRunning(pid));
  },
);

void t.test('the end tells the time, the slowest files, what was skipped and, last, the counts', async (t) => {
  const output = await runTests(t, {
    a: `t.test('quick', (t) => { t.ok(true); t.end(); });`,
    b: `t.test('needs a tool', { skip: 'the tool is not installed' }); t.test('wrong', async (t) => t.equal(1, 2));`,
    c: `process.kill(process.pid, 'SIGKILL');`,
    d: `t.pass('fine'); setTimeout(() => process.exit(7), 300);`,
  }).ended;
  t.match(output, /^4 files, 2 at a time\nrun {3}a {2}\(1 of 4\)\n/);
  t.match(output, /b: needs a tool: the tool is not installed/);
  t.match(output, /not ok {2}wrong > should be equal\n/);
  t.match(output, /reason: it was ended by SIGKILL/);
  t.match(output, /reason: it ended with 7 although no assertion failed/);
  t.match(output, /The slowest:\n {2}.* s {2}[abcd]\n/);
  t.match(output, /Failed:\n {2}b\n {2}c\n {2}d\n/);
  t.match(output, /4 files in .* s\n1 skipped\n2 passed, 3 failed\n$/);
});
