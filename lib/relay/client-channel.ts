// From client to server: asks for a lease when a batch begins, records what will be owed, and renames prepared statements.

import { type Admission, type Decision, type NamedText, type Naming, textBytesMax } from '../audit/index.js';
import {
  type ChannelUse,
  type ClientStatements,
  Effect,
  type Footprint,
  footprint,
  inert,
  Notifies,
  opaque,
  Placed,
  SequenceUse,
  type Settings,
  Statement,
  type StatementRegistry,
  StatementText,
  type TransactionTag,
  unseen,
  withEffects,
} from '../session/index.js';
import { isPlainText, UNKNOWN } from '../sql/index.js';
import {
  Action,
  type BindParts,
  bindCompleteMessage,
  bindPrefix,
  closeCompleteMessage,
  closeStatementMessage,
  commandComplete,
  describeStatementMessage,
  type ErrorFields,
  errorResponse,
  FrameStream,
  type FrameTable,
  Frontend,
  frameTable,
  headerBytes,
  noDataMessage,
  type ParseParts,
  parameterDescription,
  parseCompleteMessage,
  parseMessage,
  queryMessage,
  readBind,
  readBindParameter,
  readNotificationPid,
  readParse,
  readTarget,
  readyForQuery,
  statementBody,
  Target,
  TransactionStatus,
  Verdict,
  writeNotificationPid,
} from '../wire/index.js';
import { forgetsStatements, frameEnd, nameOf, printable, runsOnce } from './client-bytes.js';
import {
  Expect,
  type Owed,
  owedBind,
  owedClose,
  owedCopyEnd,
  owedDescribe,
  owedDescribePortal,
  owedExecute,
  owedFake,
  owedLesson,
  owedNamed,
  owedNaming,
  owedParse,
  owedProvoked,
  owedQuery,
  owedSkip,
  owedSync,
  owedVain,
  owedWithUndo,
  type Undo,
} from './owed.js';
import { askForPlans } from './plans.js';
import {
  type Auditor,
  type BoundValues,
  type ClientHost,
  type Estimation,
  type Gate,
  type Port,
  plainSession,
  type Ruling,
  type SessionHost,
  type Traffic,
} from './ports.js';
import {
  abortedTransaction,
  changedPlan,
  mixedWithEnd,
  provocation,
  refusal,
  refusedState,
  tooLongToRecord,
  tooManyNames,
  unknownStatement,
  unrecorded,
} from './refusals.js';
import { ClientSequences } from './sequences.js';
import type { ServerChannel } from './server-channel.js';
import { type BoundInstead, ClientSignals } from './signals.js';

export interface ClientChannelLimits {
  /** Bytes of a message that are looked at as a whole; a longer Query passes unread. */
  readonly inspectBytesMax: number;
  /** Bytes of one Parse that weir keeps, to prepare it again elsewhere. */
  readonly statementBytesMax: number;
  /** Named statements one client may have. */
  readonly statementsMax: number;
  /** Bytes of any message. */
  readonly frameBytesMax: number;
  /** Whether Query messages are taken at all. */
  readonly simpleProtocol: 'allowed' | 'refused';
  /** Whether BEGIN waits for what follows it. */
  readonly beginMode: 'deferred' | 'immediate';
}

const targetBytesMax = 8192;
/** A longer BEGIN is not kept prepared on servers. */
const keptBeginBytesMax = 80;

/** By limits, which clients share: a table of its own would be a sixth of an idle client's memory. */
const tables = new WeakMap<ClientChannelLimits, FrameTable>();
/** The same for clients that are audited: which portal an Execute names matters. */
const auditedTables = new WeakMap<ClientChannelLimits, FrameTable>();

function tableFor(limits: ClientChannelLimits, audited = false): FrameTable {
  const known = audited ? auditedTables : tables;
  let table = known.get(limits);
  if (table === undefined) {
    const { inspectBytesMax, statementBytesMax } = limits;
    // What is recorded has to be here as a whole.
    const queryBytesMax = audited ? Math.max(inspectBytesMax, recordedBytesMax(limits)) : inspectBytesMax;
    const parseBytesMax = audited ? recordedBytesMax(limits) : statementBytesMax;
    table = frameTable([
      { tag: Frontend.Query, action: Action.Whole, holdBytesMax: queryBytesMax },
      { tag: Frontend.Parse, action: Action.Whole, holdBytesMax: parseBytesMax },
      { tag: Frontend.Bind, action: Action.Whole, holdBytesMax: targetBytesMax },
      { tag: Frontend.Describe, action: Action.Whole, holdBytesMax: targetBytesMax },
      { tag: Frontend.Close, action: Action.Whole, holdBytesMax: targetBytesMax },
      audited
        ? { tag: Frontend.Execute, action: Action.Whole, holdBytesMax: targetBytesMax }
        : { tag: Frontend.Execute, action: Action.Header },
      { tag: Frontend.Sync, action: Action.Header },
      { tag: Frontend.Flush, action: Action.Header },
      { tag: Frontend.FunctionCall, action: Action.Header },
      { tag: Frontend.CopyData, action: Action.Header },
      { tag: Frontend.CopyDone, action: Action.Header },
      { tag: Frontend.CopyFail, action: Action.Header },
      { tag: Frontend.Terminate, action: Action.Header },
    ]);
    known.set(limits, table);
  }
  return table;
}

const beginQuery = queryMessage('BEGIN');

/** Bytes of a message whose text can be recorded. */
function recordedBytesMax({ statementBytesMax }: ClientChannelLimits): number {
  return Math.min(statementBytesMax, textBytesMax);
}

const provokingQuery = queryMessage('weir: this statement is refused');
/** The same for what PostgreSQL itself refuses only after it has looked whether the transaction goes on: it can be parsed. */
const laterProvocation = Buffer.from('SELECT "weir: this statement is refused"\0\0\0', 'latin1');

let lastId = 0;

/**
 * One client after its login. Bytes from its socket are fed in, replies go through `toClient`. With `transparent`
 * (session pooling) statements keep the client's own names.
 */
export class ClientChannel extends FrameStream {
  /** Tells clients apart, also those that are gone. */
  readonly id = ++lastId;
  readonly toClient: Port;
  readonly #host: ClientHost;
  readonly #session: SessionHost;
  readonly #limits: ClientChannelLimits;
  readonly #registry: StatementRegistry;
  readonly traffic: Traffic;
  /** Statements keep the client's own names, which others may have used as well on its server. */
  readonly transparent: boolean;

  /** The server on loan, if any. */
  server: ServerChannel | undefined;
  /** Settings as the client has made them. */
  settings: Settings;
  readonly statements: ClientStatements;
  /** What the client last put in its unnamed slot. */
  unnamed: Statement | undefined;
  /** The same, as long as it has been parsed in this batch and nothing else been done with it. */
  #untold: Statement | undefined;
  /** Those the session began with. */
  loginSettings: Settings;
  /** Takes the notifications of its server instead of `toClient`. */
  onNotification: ((bytes: Buffer, start: number, end: number) => void) | undefined;
  /** Records what the client runs, where that is asked for. */
  #auditor: Auditor | undefined;
  /** Judges what the client has run, where there is a policy. */
  gate: Gate | undefined;
  readonly sequences = new ClientSequences();
  /** Whether it asks for what nextval answered: then the server that answered has to be kept. */
  readsSequences = false;
  /** Entries for the statement used last: one that is run a million times makes one. */
  #bound: Owed | undefined;
  #described: Owed | undefined;
  #terminated = false;
  /** The BEGIN that the client has been told is done. */
  #deferred: Statement | undefined;
  /** That transaction was cancelled while it waited for a server. */
  #aborted = false;
  #asksForPlan = false;
  /** Its statements that signal other clients, made with the first. */
  #signals: ClientSignals | undefined;
  /** What the policy has said to the message the stream stopped at. */
  #ruling: Ruling | undefined;
  /** Of the server's, the one in which the client last parsed a statement without a name. */
  #unnamedBatch = 0;
  /**
   * The batch was cancelled before a server was found for it: its messages go nowhere. Up to the Sync, where it is of the
   * extended protocol; until its first message is shown again, that is not known.
   */
  #cancelled: false | 'first' | 'to Sync' = false;

  constructor(options: {
    readonly toClient: Port;
    readonly host: ClientHost;
    readonly session?: SessionHost;
    readonly limits: ClientChannelLimits;
    readonly registry: StatementRegistry;
    readonly traffic: Traffic;
    readonly statements: ClientStatements;
    readonly settings: Settings;
    readonly transparent: boolean;
  }) {
    super(tableFor(options.limits), options.limits.frameBytesMax);
    this.toClient = options.toClient;
    this.#host = options.host;
    this.#session = options.session ?? plainSession;
    this.#limits = options.limits;
    this.#registry = options.registry;
    this.traffic = options.traffic;
    this.transparent = options.transparent;
    this.settings = options.settings;
    this.loginSettings = options.settings;
    this.statements = options.statements;
  }

  get auditor(): Auditor | undefined {
    return this.#auditor;
  }

  /** Only while nothing that was sent has yet to be answered: the answers are told in the order of what was asked. */
  set auditor(auditor: Auditor | undefined) {
    this.#auditor = auditor;
    this.useTable(tableFor(this.#limits, auditor !== undefined));
  }

  /** Whether part of a message has been taken and the rest has not come. */
  get midMessage(): boolean {
    return this.midFrame || this.carriedBytes > 0;
  }

  /** The client ran DISCARD ALL: its settings are as after its login. */
  onDiscardAll(): void {
    this.settings = this.loginSettings;
  }

  onDatabaseDropped(): void {
    this.#session.onDatabaseDropped();
  }

  /** The batch the stream stopped before is answered with an error; the stream may go on. */
  cancelBatch(error: ErrorFields): void {
    this.#cancelled = 'first';
    this.#ruling = undefined;
    this.#auditor?.unsent(error.sqlstate);
    this.#failDeferred();
    this.toClient.writeOwned(errorResponse(error));
  }

  /** The message the stream stopped at waited for what the policy says: this is what it says. */
  denyHeld(error: ErrorFields): void {
    this.#ruling = { kind: 'deny', error };
  }

  /** Of the bytes, if they are one whole batch of one statement; nothing of them is taken. */
  lookAhead(bytes: Buffer, start: number, end: number): Footprint | undefined {
    if (this.transparent || this.#terminated || this.#cancelled || this.midMessage || this.settings.shadowsCatalog) {
      return undefined;
    }
    if (bytes[start] === Frontend.Query) {
      if (this.#limits.simpleProtocol === 'refused' || frameEnd(bytes, start, end) !== end) return undefined;
      if (end - start > this.#limits.inspectBytesMax || end - start <= headerBytes) return undefined;
      const found = this.#host.inspect(bytes, start + headerBytes, end - 1);
      return this.#isForwarded(found, bytes, start + headerBytes, end - 1) ? found : undefined;
    }
    return this.#lookAtBatch(bytes, start, end);
  }

  /** Whether the policy lets the text through just as it is. */
  #isForwarded(footprint: Footprint, bytes: Buffer, start: number, end: number): boolean {
    const { gate } = this;
    return gate === undefined || gate.judge(footprint, bytes, start, end, 'ahead').kind === 'forward';
  }

  /** Of Parse without a name, Bind, Describe, Execute and Sync, the first and third of which need not be there. */
  #lookAtBatch(bytes: Buffer, start: number, end: number): Footprint | undefined {
    let found: Footprint | undefined;
    let bound = false;
    for (let at = start; at < end; ) {
      const next = frameEnd(bytes, at, end);
      if (next < 0) return undefined;
      const body = at + headerBytes;
      switch (bytes[at]) {
        case Frontend.Parse: {
          if (at !== start || bytes[body] !== 0) return undefined;
          const parts = readParse(bytes, at, next);
          if (parts === undefined) return undefined;
          found = this.#host.inspect(bytes, parts.queryStart, parts.queryEnd);
          if (!this.#isForwarded(found, bytes, parts.queryStart, parts.queryEnd)) return undefined;
          break;
        }
        case Frontend.Bind: {
          // One portal, without a name.
          if (bound || bytes[body] !== 0) return undefined;
          bound = true;
          const parts = readBind(bytes, at, next);
          if (parts === undefined) return undefined;
          const { statementStart, statementEnd } = parts;
          if (at === start) {
            const known = this.#statementOf(bytes, statementStart, statementEnd);
            if (this.gate !== undefined && this.gate.judgeBound(known, '', 'ahead', undefined).kind !== 'forward')
              return undefined;
            found = known?.footprint;
          } else if (statementStart !== statementEnd) return undefined;
          break;
        }
        case Frontend.Describe:
          if (!bound || readTarget(bytes, at, next) === undefined) return undefined;
          break;
        case Frontend.Execute:
          if (!bound) return undefined;
          break;
        case Frontend.Sync:
          return bound && next === end ? found : undefined;
        default:
          return undefined;
      }
      if (found === undefined) return undefined;
      at = next;
    }
    return undefined;
  }

  /** Whether a BEGIN is answered before a server knows of it. */
  get defersBegin(): boolean {
    return this.#limits.beginMode === 'deferred' && !this.transparent;
  }

  /** Whether the client is in a transaction that no server knows of yet. */
  get inDeferredTransaction(): boolean {
    return this.#deferred !== undefined || this.#aborted;
  }

  /**
   * Answers a BEGIN, or the end of a transaction that has only begun, without a server. Answers false where that is not to
   * be. Of a batch that was looked at ahead.
   */
  answerAhead(footprint: Footprint, bytes: Buffer, start: number, end: number): boolean {
    if (bytes[start] === Frontend.Query || !runsOnce(bytes, start, end)) return false;
    const first = frameEnd(bytes, start, end);
    const made =
      bytes[start] === Frontend.Parse
        ? Statement.own(Buffer.from(bytes.subarray(start + headerBytes + 1, first)), footprint)
        : this.#statementOf(bytes, start + headerBytes + 1, bytes.indexOf(0, start + headerBytes + 1));
    if (made === undefined) return false;
    const tag = this.#turnDeferred(footprint, made.body);
    if (tag === undefined) return false;
    if (bytes[start] === Frontend.Parse) this.unnamed = made;
    this.#recordAlone(made.body, 0, made.body.indexOf(0), footprint, undefined);
    for (let at = start; at < end; at = frameEnd(bytes, at, end)) {
      switch (bytes[at]) {
        case Frontend.Parse:
          this.toClient.writeOwned(parseCompleteMessage);
          break;
        case Frontend.Bind:
          this.toClient.writeOwned(bindCompleteMessage);
          break;
        case Frontend.Describe:
          this.toClient.writeOwned(noDataMessage);
          break;
        case Frontend.Execute:
          this.toClient.writeOwned(commandComplete(tag));
          break;
        default:
          this.toClient.writeOwned(readyForQuery(this.#statusAlone));
      }
    }
    return true;
  }

  /** What the trail says to the one statement of a batch that was looked at ahead. */
  auditAhead(auditor: Auditor, footprint: Footprint, bytes: Buffer, start: number, end: number): Admission {
    if (bytes[start] === Frontend.Query) return this.#auditQuery(auditor, footprint, bytes, start, end, end - start);
    let statement: NamedText | undefined;
    for (let at = start; at < end; at = frameEnd(bytes, at, end)) {
      const next = frameEnd(bytes, at, end);
      if (bytes[at] === Frontend.Parse) {
        const parts = readParse(bytes, at, next);
        if (parts !== undefined) statement = namedText(bytes.subarray(parts.queryStart, parts.queryEnd), footprint);
      }
      const parts = bytes[at] === Frontend.Bind ? readBind(bytes, at, next) : undefined;
      if (parts === undefined) continue;
      statement ??= textOf(this.#statementOf(bytes, parts.statementStart, parts.statementEnd));
      return auditor.executeAhead(statement ?? nothingKept, bytes, parts.statementEnd + 1, next, this.gate?.decision);
    }
    return 'go';
  }

  #auditQuery(
    auditor: Auditor,
    footprint: Footprint,
    bytes: Buffer,
    start: number,
    end: number,
    total: number,
  ): Admission {
    const seen = end - start === total ? end - 1 : end;
    const { facts } = footprint;
    return auditor.query(bytes, start + headerBytes, seen, total - headerBytes - 1, facts, this.#decisionOn(footprint));
  }

  /** @param total the message's length, where only its beginning is here */
  #admitQuery(footprint: Footprint, bytes: Buffer, start: number, end: number, total: number): Admission {
    const auditor = this.#auditor;
    if (auditor === undefined || this.server?.ignoring === true) return 'go';
    if (auditor.isCrowded(end - start) && this.#mustAwait()) return 'wait';
    return this.#auditQuery(auditor, footprint, bytes, start, end, total);
  }

  /**
   * The message waits until all that was sent before it has been answered: what has to be recorded of it hangs on that, or
   * there is no room for more. Answers false where nothing is to come.
   */
  #mustAwait(): boolean {
    const { server } = this;
    // What is no COPY data ends a COPY.
    if (server === undefined || server.copyIn || !server.owesClient) return false;
    this.emitBefore();
    server.awaitAnswers();
    return true;
  }

  /** Whether the trail can keep what the statements of a text name; undefined where the message has to wait for that. */
  #canKeep(footprint: Footprint, textBytes: number): boolean | undefined {
    const { facts } = footprint;
    if (facts === undefined || this.#auditor?.hasRoomFor(facts, textBytes) !== false) return true;
    return this.#mustAwait() ? undefined : false;
  }

  /** What is recorded of the policy's decisions, and of weir's own refusals. */
  #decisionOn({ refused }: Footprint): Decision | undefined {
    const decision = this.gate?.decision;
    if (refused === undefined || this.transparent) return decision;
    return { verdict: 'deny', rule: `on_hazard.${refused}`, roles: decision?.roles };
  }

  /** A statement that weir answers without asking a server. @param total the text's length, where only its beginning is here */
  #recordAlone(
    bytes: Buffer,
    start: number,
    end: number,
    footprint: Footprint,
    sqlstate: string | undefined,
    total = end - start,
  ): void {
    const auditor = this.#auditor;
    if (auditor === undefined) return;
    auditor.alone(bytes, start, end, footprint.facts, sqlstate, this.#decisionOn(footprint), total);
    auditor.ready(this.#statusAlone === TransactionStatus.Idle);
  }

  /** What a client without a server is told of its transaction. */
  get #statusAlone(): TransactionStatus {
    if (this.#aborted) return TransactionStatus.Failed;
    return this.#deferred === undefined ? TransactionStatus.Idle : TransactionStatus.InTransaction;
  }

  /**
   * Puts a BEGIN off, or ends what was put off.
   * @param body the statement's, of a Parse
   * @returns what the client is told, or undefined where a server has to be asked
   */
  #turnDeferred({ transaction }: Footprint, body: Buffer): TransactionTag | undefined {
    if (transaction === undefined || this.server !== undefined) return undefined;
    if (transaction === 'BEGIN' || transaction === 'START TRANSACTION') {
      if (!this.defersBegin || this.inDeferredTransaction) return undefined;
      this.#deferred = this.#registry.hold(body, () => beginning);
      this.#countAlone();
      return transaction;
    }
    if (!this.inDeferredTransaction) return undefined;
    this.#countAlone();
    this.traffic.transactions++;
    this.traffic.transactionTime.observe(0);
    const tag = this.#aborted ? 'ROLLBACK' : transaction;
    this.#aborted = false;
    this.#dropDeferred();
    return tag;
  }

  /** A query that no server has seen. */
  #countAlone(): void {
    this.traffic.queries++;
    this.traffic.queryTime.observe(0);
  }

  #dropDeferred(): void {
    if (this.#deferred !== undefined) this.#registry.release(this.#deferred.text);
    this.#deferred = undefined;
  }

  /** Begins on the server the transaction the client believes it is in. */
  #begin(server: ServerChannel, footprint = inert): void {
    if (this.#deferred === undefined) return;
    this.emitBefore();
    // One that is written anew each time, with a comment of its own, is not worth a place among the server's statements.
    const passing =
      (footprint.effects & Effect.ShowsStatements) !== 0 || this.#deferred.body.length > keptBeginBytesMax;
    server.begin(this.#deferred, passing ? 'passing' : 'kept');
    this.#dropDeferred();
  }

  /** The transaction has failed before any server knew of it: nothing is done in it but its end. */
  #refuseAborted(tag: number): Verdict {
    if (tag === Frontend.Flush) return Verdict.Drop;
    if (tag !== Frontend.Sync) this.toClient.writeOwned(errorResponse(abortedTransaction));
    if (tag === Frontend.Sync || tag === Frontend.Query || tag === Frontend.FunctionCall) {
      this.toClient.writeOwned(readyForQuery(TransactionStatus.Failed));
    } else {
      this.#cancelled = 'to Sync';
    }
    return Verdict.Drop;
  }

  /** While its server is looked at, what the client has there is not known, or what its next statement is or costs. */
  get #hasToWait(): boolean {
    const { server } = this;
    if (server === undefined) return this.#asksForPlan;
    const { ladder, sequences, preparation } = server;
    if (this.#asksForPlan || ladder.asking || preparation.waits || server.awaitsAnswers) return true;
    return sequences.discarding && server.complete;
  }

  /** Messages of a cancelled batch, up to the one whose answer is ReadyForQuery. */
  #skipCancelled(tag: number): Verdict {
    const isAlone = tag === Frontend.Query || tag === Frontend.FunctionCall;
    if (tag === Frontend.Sync || (isAlone && this.#cancelled === 'first')) {
      this.#cancelled = false;
      this.toClient.writeOwned(readyForQuery(this.#statusAlone));
    } else {
      this.#cancelled = 'to Sync';
    }
    return Verdict.Drop;
  }

  /** The connection is gone: nothing is fed any more. */
  close(): void {
    this.#terminated = true;
    this.sequences.leave();
    this.#dropDeferred();
    this.statements.clear();
    this.unnamed = undefined;
  }

  protected onHeader(tag: number, total: number): Verdict {
    if (this.#terminated) return Verdict.Drop;
    if (this.#cancelled && tag !== Frontend.Terminate) return this.#skipCancelled(tag);
    if (this.#hasToWait && tag !== Frontend.Terminate) return Verdict.Stop;
    // The data of a COPY is not behind it.
    if (tag === Frontend.FunctionCall && this.#isBehindListen) return Verdict.Stop;
    if (this.#aborted && tag !== Frontend.Terminate) return this.#refuseAborted(tag);
    switch (tag) {
      case Frontend.Execute:
        this.#signals?.onExecute();
        // It may begin a COPY, which nothing but its data may follow.
        this.#untold = undefined;
        return this.#forward(owedExecute);
      case Frontend.Sync:
        // Neither has a body: PostgreSQL says so.
        return total > headerBytes && this.server === undefined ? this.#forward(owedSync) : this.#onSync();
      case Frontend.Flush:
        if (total > headerBytes && this.server?.copyIn !== true) return this.#forward(owedParse);
        return this.server === undefined || this.server.ignoring ? Verdict.Drop : Verdict.Keep;
      case Frontend.FunctionCall:
        return this.#onFunctionCall();
      case Frontend.CopyData:
        if (!this.#expectsCopy()) return Verdict.Drop;
        this.server?.copyDataSent();
        return Verdict.Keep;
      case Frontend.CopyDone:
      case Frontend.CopyFail:
        if (!this.#expectsCopy()) return Verdict.Drop;
        this.server?.owe(owedCopyEnd);
        return Verdict.Keep;
      default:
        this.#terminated = true;
        // What it said before runs to its end, as PostgreSQL would have it.
        this.emitBefore();
        this.#host.onTerminate();
        return Verdict.Drop;
    }
  }

  protected onWhole(tag: number, bytes: Buffer, start: number, end: number): Verdict {
    if (this.#terminated) return Verdict.Drop;
    if (this.#cancelled) return this.#skipCancelled(tag);
    if (this.#hasToWait || this.#isBehindListen) return Verdict.Stop;
    if (this.#aborted && tag !== Frontend.Query) {
      return this.#isOfEnd(tag, bytes, start, end) ? this.#failOnServer() : this.#refuseAborted(tag);
    }
    return this.#passed(this.#takeWhole(tag, bytes, start, end));
  }

  /** Whether a Parse or Bind is that of a COMMIT or ROLLBACK. */
  #isOfEnd(tag: number, bytes: Buffer, start: number, end: number): boolean {
    let found: Footprint | undefined;
    if (tag === Frontend.Parse) {
      const parts = readParse(bytes, start, end);
      found = parts && this.#host.inspect(bytes, parts.queryStart, parts.queryEnd);
    } else if (tag === Frontend.Bind) {
      const parts = readBind(bytes, start, end);
      found = parts && this.#statementOf(bytes, parts.statementStart, parts.statementEnd)?.footprint;
    }
    return found !== undefined && endsTransaction(found);
  }

  /** The client's transaction, which has failed before any server knew of it, fails on one: there it is ended in any form. */
  #failOnServer(): Verdict {
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    this.#aborted = false;
    server.ask(beginQuery, () => {});
    server.ask(provokingQuery, () => {});
    server.awaitAnswers();
    return Verdict.Stop;
  }

  /** What the policy has said to a message holds for that message alone. */
  #passed(verdict: Verdict): Verdict {
    if (verdict !== Verdict.Stop) this.#ruling = undefined;
    return verdict;
  }

  #takeWhole(tag: number, bytes: Buffer, start: number, end: number): Verdict {
    switch (tag) {
      case Frontend.Query:
        return this.#onQuery(bytes, start, end);
      case Frontend.Parse:
        return this.#onParse(bytes, start, end);
      case Frontend.Bind:
        return this.#onBind(bytes, start, end, end);
      case Frontend.Describe:
        return this.#onDescribe(bytes, start, end);
      case Frontend.Execute:
        return this.#onExecute(bytes, start, end);
      default:
        return this.#onClose(bytes, start, end);
    }
  }

  protected onLarge(tag: number, total: number, bytes: Buffer, start: number, end: number): Verdict {
    if (this.#terminated) return Verdict.Drop;
    if (this.#cancelled) return this.#skipCancelled(tag);
    if (this.#hasToWait || this.#isBehindListen) return Verdict.Stop;
    if (this.#aborted) return this.#refuseAborted(tag);
    return this.#passed(this.#takeLarge(tag, total, bytes, start, end));
  }

  #takeLarge(tag: number, total: number, bytes: Buffer, start: number, end: number): Verdict {
    switch (tag) {
      case Frontend.Query: {
        const ruling = this.gate?.judgeUnread('a statement over inspect_limit');
        if (ruling?.kind === 'deny') return this.#denyQuery(ruling.error, this.#host.unread, bytes, start, end, total);
        const footprint = this.transparent ? unseen : this.#host.unread;
        const tooLong = this.#tooLongToRecord();
        if (tooLong !== undefined) return this.#denyQuery(tooLong, footprint, bytes, start, end, total);
        const admission = this.#admitQuery(footprint, bytes, start, end, total);
        return admission === 'wait' ? Verdict.Stop : this.#query(footprint, 'nothing', admission, undefined);
      }
      case Frontend.Bind:
        return this.#onBind(bytes, start, end, start + total);
      case Frontend.Parse:
        return this.#onLargeParse(total, bytes, start, end);
      default:
        return this.#violation(
          'bad packet',
          `a message of type ${String.fromCharCode(tag)} may have ${targetBytesMax} bytes`,
        );
    }
  }

  protected onMalformed(tag: number, length: number): void {
    const letter = tag > 32 && tag < 127 ? String.fromCharCode(tag) : `code ${tag}`;
    if (tag === Frontend.Password) {
      this.#violation('bad packet', 'a password message after the login');
    } else if (length + 1 > this.#limits.frameBytesMax) {
      this.#violation(
        'bad packet',
        `message ${letter} of ${length} bytes is over max_packet_size`,
        'Raise max_packet_size.',
      );
    } else {
      this.#violation('bad packet', `message type ${letter}, length ${length}`);
    }
  }

  protected emit(bytes: Buffer, start: number, end: number): void {
    const server = this.server;
    if (server === undefined) return;
    server.traffic.bytesReceived += end - start;
    server.send(bytes, start, end);
  }

  protected afterKept(): void {}

  /** The server this batch runs on: the one on loan, or one lent now with its settings made the client's. */
  #lease(): ServerChannel | undefined {
    const { unportable } = this.settings;
    if (this.server === undefined && unportable !== undefined) {
      this.#refuseSetting(unportable);
      return undefined;
    }
    const server = this.server ?? this.#host.lease();
    if (server === undefined) return undefined;
    if (server.sharing) return server;
    const { quiet } = server;
    if (server.fresh) {
      server.fresh = false;
      if (!this.transparent) server.ladder.begin(this);
    }
    if (server.settings !== this.settings && quiet) server.replay(this.settings);
    return server;
  }

  /** What the text may leave behind, as the server will read it. */
  #inspect(bytes: Buffer, start: number, end: number): Footprint {
    // What the statements before do to the reading of it is not known yet.
    const pending = this.server?.ladder.pending ?? Effect.None;
    const unread = (pending & Effect.Lexical) !== 0 && !isPlainText(bytes, start, end);
    const footprint = unread ? this.#host.unread : this.#host.inspect(bytes, start, end);
    if ((footprint.effects & Effect.Unknown) === 0 || footprint.refused !== undefined) return footprint;
    const text = bytes.toString('latin1', start, end); // cold: statements whose effects are not known
    if (!speaking.test(text)) return footprint;
    return withEffects(footprint, Effect.NamesStatements | (listing.test(text) ? Effect.ShowsStatements : Effect.None));
  }

  /** A statement is about to run on the server. */
  #mark(server: ServerChannel, footprint: Footprint): void {
    // What a statement names may be the client's own function or table: nothing is known of it then.
    if (this.settings.shadowsCatalog) server.ladder.effects |= Effect.Unknown | Effect.Distrusted;
    if (footprint.isInert) return;
    const { effects } = footprint;
    if (footprint.hazards.length > 0) this.#session.onHazards(footprint);
    if (!this.#canBeListenedFor(footprint) && this.#channelsBy(footprint, Effect.Listens) !== undefined)
      server.ladder.keepListening();
    if ((effects & Effect.Commits) !== 0 && (server.ladder.pending & Effect.Listens) !== 0)
      this.#session.onCommitSent();
    server.ladder.mark(footprint, this);
    for (const name of footprint.settings) if (name.includes('.')) this.#session.onSettingName(name);
  }

  /** What the statement may do to what a session remembers of sequences, in this database. */
  #sequenceUse(footprint: Footprint): SequenceUse {
    const { sequenceUse, statements, tables } = footprint;
    if (sequenceUse === SequenceUse.Hidden && statements.length > 0 && this.#executesTransaction(footprint))
      return SequenceUse.None;
    if (sequenceUse !== SequenceUse.Tables || tables.length === 0) return sequenceUse;
    return this.#session.arePlain(tables) ? SequenceUse.Tables : SequenceUse.Views;
  }

  /**
   * Whether it is an EXECUTE of what begins or ends a transaction: that takes no value. A statement sent before it in the same
   * batch would have PostgreSQL take the batch for a transaction, in which a second such COMMIT ends the connection.
   */
  #executesTransaction({ facts, statements }: Footprint): boolean {
    const [use] = statements;
    if (use?.kind !== 'execute' || facts?.kinds.length !== 1) return false;
    const executed = this.statements.get(use.name)?.footprint.facts;
    return executed?.known === true && executed.kinds.every((kind) => kind === 'transaction');
  }

  /** Whether the session remembers something of sequences that the statement must not find. */
  #mustDiscard(server: ServerChannel, footprint: Footprint): boolean {
    const { effects, sequenceUse } = footprint;
    if (sequenceUse === SequenceUse.None || this.transparent) return false;
    if (!server.sequences.remembers || server.sharing) return false;
    const use = this.#sequenceUse(footprint);
    if (use === SequenceUse.None) return false;
    const asks = (effects & Effect.ReadsSequences) !== 0;
    return server.sequences.mustDiscard(this.sequences, use, asks);
  }

  /**
   * Discards it before the batch of the statement begins, where it cannot be done within.
   * @returns `wait` where it is not known whether the transaction goes on, `never` where it has failed and the text may end it
   */
  #discardBefore(server: ServerChannel, footprint: Footprint, how: 'within' | 'alone'): 'go' | 'wait' | 'never' {
    if (!this.#mustDiscard(server, footprint)) return 'go';
    if (!server.complete) return footprint.joinsBatch ? 'go' : this.#discardBehindParse(server);
    if (!server.statusStays) return 'wait';
    if (server.status === TransactionStatus.Failed) return mayEnd(footprint) ? 'never' : 'go';
    if (footprint.joinsBatch && how === 'within') return 'go';
    this.emitBefore();
    server.sequences.discardAlone();
    return 'go';
  }

  /** The same in the middle of a batch, for a statement that may not be allowed behind another one, as CALL with a COMMIT in it. */
  #discardBehindParse(server: ServerChannel): 'go' | 'wait' {
    if (!server.hasBoundNothing || !this.#beginsOutside(server)) return 'go';
    this.emitBefore();
    if (server.owedCount > 0) {
      server.awaitAnswers();
      return 'wait';
    }
    server.sequences.discardAlone();
    return 'go';
  }

  /** Whether a batch that begins now begins outside of a transaction. */
  #beginsOutside(server: ServerChannel): boolean {
    return server.status === TransactionStatus.Idle && this.#deferred === undefined;
  }

  /** The statement is about to run: discards it within the batch, and takes note of what it may take. */
  #useSequences(server: ServerChannel, footprint: Footprint): void {
    if (footprint.sequenceUse === SequenceUse.None || this.transparent || server.sharing) return;
    // In a transaction that has failed it does not run.
    if (server.status === TransactionStatus.Failed && server.statusStays && !mayEnd(footprint)) return;
    if (this.#mustDiscard(server, footprint)) {
      this.emitBefore();
      server.sequences.discardWithin();
    }
    server.sequences.note(this.sequences, this.#sequenceUse(footprint));
  }

  /** Whether the statement may be sent: what it notifies of must not be taken for another client's. */
  #mayNotify(server: ServerChannel, notifies: Notifies): boolean {
    const { clientPid } = this.#session;
    if (notifies === Notifies.Never || clientPid === 0 || server.sharing) return true;
    const { sender } = server;
    if (sender.pid !== clientPid && !this.#session.readyToNotify(sender)) return false;
    sender.runs(clientPid, notifies);
    return true;
  }

  /** Notifications come in the encoding of whoever listens: another one's are not for this client. Or its server is to be kept. */
  #canBeListenedFor({ pins }: Footprint): boolean {
    if (pins.includes('listen')) return false;
    const encoding = this.settings.values.get('client_encoding');
    return encoding === undefined || encoding === 'UTF8';
  }

  /** Whether others' sessions are out of the way of a statement that they would make fail, as far as weir can have it. */
  #mayVacate({ databases }: Footprint): boolean {
    return databases.length === 0 || this.#session.readyToVacate(databases);
  }

  /** Whether the statement may be sent: one that listens, or does so no more, may have to wait. */
  #mayListen(footprint: Footprint): 'ready' | 'wait' | ErrorFields {
    if (footprint.isInert || !this.#canBeListenedFor(footprint)) return 'ready';
    const { server } = this;
    const channels = this.#channelsBy(footprint, Effect.Listens);
    if (channels !== undefined) {
      if (server?.ladder.pins.has('listen') === true) return 'ready';
      return this.#isBehind('statements') ? 'wait' : this.#session.readyToListen(channels);
    }
    // What was committed before the transaction that listens commits is not the client's.
    const commits = (footprint.effects & Effect.Commits) !== 0;
    if (commits && server !== undefined && (server.ladder.pending & Effect.Listens) !== 0)
      return this.#isBehind('statements') ? 'wait' : this.#session.readyToListen([]);
    // What was before an UNLISTEN is the client's, as it is where its server itself has told of it by then.
    const unlistens = this.#channelsBy(footprint, Effect.Unlistens);
    if (unlistens === undefined || !this.#mayBeListening) return 'ready';
    if (this.#isBehind('batches')) return 'wait';
    if (this.#session.channels().length === 0 || server?.status === TransactionStatus.Failed) return 'ready';
    return this.#session.readyToListen(unlistens);
  }

  /** Whether the client listens, or what it has sent may have begun to. */
  get #mayBeListening(): boolean {
    if (this.#session.channels().length > 0) return true;
    return this.server !== undefined && (this.server.ladder.pending & Effect.Listens) !== 0;
  }

  /**
   * Whether the message has to wait for the answers to those before it: what they notify of, or begin to listen on, comes
   * before it. In the middle of a batch only `batches` before that one count, or `statements` of it too.
   */
  #isBehind(what: 'batches' | 'statements'): boolean {
    const { server } = this;
    // What is no COPY data ends a COPY.
    if (server === undefined || server.copyIn) return false;
    // Shown again when the lease has been settled.
    if (server.complete) return server.owesClient;
    if (what === 'batches' ? server.batchesOwed === 0 : server.statusStays) return false;
    this.emitBefore();
    server.awaitAnswers();
    return true;
  }

  /** Whether a Parse has to wait where its Bind would have to: behind it, what is before is not settled. */
  #preparesBehind(footprint: Footprint): boolean {
    if (footprint.isInert || this.server?.complete !== true || !this.#canBeListenedFor(footprint)) return false;
    const listens = this.#channelsBy(footprint, Effect.Listens) !== undefined;
    const unlistens = this.#channelsBy(footprint, Effect.Unlistens) !== undefined;
    return (listens || (unlistens && this.#mayBeListening)) && this.#isBehind('batches');
  }

  /**
   * Whether the message stands behind a LISTEN or an UNLISTEN that has not been answered, and has to wait until it is known
   * what became of that: an error, a NOTIFY or another transaction behind it is not of its own.
   */
  get #isBehindListen(): boolean {
    const { server } = this;
    if (server === undefined || this.transparent) return false;
    if ((server.ladder.pending & (Effect.Listens | Effect.Unlistens)) === 0) return false;
    return server.complete && !server.copyIn && server.owesClient && this.#mayBeListening;
  }

  /** The channels of a statement that listens, or does so no more, by itself or by what it executes. */
  #channelsBy({ effects, channels, statements }: Footprint, how: number): readonly ChannelUse[] | undefined {
    let does = (effects & how) !== 0;
    let all = channels;
    for (const { kind, name } of statements) {
      const executed = kind === 'execute' ? this.statements.get(name)?.footprint : undefined;
      if (executed === undefined || (executed.effects & how) === 0) continue;
      does = true;
      all = [...all, ...executed.channels];
    }
    return does ? all : undefined;
  }

  /** Brings what the statement shows, or names at SQL level, to what it is with the client. */
  #readyFor(server: ServerChannel, footprint: Footprint): void {
    if (footprint.statements.length > 0) {
      this.emitBefore();
      server.ladder.readyNames(footprint.statements, this);
    }
    if ((footprint.effects & Effect.NamesStatements) !== 0) {
      this.emitBefore();
      server.ladder.readyAllNames(this);
    }
    if ((footprint.effects & (Effect.ShowsStatements | Effect.ShowsChannels)) === 0) return;
    this.emitBefore();
    if ((footprint.effects & Effect.ShowsStatements) !== 0) server.ladder.showStatements(this);
    if ((footprint.effects & Effect.ShowsChannels) !== 0 && server.complete)
      server.ladder.showChannels(this.#session.channels());
  }

  /** New servers begin with settings that the client's session began without: it keeps what it had. */
  keep(values: ReadonlyMap<string, string>): void {
    const missing = [...values].filter(([name]) => !this.loginSettings.values.has(name));
    if (missing.length === 0) return;
    this.loginSettings = this.loginSettings.withAll(missing);
    this.settings = this.settings.withAll(missing.filter(([name]) => !this.settings.values.has(name)));
  }

  // What the ladder asks

  /** What the message that it stopped at waited for has come. */
  goOn(): void {
    this.#host.goOn();
  }

  /** The client has asked for what nextval answered. */
  remembersSequences(): void {
    if (this.readsSequences) return;
    this.readsSequences = true;
    this.#session.onSequenceReader();
  }

  preparedBody(text: string, name: string, failed: boolean): Buffer | undefined {
    return this.#session.preparedBody(Buffer.from(text, 'latin1'), name, failed);
  }

  settingNames(): Iterable<string> {
    return this.#session.settingNames();
  }

  onChannels(listens: readonly string[], unlistens: readonly (string | null)[]): readonly string[] {
    return this.#session.onChannels(listens, unlistens);
  }

  /** Whether a notification that its server gets is the client's, and now. */
  listensItself({ ladder, place }: ServerChannel, bytes: Buffer, start: number, end: number): boolean {
    const listens = this.transparent || ladder.pins.has('listen') || (ladder.pending & Effect.Unknown) !== 0;
    if (!listens) return false;
    const sender = this.#session.senderOf(place, readNotificationPid(bytes, start));
    if (sender !== undefined) writeNotificationPid(bytes, start, sender);
    if (this.transparent) return true;
    if (ladder.pins.has('listen')) return this.#session.onOwnNotification(bytes, start, end, true);
    this.#session.onOwnNotification(bytes, start, end, false);
    return false;
  }

  /** A statement prepared by SQL becomes the client's own. Answers nothing when it may have no more, or none so long. */
  keepStatement(
    name: string,
    text: Buffer,
    typeOids: readonly number[],
    how: 'anew' | 'as it is',
    ownContext: boolean,
  ): Statement | undefined {
    const body = statementBody(text, typeOids);
    const before = this.statements.get(name);
    if (how === 'as it is' && before?.body.equals(body) === true) return before;
    if (body.length > this.#limits.statementBytesMax) return undefined;
    if (before === undefined && this.statements.size >= this.#limits.statementsMax) return undefined;
    this.statements.drop(name);
    const context = ownContext ? this.#ownContext : this.settings.parseKey;
    const statement = this.#registry.hold(body, () => this.#host.inspect(text, 0, text.length), context);
    this.statements.set(name, statement);
    this.gate?.onCarried(name, statement);
    return statement;
  }

  #refuseSetting(name: string): void {
    this.#terminated = true;
    this.#host.onViolation({
      severity: 'FATAL',
      sqlstate: '0A000',
      message: `the value of ${name} cannot be carried to another server`,
      detail: 'It has characters outside ASCII, in a client_encoding the pooler cannot convert.',
      hint: 'Use client_encoding UTF8, or pool_mode = session.',
    });
  }

  /**
   * Sends the message as it is, to be answered by `owed`: also one that cannot be read, since PostgreSQL has its own words for
   * what is wrong with it.
   */
  #forward(owed: typeof owedExecute): Verdict {
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    this.#begin(server);
    server.owe(owed);
    return Verdict.Keep;
  }

  /** Why a text that is not here as a whole is refused: it would be recorded without its end. */
  #tooLongToRecord(): ErrorFields | undefined {
    const { facts } = this.#host.unread;
    if (this.#auditor?.records(facts, this.gate?.decision) !== true) return undefined;
    return tooLongToRecord(recordedBytesMax(this.#limits));
  }

  /** Of a client that is audited. */
  #onExecute(bytes: Buffer, start: number, end: number): Verdict {
    const auditor = this.#auditor;
    this.#untold = undefined;
    if (auditor === undefined) {
      this.#signals?.onExecute();
      return this.#forward(owedExecute);
    }
    if (this.server?.ignoring === true) return this.#overlook();
    const portalStart = start + headerBytes;
    const zero = bytes.indexOf(0, portalStart);
    const portal = nameOf(bytes, portalStart, zero < 0 ? end : Math.min(zero, end));
    if (auditor.mustWaitFor(portal, this.server?.batch ?? 0) && this.#mustAwait()) return Verdict.Stop;
    const { text, facts } = auditor.portalAs(portal);
    if (!auditor.hasRoomFor(facts, text.length)) {
      if (this.#mustAwait()) return Verdict.Stop;
      return this.#denyBatch(tooManyNames, { ...this.#host.unread, facts }, text, 0, text.length);
    }
    const admission = auditor.execute(portal);
    if (admission === 'wait') return Verdict.Stop;
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    this.#begin(server);
    if (admission === 'refuse') {
      auditor.unsent(unrecorded.sqlstate);
      return this.#refuse(server, unrecorded);
    }
    auditor.sent(undefined, server.batch);
    this.#signals?.onExecute();
    server.owe(owedExecute);
    return Verdict.Keep;
  }

  /** A statement behind an error goes nowhere. */
  #overlook(): Verdict {
    this.#auditor?.unsent(undefined);
    return Verdict.Drop;
  }

  #onFunctionCall(): Verdict {
    const { unread } = this.#host;
    const refused = this.transparent ? undefined : unread.refused;
    if (this.#ignored) return this.#overlook();
    const ruling = this.#ruling ?? this.gate?.judgeUnread('a function call by its number');
    if (ruling?.kind === 'wait') return Verdict.Stop;
    const admission = this.#auditor?.functionCall(this.#decisionOn(unread));
    if (admission === 'wait') return Verdict.Stop;
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    // In a transaction that has failed a function is not called.
    if (this.#discardBefore(server, unread, 'alone') === 'wait') return Verdict.Stop;
    if (!this.#mayNotify(server, unread.notifies)) return Verdict.Stop;
    this.#begin(server);
    this.#useSequences(server, unread);
    const denied = ruling?.kind === 'deny' ? ruling.error : undefined;
    const error = denied ?? (refused === undefined ? undefined : refusal(refused));
    const instead = admission === 'refuse' ? unrecorded : error;
    this.#auditor?.sent(instead?.sqlstate, server.batch);
    if (instead !== undefined) return this.#refuseQuery(server, instead);
    server.owe(owedQuery);
    server.ladder.mark(this.transparent ? unseen : unread, this);
    return Verdict.Keep;
  }

  #onSync(): Verdict {
    const server = this.server;
    if (server === undefined) {
      // Nothing of this batch needed a server.
      this.toClient.writeOwned(readyForQuery(this.#statusAlone));
      return Verdict.Drop;
    }
    if (server.copyIn && !server.copyDataEnded) server.syncOverlooked();
    else {
      // Nothing has been done with it yet: by the time it is, on another server, it may have become something else.
      const untold = this.#untold;
      if (untold !== undefined) this.#tellUnnamed(server, untold);
      server.owe(owedSync);
    }
    return Verdict.Keep;
  }

  #tellUnnamed(server: ServerChannel, statement: Statement): void {
    this.#untold = undefined;
    if (server.ignoring || server.unnamed !== statement || statement.text.upkeep !== 'analysed') return;
    this.emitBefore();
    server.describeUnnamed(statement);
  }

  /** Copy messages outside a COPY are ignored by PostgreSQL; those that no server could expect stay here. */
  #expectsCopy(): boolean {
    return this.server !== undefined && this.server.owedCount > 0;
  }

  #onQuery(bytes: Buffer, start: number, end: number): Verdict {
    if (bytes.indexOf(0, start + headerBytes) !== end - 1) return this.#onTornQuery(bytes, start, end);
    const footprint = this.#inspect(bytes, start + headerBytes, end - 1);
    if (this.#aborted && !endsTransaction(footprint)) {
      this.#recordAlone(bytes, start + headerBytes, end - 1, footprint, abortedTransaction.sqlstate);
      return this.#refuseAborted(Frontend.Query);
    }
    const ruling = this.#ignored
      ? undefined
      : (this.#ruling ?? this.gate?.judge(footprint, bytes, start + headerBytes, end - 1, 'run'));
    if (ruling?.kind === 'wait') return Verdict.Stop;
    if (ruling?.kind === 'deny') return this.#denyQuery(ruling.error, footprint, bytes, start, end, end - start);
    if (ruling?.kind === 'estimate') return this.#estimate(ruling.estimation) ?? this.#onQuery(bytes, start, end);
    this.#ruling = ruling;
    if (footprint.transaction !== undefined && this.server === undefined) {
      const body = statementBody(bytes.subarray(start + headerBytes, end - 1), []);
      const tag = this.#turnDeferred(footprint, body);
      if (tag !== undefined) {
        this.unnamed = undefined;
        this.#recordAlone(bytes, start + headerBytes, end - 1, footprint, undefined);
        this.toClient.writeOwned(commandComplete(tag));
        this.toClient.writeOwned(readyForQuery(this.#statusAlone));
        return Verdict.Drop;
      }
    }
    const listens = this.transparent || this.#ignored ? 'ready' : this.#mayListen(footprint);
    if (listens === 'wait') return Verdict.Stop;
    if (listens !== 'ready') return this.#denyQuery(listens, footprint, bytes, start, end, end - start);
    if (!this.#ignored && !this.#mayVacate(footprint)) return Verdict.Stop;
    const keeps = this.#ignored || this.#canKeep(footprint, end - start);
    if (keeps === undefined) return Verdict.Stop;
    if (!keeps) return this.#denyQuery(tooManyNames, footprint, bytes, start, end, end - start);
    const admission = this.#admitQuery(footprint, bytes, start, end, end - start);
    if (admission === 'wait') return Verdict.Stop;
    const sent = footprint.signals ? this.#withRealPids(bytes.subarray(start + headerBytes, end - 1), ruling) : ruling;
    if (sent === 'wait') return Verdict.Stop;
    const forgets = forgetsStatements(bytes, start + headerBytes, end) && !this.#cannotForget(footprint);
    return this.#query(footprint, forgets ? 'statements' : 'nothing', admission, sent);
  }

  /** A Query that does not end where its text does, which PostgreSQL refuses in its own words. */
  #onTornQuery(bytes: Buffer, start: number, end: number): Verdict {
    const zero = bytes.subarray(start, end).indexOf(0, headerBytes);
    const textEnd = zero < 0 ? end : start + zero;
    const { unread } = this.#host;
    const admission = this.#admitQuery(unread, bytes, start, textEnd + 1, textEnd + 1 - start);
    if (admission === 'wait') return Verdict.Stop;
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return this.#overlook();
    this.#auditor?.sent(undefined, server.batch);
    return this.#forward(owedQuery);
  }

  /** The statement signals other clients: on its server their pids are others. */
  #withRealPids(text: Buffer, ruling: Ruling | undefined): Ruling | undefined | 'wait' {
    if (this.#limits.simpleProtocol === 'refused') return ruling;
    const server = this.#lease();
    if (server === undefined) return 'wait';
    if (server.ignoring) return ruling;
    this.#signals ??= new ClientSignals(this.#session);
    const instead = this.#signals.query(ruling?.kind === 'rewrite' ? ruling.text : text);
    return instead === undefined || instead === 'wait' ? (instead ?? ruling) : { kind: 'rewrite', text: instead };
  }

  /** The same of one that is bound. @param body of its Parse, behind the name */
  #boundInstead(body: Buffer, rest: Buffer): BoundInstead | undefined | 'wait' {
    this.#signals ??= new ClientSignals(this.#session);
    return this.#signals.bind(body.subarray(0, body.indexOf(0)), rest);
  }

  /** Sends it. @param name of the statement on the server @param body of its Parse, behind the name */
  #sendBound(
    server: ServerChannel,
    { text, rest }: BoundInstead,
    portal: Buffer,
    name: string,
    body: Buffer,
    naming: Naming | undefined,
  ): Verdict {
    this.emitBefore();
    const own = text === undefined ? undefined : `${server.statements.prefix}signal`;
    if (own !== undefined && text !== undefined) {
      server.owe(owedSkip(Expect.Closed, undefined));
      server.sendOwned(closeStatementMessage(own));
      server.owe(owedSkip(Expect.Parsed, undefined));
      server.sendOwned(parseMessage(own, Buffer.concat([text, body.subarray(body.indexOf(0))]))); // cold: statements that signal
    }
    server.owe(owedBound(naming));
    server.sendOwned(Buffer.concat([bindPrefix(portal, own ?? name, rest.length), rest])); // cold: statements that signal
    if (own !== undefined) {
      server.owe(owedSkip(Expect.Closed, undefined));
      server.sendOwned(closeStatementMessage(own));
    }
    return Verdict.Drop;
  }

  /** Of a statement that keeps the client's own name. */
  #onTransparentBind(bytes: Buffer, start: number, end: number, parts: BindParts): Verdict {
    const { portalEnd, statementStart, statementEnd } = parts;
    const name = nameOf(bytes, statementStart, statementEnd);
    const body = this.#signals?.bodyOf(name);
    let instead: BoundInstead | undefined;
    if (body !== undefined) {
      const server = this.#lease();
      if (server === undefined) return Verdict.Stop;
      const found = server.ignoring ? undefined : this.#boundInstead(body, bytes.subarray(statementEnd + 1, end));
      if (found === 'wait') return Verdict.Stop;
      instead = found;
    }
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    const recorded = this.#mayRecordBound(server, undefined, bytes, end, parts);
    if (recorded !== undefined) return recorded;
    if (!this.#mayNotify(server, Notifies.Hidden)) return Verdict.Stop;
    this.#begin(server);
    server.traffic.binds++;
    const naming = this.#nameBound(server, this.#auditor?.statementAs(name), bytes, start, end, parts);
    if (instead !== undefined && body !== undefined) {
      return this.#sendBound(server, instead, bytes.subarray(start + headerBytes, portalEnd), name, body, naming);
    }
    server.owe(owedBound(naming));
    return Verdict.Keep;
  }

  /** Whether an error has made the server skip what comes before the next Sync. */
  get #ignored(): boolean {
    return this.server?.ignoring === true;
  }

  /**
   * The policy denies a Query. No server is asked, unless one has to learn that the transaction has failed.
   * @param total the message's length, where only its beginning is here
   */
  #denyQuery(
    error: ErrorFields,
    footprint: Footprint,
    bytes: Buffer,
    start: number,
    end: number,
    total: number,
  ): Verdict {
    const { server } = this;
    if (server?.ignoring === true) return Verdict.Drop;
    if (server !== undefined) {
      if (this.#admitQuery(footprint, bytes, start, end, total) === 'wait') return Verdict.Stop;
      this.#auditor?.sent(error.sqlstate, server.batch);
      this.#begin(server);
      return this.#refuseQuery(server, error);
    }
    this.#failDeferred();
    this.unnamed = undefined;
    const seen = end - start === total ? end - 1 : end;
    this.#recordAlone(bytes, start + headerBytes, seen, footprint, error.sqlstate, total - headerBytes - 1);
    this.toClient.writeOwned(errorResponse(error));
    this.toClient.writeOwned(readyForQuery(this.#statusAlone));
    return Verdict.Drop;
  }

  /** The same of a message of the extended protocol: what follows up to the Sync goes nowhere. */
  #denyBatch(
    error: ErrorFields,
    footprint: Footprint,
    bytes: Buffer,
    start: number,
    end: number,
    total = end - start,
  ): Verdict {
    this.#auditor?.alone(bytes, start, end, footprint.facts, error.sqlstate, this.#decisionOn(footprint), total);
    const { server } = this;
    if (server === undefined) {
      this.cancelBatch(error);
      this.#cancelled = 'to Sync';
      return Verdict.Drop;
    }
    this.#begin(server);
    return this.#refuse(server, error);
  }

  /** Asks the server for a plan. @returns undefined where it cannot be asked: there is a ruling then */
  #estimate(estimation: Estimation): Verdict | undefined {
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    // What the client is owed may change the transaction the plan is asked in; what weir itself has asked does not.
    if (server.complete && server.owesClient) return Verdict.Stop;
    if (server.complete && server.status === TransactionStatus.Failed) {
      estimation.without();
      return undefined;
    }
    const question = estimation.question(server.version);
    if (question === undefined) {
      this.#ruling = estimation.unasked;
      return undefined;
    }
    this.emitBefore();
    const within = !server.complete;
    this.#asksForPlan = !within;
    askForPlans(server, question, (answer) => {
      this.#asksForPlan = false;
      estimation.answered(answer);
    });
    // An error in the batch is not answered by a plan.
    if (within) server.awaitAnswers();
    return Verdict.Stop;
  }

  /** The transaction that no server knows of yet has failed. */
  #failDeferred(): void {
    if (this.#deferred === undefined) return;
    this.#aborted = true;
    this.#dropDeferred();
  }

  /** DISCARD ALL in a transaction is refused: what it would have taken stays. */
  #isRefused({ effects }: Footprint): boolean {
    return (effects & Effect.OutsideOnly) !== 0 && (this.#deferred !== undefined || this.#isIn !== undefined);
  }

  /** The status of the transaction that the client is sure to be in, on a server. */
  get #isIn(): TransactionStatus | undefined {
    const { server } = this;
    if (server === undefined || server.status === TransactionStatus.Idle || !server.statusStays) return undefined;
    return server.status;
  }

  #cannotForget(footprint: Footprint): boolean {
    return this.#isIn === TransactionStatus.Failed || this.#isRefused(footprint);
  }

  #query(
    footprint: Footprint,
    forgets: 'statements' | 'nothing',
    admission: Admission,
    ruling: Ruling | undefined,
  ): Verdict {
    if (this.#limits.simpleProtocol === 'refused') {
      return this.#violation(
        'PQexec disallowed',
        'disable_pqexec is on.',
        'Use the extended protocol: parameters or prepared statements.',
      );
    }
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return this.#overlook();
    if (!this.#mayNotify(server, footprint.notifies)) return Verdict.Stop;
    // Behind another message a Query is not the end of its implicit transaction.
    const how = this.#beginsOutside(server) ? 'alone' : 'within';
    const discarded = this.#discardBefore(server, footprint, how);
    if (discarded === 'wait') return Verdict.Stop;
    if (discarded === 'never') {
      this.#auditor?.sent(mixedWithEnd.sqlstate, server.batch);
      return this.#refuseQuery(server, mixedWithEnd);
    }
    if (admission === 'refuse') {
      this.#auditor?.sent(unrecorded.sqlstate, server.batch);
      this.#begin(server);
      return this.#refuseQuery(server, unrecorded);
    }
    const marked = !this.transparent && (!footprint.isInert || this.settings.shadowsCatalog);
    if (marked && footprint.refused === undefined) {
      // What weir does of its own for the statement comes before the client's transaction.
      this.#readyFor(server, footprint);
      if (server.preparation.waits) return Verdict.Stop;
    }
    this.#auditor?.sent(footprint.refused === undefined || this.transparent ? undefined : refusedState, server.batch);
    if (this.transparent) {
      if (footprint.hazards.length > 0) this.#session.onHazards(footprint);
      server.ladder.mark(unseen, this);
    } else if (marked) {
      if (footprint.refused !== undefined) {
        this.#begin(server);
        this.#session.onHazards(footprint);
        return this.#refuseQuery(server, refusal(footprint.refused));
      }
      const refused = this.#isRefused(footprint);
      this.#begin(server, footprint);
      if (!refused) this.#mark(server, footprint);
    }
    this.#begin(server);
    this.#useSequences(server, footprint);
    // A Query empties the unnamed slot, unless an error before it makes the server skip it.
    if (forgets === 'statements') {
      server.statementsForgotten();
      server.owe(
        owedWithUndo(Expect.ReadyForQuery, {
          kind: 'client-all',
          names: this.statements.takeAll(),
          unnamed: this.unnamed,
        }),
      );
    } else if (this.unnamed !== undefined) {
      server.owe(owedWithUndo(Expect.ReadyForQuery, { kind: 'unnamed', previous: this.unnamed, made: undefined }));
    } else {
      server.owe(owedQuery);
    }
    server.unnamed = undefined;
    this.unnamed = undefined;
    if (ruling?.kind !== 'rewrite') return Verdict.Keep;
    return this.#sendInstead(server, queryMessage(ruling.text.toString('latin1'))); // cold: statements with masked tables
  }

  /** A message made for the server takes the place of the client's. */
  #sendInstead(server: ServerChannel, message: Buffer): Verdict {
    this.emitBefore();
    server.sendOwned(message);
    return Verdict.Drop;
  }

  #onParse(bytes: Buffer, start: number, end: number): Verdict {
    const parts = readParse(bytes, start, end);
    if (parts === undefined) return this.#forward(owedParse);
    if (this.#ignored) return Verdict.Drop;
    const { queryStart, queryEnd } = parts;
    const { gate } = this;
    // Without a gate it need not be read where one of the pool has prepared the same before.
    const judged = gate === undefined ? undefined : this.#inspect(bytes, queryStart, queryEnd);
    const ruling = judged && (this.#ruling ?? gate?.judge(judged, bytes, queryStart, queryEnd, 'parse'));
    if (ruling?.kind === 'wait') return Verdict.Stop;
    if (ruling?.kind === 'estimate') return this.#estimate(ruling.estimation) ?? this.#onParse(bytes, start, end);
    this.#ruling = ruling;
    if (judged !== undefined && ruling?.kind === 'deny') {
      return this.#denyBatch(ruling.error, judged, bytes, queryStart, queryEnd);
    }
    const masked = ruling?.kind === 'rewrite' ? ruling.text : undefined;
    if (this.server === undefined && masked === undefined && this.#parsedBefore(bytes, parts, end)) return Verdict.Drop;
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    const footprint = judged ?? (this.transparent ? unseen : this.#inspect(bytes, queryStart, queryEnd));
    if (!this.transparent && this.#preparesBehind(footprint)) return Verdict.Stop;
    // Behind the Parse it would run in the batch of the statement, which might not be allowed then.
    if (!footprint.joinsBatch && this.#discardBefore(server, footprint, 'alone') === 'wait') return Verdict.Stop;
    const own = bytes.subarray(queryStart, end);
    const body = masked === undefined ? own : Buffer.concat([masked, bytes.subarray(queryEnd, end)]); // cold: masked tables
    const name = nameOf(bytes, parts.nameStart, parts.nameEnd);
    const clientText = masked === undefined ? undefined : Buffer.from(bytes.subarray(queryStart, queryEnd));
    if (this.transparent) {
      server.traffic.clientParses++;
      const found = judged ?? this.#host.inspect(bytes, queryStart, queryEnd);
      if (!this.#mayVacate(found)) return Verdict.Stop;
      if (found.hazards.length > 0) this.#session.onHazards(found);
      if (found.signals) this.#signals ??= new ClientSignals(this.#session);
      const naming = this.#auditor?.parse(name, bytes, queryStart, queryEnd, found.facts, server.batch);
      if (this.#auditor !== undefined && naming === undefined) {
        return this.#mustAwait() ? Verdict.Stop : this.#refuse(server, tooManyNames, laterProvocation);
      }
      this.#signals?.prepared(name, found.signals ? body : undefined);
      server.ladder.mark(unseen, this);
      gate?.onPrepared(undefined, name, body);
      server.owe(naming === undefined ? owedParse : owedNaming(Expect.Parsed, naming));
      return masked === undefined ? Verdict.Keep : this.#sendInstead(server, parseMessage(name, body));
    }
    if (footprint.refused !== undefined) {
      server.traffic.clientParses++;
      this.#begin(server);
      this.#session.onHazards(footprint);
      const decision = this.#decisionOn(footprint);
      this.#auditor?.alone(bytes, queryStart, queryEnd, footprint.facts, refusedState, decision);
      return this.#refuse(server, refusal(footprint.refused), laterProvocation);
    }
    // PostgreSQL looks at what a statement names, or shows, when it is parsed already.
    if (!footprint.isInert) this.#readyFor(server, footprint);
    if (server.preparation.waits) return Verdict.Stop;
    server.traffic.clientParses++;
    this.#begin(server, footprint);
    if (parts.nameStart === parts.nameEnd) {
      const made = Statement.own(Buffer.from(body), footprint, undefined, clientText);
      this.#unnamedBatch = server.batch;
      this.#untold = made;
      this.gate?.onPrepared(made, '', undefined);
      server.owe(owedWithUndo(Expect.Parsed, { kind: 'unnamed', previous: this.unnamed, made }));
      this.unnamed = made;
      server.unnamed = this.unnamed;
      server.traffic.serverParses++;
      return masked === undefined ? Verdict.Keep : this.#sendInstead(server, parseMessage(name, body));
    }

    if (server.ladder.isUnsettled(name, this)) {
      // Whether the name is free only the server knows by now; a look will tell what became of it.
      const naming = this.#auditor?.parse(name, bytes, queryStart, queryEnd, footprint.facts, server.batch);
      if (this.#auditor !== undefined && naming === undefined) {
        return this.#mustAwait() ? Verdict.Stop : this.#refuse(server, tooManyNames, laterProvocation);
      }
      server.ladder.mark(opaque, this);
      this.gate?.onPrepared(undefined, name, body);
      server.owe(naming === undefined ? owedParse : owedNaming(Expect.Parsed, naming));
      return masked === undefined ? Verdict.Keep : this.#sendInstead(server, parseMessage(name, body));
    }
    if (this.statements.get(name) !== undefined) {
      // PostgreSQL reads the text before it looks at the name: an error in it comes first.
      this.emitBefore();
      server.owe(owedSkip(Expect.Parsed, undefined));
      server.sendUnrecorded(parseMessage('', body));
      return this.#refuse(
        server,
        {
          severity: 'ERROR',
          sqlstate: '42P05',
          message: `prepared statement "${printable(name)}" already exists`,
        },
        laterProvocation,
      );
    }
    if (this.statements.size >= this.#limits.statementsMax) {
      return this.#refuse(
        server,
        {
          severity: 'ERROR',
          sqlstate: '53400',
          message: `too many prepared statements: a client may have ${this.#limits.statementsMax}`,
          hint: 'Close statements that are no longer used, or raise max_client_statements.',
        },
        laterProvocation,
      );
    }
    const statement = this.#registry.hold(body, () => footprint, this.#contextOn(server, footprint), clientText);
    this.statements.set(name, statement);
    this.gate?.onPrepared(statement, name, undefined);
    const isConstant = statement.text.upkeep === 'constant' && server.status !== TransactionStatus.Failed;
    // In a failed transaction PostgreSQL takes none but these, whether it has it or not.
    if (isConstant && server.statements.use(statement, server.sharing ? 'any' : server.batch) !== undefined) {
      server.answer(owedFake(parseCompleteMessage, { kind: 'client-parse', name, statement, placed: undefined }));
      return Verdict.Drop;
    }
    this.emitBefore();
    // What other clients have had parsed before may be older than what this one knows to have changed.
    server.sendParse(statement, 'client', undefined, (placed) =>
      owedWithUndo(Expect.Parsed, { kind: 'client-parse', name, statement, placed }),
    );
    return Verdict.Drop;
  }

  /**
   * What a text means on the server: where the client has temporary objects of its own, or has set something that is not known
   * to have been set or holds for its transaction alone, nobody else means the same.
   */
  #contextOn({ ladder }: ServerChannel, { statements, facts }: Footprint): string {
    const own = ladder.pins.has('temp') || (ladder.pending & (Effect.Temp | Effect.Unknown | Effect.Sets)) !== 0;
    // The same of cursors, and of what it names of its statements.
    const named = statements.length > 0 || facts?.kinds.includes('fetch') === true;
    return own || named || this.settings.shadowsCatalog ? this.#ownContext : this.settings.parseKey;
  }

  get #ownContext(): string {
    return `${this.settings.parseKey}\0${this.id}`;
  }

  /** The client's statement is about to be parsed there again. */
  rehome(statement: Statement, server: ServerChannel): void {
    this.#registry.rehome(statement, this.#contextOn(server, statement.footprint));
  }

  /**
   * Answers a named Parse without a server when none is free and one of the pool has prepared the same before, where it means
   * the same for ever, as BEGIN, or is alone in its batch and behind a BEGIN that was deferred. A client that waits for that, as
   * pgbench does, so never waits for a server that others keep until it has been answered. It is parsed where it is used first.
   */
  #parsedBefore(bytes: Buffer, parts: ParseParts, end: number): boolean {
    if (this.transparent || parts.nameStart === parts.nameEnd) return false;
    const name = nameOf(bytes, parts.nameStart, parts.nameEnd);
    if (this.statements.size >= this.#limits.statementsMax || this.statements.get(name) !== undefined) return false;
    if (this.settings.shadowsCatalog) return false;
    if (this.settings.unportable === undefined) this.#host.leaseFree();
    if (this.server !== undefined) return false;
    const body = bytes.subarray(parts.queryStart, end);
    const anyText = this.#deferred !== undefined && this.isLastBefore(Frontend.Sync, end);
    const statement = this.#registry.holdProven(body, this.settings.parseKey, anyText ? 'any' : 'constant');
    if (statement === undefined) return false;
    this.statements.set(name, statement);
    this.gate?.onPrepared(statement, name, undefined);
    this.toClient.writeOwned(parseCompleteMessage);
    return true;
  }

  /** A Parse too long to be kept: unnamed it passes, for this batch only; named it cannot be carried to another server. */
  #onLargeParse(total: number, bytes: Buffer, start: number, end: number): Verdict {
    const ruling = this.#ignored ? undefined : this.gate?.judgeUnread('a statement over inspect_limit');
    if (ruling?.kind === 'deny') {
      return this.#denyLargeParse(ruling.error, total, bytes, start, end);
    }
    const tooLong = this.#ignored ? undefined : this.#tooLongToRecord();
    if (tooLong !== undefined) return this.#denyLargeParse(tooLong, total, bytes, start, end);
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    server.traffic.clientParses++;
    this.#begin(server);
    if (this.transparent) {
      server.ladder.mark(unseen, this);
      server.owe(owedParse);
      return Verdict.Keep;
    }
    if (this.#host.unread.refused !== undefined) return this.#refuse(server, refusal(this.#host.unread.refused));
    if (bytes[start + headerBytes] !== 0) {
      return this.#refuse(
        server,
        {
          severity: 'ERROR',
          sqlstate: '54000',
          message: `prepared statement is longer than ${this.#limits.statementBytesMax} bytes`,
          hint: 'Prepare it without a name, or raise statement_memory_limit.',
        },
        laterProvocation,
      );
    }
    const made = new Statement(unkept(this.#host.unread));
    this.#unnamedBatch = server.batch;
    server.owe(owedWithUndo(Expect.Parsed, { kind: 'unnamed', previous: this.unnamed, made }));
    this.unnamed = made;
    server.unnamed = this.unnamed;
    server.traffic.serverParses++;
    return Verdict.Keep;
  }

  /** @param total the message's length: the end of the text, and the types of its parameters, are not here */
  #denyLargeParse(error: ErrorFields, total: number, bytes: Buffer, start: number, end: number): Verdict {
    const textStart = bytes.subarray(0, end).indexOf(0, start + headerBytes) + 1 || end;
    const textEnd = Math.max(textStart, end);
    return this.#denyBatch(error, this.#host.unread, bytes, textStart, textEnd, start + total - textStart);
  }

  /**
   * Puts the client's unnamed statement into the server's slot.
   * @returns undefined where it stands there
   */
  #readyUnnamed(server: ServerChannel): Verdict | undefined {
    const statement = this.unnamed;
    if (statement !== undefined && statement === server.unnamed) return undefined;
    if (statement?.body === emptyBody) return this.#refuse(server, unknownStatement(''));
    this.emitBefore();
    if (statement !== undefined && server.preparation.takeRefuted(statement)) return this.#refuse(server, changedPlan);
    server.prepareUnnamed(statement);
    return server.preparation.waits ? Verdict.Stop : undefined;
  }

  /**
   * The client's statement as it stands on the server, and the entry of what is done with it.
   * @returns undefined where the message has to wait
   */
  #readyNamed(
    server: ServerChannel,
    statement: Statement,
    expect: typeof Expect.Bound | typeof Expect.Described,
  ): Owed | undefined {
    this.emitBefore();
    const name = this.statements.lastName ?? noName;
    const refuted = server.preparation.takeRefuted(statement);
    const placed = refuted ?? server.preparation.ready(statement);
    if (placed === undefined) return undefined;
    server.beginRecord();
    if (refuted === undefined) return this.#named(expect, statement, placed);
    if (expect === Expect.Bound) return owedVain(statement, name, refuted);
    // PostgreSQL tells the parameters before it looks at the rest.
    const types = parameterDescription(statement.version?.types ?? statement.types);
    const told = Buffer.concat([types, errorResponse(changedPlan)]); // cold: statements that have changed
    server.refuseChanged(told, statement, name, refuted);
    return owedNamed(expect, statement, name, refuted);
  }

  /** @param frameEnd where the frame will end, in the terms of `start`; beyond `end` for one seen by its prefix */
  #onBind(bytes: Buffer, start: number, end: number, frameEnd: number): Verdict {
    const parts = readBind(bytes, start, end);
    if (parts === undefined) {
      if (frameEnd === end) return this.#forward(owedBind);
      return this.#violation('bad packet', 'the names in a Bind are too long');
    }
    if (this.gate !== undefined && !this.#ignored) {
      const rest = frameEnd === end ? { bytes, start: parts.statementEnd + 1, end } : undefined;
      const verdict = this.#judgeBind(this.gate, bytes, parts.statementStart, parts.statementEnd, rest);
      if (verdict !== undefined) return verdict;
    }
    if (this.transparent) return this.#onTransparentBind(bytes, start, end, parts);
    const { statementEnd } = parts;
    const known = this.#statementOf(bytes, parts.statementStart, statementEnd);
    if (known !== undefined && !this.#ignored) {
      const listens = this.#mayListen(known.footprint);
      if (listens === 'wait') return Verdict.Stop;
      if (listens !== 'ready') return this.#denyBatch(listens, known.footprint, known.query, 0, known.query.length);
      if (!this.#mayVacate(known.footprint)) return Verdict.Stop;
    }
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    const recorded = this.#mayRecordBound(server, known, bytes, end, parts);
    if (recorded !== undefined) return recorded;
    const instead =
      known?.footprint.signals === true && frameEnd === end
        ? this.#boundInstead(known.body, bytes.subarray(statementEnd + 1, end))
        : undefined;
    if (instead === 'wait') return Verdict.Stop;
    const runs = this.#whatRuns(server, known, bytes, parts.statementStart, statementEnd);
    if (!this.#mayNotify(server, runs.notifies)) return Verdict.Stop;
    if (this.#discardBefore(server, runs, 'within') === 'wait') return Verdict.Stop;
    if (known !== undefined && !known.footprint.isInert) this.#readyFor(server, known.footprint);
    if (server.preparation.waits) return Verdict.Stop;
    const refused = known !== undefined && this.#isRefused(known.footprint);
    this.#begin(server, known?.footprint);
    this.#useSequences(server, runs);
    if (parts.statementStart === statementEnd) {
      const verdict = this.#readyUnnamed(server);
      if (verdict !== undefined) return verdict;
      server.traffic.binds++;
      this.#untold = undefined;
      if (known !== undefined && !refused) this.#markBound(server, known.footprint, bytes, statementEnd + 1, end);
      const naming = this.#nameBound(server, textOf(known), bytes, start, end, parts);
      if (known !== undefined && instead !== undefined) {
        const portal = bytes.subarray(start + headerBytes, parts.portalEnd);
        return this.#sendBound(server, instead, portal, '', known.body, naming);
      }
      server.owe(owedBound(naming));
      return Verdict.Keep;
    }
    if (known !== undefined && showsItself(known)) {
      server.traffic.binds++;
      this.#markBound(server, known.footprint, bytes, statementEnd + 1, end);
      server.owe(owedBound(this.#nameBound(server, textOf(known), bytes, start, end, parts)));
      return Verdict.Keep;
    }
    if (this.#isUnsettled(server, bytes, parts.statementStart, statementEnd)) {
      server.traffic.binds++;
      const named = this.#auditor?.statementAs(nameOf(bytes, parts.statementStart, statementEnd));
      server.owe(owedBound(this.#nameBound(server, named ?? inDoubt(known), bytes, start, end, parts)));
      return Verdict.Keep;
    }
    if (known === undefined) {
      server.traffic.binds++;
      return this.#refuse(server, unknownStatement(nameOf(bytes, parts.statementStart, statementEnd)));
    }
    const entry = this.#readyNamed(server, known, Expect.Bound);
    if (entry?.placed === undefined) return Verdict.Stop;
    server.traffic.binds++;
    const inVain = !entry.visible;
    if (inVain && frameEnd > end) return this.#refuse(server, changedPlan);
    if (!refused && !inVain) this.#markBound(server, known.footprint, bytes, statementEnd + 1, end);
    const portal = bytes.subarray(start + headerBytes, parts.portalEnd);
    const naming = this.#nameBound(server, textOf(known), bytes, start, end, parts);
    if (instead !== undefined && !inVain)
      return this.#sendBound(server, instead, portal, entry.placed.name, known.body, naming);
    const isNaming = naming !== undefined && !inVain;
    server.owe(isNaming ? owedNamed(Expect.Bound, known, entry.name ?? noName, entry.placed, naming) : entry);
    const rest = parts.statementEnd + 1;
    const prefix = bindPrefix(portal, entry.placed.name, frameEnd - rest);
    server.send(prefix, 0, prefix.length);
    this.emit(bytes, rest, end);
    if (!inVain) return Verdict.Replace;
    server.refuseChanged(errorResponse(changedPlan), known, entry.name ?? noName, entry.placed, naming);
    return Verdict.Drop;
  }

  /** @returns undefined where what is bound can be recorded when it runs */
  #mayRecordBound(
    server: ServerChannel,
    known: Statement | undefined,
    bytes: Buffer,
    end: number,
    { statementStart, statementEnd }: BindParts,
  ): Verdict | undefined {
    const auditor = this.#auditor;
    // What a lane runs has been asked about as a whole.
    if (auditor === undefined || server.sharing) return undefined;
    if (this.#isOpenStatement(auditor, server, bytes, statementStart, statementEnd) && this.#mustAwait()) {
      return Verdict.Stop;
    }
    const textBytes = known?.query.length ?? 0;
    if (auditor.hasRoomToBind(textBytes, end - statementEnd)) return undefined;
    return this.#mustAwait() ? Verdict.Stop : this.#refuse(server, tooManyNames, laterProvocation);
  }

  /** Whether answers to batches before this one decide what the statement is. */
  #isOpenStatement(auditor: Auditor, server: ServerChannel, bytes: Buffer, start: number, end: number): boolean {
    if (this.transparent) return auditor.isStatementOpen(nameOf(bytes, start, end), server.batch);
    if (start === end) return this.#unnamedBatch !== server.batch && server.owesUnnamed;
    const { ladder } = server;
    if (ladder.unsettled.size === 0 && !ladder.namesUnsettled) return false;
    const name = nameOf(bytes, start, end);
    return ladder.isUnsettled(name, this) && auditor.isStatementOpen(name, server.batch);
  }

  /** The portal stands for the statement once the server has bound it. */
  #nameBound(
    server: ServerChannel,
    statement: NamedText | undefined,
    bytes: Buffer,
    start: number,
    end: number,
    { portalEnd, statementEnd }: BindParts,
  ): Naming | undefined {
    if (this.#auditor === undefined || server.sharing) return undefined;
    const portal = nameOf(bytes, start + headerBytes, portalEnd);
    const { batch } = server;
    return this.#auditor.bind(portal, statement, bytes, statementEnd + 1, end, this.gate?.decision, batch);
  }

  /** @returns undefined where it may run */
  #judgeBind(
    gate: Gate,
    bytes: Buffer,
    start: number,
    end: number,
    values: BoundValues | undefined,
  ): Verdict | undefined {
    const statement = this.transparent ? undefined : this.#statementOf(bytes, start, end);
    const name = statement === undefined ? nameOf(bytes, start, end) : '';
    const ruling = this.#ruling ?? gate.judgeBound(statement, name, 'run', values);
    if (ruling.kind === 'wait') return Verdict.Stop;
    if (ruling.kind === 'estimate') {
      return this.#estimate(ruling.estimation) ?? this.#judgeBind(gate, bytes, start, end, values);
    }
    this.#ruling = ruling;
    if (ruling.kind !== 'deny') return undefined;
    const text = statement?.query ?? noName;
    const footprint = statement?.footprint ?? this.#host.unread;
    return this.#denyBatch(ruling.error, footprint, text, 0, text.length);
  }

  /** The entry of the statement `find` has just found. */
  #named(expect: typeof Expect.Bound | typeof Expect.Described, statement: Statement, placed: Placed): Owed {
    const name = this.statements.lastName ?? noName;
    const last = expect === Expect.Bound ? this.#bound : this.#described;
    if (last !== undefined && last.placed === placed && last.statement === statement && last.name === name) return last;
    const entry = owedNamed(expect, statement, name, placed);
    if (expect === Expect.Bound) this.#bound = entry;
    else this.#described = entry;
    return entry;
  }

  #statementOf(bytes: Buffer, start: number, end: number): Statement | undefined {
    return start === end ? this.unnamed : this.statements.find(bytes, start, end);
  }

  /** The footprint of the statement that is bound. */
  #whatRuns(
    { ladder }: ServerChannel,
    known: Statement | undefined,
    bytes: Buffer,
    start: number,
    end: number,
  ): Footprint {
    const settled = start === end || (ladder.unsettled.size === 0 && !ladder.namesUnsettled);
    if (known === undefined) return settled ? inert : opaque;
    return settled || !ladder.isUnsettled(nameOf(bytes, start, end), this) ? known.footprint : opaque;
  }

  /** Whether only the server knows what the name stands for: it goes as it is. */
  #isUnsettled(server: ServerChannel, bytes: Buffer, start: number, end: number): boolean {
    const { ladder } = server;
    if (ladder.unsettled.size === 0 && !ladder.namesUnsettled) return false;
    if (!ladder.isUnsettled(nameOf(bytes, start, end), this)) return false;
    server.ladder.mark(opaque, this);
    return true;
  }

  /** A statement is bound: some of what it leaves behind may hang on its parameters, which begin at `from`. */
  #markBound(server: ServerChannel, footprint: Footprint, bytes: Buffer, from: number, end: number): void {
    if (footprint.isInert && !this.settings.shadowsCatalog) return;
    this.#mark(server, footprint);
    // Once it is executed: what is prepared from here on is closed before, whether it is or not.
    if ((footprint.effects & Effect.ForgetsStatements) !== 0 && this.#isIn !== TransactionStatus.Failed)
      server.statementsForgotten();
    for (const number of footprint.settingParameters) {
      const name = readBindParameter(bytes, from, end, number)?.toLowerCase();
      if (name === 'role' || name === 'session_authorization') server.ladder.effects |= Effect.Role;
      server.ladder.markSetting(name);
      if (name?.includes('.') === true) this.#session.onSettingName(name);
    }
  }

  #onDescribe(bytes: Buffer, start: number, end: number): Verdict {
    const parts = readTarget(bytes, start, end);
    if (parts === undefined) return this.#forward(owedDescribe);
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    this.#begin(server);
    if (parts.target === Target.Portal || this.transparent) {
      server.owe(owedDescribePortal);
      return Verdict.Keep;
    }
    const known = this.#statementOf(bytes, parts.nameStart, parts.nameEnd);
    const names = known === undefined ? [] : known.footprint.statements;
    // What it names has to be there before it is parsed; what is gone was there when the client parsed it.
    const hasAll = names.every(({ name }) => this.statements.get(name) !== undefined);
    if (known !== undefined && names.length > 0 && hasAll) this.#readyFor(server, known.footprint);
    if (server.preparation.waits) return Verdict.Stop;
    if (parts.nameStart === parts.nameEnd) {
      const verdict = this.#readyUnnamed(server);
      if (verdict !== undefined) return verdict;
      if (known !== undefined && !hasAll) this.#readyFor(server, known.footprint);
      if (known === undefined || this.#untold !== known || known.text.upkeep !== 'analysed') server.owe(owedDescribe);
      else server.owe(owedLesson(new Placed('', known, 0), 'client'));
      this.#untold = undefined;
      return Verdict.Keep;
    }
    if (known !== undefined && showsItself(known)) {
      this.#readyFor(server, known.footprint);
      server.owe(owedDescribe);
      return Verdict.Keep;
    }
    if (this.#isUnsettled(server, bytes, parts.nameStart, parts.nameEnd)) {
      server.owe(owedDescribe);
      return Verdict.Keep;
    }
    // In a failed transaction nothing can be prepared: what SQL has prepared is described where it is.
    const failed = server.status === TransactionStatus.Failed;
    if (failed && known !== undefined && server.statements.use(known, server.batch) === undefined) {
      if (server.ladder.hasOwn(nameOf(bytes, parts.nameStart, parts.nameEnd), known)) {
        server.owe(owedDescribe);
        return Verdict.Keep;
      }
    }
    if (known === undefined) {
      return this.#refuse(server, unknownStatement(nameOf(bytes, parts.nameStart, parts.nameEnd)));
    }
    const entry = this.#readyNamed(server, known, Expect.Described);
    if (entry?.placed === undefined) return Verdict.Stop;
    if (!hasAll) this.#readyFor(server, known.footprint);
    server.owe(entry);
    server.sendOwned(describeStatementMessage(entry.placed.name));
    return Verdict.Drop;
  }

  #onClose(bytes: Buffer, start: number, end: number): Verdict {
    const parts = readTarget(bytes, start, end);
    if (parts === undefined) return this.#forward(owedClose);
    const server = this.server;
    if (server?.ignoring) return Verdict.Drop;
    if (parts.target === Target.Portal || this.transparent) {
      // It may be a cursor that keeps the server.
      if (server?.ladder.pins.has('cursor') === true) server.ladder.effects |= Effect.Ends;
      const name = nameOf(bytes, parts.nameStart, parts.nameEnd);
      return this.#forwardClose(parts.target === Target.Portal ? 'portal' : 'statement', name);
    }
    if (parts.nameStart === parts.nameEnd) {
      const previous = this.unnamed;
      this.unnamed = undefined;
      this.#answerClose(previous === undefined ? undefined : { kind: 'unnamed', previous, made: undefined });
      return Verdict.Drop;
    }
    // The server keeps it for the next client with the same statement.
    const name = nameOf(bytes, parts.nameStart, parts.nameEnd);
    if (server?.ladder.isUnsettled(name, this) === true) {
      server.ladder.mark(opaque, this);
      return this.#forwardClose('statement', name);
    }
    if (server?.ladder.namesUnsettled === true) {
      this.emitBefore();
      server.ladder.closeName(name);
    }
    const statement = this.statements.take(name);
    this.#answerClose(statement === undefined ? undefined : { kind: 'client-close', name, statement });
    return Verdict.Drop;
  }

  #forwardClose(of: 'portal' | 'statement', name: string): Verdict {
    const auditor = this.#auditor;
    const server = this.#lease();
    if (auditor === undefined || server === undefined || server.ignoring) return this.#forward(owedClose);
    const { batch } = server;
    const naming = of === 'portal' ? auditor.closePortal(name, batch) : auditor.closeStatement(name, batch);
    return this.#forward(owedNaming(Expect.Closed, naming));
  }

  #answerClose(undo: Undo | undefined): void {
    if (this.server !== undefined) {
      this.server.answer(owedFake(closeCompleteMessage, undo));
      return;
    }
    if (undo?.kind === 'client-close') this.statements.forget(undo.statement);
    this.toClient.writeOwned(closeCompleteMessage);
  }

  /** Answers with an error at this place in the order, and makes the server's transaction fail as any error would. */
  #refuse(server: ServerChannel, error: ErrorFields, by = provocation): Verdict {
    this.emitBefore();
    server.owe(owedProvoked(Expect.Parsed, errorResponse(error)));
    server.unnamed = undefined;
    server.sendUnrecorded(parseMessage('', by));
    server.skipRest();
    return Verdict.Drop;
  }

  /** The same for a Query. */
  #refuseQuery(server: ServerChannel, error: ErrorFields): Verdict {
    this.emitBefore();
    server.owe(owedProvoked(Expect.ReadyForQuery, errorResponse(error)));
    server.unnamed = undefined;
    this.unnamed = undefined;
    server.sendUnrecorded(provokingQuery);
    return Verdict.Drop;
  }

  #violation(message: string, detail: string, hint?: string): Verdict {
    this.#terminated = true;
    this.#host.onViolation({ severity: 'FATAL', sqlstate: '08P01', message, detail, hint });
    return Verdict.Drop;
  }
}

/** Whether it does nothing but end a transaction. */
function endsTransaction({ transaction }: Footprint): boolean {
  return transaction === 'COMMIT' || transaction === 'ROLLBACK';
}

/** Whether the text may end a transaction besides what else it does. What DO and CALL run cannot, within one that has failed. */
function mayEnd({ effects, facts }: Footprint): boolean {
  if ((effects & Effect.Transacts) !== 0) return true;
  return (effects & Effect.Unknown) !== 0 && facts?.known !== true;
}

/** Whether a text that nobody understands may be about prepared statements. */
const speaking = /execute|deallocate|prepare/i;
const listing = /pg_prepared_statement/i;

/** A list of statements is made by the one that stands in it under the client's name. */
function showsItself({ footprint }: Statement): boolean {
  return (footprint.effects & (Effect.ShowsStatements | Effect.Unknown)) === Effect.ShowsStatements;
}

const noName: Buffer = Buffer.alloc(0);
const emptyBody: Buffer = Buffer.alloc(0);

/** What the audit trail keeps of a statement. */
function namedText(text: Buffer, { facts = UNKNOWN }: Footprint): NamedText {
  return { text, facts, query: undefined, inDoubt: false };
}

function textOf(statement: Statement | undefined): NamedText | undefined {
  return statement && namedText(statement.query, statement.footprint);
}

/** The same where SQL that nobody sees may have prepared another one of its name. */
function inDoubt(statement: Statement | undefined): NamedText | undefined {
  return statement && { ...namedText(statement.query, statement.footprint), inDoubt: true };
}

const nothingKept: NamedText = { text: noName, facts: UNKNOWN, query: undefined, inDoubt: false };

function owedBound(naming: Naming | undefined): Owed {
  return naming === undefined ? owedBind : owedNaming(Expect.Bound, naming);
}

/** A text too long to be kept. */
function unkept(footprint: Footprint): StatementText {
  return new StatementText(emptyBody, footprint);
}

/** Of a BEGIN that weir has answered. */
const beginning = footprint({ transaction: 'BEGIN' });
