// From server to client: matches every reply with what is owed, forwards, swallows or answers, and notices when a batch ends.

import type { Naming } from '../audit/index.js';
import {
  Effect,
  isReplayed,
  Placed,
  type ReadShape,
  type ServerStatements,
  Settings,
  type Statement,
  type Version,
} from '../session/index.js';
import { assert, type Clock, Ring } from '../util/index.js';
import {
  Action,
  Backend,
  closeStatementMessage,
  describeStatementMessage,
  digestColumns,
  errorResponse,
  FrameStream,
  flushMessage,
  frameTable,
  headerBytes,
  ownBoundStatement,
  ownQueryMessage,
  ownStatementWithin,
  parameterStatus,
  parseMessage,
  readDataRow,
  readErrorFields,
  readParameterStatus,
  replaceInFrame,
  runStatementMessages,
  type ServerErrorFields,
  syncMessage,
  TransactionStatus,
  Verdict,
  withoutDetail,
} from '../wire/index.js';
import { BatchRecord } from './batch-record.js';
import type { ClientChannel } from './client-channel.js';
import { Ladder } from './ladder.js';
import {
  Expect,
  type Owed,
  type OwnDone,
  type OwnRows,
  owedChanged,
  owedDescribePortal,
  owedLesson,
  owedNamed,
  owedOwn,
  owedOwnSync,
  owedRows,
  owedSilent,
  owedSkip,
  owedSync,
  type Undo,
} from './owed.js';
import type { Port, ServerHost, Traffic } from './ports.js';
import { Preparation } from './preparation.js';
import { changedPlan, provocation } from './refusals.js';
import { Sender } from './sender.js';
import { ServerSequences } from './sequences.js';
import type { RerunCause, SharedRead } from './shared-read.js';

const heldBytesMax = 64 * 1024;

/** What a server may send when nothing is asked of it, and what is shown of it at any time. */
const unasked = [
  { tag: Backend.ParameterStatus, action: Action.Whole, holdBytesMax: heldBytesMax },
  { tag: Backend.ErrorResponse, action: Action.Whole, holdBytesMax: heldBytesMax },
  { tag: Backend.NoticeResponse, action: Action.Whole, holdBytesMax: heldBytesMax },
  { tag: Backend.NotificationResponse, action: Action.Whole, holdBytesMax: heldBytesMax },
  // Refused by what is owed, not by its tag: a Sync overlooked by a COPY may count after all.
  { tag: Backend.ReadyForQuery, action: Action.Whole, holdBytesMax: 6 },
];
const quietTable = frameTable(unasked);
const answers = [
  ...unasked,
  { tag: Backend.CopyData, action: Action.Forward },
  { tag: Backend.CopyDone, action: Action.Forward },
  { tag: Backend.ParameterDescription, action: Action.Forward },
  { tag: Backend.FunctionCallResponse, action: Action.Forward },
  { tag: Backend.CopyOutResponse, action: Action.Forward },
  { tag: Backend.RowDescription, action: Action.Header },
  { tag: Backend.NoData, action: Action.Header },
  { tag: Backend.BindComplete, action: Action.Header },
  { tag: Backend.ParseComplete, action: Action.Header },
  { tag: Backend.CloseComplete, action: Action.Header },
  { tag: Backend.EmptyQueryResponse, action: Action.Header },
  { tag: Backend.PortalSuspended, action: Action.Header },
  { tag: Backend.CopyInResponse, action: Action.Header },
  { tag: Backend.CopyBothResponse, action: Action.Header },
  { tag: Backend.CommandComplete, action: Action.Whole, holdBytesMax: heldBytesMax },
];
const busyTable = frameTable([...answers, { tag: Backend.DataRow, action: Action.Forward }]);
/** For the beginning of the answer to a shared read. */
const sharedTable = frameTable([...answers, { tag: Backend.DataRow, action: Action.Header }]);
/** The beginning of an answer that is held back until it is sure that it is one. */
const beginningBytesMax = 16 * 1024;
/** A row of weir's own queries; one has a statement's text, or a setting's value. */
const ownRowBytesMax = 4 * 1024 * 1024;
const ownRowsMax = 20_000;
/** All rows of one answer. */
const ownBytesMax = 8 * 1024 * 1024;
/** A statement's parameters and columns, with names as long as they can be. */
const lessonBytesMax = 512 * 1024;
/** For a description that weir reads. */
const lessonTable = frameTable([
  ...answers,
  { tag: Backend.ParameterDescription, action: Action.Whole, holdBytesMax: lessonBytesMax },
  { tag: Backend.RowDescription, action: Action.Whole, holdBytesMax: lessonBytesMax },
  { tag: Backend.NoData, action: Action.Whole, holdBytesMax: headerBytes },
]);
/** For answers to weir's own queries. */
const ownTable = frameTable([...answers, { tag: Backend.DataRow, action: Action.Whole, holdBytesMax: ownRowBytesMax }]);

/** PostgreSQL's own limit of a message to a client. */
const serverFrameBytesMax = 0x7fff_ffff;

/** Which entry a reply's tag ends, by tag; 255 for those that end none. */
const ends = new Uint8Array(256).fill(255);
ends[Backend.ParseComplete] = Expect.Parsed;
ends[Backend.BindComplete] = Expect.Bound;
ends[Backend.RowDescription] = Expect.Described;
ends[Backend.NoData] = Expect.Described;
ends[Backend.CommandComplete] = Expect.Executed;
ends[Backend.EmptyQueryResponse] = Expect.Executed;
ends[Backend.PortalSuspended] = Expect.Executed;
ends[Backend.CloseComplete] = Expect.Closed;

/** The outermost context of an error that a COPY met in its data: its beginning has been read. */
const readingCopy = /(?:^|\n)COPY [^\n]*$/;

/** What a message that failed leaves behind differs from what one leaves that was skipped. */
function undoOfFailed(undo: Undo): Undo {
  // A Parse without a name empties the slot before anything can be wrong with it.
  if (undo.kind === 'unnamed') return { ...undo, previous: undefined };
  return undo;
}

/** Whether the unnamed slot is what it was before, also where the message was not carried out. */
function keepsSlot({ expect, visible }: Owed): boolean {
  return expect > Expect.Parsed && (visible || expect !== Expect.Closed);
}

/** Whether it is weir's own, and leaves nothing that a batch sent once more could meet but statements that weir keeps there. */
function preparesOnly({ expect, visible, silent, repeats }: Owed): boolean {
  if (repeats === true) return true;
  return !visible && !silent && (expect === Expect.Parsed || expect === Expect.Described || expect === Expect.Closed);
}

/** @param text such as `16.4 (Debian 16.4-1)` or `18beta2` */
function versionNumber(text: string): number {
  const [, major, minor] = /^(\d+)(?:\.(\d+))?/.exec(text) ?? [];
  return Number(major ?? 0) * 10_000 + Number(minor ?? 0);
}

const noBytes: Buffer = Buffer.alloc(0);
const inFailedTransaction = '25P02';
const readOnlyTransaction = '25006';
const canceled = '57014';
const unknownStatement = '26000';
/** feature_not_supported: of a statement that was bound or described, that its tables have changed. */
const changedResult = '0A000';
/** Where PostgreSQL says so of a statement's columns: the state alone is that of many other things it cannot do. */
const comparesColumns = 'RevalidateCachedQuery';
/** Where it compares the formats of a Bind with the columns. */
const setsFormats = 'PortalSetResultFormat';
/** Integrity constraints, and the check of a view. */
const constraintClasses = /^(23|44)/;

const letterA = 0x41;
const letterD = 0x44;
const letterR = 0x52;
const letterO = 0x4f;
const reset = Buffer.from('RESET\0');
const unlisten = Buffer.from('UNLISTEN\0');
/** Of commands that alter what sessions begin with. */
const alterRole = Buffer.from('ALTER ROLE\0');
const alterDatabase = Buffer.from('ALTER DATABASE\0');
/** The command tags that say all statements are gone. */
const discardAll = Buffer.from('DISCARD ALL\0');
const deallocateAll = Buffer.from('DEALLOCATE ALL\0');
const dropDatabase = Buffer.from('DROP DATABASE\0');

/** Whether a Bind has failed at computing something, and not at reading a value: that is told by its parameter's number. */
function isOfPlanning({ sqlstate, where }: ServerErrorFields): boolean {
  return sqlstate.startsWith('22') && !/\$\d/.test(where ?? '');
}

interface Healing {
  readonly statement: Statement;
  readonly version: Version;
  readonly parsedAt: number;
}

/**
 * One server after its login. Bytes from its socket are fed in; bytes to it go through `toServer`. A client is attached
 * for the time of a lease.
 */
export class ServerChannel extends FrameStream {
  readonly toServer: Port;
  readonly #host: ServerHost;
  readonly #clock: Clock;
  /** Where what happens is counted: with the pool, or apart for a client inside weir. */
  traffic: Traffic;

  readonly #owed = new Ring<Owed>(16);
  /** Entries of `#owed` that end with a ReadyForQuery. */
  #batchesOwed = 0;
  /** Whether what comes now is for the client: that of the head of `#owed`. */
  #visible = true;
  #client: ClientChannel | undefined;

  /** Lent to reads of several clients: `#client` is whose read is being answered. */
  #sharing = false;
  /** Their reads, in the order they were sent. */
  readonly #reads = new Ring<SharedRead>(2);
  /** Those answered by what is being received. */
  readonly #readsEnded: SharedRead[] = [];
  /** A cancel request has been sent while it was shared: it may hit any of them. */
  cancelSent = false;
  /** The read that a client with a lease has sent, to be measured. */
  measured: ReadShape | undefined;
  #replyBytes = 0;

  /** Settings as the server has them, or will once it has read what weir wrote. */
  settings: Settings;
  readonly statements: ServerStatements;
  /** The statement in the server's unnamed slot, as far as known. */
  unnamed: Statement | undefined;
  /** How statements come to the server. */
  readonly preparation: Preparation;
  /** The types of the parameters of the statement that is being described. */
  #types: Buffer = noBytes;
  /** The same, as they will be told once it is known that the statement has not changed, or that its client must see that. */
  #heldTypes: Buffer | undefined;
  /** What the client knew of the statement of a batch that is run once more, until it has been told the new columns. */
  #healing: Healing | undefined;
  /** What the statements of leases leave behind. */
  readonly ladder: Ladder;
  readonly sequences: ServerSequences;
  readonly sender = new Sender();
  /** Why statements could not be prepared under the client's names for the Query that comes: in place of PostgreSQL's "does not exist". */
  readonly #unprepared = new Map<string, Buffer>();
  /** Run behind a RESET ALL: what the operator has every new connection begin with. */
  readonly restoreQuery: Buffer | undefined;
  /** Where it is, in ASCII, as records of what ran there name it. */
  readonly place: string;
  /** Who logged in, as the server reported it. */
  readonly loginAuthorization: string;
  readonly loginSuperuser: boolean;
  /** Its version as a number, such as 160004. */
  readonly version: number;
  /** The parameters it reports, by lower-case name as it writes them. */
  readonly #reported = new Map<string, string>();
  /** Whether the lease has not been used yet. */
  fresh = false;
  /** Whether somebody has had the server since it was last found clean. */
  usedSinceReset = false;

  /** The transaction status of the last ReadyForQuery. */
  status: TransactionStatus = TransactionStatus.Idle;
  /** Messages of the extended protocol have been sent and no Sync after them. */
  #batchOpen = false;
  #hasBound = false;
  #awaitsAnswers = false;
  /** An error made the server ignore what comes before the next Sync, which has not been sent. */
  #ignoring = false;
  /** It has just begun to: what waited for an answer that does not come need not wait. */
  #answersSkipped = false;
  /** The server reads COPY data: it overlooks Sync. */
  #copyIn = false;
  /** It has just begun to: what the client has sent behind it need not wait for its end, which may hang on that. */
  #copyBegun = false;
  /** Syncs sent that the running COPY overlooks. */
  #syncsOverlooked = 0;
  /** COPY data has been sent for the running COPY, or for one that may begin. */
  #copyDataSent = false;
  /** One of those Syncs was sent behind data: a COPY that fails may end before it, and then it counts. */
  #syncsUncertain = false;
  /** A batch that begins with a named statement. */
  readonly #record = new BatchRecord();
  /** All that has been sent of the batch were Parses of weir's own, at its very beginning. */
  #onlyParsed = false;
  /** Batches sent so far: which of them a message is in. */
  #batch = 0;
  /** Entries of the batch that have been answered. */
  #answered = 0;
  /** The batch has brought its client an error. */
  #failed = false;
  #ownError: ServerErrorFields | undefined;
  #ownRows: (string | null)[][] = [];
  #ownBytes = 0;
  #batchEnded = false;
  /** What ends with the frame that passes, where its client is audited. */
  #recordEnds: 'statement' | 'statement and batch' | 'batch' | undefined;
  /** A batch has ended and nothing is owed: told to the host once all that was received has been looked at. */
  #batchOver = false;
  /** The same of a batch of weir's own. */
  #ownOver: (() => void) | undefined;
  /** What RESET goes back to. */
  readonly loginSettings: Settings;
  /** Of those, what connect_query leaves as it is wherever it runs: as the server has them behind a reset. */
  readonly #restoredSettings: Settings;
  /** Whether connect_query has left more than settings. */
  readonly hasMore: boolean;
  /** The client ran RESET or DISCARD ALL in this batch: the server goes back to its beginning, the client to its own. */
  #resetting = false;
  /** ALTER ROLE or ALTER DATABASE has run, and its transaction has not ended. */
  #altered = false;
  #closed = false;

  /** When the reply that is being waited for became due; undefined while nothing is owed to a client. */
  queryStartedMs: number | undefined;
  transactionStartedMs: number | undefined;
  /** When the server last became ready inside a transaction. */
  idleInTransactionSinceMs: number | undefined;

  constructor(options: {
    readonly toServer: Port;
    readonly host: ServerHost;
    readonly clock: Clock;
    readonly traffic: Traffic;
    readonly settings: Settings;
    /** What RESET goes back to, where that is not the same. */
    readonly loginSettings?: Settings;
    readonly hasMore?: boolean;
    readonly statements: ServerStatements;
    readonly parameters?: ReadonlyMap<string, string>;
    /** Whether who logged in is one, where the parameters tell of a role. */
    readonly superuser?: boolean;
    readonly restoreQuery?: Buffer | undefined;
    readonly place?: string;
  }) {
    super(quietTable, serverFrameBytesMax);
    this.toServer = options.toServer;
    this.#host = options.host;
    this.#clock = options.clock;
    this.traffic = options.traffic;
    this.settings = options.settings;
    this.loginSettings = options.loginSettings ?? options.settings;
    this.#restoredSettings = common(this.loginSettings, options.settings);
    this.hasMore = options.hasMore ?? false;
    this.statements = options.statements;
    this.restoreQuery = options.restoreQuery;
    this.place = options.place ?? '';
    this.loginAuthorization = options.parameters?.get('session_authorization') ?? '';
    this.version = versionNumber(options.parameters?.get('server_version') ?? '');
    this.loginSuperuser = options.superuser ?? options.parameters?.get('is_superuser') === 'on';
    for (const name of options.parameters?.keys() ?? []) {
      if (isReplayed(name)) this.#reported.set(name.toLowerCase(), name);
    }
    this.sequences = new ServerSequences(this);
    this.ladder = new Ladder(this);
    this.preparation = new Preparation(this, options.statements);
  }

  get client(): ClientChannel | undefined {
    return this.#client;
  }

  get owedCount(): number {
    return this.#owed.length;
  }

  /** Whether the server would ignore anything but a Sync. */
  get ignoring(): boolean {
    return this.#ignoring;
  }

  get copyIn(): boolean {
    return this.#copyIn;
  }

  /** Whether the client has ended the data of the running COPY: Syncs count again. */
  get copyDataEnded(): boolean {
    for (let i = 0; i < this.#owed.length; i++) if (this.#owed.at(i)?.expect === Expect.CopyEnded) return true;
    return false;
  }

  /** Whether the server is between transactions with nothing asked and nothing owed. */
  get quiet(): boolean {
    return this.settled && this.status === TransactionStatus.Idle;
  }

  /** Whether it was in a transaction, that had not failed, when it was last ready. */
  get inTransaction(): boolean {
    return this.status === TransactionStatus.InTransaction;
  }

  /** Whether something is owed that is not weir's own. */
  get owesClient(): boolean {
    for (let i = 0; i < this.#owed.length; i++) if (this.#owed.at(i)?.silent === false) return true;
    return false;
  }

  /** Whether it is not known yet what the client's statement without a name is. */
  get owesUnnamed(): boolean {
    for (let i = 0; i < this.#owed.length; i++) if (this.#owed.at(i)?.undo?.kind === 'unnamed') return true;
    return false;
  }

  /** Whether all that was sent will be answered: what is owed ends with a ReadyForQuery. */
  get complete(): boolean {
    return !this.#batchOpen && !this.#ignoring;
  }

  /** Whether the batch that is open has bound and run nothing. */
  get hasBoundNothing(): boolean {
    return this.#batchOpen && !this.#hasBound && !this.#ignoring;
  }

  /** Batches that have been sent whole and not answered. */
  get batchesOwed(): number {
    return this.#batchesOwed;
  }

  /** Whether the client's next message waits for the answers to those before it. */
  get awaitsAnswers(): boolean {
    return this.#awaitsAnswers;
  }

  /** The client's next message waits until all that was sent has been answered, or an error makes the server ignore it. */
  awaitAnswers(): void {
    if (this.#awaitsAnswers) return;
    this.#awaitsAnswers = true;
    this.sendOwned(flushMessage);
  }

  /** Whether nothing that was sent could begin or end a transaction. */
  get statusStays(): boolean {
    for (let i = 0; i < this.#owed.length; i++) {
      const { expect, silent } = this.#owed.at(i) as Owed;
      // In a transaction what weir asks of its own leaves it open, and what has failed as it is.
      if (!silent && (expect === Expect.Executed || expect <= Expect.ReadyForQuery)) return false;
    }
    return true;
  }

  /** Whether everything owed has come; the server may be inside a transaction. */
  get settled(): boolean {
    return this.#owed.length === 0 && this.complete;
  }

  /** Whether part of a message has come and the rest has not. */
  get midMessage(): boolean {
    return this.midFrame || this.carriedBytes > 0;
  }

  attach(client: ClientChannel): void {
    assert(this.#client === undefined, 'a server is leased to one client');
    assert(this.quiet, 'a server is lent only when nothing is owed');
    assert(!this.midMessage, 'a server is lent only between messages');
    this.#client = client;
    this.traffic = client.traffic;
    this.usedSinceReset = true;
    this.fresh = true;
    this.transactionStartedMs = undefined;
  }

  /** Makes it ready for reads of several clients with these settings: at first, and whenever nothing is owed. */
  beginSharing(settings: Settings, traffic: Traffic): void {
    assert(this.#client === undefined && this.#reads.length === 0, 'a server is shared while nobody else has it');
    assert(this.quiet && !this.midMessage, 'a server is shared only when nothing is owed');
    this.traffic = traffic;
    this.usedSinceReset = true;
    this.cancelSent = false;
    this.#sharing = true;
    this.ladder.beginShared();
    if (this.settings !== settings) this.replay(settings);
  }

  endSharing(): void {
    assert(this.#reads.length === 0, 'a shared server is taken back when all reads are answered');
    this.#sharing = false;
    this.transactionStartedMs = undefined;
  }

  get sharing(): boolean {
    return this.#sharing;
  }

  get reads(): number {
    return this.#reads.length;
  }

  get firstRead(): SharedRead | undefined {
    return this.#reads.peek();
  }

  /** The batch that is sent next is this read. */
  share(read: SharedRead): void {
    assert(this.#sharing && this.complete, 'reads are sent to shared servers, each as one batch');
    this.sequences.beforeShared(read.reader.channel.sequences);
    this.#reads.push(read);
    if (this.#reads.length === 1) this.#client = read.reader.channel;
  }

  /** Its answer goes nowhere. */
  dropRead(read: SharedRead): void {
    read.dropped = true;
    read.held = undefined;
    if (this.#reads.peek() === read) this.#client = undefined;
  }

  /** All reads but the first, which are not answered here any more; the first too where the server is lost. */
  takeReads(from: 'first' | 'second'): SharedRead[] {
    const taken: SharedRead[] = [];
    for (let i = from === 'first' ? 0 : 1; i < this.#reads.length; i++) {
      const read = this.#reads.at(i) as SharedRead;
      // What has come of an answer that is none went to nobody, and the rest of it is not waited for.
      if (read.rerun !== undefined) {
        read.rerun = undefined;
        read.started = false;
      } else if (read.dropped) continue;
      taken.push(read);
      this.dropRead(read);
    }
    return taken;
  }

  /** The read that is being sent has been answered only if this turns out to be what its client expects. */
  relyOn(placed: Placed): void {
    const read = this.#reads.last();
    assert(read !== undefined, 'what is sent to a shared server is a read');
    read.reliesOn = placed;
  }

  /** Ends the lease; whatever the server still sends reaches nobody. */
  detach(): void {
    this.ladder.end();
    this.preparation.forget();
    this.#awaitsAnswers = false;
    this.#healing = undefined;
    this.#client = undefined;
    this.queryStartedMs = undefined;
    this.idleInTransactionSinceMs = undefined;
  }

  /** Nothing is forwarded any more, in either direction. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reads.clear();
    for (let entry = this.#owed.shift(); entry !== undefined; entry = this.#owed.shift()) this.#settle(entry);
    this.#client = undefined;
    this.preparation.forget();
    this.statements.clear();
  }

  /**
   * Feeds bytes from the socket. Who asked is told of the end only behind the last of them: bytes beyond what was owed
   * must find nobody whose reply they could pass for.
   */
  receive(bytes: Buffer, from: number, to: number): void {
    this.feed(bytes, from, to);
    const ownOver = this.#ownOver;
    if (ownOver !== undefined) {
      this.#ownOver = undefined;
      ownOver();
    }
    if (this.preparation.waits && this.preparation.endWait()) this.#client?.goOn();
    if (this.#awaitsAnswers && (this.#owed.length === 0 || this.#ignoring || this.#copyIn)) {
      this.#awaitsAnswers = false;
      this.#client?.goOn();
    }
    if (this.#copyBegun) {
      this.#copyBegun = false;
      this.#client?.goOn();
    }
    if (this.#answersSkipped) {
      this.#answersSkipped = false;
      this.#client?.goOn();
    }
    if (this.#batchOver) {
      this.#batchOver = false;
      if (!this.#closed) this.#host.onBatchEnd();
    }
    if (this.#readsEnded.length > 0) this.#tellReaders();
  }

  #tellReaders(): void {
    for (const read of this.#readsEnded.splice(0)) this.#host.onReadEnd(read);
  }

  /** Records a message to the server that will be answered; it is written right after. */
  owe(entry: Owed): void {
    const first = this.#owed.length === 0;
    if (entry.expect <= Expect.ReadyForQuery) {
      this.#batch++;
      this.#batchesOwed++;
      this.#batchOpen = false;
      this.#onlyParsed = false;
      this.#hasBound = false;
      this.#ignoring = false;
    } else if (entry.expect !== Expect.CopyEnded) {
      this.#onlyParsed = preparesOnly(entry) && (this.#onlyParsed || !this.#batchOpen);
      this.#batchOpen = true;
      if (entry.expect === Expect.Bound || entry.expect === Expect.Executed) this.#hasBound = true;
    }
    // A Parse that the client waits for counts as well: it may wait for a lock.
    if ((entry.visible || (entry.learns !== undefined && !entry.silent)) && this.queryStartedMs === undefined) {
      const now = this.#clock.now();
      this.queryStartedMs = now;
      this.transactionStartedMs ??= now;
      this.idleInTransactionSinceMs = undefined;
    }
    this.#owed.push(entry);
    if (first) this.#advanceOrWait();
  }

  /** A Sync that a running COPY overlooks: no reply will come. */
  syncOverlooked(): void {
    this.#syncsOverlooked++;
    if (this.#copyDataSent) this.#syncsUncertain = true;
  }

  /** COPY data goes on to the server. */
  copyDataSent(): void {
    this.#copyDataSent = true;
  }

  /** Answers the client with `bytes` when everything owed before has been answered. */
  answer(entry: Owed): void {
    const first = this.#owed.length === 0;
    this.#owed.push(entry);
    if (first) this.#advanceOrWait();
  }

  /** Passes on bytes of the client's batch. */
  send(bytes: Buffer, start: number, end: number): void {
    this.#record.add(bytes, start, end);
    this.toServer.write(bytes, start, end);
  }

  /** The same of a message made for it, which may be kept. */
  sendOwned(message: Buffer): void {
    this.#record.add(message, 0, message.length);
    this.toServer.writeOwned(message);
  }

  /** The same of one that a batch sent once more would lack: it is not recorded any further. */
  sendUnrecorded(message: Buffer): void {
    this.#record.forget();
    this.toServer.writeOwned(message);
  }

  /** The message that is sent next uses a named statement: where it is the first of its batch, the batch is recorded. */
  beginRecord(): void {
    if (this.#sharing || (this.#batchOpen && !this.#onlyParsed)) return;
    if (this.status !== TransactionStatus.Idle || this.#visibleOwed()) return;
    this.#onlyParsed = false;
    this.#record.begin();
  }

  #visibleOwed(): boolean {
    const last = this.#owed.last();
    return last?.visible === true;
  }

  /**
   * Runs a batch once more whose first statement does not fit its tables any more: nothing of it has run, and nothing was
   * answered. Only where the client asks for the columns: one that remembers them would read the new rows by the old ones.
   */
  #runAgain({ expect, statement, name, placed, naming }: Owed): boolean {
    if (statement === undefined || name === undefined || placed === undefined) return false;
    const { version, parsedAt } = statement;
    if (version === undefined) return false;
    if (!this.#record.complete || this.#answered > 0 || this.#batchesOwed !== 1 || this.#batchOpen) return false;
    if (this.#owed.last()?.expect !== Expect.ReadyForSync || this.#copyIn) return false;
    if (!this.#asksForColumns(statement)) return false;
    const entries: Owed[] = [];
    for (let i = 1; i < this.#owed.length; i++) entries.push(this.#owed.at(i) as Owed);
    const batch = this.#record.take();
    this.#heldTypes = undefined;
    this.#owed.clear();
    this.#batchesOwed = 0;
    this.owe(owedOwnSync(() => {}));
    // For this client it is parsed anew, under the name that the batch has; what others have parsed stays what it was.
    if (this.statements.take(placed)) {
      this.owe(owedSkip(Expect.Closed, { kind: 'server-close', placed }));
      this.sendOwned(closeStatementMessage(placed.name));
    }
    this.#healing = { statement, version, parsedAt };
    statement.version = undefined;
    statement.parsedAt = this.statements.tick();
    // Its parameters stay what the client was told they are: they have been sent as that.
    const anew = this.sendParse(statement, 'weir', placed.name, undefined, version);
    const described = entries[0]?.expect === Expect.Described && entries[0].placed === placed;
    if (expect !== Expect.Parsed) this.#owed.push(owedNamed(expect, statement, name, anew, naming));
    else if (!described) this.#owed.push(owedNamed(Expect.Bound, statement, name, anew, naming));
    for (const entry of entries) this.#owed.push(entry);
    this.#batchesOwed++;
    this.#batchOpen = false;
    this.toServer.writeOwned(batch);
    this.traffic.ladder.reprepared++;
    this.#advance();
    return true;
  }

  /** The batch that was run once more has failed before the client was told the columns: it still knows the old ones alone. */
  #endHealing({ statement, version, parsedAt }: Healing): void {
    this.#healing = undefined;
    statement.version = version;
    statement.parsedAt = parsedAt;
  }

  /** Sends a batch of weir's own whose replies nobody sees. */
  ask(message: Buffer, done: OwnDone): void {
    this.owe(owedOwn(done));
    this.unnamed = undefined;
    this.toServer.writeOwned(message);
  }

  /**
   * Runs a statement of weir's own with values: between two batches in one of its own, else in the one that is open, whose client
   * is told its error. Then `done` is not called.
   * @param body of a Parse behind the name @param values of a Bind behind the names
   */
  askBound(body: Buffer, values: Buffer, done: OwnDone): void {
    const alone = this.complete;
    const owed = alone ? owedSilent : owedSkip;
    let rows: OwnRows | undefined;
    this.owe(owed(Expect.Closed, undefined));
    this.owe(owed(Expect.Parsed, undefined));
    this.owe(owed(Expect.Bound, undefined));
    this.owe(
      owedRows(alone ? 'own batch' : 'client', (error, found) => {
        rows = found;
        if (!alone || error !== undefined) done(error, found);
      }),
    );
    this.owe(owed(Expect.Closed, undefined));
    this.owe(owed(Expect.Closed, undefined));
    this.sendUnrecorded(ownBoundStatement(`${this.statements.prefix}plan`, body, values));
    if (!alone) {
      this.toServer.writeOwned(flushMessage);
      return;
    }
    this.owe(
      owedOwnSync((error) => {
        if (error !== undefined || rows !== undefined) done(error, rows ?? []);
      }),
    );
    this.toServer.writeOwned(syncMessage);
  }

  /** Sends one without which what follows must not run. */
  askForSure(message: Buffer): void {
    this.ask(message, this.#onSure);
  }

  /**
   * Begins the client's transaction in the batch that its message makes: should it fail, the server skips the message too,
   * which must not run outside of it.
   * @param how whether it stays prepared
   */
  begin(statement: Statement, how: 'kept' | 'passing'): void {
    if (how === 'passing') {
      this.runWithin(statement.body, { kind: 'begin' });
      return;
    }
    const { name } = this.prepareConstant(statement);
    this.owe(owedSkip(Expect.Bound, undefined));
    this.owe(owedSkip(Expect.Executed, { kind: 'begin' }));
    this.sendOwned(runStatementMessages(name));
  }

  /**
   * Runs a statement within the batch that is open, whose answers nobody sees.
   * @param body of a Parse behind the name
   */
  runWithin(body: Buffer, undo: Undo): void {
    this.owe(owedSkip(Expect.Parsed, undefined));
    this.owe(owedSkip(Expect.Bound, undefined));
    this.owe(owedSkip(Expect.Executed, undo));
    this.owe(owedSkip(Expect.Closed, undefined));
    this.owe(owedSkip(Expect.Closed, undefined));
    this.sendOwned(ownStatementWithin(`${this.statements.prefix}within`, body));
  }

  readonly #onSure = (error: ServerErrorFields | undefined): void => {
    if (error !== undefined) this.#doubt(`the session could not be reset: ${error.sqlstate} ${error.message}`);
  };

  /** A batch of weir's own has been answered and nothing else is owed: the lease may end after all. */
  endBatch(): void {
    this.#batchOver = true;
  }

  /** A client is told what it is not told by the server: values that went back to its own beginning, not to the server's. */
  tellReported(client: ClientChannel, next: Settings): void {
    for (const [lower, name] of this.#reported) {
      const value = next.values.get(lower);
      if (value === undefined || value === client.settings.values.get(lower)) continue;
      client.toClient.writeOwned(parameterStatus(name, value));
    }
  }

  nowMs(): number {
    return this.#clock.now();
  }

  onLeak(cause: string, what: string): void {
    this.#host.onLeak(cause, what);
  }

  onLookFailed(error: ServerErrorFields): void {
    this.#host.onError(error, true);
  }

  /**
   * Prepares statements under names of the client's own, and closes those that have none. The client's message has to wait
   * where a statement may have become another.
   */
  prepareOwnNames(changes: readonly (readonly [name: string, placed: Placed | undefined])[], apart: boolean): void {
    const alone = apart && this.complete;
    // One that cannot be prepared any more must not make the client's transaction fail. Outside of one these are errors nobody sees.
    const guarded = alone && !this.quiet;
    const owed = alone ? owedSilent : owedSkip;
    const batch = alone ? 'own' : 'client';
    // Closing what is not there is no error; preparing what is there would be one.
    for (const [name, placed] of changes) {
      this.owe(owed(Expect.Closed, { kind: 'own-name', name, batch, placed }));
      this.sendUnrecorded(closeStatementMessage(name));
    }
    if (alone) this.#endOwn();
    let waits = false;
    for (const [name, placed] of changes) {
      if (placed === undefined) continue;
      const { text, expected } = placed;
      const { version } = placed.statement;
      if (guarded) this.ask(ownQueryMessage('SAVEPOINT weir_name'), () => {});
      this.traffic.serverParses++;
      this.owe(owed(Expect.Parsed, { kind: 'own-name', name, batch, placed }));
      this.sendUnrecorded(parseMessage(name, version === undefined ? text.body : text.bodyOf(version)));
      if (text.upkeep === 'analysed') {
        this.#describe(placed, alone ? 'own batch' : 'weir');
        if (expected !== undefined && this.status !== TransactionStatus.Failed) {
          this.preparation.await(placed);
          waits = true;
        }
      }
      // Each by itself: one that cannot be prepared any more must not keep the others from it.
      if (alone) this.#endOwn();
      if (guarded) this.ask(ownQueryMessage('ROLLBACK TO SAVEPOINT weir_name;RELEASE SAVEPOINT weir_name'), () => {});
    }
    if (waits && !alone) this.toServer.writeOwned(flushMessage);
  }

  /** Finds out what a statement is that SQL has prepared. */
  describeOwnName(placed: Placed, done: (known: boolean) => void): void {
    this.#describe(placed, 'own batch');
    this.owe(owedOwnSync((error) => done(error === undefined)));
    this.toServer.writeOwned(syncMessage);
  }

  #describe(placed: Placed, whose: 'weir' | 'own batch'): void {
    this.owe(owedLesson(placed, whose));
    this.sendOwned(describeStatementMessage(placed.name));
  }

  /** A statement under a client's own name, or without one, has come to something else: nobody may use it. */
  onRefuted({ name }: Placed): void {
    if (name === '') this.unnamed = undefined;
    if (name === '' || name.startsWith(this.statements.prefix)) return;
    const alone = this.complete;
    this.owe((alone ? owedSilent : owedSkip)(Expect.Closed, undefined));
    this.sendUnrecorded(closeStatementMessage(name));
    if (alone) this.#endOwn();
    this.ladder.doubtName(name);
    this.#unprepared.set(name, errorResponse(changedPlan));
  }

  /** Fails where PostgreSQL would refuse a statement of this place, which has changed; what follows is sent, and skipped. */
  refuseChanged(error: Buffer, statement: Statement, name: Buffer, placed: Placed, naming?: Naming | undefined): void {
    this.owe(owedChanged(error, statement, name, placed, naming));
    this.unnamed = undefined;
    // Not recorded: run again, the batch is to succeed.
    this.toServer.writeOwned(parseMessage('', provocation));
  }

  /** Whether the name could not be prepared for the message that comes. */
  isUnprepared(name: string): boolean {
    return this.#unprepared.has(name);
  }

  /** Closes all statements that have names of weir's. */
  closeStatements(how: 'all' | 'one by one'): void {
    if (how === 'all') {
      this.askForSure(ownQueryMessage('DEALLOCATE ALL'));
      this.statements.clear();
      return;
    }
    // Before a Query in a batch of its own: an error behind it would keep the Query from being read.
    const alone = this.complete;
    const owed = alone ? owedSilent : owedSkip;
    const all = this.statements.takeAll();
    for (const placed of all) {
      this.owe(owed(Expect.Closed, { kind: 'server-close', placed }));
      this.sendOwned(closeStatementMessage(placed.name));
    }
    if (alone && all.length > 0) this.#endOwn();
  }

  /** Which of the batches sent so far the next message is in. */
  get batch(): number {
    return this.#batch;
  }

  /** The batch fails for certain: what the client sends up to its end goes nowhere. */
  skipRest(): void {
    this.#ignoring = true;
  }

  #endOwn(): void {
    this.owe(owedOwnSync(() => {}));
    this.toServer.writeOwned(syncMessage);
  }

  /** Brings the server to the client's settings, in the same write as the message that follows. */
  replay(settings: Settings): void {
    const message = settings.replayMessage(this.settings, this.loginSettings);
    this.settings = settings;
    if (message === undefined) return;
    this.traffic.replays++;
    this.ask(message, this.#onReplayed);
  }

  readonly #onReplayed = (error: ServerErrorFields | undefined): void => {
    // The client's message behind it may run with other settings than the client's: nobody may rely on it.
    if (error !== undefined) this.#doubt(`settings could not be replayed: ${error.sqlstate} ${error.message}`);
  };

  /**
   * Parses the statement on the server, and has it described.
   * @param by whose Parse it is; the client's is answered by `answer`
   */
  sendParse(
    statement: Statement,
    by: 'client' | 'weir',
    name?: string,
    answer?: (placed: Placed) => Owed,
    types = statement.version,
  ): Placed {
    this.#makeRoom();
    if (by === 'weir') this.#client?.rehome(statement, this);
    const { text } = statement;
    const placed = this.statements.place(statement, this.#batch, by, name);
    this.traffic.serverParses++;
    this.owe(answer?.(placed) ?? owedSkip(Expect.Parsed, { kind: 'server-parse', placed }));
    this.sendOwned(parseMessage(placed.name, types === undefined ? text.body : text.bodyOf(types)));
    if (text.upkeep === 'analysed') this.#describe(placed, 'weir');
    return placed;
  }

  /** One that nothing can change is there, or sent in the same write. */
  prepareConstant(statement: Statement): Placed {
    return this.statements.use(statement, this.batch) ?? this.sendParse(statement, 'weir');
  }

  /** Closes what is too many on the server, so that a statement can be prepared. */
  #makeRoom(): void {
    for (let placed = this.statements.takeSurplus(); placed !== undefined; placed = this.statements.takeSurplus()) {
      this.owe(owedSkip(Expect.Closed, { kind: 'server-close', placed }));
      this.sendOwned(closeStatementMessage(placed.name));
    }
  }

  /** A Query was sent that takes all statements with it, if it succeeds. */
  statementsForgotten(): void {
    this.statements.doubtAll();
  }

  /** Makes the server's unnamed slot hold what the client last put there. */
  prepareUnnamed(statement: Statement | undefined): void {
    if (statement === undefined) {
      // Whatever is in the slot is another client's: the client must meet an empty one.
      this.owe(owedSkip(Expect.Closed, undefined));
      this.sendUnrecorded(closeStatementMessage(''));
      this.unnamed = undefined;
      return;
    }
    if (this.unnamed === statement) return;
    const { text, version } = statement;
    this.owe(owedSkip(Expect.Parsed, undefined));
    this.sendOwned(parseMessage('', version === undefined ? text.body : text.bodyOf(version)));
    this.unnamed = statement;
    if (version === undefined || text.upkeep !== 'analysed') return;
    const placed = new Placed('', statement, 0, { expected: version });
    this.#describe(placed, 'weir');
    if (this.#sharing) {
      this.relyOn(placed);
      return;
    }
    this.preparation.await(placed);
    this.sendOwned(flushMessage);
  }

  /** Finds out what the client's unnamed statement is, which it has just parsed here. */
  describeUnnamed(statement: Statement): void {
    this.#describe(new Placed('', statement, 0), 'weir');
  }

  /** After a reset query of the operator's: what it did to settings that are not reported is not known. */
  forgetAfterReset(): void {
    this.unnamed = undefined;
    this.ladder.reset();
    this.#forgetUnreported();
  }

  /** After DISCARD ALL: no statement, and no setting but those reported at login, as reported since. */
  forgetSession(): void {
    this.statements.clear();
    this.unnamed = undefined;
    this.ladder.reset();
    this.ladder.forgetNames();
    this.#forgetUnreported();
  }

  /** What the server does not report has its value of the login again. */
  #forgetUnreported(): void {
    const values = new Map(this.#restoredSettings.values);
    for (const name of this.#reported.keys()) {
      const value = this.settings.values.get(name);
      if (value !== undefined) values.set(name, value);
    }
    this.settings = new Settings(values);
  }

  /** Whether the server tells when the setting changes. */
  reports(name: string): boolean {
    return this.#reported.has(name);
  }

  /** All settings were reset. */
  settingsReset(): void {
    this.settings = this.#restoredSettings;
  }

  protected onHeader(tag: number): Verdict {
    const expected = ends[tag] as number;
    const head = this.#owed.peek();
    if (tag === Backend.DataRow) {
      this.#startReply();
      return Verdict.Keep;
    }
    if (expected !== 255) {
      if (expected === Expect.Executed) this.#startReply();
      if (head === undefined) return this.#doubt('a reply that nobody asked for');
      if (head.expect === expected) return this.#endEntry(head);
      // A Query's replies come without entries of their own.
      if (head.expect === Expect.ReadyForQuery && expected !== Expect.Parsed && expected !== Expect.Bound) {
        return Verdict.Keep;
      }
      return this.#doubt('a reply out of its order');
    }
    // CopyInResponse or CopyBothResponse
    if (head === undefined || (head.expect !== Expect.ReadyForQuery && head.expect !== Expect.Executed)) {
      return this.#doubt('COPY that nobody asked for');
    }
    if (!head.visible) return this.#doubt('COPY in a batch of the pooler');
    this.#beginCopyIn();
    return Verdict.Keep;
  }

  protected onWhole(tag: number, bytes: Buffer, start: number, end: number): Verdict {
    switch (tag) {
      case Backend.ReadyForQuery:
        return this.#onReady(bytes[start + 5] as number);
      case Backend.CommandComplete:
        if (this.#visible) this.#client?.auditor?.completed(bytes, start + headerBytes, end - 1);
        if (bytes[start + headerBytes] === letterD) this.#onDiscarding(bytes, start, end);
        else if (bytes[start + headerBytes] === letterR) {
          this.#resetting ||= reset.equals(bytes.subarray(start + headerBytes, end));
          if (this.#visible && bytes[start + headerBytes + 1] === letterO) this.ladder.onRollback('rollback');
        } else if (bytes[start + headerBytes] === letterA) {
          this.#altered ||= altersSettings(bytes.subarray(start + headerBytes, end));
        } else if ((this.ladder.effects & Effect.Unlistens) !== 0 && this.#visible)
          if (unlisten.equals(bytes.subarray(start + headerBytes, end))) this.ladder.onUnlisten();
        if (this.#copyIn) this.#endCopyIn();
        return this.onHeader(tag);
      case Backend.ParameterStatus:
        return this.#onParameterStatus(bytes, start, end);
      case Backend.ErrorResponse:
        return this.#onError(bytes, start, end);
      case Backend.DataRow:
        return this.#onOwnRow(bytes, start, end);
      case Backend.NotificationResponse:
        return this.#onNotification(bytes, start, end);
      case Backend.ParameterDescription:
        return this.#onTypes(bytes, start, end);
      case Backend.RowDescription:
      case Backend.NoData:
        return this.#onLesson(tag, bytes, start, end);
      default:
        // A notice between batches belongs to whoever holds the server.
        return this.#visible ? Verdict.Keep : Verdict.Drop;
    }
  }

  #onTypes(bytes: Buffer, start: number, end: number): Verdict {
    const types = Buffer.from(bytes.subarray(start, end)); // cold: once per Parse or Describe
    this.#types = types.subarray(headerBytes);
    if (!this.#visible) return Verdict.Drop;
    if (this.#owed.peek()?.placed === undefined) return Verdict.Keep;
    this.#heldTypes = types;
    return Verdict.Drop;
  }

  #tellTypes(types: Buffer): void {
    this.#heldTypes = undefined;
    this.emit(types, 0, types.length);
  }

  /** What weir, or a client, asked to be described. */
  #onLesson(tag: number, bytes: Buffer, start: number, end: number): Verdict {
    const learns = this.#owed.peek()?.learns;
    const columns = tag === Backend.NoData ? 'no data' : digestColumns(bytes, start, end);
    if (columns === undefined) return this.#doubt('a description that cannot be read');
    if (learns !== undefined) this.preparation.learned(learns, this.#types, columns);
    this.emitBefore();
    if (this.#heldTypes !== undefined) this.#tellTypes(this.#heldTypes);
    return this.onHeader(tag);
  }

  /** Whether the read at the head was sent for a statement that has turned out to be another. */
  #reliesOnOther(read: SharedRead): boolean {
    return read.reliesOn !== undefined && read.reliesOn.isExpected !== true;
  }

  /** From here on the answer to a shared read cannot be taken back. */
  #startReply(): void {
    const read = this.#reads.peek();
    if (read === undefined || read.started || !this.#visible) return;
    if (this.#reliesOnOther(read) && !read.dropped) {
      read.rerun = 'changed';
      this.dropRead(read);
    }
    read.started = true;
    if (read.held !== undefined) this.#client?.toClient.writeOwned(read.held);
    read.held = undefined;
    this.useTable(busyTable);
  }

  #onOwnRow(bytes: Buffer, start: number, end: number): Verdict {
    const row = readDataRow(bytes, start, end);
    if (row === undefined) return this.#doubt('an answer to the pooler that cannot be read');
    this.#ownBytes += end - start;
    if (this.#ownRows.length >= ownRowsMax || this.#ownBytes > ownBytesMax) return this.#onTooMuch();
    this.#ownRows.push(row);
    return Verdict.Drop;
  }

  /** What a session has is more than is kept of it: as if the question had failed. */
  #onTooMuch(): Verdict {
    this.#ownError ??= {
      severity: 'ERROR',
      sqlstate: '54000',
      message: 'the answer to the pooler is too long',
      detail: undefined,
      hint: undefined,
      where: undefined,
    };
    return Verdict.Drop;
  }

  /** Whether the server runs something of weir's own at the moment. */
  get busyItself(): boolean {
    return this.#owed.peek()?.silent === true;
  }

  /** Only a client that keeps its server is told by it; the others are by the server that listens for them. */
  #onNotification(bytes: Buffer, start: number, end: number): Verdict {
    const client = this.#client;
    if (client?.onNotification !== undefined) {
      client.onNotification(bytes, start, end);
      return Verdict.Drop;
    }
    if (client === undefined || !client.listensItself(this, bytes, start, end)) return Verdict.Drop;
    if (this.#visible) return Verdict.Keep;
    this.emitBefore();
    client.toClient.write(bytes, start, end);
    return Verdict.Drop;
  }

  protected onLarge(tag: number, _total: number, bytes: Buffer, start: number, end: number): Verdict {
    if (tag === Backend.ErrorResponse) return this.#onError(bytes, start, end);
    if (tag === Backend.DataRow) return this.#onTooMuch();
    if (tag === Backend.NoticeResponse || tag === Backend.NotificationResponse) return Verdict.Keep;
    return this.#doubt('a reply longer than it can be');
  }

  protected onMalformed(tag: number): void {
    this.#doubt(`a message of type ${tag} that is not one`);
  }

  protected emit(bytes: Buffer, start: number, end: number): void {
    if (!this.#visible || this.#client === undefined) return;
    const { auditor } = this.#client;
    if (auditor !== undefined) auditor.bytesSent += end - start;
    this.traffic.bytesSent += end - start;
    this.#replyBytes += end - start;
    const read = this.#sharing ? this.#reads.peek() : undefined;
    if (read !== undefined && !read.started) {
      read.hold(Buffer.from(bytes.subarray(start, end)));
      if (this.#replyBytes > beginningBytesMax) this.#startReply();
      return;
    }
    this.#client.toClient.write(bytes, start, end);
  }

  protected afterKept(): void {
    const ended = this.#batchEnded;
    this.#batchEnded = false;
    if (this.#recordEnds !== undefined) this.#endRecord(this.#recordEnds);
    if (ended && this.#sharing) this.#endRead();
    this.#advance();
    if (ended && !this.#sharing) this.#afterBatch();
  }

  /** All of what is recorded of has gone to the client. */
  #endRecord(what: 'statement' | 'statement and batch' | 'batch'): void {
    this.#recordEnds = undefined;
    const auditor = this.#client?.auditor;
    if (auditor === undefined) return;
    if (what !== 'batch') auditor.ended(this.place);
    if (what !== 'statement') auditor.ready(this.status === TransactionStatus.Idle);
  }

  /** The answer to a shared read has come: what follows is the next one's. */
  #endRead(): void {
    const read = this.#reads.shift();
    assert(read !== undefined, 'a shared server answers reads');
    this.#readsEnded.push(read);
    const next = this.#reads.peek();
    this.#client = next === undefined || next.dropped ? undefined : next.reader.channel;
  }

  /** The head's reply is here: the entry goes, its reply to the client or nowhere. */
  #endEntry(head: Owed): Verdict {
    if (head.bytes !== undefined) return this.#doubt('a message that had to fail succeeded');
    const auditor = this.#client?.auditor;
    if (auditor !== undefined && head.naming !== undefined) auditor.took(head.naming);
    const { undo } = head;
    // Nothing has come of what weir sends to prepare a statement.
    if (!preparesOnly(head) && (head.visible || head.placed === undefined)) this.#answered++;
    if ((undo?.kind === 'server-parse' || undo?.kind === 'client-parse') && undo.placed !== undefined)
      this.statements.confirm(undo.placed);
    if (head.visible && head.expect === Expect.Described) this.#healing = undefined;
    if (!head.visible) {
      this.emitBefore();
      this.#settle(head);
      this.#owed.shift();
      this.#advance();
      if (head.done !== undefined) this.#tellRows(head.done);
      return Verdict.Drop;
    }
    this.#owed.shift();
    if (head.expect === Expect.Executed && auditor !== undefined) {
      this.#recordEnds = 'statement';
      return Verdict.KeepThenCall;
    }
    const next = this.#owed.peek();
    if (head.reads) return Verdict.KeepThenCall;
    if (next === undefined || (next.visible && next.expect < Expect.CopyEnded && !next.reads)) return Verdict.Keep;
    return Verdict.KeepThenCall;
  }

  /** A statement of weir's own has been answered. */
  #tellRows(done: OwnDone): void {
    const error = this.#ownError;
    const rows = this.#ownRows;
    this.#ownError = undefined;
    this.#ownRows = [];
    this.#ownBytes = 0;
    done(error, rows);
  }

  /** An entry's message was carried out for good. */
  #settle(entry: Owed): void {
    const undo = entry.undo;
    if (undo?.kind === 'sequences') this.sequences.onDiscarded();
    else if (undo?.kind === 'server-close') this.statements.forget(undo.placed);
    else if (undo?.kind === 'client-close') this.statements.forget(undo.statement);
    else if (undo?.kind === 'client-all')
      for (const [, statement] of undo.names.splice(0)) this.statements.forget(statement);
  }

  /** Answers what stands at the head and needs no reply, then looks whom the next reply is for. */
  #advance(): void {
    for (let head = this.#owed.peek(); head !== undefined; head = this.#owed.peek()) {
      if (head.expect === Expect.Fake) {
        if (head.bytes !== undefined) this.#client?.toClient.writeOwned(head.bytes);
        this.#answered++;
        this.#settle(head);
      } else if (head.expect !== Expect.CopyEnded || this.#copyIn) {
        break;
      }
      this.#owed.shift();
    }
    const head = this.#owed.peek();
    this.#visible = head?.visible ?? true;
    if (head === undefined) this.useTable(quietTable);
    else if (head.done !== undefined) this.useTable(ownTable);
    else if (head.reads) this.useTable(lessonTable);
    else this.useTable(this.#sharing && this.#reads.peek()?.started === false ? sharedTable : busyTable);
  }

  #advanceOrWait(): void {
    if (this.midFrame) this.callAfterFrame();
    else this.#advance();
  }

  #onReady(status: number): Verdict {
    if (
      status !== TransactionStatus.Idle &&
      status !== TransactionStatus.InTransaction &&
      status !== TransactionStatus.Failed
    ) {
      return this.#doubt('ReadyForQuery with a status that is none');
    }
    this.#copyIn = false;
    this.#resetting = false;
    this.#answered = 0;
    while (this.#owed.peek()?.expect === Expect.CopyEnded) this.#owed.shift();
    const head = this.#owed.peek();
    if (head === undefined || head.expect > Expect.ReadyForQuery) {
      return this.#doubt('ReadyForQuery that nobody asked for');
    }
    this.#forgetCopy();
    this.#batchesOwed--;
    if (!head.visible) {
      this.emitBefore();
      this.#owed.shift();
      this.status = status;
      const error = this.#ownError;
      const rows = this.#ownRows;
      this.#ownError = undefined;
      if (rows.length > 0) this.#ownRows = [];
      this.#ownBytes = 0;
      this.#advance();
      const { done } = head;
      if (done !== undefined) {
        if (this.#owed.length > 0) done(error, rows);
        else this.#ownOver = () => done(error, rows);
      }
      return Verdict.Drop;
    }
    this.#owed.shift();
    if (this.#client?.auditor !== undefined)
      this.#recordEnds = head.expect === Expect.ReadyForQuery ? 'statement and batch' : 'batch';
    if (head.undo !== undefined) this.#settle(head);
    if (this.#failed) this.ladder.forgetResets();
    else if (this.ladder.resets && status !== TransactionStatus.Failed) this.#tellReset();
    this.#failed = false;
    return this.#endBatch(status);
  }

  #endBatch(status: TransactionStatus): Verdict {
    this.status = status;
    this.#record.forget();
    // What is waited for may belong to a batch behind this one.
    if (!this.preparation.waits) this.preparation.forget();
    if (this.#unprepared.size > 0) this.#unprepared.clear();
    this.#batchEnded = true;
    const now = this.#clock.now();
    const traffic = this.traffic;
    if (this.#sharing) return this.#endSharedBatch(status, now);
    traffic.queries++;
    if (this.queryStartedMs !== undefined) {
      const ms = now - this.queryStartedMs;
      traffic.queryTime.observe(ms);
      if (this.measured !== undefined) this.#host.onReadRun(this.measured, ms, this.#replyBytes, false);
    }
    this.measured = undefined;
    this.#replyBytes = 0;
    if (status === TransactionStatus.Idle) {
      traffic.transactions++;
      if (this.transactionStartedMs !== undefined) traffic.transactionTime.observe(now - this.transactionStartedMs);
      this.transactionStartedMs = undefined;
      this.idleInTransactionSinceMs = undefined;
      if (this.#altered) this.#host.onSettingsAltered();
      this.#altered = false;
    } else {
      this.idleInTransactionSinceMs = now;
    }
    this.queryStartedMs = undefined;
    return Verdict.KeepThenCall;
  }

  /** What is counted is what clients asked, not what was run for nobody. */
  #endSharedBatch(status: TransactionStatus, now: number): Verdict {
    if (status !== TransactionStatus.Idle) return this.#doubt('a shared read has begun a transaction');
    const read = this.#reads.peek();
    assert(read !== undefined, 'a shared server answers reads');
    this.#startReply();
    const ms = now - (this.queryStartedMs ?? now);
    this.#host.onReadRun(read.shape, ms, this.#replyBytes, true);
    this.#replyBytes = 0;
    if (!read.dropped) {
      this.traffic.queries++;
      this.traffic.transactions++;
      this.traffic.queryTime.observe(ms);
      this.traffic.transactionTime.observe(ms);
    }
    const next = this.#reads.at(1);
    if (next !== undefined) this.traffic.lanes.waitTime.observe(now - next.sentMs);
    this.queryStartedMs = next === undefined ? undefined : now;
    return Verdict.KeepThenCall;
  }

  /** All of a batch's reply has gone to the client. */
  #afterBatch(): void {
    if (this.#owed.length > 0 || this.#batchOpen) {
      const now = this.#clock.now();
      this.queryStartedMs = now;
      this.transactionStartedMs ??= now;
      this.idleInTransactionSinceMs = undefined;
      return;
    }
    this.#batchOver = true;
  }

  /** DISCARD ALL and DEALLOCATE ALL take weir's own statements with them. */
  #onDiscarding(bytes: Buffer, start: number, end: number): void {
    if (discardAll.equals(bytes.subarray(start + headerBytes, end))) {
      if (this.#visible && this.#client !== undefined) this.#tellDiscarded(this.#client);
      this.unnamed = undefined;
      this.#forgetUnreported();
      this.ladder.lost();
      this.#resetting = true;
      this.#forgetStatements();
      if (this.#visible) this.#client?.onDiscardAll();
      if (this.#owed.length <= 1 && !this.#batchOpenBehind()) {
        this.ladder.discardedAll();
        if (this.#visible) this.#client?.onChannels([], [null]);
      }
    } else if (deallocateAll.equals(bytes.subarray(start + headerBytes, end))) {
      this.#forgetStatements();
    } else if (bytes[start + headerBytes + 1] === letterR) {
      if (this.#visible && dropDatabase.equals(bytes.subarray(start + headerBytes, end)))
        this.#client?.onDatabaseDropped();
    }
  }

  /** The server reports what DISCARD ALL changes there: not what stays there, and goes back to something else for the client. */
  #tellDiscarded(client: ClientChannel): void {
    this.#tellBeginning(client, () => true);
  }

  /** The same of RESET: nothing changes on a server that had the value it began with. */
  #tellReset(): void {
    const client = this.#client;
    if (client !== undefined) client.settings = this.#tellBeginning(client, (name) => this.ladder.hasReset(name));
  }

  /** Tells what went back to the client's own beginning, of reported settings whose value the server had not changed. */
  #tellBeginning(client: ClientChannel, wentBack: (name: string) => boolean): Settings {
    let next = client.settings;
    for (const lower of this.#reported.keys()) {
      const own = client.loginSettings.values.get(lower);
      const stays = this.settings.values.get(lower) === this.loginSettings.values.get(lower);
      if (own !== undefined && stays && wentBack(lower)) next = next.with(lower, own);
    }
    if (next !== client.settings) {
      this.emitBefore();
      this.tellReported(client, next);
    }
    return next;
  }

  /** Whether the client has sent anything behind what is answered now. */
  #batchOpenBehind(): boolean {
    return this.#batchOpen && this.#owed.peek()?.expect === Expect.ReadyForQuery;
  }

  /** All statements are gone, but not those of messages sent behind the one that did it. */
  #forgetStatements(): void {
    this.ladder.forgetNames();
    const head = this.#owed.peek();
    if (head?.undo?.kind === 'client-all') {
      this.#settle(head);
      this.statements.forgetDoubted();
      return;
    }
    const behind = new Set<string>();
    const preparedBehind = new Set<Placed>();
    for (let i = 0; i < this.#owed.length; i++) {
      const undo = this.#owed.at(i)?.undo;
      if (undo?.kind === 'client-parse') behind.add(undo.name);
      if ((undo?.kind === 'server-parse' || undo?.kind === 'client-parse') && undo.placed !== undefined)
        preparedBehind.add(undo.placed);
    }
    if (this.#visible) this.#client?.statements.clear(behind);
    this.statements.clear(preparedBehind);
    // Messages behind it may have taken for prepared what is not: a reset brings certainty.
    if (this.#owed.length > 1) this.ladder.effects |= Effect.Unseen;
  }

  /** Whether the client may have RESET the setting that is reported. */
  #isReset(name: string): boolean {
    return this.#resetting || this.ladder.mayHaveReset(name.toLowerCase());
  }

  #onParameterStatus(bytes: Buffer, start: number, end: number): Verdict {
    const parameter = readParameterStatus(bytes, start, end);
    if (parameter === undefined) return this.#doubt('ParameterStatus that cannot be read');
    if (parameter.name === 'is_superuser' || parameter.name === 'session_authorization') {
      // Whatever changed it, known or not: the client's role is asked for.
      if (this.#visible) this.ladder.effects |= Effect.Role;
    }
    // What it was to be for all of them it is no more: those behind must not be answered under it.
    if (this.#sharing && this.#visible) this.#host.onSharedChanged();
    if (isReplayed(parameter.name)) {
      const client = this.#visible ? this.#client : undefined;
      const agreed = client?.settings === this.settings;
      this.settings = this.settings.with(parameter.name, parameter.value);
      if (
        client !== undefined &&
        this.#isReset(parameter.name) &&
        this.loginSettings.get(parameter.name) === parameter.value
      ) {
        const own = client.loginSettings.get(parameter.name);
        if (own !== undefined && own !== parameter.value) {
          const before = client.settings;
          client.settings = before.with(parameter.name, own);
          if (client.settings === before && this.ladder.resetsLocally) return Verdict.Drop;
          this.emitBefore();
          client.toClient.writeOwned(parameterStatus(parameter.name, own));
          return Verdict.Drop;
        }
      }
      if (client !== undefined) {
        client.settings = agreed ? this.settings : client.settings.with(parameter.name, parameter.value);
      }
    }
    return this.#visible ? Verdict.Keep : Verdict.Drop;
  }

  /** The detail of a broken constraint is the row that breaks it, with all of its columns. */
  #withoutRow({ sqlstate }: ServerErrorFields, bytes: Buffer, start: number, end: number): Buffer | undefined {
    const hides = constraintClasses.test(sqlstate) && this.#client?.gate?.hidesColumns === true;
    return hides ? withoutDetail(bytes, start, end) : undefined;
  }

  #onError(bytes: Buffer, start: number, end: number): Verdict {
    let fields = readErrorFields(bytes, start, end);
    const head = this.#owed.peek();
    if (fields.severity === 'FATAL' || fields.severity === 'PANIC') {
      this.emitBefore();
      this.#visible = this.#client !== undefined;
      this.#client?.auditor?.failed(fields.sqlstate);
      this.#host.onError(fields, false);
      this.#host.onFatal(fields);
      // Who shares the server and has nothing of an answer yet is served by another one.
      return this.#sharing && this.#reads.peek()?.started !== true ? Verdict.Drop : Verdict.Keep;
    }
    if (head === undefined) {
      this.#host.onError(fields, this.#client === undefined);
      return this.#doubt(`an error that nobody asked for: ${fields.sqlstate} ${fields.message}`);
    }
    if (head.silent) {
      this.#ownError = fields;
      this.#host.onError(fields, true);
      if (head.undo?.kind === 'own-name' && fields.sqlstate !== inFailedTransaction && end - start <= heldBytesMax)
        this.#unprepared.set(head.undo.name, Buffer.from(bytes.subarray(start, end)));
      if (head.expect > Expect.ReadyForQuery) {
        this.emitBefore();
        this.#abortBatch();
        this.#advance();
      }
      return Verdict.Drop;
    }
    // Weir has made the server fail where PostgreSQL would have refused the statement, or has bound it in vain: what it finds
    // behind the values, in the formats of the columns or when it plans, PostgreSQL would not have come to.
    const isVain = !head.visible && head.expect === Expect.Bound && head.placed !== undefined;
    let isChanged = isVain
      ? fields.routine === setsFormats || isOfPlanning(fields)
      : head.placed !== undefined && head.bytes !== undefined && fields.sqlstate !== inFailedTransaction;
    const healing = this.#healing;
    if (healing !== undefined && !head.silent) {
      this.#endHealing(healing);
      // The client has bound it with a format for each of the old columns.
      if (fields.routine === setsFormats) isChanged = true;
    }
    if (isChanged) fields = { ...fields, sqlstate: changedResult, message: changedPlan.message };
    const hasChanged = isChanged || (fields.sqlstate === changedResult && fields.routine === comparesColumns);
    const rerun = this.#sharing ? this.#rerunAfter(fields.sqlstate, hasChanged, head) : undefined;
    if (hasChanged && healing === undefined && this.#runAgain(head)) {
      this.#host.onError(fields, true);
      return Verdict.Drop;
    }
    const read = this.#reads.peek();
    if (rerun !== undefined && read !== undefined) {
      read.rerun = rerun;
      this.dropRead(read);
    }
    this.ladder.onRollback('error');
    this.#failed = true;
    this.#client?.auditor?.failed(fields.sqlstate);
    this.emitBefore();
    this.#visible = true;
    this.#startReply();
    if (this.#copyIn && this.#syncsOverlooked > 0 && (this.#syncsUncertain || !readingCopy.test(fields.where ?? ''))) {
      // Whether the server read the Sync inside the COPY or after its error cannot be told apart.
      return this.#doubt('COPY failed where a Sync may or may not count');
    }
    if (this.#copyIn) {
      this.#copyIn = false;
      this.#forgetCopy();
    }
    this.#host.onError(fields, false);
    if (head.expect <= Expect.ReadyForQuery) {
      if (head.undo?.kind === 'client-all') this.#restoreNames(head.undo.names);
      const instead = head.bytes ?? this.#whyUnprepared(fields) ?? this.#withoutRow(fields, bytes, start, end);
      if (instead === undefined) return Verdict.Keep;
      this.#client?.toClient.writeOwned(instead);
      return Verdict.Drop;
    }
    // Where the transaction had failed before, PostgreSQL says so first.
    const own = fields.sqlstate === inFailedTransaction ? undefined : head.bytes;
    if (this.#heldTypes !== undefined) this.#tellTypes(this.#heldTypes);
    const instead =
      own ??
      (isChanged ? errorResponse(changedPlan) : undefined) ??
      this.#whyUnprepared(fields) ??
      this.#withClientsName(head, bytes, start, end) ??
      this.#withoutRow(fields, bytes, start, end);
    if (instead !== undefined) this.#client?.toClient.writeOwned(instead);
    const replaced = instead !== undefined;
    this.#abortBatch();
    if (!replaced) return Verdict.KeepThenCall;
    this.#advance();
    return Verdict.Drop;
  }

  /** Why a shared read that failed is run once more on a server of its own; undefined where the error is the client's. */
  #rerunAfter(sqlstate: string, hasChanged: boolean, head: Owed): RerunCause | undefined {
    const read = this.#reads.peek();
    if (read === undefined) return undefined;
    if (sqlstate === readOnlyTransaction) read.shape.barWrites();
    if (read.started || read.dropped) return undefined;
    if (sqlstate === readOnlyTransaction) return 'writes';
    if (sqlstate === canceled && this.cancelSent) return 'cancelled';
    if (sqlstate === unknownStatement && head.statement !== undefined) return 'changed';
    if (this.#reliesOnOther(read) && head.expect >= Expect.Bound) return 'changed';
    const { statement } = head;
    if (!hasChanged || statement === undefined) return undefined;
    return this.#asksForColumns(statement) ? 'changed' : undefined;
  }

  /** Whether the batch that is being answered describes what it returns: a client that remembers it must see the error. */
  #asksForColumns(statement: Statement): boolean {
    const head = this.#owed.at(0) as Owed;
    const described = head.expect === Expect.Described;
    let bound = true;
    for (let i = 1; i < this.#owed.length; i++) {
      const entry = this.#owed.at(i) as Owed;
      if (!entry.visible) continue;
      // Another statement of the same text is under the same name there, and its columns may be known from before.
      if (entry.placed !== undefined && entry.placed === head.placed && entry.statement !== statement) return false;
      // Each of its portals is to be described before it is run, unless all of it has been.
      const describes =
        entry === owedDescribePortal || (entry.expect === Expect.Described && entry.statement === statement);
      if (bound && !describes && !described) return false;
      bound = entry.expect === Expect.Bound && entry.statement === statement;
      if (entry.expect <= Expect.ReadyForQuery) return true;
    }
    return false;
  }

  /** The error of a statement that could not be prepared before: what PostgreSQL says to an EXECUTE of the one it has. */
  #whyUnprepared({ sqlstate, message }: ServerErrorFields): Buffer | undefined {
    if (sqlstate !== unknownStatement && sqlstate !== inFailedTransaction) return undefined;
    for (const [name, error] of this.#unprepared) {
      const shown = Buffer.from(name, 'latin1').toString(); // cold: error texts
      if (sqlstate === inFailedTransaction || message.includes(`"${shown}"`)) return error;
    }
    return undefined;
  }

  /** The error with the name the client knows its statement by, where PostgreSQL tells weir's. */
  #withClientsName({ placed, name, undo }: Owed, bytes: Buffer, start: number, end: number): Buffer | undefined {
    const named = placed ?? (undo?.kind === 'client-parse' ? undo.placed : undefined);
    const own = name?.toString('latin1') ?? (undo?.kind === 'client-parse' ? undo.name : undefined); // cold: error texts
    if (named === undefined || own === undefined) return undefined;
    const quoted = `"${named.name}"`;
    const at = bytes.subarray(start, end).indexOf(quoted, 0, 'latin1');
    return at < 0 ? undefined : replaceInFrame(bytes.subarray(start, end), at, quoted.length, `"${own}"`);
  }

  /** The server ignores everything up to the next Sync: so do the entries, the last first. */
  #abortBatch(): void {
    const undone: Undo[] = [];
    let failed = true;
    let begun = true;
    let queries = 0;
    let slotTouched = false;
    this.#ownRows = [];
    for (let head = this.#owed.peek(); head !== undefined; head = this.#owed.peek()) {
      if (head.expect === Expect.ReadyForSync) break;
      if (head.expect === Expect.ReadyForQuery) {
        this.#batchesOwed--;
        queries++;
      }
      if (head.undo?.kind === 'begin') begun = false;
      const undo = failed && head.undo !== undefined ? undoOfFailed(head.undo) : head.undo;
      if (undo !== undefined) undone.push(undo);
      slotTouched ||= !keepsSlot(head);
      if (head.naming !== undefined) this.#client?.auditor?.refused(head.naming);
      if (head.learns !== undefined) head.learns.skipped ||= head.learns.version === undefined;
      if (head.visible && (head.expect === Expect.Executed || head.expect === Expect.ReadyForQuery)) {
        if (failed && head.expect === Expect.Executed) this.#client?.auditor?.ended(this.place);
        else this.#client?.auditor?.skipped(this.place);
      }
      failed = false;
      this.#owed.shift();
    }
    if (this.#owed.length === 0) {
      this.#ignoring = true;
      this.#batchOpen = true;
      this.#answersSkipped = true;
    }
    if (slotTouched) this.unnamed = undefined;
    for (let undo = undone.pop(); undo !== undefined; undo = undone.pop()) this.#undo(undo);
    if (!begun && queries > 0) this.#endUnbegun(queries);
  }

  /** A Query is no end of what an error makes the server skip; without the BEGIN it would have been answered. */
  #endUnbegun(queries: number): void {
    if (queries > 1 || this.#owed.length > 0) {
      this.#doubt('several batches behind a BEGIN that failed');
      return;
    }
    this.owe(owedSync);
    this.toServer.writeOwned(syncMessage);
  }

  #undo(undo: Undo): void {
    switch (undo.kind) {
      case 'server-parse':
        this.statements.skipped(undo.placed);
        break;
      case 'own-name':
        if (undo.placed !== undefined) undo.placed.skipped = true;
        this.ladder.doubtName(undo.name);
        if (undo.batch === 'client') this.ladder.skipName(undo.name);
        break;
      case 'begin':
        break;
      case 'sequences':
        this.sequences.onSkipped();
        break;
      case 'server-close':
        this.statements.restore(undo.placed);
        break;
      case 'client-parse':
        if (undo.placed !== undefined) this.statements.skipped(undo.placed);
        this.#client?.statements.drop(undo.name);
        break;
      case 'client-close':
        if (this.#client === undefined) this.statements.forget(undo.statement);
        else this.#client.statements.restore(undo.name, undo.statement);
        break;
      case 'client-all':
        this.#restoreNames(undo.names);
        if (this.#client !== undefined) this.#client.unnamed = undo.unnamed;
        break;
      case 'unnamed':
        if (this.#client !== undefined && this.#client.unnamed === undo.made) this.#client.unnamed = undo.previous;
        break;
      default:
        undo satisfies never;
    }
  }

  #restoreNames(names: [name: string, statement: Statement][]): void {
    for (const [name, statement] of names.splice(0)) {
      if (this.#client === undefined) this.statements.forget(statement);
      else this.#client.statements.restore(name, statement);
    }
  }

  /** From here to the end of the COPY data the server overlooks Syncs, also those it has been sent. */
  #beginCopyIn(): void {
    if (this.#client === undefined) {
      // Nobody is left to send the data, and a server that waits for it heeds no cancel.
      this.#doubt('COPY for a client that has left');
      return;
    }
    this.#copyIn = true;
    this.#copyBegun = true;
    let overlooked = 0;
    let index = 0;
    let ended = false;
    this.#owed.filter((entry) => {
      const first = index++ === 0;
      if (first || ended) return true;
      if (entry.expect === Expect.CopyEnded) ended = true;
      if (entry.expect !== Expect.ReadyForSync) return true;
      overlooked++;
      return false;
    });
    this.#batchesOwed -= overlooked;
    this.#syncsOverlooked += overlooked;
    if (overlooked > 0 && this.#copyDataSent) this.#syncsUncertain = true;
    if (overlooked > 0 && this.#batchesOwed === 0) this.#batchOpen = true;
  }

  /** The server has all data of the COPY: the next one has its own end. */
  #endCopyIn(): void {
    this.#copyIn = false;
    this.#forgetCopy();
    let found = false;
    this.#owed.filter((entry) => {
      if (found || entry.expect !== Expect.CopyEnded) return true;
      found = true;
      return false;
    });
  }

  #forgetCopy(): void {
    this.#syncsOverlooked = 0;
    this.#copyDataSent = false;
    this.#syncsUncertain = false;
  }

  #doubt(reason: string): Verdict {
    if (this.#closed) return Verdict.Drop;
    this.#host.onDoubt(reason);
    return Verdict.Drop;
  }
}

/** What both have alike. */
function common(a: Settings, b: Settings): Settings {
  return a.equals(b) ? a : new Settings(new Map([...a.values].filter(([name, value]) => b.values.get(name) === value)));
}

function altersSettings(tag: Buffer): boolean {
  return alterRole.equals(tag) || alterDatabase.equals(tag);
}
