// Starts PostgreSQL on this machine for as long as weir runs, waits until it takes logins, stops and restarts it.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, mkdtemp, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { assert, PoolerError, Secret } from '../util/index.js';
import { type Account, canReach, unprivilegedAccount } from './account.js';
import { type Binaries, findBinaries, type ProvenBinaries, proveBinaries } from './binaries.js';
import {
  giveTo,
  includeSettings,
  inspectDirectory,
  recallSuperuser,
  rememberSuperuser,
  removeTree,
  requireMajor,
  type Superuser,
  saysReady,
  signOff,
  signOwner,
  sweep,
  sweepTemporary,
  writeOwned,
  writeSettings,
} from './data-directory.js';
import { Guard, type ProgramExit, type RunningProgram, searchPath } from './guard.js';
import { acceptsLogins, freePort, isPortTaken } from './server-probe.js';
import type { Program } from './watchdog-messages.js';

export interface EmbeddedOptions {
  /** Kept and used again at the next start. Without it the data is temporary and gone with the server. */
  readonly dataDir?: string | undefined;
  /** Begin with a copy of this stopped data directory, which weir made. Only for temporary data. */
  readonly copyOf?: string | undefined;
  /** Where temporary files go; the system's usual places otherwise. */
  readonly temporaryBase?: string | undefined;
  /** 0 or undefined: a free one. */
  readonly port?: number | undefined;
  /** Called when there is no cluster yet and one is made, which takes a few seconds. */
  readonly onInitialise?: (() => void) | undefined;
  /** Every line that PostgreSQL writes to its log. */
  readonly log: (line: string) => void;
  readonly binaries?: Binaries | undefined;
  /** For postgresql.conf; ALTER SYSTEM wins over them. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
  /** Files to write (mode 0600) into the data directory before the start, e.g. `pg_hba.conf` or `server.key`. */
  readonly files?: Readonly<Record<string, string>> | undefined;
  readonly initdbArgs?: readonly string[] | undefined;
  /** Name of the superuser of a new data directory; an old one keeps its own. */
  readonly superuser?: string | undefined;
  /** Password for a new data directory, or the one that an old directory has by now. Random otherwise. */
  readonly superuserPassword?: Secret | undefined;
}

/** `fast` disconnects everybody and writes the data out; `immediate` leaves that to the recovery at the next start. */
export type StopMode = 'fast' | 'immediate';

export interface ServerExit {
  /** Whether somebody called `stop` or `restart`. */
  readonly expected: boolean;
  readonly code?: number | undefined;
  readonly signal?: string | undefined;
  /** The last lines of the server's log. */
  readonly lastLines: readonly string[];
}

export interface EmbeddedPostgres {
  readonly host: string;
  readonly port: number;
  /** Directory of a Unix socket that only weir's user can reach; undefined where the path would be too long. */
  readonly socketDir: string | undefined;
  readonly user: string;
  readonly password: Secret;
  readonly database: string;
  readonly dataDir: string;
  /** PostgreSQL's own, e.g. `18.4`. */
  readonly version: string;
  /** The postmaster's. */
  readonly pid: number;
  /** Ends the server and the watchdog and removes what is temporary. May be called again. */
  stop(mode?: StopMode): Promise<void>;
  /** Stops, or buries, the server and starts it again: same data, port and password. */
  restart(mode?: StopMode): Promise<void>;
  /** Called, synchronously, each time the server's process ends. */
  onExit(listener: (exit: ServerExit) => void): void;
}

const host = '127.0.0.1';
const database = 'postgres';
const logTailLines = 20;
const portAttemptsMax = 5;
const initdbMsMax = 120_000;
/** Recovery after a crash can take a while. */
const readyMsMax = 120_000;
const readyPollMs = 10;
/** `sun_path` of macOS, less the socket's name and the terminating zero. */
const socketDirBytesMax = 104 - '/.s.PGSQL.65535'.length - 1;

const demoSettings = { log_checkpoints: 'off' } as const;
/** Nobody keeps temporary data, so nobody needs it on disk. */
const temporarySettings = {
  ...demoSettings,
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  // Below the data directory, and gone with it, also where PostgreSQL is killed.
  dynamic_shared_memory_type: 'mmap',
} as const;

const run = promisify(execFile);

/** Resolves when the server takes logins. Throws PoolerError, with the last lines of the server's log, when it does not come up. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  assert(options.dataDir === undefined || options.copyOf === undefined, 'a named data directory is never a copy');
  const binaries = options.binaries ?? findBinaries();
  const named = options.dataDir === undefined ? undefined : resolve(options.dataDir);
  const contents = named === undefined ? undefined : await inspectDirectory(named);
  const account =
    contents?.kind === 'cluster' ? await accountOf(named as string, contents.owner) : await unprivilegedAccount();
  const runtimeDir = await makeRuntimeDirectory(options.temporaryBase ?? tmpdir(), account);
  const tail: string[] = [];
  const sink: Sink = { tail, log: undefined };
  let guard: Guard | undefined;
  try {
    guard = await Guard.start([runtimeDir], (line) => sinkLine(sink, line));
    await sweepTemporary(dirname(runtimeDir), account);
    const proven = await proveBinaries(binaries, account, runtimeDir);
    const place: Place = { guard, account, runtimeDir, proven, tail };
    const dataDir = named ?? temporaryData(runtimeDir);
    if (contents?.kind === 'cluster') {
      requireMajor(dataDir, contents.major, proven.major);
      await giveTo(dataDir, account);
      await sweep(dataDir, account);
    } else if (options.copyOf !== undefined) {
      await copyDirectory(options.copyOf, dataDir);
    } else {
      options.onInitialise?.();
      await mkdir(dataDir, { recursive: true, mode: 0o700 });
      await giveTo(dataDir, account);
      await initialise(place, dataDir, options);
    }
    const remembered = await recallSuperuser(dataDir);
    const superuser = { ...remembered, password: options.superuserPassword ?? remembered.password };
    const defaults = named === undefined ? temporarySettings : demoSettings;
    await writeSettings(dataDir, { ...defaults, ...options.settings }, account);
    for (const [name, text] of Object.entries(options.files ?? {})) await writeOwned(dataDir, name, text, account);
    sink.log = options.log;
    const server = new EmbeddedServer(place, dataDir, superuser);
    await server.begin(options.port ?? 0);
    return server;
  } catch (cause) {
    await guard?.end();
    await removeTree(runtimeDir);
    if (cause instanceof PoolerError) throw cause;
    throw startFailed(cause instanceof Error ? cause.message : String(cause), tail, cause);
  }
}

/** What every step of a start needs. */
interface Place {
  readonly guard: Guard;
  readonly account: Account | undefined;
  readonly runtimeDir: string;
  readonly proven: ProvenBinaries;
  readonly tail: readonly string[];
}

interface Sink {
  readonly tail: string[];
  /** Undefined while initdb runs: what it says matters only when it fails. */
  log: ((line: string) => void) | undefined;
}

function sinkLine(sink: Sink, line: string): void {
  if (line === '') return;
  sink.tail.push(line);
  if (sink.tail.length > logTailLines) sink.tail.shift();
  sink.log?.(line);
}

type ServerState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'running'; readonly pid: number; readonly program: RunningProgram }
  | { readonly kind: 'stopping'; readonly pid: number; readonly done: Promise<ProgramExit> }
  | { readonly kind: 'exited'; readonly pid: number }
  | { readonly kind: 'closed'; readonly pid: number; readonly done: Promise<void> };

class EmbeddedServer implements EmbeddedPostgres {
  readonly host = host;
  readonly database = database;
  readonly socketDir: string | undefined;
  readonly user: string;
  readonly password: Secret;
  readonly version: string;
  readonly dataDir: string;
  readonly #place: Place;
  readonly #listeners: ((exit: ServerExit) => void)[] = [];
  #port = 0;
  #state: ServerState = { kind: 'starting' };

  constructor(place: Place, dataDir: string, superuser: Superuser) {
    this.#place = place;
    this.dataDir = dataDir;
    this.user = superuser.user;
    this.password = superuser.password;
    this.version = place.proven.version;
    this.socketDir = Buffer.byteLength(place.runtimeDir) <= socketDirBytesMax ? place.runtimeDir : undefined;
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    assert(this.#state.kind !== 'starting', 'the server has been started');
    return this.#state.pid;
  }

  onExit(listener: (exit: ServerExit) => void): void {
    this.#listeners.push(listener);
  }

  /** @param port 0 for any; another process may take the chosen one first, hence the attempts */
  async begin(port: number): Promise<void> {
    this.#place.guard.hold();
    try {
      for (let attempt = 1; ; attempt++) {
        this.#port = port === 0 ? await freePort(host) : port;
        if (await this.#launch()) return;
        const again = port === 0 && attempt < portAttemptsMax && (await isPortTaken(host, this.#port));
        if (!again) throw startFailed('it ended before it took logins', this.#place.tail, undefined);
      }
    } finally {
      this.#place.guard.letGo();
    }
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    if (this.#state.kind !== 'closed') {
      const pid = this.pid;
      this.#state = { kind: 'closed', pid, done: this.#close(this.#state, mode) };
    }
    await this.#state.done;
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    if (this.#state.kind === 'closed') throw startFailed('it was stopped for good', [], undefined);
    this.#place.guard.hold();
    try {
      await this.#end(this.#state, mode);
    } finally {
      this.#place.guard.letGo();
    }
    await this.begin(this.#port);
  }

  async #close(state: ServerState, mode: StopMode): Promise<void> {
    const { guard, runtimeDir } = this.#place;
    guard.hold();
    await this.#end(state, mode);
    await signOff(this.dataDir);
    await guard.end();
    // Normally gone already; not when the watchdog was killed.
    await removeTree(runtimeDir);
  }

  async #end(state: ServerState, mode: StopMode): Promise<void> {
    switch (state.kind) {
      case 'running':
        this.#state = { kind: 'stopping', pid: state.pid, done: state.program.exited };
        await this.#place.guard.endProgram(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
        return;
      case 'stopping':
        await state.done;
        return;
      case 'starting':
      case 'exited':
      case 'closed':
        return;
      default:
        state satisfies never;
    }
  }

  /** False when the server ended before it was ready. */
  async #launch(): Promise<boolean> {
    const { guard, account } = this.#place;
    const program = await guard.launch(this.#postgres());
    const phase = { alive: true, ready: false };
    this.#state = { kind: 'running', pid: program.pid, program };
    void program.exited.then((exit) => {
      phase.alive = false;
      this.#buried(program.pid, phase.ready ? exit : undefined);
    });
    const pids = { weir: process.pid, watchdog: guard.pid, postmaster: program.pid };
    await signOwner(this.dataDir, pids, account);
    const until = performance.now() + readyMsMax;
    while (phase.alive && performance.now() < until) {
      // The lock says that the port is our server's and not somebody else's; the answer, that it takes logins.
      const ready =
        (await saysReady(this.dataDir, program.pid, host)) && (await acceptsLogins(host, this.#port, this.user));
      phase.ready = ready && phase.alive;
      if (phase.ready) return true;
      await sleep(readyPollMs);
    }
    if (phase.alive) throw startFailed(`it took no logins for ${readyMsMax / 1_000} s`, this.#place.tail, undefined);
    return false;
  }

  /** @param exit undefined when nobody was told that the server ran */
  #buried(pid: number, exit: ProgramExit | undefined): void {
    const { kind } = this.#state;
    const expected = kind === 'stopping' || kind === 'closed';
    if (kind !== 'closed') this.#state = { kind: 'exited', pid };
    if (exit === undefined) return;
    const lastLines = [...this.#place.tail];
    for (const listener of this.#listeners) listener({ ...exit, expected, lastLines });
  }

  #postgres(): Program {
    const { proven, account, runtimeDir } = this.#place;
    const settings = {
      listen_addresses: host,
      port: String(this.#port),
      unix_socket_directories: this.socketDir ?? '',
      unix_socket_permissions: '0700',
    };
    return {
      command: join(proven.nativeDir, 'bin', 'postgres'),
      args: ['-D', this.dataDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      cwd: runtimeDir,
      env: environment(),
      account,
      endSignal: this.dataDir === temporaryData(runtimeDir) ? 'SIGQUIT' : 'SIGINT',
    };
  }
}

/** The owner of an existing cluster must run it; only root can be somebody else. */
async function accountOf(path: string, owner: Account): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  if (owner.uid !== 0) return owner;
  throw new PoolerError(`the data directory "${path}" belongs to root, and PostgreSQL cannot run as root`, {
    sqlstate: '42501',
    hint: `Give it to an ordinary user (chown -R), or name another directory.`,
  });
}

/** For sockets, temporary data and copies: below the first place that the account can get to. */
async function makeRuntimeDirectory(preferred: string, account: Account | undefined): Promise<string> {
  for (const base of new Set([preferred, '/tmp', '/var/tmp'])) {
    try {
      if (!(await stat(base)).isDirectory()) continue;
      const path = await mkdtemp(join(await realpath(base), 'weir-'));
      if (account !== undefined) await chown(path, account.uid, account.gid);
      if (await canReach(path, account)) return path;
      await rm(path, { recursive: true });
    } catch {
      // The next place may do.
    }
  }
  throw new PoolerError('there is no directory for temporary files', {
    sqlstate: '58030',
    hint: 'Set TMPDIR to a directory that every user can enter.',
  });
}

function temporaryData(runtimeDir: string): string {
  return join(runtimeDir, 'data');
}

/** Keeps owners and modes, and shares blocks where the file system can. */
async function copyDirectory(from: string, to: string): Promise<void> {
  await run('cp', ['-a', '--', from, to], { env: { PATH: searchPath } });
}

async function initialise(place: Place, dataDir: string, options: EmbeddedOptions): Promise<void> {
  const { guard, account, runtimeDir, proven } = place;
  const user = options.superuser ?? 'postgres';
  const password = options.superuserPassword ?? new Secret(randomBytes(24).toString('base64url'));
  const passwordFile = 'initial-password';
  const locale = proven.major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'] : [];
  const sync = options.dataDir === undefined ? ['--no-sync'] : [];
  await writeOwned(runtimeDir, passwordFile, `${password.reveal()}\n`, account);
  try {
    await runToEnd(place, {
      command: join(proven.nativeDir, 'bin', 'initdb'),
      args: [
        `--pgdata=${dataDir}`,
        `--username=${user}`,
        `--pwfile=${join(runtimeDir, passwordFile)}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        '--locale=C',
        ...locale,
        ...sync,
        ...(options.initdbArgs ?? []),
      ],
      cwd: runtimeDir,
      env: environment(),
      account,
      endSignal: 'SIGTERM',
    });
  } finally {
    await rm(join(runtimeDir, passwordFile), { force: true });
  }
  await includeSettings(dataDir);
  await rememberSuperuser(dataDir, { user, password }, account);
  guard.letGo();
}

async function runToEnd({ guard, tail }: Place, program: Program): Promise<void> {
  guard.hold();
  const { exited } = await guard.launch(program);
  const late = setTimeout(() => void guard.endProgram(program.endSignal), initdbMsMax);
  const { code } = await exited;
  clearTimeout(late);
  if (code !== 0) throw startFailed('initdb failed', tail, undefined);
}

/** English messages, and the time zone without initdb's search for it. */
function environment(): Record<string, string> {
  return { PATH: searchPath, LC_ALL: 'C', TZ: Intl.DateTimeFormat().resolvedOptions().timeZone };
}

function startFailed(reason: string, tail: readonly string[], cause: unknown): PoolerError {
  return new PoolerError(`the embedded PostgreSQL did not start: ${reason}`, {
    sqlstate: '58000',
    ...(tail.length === 0 ? {} : { detail: tail.join('\n') }),
    cause,
  });
}
