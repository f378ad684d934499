// What the statements of a text do, one by one, as a policy judges them: names of kinds, relations with what is done to each.

import type { Planned } from './planned.js';

/** Names of kinds that mean one thing done, such as `alter_table`, `rename` and `ddl`: the first is the most telling. */
export type Act = readonly string[];

/** How a relation is named in a text, and what is done to it. */
export interface RelationDeed {
  readonly act: Act;
  readonly schema: string | null;
  /** null: every relation of the schema, or of the database where the schema is null too. */
  readonly name: string | null;
  readonly alias: string | null;
  /** Its columns are given other names: `people AS p (a, b)`. */
  readonly renamesColumns: boolean;
  /** It is, or will be, in the session's own schema, as the text says. */
  readonly temporary: boolean;
  /** The name's first byte in the text; -1 where the name is not written as one. */
  readonly location: number;
  /** It is read by a FROM clause that runs now, so a sub-select could stand in its place. */
  readonly replaceable: boolean;
  /** All of its columns are written or shown, although none is named. */
  readonly allColumns: boolean;
  /** What is written to is looked at as well: by a condition, or by RETURNING. */
  readonly readsTarget: boolean;
}

/** A call, or a column of a row in the guise of one: `email(people)`. */
export interface FunctionDeed {
  readonly schema: string | null;
  readonly name: string;
  readonly kind: 'select' | 'call';
}

/** A column as written: the names before the last are of its relation, or of a row; `*` is the last of `p.*`. */
export interface ColumnDeed {
  readonly parts: readonly string[];
  readonly location: number;
}

/** One statement of a text with all that is inside of it. */
export interface StatementDeeds {
  /** Those of the statement and of the statements within that are not done to a relation. */
  readonly acts: readonly Act[];
  /** All names of kinds in it. */
  readonly kinds: ReadonlySet<string>;
  readonly relations: readonly RelationDeed[];
  readonly functions: readonly FunctionDeed[];
  /** Operators that are named with a schema other than pg_catalog, or have names that none of PostgreSQL's has. */
  readonly operators: readonly FunctionDeed[];
  readonly columns: readonly ColumnDeed[];
  /** Names behind a dot, which may be calls as well: `people.email` and `email(people)` are one. */
  readonly attributes: ReadonlySet<string>;
  /** Names of columns that stand without a relation: in USING, SET, an index. */
  readonly columnNames: ReadonlySet<string>;
  /** A NATURAL JOIN, a join with an alias, a whole row of no relation, or new names for OLD and NEW: any column may be meant. */
  readonly anyColumn: boolean;
  /** Settings whose values are shown, in small letters; `*` where they are not named, or all are. */
  readonly shows: ReadonlySet<string>;
  /** Prepared statements that run, by name. */
  readonly executes: readonly string[];
  /** False for an UPDATE or DELETE without a WHERE, or a MERGE without an ON, that looks at a column. */
  readonly hasWhere: boolean;
  readonly hasLimit: boolean;
  /** Whether the text has begun a transaction before it, or ended one; undefined where it has done neither. */
  readonly begun: boolean | undefined;
  /** What EXPLAIN could be asked about it. */
  readonly planned: Planned;
}

export interface Deeds {
  readonly statements: readonly StatementDeeds[];
  /** Something in the text is not known to this reader, or there was too much of it. */
  readonly unknown: boolean;
}
