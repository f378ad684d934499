// Makes a PostgreSQL data directory, or takes over one that weir made before, and keeps weir's own files in it.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { chown, mkdir, open, readdir, readFile, realpath, rename, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { PoolerError, Secret } from '../util/index.js';
import { type Account, canReach } from './account.js';
import { identify, isAlive, type ProcessIdentity, signalProcess } from './process-identity.js';

export interface Superuser {
  readonly user: string;
  readonly password: Secret;
}

export interface OwnerPids {
  readonly weir: number;
  readonly watchdog: number;
  readonly postmaster: number;
}

export type Contents =
  | { readonly kind: 'empty' }
  | { readonly kind: 'cluster'; readonly major: string; readonly owner: Account };

/** Written last when a directory is made: a directory without it was not made by weir, or not completely. */
const superuserFile = 'weir-superuser.json';
const ownerFile = 'weir-owner.json';
const settingsFile = 'weir.conf';
const ownFileBytesMax = 10_000;

/** PostgreSQL gives its backends five seconds before it kills them. */
const immediateShutdownMsMax = 8_000;
/** A watchdog that lives is already at it. */
const watchdogRung = { signal: undefined, waitMs: 5_000 } as const;
const sweepLadder = [
  { signal: 'SIGINT', waitMs: 10_000 },
  { signal: 'SIGQUIT', waitMs: immediateShutdownMsMax },
] as const;
const sweepPollMs = 25;
/** What mkdtemp makes of `weir-`. */
const runtimeName = /^weir-[A-Za-z0-9]{6}$/;
const sweptMax = 200;
const abandonedMs = 600_000;

const run = promisify(execFile);

/** Creates the directory when there is none. Throws PoolerError for one that holds anything but a cluster. */
export async function inspectDirectory(path: string): Promise<Contents> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await mkdir(path, { mode: 0o700 }).catch(ignoreExisting);
    const names = await readdir(path);
    if (names.length === 0) return { kind: 'empty' };
    if (names.includes('PG_VERSION')) {
      const [version, { uid, gid }] = await Promise.all([readFile(join(path, 'PG_VERSION'), 'utf8'), stat(path)]);
      return { kind: 'cluster', major: version.trim(), owner: { uid, gid } };
    }
  } catch (cause) {
    throw new PoolerError(`the data directory "${path}" cannot be used`, {
      sqlstate: '58030',
      detail: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
  throw new PoolerError(`"${path}" is neither empty nor a PostgreSQL data directory`, {
    sqlstate: '55000',
    hint: 'Name another directory, or an empty or absent one.',
  });
}

/** Hands a fresh directory to the account and makes sure it can get there. */
export async function giveTo(path: string, account: Account | undefined): Promise<void> {
  if (account === undefined) return;
  await chown(path, account.uid, account.gid);
  if (await canReach(path, account)) return;
  throw new PoolerError(`the data directory "${path}" is out of reach for the user that runs PostgreSQL`, {
    sqlstate: '42501',
    detail: `Weir runs as root, PostgreSQL as user number ${account.uid}, and a directory above is closed to that user.`,
    hint: 'Name a directory outside the home of root, for instance below /var/lib or /tmp, or start weir as an ordinary user.',
  });
}

/** Throws PoolerError unless binaries of `major` may open the cluster. */
export function requireMajor(path: string, found: string, major: number): void {
  if (found === String(major)) return;
  throw new PoolerError(`the data directory "${path}" was made by PostgreSQL ${found}, this is PostgreSQL ${major}`, {
    sqlstate: '0A000',
    hint: 'Name another directory, or move the data with pg_dump.',
  });
}

/** @param directory of a finished cluster */
export async function rememberSuperuser(
  directory: string,
  superuser: Superuser,
  account: Account | undefined,
): Promise<void> {
  const text = JSON.stringify({ user: superuser.user, password: superuser.password.reveal() });
  await writeOwned(directory, superuserFile, text, account);
}

/** Throws PoolerError when the directory was not made, or not completely made, by weir. */
export async function recallSuperuser(directory: string): Promise<Superuser> {
  const found = parseObject(await readOwned(directory, superuserFile));
  if (typeof found?.['user'] === 'string' && typeof found['password'] === 'string') {
    return { user: found['user'], password: new Secret(found['password']) };
  }
  throw new PoolerError(`the data directory "${directory}" was not made by weir, or making it was interrupted`, {
    sqlstate: '55000',
    detail: `It holds no readable ${superuserFile}.`,
    hint: 'Remove it if it holds nothing of value, or name another directory. To pool an existing PostgreSQL, give weir a config file.',
  });
}

/** Has the cluster read weir's settings; once per cluster. */
export async function includeSettings(directory: string): Promise<void> {
  const handle = await open(
    join(directory, 'postgresql.conf'),
    constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW,
  );
  try {
    await handle.write(`\ninclude_if_exists = '${settingsFile}'\n`);
  } finally {
    await handle.close();
  }
}

/** What ALTER SYSTEM sets wins over these. Throws PoolerError for a name or value that no setting can have. */
export async function writeSettings(
  directory: string,
  settings: Readonly<Record<string, string>>,
  account: Account | undefined,
): Promise<void> {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${quoteSetting(name, value)}\n`);
  await writeOwned(directory, settingsFile, lines.join(''), account);
}

function quoteSetting(name: string, value: string): string {
  // A configuration file cannot hold these in a value.
  if (!/^[a-z_][a-z0-9_.]*$/i.test(name) || /[\n\r\0]/.test(value)) {
    throw new PoolerError(`"${name}" is not a PostgreSQL setting`, { sqlstate: '42704' });
  }
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/** Says, in the directory, who runs it, so that a later weir can tell an orphan from a server in use. */
export async function signOwner(directory: string, pids: OwnerPids, account: Account | undefined): Promise<void> {
  const { weir, watchdog, postmaster } = pids;
  const owner = { weir: identify(weir), watchdog: identify(watchdog), postmaster: identify(postmaster) };
  await writeOwned(directory, ownerFile, JSON.stringify(owner), account);
}

export async function signOff(directory: string): Promise<void> {
  await unlink(join(directory, ownerFile)).catch(() => {});
}

/**
 * Makes sure that no server runs in the directory: ends one whose weir is gone, throws PoolerError for one in use, and removes the lock
 * of one that is provably dead (its number may belong to somebody else by now, at which PostgreSQL would refuse to start).
 */
export async function sweep(directory: string, account: Account | undefined): Promise<void> {
  const pid = await lockedBy(directory);
  if (pid === undefined || identify(pid) === undefined) return;
  const { weir, watchdog, postmaster } = await readOwner(directory);
  if (postmaster?.pid !== pid) throw inUse(directory, `Process ${pid} holds its lock.`);
  if (!isAlive(postmaster)) return rm(join(directory, 'postmaster.pid'), { force: true });
  if (weir !== undefined && isAlive(weir)) throw inUse(directory, `The weir that runs it is process ${weir.pid}.`);
  const ladder = watchdog !== undefined && isAlive(watchdog) ? [watchdogRung, ...sweepLadder] : sweepLadder;
  for (const { signal, waitMs } of ladder) {
    if (signal !== undefined) signalProcess(postmaster, signal, account);
    if (await ends(postmaster, waitMs)) return;
  }
  throw inUse(directory, `Process ${pid} was left behind by an earlier weir and does not end.`);
}

/**
 * Ends the servers of temporary data whose weir and watchdog were both killed, and removes their directories.
 * @param base directory that holds the runtime directories
 */
export async function sweepTemporary(base: string, account: Account | undefined): Promise<void> {
  const names = (await readdir(base)).filter((name) => runtimeName.test(name)).slice(0, sweptMax);
  for (const name of names) {
    const runtimeDir = join(base, name);
    const owner = await readOwner(join(runtimeDir, 'data'));
    await removeAbandoned(runtimeDir);
    if (owner.weir === undefined || owner.watchdog === undefined || owner.postmaster === undefined) continue;
    if (isAlive(owner.weir) || isAlive(owner.watchdog)) continue;
    const uid = await stat(runtimeDir).then(
      (found) => found.uid,
      () => undefined,
    );
    if (uid !== (account?.uid ?? process.getuid?.())) continue;
    signalProcess(owner.postmaster, 'SIGQUIT', account);
    if (await ends(owner.postmaster, immediateShutdownMsMax)) await removeTree(runtimeDir);
  }
}

/** What a server of named data leaves when its watchdog was killed: empty, for one in use holds at least a socket. */
async function removeAbandoned(runtimeDir: string): Promise<void> {
  const found = await stat(runtimeDir).catch(() => undefined);
  if (found !== undefined && Date.now() - found.mtimeMs > abandonedMs) await rmdir(runtimeDir).catch(() => {});
}

async function ends(identity: ProcessIdentity, withinMs: number): Promise<boolean> {
  for (let waited = 0; waited < withinMs; waited += sweepPollMs) {
    if (!isAlive(identity)) return true;
    await sleep(sweepPollMs);
  }
  return false;
}

/** rm(1) walks by directory handles: nobody can lead a privileged removal astray through a link planted meanwhile. */
export async function removeTree(path: string): Promise<void> {
  await run('rm', ['-rf', '--', path]);
}

type Owner = { readonly [who in keyof OwnerPids]: ProcessIdentity | undefined };

async function readOwner(directory: string): Promise<Owner> {
  const owner = parseObject(await readOwned(directory, ownerFile));
  return {
    weir: identityIn(owner?.['weir']),
    watchdog: identityIn(owner?.['watchdog']),
    postmaster: identityIn(owner?.['postmaster']),
  };
}

/** Whether that process holds the lock, has bound its port (line 6) and says that it is ready (line 8); pg_ctl looks at the same lines. */
export async function saysReady(directory: string, pid: number, host: string): Promise<boolean> {
  const lines = (await readOwned(directory, 'postmaster.pid'))?.split('\n') ?? [];
  // A hot standby is up too, and says so in a word of its own.
  return Number(lines[0]) === pid && lines[5] === host && ['ready', 'standby'].includes(lines[7]?.trim() ?? '');
}

/** The process that PostgreSQL's own lock file names. */
async function lockedBy(directory: string): Promise<number | undefined> {
  const [line] = (await readOwned(directory, 'postmaster.pid'))?.split('\n') ?? [];
  const pid = Number(line);
  return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
}

function inUse(directory: string, detail: string): PoolerError {
  return new PoolerError(`the data directory "${directory}" is in use`, {
    sqlstate: '55006',
    detail,
    hint: 'Stop the other one first, or name another directory.',
  });
}

/** Mode 0600, owned by whoever runs the server. The new file takes the old one's place, so a planted link is never followed. */
export async function writeOwned(
  directory: string,
  name: string,
  text: string,
  account: Account | undefined,
): Promise<void> {
  const fresh = join(await realpath(directory), `.${name}.${randomBytes(6).toString('hex')}`);
  const handle = await open(fresh, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    if (account !== undefined) await handle.chown(account.uid, account.gid);
  } finally {
    await handle.close();
  }
  await rename(fresh, join(directory, name));
}

/** Undefined when there is no such regular file or it is absurdly large. */
async function readOwned(directory: string, name: string): Promise<string | undefined> {
  try {
    const handle = await open(join(directory, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { size } = await handle.stat();
      return size > ownFileBytesMax ? undefined : await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}

function parseObject(text: string | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '');
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function ignoreExisting(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
}

function identityIn(value: unknown): ProcessIdentity | undefined {
  if (typeof value !== 'object' || value === null || !('pid' in value) || !('started' in value)) return undefined;
  const { pid, started } = value;
  return typeof pid === 'number' && pid > 1 && typeof started === 'string' ? { pid, started } : undefined;
}
