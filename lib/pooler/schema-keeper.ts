// What each pool's database has, read for the policy by a look-up in the pool, and again when it may have changed.

import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { lookUp } from '../client/index.js';
import {
  basesQuery,
  callsQuery,
  columnsQuery,
  functionsQuery,
  pathQuery,
  relationsQuery,
  Schema,
  type SchemaRows,
  usableQuery,
} from '../policy/index.js';
import type { Pool } from '../pool/index.js';
import { inert } from '../session/index.js';
import type { Clock, PoolerError } from '../util/index.js';

/** How long what a database has said holds. */
const holdsMs = 60_000;
/** After a failure. */
const retryMs = 1_000;
/** When it is read again behind a statement that may have changed it: at once, and when its transaction may be over. */
const changeDelaysMs = [100, 2_000] as const;
/** Bytes of the answer to one of the questions. */
const answerBytesMax = 32 * 1024 * 1024;

interface Kept {
  schema: Schema | undefined;
  /** Of what was read: while it stays the same, so does the schema, with all that was decided by it. */
  digest: string;
  /** When what is kept was asked for; nothing that happened since need be in it. */
  askedMs: number;
  error: PoolerError | undefined;
  errorMs: number;
  reading: boolean;
  waiting: (() => void)[];
}

export class SchemaKeeper {
  readonly #kept = new WeakMap<Pool, Kept>();
  /** Of each database, those that have been read. */
  readonly #pools = new Map<string, Set<Pool>>();
  /** Databases that are read again soon, by when: `twice` where they have changed once more since that was decided. */
  readonly #due = new Map<string, 'once' | 'twice'>();
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * What is known now; undefined before the first answer. Asks again where it is old.
   * @param tables whose columns are wanted; undefined: all
   */
  current(pool: Pool, tables: readonly string[] | undefined): Schema | undefined {
    const kept = this.#of(pool);
    const now = this.#clock.now();
    const due = kept.schema === undefined ? kept.errorMs + retryMs : kept.askedMs + holdsMs;
    if (now >= due) this.#read(pool, kept, tables);
    return kept.schema;
  }

  /** How long ago the oldest of what is known was asked for. */
  get ageMs(): number {
    const kept = [...this.#pools.values()].flatMap((pools) => [...pools].map((pool) => this.#of(pool)));
    const asked = kept.filter(({ schema }) => schema !== undefined).map(({ askedMs }) => askedMs);
    return asked.length === 0 ? 0 : this.#clock.now() - Math.min(...asked);
  }

  /** Why there is none. */
  errorOf(pool: Pool): PoolerError | undefined {
    return this.#of(pool).error;
  }

  /** Whether what is known was asked for after that time. */
  isNewer(pool: Pool, ms: number): boolean {
    return this.#of(pool).askedMs > ms;
  }

  /** Reads it, unless it is being read, and calls back when there is an answer, whatever it is. */
  wait(pool: Pool, tables: readonly string[] | undefined, callback: () => void): void {
    const kept = this.#of(pool);
    kept.waiting.push(callback);
    this.#read(pool, kept, tables);
  }

  /**
   * A statement that may change what the database has is sent. A thousand of them have it read as often as a few.
   * @param tables whose columns are wanted by then
   */
  changed(database: string, tables: () => readonly string[] | undefined): void {
    for (const delayMs of changeDelaysMs) this.#readIn(delayMs, database, tables);
  }

  #readIn(delayMs: number, database: string, tables: () => readonly string[] | undefined): void {
    const name = `${delayMs} ${database}`;
    if (this.#due.has(name)) {
      this.#due.set(name, 'twice');
      return;
    }
    this.#due.set(name, 'once');
    setTimeout(() => {
      const isLast = this.#due.get(name) === 'once';
      this.#due.delete(name);
      for (const pool of this.#pools.get(database) ?? []) this.#read(pool, this.#of(pool), tables());
      if (!isLast) this.#readIn(delayMs, database, tables);
    }, delayMs).unref();
  }

  /** The pool is gone. */
  forget(pool: Pool): void {
    const pools = this.#pools.get(pool.database);
    pools?.delete(pool);
    if (pools?.size === 0) this.#pools.delete(pool.database);
  }

  /** Everything is read anew: other columns are wanted. */
  clear(): void {
    for (const pools of this.#pools.values()) for (const pool of pools) this.#kept.delete(pool);
    this.#pools.clear();
  }

  #of(pool: Pool): Kept {
    let kept = this.#kept.get(pool);
    if (kept === undefined) {
      kept = {
        schema: undefined,
        digest: '',
        askedMs: Number.NEGATIVE_INFINITY,
        error: undefined,
        errorMs: Number.NEGATIVE_INFINITY,
        reading: false,
        waiting: [],
      };
      this.#kept.set(pool, kept);
      const pools = this.#pools.get(pool.database) ?? new Set();
      pools.add(pool);
      this.#pools.set(pool.database, pools);
    }
    return kept;
  }

  #read(pool: Pool, kept: Kept, tables: readonly string[] | undefined): void {
    if (kept.reading) return;
    kept.reading = true;
    const askedMs = this.#clock.now();
    readRows(pool, tables).then(
      (rows) => {
        const digest = digestOf(rows);
        if (kept.schema === undefined || kept.digest !== digest) kept.schema = new Schema(rows);
        kept.digest = digest;
        kept.askedMs = askedMs;
        kept.error = undefined;
        this.#answered(kept);
      },
      (error: PoolerError) => {
        if (kept.error === undefined)
          this.#log.warn({ err: error, database: pool.database }, 'the schema could not be read');
        kept.error = error;
        kept.errorMs = this.#clock.now();
        this.#answered(kept);
      },
    );
  }

  #answered(kept: Kept): void {
    kept.reading = false;
    for (const callback of kept.waiting.splice(0)) callback();
  }
}

function digestOf(rows: SchemaRows): string {
  const hash = createHash('sha256');
  for (const part of Object.values(rows)) hash.update(JSON.stringify(part));
  return hash.digest('base64');
}

/** @param tables whose columns are wanted; undefined: all @throws PoolerError */
export async function readSchema(pool: Pool, tables: readonly string[] | undefined): Promise<Schema> {
  return new Schema(await readRows(pool, tables));
}

async function readRows(pool: Pool, tables: readonly string[] | undefined): Promise<SchemaRows> {
  const ask = (sql: string, values: readonly string[] = []): Promise<SchemaRows['path']> =>
    lookUp(pool, sql, values, inert, answerBytesMax);
  // No table's name is empty.
  const wanted = JSON.stringify(tables?.length === 0 ? [''] : (tables ?? []));
  return {
    relations: await ask(relationsQuery),
    bases: await ask(basesQuery),
    calls: await ask(callsQuery),
    columns: await ask(columnsQuery, [wanted]),
    functions: await ask(functionsQuery),
    path: await ask(pathQuery),
    usable: await ask(usableQuery),
  };
}
