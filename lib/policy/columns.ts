// Whether a statement may use a column of a relation in it: rather too often yes than once no.

import type { RelationDeed, StatementDeeds } from '../sql/index.js';
import type { Relation } from './schema.js';

export function usesColumn(deed: RelationDeed, statement: StatementDeeds, relation: Relation, column: string): boolean {
  const uses = usesOf(statement);
  return uses.isWhole(deed, relation) || uses.names(deed, column);
}

/** Whether one of its columns is used that the test says yes to; of a relation whose columns are not known, any may be. */
export function usesSomeColumn(
  deed: RelationDeed,
  statement: StatementDeeds,
  relation: Relation,
  test: (column: string) => boolean,
): boolean {
  const uses = usesOf(statement);
  if (relation.columns !== undefined) {
    const isWhole = uses.isWhole(deed, relation);
    return relation.columns.some(({ name }) => test(name) && (isWhole || uses.names(deed, name)));
  }
  return uses.isWhole(deed, relation) || uses.someNamed(deed, test);
}

/** Names of columns that are looked through for each relation whose own are not known; with more, any may be meant. */
const lookedThroughMax = 256;

const noNames: ReadonlySet<string> = new Set();
const known = new WeakMap<StatementDeeds, ColumnUses>();

function usesOf(statement: StatementDeeds): ColumnUses {
  let uses = known.get(statement);
  if (uses === undefined) {
    uses = new ColumnUses(statement);
    known.set(statement, uses);
  }
  return uses;
}

/** The columns of one statement by what stands before their dots: made once, so that each relation is a look-up. */
class ColumnUses {
  /** Those that may be any relation's: without an owner, or with one that no relation of the statement is called by. */
  readonly #anyones = new Set<string>();
  /** By the relation's name or alias. */
  readonly #owned = new Map<string, Set<string>>();
  /** What may be a row as a whole: a column called as the relation. */
  readonly #lasts = new Set<string>();
  readonly #anyColumn: boolean;

  constructor({ relations, columns, columnNames, functions, anyColumn }: StatementDeeds) {
    this.#anyColumn = anyColumn;
    const called = new Set(relations.map(calledAs));
    for (const name of columnNames) this.#anyones.add(name);
    // `email(people)` is people.email.
    for (const { name } of functions) if (name !== '*') this.#anyones.add(name);
    for (const { parts } of columns) {
      const last = parts.at(-1);
      const owner = parts.at(-2);
      if (last === undefined) continue;
      if (last !== '*') this.#lasts.add(last);
      if (owner !== undefined && called.has(owner)) this.#ownedBy(owner).add(last);
      // `old` and `new` are what RETURNING calls the relation, too.
      if (owner === undefined || !called.has(owner) || owner === 'old' || owner === 'new') this.#anyones.add(last);
    }
  }

  #ownedBy(owner: string): Set<string> {
    let names = this.#owned.get(owner);
    if (names === undefined) {
      names = new Set();
      this.#owned.set(owner, names);
    }
    return names;
  }

  /** Whether the column is named, as the relation's or as nobody's. */
  names(deed: RelationDeed, column: string): boolean {
    return this.#anyones.has(column) || (this.#owned.get(calledAs(deed))?.has(column) ?? false);
  }

  /** Whether a name that may be a column of the relation is one that the test says yes to. */
  someNamed(deed: RelationDeed, test: (column: string) => boolean): boolean {
    const owned = this.#owned.get(calledAs(deed)) ?? noNames;
    if (this.#anyones.size + owned.size > lookedThroughMax) return true;
    return [...this.#anyones, ...owned].some(test);
  }

  /** All columns, by a star, by the row as a whole, or under other names. */
  isWhole(deed: RelationDeed, { columns }: Relation): boolean {
    if (deed.allColumns || deed.renamesColumns || this.#anyColumn || this.#anyones.has('*')) return true;
    const called = calledAs(deed);
    const owned = this.#owned.get(called) ?? noNames;
    if (owned.has('*') || this.#lasts.has(called)) return true;
    if (columns === undefined) return false;
    // What is no column of it is a function that is given the row: `people.to_jsonb`.
    return owned.size > columns.length || hasOther(owned, columns);
  }
}

type Columns = NonNullable<Relation['columns']>;
const namesOfColumns = new WeakMap<Columns, ReadonlySet<string>>();

function hasOther(names: ReadonlySet<string>, columns: Columns): boolean {
  let own = namesOfColumns.get(columns);
  if (own === undefined) {
    own = new Set(columns.map(({ name }) => name));
    namesOfColumns.set(columns, own);
  }
  for (const name of names) if (!own.has(name)) return true;
  return false;
}

function calledAs({ alias, name }: RelationDeed): string {
  return alias ?? name ?? '';
}
