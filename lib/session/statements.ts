// Prepared statements of clients: what each has parsed, and the texts and versions that those of all clients have in common.

import { randomBytes } from 'node:crypto';
import { assert } from '../util/index.js';
import type { Footprint } from './footprint.js';

/** What PostgreSQL made of a text when it was parsed: the types of its parameters, and the columns of its rows. */
export class Version {
  /** Equal for those that are the same. */
  readonly key: string;
  /** All its types as a Parse has them, none left open: what PostgreSQL itself goes by when it analyses a statement anew. */
  readonly types: Buffer;

  constructor(key: string, types: Buffer) {
    this.key = key;
    this.types = types;
  }
}

/** Versions of one text that are told apart by identity; an older one costs its next user a look at its server. */
const versionsMax = 16;

/**
 * How PostgreSQL keeps a statement. What it analyses it analyses again after a change of the schema, and refuses where the
 * columns are others; what it does not looks up what it names each time it runs; a constant one means the same for ever.
 */
export type Upkeep = 'analysed' | 'looked up' | 'constant';

function upkeepOf({ transaction, facts }: Footprint): Upkeep {
  if (transaction !== undefined) return 'constant';
  const kind = facts?.known === true && facts.kinds.length === 1 ? facts.kinds[0] : undefined;
  return kind === 'execute' || kind === 'fetch' ? 'looked up' : 'analysed';
}

/** A text with the types its clients gave it, and what is known of it: one for all who prepared it under equal settings. */
export class StatementText {
  /** A Parse message's body behind the name: text, terminator and parameter types. */
  readonly body: Buffer;
  /** The settings it was prepared under, as far as they decide what it means: `Settings.parseKey`. */
  readonly context: string;
  /** What it may leave behind in a session each time it is executed. */
  readonly footprint: Footprint;
  readonly upkeep: Upkeep;
  /** Clients' statements and servers that hold it. */
  holders = 0;
  /** Some server of the pool has prepared it: a client's Parse needs no server of its own to be answered. */
  proven = false;
  /** Where nothing about it can change: the one statement of all its clients. */
  constant: Statement | undefined;
  #versions: Map<string, Version> | undefined;

  constructor(body: Buffer, footprint: Footprint, context = '', upkeep = upkeepOf(footprint)) {
    this.body = body;
    this.footprint = footprint;
    this.context = context;
    this.upkeep = upkeep;
  }

  /** The version with these types and columns. @param columns a digest of them */
  version(types: Buffer, columns: string): Version {
    this.#versions ??= new Map();
    const key = `${types.toString('latin1')}${columns}`; // cold: once per Parse that a server is sent
    let version = this.#versions.get(key);
    if (version === undefined) {
      version = new Version(key, Buffer.from(types));
      const [oldest] = this.#versions.keys();
      if (this.#versions.size >= versionsMax && oldest !== undefined) this.#versions.delete(oldest);
      this.#versions.set(key, version);
    }
    return version;
  }

  /** The version that no server has to tell: of a text that is not analysed. */
  get declared(): Version {
    return this.version(this.body.subarray(this.body.indexOf(0) + 1), '');
  }

  /** The body of a Parse that must come to this version, if it can. */
  bodyOf({ types }: Version): Buffer {
    return Buffer.concat([this.body.subarray(0, this.body.indexOf(0) + 1), types]); // cold: once per server and statement
  }
}

/** A statement as one client has parsed it. */
export class Statement {
  /** Another one once it has been parsed again under other settings: see `StatementRegistry.rehome`. */
  text: StatementText;
  readonly body: Buffer;
  readonly footprint: Footprint;
  /** What the client sent, where another text goes to servers in its place. */
  readonly clientText: Buffer | undefined;
  /** When the client parsed it, by `StatementRegistry.tick`: what a server parsed before is older. */
  parsedAt: number;
  /** What PostgreSQL made of it then; undefined until a server has really parsed it. */
  version: Version | undefined;

  constructor(text: StatementText, parsedAt = 0, clientText?: Buffer) {
    this.text = text;
    this.clientText = clientText;
    this.body = text.body;
    this.footprint = text.footprint;
    this.parsedAt = parsedAt;
    if (text.upkeep !== 'analysed') this.version = text.declared;
  }

  /** What the client sent, without the types. */
  get query(): Buffer {
    return this.clientText ?? this.body.subarray(0, Math.max(0, this.body.indexOf(0)));
  }

  /** The types its client gave it. */
  get types(): Buffer {
    return this.body.subarray(this.body.indexOf(0) + 1);
  }

  /** A statement that nobody else has. */
  static own(body: Buffer, footprint: Footprint, upkeep?: Upkeep, clientText?: Buffer): Statement {
    return new Statement(new StatementText(body, footprint, '', upkeep), 0, clientText);
  }
}

function keyOf(body: Buffer, context: string): string {
  return `${context}\0${body.toString('latin1')}`;
}

/** The texts of all named statements that a client or server of one pool holds. Bounded by what they may hold each. */
export class StatementRegistry {
  /** What every name of weir's begins with, and no client's does. */
  readonly prefix: string;
  readonly #byBody = new Map<string, StatementText>();
  #names = 0;
  #ticks = 0;

  /** @param prefix a new one by default: a client must not be able to guess the name of another one's statement */
  constructor(prefix = `weir_${randomBytes(6).toString('hex')}_`) {
    this.prefix = prefix;
  }

  get size(): number {
    return this.#byBody.size;
  }

  /** The order of all Parses, of clients and to servers. */
  tick(): number {
    return ++this.#ticks;
  }

  /** A name that no statement of a server has had. */
  newName(): string {
    return `${this.prefix}${++this.#names}`;
  }

  /**
   * A statement with this body, if some server has prepared the same before in this context.
   * @param which `constant`: only one that means the same for ever
   */
  holdProven(body: Buffer, context: string, which: 'any' | 'constant'): Statement | undefined {
    const text = this.#byBody.get(keyOf(body, context));
    return text?.proven === true && (which === 'any' || text.upkeep === which) ? this.#hold(text) : undefined;
  }

  /** A new statement with this body. Keeps a copy of `body` when it is new. @param clientText of a body that is not the client's */
  hold(body: Buffer, footprintOf: (body: Buffer) => Footprint, context = '', clientText?: Buffer): Statement {
    return this.#hold(this.#textOf(body, footprintOf, context), clientText);
  }

  #textOf(body: Buffer, footprintOf: (body: Buffer) => Footprint, context: string): StatementText {
    const key = keyOf(body, context);
    let text = this.#byBody.get(key);
    if (text === undefined) {
      text = new StatementText(Buffer.from(body), footprintOf(body), context);
      this.#byBody.set(key, text);
    }
    return text;
  }

  /**
   * The statement is about to be parsed again. PostgreSQL then reads its constants, and finds what it names, by the settings of
   * that moment: it is from now on one with those who parse the same text under these, and no more with those of before.
   */
  rehome(statement: Statement, context: string): void {
    const { text } = statement;
    if (text.context === context || text.upkeep === 'constant') return;
    // One that nobody shares is in no list.
    if (this.#byBody.get(keyOf(text.body, text.context)) !== text) return;
    statement.text = this.#textOf(text.body, () => text.footprint, context);
    statement.text.holders++;
    if (text.upkeep !== 'analysed') statement.version = statement.text.declared;
    this.release(text);
  }

  #hold(text: StatementText, clientText?: Buffer): Statement {
    text.holders++;
    if (text.upkeep !== 'constant') return new Statement(text, this.tick(), clientText);
    text.constant ??= new Statement(text);
    return text.constant;
  }

  /** One holder less; nobody left, it is forgotten. */
  release(text: StatementText): void {
    assert(text.holders > 0, 'a statement is released by a holder');
    text.holders--;
    if (text.holders === 0) this.#byBody.delete(keyOf(text.body, text.context));
  }
}

/** The named statements of one client, by its own names. */
export class ClientStatements {
  readonly #registry: StatementRegistry;
  readonly #byName = new Map<string, Statement>();
  /** The name asked for last: most clients use one statement many times. */
  #lastName: Buffer | undefined;
  #last: Statement | undefined;

  constructor(registry: StatementRegistry) {
    this.#registry = registry;
  }

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): Statement | undefined {
    return this.#byName.get(name);
  }

  /** The name asked for last, as `find` was given it. The same object until another one is asked for. */
  get lastName(): Buffer | undefined {
    return this.#lastName;
  }

  names(): Iterable<string> {
    return this.#byName.keys();
  }

  /** By the bytes of its name, from `start` to `end`. */
  find(bytes: Buffer, start: number, end: number): Statement | undefined {
    const last = this.#lastName;
    if (last !== undefined && last.length === end - start && bytes.compare(last, 0, last.length, start, end) === 0) {
      return this.#last;
    }
    const statement = this.#byName.get(bytes.toString('latin1', start, end));
    if (statement !== undefined) {
      this.#lastName = Buffer.from(bytes.subarray(start, end));
      this.#last = statement;
    }
    return statement;
  }

  #forgetLast(): void {
    this.#lastName = undefined;
    this.#last = undefined;
  }

  /** Takes over one hold of the statement, which the caller has. */
  set(name: string, statement: Statement): void {
    assert(!this.#byName.has(name), 'a statement name is free when it is given');
    this.#byName.set(name, statement);
    this.#forgetLast();
  }

  /** Removes the name; its hold goes to the caller until `restore` or `forget`: a Close may yet be undone. */
  take(name: string): Statement | undefined {
    const statement = this.#byName.get(name);
    this.#byName.delete(name);
    this.#forgetLast();
    return statement;
  }

  /** Removes all names; their holds go to the caller until each is restored or forgotten. */
  takeAll(): [name: string, statement: Statement][] {
    const all = [...this.#byName];
    this.#byName.clear();
    this.#forgetLast();
    return all;
  }

  /** The Close was never read: the name is there again. */
  restore(name: string, statement: Statement): void {
    if (this.#byName.has(name)) this.drop(name);
    this.#byName.set(name, statement);
    this.#forgetLast();
  }

  forget(statement: Statement): void {
    this.#registry.release(statement.text);
  }

  drop(name: string): void {
    const statement = this.take(name);
    if (statement !== undefined) this.#registry.release(statement.text);
  }

  clear(kept?: ReadonlySet<string>): void {
    this.#forgetLast();
    for (const [name, statement] of this.#byName) {
      if (kept?.has(name) === true) continue;
      this.#byName.delete(name);
      this.#registry.release(statement.text);
    }
  }
}
