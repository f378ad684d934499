// The records of one client: what it asked, in order, until each has been answered.

import { type StatementFacts, UNKNOWN } from '../sql/index.js';
import { Ring } from '../util/index.js';
import { JsonLine, writeMembers } from './json-line.js';
import { writeParameters } from './parameters.js';
import { commentTag, membersOf, textBytesMax, writeSql } from './statement-text.js';
import type { AuditTrail, AuditWaiter, Decision } from './trail.js';

/** What becomes of a statement as far as the trail is concerned: it goes on, is shown again later, or is refused. */
export type Admission = 'go' | 'wait' | 'refuse';

/** Who a client is. Texts with `now` may change; they are bytes as latin1 strings. */
export interface AuditIdentity {
  readonly user: string;
  readonly database: string;
  /** Its address. */
  readonly client: string;
  readonly certificate: string | undefined;
  /** The same in no other session, of this process or another. */
  readonly session: string;
  readonly roleNow: string;
  readonly applicationNow: string;
  /** What waited for the disk may go on. */
  goOn(): void;
}

/** A statement that has been asked for and not answered. */
interface OpenRecord {
  /** What is known from its beginning; nothing where that has been written. */
  readonly head: JsonLine;
  /** Number of the record of its beginning; 0 where there is none. */
  readonly begun: number;
  readonly startedWallMs: number;
  readonly startedMs: number;
  commands: number;
  rows: number;
  sqlstate: string | undefined;
  skipped: boolean;
}

/** What a portal runs. */
interface Portal {
  readonly text: Buffer | undefined;
  readonly facts: StatementFacts;
  /** JSON; undefined where none are recorded. */
  readonly parameters: Buffer | undefined;
  /** What the policy said when it was bound. */
  readonly decision: Decision | undefined;
}

/** Texts a client has prepared by its own names, where weir does not keep them anyway. */
interface Prepared {
  readonly text: Buffer;
  readonly facts: StatementFacts;
}

const noBytes: Buffer = Buffer.alloc(0);
const noHead = new JsonLine(0);
const unknownPortal: Portal = { text: undefined, facts: UNKNOWN, parameters: undefined, decision: undefined };
/** Of what is not recorded: it keeps the place of the answer. */
const silent: OpenRecord = {
  head: noHead,
  begun: -1,
  startedWallMs: 0,
  startedMs: 0,
  commands: 0,
  rows: 0,
  sqlstate: undefined,
  skipped: false,
};
/** Named portals and prepared texts remembered for one client; what is beyond is recorded without its text. */
const namesMax = 500;
const preparedBytesMax = 1024 * 1024;
/** What open records of one client may keep of their texts; beyond it they are recorded without. */
const openBytesMax = 256 * 1024;
const refusedState = '53100';
const headBytes = 512;
/** A client keeps the memory of one head for the next, unless it has become longer. */
const keptHeadBytesMax = 2048;

export class ClientAuditor implements AuditWaiter {
  readonly #trail: AuditTrail;
  readonly #identity: AuditIdentity;
  /** Bytes of answers that went to the client; counted by whoever sends them. */
  bytesSent = 0;
  #bytesTold = 0;
  /** In the order they were sent. */
  readonly #open = new Ring<OpenRecord>(2);
  #openBytes = 0;
  /** Of the message that is to be sent next. */
  #pending: OpenRecord | undefined;
  #waiting = false;
  #unnamed: Portal = unknownPortal;
  readonly #portals = new Map<string, Portal>();
  readonly #prepared = new Map<string, Prepared>();
  #preparedBytes = 0;
  /** Memory of a record that has been written. */
  #spareHead: JsonLine | undefined;
  /** Members that say who it is, with the texts that may change. */
  #who: Buffer = noBytes;
  /** What stands for the end user where no statement says who that is. */
  #anyEndUser: Buffer = noBytes;
  #role = '';
  #application = '';
  #transaction = 1;
  #usedTransaction = false;

  constructor(trail: AuditTrail, identity: AuditIdentity) {
    this.#trail = trail;
    this.#identity = identity;
  }

  /** Whether a message of the client is held back. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /** Whether nothing has been asked that is not answered. */
  get idle(): boolean {
    return this.#open.length === 0 && this.#pending === undefined && !this.#waiting;
  }

  // What is asked

  /** @param total the text's length, where only its beginning is here */
  query(
    bytes: Buffer,
    start: number,
    end: number,
    total: number,
    facts: StatementFacts | undefined,
    decision: Decision | undefined,
  ): Admission {
    return this.#ask(',"protocol":"simple"', bytes, start, end, total, facts ?? UNKNOWN, undefined, decision);
  }

  /** A Parse in a session whose statements weir does not keep. */
  parse(name: string, bytes: Buffer, start: number, end: number, facts: StatementFacts | undefined): void {
    const before = this.#prepared.get(name);
    if (before !== undefined) this.#preparedBytes -= before.text.length;
    this.#prepared.delete(name);
    const length = Math.min(end - start, textBytesMax);
    if (this.#prepared.size >= namesMax || this.#preparedBytes + length > preparedBytesMax) return;
    this.#preparedBytes += length;
    const text = Buffer.from(bytes.subarray(start, start + length));
    this.#prepared.set(name, { text, facts: facts ?? UNKNOWN });
  }

  /** A Bind of a statement that `parse` was told. @param from behind the statement's name */
  bindPrepared(
    portal: string,
    name: string,
    bytes: Buffer,
    from: number,
    end: number,
    decision: Decision | undefined,
  ): void {
    const prepared = this.#prepared.get(name);
    this.bind(portal, prepared?.text, prepared?.facts, bytes, from, end, decision);
  }

  /** @param text of the statement that is bound; what follows a zero is not looked at @param from behind its name */
  bind(
    portal: string,
    text: Buffer | undefined,
    facts: StatementFacts | undefined,
    bytes: Buffer,
    from: number,
    end: number,
    decision: Decision | undefined,
  ): void {
    // Fed once more, it is what the pending record already tells.
    if (this.#pending !== undefined) return;
    const made = { text, facts: facts ?? UNKNOWN, parameters: this.#parametersOf(bytes, from, end), decision };
    if (portal === '') this.#unnamed = made;
    else if (this.#portals.size < namesMax || this.#portals.has(portal)) this.#portals.set(portal, made);
  }

  execute(portal: string): Admission {
    const bound = portal === '' ? this.#unnamed : (this.#portals.get(portal) ?? unknownPortal);
    const { text, facts, parameters, decision } = bound;
    const bytes = text ?? noBytes;
    const zero = bytes.indexOf(0);
    const end = zero < 0 ? bytes.length : zero;
    return this.#ask(',"protocol":"extended"', bytes, 0, end, end, facts, parameters, decision);
  }

  functionCall(decision: Decision | undefined): Admission {
    return this.#ask(',"protocol":"function"', noBytes, 0, 0, 0, UNKNOWN, undefined, decision);
  }

  /**
   * The message that was asked about is sent, or one in its place that fails: its answer will come.
   * @param sqlstate what the client is told in place of what the server will say
   */
  sent(sqlstate: string | undefined): void {
    const record = this.#pending ?? silent;
    this.#pending = undefined;
    if (sqlstate === refusedState) this.#trail.refuse();
    if (sqlstate !== undefined && record !== silent) record.sqlstate = sqlstate;
    this.#openBytes += record.head.length;
    this.#open.push(record);
  }

  /** It goes nowhere. @param sqlstate what the client is told */
  unsent(sqlstate: string | undefined): void {
    this.#waiting = false;
    this.#trail.leave(this);
    if (sqlstate === refusedState) this.#trail.refuse();
    this.#dropPending(sqlstate);
  }

  #dropPending(sqlstate: string | undefined): void {
    const record = this.#pending;
    this.#pending = undefined;
    if (record === undefined || record === silent) return;
    record.sqlstate = sqlstate ?? record.sqlstate;
    record.skipped = true;
    this.#write(record, '');
  }

  /** What was sent has to be sent once more, and was not answered. */
  takeBack(): void {
    const record = this.#open.shift();
    if (record === undefined) return;
    this.#openBytes -= record.head.length;
    this.#pending = record;
    record.commands = 0;
    record.rows = 0;
  }

  /** A statement that weir answers by itself, well or with an error. */
  alone(
    bytes: Buffer,
    start: number,
    end: number,
    facts: StatementFacts | undefined,
    sqlstate: string | undefined,
    decision: Decision | undefined,
  ): void {
    const known = facts ?? UNKNOWN;
    if (!this.#trail.selects(known, decision)) return;
    const head = this.#headOf('', bytes, start, end, end - start, known, undefined, decision);
    const record = this.#newRecord(head, 0);
    record.commands = sqlstate === undefined ? 1 : 0;
    record.sqlstate = sqlstate;
    this.#write(record, '');
  }

  // What comes of it

  /** A command of the statement that is being answered has ended. @param start of its tag */
  completed(bytes: Buffer, start: number, end: number): void {
    const record = this.#open.peek();
    if (record === undefined || record === silent) return;
    record.commands++;
    record.rows += rowsOf(bytes, start, end);
  }

  failed(sqlstate: string): void {
    // What is about to be sent will be overlooked, unless its batch is another one.
    const record = this.#open.peek() ?? this.#pending;
    if (record !== undefined && record !== silent) record.sqlstate ??= sqlstate;
  }

  /** The statement has been answered. @param server where */
  ended(server: string): void {
    const record = this.#open.shift();
    if (record === undefined || record === silent) return;
    this.#openBytes -= record.head.length;
    this.#write(record, server);
  }

  /** An error before it made the server overlook it. */
  skipped(server: string): void {
    const record = this.#open.peek();
    if (record !== undefined && record !== silent) record.skipped = true;
    this.ended(server);
  }

  /** The client is told that it may go on. @param idle it is in no transaction */
  ready(idle: boolean): void {
    this.#bytesTold = this.bytesSent;
    if (this.#pending !== undefined && this.#pending !== silent) this.#pending.sqlstate = undefined;
    if (!idle) return;
    if (this.#usedTransaction) this.#transaction++;
    this.#usedTransaction = false;
    if (this.#portals.size > 0) this.#portals.clear();
  }

  // The connection

  /** It is logged in. */
  connected(): void {
    const line = this.#begin('connect');
    if (line !== undefined) this.#trail.end();
  }

  /** It is gone; what it had asked for has no answer. @param sqlstate why, where it was told */
  close(reason: string, sqlstate: string | undefined): void {
    this.unsent(sqlstate);
    for (let record = this.#open.shift(); record !== undefined; record = this.#open.shift()) {
      if (record === silent) continue;
      record.sqlstate ??= sqlstate;
      this.#write(record, '', 'unfinished');
    }
    const line = this.#begin('disconnect');
    if (line === undefined) return;
    writeMembers(line, { reason, sqlstate });
    this.#trail.end();
  }

  // What waits for the disk

  get mayGoOn(): boolean {
    const record = this.#pending;
    if (record !== undefined) return this.#admit(record) !== 'wait';
    return !this.#trail.full || this.#trail.policy.onFull !== 'block';
  }

  goOn(): void {
    this.#waiting = false;
    this.#identity.goOn();
  }

  #wait(): Admission {
    this.#waiting = true;
    this.#trail.wait(this);
    return 'wait';
  }

  #ask(
    protocol: string,
    bytes: Buffer,
    start: number,
    end: number,
    total: number,
    facts: StatementFacts,
    parameters: Buffer | undefined,
    decision: Decision | undefined,
  ): Admission {
    const trail = this.#trail;
    if (this.#pending !== undefined) return this.#askAgain(this.#pending);
    if (!trail.selects(facts, decision)) return this.#go(silent);
    const { onFull, mode } = trail.policy;
    if (trail.full) {
      if (onFull === 'block') return this.#wait();
      if (onFull === 'refuse') return 'refuse';
      trail.drop();
      return this.#go(silent);
    }
    const head = this.#headOf(protocol, bytes, start, end, total, facts, parameters, decision);
    if (mode === 'after') return this.#go(this.#newRecord(head, 0));
    const line = trail.begin(',"event":"begin"', trail.clock.wallMs());
    if (line === undefined) return this.#go(silent);
    line.line(head);
    this.#keep(head);
    const record = this.#newRecord(noHead, trail.end());
    this.#pending = record;
    return this.#admit(record) === 'go' ? 'go' : this.#wait();
  }

  #go(record: OpenRecord): Admission {
    this.#pending = record;
    return 'go';
  }

  #askAgain(record: OpenRecord): Admission {
    const admission = this.#admit(record);
    if (admission === 'wait') return this.#wait();
    if (admission === 'refuse') this.#dropPending(refusedState);
    return admission;
  }

  #admit({ begun }: OpenRecord): Admission {
    const trail = this.#trail;
    if (begun <= trail.durable || !trail.failing) return begun <= trail.durable ? 'go' : 'wait';
    const { onFull } = trail.policy;
    if (onFull === 'block') return 'wait';
    return onFull === 'drop' ? 'go' : 'refuse';
  }

  // Records

  #newRecord(head: JsonLine, begun: number): OpenRecord {
    const { clock } = this.#trail;
    return {
      head,
      begun,
      startedWallMs: clock.wallMs(),
      startedMs: clock.now(),
      commands: 0,
      rows: 0,
      sqlstate: undefined,
      skipped: false,
    };
  }

  #headOf(
    protocol: string,
    bytes: Buffer,
    start: number,
    end: number,
    total: number,
    facts: StatementFacts,
    parameters: Buffer | undefined,
    decision: Decision | undefined,
  ): JsonLine {
    const { policy } = this.#trail;
    const line = this.#spareHead ?? new JsonLine(headBytes);
    this.#spareHead = undefined;
    line.length = 0;
    this.#writeWho(line);
    line.ascii(',"end_user":');
    const tag = commentTag(bytes, start, end, policy.userTag);
    if (tag === undefined) line.raw(this.#anyEndUser);
    else line.string(tag);
    line.ascii(protocol);
    line.raw(membersOf(facts));
    const room = Math.max(0, Math.min(textBytesMax, openBytesMax - this.#openBytes));
    writeSql(line, policy.sql, facts, bytes, start, end, total, room);
    if (parameters !== undefined) {
      line.ascii(',"parameters":');
      line.raw(parameters);
    }
    line.ascii(',"verdict":"');
    line.ascii(decision?.verdict ?? 'allow');
    line.ascii('"');
    if (decision?.rule !== undefined) writeMembers(line, { rule: decision.rule });
    return line;
  }

  /** Its memory serves the next record. */
  #keep(head: JsonLine): void {
    if (head !== noHead && head.bytes.length <= keptHeadBytesMax) this.#spareHead = head;
  }

  #parametersOf(bytes: Buffer, from: number, end: number): Buffer | undefined {
    const form = this.#trail.policy.parameters;
    if (form === 'none') return undefined;
    const line = new JsonLine(headBytes);
    writeParameters(line, form, bytes, from, end);
    return line.bytes.subarray(0, line.length);
  }

  #writeWho(line: JsonLine): void {
    const { roleNow, applicationNow } = this.#identity;
    if (this.#who.length === 0 || roleNow !== this.#role || applicationNow !== this.#application) {
      this.#role = roleNow;
      this.#application = applicationNow;
      this.#who = this.#encodeWho();
      const endUser = new JsonLine(headBytes);
      endUser.latin1(this.#application);
      this.#anyEndUser = endUser.copy();
    }
    line.raw(this.#who);
  }

  #encodeWho(): Buffer {
    const { session, user, database, client, certificate } = this.#identity;
    const line = new JsonLine(512);
    writeMembers(line, { session, user, database });
    line.ascii(',"role":');
    line.latin1(this.#role);
    line.ascii(',"application":');
    line.latin1(this.#application);
    writeMembers(line, { client, certificate });
    return line.copy();
  }

  /** A record of the connection. */
  #begin(event: string): JsonLine | undefined {
    const line = this.#trail.begin(`,"event":"${event}"`, this.#trail.clock.wallMs());
    if (line !== undefined) this.#writeWho(line);
    return line;
  }

  #write(record: OpenRecord, server: string, how?: 'unfinished'): void {
    const trail = this.#trail;
    const { head, begun, startedWallMs, startedMs } = record;
    const bytes = this.bytesSent - this.#bytesTold;
    this.#bytesTold = this.bytesSent;
    this.#usedTransaction = true;
    const alone = begun === 0;
    const line = trail.begin(
      alone ? ',"event":"statement"' : ',"event":"end"',
      alone ? startedWallMs : trail.clock.wallMs(),
    );
    if (line === undefined) return;
    if (alone) {
      line.line(head);
      this.#keep(head);
    } else {
      line.ascii(',"begin":');
      line.integer(begun);
      line.ascii(',"session":');
      line.string(this.#identity.session);
    }
    line.ascii(',"transaction":');
    line.integer(this.#transaction);
    line.ascii(',"commands":');
    line.integer(record.commands);
    line.ascii(',"rows":');
    line.integer(record.rows);
    line.ascii(',"bytes":');
    line.integer(bytes);
    line.ascii(',"duration_us":');
    line.integer(Math.max(0, Math.round((trail.clock.now() - startedMs) * 1_000)));
    if (record.sqlstate !== undefined) writeMembers(line, { sqlstate: record.sqlstate });
    if (record.skipped) line.ascii(',"skipped":true');
    if (how !== undefined) line.ascii(`,"${how}":true`);
    if (server !== '') {
      line.ascii(',"server":"');
      line.ascii(server);
      line.ascii('"');
    }
    trail.end();
  }
}

/** The number a command tag ends with: rows of SELECT, INSERT, COPY and the like; 0 where it ends with none. */
function rowsOf(bytes: Buffer, start: number, end: number): number {
  let rows = 0;
  let power = 1;
  for (let at = end - 1; at >= start; at--) {
    const digit = (bytes[at] as number) - 0x30;
    if (digit < 0 || digit > 9) return bytes[at] === 0x20 ? rows : 0;
    rows += digit * power;
    power *= 10;
  }
  return 0;
}
