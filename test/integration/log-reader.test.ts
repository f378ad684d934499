// Whoever reads weir's output may leave, or stop reading: clients are served all the same, and weir ends when it is told to.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import t from 'tap';
import { eventually, freePort, startPostgres, temporaryDirectory } from '../support/index.js';
import { isRunning } from '../support/processes.js';
import type { Teardown } from '../support/temporary-directory.js';
import { mainFile } from '../support/weir-command.js';

const postgres = await startPostgres({ sql: ["create role alice login password 'secret'"] });
t.teardown(() => postgres.stop());

interface Piped {
  readonly shell: ChildProcess;
  readonly port: number;
  pid(): Promise<number>;
}

/** weir in a pipeline of a shell, as it is typed. */
async function startPiped(t: Teardown, reader: string, settings: Readonly<Record<string, unknown>>): Promise<Piped> {
  const directory = temporaryDirectory(t);
  const [config, pidfile] = [join(directory, 'weir.toml'), join(directory, 'weir.pid')];
  const port = await freePort();
  const weir = { listen_port: port, unix_socket_dir: '', pidfile, ...settings };
  const lines = Object.entries(weir).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  const server = `host = "${postgres.host}"\nport = ${postgres.port}`;
  writeFileSync(
    config,
    ['[weir]', ...lines, '[databases.postgres]', server, '[users.alice]', 'password = "secret"', ''].join('\n'),
  );
  const shell = inShell(t, `"$0" "$1" "$2" | ${reader}`, mainFile, config);
  return {
    shell,
    port,
    pid: () => eventually(() => Number(readFileSync(pidfile, 'utf8')) || false, { withinMs: 20_000 }),
  };
}

async function answer(port: number): Promise<unknown> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'alice', password: 'secret', database: 'postgres' });
  await client.connect();
  try {
    return (await client.query<{ n: number }>('select 42 as n')).rows[0]?.n;
  } finally {
    await client.end();
  }
}

const endMsMax = { withinMs: 15_000 };

for (const workers of [1, 2]) {
  void t.test(`a reader of the log that leaves does not keep weir (workers = ${workers})`, async (t) => {
    const { port, pid } = await startPiped(t, 'head -1', { workers });
    const weir = await pid();
    await eventually(() => answer(port), { withinMs: 20_000 });
    for (let n = 0; n < 20; n++) t.equal(await answer(port), 42);
    process.kill(weir, 'SIGTERM');
    await eventually(() => !isRunning(weir), endMsMax);
    t.pass('it has ended');
  });

  void t.test(`nor does one that has left before weir says that it ends (workers = ${workers})`, async (t) => {
    const { port, pid } = await startPiped(t, 'head -1', { workers, log_connections: 0, log_disconnections: 0 });
    const weir = await pid();
    await eventually(() => answer(port), { withinMs: 20_000 });
    process.kill(weir, 'SIGTERM');
    await eventually(() => !isRunning(weir), endMsMax);
    t.pass('it has ended');
  });

  void t.test(
    `a reader of the log that does not read neither stops weir nor keeps it (workers = ${workers})`,
    async (t) => {
      // Far more than a pipe holds: a login writes a few hundred bytes.
      const reader = '{ read -r line; exec sleep 1000; }';
      const { port, pid } = await startPiped(t, reader, { workers, log_level: 'trace' });
      const weir = await pid();
      await eventually(() => answer(port), { withinMs: 20_000 });
      for (let n = 0; n < 60; n++) await Promise.all(Array.from({ length: 10 }, () => answer(port)));
      t.equal(await answer(port), 42, 'it still serves');
      process.kill(weir, 'SIGTERM');
      await eventually(() => !isRunning(weir), endMsMax);
    },
  );
}

void t.test(
  'a log that goes to a full disk stops nothing',
  { skip: existsSync('/dev/full') ? false : 'there is no /dev/full' },
  async (t) => {
    const { port, pid } = await startPiped(t, 'cat >/dev/null', { logfile: '/dev/full' });
    const weir = await pid();
    await eventually(() => answer(port), { withinMs: 20_000 });
    for (let n = 0; n < 20; n++) t.equal(await answer(port), 42);
    process.kill(weir, 'SIGTERM');
    await eventually(() => !isRunning(weir), endMsMax);
  },
);

void t.test('Ctrl-C behind `| tee` ends weir and the PostgreSQL it has started', async (t) => {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'log');
  const shell = inShell(t, '"$0" "$1" --port "$2" | tee "$3"', mainFile, String(await freePort()), file);
  const url = await eventually(() => /psql '([^']+)'/.exec(readFileSync(file, 'utf8'))?.[1] ?? false, {
    withinMs: 60_000,
  });
  const client = new pg.Client(url);
  await client.connect();
  const { rows } = await client.query<{ text: string }>("select pg_read_file('postmaster.pid') as text");
  await client.end();
  const postmaster = Number(rows[0]?.text.split('\n')[0]);
  t.ok(isRunning(postmaster));
  // As a terminal does: to all of the pipeline.
  process.kill(-(shell.pid ?? 0), 'SIGINT');
  await once(shell, 'exit');
  await eventually(() => !isRunning(postmaster), { withinMs: 20_000 });
});

void t.test('a command whose reader leaves ends without a word, and one that is read slowly is read whole', (t) => {
  const run = (pipe: string): { stdout: string; stderr: string } =>
    spawnSync('sh', ['-c', `"$0" "$1" policy explain --help ${pipe}`, process.execPath, mainFile], {
      encoding: 'utf8',
    });
  t.match(run('| head -c 1'), { stdout: 'U', stderr: '' });
  t.match(run('| { sleep 1; cat; }').stdout, /--schema/);
  t.end();
});

/** Runs a line in a process group of its own, which ends with the test. `$0` is Node.js, `$1` and so on the arguments. */
function inShell(t: Teardown, line: string, ...args: readonly string[]): ChildProcess {
  const shell = spawn('sh', ['-c', line, process.execPath, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
  });
  t.teardown(() => {
    try {
      process.kill(-(shell.pid ?? 0), 'SIGKILL');
    } catch {
      // All have ended.
    }
  });
  return shell;
}
