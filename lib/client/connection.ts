// One client from its first byte to its last: login, then a session on leased servers, or the console.

import { timingSafeEqual } from 'node:crypto';
import { type AuditTrail, ClientAuditor } from '../audit/index.js';
import type { GlobalSettings, PoolSettings } from '../config/index.js';
import { type Accepted, FrameInbox, Peer, type PeerHandler } from '../net/index.js';
import type { Subject } from '../policy/index.js';
import type { Party, Pool, PoolReader, PoolTicket } from '../pool/index.js';
import {
  ClientChannel,
  type ClientChannelLimits,
  type ClientHost,
  type Sender,
  type ServerChannel,
  type SessionHost,
  SharedRead,
} from '../relay/index.js';
import type { ServerConnection } from '../server/index.js';
import { type ChannelUse, ClientStatements, type Footprint, type ReadShape } from '../session/index.js';
import type { DatabaseUse, SignalledPids } from '../sql/index.js';
import { assert, internalError, PoolerError } from '../util/index.js';
import {
  type ErrorFields,
  errorResponse,
  Frontend,
  headerBytes,
  noticeResponse,
  readyForQuery,
  TransactionStatus,
} from '../wire/index.js';
import { ClientListening } from './client-listening.js';
import { ClientGone, Dialogue, NoPacket } from './dialogue.js';
import type { ClientAddress, ClientGate, House } from './house.js';
import { fatal, LoginFailure, type LoginOutcome, type LoginProgress, logInClient, throttlePlace } from './login.js';
import { Replication } from './replication.js';
import { Signalling } from './signalling.js';
import { Vacating } from './vacating.js';

interface Session {
  readonly user: string;
  readonly database: string;
  readonly pool: Pool;
  /** As the configuration has them now; but pool_mode stays what it was at the login. */
  settings: PoolSettings;
  readonly channel: ClientChannel;
  readonly cancelSecret: Buffer;
  readonly listening: ClientListening;
}

export type ClientState =
  | { readonly kind: 'login'; readonly dialogue: Dialogue; readonly progress: LoginProgress }
  | { readonly kind: 'console'; readonly user: string; readonly role: 'admin' | 'stats'; readonly inbox: FrameInbox }
  /** Between batches. */
  | { readonly kind: 'idle'; readonly session: Session }
  | { readonly kind: 'waiting'; readonly session: Session; readonly ticket: PoolTicket }
  | { readonly kind: 'active'; readonly session: Session; readonly server: ServerConnection }
  /** A read has been sent on a server that others' reads share. */
  | {
      readonly kind: 'reading';
      readonly session: Session;
      readonly server: ServerConnection;
      readonly read: SharedRead;
    }
  /** It has a server to itself. */
  | {
      readonly kind: 'replication';
      readonly user: string;
      readonly database: string;
      readonly pool: Pool;
      readonly replication: Replication;
      readonly physical: boolean;
      readonly cancelSecret: Buffer;
    }
  | { readonly kind: 'closed' };

/** Input kept while a client waits for a server; beyond it the client is not read. */
const heldBytesMax = 64 * 1024;
/** Names of settings, and applications, remembered for one pool. */
const habitsMax = 1_000;
/** How long a cancel request waits for a statement of weir's own. */
const ownWaitMs = 5;
const ownWaitsMax = 200;
/** Replies one client may be owed; beyond it the client is not read until half of them have come. */
const owedMax = 10_000;
const noBytes: Buffer = Buffer.alloc(0);
/** A longer batch is not looked at as a whole. On a server that others share it is kept until it has been answered. */
const wholeBatchBytesMax = 8 * 1024;

/** Why a client's socket is not read. */
const Pause = {
  /** Enough of its input is held. */
  Held: 1,
  /** Its server cannot take more. */
  Server: 2,
  /** It does not read what it is sent. */
  Output: 4,
  /** It is owed too many replies. */
  Owed: 8,
} as const;

/** One object per configuration and mode, shared by all its clients. */
const limitsBySettings = new WeakMap<GlobalSettings, Map<PoolSettings['pool_mode'], ClientChannelLimits>>();

function limitsOf(weir: GlobalSettings, mode: PoolSettings['pool_mode']): ClientChannelLimits {
  let byMode = limitsBySettings.get(weir);
  if (byMode === undefined) {
    byMode = new Map();
    limitsBySettings.set(weir, byMode);
  }
  let limits = byMode.get(mode);
  if (limits === undefined) {
    limits = {
      inspectBytesMax: weir.inspect_limit,
      statementBytesMax: weir.statement_memory_limit,
      statementsMax: weir.max_client_statements,
      frameBytesMax: weir.max_packet_size,
      simpleProtocol: weir.disable_pqexec ? 'refused' : 'allowed',
      beginMode: mode === 'transaction' && weir.defer_begin ? 'deferred' : 'immediate',
    };
    byMode.set(mode, limits);
  }
  return limits;
}

/** Whether statements keep the client's own names. */
function isTransparent({ pool_mode }: PoolSettings, weir: GlobalSettings): boolean {
  return pool_mode === 'session' || weir.max_prepared_statements === 0;
}

export class ClientConnection implements PeerHandler, ClientHost, SessionHost, PoolReader {
  readonly kind = 'client';
  readonly id: number;
  readonly address: ClientAddress;
  readonly connectedMs: number;
  readonly connectedWallMs: number;
  /** When it last asked for something, in milliseconds of the wall clock. */
  requestedWallMs: number;
  /** When it last sent something. */
  activeMs: number;
  clientPid = 0;
  /** The place taken under the limits on clients. */
  admitted: { readonly database: string; readonly user: string } | undefined;
  applicationName = '';
  tls: string | undefined;
  /** The name in the certificate it has shown. */
  certificate: string | undefined;
  readonly peer: Peer;
  readonly #house: House;
  #state: ClientState;
  #channel: ClientChannel | undefined;
  #auditor: ClientAuditor | undefined;
  #gate: ClientGate | undefined;
  /** Its statements that signal other clients; made with the first of them. */
  #signalling: Signalling | undefined;
  /** Where it records. */
  #audit: AuditTrail | undefined;
  /** Input that arrived while there was no server for it. */
  #held: Buffer = noBytes;
  /** The read that is being fed, or waits for a server. */
  #ahead: ReadShape | undefined;
  /** How long its batch is, if it may share the server it waits for. */
  #aheadBytes = 0;
  /** What is fed next is a read that needs a server of its own. */
  #alone = false;
  /** Why its socket is not read now; bits of `Pause`. */
  #paused = 0;

  constructor(house: House, accepted: Accepted, address: ClientAddress) {
    this.id = house.nextId();
    this.#house = house;
    this.address = address;
    this.connectedMs = house.clock.now();
    this.connectedWallMs = house.clock.wallMs();
    this.requestedWallMs = this.connectedWallMs;
    this.activeMs = this.connectedMs;
    this.peer = Peer.accept(accepted, this);
    const { weir } = house.config;
    this.peer.setKeepAlive({ enabled: weir.tcp_keepalive, idleSeconds: weir.tcp_keepidle });
    const dialogue = new Dialogue(this.peer, () => this.#close('client unexpected eof'));
    const progress = { user: '', database: '', waitingForServer: false };
    this.#state = { kind: 'login', dialogue, progress };
    this.peer.handler = dialogue;
    this.#logIn(dialogue, progress);
  }

  get state(): ClientState {
    return this.#state;
  }

  /** Whether the login was finished, also after the end. */
  loggedIn = false;

  get party(): Party {
    const { session } = this;
    return { user: session?.user ?? '', weight: session?.settings.weight ?? 1 };
  }

  /** As the policy sees it. */
  get subject(): Subject {
    const { user, database } = this.session ?? { user: '', database: '' };
    const address = this.address.unix ? undefined : this.address.ip;
    return { user, database, application: this.applicationName, address, certificate: this.certificate };
  }

  /** Whose servers it uses. */
  get pool(): Pool | undefined {
    const state = this.#state;
    return state.kind === 'replication' ? state.pool : this.session?.pool;
  }

  get session(): Session | undefined {
    const state = this.#state;
    return 'session' in state ? state.session : undefined;
  }

  /** Input that waits for a server, in bytes. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /** The channel of the session, also when it has just ended; only for a client that had one. */
  get channel(): ClientChannel {
    assert(this.#channel !== undefined, 'a client with a server has a session');
    return this.#channel;
  }

  // Login

  #logIn(dialogue: Dialogue, progress: LoginProgress): void {
    logInClient(this.#house, this.peer, dialogue, this.address, this, progress).then(
      (outcome) => this.#loggedIn(dialogue, outcome),
      (error: unknown) => this.#loginFailed(error, progress),
    );
  }

  #loginFailed(cause: unknown, progress: LoginProgress): void {
    if (this.#state.kind === 'closed') return;
    if (cause instanceof ClientGone) {
      this.#close('client unexpected eof');
      return;
    }
    const error =
      cause instanceof PoolerError
        ? cause
        : new PoolerError('internal error in the pooler', { sqlstate: 'XX000', cause });
    const reason = error instanceof LoginFailure ? error.reason : error.message;
    this.#house.loginFailed(this.address, progress.database, progress.user, error, reason);
    if (error instanceof NoPacket) {
      this.#close(error.detail ?? reason);
      return;
    }
    if (error instanceof LoginFailure && error.guess) {
      this.#house.guessFailed(throttlePlace(this.address, progress.user), progress.user);
      this.peer.pause();
      const { auth_failure_delay } = this.#house.config.weir;
      if (auth_failure_delay > 0) {
        setTimeout(() => this.#sayAndClose(error, reason), auth_failure_delay * 1_000).unref();
        return;
      }
    }
    this.#sayAndClose(error, reason);
  }

  #sayAndClose(error: PoolerError, reason: string): void {
    if (this.#state.kind === 'closed') return;
    this.peer.writeOwned(fatal(error));
    this.#close(reason);
  }

  #loggedIn(dialogue: Dialogue, outcome: LoginOutcome): void {
    if (this.#state.kind === 'closed') return;
    this.tls = dialogue.tls?.description;
    this.certificate = dialogue.tls?.peer?.commonName ?? dialogue.tls?.peer?.subject;
    if (outcome.kind === 'over') {
      this.#close('request done');
      return;
    }
    const rest = dialogue.rest();
    const { request } = outcome;
    this.applicationName = Buffer.from(request.settings.get('application_name') ?? '', 'latin1').toString('utf8');
    this.peer.handler = this;
    this.activeMs = this.#house.clock.now();
    if (outcome.kind === 'console') {
      this.#state = { kind: 'console', user: request.user, role: outcome.role, inbox: new FrameInbox() };
    } else if (outcome.kind === 'replication') {
      const { pool, server, cancelSecret } = outcome;
      const { user, database } = request;
      const replication = new Replication(this.peer, server, (reason) => this.#close(reason));
      const physical = request.replication !== 'database';
      this.#state = { kind: 'replication', user, database, pool, replication, physical, cancelSecret };
      pool.clients.add(this);
    } else {
      const { pool, settings } = outcome;
      const channel = new ClientChannel({
        toClient: this.peer,
        host: this,
        session: this,
        limits: limitsOf(this.#house.config.weir, settings.pool_mode),
        registry: pool.registry,
        traffic: pool.traffic,
        statements: new ClientStatements(pool.registry),
        settings: outcome.state,
        transparent: isTransparent(settings, this.#house.config.weir),
      });
      const session = {
        user: request.user,
        database: request.database,
        pool,
        settings,
        channel,
        cancelSecret: outcome.cancelSecret,
        listening: new ClientListening({
          hub: () => this.#house.notifications(pool),
          onNotified: () => this.#tell(),
          goOn: () => this.#goOnListening(),
          fail: (error) => this.fail(error),
        }),
      };
      channel.readsSequences = pool.sequenceReaders.has(this.applicationName);
      pool.clients.add(this);
      this.#channel = channel;
      this.#state = { kind: 'idle', session };
    }
    this.loggedIn = true;
    this.#turnAudit(request);
    this.#auditor?.connected();
    this.#house.loggedIn(this, {
      database: request.database,
      user: request.user,
      address: this.address,
      tls: this.tls,
      applicationName: this.applicationName,
    });
    if (this.#state.kind === 'console') this.#serveConsole(this.#state);
    if (rest.length > 0) this.onData(rest, 0, rest.length);
  }

  /** Begins to record what the client does, or stops: as the house has it now. */
  #turnAudit({ user, database }: { readonly user: string; readonly database: string }): void {
    const trail = this.#house.audit;
    const channel = this.#channel;
    this.#audit = trail;
    this.#auditor = undefined;
    if (trail !== undefined) {
      const { ip, port, unix } = this.address;
      const client = unix ? ip : `${ip}:${port}`;
      const { session, applicationName } = this;
      const role = latin1(session?.pool.user ?? user);
      this.#auditor = new ClientAuditor(trail, {
        user,
        database,
        client,
        certificate: this.certificate,
        session: `${trail.run}-${this.id}`,
        get roleNow() {
          const set = channel?.settings.values.get('role');
          return set === undefined || set === 'none' ? role : set;
        },
        get applicationNow() {
          return channel?.settings.values.get('application_name') ?? latin1(applicationName);
        },
        preparedAs: (name) => channel?.statements.get(name)?.footprint.facts,
        goOn: () => this.goOnHeld(),
      });
    }
    if (channel !== undefined) channel.auditor = this.#auditor;
  }

  /** Has what the client runs judged, or stops that: as the house has it now. */
  #turnGate(channel: ClientChannel): void {
    this.#gate = this.#house.gateFor(this);
    channel.gate = this.#gate;
  }

  /** The record that a message waited for is on disk, or there is room again; or it can be judged now. */
  goOnHeld(): void {
    const state = this.#state;
    if (state.kind === 'idle' || state.kind === 'active') this.#goOn(state.session);
  }

  // What the socket says

  onData(bytes: Buffer, start: number, end: number): void {
    const state = this.#state;
    this.activeMs = this.#house.clock.now();
    switch (state.kind) {
      case 'idle':
      case 'active':
        if (this.#held.length > 0) this.#hold(bytes, start, end);
        else this.#feed(state.session, bytes, start, end);
        break;
      case 'waiting':
      case 'reading':
        this.#hold(bytes, start, end);
        break;
      case 'replication':
        state.replication.send(bytes, start, end);
        break;
      case 'console':
        state.inbox.push(Buffer.from(bytes.subarray(start, end)));
        break;
      case 'login':
      case 'closed':
        break;
      default:
        state satisfies never;
    }
  }

  #feed(session: Session, bytes: Buffer, start: number, end: number): void {
    try {
      if (this.#audit !== this.#house.audit && this.#isSettled && this.#auditor?.idle !== false)
        this.#turnAudit(session);
      if ((this.#gate !== undefined) !== this.#house.isPoliced) this.#turnGate(session.channel);
      if (this.#state.kind === 'idle' && this.#feedWhole(session, bytes, start, end)) {
        this.#tell();
        return;
      }
      session.listening.beforeFeed();
      const taken = session.channel.feed(bytes, start, end);
      session.listening.afterFeed(taken);
      if (this.#state.kind === 'waiting' || taken < end - start) this.#hold(bytes, start + taken, end);
      // The message it stopped at is in the channel, and goes on when its record is on disk.
      else if (this.#auditor?.waiting === true || this.#gate?.waiting === true || this.#signalling?.waiting === true)
        return;
      // A batch can end in the middle of a message that its error made pointless, such as COPY data.
      else if (this.#state.kind === 'active') {
        const { channel } = this.#state.server;
        if (this.#ahead !== undefined) channel.measured = this.#ahead;
        this.#ahead = undefined;
        if (channel.quiet) this.onBatchEnd();
        else if (channel.owedCount > owedMax) this.#pause(Pause.Owed);
      } else this.#tell();
    } catch (cause) {
      this.fail(internalError(cause));
    }
  }

  /** Whether nothing the client has sent has yet to be answered. */
  get #isSettled(): boolean {
    const state = this.#state;
    return state.kind === 'idle' || (state.kind === 'active' && state.server.channel.settled);
  }

  /** Takes one whole batch that needs no server, or not one of its own. Answers false where it is none. */
  #feedWhole(session: Session, bytes: Buffer, start: number, end: number): boolean {
    const { channel } = session;
    const lanes = session.settings.lanes === 'auto';
    this.#ahead = undefined;
    this.#aheadBytes = 0;
    if (end - start > wholeBatchBytesMax || !(lanes || channel.defersBegin)) return false;
    const footprint = channel.lookAhead(bytes, start, end);
    if (footprint === undefined) return false;
    if (footprint.transaction !== undefined) return channel.answerAhead(footprint, bytes, start, end);
    if (this.#auditor !== undefined && !channel.inDeferredTransaction) {
      // As a whole, before it has a server: what a lane is sent cannot stop half way.
      const admission = channel.auditAhead(this.#auditor, footprint, bytes, start, end);
      if (admission === 'wait') this.#hold(bytes, start, end);
      if (admission !== 'go') return admission === 'wait';
    }
    const { read } = footprint;
    if (read === undefined || !lanes) return false;
    if (channel.inDeferredTransaction || !channel.settings.isShareable) return false;
    return this.#feedRead(session, read, bytes, start, end);
  }

  /** Sends a read on a shared server, if there is one for it. */
  #feedRead(session: Session, shape: ReadShape, bytes: Buffer, start: number, end: number): boolean {
    this.#ahead = shape;
    if (this.#alone || this.peer.pressured) {
      this.#alone = false;
      return false;
    }
    const server = session.pool.share(this, shape);
    if (server === undefined) {
      this.#aheadBytes = end - start;
      return false;
    }
    this.requestedWallMs = this.#house.clock.wallMs();
    this.#sendRead(session, server, shape, bytes, start, end);
    return true;
  }

  #sendRead(
    session: Session,
    server: ServerConnection,
    shape: ReadShape,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const { channel } = session;
    const read = new SharedRead(this, Buffer.from(bytes.subarray(start, end)), shape, this.activeMs);
    this.#ahead = undefined;
    this.#state = { kind: 'reading', session, server, read };
    const owed = server.channel.owedCount;
    server.channel.share(read);
    channel.server = server.channel;
    let taken = 0;
    try {
      taken = channel.feed(bytes, start, end);
    } finally {
      channel.server = undefined;
      const whole = taken === end - start && server.channel.complete && server.channel.owedCount > owed;
      // A read of which less or more has been sent than is answered would put all behind it out of step.
      if (!whole || channel.midMessage || this.#state.kind !== 'reading')
        server.destroy(internalError(undefined, 'A read was not sent as a whole.'));
    }
  }

  #hold(bytes: Buffer, start: number, end: number): void {
    if (this.#state.kind === 'closed') return;
    if (end > start) this.#held = Buffer.concat([this.#held, bytes.subarray(start, end)]);
    if (this.#held.length > heldBytesMax) this.#pause(Pause.Held);
  }

  #pause(reason: number): void {
    if (this.#paused === 0) this.peer.pause();
    this.#paused |= reason;
  }

  #resume(reason: number): void {
    if (this.#paused === 0) return;
    this.#paused &= ~reason;
    if (this.#paused === 0) this.peer.resume();
  }

  /** The client reads slowly: neither it, whose messages weir itself may answer, nor its server is read meanwhile. */
  onPressure(): void {
    this.#pause(Pause.Output);
    const state = this.#state;
    if (state.kind === 'active') state.server.peer.pause();
    else if (state.kind === 'reading') state.session.pool.holdRead(state.server, state.read);
    else if (state.kind === 'replication') state.replication.hold();
  }

  onRelief(): void {
    this.#resume(Pause.Output);
    this.#tell();
    const state = this.#state;
    if (state.kind === 'active' || state.kind === 'reading') state.server.peer.resume();
    else if (state.kind === 'replication') state.replication.goOn();
  }

  onClose(error: Error | undefined): void {
    this.#close(error === undefined ? 'client close request' : `client connection lost: ${error.message}`);
  }

  // What the channel asks

  lease(): ServerChannel | undefined {
    const state = this.#state;
    if (state.kind !== 'idle') return undefined;
    const { session } = state;
    this.requestedWallMs = this.#house.clock.wallMs();
    const shape = this.#ahead;
    const mayShare = shape !== undefined && this.#aheadBytes > 0;
    const answer = session.pool.lease(this, mayShare ? { reader: this, shape } : undefined);
    if (answer instanceof PoolerError) {
      this.fail(answer);
      return undefined;
    }
    if ('left' in answer) {
      this.#state = { kind: 'waiting', session, ticket: answer };
      return undefined;
    }
    this.#begin(session, answer);
    return answer.channel;
  }

  leaseFree(): void {
    const state = this.#state;
    const server = state.kind === 'idle' ? state.session.pool.leaseFree(this) : undefined;
    if (state.kind !== 'idle' || server === undefined) return;
    this.requestedWallMs = this.#house.clock.wallMs();
    this.#begin(state.session, server);
  }

  #begin(session: Session, server: ServerConnection): void {
    this.#state = { kind: 'active', session, server };
    if (this.peer.pressured) server.peer.pause();
  }

  goOn(): void {
    const state = this.#state;
    if (state.kind === 'active') this.#goOn(state.session);
  }

  inspect(bytes: Buffer, start: number, end: number): Footprint {
    return this.#house.inspect(bytes, start, end, this);
  }

  get unread(): Footprint {
    return this.#house.unread;
  }

  preparedBody(text: Buffer, name: string, failed: boolean): Buffer | undefined {
    return this.#house.preparedBody(text, name, failed, this);
  }

  // Statements that signal other clients

  signalledPids(text: Buffer): SignalledPids | undefined {
    return this.#house.signalledPids(text);
  }

  realPids(pids: readonly number[]): ReadonlyMap<number, number> | undefined {
    const state = this.#state;
    assert(state.kind === 'active', 'pids are asked for with a server');
    this.#signalling ??= new Signalling(this.#house, this.peer, () => this.goOnHeld());
    return this.#signalling.realPids(pids, this.clientPid, state.server);
  }

  onSignalsSent(): void {
    const state = this.#state;
    if (state.kind === 'active') this.#signalling?.onSent(state.server);
  }

  onHazards(footprint: Footprint): void {
    this.#house.hazards(footprint, this);
  }

  /** Names of settings with a dot that the client itself has used. */
  readonly #settingNames = new Set<string>();

  *settingNames(): Iterable<string> {
    yield* this.#settingNames;
    yield* this.session?.pool.settingNames ?? [];
  }

  onSettingName(name: string): void {
    if (this.#settingNames.size < habitsMax) this.#settingNames.add(name);
    const names = this.session?.pool.settingNames;
    if (names !== undefined && names.size < habitsMax) names.add(name);
  }

  arePlain(tables: readonly string[]): boolean {
    return this.session?.pool.catalog.arePlain(tables) === true;
  }

  onSequenceReader(): void {
    const readers = this.session?.pool.sequenceReaders;
    // Clients that do not say who they are have nothing in common.
    if (this.applicationName === '') return;
    if (readers !== undefined && readers.size < habitsMax) readers.add(this.applicationName);
  }

  // LISTEN and NOTIFY

  readyToListen(channels: readonly ChannelUse[]): 'ready' | 'wait' | ErrorFields {
    return this.session?.listening.ready(channels) ?? 'ready';
  }

  /** The statement that waited may be sent, or is refused. */
  #goOnListening(): void {
    const { session } = this;
    if (session !== undefined) this.#feedHeld(session);
  }

  /** Made when a statement first needs databases for itself. */
  #vacating: Vacating | undefined;

  onDatabaseDropped(): void {
    this.#vacating?.onDropped();
  }

  readyToVacate(databases: readonly DatabaseUse[]): boolean {
    const { session } = this;
    assert(session !== undefined, 'a client that runs something has a session');
    this.#vacating ??= new Vacating(
      (names) => this.#house.vacate(session.pool, names),
      () => this.goOnHeld(),
    );
    return this.#vacating.isReady(databases);
  }

  onCommitSent(): void {
    this.session?.listening.onCommitSent();
  }

  onChannels(listens: readonly string[], unlistens: readonly (string | null)[]): readonly string[] {
    return this.session?.listening.onChannels(listens, unlistens) ?? [];
  }

  onOwnNotification(bytes: Buffer, start: number, end: number, keepsServer: boolean): boolean {
    return this.session?.listening.onOwnNotification(bytes, start, end, keepsServer) ?? false;
  }

  readyToNotify(sender: Sender): boolean {
    const { session } = this;
    return session === undefined || this.#house.isSettled(sender, session.pool, this);
  }

  senderOf(place: string, pid: number): number | undefined {
    return this.#house.senderOf(place, pid);
  }

  channels(): readonly string[] {
    return this.session?.listening.channels ?? [];
  }

  /** Passes on what the client has been notified of, if it is between two batches. */
  #tell(): void {
    const state = this.#state;
    const between =
      (state.kind === 'idle' && !state.session.channel.inDeferredTransaction) ||
      (state.kind === 'active' && state.server.channel.quiet);
    if (!between) return;
    state.session.listening.tell(
      () => !this.peer.pressured,
      (frame) => this.peer.writeOwned(frame),
    );
  }

  onTerminate(): void {
    this.peer.leave();
    this.#close('client close request', 'finish');
  }

  onViolation(error: ErrorFields): void {
    this.fail(
      new PoolerError(error.message, {
        sqlstate: error.sqlstate,
        ...(error.detail === undefined ? {} : { detail: error.detail }),
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      }),
    );
  }

  // What the pool says

  onLease(server: ServerConnection): void {
    const state = this.#state;
    assert(state.kind === 'waiting', 'a server is given to a client that waits');
    this.#state = { kind: 'active', session: state.session, server };
    if (this.peer.pressured) server.peer.pause();
    this.#feedHeld(state.session);
  }

  onShare(server: ServerConnection, shape: ReadShape): void {
    const state = this.#state;
    assert(state.kind === 'waiting', 'a server is given to a client that waits');
    const held = this.#held;
    const end = this.#aheadBytes;
    this.#held = held.length > end ? held.subarray(end) : noBytes;
    this.#sendRead(state.session, server, shape, held, 0, end);
  }

  onReadDone(): void {
    const state = this.#state;
    if (state.kind !== 'reading') return;
    const { session } = state;
    this.#state = { kind: 'idle', session };
    this.#tell();
    this.#goOn(session);
  }

  onReadReturned(read: SharedRead): void {
    const state = this.#state;
    if (state.kind !== 'reading' || state.read !== read) return;
    const { session } = state;
    this.#state = { kind: 'idle', session };
    this.#auditor?.takeBack();
    this.#held = this.#held.length > 0 ? Buffer.concat([read.request, this.#held]) : read.request;
    this.#alone = true;
    this.#feedHeld(session);
  }

  onReadLost(error: PoolerError, told: boolean): void {
    const state = this.#state;
    if (state.kind !== 'reading') return;
    this.#state = { kind: 'idle', session: state.session };
    this.#onLost(error, told);
  }

  onWaitFailed(error: PoolerError): void {
    this.fail(error);
  }

  keepSettings(values: ReadonlyMap<string, string>): void {
    this.#channel?.keep(values);
  }

  onWaitNotice(seconds: number): void {
    this.peer.writeOwned(
      noticeResponse({
        severity: 'NOTICE',
        sqlstate: '00000',
        message: 'No server connection available in the pool, query is queued',
        detail: `Waiting for ${seconds} s.`,
      }),
    );
  }

  onTimedOut(error: PoolerError): void {
    this.fail(error);
  }

  onServerPressure(pressed: boolean): void {
    if (pressed) this.#pause(Pause.Server);
    else this.#resume(Pause.Server);
  }

  onServerRead(): void {
    if ((this.#paused & Pause.Owed) === 0 || this.#state.kind !== 'active') return;
    if (this.#state.server.channel.owedCount <= owedMax / 2) this.#resume(Pause.Owed);
  }

  onServerLost(error: PoolerError, told: boolean): void {
    const state = this.#state;
    if (state.kind !== 'active') return;
    this.#state = { kind: 'idle', session: state.session };
    this.#onLost(error, told);
  }

  #onLost(error: PoolerError, told: boolean): void {
    if (!told) {
      this.fail(error);
      return;
    }
    this.#house.poolerError(this, error);
    this.#close(`server ended the session: ${error.message}`);
  }

  onBatchEnd(): void {
    const state = this.#state;
    assert(state.kind === 'active', 'a batch ends for a client with a server');
    const { session, server } = state;
    this.#signalling?.onAnswered();
    const { pool_mode } = session.settings;
    if (server.channel.settled) this.#vacating?.end();
    if (pool_mode === 'session') {
      // A message may have waited for the answers to those before it.
      this.#goOn(session);
      return;
    }
    if (!server.channel.quiet) {
      if (pool_mode === 'statement') {
        this.fail(
          new PoolerError('transaction blocks not allowed in statement pooling mode', {
            sqlstate: '08P01',
            hint: 'Use pool_mode = transaction for this database or user.',
          }),
        );
        return;
      }
      if (!server.channel.settled) return;
      server.channel.ladder.markUnlistens();
      server.channel.ladder.returnToLogin(session.channel);
      if (!server.channel.ladder.asking) this.#goOn(session);
      return;
    }
    if (session.channel.midFrame) return;
    const { ladder } = server.channel;
    const standing = ladder.settle(session.channel, this.#house.config.weir.leak_probe_every);
    if (standing === 'asking') return;
    session.listening.settle();
    if (standing === 'kept') {
      this.#tell();
      this.#goOn(session);
      return;
    }
    this.#state = { kind: 'idle', session };
    session.pool.release(server);
    this.#tell();
    this.#resume(Pause.Server | Pause.Owed);
    this.#goOn(session);
  }

  /** Takes up what the client has sent while it had to wait. */
  #goOn(session: Session): void {
    if (this.#held.length > 0 || (session.channel.carriedBytes > 0 && session.channel.stopped)) this.#feedHeld(session);
  }

  /** Goes on with what arrived while the client was waiting, and reads on. The message it stopped at may be in the channel. */
  #feedHeld(session: Session): void {
    const held = this.#held;
    this.#held = noBytes;
    this.#feed(session, held, 0, held.length);
    if (this.#held.length <= heldBytesMax) this.#resume(Pause.Held);
  }

  // Endings

  /** Tells the client why, and ends the connection. */
  fail(error: PoolerError): void {
    const state = this.#state;
    if (state.kind === 'closed') return;
    this.#house.poolerError(this, error);
    // In the middle of a server's message the client would read it as part of that.
    const cut =
      state.kind === 'replication' ||
      ((state.kind === 'active' || (state.kind === 'reading' && state.read === state.server.channel.firstRead)) &&
        state.server.channel.midFrame);
    if (!cut) this.peer.writeOwned(fatal(error));
    this.#close(error.message, 'cancel', error.sqlstate);
  }

  /** The login took too long. */
  loginTimedOut(): void {
    const state = this.#state;
    if (state.kind !== 'login') return;
    const error = state.progress.waitingForServer
      ? new PoolerError('client_login_timeout (server down)', {
          sqlstate: '08P01',
          hint: 'The first connection to the server could not be made in time; see the log.',
        })
      : new PoolerError('client_login_timeout', {
          sqlstate: '08P01',
          hint: 'Finish the login sooner, or raise client_login_timeout.',
        });
    this.#house.loginFailed(this.address, state.progress.database, state.progress.user, error, error.message);
    this.#sayAndClose(error, error.message);
    state.dialogue.fail(error);
  }

  /** Whether this is the client's cancel key. */
  hasSecret(secret: Buffer): boolean {
    const { state } = this;
    const known = state.kind === 'replication' ? state.cancelSecret : this.session?.cancelSecret;
    return known !== undefined && secret.length === known.length && timingSafeEqual(secret, known);
  }

  /** Cancels what runs or waits; resolves when the request has reached the server. */
  async cancel(): Promise<void> {
    const state = this.#state;
    if ((state.kind === 'idle' || state.kind === 'active') && this.#gate?.waiting === true) {
      this.#gate.stopWaiting();
      state.session.channel.denyHeld(cancelled('The statement was waiting for what the policy needs to know.'));
      this.#goOn(state.session);
    } else if (state.kind === 'active') {
      const { server } = state;
      // A cancel that meets weir's own statement would take the client's session with it.
      for (let tries = 0; tries < ownWaitsMax && server.channel.busyItself; tries++) {
        await new Promise((resolve) => setTimeout(resolve, ownWaitMs));
      }
      if (this.#state.kind === 'active' && this.#state.server === server) await state.session.pool.cancel(server);
    } else if (state.kind === 'replication') {
      await state.replication.cancel();
    } else if (state.kind === 'reading') {
      const { session, server, read } = state;
      if (read.started) {
        await session.pool.cancelRead(server, read);
        return;
      }
      // A read has done nothing that would have to be undone: its answer is dropped, and the server cancelled only if it is slow.
      session.pool.dropRead(server, read);
      this.#state = { kind: 'idle', session };
      this.#auditor?.failed('57014');
      this.#auditor?.ended(server.channel.place);
      this.peer.writeOwned(errorResponse(cancelled(undefined)));
      this.peer.writeOwned(readyForQuery(TransactionStatus.Idle));
      this.#goOn(session);
    } else if (state.kind === 'idle' && this.#auditor?.waiting === true) {
      const { session } = state;
      session.channel.cancelBatch(cancelled('The statement was waiting for the audit trail.'));
      this.#feedHeld(session);
    } else if (state.kind === 'waiting') {
      const { session } = state;
      session.pool.leaveQueue(state.ticket);
      this.#state = { kind: 'idle', session };
      session.channel.cancelBatch(cancelled('The statement was waiting for a server.'));
      this.#feedHeld(session);
    }
  }

  /** @param running what becomes of what the client's server still runs @param sqlstate what the client is told */
  #close(reason: string, running: 'cancel' | 'finish' = 'cancel', sqlstate?: string): void {
    const state = this.#state;
    if (state.kind === 'closed') return;
    this.#state = { kind: 'closed' };
    this.#held = noBytes;
    this.#vacating?.end();
    if ('session' in state) {
      const { session } = state;
      session.pool.clients.delete(this);
      if (session.pool.clients.size === 0) session.pool.emptySinceMs = this.#house.clock.now();
      if (state.kind === 'waiting') session.pool.leaveQueue(state.ticket);
      if (state.kind === 'active') session.pool.abandon(state.server, running);
      if (state.kind === 'reading') session.pool.dropRead(state.server, state.read);
      session.listening.end();
      session.channel.close();
    }
    if (state.kind === 'replication') {
      state.pool.clients.delete(this);
      state.replication.end();
    }
    this.#auditor?.close(reason, sqlstate);
    this.#signalling?.close();
    if (state.kind === 'login') state.dialogue.fail(new ClientGone(reason, { sqlstate: '08006' }));
    if (state.kind === 'console') state.inbox.fail(new ClientGone(reason, { sqlstate: '08006' }));
    if (this.admitted !== undefined) this.#house.dismiss(this.admitted.database, this.admitted.user);
    this.peer.end();
    this.#house.gone(this, reason);
  }

  // The console

  #serveConsole(state: ClientState & { kind: 'console' }): void {
    this.#converse(state).catch((error: unknown) => {
      if (error instanceof ClientGone) return;
      this.fail(
        error instanceof PoolerError
          ? error
          : new PoolerError('internal error in the pooler', { sqlstate: 'XX000', cause: error }),
      );
    });
  }

  /** One Query after the other; whatever else a client may send is refused as PgBouncer does. */
  async #converse(state: ClientState & { kind: 'console' }): Promise<void> {
    const { inbox, role } = state;
    for (;;) {
      const frame = await inbox.next();
      switch (frame[0]) {
        case Frontend.Query: {
          const sql = frame.toString('utf8', headerBytes, frame.length - 1);
          const { frames } = await this.#house.console.execute(sql, role, this);
          for (const answer of frames) this.peer.writeOwned(answer);
          this.peer.writeOwned(readyForQuery(TransactionStatus.Idle));
          break;
        }
        case Frontend.Terminate:
          this.peer.leave();
          this.#close('client close request');
          return;
        case Frontend.Sync:
          this.peer.writeOwned(readyForQuery(TransactionStatus.Idle));
          break;
        case Frontend.Parse:
          this.peer.writeOwned(
            errorResponse({
              severity: 'ERROR',
              sqlstate: '08P01',
              message: 'extended query protocol not supported by admin console',
              hint: 'Use the simple query protocol, as psql does.',
            }),
          );
          break;
        case Frontend.Bind:
        case Frontend.Describe:
        case Frontend.Execute:
        case Frontend.Close:
        case Frontend.Flush:
          // Ignored up to the Sync, after the error that Parse got.
          break;
        default:
          throw new PoolerError('bad packet', { sqlstate: '08P01' });
      }
    }
  }
}

/** @param detail what the statement waited for */
function cancelled(detail: string | undefined): ErrorFields {
  return { severity: 'ERROR', sqlstate: '57014', message: 'canceling statement due to user request', detail };
}

/** Names and texts as the relay has them. */
function latin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
