// Runs the embedded PostgreSQL in every way that weir may start it, and ends weir in every way it may end.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import t from 'tap';
import { canRead, unprivilegedAccount } from '../../../lib/demo/account.js';
import {
  binariesAt,
  type EmbeddedPostgres,
  findBinaries,
  type ServerExit,
  startEmbedded,
} from '../../../lib/demo/index.js';
import { eventually, scratchBase, type Teardown, temporaryDirectory } from '../../support/index.js';
import { childrenOf, isRunning, signalAll } from '../../support/processes.js';
import type { HostReport } from './host.js';

const isRoot = process.getuid?.() === 0;
const hostScript = fileURLToPath(new URL('./host.js', import.meta.url));
const log = (): void => {};

// lib looks for its temporary directory when it is called, so this moves everything.
process.env['TMPDIR'] = scratchBase();

/** Made once, the way weir makes a named directory; most tests copy it. */
const template = join(reachableDirectory(t), 'template');
await (await startEmbedded({ dataDir: template, log })).stop();

void t.test('a temporary server takes logins with its password only, and leaves nothing behind', async (t) => {
  const lines: string[] = [];
  const server = await startEmbedded({
    log: (line) => lines.push(line),
    settings: { work_mem: '5MB', 'weir.odd': "a'b\\c" },
  });
  t.teardown(() => server.stop());
  const rows = await query(
    server,
    "select current_setting('work_mem') as work_mem, current_setting('weir.odd') as odd, version()",
  );
  t.match(rows, [
    { work_mem: '5MB', odd: "a'b\\c", version: new RegExp(`PostgreSQL ${server.version.replace('.', '\\.')}`) },
  ]);
  t.equal(Number(server.version.split('.')[0]), 18);
  await t.rejects(query({ ...connection(server), password: 'wrong' }, 'select 1'), { code: '28P01' });
  await t.rejects(query({ ...connection(server), host: server.socketDir ?? '', password: 'wrong' }, 'select 1'), {
    code: '28P01',
  });
  t.same(await query(server, 'show listen_addresses'), [{ listen_addresses: '127.0.0.1' }]);
  t.equal(statSync(server.dataDir).mode & 0o777, 0o700);
  t.equal(statSync(dirname(server.dataDir)).mode & 0o777, 0o700);
  t.equal(statSync(join(server.dataDir, 'weir-superuser.json')).mode & 0o777, 0o600);
  t.same(
    readdirSync(dirname(server.dataDir)).filter((name) => name.includes('password')),
    [],
    'the password file is gone',
  );
  if (isRoot) t.not(statSync(server.dataDir).uid, 0, 'root hands the data to somebody else');
  t.ok(
    lines.some((line) => line.includes('ready to accept connections')),
    'the log is passed on',
  );
  t.notOk(lines.some((line) => line.includes(server.password.reveal())));
  t.notMatch(JSON.stringify(server), server.password.reveal());
  const exits = exitsOf(server);
  const { pid, dataDir } = server;
  await Promise.all([server.stop(), server.stop()]);
  t.match(exits, [{ expected: true, code: 0 }]);
  t.notOk(isRunning(pid) || existsSync(dirname(dataDir)));
  await t.rejects(server.restart(), { name: 'PoolerError' }, 'stopped is stopped');
});

void t.test('a restart keeps data, port and password, also after a crash', async (t) => {
  const server = await startEmbedded({ copyOf: template, log });
  t.teardown(() => server.stop());
  const exits = exitsOf(server);
  await query(server, 'create table kept as select 1 as n');
  const { port, pid } = server;
  await server.restart();
  t.same(await query(server, 'select n from kept'), [{ n: 1 }]);
  await query(server, 'checkpoint');
  process.kill(server.pid, 'SIGKILL');
  await eventually(() => exits.length === 2);
  t.match(exits, [
    { expected: true, code: 0 },
    { expected: false, signal: 'SIGKILL' },
  ]);
  await server.restart();
  t.same(await query(server, 'select n from kept'), [{ n: 1 }]);
  t.equal(server.port, port);
  t.not(server.pid, pid);
});

void t.test('a named directory is kept, guarded while in use, and used again', async (t) => {
  const dataDir = join(reachableDirectory(t), 'deep', 'data');
  const first = await startEmbedded({ dataDir, log });
  t.teardown(() => first.stop());
  await query(first, 'create table kept as select 1 as n');
  await t.rejects(startEmbedded({ dataDir, log }), {
    name: 'PoolerError',
    sqlstate: '55006',
    detail: new RegExp(`process ${process.pid}`),
  });
  await first.stop();
  t.ok(existsSync(join(dataDir, 'PG_VERSION')));
  t.notOk(existsSync(join(dataDir, 'weir-owner.json')));
  const second = await startEmbedded({ dataDir, log, settings: { logging_collector: 'on', lc_messages: 'C' } });
  t.teardown(() => second.stop());
  t.same(await query(second, 'select n from kept'), [{ n: 1 }], 'also where the log goes elsewhere');
  t.equal(second.password.reveal(), first.password.reveal());
  await second.stop();
  writeFileSync(join(dataDir, 'PG_VERSION'), '13\n');
  await t.rejects(startEmbedded({ dataDir, log }), {
    name: 'PoolerError',
    message: /made by PostgreSQL 13, this is PostgreSQL 18/,
  });
  writeFileSync(join(dataDir, 'PG_VERSION'), '18\n');
  rmSync(join(dataDir, 'weir-superuser.json'));
  await t.rejects(startEmbedded({ dataDir, log }), { name: 'PoolerError', message: /was not made by weir/ });
});

void t.test('a directory that is no data directory is left alone', async (t) => {
  const dataDir = reachableDirectory(t);
  writeFileSync(join(dataDir, 'letter.txt'), 'dear');
  await t.rejects(startEmbedded({ dataDir, log }), {
    name: 'PoolerError',
    message: /neither empty nor a PostgreSQL data directory/,
  });
  await t.rejects(startEmbedded({ dataDir: join(dataDir, 'letter.txt'), log }), {
    name: 'PoolerError',
    message: /cannot be used/,
  });
  t.same(readdirSync(dataDir), ['letter.txt']);
});

for (const manner of ['stay', 'leave', 'exit'] as const) {
  void t.test(
    `no process and no directory outlives a weir that ends by ${manner === 'stay' ? 'SIGKILL' : manner}`,
    async (t) => {
      const { host, report, children } = await startHost(t, manner);
      if (manner === 'stay') host.kill('SIGKILL');
      await eventually(() => ![report.postmaster, ...children].some(isRunning), { withinMs: 10_000 });
      await eventually(() => !existsSync(dirname(report.dataDir)), { withinMs: 10_000 });
      t.pass('nothing is left');
    },
  );
}

void t.test('SIGKILL of weir ends even a server that is frozen', async (t) => {
  const { host, report } = await startHost(t, 'stay');
  const frozen = [report.postmaster, ...childrenOf(report.postmaster)];
  t.ok(frozen.length > 3);
  signalAll(frozen, 'SIGSTOP');
  host.kill('SIGKILL');
  await eventually(() => !frozen.some(isRunning), { withinMs: 15_000 });
  await eventually(() => !existsSync(dirname(report.dataDir)));
});

void t.test('SIGKILL of weir shuts a named directory down cleanly, and the next weir finds it', async (t) => {
  const dataDir = copyOfTemplate(t);
  const { host, report } = await startHost(t, 'stay', ['named', dataDir]);
  host.kill('SIGKILL');
  const lines: string[] = [];
  const server = await startEmbedded({ dataDir, log: (line) => lines.push(line) });
  t.teardown(() => server.stop());
  t.notOk(isRunning(report.postmaster));
  t.same(await query(server, 'select 1 as n'), [{ n: 1 }]);
  t.ok(
    lines.some((line) => line.includes('database system was shut down at')),
    'no recovery was needed',
  );
});

void t.test('when weir and its watchdog are both killed, the next start ends the orphan', async (t) => {
  const dataDir = copyOfTemplate(t);
  const named = await startHost(t, 'stay', ['named', dataDir]);
  const temporary = await startHost(t, 'stay');
  for (const { host, children } of [named, temporary]) {
    signalAll(children, 'SIGKILL');
    host.kill('SIGKILL');
    await eventually(() => !children.some(isRunning));
  }
  const server = await startEmbedded({ dataDir, log });
  t.teardown(() => server.stop());
  t.notOk(isRunning(named.report.postmaster));
  t.notOk(isRunning(temporary.report.postmaster));
  await eventually(() => !existsSync(dirname(temporary.report.dataDir)), { withinMs: 10_000 });
  t.same(await query(server, 'select 1 as n'), [{ n: 1 }]);
});

void t.test('when only the watchdog is killed, weir learns that the server is gone', async (t) => {
  const before = new Set(childrenOf(process.pid));
  const server = await startEmbedded({ copyOf: template, log });
  t.teardown(() => server.stop());
  const exits = exitsOf(server);
  const { pid, dataDir } = server;
  signalAll(
    childrenOf(process.pid).filter((child) => !before.has(child)),
    'SIGKILL',
  );
  await eventually(() => exits.length > 0);
  t.match(exits, [{ expected: false }]);
  await eventually(() => !isRunning(pid));
  await server.stop();
  t.notOk(existsSync(dirname(dataDir)));
});

void t.test('a start that cannot succeed says why and leaves nothing', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const temporary = reachableDirectory(t);
  const usual = process.env['TMPDIR'];
  process.env['TMPDIR'] = temporary;
  t.teardown(() => {
    if (usual === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = usual;
  });
  await t.rejects(startEmbedded({ copyOf: template, port, log }), { name: 'PoolerError', detail: /could not bind/ });
  await t.rejects(startEmbedded({ copyOf: template, settings: { nonsense: '1' }, log }), {
    name: 'PoolerError',
    detail: /unrecognized configuration parameter/,
  });
  await t.rejects(startEmbedded({ copyOf: template, settings: { 'a = 1\nb': '1' }, log }), {
    name: 'PoolerError',
    sqlstate: '42704',
  });
  await t.rejects(startEmbedded({ initdbArgs: ['--nonsense'], log }), {
    name: 'PoolerError',
    message: /initdb failed/,
    detail: /nonsense/,
  });
  await t.rejects(startEmbedded({ binaries: binariesAt('/nonexistent'), log }), {
    name: 'PoolerError',
    hint: /config file/,
  });
  t.same(readdirSync(temporary), []);
});

void t.test('binaries without their links are completed where they are', async (t) => {
  const nativeDir = copyOfBinaries(t, 0o755);
  const server = await startEmbedded({ copyOf: template, binaries: binariesAt(nativeDir), log });
  t.teardown(() => server.stop());
  t.same(await query(server, 'select 1 as n'), [{ n: 1 }]);
  t.ok(linksIn(join(nativeDir, 'lib')).length > 5 || process.platform === 'darwin', 'the links are there');
});

void t.test(
  'binaries that the server account cannot read are copied',
  { skip: isRoot ? false : 'needs root' },
  async (t) => {
    const nativeDir = copyOfBinaries(t, 0o700);
    const server = await startEmbedded({ copyOf: template, binaries: binariesAt(nativeDir), log });
    t.teardown(() => server.stop());
    t.same(await query(server, 'select 1 as n'), [{ n: 1 }]);
    t.same(linksIn(join(nativeDir, 'lib')), [], 'the original is as it was');
  },
);

void t.test('a list of links that leads out of its package is refused', async (t) => {
  const nativeDir = join(reachableDirectory(t), 'native');
  for (const part of ['bin', 'lib', 'share']) mkdirSync(join(nativeDir, part), { recursive: true });
  writeFileSync(join(nativeDir, 'bin', 'postgres'), '#!/bin/sh\necho nothing\n', { mode: 0o755 });
  const refused = { name: 'PoolerError', detail: /leads out|not a list/ };
  for (const links of [
    [{ source: 'native/lib/a', target: 'native/../b' }],
    [{ source: '/etc/passwd', target: 'native/lib/b' }],
    [{ source: 'native/lib/a' }],
    'native/lib/a',
  ]) {
    writeFileSync(join(nativeDir, 'pg-symlinks.json'), JSON.stringify(links));
    await t.rejects(startEmbedded({ binaries: binariesAt(nativeDir), log }), refused, JSON.stringify(links));
  }
  writeFileSync(join(nativeDir, 'pg-symlinks.json'), '[]');
  await t.rejects(startEmbedded({ binaries: binariesAt(nativeDir), log }), {
    name: 'PoolerError',
    detail: /answered "nothing"/,
  });
});

void t.test(
  "root does not use a directory that the server account cannot reach or that holds root's own data",
  { skip: isRoot ? false : 'needs root' },
  async (t) => {
    const closed = temporaryDirectory(t);
    chmodSync(closed, 0o700);
    await t.rejects(startEmbedded({ dataDir: join(closed, 'data'), log }), {
      name: 'PoolerError',
      sqlstate: '42501',
      hint: /home of root/,
    });
    const own = reachableDirectory(t);
    writeFileSync(join(own, 'PG_VERSION'), '18\n');
    await t.rejects(startEmbedded({ dataDir: own, log }), { name: 'PoolerError', message: /belongs to root/ });
  },
);

void t.test(
  'root is not led astray by a link in the data directory',
  { skip: isRoot ? false : 'needs root' },
  async (t) => {
    const dataDir = copyOfTemplate(t);
    const precious = join(dirname(dataDir), 'precious');
    writeFileSync(precious, 'untouched');
    rmSync(join(dataDir, 'weir.conf'));
    symlinkSync(precious, join(dataDir, 'weir.conf'));
    await (await startEmbedded({ dataDir, log })).stop();
    t.equal(readFileSync(precious, 'utf8'), 'untouched');
    rmSync(join(dataDir, 'weir-superuser.json'));
    symlinkSync(precious, join(dataDir, 'weir-superuser.json'));
    await t.rejects(startEmbedded({ dataDir, log }), { message: /was not made by weir/ });
  },
);

void t.test('an ordinary user can run it', { skip: await withoutOrdinaryUser() }, async (t) => {
  const { uid, gid } = (await unprivilegedAccount()) ?? { uid: -1, gid: -1 };
  const { host, report, children } = await startHost(t, 'stay', ['fresh'], { uid, gid });
  t.equal(report.uid, uid);
  const server = {
    host: '127.0.0.1',
    port: report.port,
    user: 'postgres',
    password: report.password,
    database: 'postgres',
  };
  t.same(await query(server, 'select 1 as n'), [{ n: 1 }]);
  host.kill('SIGKILL');
  await eventually(() => ![report.postmaster, ...children].some(isRunning), { withinMs: 10_000 });
  await eventually(() => !existsSync(dirname(report.dataDir)), { withinMs: 10_000 });
  t.pass('nothing is left');
});

/** Why the test cannot be made here. */
async function withoutOrdinaryUser(): Promise<string | false> {
  const account = await unprivilegedAccount().catch(() => undefined);
  if (!isRoot) return 'every other test here did';
  if (account === undefined) return 'root finds nobody to become';
  return (await canRead(hostScript, account)) ? false : 'the checkout is closed to other users';
}

type Login = Pick<pg.ClientConfig, 'host' | 'port' | 'user' | 'database'> & { password: string };

function connection(server: EmbeddedPostgres): Login {
  const { host, port, user, password, database } = server;
  return { host, port, user, database, password: password.reveal() };
}

async function query(server: EmbeddedPostgres | Login, sql: string): Promise<unknown[]> {
  const client = new pg.Client('dataDir' in server ? connection(server) : server);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

function exitsOf(server: EmbeddedPostgres): ServerExit[] {
  const exits: ServerExit[] = [];
  server.onExit((exit) => exits.push(exit));
  return exits;
}

interface Host {
  readonly host: ChildProcess;
  readonly report: HostReport;
  /** The watchdog. */
  readonly children: readonly number[];
}

async function startHost(
  t: Teardown,
  manner: 'stay' | 'leave' | 'exit',
  place: readonly string[] = ['copy', template],
  account?: { uid: number; gid: number },
): Promise<Host> {
  const host = spawn(process.execPath, [hostScript, manner, ...place], {
    ...account,
    cwd: '/',
    env: { PATH: process.env['PATH'], TMPDIR: process.env['TMPDIR'] },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => {
    host.kill('SIGKILL');
  });
  const [line] = (await once(createInterface(host.stdout), 'line')) as [string];
  const children = host.exitCode === null && host.pid !== undefined ? childrenOf(host.pid) : [];
  return { host, report: JSON.parse(line) as HostReport, children };
}

function copyOfTemplate(t: Teardown): string {
  const dataDir = join(reachableDirectory(t), 'data');
  execFileSync('cp', ['-a', template, dataDir]);
  return dataDir;
}

/** One that the account which root starts servers as can enter. */
function reachableDirectory(t: Teardown): string {
  const path = temporaryDirectory(t);
  chmodSync(path, 0o755);
  return path;
}

/** As npm leaves them when it runs no install scripts. */
function copyOfBinaries(t: Teardown, mode: number): string {
  const base = temporaryDirectory(t);
  chmodSync(base, mode);
  const nativeDir = join(base, 'native');
  cpSync(findBinaries().nativeDir, nativeDir, { recursive: true, verbatimSymlinks: true });
  for (const link of linksIn(join(nativeDir, 'lib'))) rmSync(link);
  return nativeDir;
}

function linksIn(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isSymbolicLink())
    .map((entry) => join(directory, entry.name));
}
