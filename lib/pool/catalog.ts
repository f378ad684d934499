// What a database has of its own that no statement's text shows: functions with names of PostgreSQL's, relations that may run code.

import { askOnce, type LoggedIn } from '../server/index.js';

/** How long what a server has said holds. */
const readMs = 60_000;
/** Names of plain tables that are remembered. */
const plainMax = 10_000;
/** Names of relations that are remembered; with more, every relation counts as one that may run code. */
const viewsMax = 10_000;

/** C functions are extensions' own. */
const overloadsQuery = `SELECT pg_catalog.json_agg(DISTINCT own.proname) FROM pg_catalog.pg_proc own
  WHERE own.pronamespace OPERATOR(pg_catalog.<>) 11::pg_catalog.oid AND own.prolang OPERATOR(pg_catalog.<>) ALL ('{12,13}'::pg_catalog.oid[])
  AND EXISTS (SELECT FROM pg_catalog.pg_proc built
    WHERE built.pronamespace OPERATOR(pg_catalog.=) 11::pg_catalog.oid AND built.proname OPERATOR(pg_catalog.=) own.proname)`;
/** Of those with names that no lane reads anyway, only pg_catalog's are left out. */
const viewsQuery = `SELECT pg_catalog.json_agg(DISTINCT relname) FROM pg_catalog.pg_class
  WHERE relnamespace OPERATOR(pg_catalog.<>) 11::pg_catalog.oid
  AND (relkind OPERATOR(pg_catalog.=) ANY ('{v,f}'::pg_catalog."char"[]) OR relrowsecurity OR relhasrules)`;

/**
 * Names that stand for nothing but tables, whose rows are read without running code: none where an operator, a cast or a type
 * may run some.
 */
const plainQuery = `WITH own AS (SELECT oid FROM pg_catalog.pg_proc
    WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND prolang OPERATOR(pg_catalog.<>) ALL ('{12,13}'::pg_catalog.oid[])),
  hidden AS (SELECT FROM own WHERE
    oid IN (SELECT oprcode FROM pg_catalog.pg_operator) OR oid IN (SELECT castfunc FROM pg_catalog.pg_cast)
    OR oid IN (SELECT amproc FROM pg_catalog.pg_amproc) OR oid IN (SELECT typinput FROM pg_catalog.pg_type)
    OR oid IN (SELECT typoutput FROM pg_catalog.pg_type)),
  checked AS (SELECT FROM pg_catalog.pg_constraint WHERE contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
    AND conbin::pg_catalog.text OPERATOR(pg_catalog.~) ':funcid (1574|1575|1576|1765|2559|[1-9][0-9]{4,}) ')
  SELECT pg_catalog.json_agg(relname) FROM (SELECT relname FROM pg_catalog.pg_class
    WHERE NOT EXISTS (SELECT FROM hidden) AND NOT EXISTS (SELECT FROM checked)
    GROUP BY relname HAVING pg_catalog.bool_and(oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
      OR (relkind OPERATOR(pg_catalog.=) ANY ('{r,p,S}'::pg_catalog."char"[]) AND NOT relrowsecurity AND NOT relhasrules))
    LIMIT ${plainMax}) plain`;

/** As a new server has said, and as clients' statements have named them since. */
export class Catalog {
  readonly #overloads = new Set<string>();
  readonly #views = new Set<string>();
  #tooManyViews = false;
  #plain: ReadonlySet<string> = new Set();
  #readAtMs: number | undefined;

  /** Asks a server that nobody has yet, if the last one was asked too long ago. @throws ServerRefusal or PoolerError */
  async read(login: LoggedIn, nowMs: number, timeoutMs: number): Promise<void> {
    if (this.#readAtMs !== undefined && nowMs - this.#readAtMs < readMs) return;
    this.#readAtMs = nowMs;
    try {
      const overloads = namesIn(await askOnce(login, overloadsQuery, timeoutMs));
      const views = namesIn(await askOnce(login, viewsQuery, timeoutMs));
      const plain = namesIn(await askOnce(login, plainQuery, timeoutMs));
      this.#overloads.clear();
      this.#views.clear();
      this.#tooManyViews = false;
      this.noteOverloads(overloads);
      this.noteRelations(views);
      this.#plain = new Set(plain);
    } catch (error) {
      this.#readAtMs = undefined;
      throw error;
    }
  }

  /** @param names of pg_catalog's functions, and so not without end */
  noteOverloads(names: readonly string[]): void {
    for (const name of names) this.#overloads.add(name);
  }

  /** Relations that a statement makes or changes, whatever they are. */
  noteRelations(names: readonly string[]): void {
    for (const name of names) {
      if (this.#views.size < viewsMax) this.#views.add(name);
      else this.#tooManyViews ||= !this.#views.has(name);
    }
  }

  /** Whether one of the functions, called without a schema, may be the database's own. */
  hasFunctionOf(names: readonly string[]): boolean {
    return hasAny(this.#overloads, names);
  }

  /** Whether all of them are known to be plain tables, whatever their schemas, and not to have been changed since. */
  arePlain(names: readonly string[]): boolean {
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      if (!this.#plain.has(name) || this.#views.has(name)) return false;
    }
    return !this.#tooManyViews;
  }

  /** Something was made or changed that may run code when a table is read. */
  forgetPlain(): void {
    this.#plain = new Set();
  }

  /** Whether one of the relations, of whatever schema, may run code when it is read. */
  hasViewOf(names: readonly string[]): boolean {
    if (this.#tooManyViews) return names.length > 0;
    return hasAny(this.#views, names);
  }
}

/** Run for every statement: most databases have none of either. */
function hasAny(set: ReadonlySet<string>, names: readonly string[]): boolean {
  if (set.size === 0) return false;
  for (let i = 0; i < names.length; i++) if (set.has(names[i] as string)) return true;
  return false;
}

/** Of a JSON array of texts. */
function namesIn(json: string | undefined): string[] {
  if (json?.startsWith('[') !== true) return [];
  const names: unknown = JSON.parse(json);
  return Array.isArray(names) ? names.map(String) : [];
}
