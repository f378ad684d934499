// What a relation is taken for that no schema tells of: a plain table with the columns that masks and the statement speak of.

import type { RelationDeed, StatementDeeds } from '../sql/index.js';
import type { MaskDefinition } from './document.js';
import type { Relation } from './schema.js';

/** @param path the schemas that are searched; undefined where they are not known */
export function assumedRelation(
  { schema, name }: RelationDeed,
  statement: StatementDeeds,
  path: readonly string[] | undefined,
  masks: readonly MaskDefinition[],
): Relation {
  const names = [schema ?? assumedSchema(name ?? '', path), name ?? ''] as const;
  const hidden = masks.flatMap(({ columns }) => columns.filter((pattern) => pattern.matches(names)));
  const columns = new Set<string>([
    // A pattern with a star stands for a column that it matches.
    ...hidden.map((pattern) => pattern.partText(2)),
    ...statement.columnNames,
    ...statement.columns.map(({ parts }) => parts.at(-1) ?? ''),
  ]);
  columns.delete('*');
  return {
    schema: names[0],
    name: names[1],
    isView: false,
    isForeign: false,
    oid: undefined,
    calls: [],
    bases: [],
    columns: undefined,
    assumedColumns: [...columns],
  };
}

/** Names that begin with `pg_` are PostgreSQL's by custom. */
function assumedSchema(name: string, path: readonly string[] | undefined): string {
  if (name.startsWith('pg_')) return 'pg_catalog';
  if (path === undefined || path.length === 0 || path.includes('public')) return 'public';
  return path[0] as string;
}
