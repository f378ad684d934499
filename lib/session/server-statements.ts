// The named statements prepared on one server: under which names, when, and as which version.

import type { Statement, StatementRegistry, StatementText, Version } from './statements.js';

/** A statement as it stands on a server, or is on its way there. */
export class Placed {
  readonly name: string;
  readonly text: StatementText;
  /** Whose Parse it was. */
  readonly statement: Statement;
  /** Of whose statement it must turn out to be the version; undefined where it is the statement's own, first Parse. */
  readonly expected: Version | undefined;
  /** When it was parsed there, by `StatementRegistry.tick`. */
  readonly parsedAt: number;
  /** The batch its Parse was sent in, until the server has answered that; -1 where it may have been taken away since. */
  batch: number | undefined;
  /** What the server has made of it, once it has said so. */
  version: Version | undefined;
  /** The client's own Parse: where that fails, what is sent behind it has to fail as well. */
  readonly by: 'client' | 'weir';
  /** It never came to be. */
  skipped = false;

  constructor(
    name: string,
    statement: Statement,
    parsedAt: number,
    options: { readonly expected?: Version | undefined; readonly batch?: number; readonly by?: 'client' | 'weir' } = {},
  ) {
    this.name = name;
    this.text = statement.text;
    this.statement = statement;
    this.expected = options.expected;
    this.parsedAt = parsedAt;
    this.batch = options.batch;
    this.by = options.by ?? 'weir';
  }

  /** Whether it has turned out to be what it was expected to be; undefined while that is not known. */
  get isExpected(): boolean | undefined {
    if (this.skipped) return false;
    return this.version === undefined ? undefined : this.version.key === this.expected?.key;
  }
}

/** Least recently used first once it is full. */
export class ServerStatements {
  readonly #registry: StatementRegistry;
  readonly #byVersion = new Map<Version, Placed>();
  /** What has been sent and is not known yet: first Parses by their statements, others by the version they must come to. */
  readonly #first = new Map<Statement, Placed>();
  readonly #again = new Map<Version, Placed>();
  /** Nobody uses them any more: closed before the next one is prepared. Not all of them need be there. */
  readonly #surplus = new Set<Placed>();
  /** Most statements kept on the server. */
  max: number;

  constructor(registry: StatementRegistry, max: number) {
    this.#registry = registry;
    this.max = max;
  }

  get size(): number {
    return this.#byVersion.size + this.#first.size + this.#again.size + this.#surplus.size;
  }

  /** What the names of all of them begin with. */
  get prefix(): string {
    return this.#registry.prefix;
  }

  tick(): number {
    return this.#registry.tick();
  }

  /** How many the server is sure to have. */
  get certain(): number {
    let count = 0;
    for (const placed of this.#all()) if (placed.batch === undefined) count++;
    return count;
  }

  *#all(): Iterable<Placed> {
    yield* this.#byVersion.values();
    yield* this.#first.values();
    yield* this.#again.values();
    yield* this.#surplus;
  }

  /**
   * The statement as the server has it, parsed no earlier than by its client; marks it as used. A Parse in an earlier batch
   * counts only when it has been answered, an error before it may have made the server skip it, unless `any` does.
   */
  use(statement: Statement, batch: number | 'any'): Placed | undefined {
    const { version } = statement;
    const placed = version === undefined ? this.#first.get(statement) : this.#byVersion.get(version);
    if (placed === undefined || placed.parsedAt < statement.parsedAt) return undefined;
    if (placed.batch !== undefined && placed.batch !== batch && batch !== 'any') return undefined;
    if (version !== undefined && this.size >= this.max) {
      this.#byVersion.delete(version);
      this.#byVersion.set(version, placed);
    }
    return placed;
  }

  /** Its first Parse, if that is on its way. */
  sentFirst(statement: Statement): Placed | undefined {
    return this.#first.get(statement);
  }

  /** A Parse that must come to the statement's version, if one is on its way. */
  sentAgain({ version, parsedAt }: Statement): Placed | undefined {
    const placed = version === undefined ? undefined : this.#again.get(version);
    return placed === undefined || placed.parsedAt < parsedAt ? undefined : placed;
  }

  /** A place for the statement, on its way in this batch: to be what PostgreSQL makes of it, or again as the version it has. */
  place(statement: Statement, batch: number, by: 'client' | 'weir' = 'weir', name = this.#registry.newName()): Placed {
    const { text, version } = statement;
    const placed = new Placed(name, statement, this.#registry.tick(), { expected: version, batch, by });
    text.holders++;
    if (version === undefined) {
      this.#drop(this.#first.get(statement));
      this.#first.set(statement, placed);
    } else if (text.upkeep === 'analysed') {
      this.#drop(this.#again.get(version));
      this.#again.set(version, placed);
    } else this.#settle(placed, version);
    return placed;
  }

  /** The server has said what it is. */
  learned(placed: Placed, version: Version): void {
    placed.version = version;
    // One under a client's own name is not among these.
    if (!this.#surplus.has(placed) && this.#takeOut(placed, undefined)) this.#settle(placed, version);
  }

  #settle(placed: Placed, version: Version): void {
    placed.version = version;
    this.#drop(this.#byVersion.get(version));
    this.#byVersion.set(version, placed);
  }

  /** Nobody is to use it any more. */
  #drop(placed: Placed | undefined): void {
    if (placed === undefined) return;
    this.#remove(placed);
    this.#surplus.add(placed);
  }

  #remove(placed: Placed): boolean {
    return this.#takeOut(placed, placed.version);
  }

  /** @param version under which it is kept, if it is known */
  #takeOut(placed: Placed, version: Version | undefined): boolean {
    const { expected, statement } = placed;
    if (version !== undefined && this.#byVersion.get(version) === placed) return this.#byVersion.delete(version);
    if (expected !== undefined && this.#again.get(expected) === placed) return this.#again.delete(expected);
    if (this.#first.get(statement) === placed) return this.#first.delete(statement);
    return this.#surplus.delete(placed);
  }

  /** The server has answered its Parse. */
  confirm(placed: Placed): void {
    placed.text.proven = true;
    if (placed.batch !== -1) placed.batch = undefined;
  }

  /** The server has skipped its Parse. */
  skipped(placed: Placed): void {
    placed.skipped = true;
    if (this.#remove(placed)) this.#registry.release(placed.text);
  }

  /** Takes out one to close before another is prepared, or answers `undefined` while there is room; its hold goes to the caller. */
  takeSurplus(): Placed | undefined {
    for (const placed of this.#surplus) {
      this.#surplus.delete(placed);
      return placed;
    }
    if (this.size < this.max) return undefined;
    for (const placed of this.#all()) {
      this.#remove(placed);
      return placed;
    }
    return undefined;
  }

  /** Takes out all of them, to be closed; their holds go to the caller. */
  takeAll(): Placed[] {
    const all = [...this.#all()];
    this.#empty();
    return all;
  }

  /** Takes out this one, to be closed; its hold goes to the caller. Answers false where it has been taken before. */
  take(placed: Placed): boolean {
    return this.#remove(placed);
  }

  #empty(): void {
    this.#byVersion.clear();
    this.#first.clear();
    this.#again.clear();
    this.#surplus.clear();
  }

  /** The Close of one taken out was never read: it is there, with the caller's hold, and is closed the next time. */
  restore(placed: Placed): void {
    this.#surplus.add(placed);
  }

  /** The Close of one taken out was read: the caller's hold ends. */
  forget({ text }: { readonly text: StatementText }): void {
    this.#registry.release(text);
  }

  /** A statement is on its way that takes all of them with it, if it succeeds. */
  doubtAll(): void {
    for (const placed of this.takeAll()) {
      placed.batch = -1;
      this.#surplus.add(placed);
    }
  }

  /** It has succeeded. */
  forgetDoubted(): void {
    for (const placed of [...this.#surplus]) if (placed.batch === -1) this.skipped(placed);
  }

  /** After DISCARD ALL, DEALLOCATE ALL or the server's end. */
  clear(kept?: ReadonlySet<Placed>): void {
    for (const placed of [...this.#all()]) {
      if (kept?.has(placed) === true) continue;
      this.#remove(placed);
      this.#registry.release(placed.text);
    }
  }
}
