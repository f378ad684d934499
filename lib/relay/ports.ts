// The two sides of the relay as the relay sees them: a port to write to, and listeners for what only upper layers can decide.

import type { ClientAuditor, Decision } from '../audit/index.js';
import { TimeHistogram } from '../metrics/index.js';
import {
  type ChannelUse,
  type Footprint,
  type HazardName,
  hazardNames,
  type ReadBarrier,
  type ReadShape,
  readBarriers,
  type Statement,
} from '../session/index.js';
import type { DatabaseUse, SignalledPids } from '../sql/index.js';
import type { ErrorFields, ServerErrorFields } from '../wire/index.js';
import type { PlanQuestion, PlansAnswer } from './plans.js';
import type { Sender } from './sender.js';
import type { ServerChannel } from './server-channel.js';
import { type RerunCause, rerunCauses, type SharedRead } from './shared-read.js';

/** How a server was brought back to its beginning. */
export const resetKinds = ['targeted', 'smart', 'discard_all', 'destroy', 'server_reset_query'] as const;
export type ResetKind = (typeof resetKinds)[number];

/** The way out to a peer. Bytes given to `write` are valid only during the call; `writeOwned` may keep its argument. */
export interface Port {
  write(bytes: Buffer, start: number, end: number): void;
  writeOwned(bytes: Buffer): void;
}

/** What a client's session decides for its channel. */
export interface ClientHost {
  /** A server for the batch that begins, already attached, or `undefined`: the channel stops until it is fed again. */
  lease(): ServerChannel | undefined;
  /** The same if there is one that nobody waits for: the channel goes on in either case. */
  leaseFree(): void;
  /** What the channel stopped for has come: it is to be fed again. */
  goOn(): void;
  /** What the statement may leave behind whose text lies in `bytes` from `start` to `end`. */
  inspect(bytes: Buffer, start: number, end: number): Footprint;
  /** What one may leave behind that is not looked at. */
  readonly unread: Footprint;
  /** The client said Terminate. */
  onTerminate(): void;
  /** The client broke the protocol; the connection ends with this error. */
  onViolation(error: ErrorFields): void;
}

/** What the ladder asks of a client's session beyond the relay, and tells it. */
export interface SessionHost {
  /** The statement within `text` that its PREPARE of this name, bytes as a latin1 string, has prepared, although it may have `failed` half way. */
  preparedBody(text: Buffer, name: string, failed: boolean): Buffer | undefined;
  /** A statement with hazards is about to run. */
  onHazards(footprint: Footprint): void;
  /**
   * Whether notifications on the channels are kept for the client from here on, and those committed before on others have come;
   * `wait`: ask again when fed again. Or why that cannot be.
   */
  readyToListen(channels: readonly ChannelUse[]): 'ready' | 'wait' | ErrorFields;
  /** Whether what serves nobody has left them; where not, ask again when fed again. */
  readyToVacate(databases: readonly DatabaseUse[]): boolean;
  /** A database that the client has dropped is gone. */
  onDatabaseDropped(): void;
  /** A transaction that may have begun to listen is about to commit. */
  onCommitSent(): void;
  /**
   * What the client listens on has changed, by what the server says and by what it was told. @returns channels that nobody
   * else listens on for the client
   */
  onChannels(listens: readonly string[], unlistens: readonly (string | null)[]): readonly string[];
  /**
   * The client's own server tells of a notification, while it may have begun to listen unseen or (`keepsServer`) is kept
   * for that. @returns whether the client is to be told at once
   */
  onOwnNotification(bytes: Buffer, start: number, end: number, keepsServer: boolean): boolean;
  /** The pid the client was told; 0 for weir itself. */
  readonly clientPid: number;
  /** Whether all that this sender, another client, has notified has been told; where not, the statement is shown again when it has. */
  readyToNotify(sender: Sender): boolean;
  /** The pid that the client was told whose session this is, the server's process `pid` where the one at `place` is; undefined for nobody's. */
  senderOf(place: string, pid: number): number | undefined;
  /** Channels the client listens on. */
  channels(): readonly string[];
  /** Names of settings with a dot that clients of the pool have used. */
  settingNames(): Iterable<string>;
  onSettingName(name: string): void;
  /** Whether all of the relations, whatever their schemas, are known to be tables that run no code when they are read. */
  arePlain(tables: readonly string[]): boolean;
  /** The client has asked for what nextval answered: it will do so again. */
  onSequenceReader(): void;
  /** The pids that a text gives to functions by which PostgreSQL signals a backend. */
  signalledPids(text: Buffer): SignalledPids | undefined;
  /** What stands on the server for pids that clients were told; undefined: ask again when fed again. Only with a server. */
  realPids(pids: readonly number[]): ReadonlyMap<number, number> | undefined;
  /** The message with them that runs is being sent. */
  onSignalsSent(): void;
}

/** Of a session that listens on nothing, prepares nothing by SQL and has no habits. */
export const plainSession: SessionHost = {
  preparedBody: () => undefined,
  onHazards: () => {},
  readyToListen: () => 'ready',
  readyToVacate: () => true,
  onDatabaseDropped: () => {},
  onCommitSent: () => {},
  onChannels: () => [],
  onOwnNotification: () => false,
  clientPid: 0,
  readyToNotify: () => true,
  senderOf: () => undefined,
  channels: () => [],
  settingNames: () => [],
  onSettingName: () => {},
  arePlain: () => false,
  onSequenceReader: () => {},
  signalledPids: () => undefined,
  realPids: () => new Map(),
  onSignalsSent: () => {},
};

/**
 * Records what a client runs: see `lib/audit`. Each message that runs SQL is asked about, as often as it is shown; once it is
 * `sent`, one of `ended` and `skipped` says what came of it, in the order they were sent.
 */
export type Auditor = Pick<
  ClientAuditor,
  | 'alone'
  | 'bind'
  | 'bytesSent'
  | 'closePortal'
  | 'closeStatement'
  | 'completed'
  | 'ended'
  | 'execute'
  | 'executeAhead'
  | 'failed'
  | 'functionCall'
  | 'hasRoomFor'
  | 'hasRoomToBind'
  | 'isCrowded'
  | 'isStatementOpen'
  | 'mustWaitFor'
  | 'parse'
  | 'portalAs'
  | 'query'
  | 'ready'
  | 'records'
  | 'refused'
  | 'sent'
  | 'skipped'
  | 'statementAs'
  | 'takeBack'
  | 'took'
  | 'unsent'
>;

/** What the policy says to a message. */
export type Ruling =
  | { readonly kind: 'forward' }
  /** It is not known yet: the message is shown again when the channel is fed again. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'deny'; readonly error: ErrorFields }
  /** The server is asked for its plan first; then the message is shown again. */
  | { readonly kind: 'estimate'; readonly estimation: Estimation }
  /** This text goes instead. */
  | { readonly kind: 'rewrite'; readonly text: Buffer };

export interface Estimation {
  /** What shows the plan; undefined where a server of this version (160004) cannot be asked. */
  question(version: number): PlanQuestion | undefined;
  /** The ruling then. */
  readonly unasked: Ruling;
  /** The transaction has failed: nothing is planned in it any more. The message is judged without. */
  without(): void;
  answered(answer: PlansAnswer): void;
}

/** What a Bind has behind its names, where all of it is here. */
export interface BoundValues {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** At which point a statement is judged: looked at before it is fed, about to be prepared, about to run. */
export type Moment = 'ahead' | 'parse' | 'run';

/** Judges what a client is about to have run. */
export interface Gate {
  /** On what was judged last, for the audit trail. */
  readonly decision: Decision | undefined;
  /** Whether rows have columns that the client must not see, not even in an error about them. */
  readonly hidesColumns: boolean;
  /** @param footprint of the text from `start` to `end`; one without facts is of a text that is not known */
  judge(footprint: Footprint, bytes: Buffer, start: number, end: number, moment: Moment): Ruling;
  /** A message that is not read: too long a text, or a call by number. */
  judgeUnread(what: 'a statement over inspect_limit' | 'a function call by its number'): Ruling;
  /** A prepared statement is about to run. @param name where weir does not keep the statement @param values undefined where they are too long to be held */
  judgeBound(statement: Statement | undefined, name: string, moment: Moment, values: BoundValues | undefined): Ruling;
  /**
   * The text that was judged last is prepared, as this statement, or under this name where weir does not keep it.
   * @param body of its Parse behind the name, as it is sent, in the second case; valid during the call
   */
  onPrepared(statement: Statement | undefined, name: string, body: Buffer | undefined): void;
  /** What SQL has prepared under this name has become the client's statement. */
  onCarried(name: string, statement: Statement): void;
}

/** What a server's owner is told by its channel. */
export interface ServerHost {
  /** ReadyForQuery came for a client's batch and nothing more is owed: the lease may end. */
  onBatchEnd(): void;
  /** An error went to the client or, with `own`, answered a batch of weir's. */
  onError(fields: ServerErrorFields, own: boolean): void;
  /** The server announced its end. */
  onFatal(fields: ServerErrorFields): void;
  /** ALTER ROLE or ALTER DATABASE has been committed: new servers may begin with other settings. */
  onSettingsAltered(): void;
  /** The session has something weir did not know of. */
  onLeak(cause: string, what: string): void;
  /** A read has run, alone or on a shared server: how long it took and how long its answer was. */
  onReadRun(shape: ReadShape, ms: number, bytes: number, shared: boolean): void;
  /** A shared read has been answered, or is to be run again. */
  onReadEnd(read: SharedRead): void;
  /** A shared server is not any more as the clients of its reads expect it. */
  onSharedChanged(): void;
  /** The stream makes no sense any more: both sides must be closed and the server never used again. */
  onDoubt(reason: string): void;
}

/** Counters of one pool, added to by its channels. */
export interface Traffic {
  queries: number;
  transactions: number;
  readonly queryTime: TimeHistogram;
  readonly transactionTime: TimeHistogram;
  /** Bytes from clients, and to them. */
  bytesReceived: number;
  bytesSent: number;
  clientParses: number;
  serverParses: number;
  binds: number;
  replays: number;
  readonly ladder: LadderCounts;
  readonly lanes: LaneCounts;
}

/** What became of reads that could share a server. */
export interface LaneCounts {
  /** Sent on a shared server. */
  reads: number;
  /** Not sent there, by what was wrong with their shape. */
  readonly refused: Record<ReadBarrier, number>;
  /** Run once more on a server of their own. */
  readonly reruns: Record<RerunCause, number>;
  /** How long reads waited behind others' on their server. */
  readonly waitTime: TimeHistogram;
}

/** What was done about what clients left behind. */
export interface LadderCounts {
  /** Looks at a server's session. */
  probes: number;
  readonly resets: Record<ResetKind, number>;
  /** Pins that began. */
  readonly pins: Record<HazardName, number>;
  /** What looks found and weir did not believe. */
  readonly leaks: Record<HazardName, number>;
  /** Named statements prepared again and run once more after a change of their tables. */
  reprepared: number;
}

function zeros<K extends string>(names: readonly K[]): Record<K, number> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Record<K, number>;
}

export function newTraffic(): Traffic {
  return {
    queries: 0,
    transactions: 0,
    queryTime: new TimeHistogram(),
    transactionTime: new TimeHistogram(),
    bytesReceived: 0,
    bytesSent: 0,
    clientParses: 0,
    serverParses: 0,
    binds: 0,
    replays: 0,
    ladder: {
      probes: 0,
      resets: zeros(resetKinds),
      pins: zeros(hazardNames),
      leaks: zeros(hazardNames),
      reprepared: 0,
    },
    lanes: {
      reads: 0,
      refused: zeros(readBarriers),
      reruns: zeros(rerunCauses),
      waitTime: new TimeHistogram(),
    },
  };
}
