// One server connection from its login to its end: a state, a socket, a channel, health checks, resets and cancels.

import type { Peer, PeerHandler } from '../net/index.js';
import { type ClientChannel, ServerChannel, type ServerHost, type SharedRead, type Traffic } from '../relay/index.js';
import { type ReadShape, ServerStatements, type Settings, type StatementRegistry } from '../session/index.js';
import { firstAttempt } from '../tls/index.js';
import { assert, type Clock, internalError, PoolerError } from '../util/index.js';
import { cancelRequestMessage, ownQueryMessage, type ServerErrorFields, terminateMessage } from '../wire/index.js';
import { askOnce, ServerRefusal } from './ask.js';
import { BaseMemory, makeBase, type ServerBase } from './base.js';
import { type LoggedIn, logIn, sendCancel } from './login.js';
import type { Resolver } from './resolver.js';
import { type Address, addressText, type ServerTarget, type SessionAttrs } from './target.js';

/** Whoever has a server on loan. */
export interface Lessee {
  readonly channel: ClientChannel;
  /** The server cannot take more for now, or can again: the client's input pauses and resumes. */
  onServerPressure(pressed: boolean): void;
  /**
   * The server is gone in the middle of the lease. With `told` the client cannot be told any more: the server has said
   * why itself, or was cut off in the middle of a message.
   */
  onServerLost(error: PoolerError, told: boolean): void;
  /** Replies have come: less is owed than before. */
  onServerRead(): void;
  /** The batch is over and nothing is owed; the lease may end. */
  onBatchEnd(): void;
}

export type ServerState =
  /** Ready to be lent. */
  | { readonly kind: 'idle'; readonly sinceMs: number }
  | { readonly kind: 'active'; readonly lessee: Lessee; readonly sinceMs: number }
  /** Lent to reads of several clients. */
  | { readonly kind: 'shared'; readonly sinceMs: number }
  /** Being reset, checked or drained; lent to nobody. PgBouncer calls it tested. */
  | { readonly kind: 'tested'; readonly sinceMs: number; readonly what: 'reset' | 'check' | 'drain' }
  /** Only a cancel request on its way keeps it from being lent. */
  | { readonly kind: 'being_canceled'; readonly sinceMs: number }
  | { readonly kind: 'closed' };

/** What the pool is told of its servers. */
export interface ServerOwner {
  /** The connection is over; called once. `error` is undefined when weir closed it. */
  onServerClosed(server: ServerConnection, error: PoolerError | undefined): void;
  onServerError(server: ServerConnection, fields: ServerErrorFields): void;
  /** A client has altered the settings of roles or databases. */
  onSettingsAltered(): void;
  /** Its session has something that weir did not believe it to have. */
  onLeak(server: ServerConnection, cause: string, what: string): void;
  /** A read has run, alone or beside others. */
  onReadRun(shape: ReadShape, ms: number, bytes: number, shared: boolean): void;
  /** A read on a shared server has been answered, or is to be run again. */
  onReadEnd(server: ServerConnection, read: SharedRead): void;
  /** A shared server is not any more as the clients of its reads expect it. */
  onSharedChanged(server: ServerConnection): void;
  /** The shared server is lost; these reads had nothing of their answers yet. */
  onReadsLost(server: ServerConnection, reads: readonly SharedRead[]): void;
  /** What an earlier client left unread has been read. */
  onServerDrained(server: ServerConnection): void;
  /** The state changed from `before`. */
  onServerState(server: ServerConnection, before: ServerState): void;
}

export interface ServerEnvironment {
  readonly clock: Clock;
  readonly traffic: Traffic;
  readonly registry: StatementRegistry;
  readonly statementsMax: number;
}

/** How long a cancel request may take before it is given up. */
const cancelMsMax = 60_000;

export class ServerConnection implements PeerHandler, ServerHost {
  readonly id: number;
  readonly target: ServerTarget;
  readonly address: Address;
  readonly pid: number;
  readonly tls: boolean;
  readonly peer: Peer;
  readonly channel: ServerChannel;
  readonly connectedMs: number;
  readonly connectedWallMs: number;
  /** When it was last lent, in milliseconds of the wall clock. */
  requestedWallMs: number;
  /** What RESET goes back to. */
  readonly loginSettings: Settings;
  /** What sessions begin with: as connect_query has left it. */
  readonly begunSettings: Settings;
  /** What makes that again behind a reset. */
  readonly restoreQuery: string | undefined;
  /** Parameters by the server's own names, as it reported them at its login. */
  readonly parameters: Map<string, string>;
  /** Of which generation of the pool: an older one is closed when next idle. */
  readonly generation: number;
  /** To be closed as soon as nobody uses it. */
  closeNeeded = false;
  /** Errors it has sent. */
  errors = 0;
  /** Whether anybody has ever had it. */
  lent = false;

  readonly #owner: ServerOwner;
  readonly #clock: Clock;
  /** The pool's. */
  readonly #traffic: Traffic;
  readonly #cancelSecret: Buffer;
  #state: ServerState;
  #cancelling: Promise<void> | undefined;
  /** The server's last words, if it announced its end. */
  #fatal: ServerErrorFields | undefined;

  constructor(
    id: number,
    generation: number,
    login: Dialled,
    target: ServerTarget,
    env: ServerEnvironment,
    owner: ServerOwner,
  ) {
    this.id = id;
    this.generation = generation;
    this.target = target;
    this.address = login.address;
    this.pid = login.pid;
    this.tls = login.tls;
    this.peer = login.peer;
    this.#cancelSecret = login.cancelSecret;
    this.#owner = owner;
    this.#clock = env.clock;
    this.#traffic = env.traffic;
    this.connectedMs = env.clock.now();
    this.connectedWallMs = env.clock.wallMs();
    this.requestedWallMs = this.connectedWallMs;
    this.parameters = new Map(login.parameters);
    const { base } = login;
    this.loginSettings = base.login;
    this.begunSettings = base.begun;
    this.restoreQuery = base.restoreQuery;
    this.#state = { kind: 'idle', sinceMs: this.connectedMs };
    this.channel = new ServerChannel({
      toServer: this.peer,
      host: this,
      clock: env.clock,
      traffic: env.traffic,
      settings: base.begun,
      loginSettings: base.login,
      statements: new ServerStatements(env.registry, Math.max(1, env.statementsMax)),
      parameters: base.parameters,
      superuser: base.superuser,
      restoreQuery: base.restoreQuery === undefined ? undefined : ownQueryMessage(base.restoreQuery),
      hasMore: base.hasMore,
      place: `${addressText(login.address)}/${login.pid}`.replaceAll(/[^ -~]|["\\]/g, '?'),
    });
    this.peer.handler = this;
    if (login.rest.length > 0) this.onData(login.rest, 0, login.rest.length);
  }

  get state(): ServerState {
    return this.#state;
  }

  get lessee(): Lessee | undefined {
    return this.#state.kind === 'active' ? this.#state.lessee : undefined;
  }

  get cancelling(): boolean {
    return this.#cancelling !== undefined;
  }

  #move(next: ServerState): void {
    const before = this.#state;
    assert(before.kind !== 'closed', 'a closed server stays closed');
    this.#state = next;
    this.#owner.onServerState(this, before);
  }

  /** Nobody has it; it may be lent once no cancel request for it is on its way. */
  #rest(): void {
    this.#move({ kind: this.cancelling ? 'being_canceled' : 'idle', sinceMs: this.#clock.now() });
  }

  /** Lends it. */
  lend(lessee: Lessee): void {
    assert(this.#state.kind === 'idle', 'only an idle server is lent');
    assert(!this.cancelling, 'a server is not lent while a cancel for it is on its way');
    this.channel.attach(lessee.channel);
    lessee.channel.server = this.channel;
    this.requestedWallMs = this.#clock.wallMs();
    this.lent = true;
    this.#move({ kind: 'active', lessee, sinceMs: this.#clock.now() });
  }

  /** Takes it back; it is quiet, or will be drained. */
  takeBack(): void {
    assert(this.#state.kind === 'active', 'a server is taken back from whoever has it');
    const { lessee } = this.#state;
    lessee.channel.server = undefined;
    this.channel.detach();
    this.#rest();
    this.peer.resume();
  }

  /** Lends it to reads of several clients, with these settings. */
  share(settings: Settings): void {
    assert(this.#state.kind === 'idle' && !this.cancelling, 'only an idle server is shared');
    this.channel.beginSharing(settings, this.#traffic);
    this.requestedWallMs = this.#clock.wallMs();
    this.lent = true;
    this.#move({ kind: 'shared', sinceMs: this.#clock.now() });
  }

  /** Takes it back from them: all have been answered. */
  unshare(): void {
    assert(this.#state.kind === 'shared', 'a server that is taken back from its readers was shared');
    this.channel.endSharing();
    this.#rest();
    this.peer.resume();
  }

  /** Runs a statement of weir's own while nobody has the server. */
  ask(what: 'reset' | 'check' | 'drain', sql: string, done: (error: ServerErrorFields | undefined) => void): void {
    this.beginTest(what);
    this.channel.ask(ownQueryMessage(sql), (error) => {
      if (this.#state.kind === 'closed') return;
      this.endTest();
      done(error);
    });
  }

  /** Out of use until `endTest`. */
  beginTest(what: 'reset' | 'check' | 'drain'): void {
    this.#move({ kind: 'tested', what, sinceMs: this.#clock.now() });
  }

  endTest(): void {
    if (this.#state.kind !== 'tested') return;
    this.#rest();
  }

  /**
   * Asks the server to cancel what it runs now; requests that come meanwhile join the one under way. The server is not
   * lent on before the request has arrived.
   * @param timeoutMs 0 is no limit but `cancelMsMax`
   */
  cancel(timeoutMs: number): Promise<void> {
    if (this.#state.kind === 'closed') return Promise.resolve();
    this.#cancelling ??= sendCancel(
      this.target,
      this.address,
      firstAttempt(this.target.tls?.mode ?? 'disable', this.address.kind),
      cancelRequestMessage(this.pid, this.#cancelSecret),
      timeoutMs > 0 ? Math.min(timeoutMs, cancelMsMax) : cancelMsMax,
    )
      .catch((error: unknown) => {
        // It may still arrive, and would hit whoever has the server by then.
        this.closeNeeded = true;
        throw error;
      })
      .finally(() => {
        this.#cancelling = undefined;
        if (this.state.kind === 'being_canceled') this.#move({ kind: 'idle', sinceMs: this.#clock.now() });
      });
    return this.#cancelling;
  }

  /** Says goodbye, unless the server has. Nobody may have it on loan. */
  close(): void {
    if (this.#state.kind === 'closed') return;
    if (this.#fatal === undefined) this.peer.writeOwned(terminateMessage);
    this.peer.end();
    this.#closed(undefined);
  }

  /** Cuts the connection at once; whoever has it on loan is told `error`. */
  destroy(error: PoolerError): void {
    if (this.#state.kind === 'closed') return;
    this.peer.destroy();
    this.#closed(error);
  }

  #closed(error: PoolerError | undefined): void {
    const { lessee } = this;
    const cut = this.channel.midFrame;
    const reads = this.channel.takeReads('first');
    this.#move({ kind: 'closed' });
    if (lessee !== undefined) lessee.channel.server = undefined;
    this.channel.close();
    this.#owner.onServerClosed(this, error);
    const cause = error ?? lost('the pooler closed the server connection');
    const told = this.#fatal !== undefined || cut;
    this.#loseReads(reads, cause, told);
    lessee?.onServerLost(cause, told);
  }

  /** A client that has something of its answer cannot have another one. */
  #loseReads(reads: readonly SharedRead[], error: PoolerError, told: boolean): void {
    const untouched = reads.filter((read) => !read.started);
    for (const read of reads) if (read.started) read.reader.onReadLost(error, told);
    if (untouched.length > 0) this.#owner.onReadsLost(this, untouched);
  }

  // What the socket says.

  onData(bytes: Buffer, start: number, end: number): void {
    try {
      this.channel.receive(bytes, start, end);
      this.lessee?.onServerRead();
    } catch (cause) {
      this.destroy(internalError(cause));
    }
  }

  onReadRun(shape: ReadShape, ms: number, bytes: number, shared: boolean): void {
    this.#owner.onReadRun(shape, ms, bytes, shared);
  }

  onReadEnd(read: SharedRead): void {
    this.#owner.onReadEnd(this, read);
  }

  onSharedChanged(): void {
    this.#owner.onSharedChanged(this);
  }

  onPressure(): void {
    this.lessee?.onServerPressure(true);
  }

  onRelief(): void {
    this.lessee?.onServerPressure(false);
  }

  onClose(error: Error | undefined): void {
    if (this.#state.kind === 'closed') return;
    const fatal = this.#fatal;
    this.#closed(
      fatal === undefined
        ? lost(error === undefined ? 'the server closed the connection' : error.message)
        : new PoolerError(fatal.message, { sqlstate: fatal.sqlstate }),
    );
  }

  // What the channel says.

  onBatchEnd(): void {
    const state = this.#state;
    if (state.kind === 'active') state.lessee.onBatchEnd();
    else if (state.kind === 'tested' && state.what === 'drain') this.#owner.onServerDrained(this);
  }

  onError(fields: ServerErrorFields): void {
    this.errors++;
    this.#owner.onServerError(this, fields);
  }

  onSettingsAltered(): void {
    this.#owner.onSettingsAltered();
  }

  onLeak(cause: string, what: string): void {
    this.#owner.onLeak(this, cause, what);
  }

  onFatal(fields: ServerErrorFields): void {
    this.#fatal = fields;
    this.closeNeeded = true;
  }

  onDoubt(reason: string): void {
    this.destroy(
      new PoolerError('server conn crashed?', {
        sqlstate: '08006',
        detail: `The replies of the server make no sense: ${reason}.`,
        hint: 'The connection was closed so that nobody gets a reply of somebody else.',
      }),
    );
  }
}

function lost(detail: string): PoolerError {
  return new PoolerError('server conn crashed?', {
    sqlstate: '08006',
    detail: `The connection to the server was lost: ${detail}.`,
    hint: 'Try again: weir connects anew by itself. Whether the statement took effect is not known.',
  });
}

function fits(attrs: SessionAttrs, standby: boolean, readOnly: boolean): boolean {
  switch (attrs) {
    case 'any':
      return true;
    case 'read-write':
      return !standby && !readOnly;
    case 'read-only':
      return standby || readOnly;
    case 'primary':
      return !standby;
    case 'standby':
    case 'prefer-standby':
      return standby;
    default:
      return attrs satisfies never;
  }
}

/** Reported since PostgreSQL 14; asked for where they are not. */
async function fitsTarget(login: LoggedIn, attrs: SessionAttrs, timeoutMs: number): Promise<boolean> {
  if (attrs === 'any') return true;
  const reportedStandby = login.parameters.get('in_hot_standby');
  const reportedReadOnly = login.parameters.get('default_transaction_read_only');
  const standby =
    reportedStandby ??
    ((await askOnce(login, 'SELECT pg_catalog.pg_is_in_recovery()', timeoutMs)) === 't' ? 'on' : 'off');
  const readOnly = reportedReadOnly ?? (await askOnce(login, 'SHOW default_transaction_read_only', timeoutMs)) ?? 'off';
  return fits(attrs, standby === 'on', readOnly === 'on');
}

/** One address after the other, TLS tried as the mode says. @throws PoolerError of the last one */
async function logInSomewhere(
  target: ServerTarget,
  addresses: readonly Address[],
  attrs: SessionAttrs,
  signal: AbortSignal | undefined,
): Promise<LoggedIn | undefined> {
  let failure: unknown;
  for (const address of addresses) {
    try {
      let result = await logIn(target, address, firstAttempt(target.tls?.mode ?? 'disable', address.kind), signal);
      while (result.kind === 'again') result = await logIn(target, address, result.attempt, signal);
      const { server } = result;
      const fitting = await fitsTarget(server, attrs, target.connectTimeoutMs).catch((error: unknown) => {
        server.peer.destroy();
        throw error;
      });
      if (fitting) return server;
      server.peer.destroy();
      failure ??= new PoolerError(`no server is ${attrs} (target_session_attrs)`, {
        sqlstate: '08001',
        hint: 'Check which host is the primary, or change target_session_attrs.',
      });
    } catch (error) {
      signal?.throwIfAborted();
      // Wrong password, no such database: another host of the same cluster says the same.
      if (error instanceof ServerRefusal && error.sqlstate.startsWith('28')) throw error;
      failure = error;
    }
  }
  if (attrs === 'prefer-standby') return undefined;
  throw failure;
}

export interface Dialler {
  readonly resolver: Resolver;
  /** Told of errors that are ignored. */
  warn(text: string, error: unknown): void;
}

/** Sends a cancel request for a server that is no `ServerConnection`. @param timeoutMs see `ServerConnection.cancel` @throws PoolerError */
export function cancelServer(
  target: ServerTarget,
  { address, pid, cancelSecret }: LoggedIn,
  timeoutMs: number,
): Promise<void> {
  return sendCancel(
    target,
    address,
    firstAttempt(target.tls?.mode ?? 'disable', address.kind),
    cancelRequestMessage(pid, cancelSecret),
    timeoutMs > 0 ? Math.min(timeoutMs, cancelMsMax) : cancelMsMax,
  );
}

/** A server that has logged in, and what sessions on it begin with. */
export interface Dialled extends LoggedIn {
  readonly base: ServerBase;
}

/** What connect_query makes is known behind the first login, and what differs from server to server behind the second. */
const loginsMax = 3;

/**
 * Connects to the first host that answers and fits, and runs connect_query there. `turn` says which host is first.
 * @param memory of what connect_query has made of servers before
 * @throws PoolerError when none does, and whatever `signal` is aborted with
 */
export async function dial(
  target: ServerTarget,
  dialler: Dialler,
  turn: number,
  signal?: AbortSignal,
  memory = new BaseMemory(),
): Promise<Dialled> {
  const { connectQuery, tracked, connectTimeoutMs: timeoutMs } = target;
  for (let logins = 1; ; logins++) {
    const sent = new Map(memory.startup(connectQuery));
    const parameters = [...new Map([...target.parameters, ...sent])];
    try {
      const login = await dialOnce({ ...target, parameters }, dialler, turn, signal);
      const warn = (text: string, error: unknown): void =>
        dialler.warn(`${text} at ${addressText(login.address)}`, error);
      try {
        const request = { connectQuery, memory, sent, prelude: memory.prelude(sent), tracked, timeoutMs, warn };
        const { base, made } = await makeBase(login, request);
        const again = made !== undefined && memory.learn(connectQuery, sent, made);
        if (!again || logins === loginsMax) return { ...login, base };
        await memory.readOriginals(login, timeoutMs);
      } catch (error) {
        login.peer.destroy();
        throw error;
      }
      login.peer.writeOwned(terminateMessage);
      login.peer.end();
    } catch (error) {
      if (!(error instanceof ServerRefusal) || !refusesParameters.test(error.sqlstate) || !memory.refuse(sent))
        throw error;
    }
  }
}

/** Of servers, and of poolers before them, that do not take what is in a startup packet. */
const refusesParameters = /^(08P01|0A|22|42)/;

async function dialOnce(
  target: ServerTarget,
  dialler: Dialler,
  turn: number,
  signal: AbortSignal | undefined,
): Promise<LoggedIn> {
  const { hosts } = target;
  assert(hosts.length > 0, 'a database has a host');
  const first = target.roundRobin ? turn % hosts.length : 0;
  const addresses: Address[] = [];
  let unresolved: unknown;
  for (let i = 0; i < hosts.length; i++) {
    const host = hosts[(first + i) % hosts.length];
    assert(host !== undefined, 'the index is within the hosts');
    try {
      const found = await dialler.resolver.resolve(host);
      const start = found.length > 1 ? turn % found.length : 0;
      addresses.push(...found.slice(start), ...found.slice(0, start));
    } catch (error) {
      unresolved = error;
    }
  }
  if (addresses.length === 0) throw unresolved;
  const { sessionAttrs } = target;
  const login =
    (await logInSomewhere(target, addresses, sessionAttrs, signal)) ??
    (await logInSomewhere(target, addresses, 'any', signal));
  assert(login !== undefined, 'any server fits any');
  return login;
}
