// The records of one client: what it asked, in order, until each has been answered.

import { nameChangesMax, type StatementFacts, UNKNOWN } from '../sql/index.js';
import { Ring } from '../util/index.js';
import { JsonLine, writeMembers } from './json-line.js';
import { type Named, type NamedText, Names, NamesMemory, type Naming } from './names.js';
import { writeParameters } from './parameters.js';
import { commentTag, listMember, membersOf, type Run, writeRuns, writeSql } from './statement-text.js';
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
  /** What the prepared statement does that weir keeps for the client under this name, bytes as a latin1 string. */
  preparedAs(name: string): StatementFacts | undefined;
  /** What waited for the disk may go on. */
  goOn(): void;
}

/** What a message runs. */
interface Asked {
  /** A member of the record, behind its comma. */
  readonly protocol: string;
  /** The text lies there from `start` to `end`, for as long as the message is shown. */
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** Its length, where only its beginning is here. */
  readonly total: number;
  readonly facts: StatementFacts;
  readonly decision: Decision | undefined;
  /** The portal it is run by. */
  readonly portal: string;
  readonly named: Named | undefined;
}

/** What the statements of a text name, or end: each is true once its command has ended. */
interface Changes {
  /** Of the text. */
  readonly named: Named;
  /** In the order of `named.facts.names`, once the message is sent; undefined where all names end. */
  readonly namings: (Naming | undefined)[];
}

/** A statement that has been asked for and not answered. */
interface OpenRecord {
  /** What is known from its beginning; nothing where that has been written. */
  readonly head: JsonLine;
  /** Number of the record of its beginning; 0 where there is none, `unrecorded` where there is no record at all. */
  readonly begun: number;
  readonly startedWallMs: number;
  readonly startedMs: number;
  commands: number;
  rows: number;
  sqlstate: string | undefined;
  skipped: boolean;
  readonly changes: Changes | undefined;
}

const noBytes: Buffer = Buffer.alloc(0);
const noHead = new JsonLine(0);
const unrecorded = -1;
/** Of what is not recorded and names nothing: it keeps the place of the answer. */
const silent: OpenRecord = {
  head: noHead,
  begun: unrecorded,
  startedWallMs: 0,
  startedMs: 0,
  commands: 0,
  rows: 0,
  sqlstate: undefined,
  skipped: false,
  changes: undefined,
};
/** Bytes that open records of one client keep: what comes beyond waits until those before have been answered. */
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
  readonly #memory = new NamesMemory();
  /** Cursors are among them. */
  readonly #portals = new Names(this.#memory);
  /** Those that SQL has prepared; all of a session whose statements keep the client's names. */
  readonly #statements = new Names(this.#memory);
  /** Statements asked for that may have run code weir does not see: it may close what has a name and make another of that name. */
  #hiddenRuns = 0;
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

  // What names stand for

  /** A Parse of a session whose statements keep the client's names. @returns undefined where there is no room to keep its text */
  parse(
    name: string,
    bytes: Buffer,
    start: number,
    end: number,
    facts: StatementFacts | undefined,
    batch: number,
  ): Naming | undefined {
    if (!this.#memory.hasRoom(end - start)) return undefined;
    const text = Buffer.from(bytes.subarray(start, end));
    return this.#statements.ask(name, this.#named({ text, facts: facts ?? UNKNOWN }), batch);
  }

  /** The statement of this name, of those that weir does not keep elsewhere. */
  statementAs(name: string): NamedText | undefined {
    const named = this.#statements.find(name);
    return named === undefined ? undefined : { ...named, inDoubt: this.#isInDoubt(name, named) };
  }

  /** Whether answers that have not come decide what a statement's name stands for. */
  isStatementOpen(name: string, batch: number): boolean {
    return this.#statements.isOpen(name, batch);
  }

  /**
   * A Bind that there is room for.
   * @param statement that is bound; undefined where nobody has seen it @param from behind its name
   */
  bind(
    portal: string,
    statement: NamedText | undefined,
    bytes: Buffer,
    from: number,
    end: number,
    decision: Decision | undefined,
    batch: number,
  ): Naming {
    const parameters = this.#parametersOf(bytes, from, end);
    return this.#portals.ask(portal, this.#named({ ...(statement ?? unseenText), parameters, decision }), batch);
  }

  /** Whether the text of a statement can be kept with a portal, and parameters of so many bytes in their Bind. */
  hasRoomToBind(textBytes: number, parameterBytes: number): boolean {
    return this.#memory.hasRoom(textBytes + (this.#trail.policy.parameters === 'none' ? 0 : parameterBytes));
  }

  closePortal(name: string, batch: number): Naming {
    return this.#portals.ask(name, undefined, batch);
  }

  closeStatement(name: string, batch: number): Naming {
    return this.#statements.ask(name, undefined, batch);
  }

  /** The server has done what was asked. */
  took(naming: Naming): void {
    naming.names.took(naming);
  }

  /** It has not. */
  refused(naming: Naming): void {
    naming.names.refused(naming);
  }

  #named(given: Pick<Named, 'text' | 'facts'> & Partial<Named>): Named {
    const { text, facts, query, parameters, decision, inDoubt = false } = given;
    return { text, facts, query, parameters, decision, inDoubt, hiddenRuns: this.#hiddenRuns };
  }

  #isInDoubt(name: string, { inDoubt, hiddenRuns }: Named): boolean {
    // Code cannot open a portal without a name.
    return inDoubt || (name !== '' && hiddenRuns !== this.#hiddenRuns);
  }

  // What is asked

  /** Whether open records are all that one client may have: the answers to them come first. @param textBytes of the next */
  isCrowded(textBytes: number): boolean {
    return this.#openBytes > 0 && this.#openBytes + textBytes > openBytesMax;
  }

  /** The same of an Execute, and whether answers that have not come decide what its portal is. */
  mustWaitFor(portal: string, batch: number): boolean {
    if (this.#pending !== undefined) return false;
    return this.#portals.isOpen(portal, batch) || this.isCrowded(this.#portals.find(portal)?.text.length ?? 0);
  }

  /** Whether what the statements of a text name can be kept. */
  hasRoomFor({ names }: StatementFacts, textBytes: number): boolean {
    if (names.length === 0) return true;
    return names.length < nameChangesMax && this.#memory.hasRoom(names.length * textBytes);
  }

  /** What the Execute of a portal would run. */
  portalAs(name: string): Pick<Named, 'text' | 'facts'> {
    return this.#portals.find(name) ?? unseenText;
  }

  /** @param total the text's length, where only its beginning is here */
  query(
    bytes: Buffer,
    start: number,
    end: number,
    total: number,
    given: StatementFacts | undefined,
    decision: Decision | undefined,
  ): Admission {
    const facts = given ?? UNKNOWN;
    const protocol = ',"protocol":"simple"';
    return this.#ask({ protocol, bytes, start, end, total, facts, decision, portal: '', named: undefined });
  }

  execute(portal: string): Admission {
    return this.#run(portal, this.#portals.find(portal));
  }

  /** The one Execute of a batch that is looked at before it has a server. */
  executeAhead(
    statement: NamedText,
    bytes: Buffer,
    from: number,
    end: number,
    decision: Decision | undefined,
  ): Admission {
    return this.#run('', this.#named({ ...statement, parameters: this.#parametersOf(bytes, from, end), decision }));
  }

  #run(portal: string, named: Named | undefined): Admission {
    const { text: bytes, facts } = named ?? unseenText;
    const { length: end } = bytes;
    const protocol = ',"protocol":"extended"';
    const decision = named?.decision;
    return this.#ask({ protocol, bytes, start: 0, end, total: end, facts, decision, portal, named });
  }

  functionCall(decision: Decision | undefined): Admission {
    const protocol = ',"protocol":"function"';
    const none = { bytes: noBytes, start: 0, end: 0, total: 0, portal: '', named: undefined };
    return this.#ask({ ...none, protocol, facts: UNKNOWN, decision });
  }

  /**
   * The message that was asked about is sent, or one in its place that fails: its answer will come.
   * @param sqlstate what the client is told in place of what the server will say
   * @param batch which of the server's it is sent in
   */
  sent(sqlstate: string | undefined, batch: number): void {
    const record = this.#pending ?? silent;
    this.#pending = undefined;
    if (sqlstate === refusedState) this.#trail.refuse();
    if (sqlstate !== undefined && record !== silent) record.sqlstate = sqlstate;
    if (record.changes !== undefined && sqlstate === undefined) this.#askNames(record.changes, batch);
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

  #askNames({ named, namings }: Changes, batch: number): void {
    for (const { of, name, query } of named.facts.names) {
      const names = of === 'cursor' ? this.#portals : this.#statements;
      const made = query === undefined ? undefined : { ...named, query };
      namings.push(name === null ? undefined : names.ask(latin1(name), made, batch));
    }
  }

  /** What the statement of the text names that has ended, if it does. */
  #tookNames({ named, namings }: Changes, statement: number): void {
    for (const [index, change] of named.facts.names.entries()) {
      if (change.statement !== statement || index >= namings.length) continue;
      const naming = namings[index];
      if (naming !== undefined) naming.names.took(naming);
      else (change.of === 'cursor' ? this.#portals : this.#statements).end('all');
      namings[index] = undefined;
    }
  }

  #refusedNames({ namings }: Changes): void {
    for (const naming of namings.splice(0)) naming?.names.refused(naming);
  }

  #dropPending(sqlstate: string | undefined): void {
    const record = this.#pending;
    this.#pending = undefined;
    if (record === undefined || record.begun === unrecorded) return;
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

  /** Whether what is known to do this is recorded. */
  records(facts: StatementFacts | undefined, decision: Decision | undefined): boolean {
    return this.#trail.selects(facts ?? UNKNOWN, decision);
  }

  /** A statement that weir answers by itself, well or with an error. @param total its length, where only its beginning is here */
  alone(
    bytes: Buffer,
    start: number,
    end: number,
    facts: StatementFacts | undefined,
    sqlstate: string | undefined,
    decision: Decision | undefined,
    total = end - start,
  ): void {
    const known = facts ?? UNKNOWN;
    // It may have been asked about when it was to be sent.
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined && pending.begun !== unrecorded) {
      this.#endAlone(pending, sqlstate);
      return;
    }
    if (!this.#trail.selects(known, decision)) return;
    const asked = { protocol: '', bytes, start, end, total, facts: known, decision, portal: '', named: undefined };
    this.#endAlone(this.#newRecord(this.#headOf(asked), 0, undefined), sqlstate);
  }

  #endAlone(record: OpenRecord, sqlstate: string | undefined): void {
    record.commands = sqlstate === undefined ? 1 : 0;
    record.sqlstate = sqlstate;
    this.#write(record, '');
  }

  // What comes of it

  /** A command of the statement that is being answered has ended. @param start of its tag */
  completed(bytes: Buffer, start: number, end: number): void {
    const record = this.#open.peek();
    if (record === undefined || record === silent) return;
    if (record.changes !== undefined) this.#tookNames(record.changes, record.commands);
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
    if (record.changes !== undefined) this.#refusedNames(record.changes);
    if (record.begun !== unrecorded) this.#write(record, server);
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
    this.#portals.end('not held');
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
      if (record.begun === unrecorded) continue;
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

  #ask(asked: Asked): Admission {
    const trail = this.#trail;
    if (this.#pending !== undefined) return this.#askAgain(this.#pending);
    const { facts, decision } = asked;
    const hides = facts.sessionEffects === 'unknown';
    const inDoubt = asked.named !== undefined && this.#isInDoubt(asked.portal, asked.named);
    if (hides) this.#hiddenRuns++;
    // While it runs nobody closes its own portal.
    if (hides && !inDoubt && asked.named !== undefined) asked.named.hiddenRuns = this.#hiddenRuns;
    const changes = this.#changesOf(asked);
    if (!trail.selects(facts, decision)) return this.#go(this.#unrecorded(changes));
    const { onFull, mode } = trail.policy;
    if (trail.full) {
      if (onFull === 'block') return this.#wait();
      if (onFull === 'refuse') return 'refuse';
      trail.drop();
      return this.#go(this.#unrecorded(changes));
    }
    const head = this.#headOf(asked, inDoubt);
    if (mode === 'after') return this.#go(this.#newRecord(head, 0, changes));
    const line = trail.begin(',"event":"begin"', trail.clock.wallMs());
    if (line === undefined) return this.#go(this.#unrecorded(changes));
    line.line(head);
    this.#keep(head);
    const record = this.#newRecord(noHead, trail.end(), changes);
    this.#pending = record;
    return this.#admit(record) === 'go' ? 'go' : this.#wait();
  }

  /** What SQL has made says itself what it is: the text it was made by is not run again. */
  #changesOf({ facts, bytes, start, end, decision, named }: Asked): Changes | undefined {
    if (facts.names.length === 0 || named?.query !== undefined) return undefined;
    const text = Buffer.from(bytes.subarray(start, end));
    return { named: this.#named({ text, facts, decision }), namings: [] };
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

  #unrecorded(changes: Changes | undefined): OpenRecord {
    return changes === undefined ? silent : this.#newRecord(noHead, unrecorded, changes);
  }

  #newRecord(head: JsonLine, begun: number, changes: Changes | undefined): OpenRecord {
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
      changes,
    };
  }

  #headOf(asked: Asked, inDoubt = false): JsonLine {
    const { protocol, bytes, start, end, total, facts, decision, portal, named } = asked;
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
    if (portal !== '') {
      line.ascii(',"portal":');
      line.latin1(portal);
    }
    const runs = this.#runsOf(facts, named);
    if (runs.length === 0) line.raw(membersOf(facts));
    else writeRuns(line, facts, named?.query === undefined ? [facts, ...runs] : runs);
    writeSql(line, policy.sql, facts, bytes, start, end, total);
    if (inDoubt) line.ascii(',"in_doubt":true');
    if (named?.parameters !== undefined) {
      line.ascii(',"parameters":');
      line.raw(named.parameters);
    }
    line.ascii(',"verdict":"');
    line.ascii(decision?.verdict ?? 'allow');
    line.ascii('"');
    if (decision?.rule !== undefined) writeMembers(line, { rule: decision.rule });
    if (decision?.roles !== undefined) line.raw(listMember('roles', decision.roles));
    this.#writeMasked(line, decision, runs);
    return line;
  }

  #writeMasked(line: JsonLine, decision: Decision | undefined, runs: readonly Run[]): void {
    const own = decision?.masked;
    const others = runs.flatMap(({ masked }) => masked ?? []);
    if (others.length > 0) line.raw(listMember('masked', [...new Set([...(own ?? []), ...others])]));
    else if (own !== undefined && own.length > 0) line.raw(listMember('masked', own));
  }

  /** What is run by a name: of a portal that SQL has made, by EXECUTE, by FETCH. */
  #runsOf(facts: StatementFacts, named: Named | undefined): readonly Run[] {
    const { hazards, fetches } = facts;
    if (named?.query !== undefined) return [runOf(named)];
    if (hazards.length === 0 && fetches.length === 0) return noRuns;
    const runs: Run[] = [];
    for (const name of fetches) {
      const cursor = this.#portals.find(latin1(name));
      if (cursor !== undefined) runs.push(runOf(cursor));
    }
    for (const hazard of hazards) {
      if (hazard.kind !== 'execute') continue;
      const key = latin1(hazard.name);
      const kept = this.#identity.preparedAs(key);
      const statement = this.#statements.find(key);
      if (kept !== undefined) runs.push({ kinds: kept.kinds, tables: kept.tables, masked: undefined });
      if (statement !== undefined) runs.push(runOf(statement));
    }
    return runs;
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

const unseenText: NamedText = { text: noBytes, facts: UNKNOWN, query: undefined, inDoubt: false };
const noRuns: readonly Run[] = [];

function runOf({ facts, query, decision }: Named): Run {
  const masked = decision?.masked;
  if (query === undefined) return { kinds: facts.kinds, tables: facts.tables, masked };
  return { kinds: [query.kind], tables: query.tables, masked };
}

/** Identifiers as the protocol has them: bytes as a latin1 string. */
function latin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
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
