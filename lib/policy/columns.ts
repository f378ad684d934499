// Whether a statement may use a column of a relation in it: rather too often yes than once no.

import type { RelationDeed, StatementDeeds } from '../sql/index.js';
import type { Relation } from './schema.js';

export function usesColumn(deed: RelationDeed, statement: StatementDeeds, relation: Relation, column: string): boolean {
  if (usesAll(deed, statement, relation)) return true;
  if (statement.columnNames.has(column)) return true;
  // `email(people)` is people.email.
  if (statement.functions.some(({ name }) => name === column)) return true;
  return statement.columns.some(({ parts }) => {
    if (parts.at(-1) !== column) return false;
    const owner = parts.at(-2);
    return owner === undefined || mayMean(owner, deed, statement);
  });
}

/** Whether one of its columns is used that the test says yes to; of a relation whose columns are not known, any may be. */
export function usesSomeColumn(
  deed: RelationDeed,
  statement: StatementDeeds,
  relation: Relation,
  test: (column: string) => boolean,
): boolean {
  if (relation.columns !== undefined) {
    return relation.columns.some(({ name }) => test(name) && usesColumn(deed, statement, relation, name));
  }
  if (usesAll(deed, statement, relation)) return true;
  const named = [
    ...statement.columnNames,
    ...statement.functions.map(({ name }) => name),
    ...statement.columns.map(({ parts }) => parts.at(-1) ?? ''),
  ];
  return named.some((name) => test(name) && usesColumn(deed, statement, relation, name));
}

/** All columns, by a star, by the row as a whole, or under other names. */
function usesAll(deed: RelationDeed, statement: StatementDeeds, { columns }: Relation): boolean {
  if (deed.allColumns || deed.renamesColumns || statement.anyColumn) return true;
  return statement.columns.some(({ parts }) => {
    const last = parts.at(-1);
    const owner = parts.at(-2);
    // What is no column of it is a function that is given the row: `people.to_jsonb`.
    const isCall = owner === calledAs(deed) && columns?.every(({ name }) => name !== last) === true;
    if (last !== '*') return last === calledAs(deed) || isCall;
    return owner === undefined || mayMean(owner, deed, statement);
  });
}

function calledAs({ alias, name }: RelationDeed): string {
  return alias ?? name ?? '';
}

/**
 * Whether the name before a dot may be the relation's: it is not where only another relation has it. `old` and `new` are
 * what RETURNING calls it, too.
 */
function mayMean(owner: string, deed: RelationDeed, statement: StatementDeeds): boolean {
  if (owner === calledAs(deed) || owner === 'old' || owner === 'new') return true;
  return !statement.relations.some((other) => calledAs(other) === owner);
}
