// What a session has in its temporary schema, as its own server says.

import { ownNames, qualifiedOwn } from '../policy/index.js';

/** Tables of one session that are known; what is beyond is refused as unknown. */
const tablesMax = 1_000;

/** Tables alone: what a temporary view reads is not in it. Whether a name means the table hangs on the search path as it is. */
export const ownTablesQuery = `SELECT pg_catalog.json_agg(pg_catalog.json_build_array(t.relname, pg_catalog.pg_table_is_visible(t.oid)))
  FROM (SELECT c.oid, c.relname FROM pg_catalog.pg_class c
    WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
      AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,S}'::pg_catalog."char"[]) LIMIT ${tablesMax}) t`;

/** @param json the answer, bytes as a latin1 string. @returns the names that mean them; none where it is something else */
export function readOwnTables(json: string): ReadonlySet<string> {
  const rows = parsed(Buffer.from(json, 'latin1').toString('utf8'));
  const names = rows.flatMap((row): readonly string[] => {
    const [name, isVisible] = Array.isArray(row) ? (row as readonly unknown[]) : [];
    if (typeof name !== 'string') return [];
    return isVisible === true ? ownNames(name) : [qualifiedOwn(name)];
  });
  return new Set(names);
}

function parsed(json: string): readonly unknown[] {
  try {
    const value: unknown = JSON.parse(json);
    return Array.isArray(value) ? (value as readonly unknown[]) : [];
  } catch {
    return [];
  }
}
