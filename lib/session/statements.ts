// Prepared statements: one entry per text and parameter types, shared by all clients, named once, prepared where it runs.

import { randomBytes } from 'node:crypto';
import { assert } from '../util/index.js';
import type { Footprint } from './footprint.js';

/** A statement as a client prepared it. */
export class Statement {
  /** What servers know it by; empty for an unnamed statement. */
  readonly serverName: string;
  /** A Parse message's body behind the name: text, terminator and parameter types. */
  readonly body: Buffer;
  /** The settings it was prepared under, as far as they decide what it means: `Settings.parseKey`. */
  readonly context: string;
  /** What it may leave behind in a session each time it is executed. */
  readonly footprint: Footprint;
  /** Clients and servers that hold it. */
  holders = 0;
  /** Raised when a server says that it does not fit its tables any more: what was prepared before is prepared anew. */
  epoch = 0;
  /** Some server of the pool has prepared it: a client's Parse needs no server of its own to be answered. */
  proven = false;

  constructor(serverName: string, body: Buffer, footprint: Footprint, context = '') {
    this.serverName = serverName;
    this.body = body;
    this.footprint = footprint;
    this.context = context;
  }
}

function keyOf(body: Buffer, context: string): string {
  return `${context}\0${body.toString('latin1')}`;
}

/** All named statements that a client or server of one pool holds. Bounded by what they may hold each. */
export class StatementRegistry {
  /** What every name of weir's begins with, and no client's does. */
  readonly prefix: string;
  readonly #byBody = new Map<string, Statement>();
  #nextId = 1;

  /** @param prefix a new one by default: a client must not be able to guess the name of another one's statement */
  constructor(prefix = `weir_${randomBytes(6).toString('hex')}_`) {
    this.prefix = prefix;
  }

  get size(): number {
    return this.#byBody.size;
  }

  /** The statement with this body, prepared in this context, if some server has prepared it. */
  findProven(body: Buffer, context = ''): Statement | undefined {
    const statement = this.#byBody.get(keyOf(body, context));
    return statement?.proven === true ? statement : undefined;
  }

  /** The statement with this body, one holder more. Keeps a copy of `body` when it is new. */
  hold(body: Buffer, footprintOf: (body: Buffer) => Footprint, context = ''): Statement {
    const key = keyOf(body, context);
    let statement = this.#byBody.get(key);
    if (statement === undefined) {
      statement = new Statement(`${this.prefix}${this.#nextId++}`, Buffer.from(body), footprintOf(body), context);
      this.#byBody.set(key, statement);
    }
    statement.holders++;
    return statement;
  }

  /** One holder less; nobody left, it is forgotten. */
  release(statement: Statement): void {
    assert(statement.holders > 0, 'a statement is released by a holder');
    statement.holders--;
    if (statement.holders === 0) this.#byBody.delete(keyOf(statement.body, statement.context));
  }
}

/** How a statement stands on one server. */
export interface Held {
  /** Of the statement when it was prepared. */
  readonly epoch: number;
  /** The batch its Parse was sent in, until the server has answered that. */
  batch: number | undefined;
}

/** A statement taken out to be closed, as it stood. */
export interface Taken {
  readonly statement: Statement;
  readonly held: Held;
}

/** The named statements prepared on one server, least recently used first once it is full. */
export class ServerStatements {
  readonly #registry: StatementRegistry;
  readonly #held = new Map<Statement, Held>();
  /** Most statements kept on the server. */
  max: number;

  constructor(registry: StatementRegistry, max: number) {
    this.#registry = registry;
    this.max = max;
  }

  get size(): number {
    return this.#held.size;
  }

  /** What the names of all of them begin with. */
  get prefix(): string {
    return this.#registry.prefix;
  }

  /** How many the server is sure to have. */
  get certain(): number {
    let count = 0;
    for (const { batch } of this.#held.values()) if (batch === undefined) count++;
    return count;
  }

  /**
   * Whether the server has it, as it is to be; marks it as used. A Parse in an earlier batch counts only when it has been
   * answered, an error before it may have made the server skip it, unless `any` does.
   */
  use(statement: Statement, batch: number | 'any'): boolean {
    const held = this.#held.get(statement);
    if (held === undefined || held.epoch !== statement.epoch) return false;
    if (held.batch !== undefined && held.batch !== batch && batch !== 'any') return false;
    if (this.#held.size >= this.max) {
      this.#held.delete(statement);
      this.#held.set(statement, held);
    }
    return true;
  }

  /** Whether the server may have it, but not for certain as it is to be: it must be closed before it is prepared. */
  isDoubtful(statement: Statement): boolean {
    return this.#held.has(statement);
  }

  /** The server says that the statement does not fit its tables any more. */
  outdate(statement: Statement): void {
    if (this.#held.get(statement)?.epoch === statement.epoch) statement.epoch++;
  }

  /** Records that the server is told to prepare it. */
  add(statement: Statement, batch: number): void {
    if (!this.#held.has(statement)) statement.holders++;
    this.#held.set(statement, { epoch: statement.epoch, batch });
  }

  /** The server has prepared it. */
  confirm(statement: Statement): void {
    const held = this.#held.get(statement);
    if (held !== undefined) held.batch = undefined;
  }

  /** The server has skipped the Parse sent in this batch. */
  skipped(statement: Statement, batch: number): void {
    // A later batch that is on its way may have it prepared all the same.
    if (this.#held.get(statement)?.batch === batch) this.remove(statement);
  }

  remove(statement: Statement): void {
    if (this.#held.delete(statement)) this.#registry.release(statement);
  }

  /** Takes out the one to close before another is prepared, or answers `undefined` while there is room; its hold goes to the caller. */
  takeSurplus(): Taken | undefined {
    if (this.#held.size < this.max) return undefined;
    for (const [statement, held] of this.#held) {
      this.#held.delete(statement);
      return { statement, held };
    }
    return undefined;
  }

  /** Takes out all of them, to be closed; their holds go to the caller. */
  takeAll(): Taken[] {
    const all = [...this.#held].map(([statement, held]) => ({ statement, held }));
    this.#held.clear();
    return all;
  }

  /** The Close of one taken out was never read: it is there as it was, with the caller's hold. */
  restore({ statement, held }: Taken): void {
    if (this.#held.has(statement)) this.#registry.release(statement);
    else this.#held.set(statement, held);
  }

  /** The Close of one taken out was read: the caller's hold ends. */
  forget(statement: Statement): void {
    this.#registry.release(statement);
  }

  /** After DISCARD ALL, DEALLOCATE ALL or the server's end. */
  clear(kept?: ReadonlySet<Statement>): void {
    for (const statement of this.#held.keys()) {
      if (kept?.has(statement) === true) continue;
      this.#held.delete(statement);
      this.#registry.release(statement);
    }
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
    this.#registry.release(statement);
  }

  drop(name: string): void {
    const statement = this.take(name);
    if (statement !== undefined) this.#registry.release(statement);
  }

  clear(kept?: ReadonlySet<string>): void {
    this.#forgetLast();
    for (const [name, statement] of this.#byName) {
      if (kept?.has(name) === true) continue;
      this.#byName.delete(name);
      this.#registry.release(statement);
    }
  }
}
