// What a client's connection asks of the process it is in: configuration, secrets, pools, limits. The pooler provides it.

import type { AuditTrail } from '../audit/index.js';
import type { LoginThrottle, ScramKeyCache, ScramKeys, ScramVerifiers, StoredSecret } from '../auth/index.js';
import type { Config, PoolSettings } from '../config/index.js';
import type { Subject, TimeLimits } from '../policy/index.js';
import type { Pool } from '../pool/index.js';
import type { Gate, Sender } from '../relay/index.js';
import type { Footprint } from '../session/index.js';
import type { DatabaseUse, SignalledPids } from '../sql/index.js';
import type { ClientTls } from '../tls/index.js';
import type { Clock, PoolerError } from '../util/index.js';
import type { ClientConnection } from './connection.js';
import type { NotificationHub } from './notifications.js';
import type { SignalDesk } from './signalling.js';
import type { Vacate } from './vacating.js';

/** Where a client is, for the log and the console. */
export interface ClientAddress {
  /** IP address, or `unix`. */
  readonly ip: string;
  readonly port: number;
  readonly unix: boolean;
}

/** A gate that may have to find something out first. */
export interface ClientGate extends Gate {
  /** A message waits: the client is fed again when it may go on. */
  readonly waiting: boolean;
  /** It does not wait any more: its client has cancelled it. */
  stopWaiting(): void;
}

export interface LoginRecord {
  readonly database: string;
  readonly user: string;
  readonly address: ClientAddress;
  readonly tls: string | undefined;
  readonly applicationName: string;
}

/** One of weir's own answers to a statement on the console. */
export interface ConsoleAnswer {
  /** Complete messages, without the ReadyForQuery. */
  readonly frames: readonly Buffer[];
}

/** The console behind the databases `pgbouncer` and `weir`. */
export interface Console {
  /** Which role the user has there; undefined is none. */
  roleOf(user: string): 'admin' | 'stats' | undefined;
  /** Runs what one Query message holds. It never rejects: errors are frames. */
  execute(sql: string, role: 'admin' | 'stats', client: ClientConnection): Promise<ConsoleAnswer>;
}

export interface House extends SignalDesk {
  readonly clock: Clock;
  readonly config: Config;
  readonly tls: ClientTls | undefined;
  readonly throttle: LoginThrottle;
  readonly verifiers: ScramVerifiers;
  readonly keyCache: ScramKeyCache;
  readonly console: Console;
  /** Where what clients do is recorded, where it is. */
  readonly audit: AuditTrail | undefined;
  /** Why nobody may log in now. */
  readonly closing: PoolerError | undefined;

  /** The stored secret of a user of the auth_file or the configuration. */
  secretOf(user: string): StoredSecret | undefined;
  /** Runs auth_query for a user who is in no file. @throws PoolerError when it cannot be run */
  lookUpSecret(database: string, user: string): Promise<StoredSecret | undefined>;
  /** What most users have stored, and an unknown one must seem to have. */
  readonly commonSecretKind: 'plain' | 'md5' | 'scram';
  /** The settings for a database and the client's user; undefined when there is no such database. */
  settingsFor(database: string, user: string): PoolSettings | undefined;
  /** The pool, made now if there is none; only for who has proved who he is. */
  poolFor(database: string, user: string): { readonly pool: Pool; readonly settings: PoolSettings } | PoolerError;
  isDisabled(database: string): boolean;
  /** Keys with which a client proved itself: weir may prove itself with them to the server. */
  rememberKeys(database: string, user: string, keys: ScramKeys): void;
  /** What auth_query found, and the user has proved. */
  rememberLookedUp(database: string, user: string, secret: StoredSecret): void;
  /** Checks the limits on clients and takes a place, or says which limit is reached. */
  admit(database: string, user: string, settings: PoolSettings): Promise<PoolerError | undefined>;
  /** Gives back the place `admit` took. */
  dismiss(database: string, user: string): void;
  /** A cancel request arrived; resolves when it has been dealt with, whatever came of it. */
  cancel(pid: number, secret: Buffer): Promise<void>;
  /** What a statement may leave behind in the session. */
  inspect(bytes: Buffer, start: number, end: number, connection: ClientConnection): Footprint;
  /** The pids a text gives to functions that signal a backend; undefined where it cannot be read. */
  signalledPids(text: Buffer): SignalledPids | undefined;
  /** What a statement may leave behind that is not read. */
  readonly unread: Footprint;
  /** The statement that the PREPARE of this name in `text` has prepared. */
  preparedBody(text: Buffer, name: string, failed: boolean, connection: ClientConnection): Buffer | undefined;
  /** A statement with hazards runs. */
  hazards(footprint: Footprint, connection: ClientConnection): void;
  /** Whether a policy is in force. */
  readonly isPoliced: boolean;
  /** Judges what the client has run; undefined without a policy. */
  gateFor(connection: ClientConnection): ClientGate | undefined;
  /** Time-outs that the session begins with, unless it asks for smaller ones. */
  timeLimits(subject: Subject): TimeLimits;
  /**
   * Why the policy does not let a session begin, if so.
   * @param settings of the startup packet
   */
  loginDenied(subject: Subject, replicates: boolean, settings: ReadonlyMap<string, string>): PoolerError | undefined;
  /** Empties databases of servers that serve nobody, for a client of the pool. */
  vacate(pool: Pool, databases: readonly DatabaseUse[]): ReturnType<Vacate>;
  /** Who listens for the clients of the pool. */
  notifications(pool: Pool): NotificationHub;
  /** Whether all that the sender has notified has been told; where not, the client of the pool goes on when it has. */
  isSettled(sender: Sender, pool: Pool, connection: ClientConnection): boolean;
  /** See `SessionHost.senderOf`. */
  senderOf(place: string, pid: number): number | undefined;

  /** A password was wrong. @param place see `throttlePlace` */
  guessFailed(place: string, user: string): void;
  guessSucceeded(place: string, user: string): void;
  loggedIn(connection: ClientConnection, record: LoginRecord): void;
  loginFailed(address: ClientAddress, database: string, user: string, error: PoolerError, reason: string): void;
  poolerError(connection: ClientConnection, error: PoolerError): void;
  /** The connection is over, in whatever phase. */
  gone(connection: ClientConnection, reason: string): void;
  nextId(): number;
  /** A new cancel key that no other client has. */
  newClientPid(connection: ClientConnection): number;
}
