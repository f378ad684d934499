// From client to server: asks for a lease when a batch begins, records what will be owed, and renames prepared statements.

import { type ClientStatements, Effect, type Settings, Statement, type StatementRegistry } from '../session/index.js';
import {
  Action,
  bindPrefix,
  closeCompleteMessage,
  describeStatementMessage,
  type ErrorFields,
  errorResponse,
  FrameStream,
  type FrameTable,
  Frontend,
  frameTable,
  headerBytes,
  type ParseParts,
  parseCompleteMessage,
  parseMessage,
  readBind,
  readParse,
  readTarget,
  readyForQuery,
  Target,
  TransactionStatus,
  Verdict,
} from '../wire/index.js';
import {
  Expect,
  owedBind,
  owedClose,
  owedCopyEnd,
  owedDescribe,
  owedExecute,
  owedFake,
  owedParse,
  owedProvoked,
  owedQuery,
  owedSync,
  owedWithUndo,
  type Undo,
} from './owed.js';
import type { ClientHost, Port, Traffic } from './ports.js';
import type { ServerChannel } from './server-channel.js';

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
}

const targetBytesMax = 8192;

/** By limits, which clients share: a table of its own would be a sixth of an idle client's memory. */
const tables = new WeakMap<ClientChannelLimits, FrameTable>();

function tableFor(limits: ClientChannelLimits): FrameTable {
  let table = tables.get(limits);
  if (table === undefined) {
    table = frameTable([
      { tag: Frontend.Query, action: Action.Whole, holdBytesMax: limits.inspectBytesMax },
      { tag: Frontend.Parse, action: Action.Whole, holdBytesMax: limits.statementBytesMax },
      { tag: Frontend.Bind, action: Action.Whole, holdBytesMax: targetBytesMax },
      { tag: Frontend.Describe, action: Action.Whole, holdBytesMax: targetBytesMax },
      { tag: Frontend.Close, action: Action.Whole, holdBytesMax: targetBytesMax },
      { tag: Frontend.Execute, action: Action.Header },
      { tag: Frontend.Sync, action: Action.Header },
      { tag: Frontend.Flush, action: Action.Header },
      { tag: Frontend.FunctionCall, action: Action.Header },
      { tag: Frontend.CopyData, action: Action.Header },
      { tag: Frontend.CopyDone, action: Action.Header },
      { tag: Frontend.CopyFail, action: Action.Header },
      { tag: Frontend.Terminate, action: Action.Header },
    ]);
    tables.set(limits, table);
  }
  return table;
}

/** Sent to make PostgreSQL fail where weir has to answer with an error of its own: its state must be that of an error. */
const provocation = Buffer.from('weir: this statement is refused\0\0\0', 'latin1');

/**
 * One client after its login. Bytes from its socket are fed in, replies go through `toClient`. With `transparent`
 * (session pooling) statements keep the client's own names.
 */
export class ClientChannel extends FrameStream {
  readonly toClient: Port;
  readonly #host: ClientHost;
  readonly #limits: ClientChannelLimits;
  readonly #registry: StatementRegistry;
  readonly traffic: Traffic;
  readonly #transparent: boolean;

  /** The server on loan, if any. */
  server: ServerChannel | undefined;
  /** Settings as the client has made them. */
  settings: Settings;
  readonly statements: ClientStatements;
  /** What the client last put in its unnamed slot. */
  unnamed: Statement | undefined;
  /** Those the session began with. */
  readonly loginSettings: Settings;
  #terminated = false;
  /** The batch was cancelled before a server was found for it: its messages go nowhere. */
  #cancelled = false;

  constructor(options: {
    readonly toClient: Port;
    readonly host: ClientHost;
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
    this.#limits = options.limits;
    this.#registry = options.registry;
    this.traffic = options.traffic;
    this.#transparent = options.transparent;
    this.settings = options.settings;
    this.loginSettings = options.settings;
    this.statements = options.statements;
  }

  /** Whether part of a message has been taken and the rest has not come. */
  get midMessage(): boolean {
    return this.midFrame || this.carriedBytes > 0;
  }

  /** The client ran DISCARD ALL: its settings are as after its login. */
  onDiscardAll(): void {
    this.settings = this.loginSettings;
  }

  /** The batch the stream stopped before is answered with an error; the stream may go on. */
  cancelBatch(error: ErrorFields): void {
    this.#cancelled = true;
    this.toClient.writeOwned(errorResponse(error));
  }

  /** Messages of a cancelled batch, up to the one whose answer is ReadyForQuery. */
  #skipCancelled(tag: number): Verdict {
    if (tag === Frontend.Query || tag === Frontend.FunctionCall || tag === Frontend.Sync) {
      this.#cancelled = false;
      this.toClient.writeOwned(readyForQuery(TransactionStatus.Idle));
    }
    return Verdict.Drop;
  }

  /** The connection is gone: nothing is fed any more. */
  close(): void {
    this.#terminated = true;
    this.statements.clear();
    this.unnamed = undefined;
  }

  protected onHeader(tag: number): Verdict {
    if (this.#terminated) return Verdict.Drop;
    if (this.#cancelled && tag !== Frontend.Terminate) return this.#skipCancelled(tag);
    switch (tag) {
      case Frontend.Execute:
        return this.#forward(owedExecute);
      case Frontend.Sync:
        return this.#onSync();
      case Frontend.Flush:
        return this.server === undefined || this.server.ignoring ? Verdict.Drop : Verdict.Keep;
      case Frontend.FunctionCall: {
        const verdict = this.#forward(owedQuery);
        if (this.server !== undefined) this.server.effects |= Effect.Unknown;
        return verdict;
      }
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
        this.#host.onTerminate();
        return Verdict.Drop;
    }
  }

  protected onWhole(tag: number, bytes: Buffer, start: number, end: number): Verdict {
    if (this.#terminated) return Verdict.Drop;
    if (this.#cancelled) return this.#skipCancelled(tag);
    switch (tag) {
      case Frontend.Query:
        return this.#onQuery(bytes, start, end);
      case Frontend.Parse:
        return this.#onParse(bytes, start, end);
      case Frontend.Bind:
        return this.#onBind(bytes, start, end, end);
      case Frontend.Describe:
        return this.#onDescribe(bytes, start, end);
      default:
        return this.#onClose(bytes, start, end);
    }
  }

  protected onLarge(tag: number, total: number, bytes: Buffer, start: number, end: number): Verdict {
    if (this.#terminated) return Verdict.Drop;
    if (this.#cancelled) return this.#skipCancelled(tag);
    switch (tag) {
      case Frontend.Query:
        return this.#query(Effect.Unknown, 'nothing');
      case Frontend.Bind:
        return this.#onBind(bytes, start, end, start + total);
      case Frontend.Parse:
        return this.#onLargeParse(bytes, start);
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
    server.toServer.write(bytes, start, end);
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
    if (server.settings !== this.settings && server.quiet) server.replay(this.settings);
    // What a statement names may be the client's own function or table: nothing is known of it then.
    if (this.settings.shadowsCatalog) server.effects |= Effect.Unknown;
    return server;
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

  /** A message that goes on as it is and is answered by `owed`. */
  #forward(owed: typeof owedExecute): Verdict {
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    server.owe(owed);
    return Verdict.Keep;
  }

  #onSync(): Verdict {
    const server = this.server;
    if (server === undefined) {
      // Nothing of this batch needed a server.
      this.toClient.writeOwned(readyForQuery(TransactionStatus.Idle));
      return Verdict.Drop;
    }
    if (server.copyIn && !server.copyDataEnded) server.syncOverlooked();
    else server.owe(owedSync);
    return Verdict.Keep;
  }

  /** Copy messages outside a COPY are ignored by PostgreSQL; those that no server could expect stay here. */
  #expectsCopy(): boolean {
    return this.server !== undefined && this.server.owedCount > 0;
  }

  #onQuery(bytes: Buffer, start: number, end: number): Verdict {
    const effects = this.#transparent ? Effect.Unknown : this.#host.inspect(bytes, start + headerBytes, end - 1);
    return this.#query(effects, forgetsStatements(bytes, start + headerBytes, end) ? 'statements' : 'nothing');
  }

  #query(effects: number, forgets: 'statements' | 'nothing'): Verdict {
    if (this.#limits.simpleProtocol === 'refused') {
      return this.#violation(
        'PQexec disallowed',
        'disable_pqexec is on.',
        'Use the extended protocol: parameters or prepared statements.',
      );
    }
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    server.effects |= effects;
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
      server.owe(owedWithUndo(Expect.ReadyForQuery, { kind: 'unnamed', previous: this.unnamed }));
    } else {
      server.owe(owedQuery);
    }
    server.unnamed = undefined;
    this.unnamed = undefined;
    return Verdict.Keep;
  }

  #onParse(bytes: Buffer, start: number, end: number): Verdict {
    const parts = readParse(bytes, start, end);
    if (parts === undefined) return this.#violation('bad packet', 'Parse cannot be read');
    if (this.server === undefined && this.#parsedBefore(bytes, parts, end)) return Verdict.Drop;
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    server.traffic.clientParses++;
    if (this.#transparent) {
      server.effects |= Effect.Unknown;
      server.owe(owedParse);
      return Verdict.Keep;
    }
    const body = bytes.subarray(parts.queryStart, end);
    if (parts.nameStart === parts.nameEnd) {
      const effects = this.#host.inspect(bytes, parts.queryStart, parts.queryEnd);
      server.owe(owedWithUndo(Expect.Parsed, { kind: 'unnamed', previous: this.unnamed }));
      this.unnamed = new Statement('', Buffer.from(body), effects);
      server.unnamed = this.unnamed;
      server.traffic.serverParses++;
      return Verdict.Keep;
    }

    const name = nameOf(bytes, parts.nameStart, parts.nameEnd);
    if (this.statements.get(name) !== undefined) {
      return this.#refuse(server, {
        severity: 'ERROR',
        sqlstate: '42P05',
        message: `prepared statement "${printable(name)}" already exists`,
      });
    }
    if (this.statements.size >= this.#limits.statementsMax) {
      return this.#refuse(server, {
        severity: 'ERROR',
        sqlstate: '53400',
        message: `too many prepared statements: a client may have ${this.#limits.statementsMax}`,
        hint: 'Close statements that are no longer used, or raise max_client_statements.',
      });
    }
    const statement = this.#registry.hold(
      body,
      () => this.#host.inspect(bytes, parts.queryStart, parts.queryEnd),
      this.settings.parseKey,
    );
    this.statements.set(name, statement);
    if (server.statements.use(statement)) {
      server.answer(owedFake(parseCompleteMessage, { kind: 'client-parse', name, statement, serverToo: false }));
      return Verdict.Drop;
    }
    this.emitBefore();
    server.makeRoomFor(statement);
    server.statements.add(statement);
    server.traffic.serverParses++;
    server.owe(owedWithUndo(Expect.Parsed, { kind: 'client-parse', name, statement, serverToo: true }));
    server.toServer.writeOwned(parseMessage(statement.serverName, statement.body));
    return Verdict.Drop;
  }

  /**
   * Answers a named Parse without a server when one of the pool has prepared the same before. A client that waits for
   * its Parse alone, as pgbench does, so never waits for a server that others keep until it has been answered.
   */
  #parsedBefore(bytes: Buffer, parts: ParseParts, end: number): boolean {
    if (this.#transparent || parts.nameStart === parts.nameEnd) return false;
    const name = nameOf(bytes, parts.nameStart, parts.nameEnd);
    if (this.statements.size >= this.#limits.statementsMax || this.statements.get(name) !== undefined) return false;
    const body = bytes.subarray(parts.queryStart, end);
    const statement = this.#registry.findProven(body, this.settings.parseKey);
    if (statement === undefined) return false;
    statement.holders++;
    this.statements.set(name, statement);
    this.toClient.writeOwned(parseCompleteMessage);
    return true;
  }

  /** A Parse too long to be kept: unnamed it passes, for this batch only; named it cannot be carried to another server. */
  #onLargeParse(bytes: Buffer, start: number): Verdict {
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    server.traffic.clientParses++;
    if (this.#transparent) {
      server.effects |= Effect.Unknown;
      server.owe(owedParse);
      return Verdict.Keep;
    }
    if (bytes[start + headerBytes] !== 0) {
      return this.#refuse(server, {
        severity: 'ERROR',
        sqlstate: '54000',
        message: `prepared statement is longer than ${this.#limits.statementBytesMax} bytes`,
        hint: 'Prepare it without a name, or raise statement_memory_limit.',
      });
    }
    server.owe(owedWithUndo(Expect.Parsed, { kind: 'unnamed', previous: this.unnamed }));
    this.unnamed = new Statement('', emptyBody, Effect.Unknown);
    server.unnamed = this.unnamed;
    server.traffic.serverParses++;
    return Verdict.Keep;
  }

  /** Puts the client's unnamed statement into the server's slot; false for one that was too long to be kept. */
  #readyUnnamed(server: ServerChannel): boolean {
    const statement = this.unnamed;
    if (statement !== undefined && statement === server.unnamed) return true;
    if (statement?.body === emptyBody) return false;
    this.emitBefore();
    server.prepareUnnamed(statement);
    return true;
  }

  /** The statement of this name, prepared on the server; undefined when the client has none. */
  #readyNamed(server: ServerChannel, bytes: Buffer, start: number, end: number): Statement | undefined {
    const statement = this.statements.find(bytes, start, end);
    if (statement === undefined) return undefined;
    this.emitBefore();
    server.prepare(statement);
    return statement;
  }

  /** @param frameEnd where the frame will end, in the terms of `start`; beyond `end` for one seen by its prefix */
  #onBind(bytes: Buffer, start: number, end: number, frameEnd: number): Verdict {
    const parts = readBind(bytes, start, end);
    if (parts === undefined) return this.#violation('bad packet', 'Bind cannot be read, or its names are too long');
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    server.traffic.binds++;
    if (this.#transparent) {
      server.owe(owedBind);
      return Verdict.Keep;
    }
    if (parts.statementStart === parts.statementEnd) {
      if (!this.#readyUnnamed(server)) return this.#refuse(server, unknownStatement(''));
      if (this.unnamed !== undefined) server.effects |= this.unnamed.effects;
      server.owe(owedBind);
      return Verdict.Keep;
    }
    const statement = this.#readyNamed(server, bytes, parts.statementStart, parts.statementEnd);
    if (statement === undefined) {
      return this.#refuse(server, unknownStatement(nameOf(bytes, parts.statementStart, parts.statementEnd)));
    }
    server.effects |= statement.effects;
    server.owe(owedBind);
    const rest = parts.statementEnd + 1;
    const prefix = bindPrefix(
      bytes.subarray(start + headerBytes, parts.portalEnd),
      statement.serverName,
      frameEnd - rest,
    );
    server.toServer.write(prefix, 0, prefix.length);
    this.emit(bytes, rest, end);
    return Verdict.Replace;
  }

  #onDescribe(bytes: Buffer, start: number, end: number): Verdict {
    const parts = readTarget(bytes, start, end);
    if (parts === undefined) return this.#violation('bad packet', 'Describe cannot be read');
    const server = this.#lease();
    if (server === undefined) return Verdict.Stop;
    if (server.ignoring) return Verdict.Drop;
    if (parts.target === Target.Portal || this.#transparent) {
      server.owe(owedDescribe);
      return Verdict.Keep;
    }
    if (parts.nameStart === parts.nameEnd) {
      if (!this.#readyUnnamed(server)) return this.#refuse(server, unknownStatement(''));
      server.owe(owedDescribe);
      return Verdict.Keep;
    }
    const statement = this.#readyNamed(server, bytes, parts.nameStart, parts.nameEnd);
    if (statement === undefined) {
      return this.#refuse(server, unknownStatement(nameOf(bytes, parts.nameStart, parts.nameEnd)));
    }
    server.owe(owedDescribe);
    server.toServer.writeOwned(describeStatementMessage(statement.serverName));
    return Verdict.Drop;
  }

  #onClose(bytes: Buffer, start: number, end: number): Verdict {
    const parts = readTarget(bytes, start, end);
    if (parts === undefined) return this.#violation('bad packet', 'Close cannot be read');
    const server = this.server;
    if (server?.ignoring) return Verdict.Drop;
    if (parts.target === Target.Portal || this.#transparent) return this.#forward(owedClose);
    if (parts.nameStart === parts.nameEnd) {
      const previous = this.unnamed;
      this.unnamed = undefined;
      this.#answerClose(previous === undefined ? undefined : { kind: 'unnamed', previous });
      return Verdict.Drop;
    }
    // The server keeps it for the next client with the same statement.
    const name = nameOf(bytes, parts.nameStart, parts.nameEnd);
    const statement = this.statements.take(name);
    this.#answerClose(statement === undefined ? undefined : { kind: 'client-close', name, statement });
    return Verdict.Drop;
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
  #refuse(server: ServerChannel, error: ErrorFields): Verdict {
    this.emitBefore();
    server.owe(owedProvoked(errorResponse(error)));
    server.unnamed = undefined;
    server.toServer.writeOwned(parseMessage('', provocation));
    return Verdict.Drop;
  }

  #violation(message: string, detail: string, hint?: string): Verdict {
    this.#terminated = true;
    this.#host.onViolation({ severity: 'FATAL', sqlstate: '08P01', message, detail, hint });
    return Verdict.Drop;
  }
}

/** Longest text that is looked at for being a DISCARD ALL. */
const forgettingBytesMax = 40;
const forgetting = /^\s*(discard\s+all|deallocate\s+(prepare\s+)?all)\s*;?\s*$/i;

/** Whether a Query takes all statements with it; one that hides it in comments is noticed by its answer. */
function forgetsStatements(bytes: Buffer, start: number, end: number): boolean {
  if (end - start > forgettingBytesMax) return false;
  const first = bytes[start] as number;
  if (first > 0x20 && first !== 0x44 && first !== 0x64) return false;
  return forgetting.test(bytes.toString('latin1', start, end - 1)); // cold: short texts that begin with a d
}

const emptyBody: Buffer = Buffer.alloc(0);

/** A statement's name as a key; latin1, so that every byte counts. Where one is prepared or closed, not where it is used. */
function nameOf(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('latin1', start, end); // cold: once per Parse or Close of a named statement
}

/** A name for people. */
function printable(name: string): string {
  return Buffer.from(name, 'latin1').toString(); // cold: error texts
}

function unknownStatement(name: string): ErrorFields {
  return {
    severity: 'ERROR',
    sqlstate: '26000',
    message:
      name === ''
        ? 'unnamed prepared statement does not exist'
        : `prepared statement "${printable(name)}" does not exist`,
  };
}
