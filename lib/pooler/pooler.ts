// One process of weir put together: configuration, pools, clients, listeners; reload, pause and shutdown.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { AuditTrail } from '../audit/index.js';
import {
  LoginThrottle,
  parseStoredSecret,
  ScramKeyCache,
  type ScramKeys,
  ScramVerifiers,
  type StoredSecret,
  userThrottleRate,
} from '../auth/index.js';
import {
  type ClientAddress,
  ClientConnection,
  type ClientGate,
  type Console,
  clientPidOf,
  type HeldStandIn,
  type House,
  type HubEvents,
  type LoginRecord,
  lookUp,
  type NotificationHub,
  NotificationMemory,
  newHub,
  nextSerial,
  processOfClientPid,
  type Vacate,
} from '../client/index.js';
import {
  type Change,
  type Config,
  diffConfig,
  findDatabase,
  newDatabase,
  type PoolSettings,
  reloadedConfig,
  resolveAuthQuery,
  resolveLogLevel,
  resolvePool,
  type UserList,
} from '../config/index.js';
import { BoundedCounter, TimeHistogram } from '../metrics/index.js';
import type { PolicyDocument, Subject, TimeLimits } from '../policy/index.js';
import {
  idleInTransaction,
  LocalPlaces,
  type PlaceUse,
  Pool,
  type PoolEvents,
  type PoolPolicy,
  type ServerPlaces,
  transactionTooLong,
} from '../pool/index.js';
import type { Sender } from '../relay/index.js';
import {
  type Address,
  addressText,
  Resolver,
  type ServerConnection,
  ServerRefusal,
  type ServerTarget,
} from '../server/index.js';
import { Effect, type Footprint, hazardNames, inert } from '../session/index.js';
import type { DatabaseUse, SignalledPids } from '../sql/index.js';
import { type ClientTls, loadClientTls, loadServerTls, type ServerTls } from '../tls/index.js';
import { type Clock, PoolerError } from '../util/index.js';
import type { ServerErrorFields } from '../wire/index.js';
import { auditPolicy, openAudit } from './audit.js';
import { ClientCounts, type ClientLimits, tooMany } from './client-limits.js';
import { GrantDesk } from './grant-desk.js';
import { type HazardFinding, HazardLog } from './hazard-log.js';
import { type HazardPolicies, Inspector } from './inspect.js';

import { type Listening, startListening } from './listeners.js';
import { Policing } from './policing.js';
import { Secrets } from './secrets.js';
import { Senders } from './senders.js';
import type { Siblings } from './siblings.js';
import { StandIns } from './stand-ins.js';
import { type DatabaseStatistics, Statistics } from './statistics.js';
import { Vacancy } from './vacancy.js';

/** Everything that is read before a process can start or reload. */
export interface Loaded {
  readonly config: Config;
  readonly users: UserList;
  /** undefined: there is none. */
  readonly policy: PolicyDocument | undefined;
}

/** How a process ends. */
export type ShutdownMode = 'wait_for_clients' | 'wait_for_servers' | 'immediate';

export type PoolerState = 'active' | 'paused' | 'suspended';

/** Sweeps a second; PgBouncer's is at least three. */
const sweepMs = 250;
/** How long the end of the process waits for cancel requests, and how often it looks. */
const lastCancelsMsMax = 2_000;
const lookMs = 10;
/** Labels of SQLSTATEs and of reasons that are counted apart. */
const countedLabelsMax = 200;
/** Pools of one process: clients of a `*` database can make as many as they know names and passwords. */
const poolsMax = 10_000;
/** Servers of one pool that auth_query runs in. */
const lookUpServersMax = 2;

export interface PoolerOptions {
  readonly loaded: Loaded;
  readonly clock: Clock;
  readonly log: Logger;
  /** Reads the configuration again. @throws PoolerError that says what is wrong with it */
  readonly reread: () => Loaded;
  readonly version: string;
  /** Given by tests: see `PoolContext`. */
  readonly statementPrefix?: string;
  /** The other processes that serve the same clients. */
  readonly siblings?: Siblings | undefined;
}

export class Pooler implements House, PoolEvents, HubEvents {
  readonly version: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly startedWallMs: number;
  /** When the configuration in force was read. */
  reloadedWallMs: number;
  #reloading: Promise<void> = Promise.resolve();
  readonly keyCache: ScramKeyCache;
  verifiers: ScramVerifiers;
  throttle: LoginThrottle;
  #config: Config;
  #tls: ClientTls | undefined;
  #serverTls: ServerTls | undefined;
  #policy: PoolPolicy;
  readonly #secrets = new Secrets();
  readonly #secretKey: Buffer;
  readonly #reread: () => Loaded;
  readonly #inspector: Inspector;
  readonly policing: Policing;
  readonly grants = new GrantDesk(this);
  readonly standIns: StandIns;
  /** Undefined where no directory is configured. */
  readonly trail: AuditTrail | undefined;
  readonly #statementPrefix: string | undefined;
  readonly resolver: Resolver;
  readonly #siblings: Siblings | undefined;
  readonly #places: ServerPlaces;
  readonly #pools = new Map<string, Pool>();
  /** Those auth_query runs in. */
  readonly #lookUpPools = new Map<string, Pool>();
  /** Those that listen for the clients of a pool. */
  readonly #hubs = new Map<Pool, NotificationHub>();
  /** What clients that listen have not been told yet. */
  readonly notificationMemory: NotificationMemory;
  /** Times clients may have missed notifications. */
  listenersLost = 0;
  /** Of notifications. */
  readonly senders: Senders;
  readonly hazardLog = new HazardLog();
  readonly vacancy: Vacancy;
  /** Pools that are forgotten, until their last server has gone. */
  readonly #leaving = new Set<Pool>();
  readonly #clients = new Set<ClientConnection>();
  readonly #byClientPid = new Map<number, ClientConnection>();
  #pendingLogins = 0;
  readonly #sessions = new ClientCounts();
  readonly #disabled = new Set<string>();
  /** Databases paused one by one. */
  readonly #pausedDatabases = new Set<string>();
  #state: PoolerState = 'active';
  readonly #statistics: Statistics;
  #statisticsMs: number;
  #addressesMs: number;
  #listening: Listening | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closing: PoolerError | undefined;
  #shutdown: ShutdownMode | undefined;
  #finished: (() => void) | undefined;
  /** Resolves when the process may end. */
  readonly finished: Promise<void>;
  #lastId = 0;
  #lastClientSerial = 0;
  #console: Console | undefined;
  #lastSweepMs: number;

  /** Errors that servers sent, by SQLSTATE. */
  readonly serverErrors = new BoundedCounter(countedLabelsMax);
  /** Errors weir sent to clients, by SQLSTATE. */
  readonly poolerErrors = new BoundedCounter(countedLabelsMax);
  readonly loginFailures = new BoundedCounter(countedLabelsMax);
  logins = 0;
  connectFailures = 0;
  readonly loopLag = new TimeHistogram();

  private constructor(
    options: PoolerOptions,
    secretKey: Buffer,
    inspector: Inspector,
    trail: AuditTrail | undefined,
    tls: ClientTls | undefined,
    serverTls: ServerTls | undefined,
  ) {
    const { loaded, clock, log } = options;
    this.version = options.version;
    this.clock = clock;
    this.log = log;
    this.startedWallMs = clock.wallMs();
    this.reloadedWallMs = this.startedWallMs;
    this.#reread = options.reread;
    this.#config = loaded.config;
    this.#tls = tls;
    this.#serverTls = serverTls;
    this.#inspector = inspector;
    this.policing = new Policing(clock, log, inspector);
    this.policing.use(loaded.policy);
    this.trail = trail;
    this.#statementPrefix = options.statementPrefix;
    this.#siblings = options.siblings;
    this.#places = options.siblings?.places ?? new LocalPlaces();
    this.vacancy = new Vacancy(() => this.#allPools(), options.siblings, options.siblings?.index ?? 0);
    this.#secretKey = secretKey;
    this.#secrets.load(loaded.config, loaded.users);
    this.#policy = policyOf(loaded.config);
    const { notification_queue_limit, notification_memory_limit } = loaded.config.weir;
    this.notificationMemory = new NotificationMemory(notification_queue_limit, notification_memory_limit);
    this.senders = new Senders(clock, () => this.#hubs.values(), options.siblings);
    this.resolver = new Resolver(clock, loaded.config.weir.dns_max_ttl * 1_000);
    this.standIns = new StandIns({
      clientOf: (pid) => this.#byClientPid.get(pid),
      resolver: this.resolver,
      warn: (text, error) => this.log.warn({ err: error }, text),
    });
    this.keyCache = new ScramKeyCache({ secret: this.#secretKey });
    this.verifiers = this.#newVerifiers();
    this.throttle = this.#newThrottle();
    this.#statistics = new Statistics(clock.now());
    this.#statisticsMs = clock.now();
    this.#addressesMs = clock.now();
    this.#lastSweepMs = clock.now();
    this.finished = new Promise((resolve) => {
      this.#finished = resolve;
    });
  }

  /** Reads certificates, begins the audit trail and makes the parts; does not listen yet. @throws PoolerError */
  static async create(options: PoolerOptions): Promise<Pooler> {
    const { config } = options.loaded;
    const secretKey = options.siblings?.secretKey ?? randomBytes(32);
    const [tls, serverTls, inspector] = await Promise.all([
      loadClientTls(tlsOptions(config, 'client'), secretKey),
      loadServerTls(tlsOptions(config, 'server')),
      Inspector.create(config.weir.inspect_limit, policiesOf(config), config.weir.trusted_functions),
    ]);
    const { clock, log, siblings } = options;
    const trail = await openAudit(config, siblings?.index ?? 0, clock, log);
    return new Pooler(options, secretKey, inspector, trail, tls, serverTls);
  }

  /** Starts to serve. @throws PoolerError when it cannot listen */
  async start(): Promise<Listening> {
    this.#listening = await startListening(this.#config.weir, this.#siblings !== undefined, (accepted, address) => {
      if (this.#pendingLogins >= Math.max(1, this.shareOf(this.#config.weir.max_pending_logins))) {
        this.loginFailures.add('too many logins under way');
        accepted.destroy();
        return;
      }
      this.#pendingLogins++;
      this.#clients.add(new ClientConnection(this, accepted, address));
    });
    this.#timer = setInterval(() => this.#sweep(), sweepMs);
    this.#makeForcedPools();
    this.log.info({ listen: this.#listening.places, version: this.version, pid: process.pid }, 'weir is ready');
    return this.#listening;
  }

  // House

  get config(): Config {
    return this.#config;
  }

  get tls(): ClientTls | undefined {
    return this.#tls;
  }

  get console(): Console {
    return this.#console ?? noConsole;
  }

  set console(console: Console) {
    this.#console = console;
  }

  get audit(): AuditTrail | undefined {
    return this.trail?.isOn === true ? this.trail : undefined;
  }

  get grantMsMax(): number {
    return this.#config.weir.policy_grant_max * 1_000;
  }

  get closing(): PoolerError | undefined {
    return this.#closing;
  }

  secretOf(user: string): StoredSecret | undefined {
    return this.#secrets.ofFile(user);
  }

  get commonSecretKind(): 'plain' | 'md5' | 'scram' {
    return this.#secrets.commonKind;
  }

  async lookUpSecret(databaseName: string, user: string): Promise<StoredSecret | undefined> {
    const found = findDatabase(this.#config, databaseName);
    if (found === undefined) return undefined;
    const query = resolveAuthQuery(this.#config, found.database);
    if (query === undefined || query.auth_user === user) return undefined;
    const pool = this.#lookUpPool(query.auth_dbname, query.auth_user);
    if (pool === undefined) return undefined;
    const rows = await this.#look(pool, query.auth_query, user);
    const row = rows[0];
    // The answer names the user it is about: a query that forgot its WHERE must not log anybody in.
    return row === undefined || row[0] !== user ? undefined : parseStoredSecret(row[1] ?? null);
  }

  async #look(pool: Pool, query: string, user: string): Promise<readonly (readonly (string | null)[])[]> {
    try {
      await pool.greeted();
      return await lookUp(pool, query, [user]);
    } catch (error) {
      if (!(error instanceof PoolerError)) throw error;
      // Who it is for has proved nothing yet: where the server is and what to change there is for the log alone.
      throw new PoolerError(error.message, { sqlstate: error.sqlstate, cause: error });
    }
  }

  rememberLookedUp(database: string, user: string, secret: StoredSecret): void {
    this.#secrets.rememberLookedUp(database, user, secret);
  }

  /** Servers no client is ever lent: none can leave a table or a search_path behind that auth_query would then use. */
  #lookUpPool(database: string, user: string): Pool | undefined {
    const key = `${database}\0${user}`;
    const known = this.#lookUpPools.get(key);
    if (known !== undefined) return known;
    const settings = resolvePool(this.#config, database, user);
    if (settings === undefined) return undefined;
    const { pool_size } = settings;
    const pool = this.#newPool(
      database,
      {
        ...settings,
        pool_size: Math.min(pool_size, lookUpServersMax),
        min_pool_size: 0,
        reserve_pool_size: 0,
      },
      'look-ups',
    );
    this.#lookUpPools.set(key, pool);
    return pool;
  }

  settingsFor(database: string, user: string): PoolSettings | undefined {
    return resolvePool(this.#config, database, user);
  }

  #newPool(database: string, settings: PoolSettings, use: PlaceUse = 'clients'): Pool {
    return new Pool(database, settings.user, settings, this.#policy, this.#targetOf(settings), {
      clock: this.clock,
      places: this.#places,
      use,
      shareOf: (total) => this.shareOf(total),
      dialler: { resolver: this.resolver, warn: (text, error) => this.log.warn({ err: error }, text) },
      events: this,
      nextId: () => this.nextId(),
      statementPrefix: this.#statementPrefix,
    });
  }

  poolFor(database: string, user: string): { pool: Pool; settings: PoolSettings } | PoolerError {
    const settings = resolvePool(this.#config, database, user);
    if (settings === undefined) return new PoolerError(`no such database: ${database}`, { sqlstate: '3D000' });
    const key = `${database}\0${settings.user}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      if (this.#pools.size >= poolsMax) return tooMany('too many pools', 'the number of pools', poolsMax);
      pool = this.#newPool(database, settings);
      this.#pools.set(key, pool);
      if (this.#state !== 'active' || this.#pausedDatabases.has(database)) pool.pause();
    }
    // Not forgotten while the client that asks is still logging in.
    pool.emptySinceMs = this.clock.now();
    return { pool, settings };
  }

  /** The shares of all processes are the total. */
  shareOf(total: number): number {
    const { index, count } = this.#siblings ?? { index: 0, count: 1 };
    return Math.floor(total / count) + (index < total % count ? 1 : 0);
  }

  isDisabled(database: string): boolean {
    return this.#disabled.has(database);
  }

  rememberKeys(database: string, user: string, keys: ScramKeys): void {
    this.#secrets.rememberKeys(database, user, keys);
  }

  async admit(database: string, user: string, settings: PoolSettings): Promise<PoolerError | undefined> {
    const limits = clientLimits(this.#config, settings);
    // Alone it is counted in the same turn: nobody comes between.
    const refusal =
      this.#siblings === undefined
        ? this.#sessions.refusal(database, user, limits)
        : await this.#siblings.admit(database, user, limits);
    if (refusal !== undefined) return refusal;
    this.#sessions.add(database, user);
    return undefined;
  }

  dismiss(database: string, user: string): void {
    this.#siblings?.dismiss(database, user);
    this.#sessions.add(database, user, -1);
  }

  async cancel(pid: number, secret: Buffer): Promise<void> {
    const siblings = this.#siblings;
    if (siblings !== undefined && processOfClientPid(pid) !== siblings.index) await siblings.cancel(pid, secret);
    else await this.cancelOwn(pid, secret);
  }

  async standInFor(pid: number, address: Address): Promise<HeldStandIn | undefined> {
    const siblings = this.#siblings;
    return siblings !== undefined && processOfClientPid(pid) !== siblings.index
      ? siblings.standInFor(pid, address)
      : this.standIns.open(pid, address);
  }

  signalledPids(text: Buffer): SignalledPids | undefined {
    return this.#inspector.signalledPids(text);
  }

  /** Of a client of this process. */
  async cancelOwn(pid: number, secret: Buffer): Promise<void> {
    const client = this.#byClientPid.get(pid);
    if (client?.hasSecret(secret) === true) await client.cancel();
  }

  inspect(bytes: Buffer, start: number, end: number, connection: ClientConnection): Footprint {
    if (!this.#config.weir.track_session_state) return inert;
    const { settings } = connection.channel;
    const footprint = this.#inspector.footprint(
      bytes,
      start,
      end,
      settings.values.get('standard_conforming_strings'),
      settings.values.get('client_encoding'),
    );
    const catalog = connection.session?.pool.catalog;
    if ((footprint.effects & (Effect.ChangesRelations | Effect.HoldsCode)) !== 0) {
      const named = this.#inspector.namedIn(bytes, start, end);
      for (const name of named.settings) connection.onSettingName(name);
      catalog?.noteOverloads(named.overloads);
      catalog?.noteRelations(named.relations);
      if (named.changesReading) catalog?.forgetPlain();
    }
    return catalog?.hasFunctionOf(footprint.calls) === true ? this.#inspector.overloaded(footprint) : footprint;
  }

  get unread(): Footprint {
    return this.#config.weir.track_session_state ? this.#inspector.unread : inert;
  }

  preparedBody(text: Buffer, name: string, failed: boolean, connection: ClientConnection): Buffer | undefined {
    const { settings } = connection.channel;
    return this.#inspector.preparedBody(text, name, failed, settings.values.get('client_encoding'));
  }

  hazards(footprint: Footprint, connection: ClientConnection): void {
    const { session } = connection;
    if (session === undefined) return;
    this.hazardLog.record(session.user, session.database, connection.applicationName, footprint);
  }

  get isPoliced(): boolean {
    return this.policing.policy !== undefined;
  }

  gateFor(connection: ClientConnection): ClientGate | undefined {
    const { session, subject, channel } = connection;
    if (session === undefined) return undefined;
    return this.policing.gateFor({
      subject,
      channel,
      pool: session.pool,
      goOn: () => connection.goOnHeld(),
      inspect: (bytes, start, end) => this.inspect(bytes, start, end, connection),
    });
  }

  timeLimits(subject: Subject): TimeLimits {
    return this.policing.timeLimits(subject);
  }

  loginDenied(subject: Subject, replicates: boolean, settings: ReadonlyMap<string, string>): PoolerError | undefined {
    return this.policing.loginDenied(subject, replicates, settings);
  }

  vacate(pool: Pool, databases: readonly DatabaseUse[]): ReturnType<Vacate> {
    return this.vacancy.order(pool, databases);
  }

  /** Also those for weir itself, and those that have been forgotten. */
  *#allPools(): Iterable<Pool> {
    yield* this.#pools.values();
    yield* this.#lookUpPools.values();
    for (const hub of this.#hubs.values()) yield hub.pool;
    yield* this.#leaving;
  }

  notifications(pool: Pool): NotificationHub {
    let hub = this.#hubs.get(pool);
    if (hub === undefined) {
      const own = this.#newPool(pool.database, ofListener(pool.settings), 'listening');
      hub = newHub(own, this.notificationMemory, this.clock, this, this.senders);
      if (pool.paused) hub.pause();
      this.#hubs.set(pool, hub);
    }
    return hub;
  }

  isSettled(sender: Sender, pool: Pool, connection: ClientConnection): boolean {
    return this.senders.isSettled(sender, pool.target.dbname, () => connection.goOnHeld());
  }

  senderOf(place: string, pid: number): number | undefined {
    return this.senders.pidOf(place, pid);
  }

  listenerLost({ database, user }: Pool, reason: string, listeners: number): void {
    this.listenersLost++;
    this.log.warn(
      { database, user, listeners, reason },
      'the server that listens is lost: notifications may be missed',
    );
  }

  listenerBack({ database, user }: Pool, lostMs: number, told: number): void {
    this.log.info({ database, user, listeners: told, lost_ms: Math.round(lostMs) }, 'listening again');
  }

  /** Channels listened on for clients. */
  get channelsListened(): number {
    let channels = 0;
    for (const hub of this.#hubs.values()) channels += hub.size;
    return channels;
  }

  guessFailed(place: string, user: string): void {
    this.throttle.failed(place, user);
    this.#siblings?.loginFailed(place, user);
  }

  guessSucceeded(place: string, user: string): void {
    if (this.throttle.succeeded(place, user)) this.#siblings?.loginSucceeded(place, user);
  }

  loggedIn(connection: ClientConnection, record: LoginRecord): void {
    this.#pendingLogins--;
    this.logins++;
    if (!this.#config.weir.log_connections) return;
    const { address, ...rest } = record;
    this.log.info({ client: connection.id, ...rest, ip: address.ip, port: address.port }, 'login');
  }

  loginFailed(address: ClientAddress, database: string, user: string, error: PoolerError, reason: string): void {
    // What a server has said, or where it was, would make a label of each name and address.
    const isServers = error instanceof ServerRefusal || error.sqlstate === '08006' || error.sqlstate === '3D000';
    this.loginFailures.add(isServers || error.message.length > 80 ? error.sqlstate : error.message);
    this.poolerErrors.add(error.sqlstate);
    const client = address.unix ? address.ip : `${address.ip}:${address.port}`;
    this.audit?.loginRefused({ user, database, client, reason, sqlstate: error.sqlstate });
    if (this.#config.weir.log_pooler_errors) {
      this.log.warn(
        { database, user, ip: address.ip, port: address.port, sqlstate: error.sqlstate, reason },
        `login failed: ${error.message}`,
      );
    }
  }

  poolerError(connection: ClientConnection, error: PoolerError): void {
    this.poolerErrors.add(error.sqlstate);
    const bug = error.sqlstate === 'XX000';
    if (!this.#config.weir.log_pooler_errors && !bug) return;
    const { session } = connection;
    const fields = {
      client: connection.id,
      database: session?.database,
      user: session?.user,
      ip: connection.address.ip,
      sqlstate: error.sqlstate,
      ...(bug ? { err: error.cause ?? error } : {}),
    };
    if (bug) this.log.error(fields, error.message);
    else this.log.warn(fields, error.message);
  }

  gone(connection: ClientConnection, reason: string): void {
    if (!this.#clients.delete(connection)) return;
    if (connection.clientPid !== 0) this.#byClientPid.delete(connection.clientPid);
    if (connection.loggedIn) {
      if (this.#config.weir.log_disconnections) {
        this.log.info(
          { client: connection.id, ip: connection.address.ip, port: connection.address.port, reason },
          'close',
        );
      }
    } else {
      this.#pendingLogins--;
    }
    this.#finishIfDone();
  }

  nextId(): number {
    // Apart from those of other processes.
    const { index, count } = this.#siblings ?? { index: 0, count: 1 };
    return this.#lastId++ * count + index + 1;
  }

  newClientPid(connection: ClientConnection): number {
    let pid: number;
    do {
      this.#lastClientSerial = nextSerial(this.#lastClientSerial);
      pid = clientPidOf(this.#lastClientSerial, this.#siblings?.index ?? 0);
    } while (this.#byClientPid.has(pid));
    this.#byClientPid.set(pid, connection);
    return pid;
  }

  // PoolEvents

  serverConnected(pool: Pool, server: ServerConnection): void {
    this.senders.opened(server.channel);
    this.log.info(
      {
        server: server.id,
        database: pool.database,
        user: pool.user,
        address: addressText(server.address),
        pid: server.pid,
        tls: server.tls,
      },
      'server connected',
    );
  }

  serverClosed(pool: Pool, server: ServerConnection, error: PoolerError | undefined): void {
    this.senders.closed(server.channel);
    const fields = { server: server.id, database: pool.database, user: pool.user, pid: server.pid };
    if (error === undefined) this.log.debug(fields, 'server closed');
    else this.log.warn({ ...fields, sqlstate: error.sqlstate, detail: error.detail }, `server lost: ${error.message}`);
    // Not now: a client may still be on its way out of this server.
    setImmediate(() => this.#finishIfDone());
  }

  connectFailed(pool: Pool, error: PoolerError): void {
    this.connectFailures++;
    const { at, message, sqlstate, hint } = error;
    // Errors of the network name it themselves.
    const where = at === undefined || message.includes(at) ? '' : ` at ${at}`;
    this.log.error(
      { database: pool.database, user: pool.user, address: at, sqlstate, hint },
      `server login${where} failed: ${message}`,
    );
  }

  settingsAltered(): void {
    this.renewWelcomes();
    this.#siblings?.settingsAltered();
  }

  /** Settings of roles or databases have been altered, here or in another process. */
  renewWelcomes(): void {
    for (const pool of this.#pools.values()) pool.renewWelcome();
  }

  leak(pool: Pool, server: ServerConnection, cause: string, what: string): void {
    this.log.error(
      { server: server.id, database: pool.database, user: pool.user, cause, what },
      'a server has state that no client is known to have left there',
    );
  }

  serverError(_pool: Pool, fields: ServerErrorFields): void {
    this.serverErrors.add(fields.sqlstate);
  }

  // Views

  get pools(): Iterable<Pool> {
    return this.#pools.values();
  }

  get clients(): ReadonlySet<ClientConnection> {
    return this.#clients;
  }

  get state(): PoolerState {
    return this.#state;
  }

  /** What clients did that outlives a transaction, with what the configuration in force makes of it. */
  hazardFindings(): HazardFinding[] {
    return this.hazardLog.findings(policiesOf(this.#config));
  }

  get shutdownMode(): ShutdownMode | undefined {
    return this.#shutdown;
  }

  get listening(): Listening | undefined {
    return this.#listening;
  }

  get knownUsers(): ReadonlySet<string> {
    const users = new Set<string>(this.#secrets.users);
    for (const user of this.#config.users.keys()) users.add(user);
    for (const pool of this.#pools.values()) users.add(pool.user);
    return users;
  }

  get statementStats(): Inspector['stats'] {
    return this.#inspector.stats;
  }

  get sessionCount(): number {
    return this.#sessions.all;
  }

  get pendingLogins(): number {
    return this.#pendingLogins;
  }

  sessionsOf(database: string): number {
    return this.#sessions.ofDatabase(database);
  }

  sessionsOfUser(user: string): number {
    return this.#sessions.ofUser(user);
  }

  serversOf(database: string): number {
    return this.#places.ofDatabase(database);
  }

  serversOfUser(user: string): number {
    return this.#places.ofUser(user);
  }

  isPaused(database: string): boolean {
    return this.#state === 'paused' || this.#pausedDatabases.has(database);
  }

  statistics(): DatabaseStatistics[] {
    return this.#statistics.list(this.#pools.values());
  }

  // Control

  /** Reads the configuration again; with an error nothing changes. @throws PoolerError */
  reload(): Promise<readonly Change[]> {
    // One after the other: reading certificates takes time, and the last reload must win.
    const reloading = this.#reloading.then(() => this.#reload());
    this.#reloading = reloading.then(
      () => {},
      () => {},
    );
    return reloading;
  }

  async #reload(): Promise<readonly Change[]> {
    const loaded = this.#reread();
    const next = reloadedConfig(this.#config, loaded.config);
    const [tls, serverTls] = await Promise.all([
      loadClientTls(tlsOptions(next, 'client'), this.#secretKey),
      loadServerTls(tlsOptions(next, 'server')),
    ]);
    const changes = diffConfig(this.#config, loaded.config);
    this.#secrets.load(next, loaded.users);
    this.#tls = tls;
    this.#serverTls = serverTls;
    this.#apply(next);
    if (changes.some(({ key }) => key === 'policy')) this.policing.use(loaded.policy);
    // Not under `key`: the log hides what has that name.
    for (const { key, ...change } of changes) this.log.info({ setting: key, ...change }, 'setting changed');
    this.reloadedWallMs = this.clock.wallMs();
    this.log.info('configuration reloaded');
    return changes;
  }

  /** Puts a changed configuration in force, as SET does. */
  change(next: Config): void {
    this.#apply(next);
  }

  #apply(next: Config): void {
    const { max_login_failures, login_failure_window } = this.#config.weir;
    this.#config = next;
    if (
      next.weir.max_login_failures !== max_login_failures ||
      next.weir.login_failure_window !== login_failure_window
    ) {
      this.throttle = this.#newThrottle();
    }
    this.#policy = policyOf(next);
    this.notificationMemory.clientBytesMax = next.weir.notification_queue_limit;
    this.notificationMemory.bytesMax = next.weir.notification_memory_limit;
    this.resolver.ttlMs = next.weir.dns_max_ttl * 1_000;
    this.log.level = resolveLogLevel(next.weir);
    this.verifiers = this.#newVerifiers();
    this.#inspector.policies = policiesOf(next);
    this.trail?.configure(auditPolicy(next));
    // Made anew when they are needed, with what is configured then.
    for (const pool of this.#lookUpPools.values()) this.#close(pool);
    this.#lookUpPools.clear();
    for (const [key, pool] of [...this.#pools]) {
      const settings = resolvePool(next, pool.database, pool.user);
      if (settings === undefined || settings.user !== pool.user) {
        this.#forget(key, pool, new PoolerError('database removed from the configuration', { sqlstate: '57P01' }));
        continue;
      }
      const target = this.#targetOf(settings);
      const same = sameTarget(pool.target, target);
      pool.reconfigure(settings, this.#policy, target, same);
      this.#hubs.get(pool)?.pool.reconfigure(ofListener(settings), this.#policy, target, same);
    }
    for (const { session } of this.#clients) {
      const settings = session && resolvePool(next, session.database, session.user);
      if (settings !== undefined && session !== undefined) {
        session.settings = { ...settings, pool_mode: session.settings.pool_mode };
      }
    }
    this.#makeForcedPools();
  }

  #forget(key: string, pool: Pool, error: PoolerError): void {
    this.#pools.delete(key);
    for (const client of [...pool.clients]) (client as ClientConnection).fail(error);
    this.#statistics.forget(pool);
    this.policing.forget(pool);
    this.#close(pool);
    this.#closeHub(pool);
  }

  /** What its servers are still at has its time limits. */
  #close(pool: Pool): void {
    pool.close();
    this.#leaving.add(pool);
  }

  #closeHub(pool: Pool): void {
    const hub = this.#hubs.get(pool);
    if (hub === undefined) return;
    this.#hubs.delete(pool);
    hub.close();
    this.#close(hub.pool);
  }

  /** Databases with a user of their own have one pool, which can be filled before anyone asks. */
  #makeForcedPools(): void {
    for (const database of this.#config.databases.values()) {
      if (database.name !== '*' && database.user !== undefined) this.poolFor(database.name, database.user);
    }
  }

  /** Its servers, and the one that listens for its clients. */
  #serversOf(pool: Pool): number {
    return pool.servers.size + (this.#hubs.get(pool)?.pool.servers.size ?? 0);
  }

  #poolsOf(database: string | undefined): Pool[] {
    return [...this.#pools.values()].filter((pool) => database === undefined || pool.database === database);
  }

  /** Lends no server any more; resolves when all are closed. @throws PoolerError when already paused */
  async pause(database: string | undefined): Promise<void> {
    if (database === undefined) {
      if (this.#state !== 'active') throw new PoolerError('already suspended/paused', { sqlstate: '08P01' });
      this.#state = 'paused';
    } else {
      this.#pausedDatabases.add(database);
    }
    for (const pool of this.#poolsOf(database)) {
      pool.pause();
      this.#hubs.get(pool)?.pause();
    }
    await this.#until(() => {
      if (database === undefined ? this.#state !== 'paused' : !this.#pausedDatabases.has(database)) return true;
      return this.#poolsOf(database).every((pool) => this.#serversOf(pool) === 0);
    });
  }

  /** @throws PoolerError when not paused */
  resume(database: string | undefined): void {
    if (database === undefined) {
      if (this.#state === 'active') throw new PoolerError('pooler is not paused/suspended', { sqlstate: '08P01' });
      this.#state = 'active';
    } else if (!this.#pausedDatabases.delete(database)) {
      throw new PoolerError(`database ${database} is not paused`, { sqlstate: '08P01' });
    }
    for (const pool of this.#poolsOf(database)) {
      if (this.#state !== 'active' || this.#pausedDatabases.has(pool.database)) continue;
      pool.resume();
      this.#hubs.get(pool)?.resume();
    }
  }

  /** Cuts every client and server; new clients wait for `resume`. */
  kill(database: string | undefined): void {
    if (database === undefined) this.#state = 'paused';
    else this.#pausedDatabases.add(database);
    const error = new PoolerError('admin forced disconnect', { sqlstate: '57P01' });
    for (const pool of this.#poolsOf(database)) {
      const listening = this.#hubs.get(pool)?.pool;
      pool.pause();
      listening?.pause();
      for (const client of [...pool.clients]) (client as ClientConnection).fail(error);
      pool.kill(error);
      listening?.kill(error);
    }
  }

  killClient(id: number): boolean {
    for (const client of this.#clients) {
      if (client.id !== id) continue;
      client.fail(new PoolerError('admin forced disconnect', { sqlstate: '57P01' }));
      return true;
    }
    return false;
  }

  reconnect(database: string | undefined): void {
    for (const pool of this.#poolsOf(database)) {
      pool.reconnect();
      this.#hubs.get(pool)?.pool.reconnect();
    }
  }

  disable(database: string): void {
    this.#disabled.add(database);
  }

  enable(database: string): void {
    this.#disabled.delete(database);
  }

  /** Resolves when no server has to be closed any more. */
  waitClose(database: string | undefined): Promise<void> {
    return this.#until(() =>
      this.#poolsOf(database).every((pool) => pool.retiring + (this.#hubs.get(pool)?.pool.retiring ?? 0) === 0),
    );
  }

  #until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setInterval(() => {
        if (!condition() && this.#shutdown !== 'immediate') return;
        clearInterval(timer);
        resolve();
      }, sweepMs / 2);
    });
  }

  /** Begins to end; `finished` resolves when it is done. */
  shutdown(mode: ShutdownMode): void {
    if (this.#shutdown === 'immediate') return;
    this.#shutdown = mode;
    this.#closing = new PoolerError('pooler is shutting down', {
      sqlstate: '57P01',
      hint: 'Connect to another instance, or again in a moment.',
    });
    this.log.info({ mode, clients: this.#clients.size }, 'shutting down');
    void this.#listening?.close(mode === 'immediate' ? 'all' : 'tcp');
    if (mode === 'wait_for_servers') for (const pool of this.#pools.values()) pool.pause();
    if (mode === 'immediate') {
      const error = new PoolerError('server shutting down', { sqlstate: '57P01' });
      for (const client of [...this.#clients]) client.fail(error);
    }
    this.#finishIfDone();
  }

  #finishIfDone(): void {
    const mode = this.#shutdown;
    if (mode === undefined || this.#timer === undefined) return;
    const sessions = [...this.#clients].filter((client) => client.session !== undefined).length;
    const servers = [...this.#pools.values()].reduce((sum, pool) => sum + pool.servers.size, 0);
    const done = mode === 'immediate' || (mode === 'wait_for_clients' ? sessions === 0 : servers === 0);
    if (!done) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    void this.#listening?.close('all');
    const error = new PoolerError('server shutting down', { sqlstate: '57P01' });
    for (const client of [...this.#clients]) client.fail(error);
    for (const pool of [...this.#hubs.keys()]) this.#closeHub(pool);
    for (const pool of [...this.#pools.values(), ...this.#lookUpPools.values()]) pool.close();
    Promise.allSettled([this.#inspector.close(), this.trail?.close(), this.#cancelled()]).then(
      () => this.#finished?.(),
      () => this.#finished?.(),
    );
  }

  /** Resolves when cancel requests for what clients have left behind have arrived, or soon. */
  async #cancelled(): Promise<void> {
    const until = this.clock.now() + lastCancelsMsMax;
    const pools = [...this.#pools.values()];
    while (pools.some(({ cancelsInFlight }) => cancelsInFlight > 0) && this.clock.now() < until) await sleep(lookMs);
  }

  // Time

  #sweep(): void {
    const now = this.clock.now();
    this.loopLag.observe(Math.max(0, now - this.#lastSweepMs - sweepMs));
    this.#lastSweepMs = now;
    const { weir } = this.#config;
    for (const client of this.#clients) this.#sweepClient(client, now);
    for (const pool of this.#lookUpPools.values()) pool.sweep();
    for (const hub of this.#hubs.values()) hub.sweep();
    this.senders.sweep();
    for (const pool of this.#leaving) {
      pool.sweep();
      if (pool.servers.size === 0) this.#leaving.delete(pool);
    }
    for (const [key, pool] of [...this.#pools]) {
      pool.sweep();
      const idleSeconds = pool.settings.fallback ? weir.autodb_idle_timeout : weir.pool_idle_timeout;
      const empty = pool.clients.size === 0 && pool.servers.size === 0 && pool.waiting === 0 && pool.counts.login === 0;
      if (idleSeconds > 0 && empty && now - pool.emptySinceMs >= idleSeconds * 1_000) {
        this.#forget(key, pool, new PoolerError('pool forgotten', { sqlstate: '57P01' }));
      }
    }
    if (weir.dns_max_ttl > 0 && now - this.#addressesMs >= weir.dns_max_ttl * 1_000) {
      this.#addressesMs = now;
      this.#refreshAddresses();
    }
    if (now - this.#statisticsMs >= weir.stats_period * 1_000) {
      this.#statisticsMs = now;
      this.#statistics.tick(this.#pools.values(), now);
      if (weir.log_stats) this.#logStatistics();
    }
    this.#finishIfDone();
  }

  /** Names in use are looked up again, so that idle servers at an address that is gone are noticed. */
  #refreshAddresses(): void {
    const names = new Set<string>();
    for (const pool of this.#pools.values()) {
      for (const { address } of pool.servers)
        if (address.kind === 'tcp' && address.name !== address.ip) names.add(address.name);
    }
    for (const name of names) {
      this.resolver.addresses(name).then(
        (addresses) => {
          for (const pool of this.#pools.values()) {
            pool.onAddresses(name, addresses);
            this.#hubs.get(pool)?.pool.onAddresses(name, addresses);
          }
        },
        // The servers that are connected go on; new ones will say what is wrong.
        (error: unknown) => this.log.debug({ err: error, name }, 'address lookup failed'),
      );
    }
  }

  #sweepClient(client: ClientConnection, now: number): void {
    const { state } = client;
    if (state.kind === 'login') {
      const { client_login_timeout } = this.#config.weir;
      if (client_login_timeout > 0 && now - client.connectedMs >= client_login_timeout * 1_000) client.loginTimedOut();
    } else if (state.kind === 'idle' && client.channel.inDeferredTransaction) {
      // It has said BEGIN and nothing since: no server knows of it.
      const { idle_transaction_timeout, transaction_timeout } = state.session.settings;
      const idleMs = now - client.activeMs;
      if (idle_transaction_timeout > 0 && idleMs >= idle_transaction_timeout * 1_000)
        client.onTimedOut(idleInTransaction());
      else if (transaction_timeout > 0 && idleMs >= transaction_timeout * 1_000)
        client.onTimedOut(transactionTooLong());
    } else if (state.kind === 'idle' || (state.kind === 'active' && state.server.channel.quiet)) {
      const { client_idle_timeout } = state.session.settings;
      if (client_idle_timeout > 0 && now - client.activeMs >= client_idle_timeout * 1_000) {
        client.fail(
          new PoolerError('client_idle_timeout', {
            sqlstate: '57P05',
            hint: 'Send something sooner, or raise client_idle_timeout.',
          }),
        );
      } else if (state.kind === 'active') {
        this.#sweepPinned(client, state.server, now);
      }
    }
  }

  #sweepPinned(client: ClientConnection, server: ServerConnection, now: number): void {
    const { pin_timeout } = this.#config.weir;
    const { pins } = server.channel.ladder;
    if (pin_timeout === 0 || pins.size === 0 || now - client.activeMs < pin_timeout * 1_000) return;
    const [name, sinceMs] = [...pins][0] as [string, number];
    client.fail(
      new PoolerError('pin_timeout', {
        sqlstate: '57P05',
        detail: `The client has kept its server for ${Math.round((now - sinceMs) / 1_000)} s because of: ${[...pins.keys()].join(', ')}.`,
        hint: `Remove what keeps it, raise pin_timeout, or set on_hazard.${name}.`,
      }),
    );
  }

  #logStatistics(): void {
    let transactions = 0;
    let queries = 0;
    let received = 0;
    let sent = 0;
    for (const { averages } of this.statistics()) {
      transactions += averages.xact_count;
      queries += averages.query_count;
      received += averages.bytes_received;
      sent += averages.bytes_sent;
    }
    this.log.info(
      {
        clients: this.#sessions.all,
        xactsPerSecond: transactions,
        queriesPerSecond: queries,
        inPerSecond: received,
        outPerSecond: sent,
      },
      'stats',
    );
  }

  // Making

  #newVerifiers(): ScramVerifiers {
    return new ScramVerifiers({
      secret: this.#secretKey,
      keyCache: this.keyCache,
      iterations: this.#config.weir.scram_iterations,
    });
  }

  #newThrottle(): LoginThrottle {
    const { max_login_failures, login_failure_window } = this.#config.weir;
    if (max_login_failures === 0) {
      const never = { freeFailures: Number.MAX_SAFE_INTEGER, delayMsFirst: 0, delayMsMax: 0, forgetMs: 1 };
      return new LoginThrottle({ clock: this.clock, addressRate: never, userRate: never });
    }
    const windowMs = login_failure_window * 1_000;
    const addressRate = {
      freeFailures: max_login_failures,
      delayMsFirst: windowMs,
      delayMsMax: windowMs,
      forgetMs: windowMs,
    };
    return new LoginThrottle({
      clock: this.clock,
      addressRate,
      userRate: { ...userThrottleRate, freeFailures: max_login_failures },
    });
  }

  #targetOf(settings: PoolSettings): ServerTarget {
    const { database } = settings;
    const { weir } = this.#config;
    const databaseNow = () => findDatabase(this.#config, database.name)?.database ?? newDatabase('', []);
    const parameters: [string, string][] = [];
    const add = (name: string, value: string | undefined): void => {
      if (value !== undefined && value !== '') parameters.push([name, Buffer.from(value).toString('latin1')]);
    };
    add('client_encoding', database.client_encoding);
    add('datestyle', database.datestyle);
    add('timezone', database.timezone);
    add('application_name', database.application_name);
    return {
      dbname: settings.dbname,
      user: settings.user,
      hosts: database.hosts,
      roundRobin: settings.load_balance_hosts === 'round-robin',
      sessionAttrs: settings.target_session_attrs,
      credential: () => this.#secrets.credential(databaseNow(), settings.user),
      credentialSource: () => this.#secrets.credentialSource(databaseNow(), settings.user),
      tls: this.#serverTls,
      keyCache: this.keyCache,
      parameters,
      connectQuery: database.connect_query,
      tracked: weir.track_session_state,
      connectTimeoutMs: weir.server_connect_timeout * 1_000,
      keepAlive: { enabled: weir.tcp_keepalive, idleSeconds: weir.tcp_keepidle },
    };
  }
}

/** Of the pool with the one server that listens for the clients of another. */
function ofListener(settings: PoolSettings): PoolSettings {
  return { ...settings, pool_size: 1, min_pool_size: 0, reserve_pool_size: 0 };
}

function policyOf(config: Config): PoolPolicy {
  const { weir } = config;
  return {
    serverIdleMs: weir.server_idle_timeout * 1_000,
    serverCheckDelayMs: weir.server_check_delay * 1_000,
    serverCheckQuery: weir.server_check_query,
    serverLoginRetryMs: weir.server_login_retry * 1_000,
    serverConnectMs: weir.server_connect_timeout * 1_000,
    serverResetQuery: weir.server_reset_query,
    serverResetQueryAlways: weir.server_reset_query_always,
    serverRoundRobin: weir.server_round_robin,
    serverFastClose: weir.server_fast_close,
    refusesEarly: weir.query_wait_refusal,
    queryWaitNotifyMs: weir.query_wait_notify * 1_000,
    statementsMax: weir.max_prepared_statements,
    cancelWaitMs: weir.cancel_wait_timeout * 1_000,
    laneStallMs: weir.lane_stall_ms,
    laneReplyBytesMax: weir.lane_reply_limit,
    laneViews: weir.lane_views,
    readsCatalog: weir.track_session_state && weir.read_catalog,
    lane: { depthMax: weir.lane_depth, busyMs: weir.lane_busy_us / 1_000 },
  };
}

function policiesOf(config: Config): HazardPolicies {
  return Object.fromEntries(hazardNames.map((name) => [name, config.weir[`on_hazard.${name}`]]));
}

function tlsOptions(config: Config, side: 'client' | 'server'): Parameters<typeof loadClientTls>[0] {
  const { weir } = config;
  if (side === 'client') {
    return {
      sslmode: weir.client_tls_sslmode,
      caFile: weir.client_tls_ca_file,
      certFile: weir.client_tls_cert_file,
      keyFile: weir.client_tls_key_file,
      protocols: weir.client_tls_protocols.join(','),
      ciphers: weir.client_tls_ciphers,
      tls13Ciphers: weir.client_tls13_ciphers,
      ecdhCurve: weir.client_tls_ecdhcurve,
      dheParams: weir.client_tls_dheparams,
    };
  }
  return {
    sslmode: weir.server_tls_sslmode,
    caFile: weir.server_tls_ca_file,
    certFile: weir.server_tls_cert_file,
    keyFile: weir.server_tls_key_file,
    protocols: weir.server_tls_protocols.join(','),
    ciphers: weir.server_tls_ciphers,
    tls13Ciphers: weir.server_tls13_ciphers,
  };
}

/** Whether servers of one target would be as those of the other; a credential counts only at login. */
function sameTarget(a: ServerTarget, b: ServerTarget): boolean {
  return (
    a.dbname === b.dbname &&
    a.user === b.user &&
    a.tls?.mode === b.tls?.mode &&
    a.sessionAttrs === b.sessionAttrs &&
    a.connectQuery === b.connectQuery &&
    a.tracked === b.tracked &&
    isDeepStrictEqual(a.hosts, b.hosts) &&
    isDeepStrictEqual(a.parameters, b.parameters)
  );
}

function clientLimits(config: Config, settings: PoolSettings): ClientLimits {
  return {
    all: config.weir.max_client_conn,
    database: settings.max_db_client_connections,
    user: settings.max_user_client_connections,
  };
}

const noConsole: Console = {
  roleOf: () => undefined,
  execute: () => Promise.resolve({ frames: [] }),
};
