// The servers of one database and user: who gets which, how many there are, and when they come and go.

import type { PoolSettings } from '../config/index.js';
import { TimeHistogram } from '../metrics/index.js';
import { newTraffic, type Reader, type RerunCause, type SharedRead, smartReset, type Traffic } from '../relay/index.js';
import {
  BaseMemory,
  type Dialled,
  type Dialler,
  type Lessee,
  type LoggedIn,
  ServerConnection,
  type ServerOwner,
  ServerRefusal,
  type ServerState,
  type ServerTarget,
} from '../server/index.js';
import { type ReadBarrier, type ReadShape, type Settings, StatementRegistry } from '../session/index.js';
import { assert, type Clock, PoolerError } from '../util/index.js';
import type { ServerErrorFields } from '../wire/index.js';
import type { FullLimit, PlaceSeeker, PlaceUse, ServerPlaces } from './budget.js';
import { Catalog } from './catalog.js';
import { drainMsMax, Endings } from './endings.js';
import { cached, closedPool, endedAtOnce, idleInTransaction, noPlace, timedOut, transactionTooLong } from './errors.js';
import { Greeting, type Welcome } from './greeting.js';
import { type Growing, Growth } from './growth.js';
import { IdleServers } from './idle-servers.js';
import { Lane, Lanes } from './lanes.js';
import { type OwnServer, openOwnServer } from './own-server.js';
import type { PoolPolicy } from './pool-policy.js';
import { WaitForecast } from './wait-forecast.js';
import { type Party, type Ticket, Waiters } from './waiters.js';

/** A client as its pool sees it. */
export interface PoolClient extends Lessee {
  /** Weir's own look-ups are not counted among the clients'. */
  readonly kind: 'client' | 'internal';
  readonly party: Party;
  /** The server asked for is there: lent and attached. */
  onLease(server: ServerConnection): void;
  /** There will be none. */
  onWaitFailed(error: PoolerError): void;
  /** Has been waiting for so many seconds. */
  onWaitNotice(seconds: number): void;
  /** See `ClientChannel.keep`. */
  keepSettings(values: ReadonlyMap<string, string>): void;
  /** A time limit of the pool has passed while it had a server. */
  onTimedOut(error: PoolerError): void;
}

/** A client whose reads may share a server with those of others. */
export interface PoolReader extends PoolClient, Reader {
  /** The server for the read it waits to send is there. */
  onShare(server: ServerConnection, shape: ReadShape): void;
}

/** A read that waits for a server. */
export interface WaitingRead {
  readonly reader: PoolReader;
  readonly shape: ReadShape;
}

export type PoolTicket = Ticket<PoolClient, WaitingRead>;

/** What a pool says to the rest of the process. */
export interface PoolEvents {
  serverConnected(pool: Pool, server: ServerConnection): void;
  serverClosed(pool: Pool, server: ServerConnection, error: PoolerError | undefined): void;
  connectFailed(pool: Pool, error: PoolerError): void;
  serverError(pool: Pool, fields: ServerErrorFields): void;
  /** A client of the pool has altered the settings of roles or databases. */
  settingsAltered(pool: Pool): void;
  /** A server's session has something that weir did not believe it to have. */
  leak(pool: Pool, server: ServerConnection, cause: string, what: string): void;
}

export interface PoolContext {
  readonly clock: Clock;
  readonly places: ServerPlaces;
  readonly dialler: Dialler;
  readonly events: PoolEvents;
  /** One number for every client and server of the process. */
  readonly nextId: () => number;
  /** What the names of prepared statements begin with on its servers; by default something no client can guess. */
  readonly statementPrefix?: string | undefined;
  /** By default its clients'. */
  readonly use?: PlaceUse | undefined;
  /** This process's share of a number that all processes have together; by default all of it. */
  readonly shareOf?: ((total: number) => number) | undefined;
}

/** A server that nobody has had yet needs no check for so long. */
const freshMs = 1_000;

/** How long a server that is kept for values of sequences has nothing to do before it goes to others who wait. */
const yieldMs = 500;

/** A shared server that nobody has used for this long is one like any other again. */
const laneIdleMs = 1_000;

/** A statement that brings a server back to its beginning. */
interface Reset {
  readonly kind: 'targeted' | 'smart' | 'discard_all' | 'server_reset_query';
  readonly query: string;
  /** The settings behind it, where it takes some back and nothing else. */
  readonly after?: Settings;
  /** Whether it takes all prepared statements with it. */
  readonly forgets: boolean;
}

/** A server that nobody has had and that ends sooner after its login counts as one that could not be connected. */
const endedAtOnceMs = 1_000;

export interface PoolCounts {
  readonly idle: number;
  readonly active: number;
  readonly tested: number;
  readonly being_canceled: number;
  readonly login: number;
}

export class Pool implements ServerOwner, PlaceSeeker, Growing {
  readonly database: string;
  readonly user: string;
  readonly use: PlaceUse;
  readonly traffic: Traffic = newTraffic();
  /** Prepared statements of its clients and servers. */
  readonly registry: StatementRegistry;
  /** Names of settings with a dot that its clients have used. */
  readonly settingNames = new Set<string>();
  readonly catalog = new Catalog();
  /** Applications that ask for what nextval answered. */
  readonly sequenceReaders = new Set<string>();
  assignments = 0;
  /** When a client last got a server. */
  #servedMs = Number.NEGATIVE_INFINITY;
  readonly waitTime = new TimeHistogram();
  /** Servers made and servers closed, since the pool exists. */
  connects = 0;
  disconnects = 0;
  settings: PoolSettings;
  policy: PoolPolicy;
  target: ServerTarget;
  readonly #context: PoolContext;
  readonly #growth: Growth;
  readonly #greeting = new Greeting();

  readonly #servers = new Set<ServerConnection>();
  readonly #idle = new IdleServers();
  readonly #lanes = new Lanes();
  /** What clients that have left were at. */
  readonly #endings = new Endings((server) => this.cancel(server));
  #stallWatch: NodeJS.Timeout | undefined;
  readonly #counts = { idle: 0, active: 0, shared: 0, tested: 0, being_canceled: 0, closed: 0 };
  readonly #waiters = new Waiters<PoolClient, WaitingRead>();
  readonly #forecast = new WaitForecast();
  #generation = 0;
  #paused = false;
  #closed = false;
  /** Statements that need the database for themselves. */
  #vacancies = 0;
  /** There may be no database any more: it has no least number of servers until a client asks for one. */
  #vacated = false;
  /** A server to be given up for clients of another process, and when. */
  #wantedElsewhere: 'no' | 'when-unneeded' | 'when-free' = 'no';
  /** When the last client or server left, for forgetting the pool. */
  emptySinceMs: number;
  /** Clients that are logged in to this pool. */
  readonly clients = new Set<PoolClient>();
  /** Cancel requests under way. */
  cancelsInFlight = 0;
  /** What connect_query makes of its servers. */
  readonly bases = new BaseMemory();

  constructor(
    database: string,
    user: string,
    settings: PoolSettings,
    policy: PoolPolicy,
    target: ServerTarget,
    context: PoolContext,
  ) {
    this.database = database;
    this.user = user;
    this.settings = settings;
    this.policy = policy;
    this.target = target;
    this.#context = context;
    this.use = context.use ?? 'clients';
    this.registry = new StatementRegistry(context.statementPrefix);
    this.emptySinceMs = context.clock.now();
    this.#growth = new Growth(this, context.clock, context.places, context.dialler);
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  get servers(): ReadonlySet<ServerConnection> {
    return this.#servers;
  }

  get counts(): PoolCounts {
    const { idle, active, tested, being_canceled } = this.#counts;
    let reading = 0;
    for (const lane of this.#lanes) if (!lane.empty) reading++;
    const unused = this.#lanes.length - reading;
    return { idle: idle + unused, active: active + reading, tested, being_canceled, login: this.#growth.connecting };
  }

  /** Of each server that reads share, how many it has been sent and not answered. */
  laneDepths(): number[] {
    return [...this.#lanes].map(({ depth }) => depth);
  }

  /** Servers that will be closed when their client is done. */
  get retiring(): number {
    let count = 0;
    for (const server of this.#servers) if (this.retires(server)) count++;
    return count;
  }

  /** Whether it will be closed when nobody has it any more. */
  retires(server: ServerConnection): boolean {
    return server.closeNeeded || server.generation !== this.#generation;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** The error of the last attempt to connect, while it stands. */
  get failure(): PoolerError | undefined {
    return this.#growth.failure;
  }

  /** When that attempt failed. */
  get failureAtMs(): number | undefined {
    return this.#growth.failureAtMs;
  }

  /** What a new client begins with; undefined before the first login. */
  get welcome(): Welcome | undefined {
    return this.#greeting.welcome;
  }

  get generation(): number {
    return this.#generation;
  }

  get mayGrow(): boolean {
    return !this.#closed && !this.#paused && this.#vacancies === 0;
  }

  get greeting(): number {
    return this.#greeting.waiting;
  }

  get inBetween(): number {
    return this.#counts.tested + this.#counts.being_canceled;
  }

  /** How long the one who waits longest has waited, in milliseconds. */
  maxWaitMs(): number {
    const first = this.#waiters.longest();
    return first === undefined ? 0 : this.#context.clock.now() - first.sinceMs;
  }

  unservedMs(): number {
    const now = this.#context.clock.now();
    return Math.min(Math.max(this.maxWaitMs(), this.#greeting.maxWaitMs(now)), now - this.#servedMs);
  }

  /** Most servers this pool may have now. */
  get sizeMax(): number {
    const { pool_size, reserve_pool_size, reserve_pool_timeout } = this.settings;
    if (reserve_pool_size === 0 || reserve_pool_timeout === 0) return pool_size;
    return this.maxWaitMs() >= reserve_pool_timeout * 1_000 ? pool_size + reserve_pool_size : pool_size;
  }

  // Leases

  /**
   * A server at once, or a ticket: then `onLease` (for a `read` also `onShare`) or `onWaitFailed` of the client will be
   * called, not before this returns.
   */
  lease(client: PoolClient, read?: WaitingRead): ServerConnection | PoolTicket | PoolerError {
    if (this.#closed) return closedPool();
    const server = this.leaseFree(client);
    if (server !== undefined) return server;
    const refusal = this.#refusal() ?? this.#overload(client);
    if (refusal !== undefined) return refusal;
    const shared = read !== undefined && this.#barrierOf(read.shape) === undefined ? read : undefined;
    const ticket = this.#waiters.enter(client, this.#context.clock.now(), client.party, shared);
    this.#checkMore();
    this.#grow();
    this.#closeLanes();
    return ticket;
  }

  /** A server that nobody waits for, or none. */
  leaseFree(client: PoolClient): ServerConnection | undefined {
    if (this.#closed || this.#paused) return undefined;
    this.#vacated = false;
    const own = this.#takeOwn(client, this.#waiters.length + 1);
    const server = own ?? (this.#waiters.alone === 0 ? this.#takeAny() : undefined);
    if (server === undefined || server === 'checked') return undefined;
    this.#lend(server, client, 0);
    return server;
  }

  leaveQueue(ticket: PoolTicket): void {
    this.#waiters.leave(ticket);
  }

  /** Why asking is pointless now: no server lives and the last attempt failed a moment ago. */
  #refusal(): PoolerError | undefined {
    const { failure, heldOffMs } = this.#growth;
    if (failure === undefined || this.#servers.size > 0 || heldOffMs === 0) return undefined;
    return cached(failure, heldOffMs);
  }

  /** Why waiting is pointless: whoever is last would be refused when the time is up. */
  #overload(client: PoolClient): PoolerError | undefined {
    const { query_wait_timeout } = this.settings;
    if (query_wait_timeout === 0 || !this.policy.refusesEarly || client.kind !== 'client') return undefined;
    const waiting = this.#waiters.length;
    const ms = this.#forecast.msFor(waiting + 1);
    if (ms === undefined || ms <= query_wait_timeout * 1_000) return undefined;
    return new PoolerError('query_wait_timeout', {
      sqlstate: '08P01',
      detail: `${waiting} clients wait, and as fast as they are served now it would take ${Math.ceil(ms / 1_000)} s.`,
      hint: 'Raise default_pool_size, make transactions shorter, or set query_wait_refusal = false to wait nevertheless.',
    });
  }

  /** The lease is over and the server is quiet. */
  release(server: ServerConnection): void {
    server.takeBack();
    this.#free(server);
  }

  /**
   * The client left in the middle: what runs is cancelled, or let finish where the client has said goodbye behind it; what
   * comes is read away, an open transaction is rolled back.
   */
  abandon(server: ServerConnection, running: 'cancel' | 'finish' = 'cancel'): void {
    const { channel } = server;
    const lessee = server.lessee;
    if (server.state.kind === 'closed') return;
    assert(lessee !== undefined, 'an abandoned server was on loan');
    if (channel.quiet && !lessee.channel.midFrame) {
      this.release(server);
      return;
    }
    const stage = channel.copyIn ? 'copy' : lessee.channel.midFrame ? 'cut' : channel.complete ? 'complete' : 'open';
    const { owedCount } = channel;
    this.#endings.begin(server, stage, running, this.#context.clock.now());
    if (stage === 'complete' && owedCount === 0) this.onServerDrained(server);
  }

  /** Cancels what the client's server runs, if it runs anything; resolves when the request has reached the server. */
  async cancel(server: ServerConnection): Promise<void> {
    if (server.channel.owedCount === 0) return;
    this.cancelsInFlight++;
    try {
      await server.cancel(this.policy.cancelWaitMs);
    } catch (error) {
      this.#context.dialler.warn('cancel request failed', error);
    } finally {
      this.cancelsInFlight--;
    }
  }

  // Reads that share a server

  /** The server on which the read is to be sent at once, beside others; undefined: it needs one of its own. */
  share(client: PoolReader, shape: ReadShape): ServerConnection | undefined {
    const barrier = this.#barrierOf(shape);
    if (barrier !== undefined) {
      this.traffic.lanes.refused[barrier]++;
      return undefined;
    }
    if (this.#paused || this.#closed) return undefined;
    const { settings } = client.channel;
    const limits = this.policy.lane;
    let lane = this.#lanes.choose(settings, limits, false);
    if (lane === undefined && this.#waiters.length === 0) lane = this.#openLane(client);
    if (lane === undefined) {
      lane = this.#lanes.choose(settings, limits, true);
      if (lane === undefined) return undefined;
      this.#grow(1);
    }
    return this.#sendOn(lane, shape, 0);
  }

  /** What keeps the read from sharing a server here and now. */
  #barrierOf(shape: ReadShape): ReadBarrier | undefined {
    return shape.barrier ?? (!this.policy.laneViews && this.catalog.hasViewOf(shape.tables) ? 'view' : undefined);
  }

  #sendOn(lane: Lane, shape: ReadShape, waitedMs: number): ServerConnection {
    this.#servedMs = this.#context.clock.now();
    lane.add(shape, this.#servedMs);
    this.assignments++;
    this.waitTime.observe(waitedMs);
    this.traffic.lanes.reads++;
    if (lane.depth > 0) this.#watchStalls();
    return lane.server;
  }

  /** A lane for these settings: of an idle server, or of a lane that has nothing to do. */
  #openLane(client: PoolReader): Lane | undefined {
    const { settings } = client.channel;
    const server = this.#takeIdle();
    if (server !== undefined) return this.#makeLane(server, settings);
    const lane = this.#lanes.findEmpty();
    if (lane === undefined) {
      const own = this.#takeOwn(client, this.#waiters.length + 1);
      if (own === 'checked') return undefined;
      const kept = own ?? this.#takeKept();
      return kept === undefined ? undefined : this.#makeLane(kept, settings);
    }
    lane.turnTo(settings);
    lane.server.channel.beginSharing(lane.serverSettings, this.traffic);
    return lane;
  }

  #makeLane(server: ServerConnection, settings: Settings): Lane {
    const lane = new Lane(server, settings, this.#context.clock.now());
    server.share(lane.serverSettings);
    this.#lanes.add(lane);
    return lane;
  }

  /** Its server is one like any other again. */
  #endLane(lane: Lane): void {
    this.#lanes.remove(lane);
    lane.server.unshare();
    this.#free(lane.server);
  }

  #takeEmptyLane(): ServerConnection | undefined {
    const lane = this.#lanes.findEmpty();
    if (lane === undefined) return undefined;
    this.#lanes.remove(lane);
    lane.server.unshare();
    // A cancel may be on its way, something troublesome in its settings, half a message nobody asked for.
    const retired = this.#retired(lane.server, this.#context.clock.now());
    if (retired || lane.server.state.kind !== 'idle' || this.#resetPlan(lane.server) !== 'nothing') {
      this.#free(lane.server);
      return this.#takeIdle();
    }
    return lane.server;
  }

  /** Those who need a server of their own, and will get none by growth, get the lanes' as these become empty. */
  #closeLanes(): void {
    if (this.#lanes.length === 0) return;
    const leaving = this.#wantedElsewhere === 'when-free' ? 1 : 0;
    const wanted = this.#waiters.alone + leaving - this.#growth.connecting - this.#growth.soonFree();
    this.#lanes.close(Math.min(this.#lanes.length, wanted));
  }

  onReadRun(shape: ReadShape, ms: number, bytes: number, shared: boolean): void {
    const { laneStallMs, laneReplyBytesMax } = this.policy;
    // On a lane the watch says what was slow: it does not take a busy event loop for it.
    shape.observe(ms, !shared && ms > laneStallMs, bytes > laneReplyBytesMax);
  }

  onReadEnd(server: ServerConnection, read: SharedRead): void {
    const lane = this.#lanes.of(server);
    lane?.remove(read.shape);
    if (lane?.held === true) {
      lane.held = false;
      server.peer.resume();
    }
    if (read.rerun !== undefined) this.#rerun(read, read.rerun);
    else if (!read.dropped) read.reader.onReadDone();
    // What it did may have ended the lane, or sent another read.
    if (lane === undefined || this.#lanes.of(server) !== lane) return;
    const elsewhere = this.#wantedElsewhere !== 'no';
    if (lane.empty && (lane.closing || elsewhere || this.#waiters.alone > 0)) this.#endLane(lane);
    else if (lane.empty) this.#context.places.onSpare(this);
    // The one that is next may be slow, and wanted by nobody any more.
    else if (lane.depth > 0) this.#watchStalls();
    this.#serveReads();
  }

  onReadsLost(_server: ServerConnection, reads: readonly SharedRead[]): void {
    for (const read of reads) this.#rerun(read, 'lost');
  }

  #rerun(read: SharedRead, cause: RerunCause): void {
    this.traffic.lanes.reruns[cause]++;
    read.reader.onReadReturned(read);
  }

  /** Leaves the server to the read it is at; those behind it are sent again elsewhere. */
  #isolate(lane: Lane, cause: RerunCause): void {
    lane.closing = true;
    for (const read of lane.server.channel.takeReads('second')) this.#rerun(read, cause);
  }

  /** Nobody waits for the read any more. If it runs for long it is cancelled. */
  dropRead(server: ServerConnection, read: SharedRead): void {
    server.channel.dropRead(read);
    if (server.channel.firstRead === read) server.peer.resume();
    this.#watchStalls();
  }

  /** Its client does not take the answer as fast as it comes: nobody else waits for that. */
  holdRead(server: ServerConnection, read: SharedRead): void {
    const lane = this.#lanes.of(server);
    if (lane === undefined || server.channel.firstRead !== read) return;
    this.#isolate(lane, 'pressure');
    lane.held = true;
    server.peer.pause();
  }

  onSharedChanged(server: ServerConnection): void {
    const lane = this.#lanes.of(server);
    if (lane !== undefined) this.#isolate(lane, 'changed');
  }

  /** Cancels a read part of which its client has; nobody else's is on its way there any more when the request is. */
  async cancelRead(server: ServerConnection, read: SharedRead): Promise<void> {
    const lane = this.#lanes.of(server);
    if (lane === undefined || server.channel.firstRead !== read) return;
    await this.#cancelFirst(lane);
  }

  /** Cancels what a lane is at. Whoever is behind it is served elsewhere, since the request may arrive too late for the first. */
  #cancelFirst(lane: Lane): Promise<void> {
    this.#isolate(lane, 'cancelled');
    lane.server.channel.cancelSent = true;
    return this.cancel(lane.server);
  }

  /** One timer while there is anything to watch, none per read. */
  #watchStalls(): void {
    this.#stallWatch ??= setTimeout(() => {
      // What has arrived meanwhile is read first: a busy event loop is no stall of the server's.
      setImmediate(() => {
        this.#stallWatch = undefined;
        this.#lookForStalls();
      });
    }, this.policy.laneStallMs);
  }

  #lookForStalls(): void {
    const now = this.#context.clock.now();
    let watch = false;
    for (const lane of [...this.#lanes]) {
      const { channel } = lane.server;
      const first = channel.firstRead;
      if (first === undefined) continue;
      if (now - (channel.queryStartedMs ?? now) < this.policy.laneStallMs) {
        watch = true;
        continue;
      }
      if (!first.stalled) {
        first.stalled = true;
        first.shape.stalled();
      }
      if (channel.reads > 1 || !lane.closing) this.#isolate(lane, 'stalled');
      if (first.dropped && !channel.cancelSent) void this.#cancelFirst(lane);
    }
    if (watch) this.#watchStalls();
  }

  /** Reads that wait go where there is room. */
  #serveReads(): void {
    while (!this.#paused) {
      const first = this.#waiters.next();
      if (first?.read === undefined) return;
      const { reader, shape } = first.read;
      const lane = this.#lanes.choose(reader.channel.settings, this.policy.lane, true);
      if (lane === undefined) return;
      this.#waiters.serve(first);
      this.#forecast.onServed();
      reader.onShare(this.#sendOn(lane, shape, this.#context.clock.now() - first.sinceMs), shape);
    }
  }

  #lend(server: ServerConnection, client: PoolClient, waitedMs: number): void {
    if (client.kind === 'client') {
      this.assignments++;
      this.waitTime.observe(waitedMs);
    }
    this.#servedMs = this.#context.clock.now();
    server.lend(client);
  }

  /** The idle server that has what the client has taken from sequences: nobody who waits has a better right to it. */
  #takeOwn({ channel }: PoolClient, waiting: number): ServerConnection | 'checked' | undefined {
    const server = this.#idle.takeOwn(channel.sequences);
    if (server === undefined) return undefined;
    switch (this.#look(server, waiting)) {
      case 'fit':
        return server;
      case 'closed':
        return undefined;
      case 'later':
        this.#idle.put(server);
        return undefined;
      default:
        return 'checked';
    }
  }

  /** A server for whoever is the next, in the order of how little others miss it. */
  #takeAny(): ServerConnection | undefined {
    return this.#takeIdle() ?? this.#takeEmptyLane() ?? this.#takeKept();
  }

  /**
   * An idle server fit to be lent to anybody.
   * @param waiting how many will wait where there is none: no more servers are checked
   */
  #takeIdle(waiting = this.#waiters.length + 1): ServerConnection | undefined {
    const which = this.policy.serverRoundRobin ? 'oldest' : 'newest';
    for (;;) {
      const server = this.#idle.takeFree(which);
      if (server === undefined) return undefined;
      const found = this.#look(server, waiting);
      if (found === 'fit') return server;
      if (found !== 'later') continue;
      // Whoever asks waits for one that is being checked already.
      this.#idle.putBack(server, which);
      return undefined;
    }
  }

  /**
   * One that another client may want again, to ask for what it has taken: only where no other server is on its way.
   * @param waiting how many will wait where there is none
   */
  #takeKept(waiting = this.#waiters.length + 1): ServerConnection | undefined {
    const overdue = this.#takeKeptThat('overdue', waiting);
    if (overdue !== undefined || this.#idle.kept === 0) return overdue;
    this.#grow(waiting - this.#waiters.length);
    if (this.#growth.connecting + this.#growth.soonFree() >= waiting) return undefined;
    return this.#takeKeptThat('any', waiting);
  }

  #takeKeptThat(which: 'overdue' | 'any', waiting: number): ServerConnection | undefined {
    for (;;) {
      const server = this.#idle.takeKept(this.#context.clock.now(), which);
      if (server === undefined) return undefined;
      const found = this.#look(server, waiting);
      if (found === 'fit') return server;
      if (found !== 'later') continue;
      this.#idle.put(server);
      return undefined;
    }
  }

  /** Whether a server out of the idle ones may be lent now: one that is not fit any more is closed, one long idle is checked. */
  #look(server: ServerConnection, waiting: number): 'fit' | 'closed' | 'checked' | 'later' {
    const { state } = server;
    assert(state.kind === 'idle', 'idle servers are idle');
    const now = this.#context.clock.now();
    if (this.#retired(server, now)) {
      server.close();
      return 'closed';
    }
    if (!this.#needsCheck(server, state.sinceMs, now)) return 'fit';
    if (this.#growth.soonFree() >= waiting) return 'later';
    this.#check(server);
    return 'checked';
  }

  #needsCheck(server: ServerConnection, sinceMs: number, now: number): boolean {
    const { serverCheckQuery, serverCheckDelayMs } = this.policy;
    if (serverCheckQuery === '' || now - sinceMs <= serverCheckDelayMs) return false;
    // One that has just logged in has shown that it lives.
    return server.lent || now - server.connectedMs > freshMs;
  }

  /** Who waits while servers are idle waits for a check; each for one of his own. */
  #checkMore(): void {
    while (this.#idle.free > 0 && !this.#paused && this.#growth.soonFree() < this.#waiters.length) {
      const server = this.#takeIdle(this.#waiters.length);
      if (server === undefined) continue;
      // Not before the one who has just asked has a ticket.
      this.#idle.put(server);
      queueMicrotask(() => this.#serveWaiting());
      return;
    }
  }

  #check(server: ServerConnection): void {
    const query = this.policy.serverCheckQuery === '<empty>' ? '' : this.policy.serverCheckQuery;
    server.ask('check', query, (error) => {
      if (error === undefined) this.#free(server);
      else server.destroy(new PoolerError(`server_check_query failed: ${error.message}`, { sqlstate: error.sqlstate }));
    });
  }

  #retired(server: ServerConnection, now: number): boolean {
    if (server.closeNeeded || server.generation !== this.#generation) return true;
    // Half a message nobody asked for: what it will be is not known.
    if (server.channel.midMessage) return true;
    const lifetimeMs = this.settings.server_lifetime * 1_000;
    // 0: each is used once. Judged by its age alone it would never be lent, and another one made in its place for ever.
    return lifetimeMs === 0 ? server.lent : now - server.connectedMs >= lifetimeMs;
  }

  /** Nobody has the server: it is cleaned, closed, lent on or put by. */
  #free(server: ServerConnection): void {
    if (server.state.kind !== 'idle') return;
    const now = this.#context.clock.now();
    const { channel } = server;
    if (this.#closed || this.#paused || this.#retired(server, now)) {
      server.close();
      return;
    }
    const plan = this.#resetPlan(server);
    switch (plan) {
      case 'destroy':
        this.traffic.ladder.resets.destroy++;
        server.close();
        return;
      case 'nothing':
        break;
      case 'restore':
        this.#afterReset(server);
        return;
      default:
        this.traffic.ladder.resets[plan.kind]++;
        server.ask('reset', plan.query, (error) => {
          if (error !== undefined) {
            server.destroy(new PoolerError(`${plan.query} failed: ${error.message}`, { sqlstate: error.sqlstate }));
            return;
          }
          if (plan.forgets) channel.forgetSession();
          else if (plan.after !== undefined) channel.settings = plan.after;
          else channel.forgetAfterReset();
          if (plan.kind === 'server_reset_query' && !plan.forgets) channel.sequences.doubted();
          if (plan.after === undefined) this.#afterReset(server);
          else this.#free(server);
        });
        return;
    }
    channel.usedSinceReset = false;
    if (this.#givesUp(server)) {
      server.close();
      return;
    }
    const first = this.#waiters.next();
    if (first !== undefined) {
      this.#serve(first, server);
      return;
    }
    if (this.#vacancies > 0 || this.#holdsLastingPlace) {
      server.close();
      return;
    }
    this.#idle.put(server);
    this.#context.places.onSpare(this);
  }

  /** Whether its places count as needed for long, also while its servers are idle: then none of them is. */
  get #holdsLastingPlace(): boolean {
    const { max_db_connections, max_user_connections } = this.settings;
    return this.use === 'listening' && max_db_connections + max_user_connections > 0;
  }

  /** What connect_query has set up is gone. */
  #afterReset(server: ServerConnection): void {
    const { restoreQuery } = server;
    if (restoreQuery === undefined || server.state.kind !== 'idle') {
      this.#free(server);
      return;
    }
    server.ask('reset', restoreQuery, (error) => {
      if (error !== undefined)
        this.#context.dialler.warn(
          'connect_query failed',
          new PoolerError(error.message, { sqlstate: error.sqlstate }),
        );
      server.channel.ladder.restored();
      this.#free(server);
    });
  }

  #resetPlan(server: ServerConnection): 'nothing' | 'destroy' | 'restore' | Reset {
    const { channel } = server;
    if (!channel.usedSinceReset) return 'nothing';
    const { serverResetQuery, serverResetQueryAlways } = this.policy;
    if (this.settings.pool_mode === 'session' || serverResetQueryAlways) {
      channel.usedSinceReset = false;
      if (serverResetQuery === '') return 'nothing';
      return {
        kind: 'server_reset_query',
        query: serverResetQuery,
        forgets: /^\s*DISCARD\s+ALL\s*;?\s*$/i.test(serverResetQuery),
      };
    }
    const plan = channel.ladder.plan();
    switch (plan) {
      case 'discard_all':
        return { kind: plan, query: 'DISCARD ALL', forgets: true };
      case 'smart':
        return { kind: plan, query: smartReset, forgets: false };
      case 'troublesome':
        return { kind: 'targeted', forgets: false, ...channel.ladder.troublesomeReset() };
      default:
        return plan;
    }
  }

  #serve(ticket: PoolTicket, server: ServerConnection): void {
    const { client, read } = ticket;
    if (read !== undefined && this.#barrierOf(read.shape) === undefined) {
      this.#makeLane(server, client.channel.settings);
      this.#serveReads();
      this.#closeLanes();
      return;
    }
    this.#waiters.serve(ticket);
    this.#forecast.onServed();
    this.#lend(server, client, this.#context.clock.now() - ticket.sinceMs);
    client.onLease(server);
  }

  #serveWaiting(): void {
    while (!this.#paused) {
      const first = this.#waiters.next();
      if (first === undefined) return;
      const waiting = this.#waiters.length;
      const own = this.#takeOwn(first.client, waiting);
      if (own === 'checked') return;
      const server = own ?? this.#takeIdle(waiting) ?? this.#takeKept(waiting);
      if (server === undefined) return;
      this.#serve(first, server);
    }
  }

  // Servers coming and going

  /** @param wanted servers that would be of use beside those waited for */
  #grow(wanted = 0): void {
    this.#growth.grow(wanted);
  }

  /** The least number of servers it is to have. */
  get sizeMin(): number {
    // Once a client has used the pool, or from the start where the configuration names the user.
    if (this.#vacated || (this.welcome === undefined && !this.settings.forced_user)) return 0;
    const { min_pool_size } = this.settings;
    return this.#context.shareOf?.(min_pool_size) ?? min_pool_size;
  }

  async adopt(login: Dialled, generation: number): Promise<ServerConnection> {
    const { clock } = this.#context;
    await this.#readCatalog(login);
    if (login.peer.closed) throw endedAtOnce();
    return new ServerConnection(
      this.#context.nextId(),
      generation,
      login,
      this.target,
      { clock, traffic: this.traffic, registry: this.registry, statementsMax: this.policy.statementsMax },
      this,
    );
  }

  async #readCatalog(login: LoggedIn): Promise<void> {
    if (!this.policy.readsCatalog) return;
    try {
      await this.catalog.read(login, this.#context.clock.now(), this.policy.serverConnectMs);
    } catch (error) {
      this.#context.dialler.warn('what the catalog has of functions and views could not be read', error);
      if (!(error instanceof ServerRefusal)) {
        login.peer.destroy();
        throw error;
      }
    }
  }

  onMadeInVain(): void {
    // It was counted as closed before it was counted as there.
    this.#counts.idle++;
    this.onConnectFailed(endedAtOnce());
  }

  onMade(server: ServerConnection): void {
    this.#counts.idle++;
    this.#servers.add(server);
    this.connects++;
    this.#context.events.serverConnected(this, server);
    const novelties = this.bases.novelties(server.loginSettings);
    if (novelties.size > 0) for (const client of this.clients) client.keepSettings(novelties);
    const { parameters, begunSettings: settings } = server;
    this.#greeting.known({ parameters, settings }, server.generation === this.#generation ? 'new' : 'old');
    this.#free(server);
    this.#grow();
  }

  /** Settings of roles or databases have been altered: who logs in from now on begins with what they are then. */
  renewWelcome(): void {
    this.#greeting.isAltered = true;
  }

  onConnectFailed(error: PoolerError): void {
    this.#growth.noteFailure(error);
    this.#greeting.makeDo();
    this.#context.events.connectFailed(this, error);
    if (this.#servers.size > 0) return;
    // Their own wait has ended with this attempt.
    this.#greeting.fail(error);
    this.#failWaiters(error);
  }

  /** Nobody who waits will get a server. */
  #failWaiters(error: PoolerError): void {
    for (const ticket of this.#waiters.all()) {
      this.#waiters.leave(ticket);
      ticket.client.onWaitFailed(error);
    }
  }

  /** Resolves when a server has logged in and its parameters are known. @throws PoolerError */
  greeted(): Promise<void> {
    if (this.#closed) return Promise.reject(closedPool());
    if (this.#greeting.isAltered) this.#outdate();
    const known = this.welcome !== undefined;
    const size = this.#servers.size + this.#growth.connecting;
    const canRenew = !this.#paused && this.#growth.failure === undefined && size < this.sizeMax;
    if (known && !(this.#greeting.isOld && canRenew)) return Promise.resolve();
    const refusal = this.#refusal();
    if (refusal !== undefined) return known ? Promise.resolve() : Promise.reject(refusal);
    const greeted = this.#greeting.wait(this.#context.clock.now());
    this.#grow();
    return greeted;
  }

  /**
   * A server outside of the pool, for a client that keeps it to its end.
   * @param parameters of the startup packet, latin1 strings
   * @throws PoolerError
   */
  openOwn(parameters: ReadonlyMap<string, string>): Promise<OwnServer> {
    if (this.#closed) return Promise.reject(closedPool());
    const { database, user, target, settings, policy } = this;
    const request = {
      ...{ database, user, target, parameters },
      // The size of the pool does not concern it.
      limits: { poolMax: 1, databaseMax: settings.max_db_connections, userMax: settings.max_user_connections },
      waitMs: policy.serverConnectMs || drainMsMax,
      cancelMs: policy.cancelWaitMs,
    };
    return openOwnServer(request, this.#context.places, this.#context.dialler);
  }

  onServerState(server: ServerConnection, before: ServerState): void {
    const { state } = server;
    this.#counts[before.kind]--;
    this.#counts[state.kind]++;
    if (before.kind === 'being_canceled') this.#free(server);
  }

  onServerDrained(server: ServerConnection): void {
    if (!server.channel.settled) return;
    server.endTest();
    if (server.channel.quiet) {
      this.#free(server);
      return;
    }
    // The transaction it was in is nobody's.
    server.ask('drain', 'ROLLBACK', (error) => {
      if (error !== undefined)
        server.destroy(new PoolerError(`ROLLBACK failed: ${error.message}`, { sqlstate: error.sqlstate }));
      else this.#free(server);
    });
  }

  onSettingsAltered(): void {
    this.#context.events.settingsAltered(this);
  }

  onLeak(server: ServerConnection, cause: string, what: string): void {
    this.#context.events.leak(this, server, cause, what);
  }

  onServerError(_server: ServerConnection, fields: ServerErrorFields): void {
    this.#context.events.serverError(this, fields);
  }

  onServerClosed(server: ServerConnection, error: PoolerError | undefined): void {
    if (!this.#servers.delete(server)) return;
    this.#idle.remove(server);
    const lane = this.#lanes.of(server);
    if (lane !== undefined) this.#lanes.remove(lane);
    this.#context.places.give(this);
    // Whoever waits elsewhere has its place.
    this.#wantedElsewhere = 'no';
    this.#growth.destroy(server);
    this.disconnects++;
    this.#context.events.serverClosed(this, server, error);
    // Without a pause, a server that ends each connection at once would be dialled in a tight loop.
    const ageMs = this.#context.clock.now() - server.connectedMs;
    // One that an administrator has ended could be had.
    const ended = error !== undefined && error.sqlstate !== '57P01';
    if (ended && !server.lent && ageMs < endedAtOnceMs) this.onConnectFailed(endedAtOnce(error));
    if (this.#servers.size === 0) this.emptySinceMs = this.#context.clock.now();
    this.#grow();
  }

  spareSinceMs(which: 'surplus' | 'any'): number | undefined {
    if (which === 'surplus' && this.#servers.size + this.#growth.connecting <= this.sizeMin) return undefined;
    const oldest = this.#idle.oldest?.state;
    if (oldest?.kind === 'idle') return oldest.sinceMs;
    return this.#lanes.findEmpty()?.usedMs ?? this.#growth.spareSinceMs();
  }

  giveWay(): boolean {
    const server = this.#idle.takeLeast() ?? this.#takeEmptyLane();
    if (server === undefined) return this.#growth.giveWay();
    server.close();
    return true;
  }

  reconsider(): void {
    if (this.#waiters.length + this.greeting > 0) this.#grow();
  }

  onPlaceRefused(full: FullLimit): void {
    const error = noPlace(full, this.use);
    // Not before the one who has just asked has a ticket.
    queueMicrotask(() => {
      this.#greeting.fail(error);
      this.#failWaiters(error);
    });
  }

  onPlace(): void {
    // What it was asked for may be over: then it is of use to those who come next.
    this.#grow(this.#waiters.length + this.greeting > 0 ? 0 : 1);
  }

  onPlaceWanted(urgently: boolean): void {
    this.#wantedElsewhere = urgently ? 'when-free' : 'when-unneeded';
    if (this.giveWay()) this.#wantedElsewhere = 'no';
    else this.#closeLanes();
  }

  onPlaceKept(): void {
    this.#wantedElsewhere = 'no';
  }

  /** Whether a server that is free now is for another process. */
  #givesUp(server: ServerConnection): boolean {
    if (this.#wantedElsewhere === 'no') return false;
    // One that was long in coming serves once: else it could go to and fro, and nobody be served anywhere.
    if (!server.lent && this.#waiters.length > 0) return false;
    if (this.#waiters.length > 0 && this.#wantedElsewhere === 'when-unneeded') return false;
    this.#wantedElsewhere = 'no';
    return true;
  }

  // Time

  /** Called several times a second: everything that expires, expires here. */
  sweep(): void {
    const now = this.#context.clock.now();
    this.#forecast.tick(now, this.#waiters.length);
    this.#sweepWaiters(now);
    this.#sweepServers(now);
    if (this.#waiters.length + this.greeting === 0) this.#context.places.withdraw(this);
    this.#checkMore();
    if (this.#waiters.length > 0 && this.#idle.kept > 0) this.#serveWaiting();
    this.#grow();
  }

  #sweepWaiters(now: number): void {
    const waitMsMax = this.settings.query_wait_timeout * 1_000;
    const { queryWaitNotifyMs } = this.policy;
    if (waitMsMax > 0) this.#greeting.expire(now, waitMsMax, () => this.#waitedTooLong());
    for (const ticket of this.#waiters.all()) {
      const waitedMs = now - ticket.sinceMs;
      if (waitMsMax > 0 && waitedMs >= waitMsMax) {
        this.#waiters.leave(ticket);
        ticket.client.onWaitFailed(this.#waitedTooLong());
      } else if (queryWaitNotifyMs > 0 && waitedMs >= queryWaitNotifyMs && !ticket.notified) {
        ticket.notified = true;
        ticket.client.onWaitNotice(Math.floor(waitedMs / 1_000));
      }
    }
  }

  #waitedTooLong(): PoolerError {
    return new PoolerError('query_wait_timeout', {
      sqlstate: '08P01',
      detail: `No server was free within ${this.settings.query_wait_timeout} s.`,
      hint: 'Raise default_pool_size or query_wait_timeout, or look for long transactions with SHOW SERVERS.',
    });
  }

  #sweepServers(now: number): void {
    this.#endings.sweep(now);
    const { serverIdleMs } = this.policy;
    let surplus = this.#servers.size - this.sizeMin;
    let wanted = this.#waiters.length + (this.#wantedElsewhere === 'no' ? 0 : 1);
    for (const server of [...this.#servers]) {
      const { state } = server;
      switch (state.kind) {
        case 'idle': {
          if (!this.#idle.has(server)) break;
          const idleTooLong = serverIdleMs > 0 && surplus > 0 && now - state.sinceMs >= serverIdleMs;
          if (idleTooLong || this.#retired(server, now)) {
            surplus--;
            server.close();
          }
          break;
        }
        case 'active':
          if (wanted > 0 && this.#yields(server, state.lessee)) wanted--;
          else this.#sweepActive(server, state.lessee as PoolClient, now);
          break;
        case 'shared':
          this.#sweepShared(server, now);
          break;
        case 'tested':
        case 'being_canceled': {
          if (this.#endings.has(server)) break;
          const msMax =
            state.kind === 'tested' && state.what === 'check' ? this.policy.serverConnectMs || drainMsMax : drainMsMax;
          if (now - state.sinceMs >= msMax) {
            server.destroy(new PoolerError('the server did not finish in time', { sqlstate: '08006' }));
          }
          break;
        }
        case 'closed':
          break;
        default:
          state satisfies never;
      }
    }
  }

  /** Whether the client gives back a server that it keeps for values of sequences alone. */
  #yields({ channel }: ServerConnection, client: Lessee): boolean {
    if (this.settings.pool_mode === 'session' || !channel.quiet || !channel.ladder.yieldSequences(yieldMs))
      return false;
    client.onBatchEnd();
    return true;
  }

  #sweepShared(server: ServerConnection, now: number): void {
    const lane = this.#lanes.of(server);
    if (lane === undefined) return;
    const { query_timeout } = this.settings;
    const { queryStartedMs, firstRead } = server.channel;
    lane.closing ||= this.#retired(server, now);
    if (lane.empty) {
      if (lane.closing || now - lane.usedMs >= laneIdleMs) this.#endLane(lane);
    } else if (firstRead?.dropped === true && now - (queryStartedMs ?? now) >= drainMsMax) {
      server.destroy(new PoolerError('the server did not finish in time', { sqlstate: '08006' }));
    } else if (queryStartedMs !== undefined && query_timeout > 0 && now - queryStartedMs >= query_timeout * 1_000) {
      if (firstRead?.dropped === false) {
        (firstRead.reader as PoolReader).onTimedOut(
          timedOut('query_timeout', '57014', 'Make the query faster, or raise query_timeout.'),
        );
      }
    }
  }

  #sweepActive(server: ServerConnection, client: PoolClient, now: number): void {
    const { query_timeout, transaction_timeout, idle_transaction_timeout } = this.settings;
    const { channel } = server;
    const passed = (sinceMs: number | undefined, seconds: number): boolean =>
      seconds > 0 && sinceMs !== undefined && now - sinceMs >= seconds * 1_000;
    if (passed(channel.queryStartedMs, query_timeout)) {
      client.onTimedOut(timedOut('query_timeout', '57014', 'Make the query faster, or raise query_timeout.'));
    } else if (passed(channel.idleInTransactionSinceMs, idle_transaction_timeout)) {
      client.onTimedOut(idleInTransaction());
    } else if (passed(channel.transactionStartedMs, transaction_timeout)) {
      client.onTimedOut(transactionTooLong());
    } else if (
      this.policy.serverFastClose &&
      this.settings.pool_mode === 'session' &&
      server.generation !== this.#generation &&
      channel.quiet
    ) {
      client.onTimedOut(timedOut('server_fast_close', '57P01', 'Connect again.'));
    }
  }

  // Control

  /** New servers may begin otherwise. */
  #outdate(): void {
    this.reconnect();
    this.#greeting.outdate();
  }

  /** Servers connected so far are closed when next idle. */
  reconnect(): void {
    this.#generation++;
    this.#growth.forgetFailure();
    this.closeIdle();
  }

  /** Those with reads to answer take no more. */
  #endLanes(): void {
    for (const lane of [...this.#lanes]) {
      lane.closing = true;
      if (lane.empty) this.#endLane(lane);
    }
  }

  closeIdle(): void {
    for (const server of this.#idle.list()) server.close();
    this.#endLanes();
  }

  /** Closes what serves nobody; makes and keeps no server until what is returned is called. */
  vacate(): () => void {
    this.#vacancies++;
    this.#vacated = true;
    this.closeIdle();
    while (this.giveWay());
    return () => {
      this.#vacancies--;
      // There may be a database of that name now where there was none, or none any more.
      this.#growth.forgetFailure();
      this.#grow();
    };
  }

  /** The host name has other addresses now: servers at none of them are closed when next idle. */
  onAddresses(name: string, addresses: readonly string[]): void {
    for (const server of this.#servers) {
      const { address } = server;
      if (address.kind === 'tcp' && address.name === name && address.ip !== name && !addresses.includes(address.ip)) {
        server.closeNeeded = true;
      }
    }
  }

  /** Lends nothing any more and closes servers as they become free. */
  pause(): void {
    this.#paused = true;
    this.#context.places.withdraw(this);
    this.closeIdle();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#serveWaiting();
    this.#grow();
  }

  /** Cuts every server, whoever has it. */
  kill(error: PoolerError): void {
    // What runs for a client that has just been cut off is being cancelled.
    for (const server of [...this.#servers]) if (!this.#endings.has(server)) server.destroy(error);
  }

  /** New settings; servers that were made for another target are replaced. */
  reconfigure(settings: PoolSettings, policy: PoolPolicy, target: ServerTarget, sameTarget: boolean): void {
    this.settings = settings;
    this.policy = policy;
    this.target = target;
    if (!sameTarget) {
      this.#outdate();
    }
    this.#grow();
  }

  /** The pool is to be forgotten. */
  close(): void {
    this.#closed = true;
    this.#context.places.withdraw(this);
    this.closeIdle();
    clearTimeout(this.#stallWatch);
    const error = new PoolerError('server shutting down', { sqlstate: '57P01' });
    this.#greeting.fail(error);
    this.#failWaiters(error);
  }
}
