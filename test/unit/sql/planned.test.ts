// What EXPLAIN could be asked about statements, where their part of the text lies, and which constants decide about their plans.

import t from 'tap';
import { extractFacts } from '../../../lib/sql/extract-facts.js';
import { InlineParser } from '../../../lib/sql/inline-parser.js';
import { compileParser } from '../../../lib/sql/parser-instance.js';
import type { Planned } from '../../../lib/sql/planned.js';

const parser = await InlineParser.create(await compileParser());

function plannedIn(sql: string): Planned[] {
  const text = Buffer.from(sql);
  const outcome = parser.parse(text);
  if (outcome.kind !== 'tree') throw new Error(`not SQL: ${sql}`);
  const { deeds } = extractFacts(outcome.tree, text, { trustedFunctions: new Set(), deeds: true });
  return deeds?.statements.map(({ planned }) => planned) ?? [];
}

/** The part that goes behind EXPLAIN, or why there is none. */
function partsOf(sql: string): (string | undefined)[] {
  return plannedIn(sql).map((planned) => {
    if (planned.kind !== 'plan') return planned.kind;
    if (planned.instead !== undefined) return planned.instead;
    return planned.start < 0 ? 'all' : Buffer.from(sql).toString('utf8', planned.start, planned.end).trim();
  });
}

for (const [sql, parts] of [
  ['select 1', ['all']],
  ['with a as (delete from t returning *) select * from a', ['all']],
  ['create table x as select 1', ['all']],
  ['create table x as select 1 with no data', ['free']],
  ['create materialized view x as select 1', ['all']],
  ['declare c cursor for select 1', ['all']],
  ['execute p(1)', ['all']],
  ["begin; select 'é'; update t set a = 1 ; commit", ['free', "select 'é'", 'update t set a = 1', 'free']],
  ['explain select 1', ['free']],
  ['explain (analyze) select 1', ['select 1']],
  ['explain (analyze false, buffers) (select 1)', ['(select 1)']],
  ['explain analyze verbose /* ) */ select 1', ['select 1']],
  ['explain analyze execute p', ['execute p']],
  ['copy (select (1)) to stdout (format csv)', ['select (1)']],
  ['copy /* ( */ ( select 1 ) to stdout', ['select 1']],
  ['copy "A".b to stdout', ['TABLE ONLY "A"."b"']],
  ['copy t from stdin', ['opaque']],
  ['prepare p as select 1', ['free']],
  ['create view v as select 1', ['free']],
  ['set a.b = 1', ['free']],
  ['do $$begin end$$', ['opaque']],
  ['call f()', ['opaque']],
  ['refresh materialized view v', ['opaque']],
  ['create index on t (a)', ['opaque']],
] as const)
  t.strictSame(partsOf(sql), parts, sql);

for (const [sql, constants] of [
  ['select a from t where b is null and c = true', 'none'],
  ['select 1, a from t where b = 2 and c = $1::date', 'compared'],
  ["select a from t join u on t.x = u.x and u.y = 'z'", 'compared'],
  ["insert into t values (1, 'a', $1), (2, 'b', $2)", 'compared'],
  ['update t set a = $1 where id = $2', 'compared'],
  ['delete from t where id = -1', 'compared'],
  ['select a from t limit 1', 'deciding'],
  ['select a from t offset $1', 'deciding'],
  ['select a from t where b > 1', 'deciding'],
  ['select a from t where b between 1 and 2', 'deciding'],
  ["select a from t where b like 'x%'", 'deciding'],
  ['select a from t where b in (1, 2)', 'deciding'],
  ['select a from t where b = any($1)', 'deciding'],
  ['select a from t where b = c + 1', 'deciding'],
  ['select * from generate_series(1, 2)', 'deciding'],
  ['select generate_series(1, a) from t', 'deciding'],
  ['select a from t order by 1', 'deciding'],
  ['select a from (values (1), (2)) x(a)', 'deciding'],
  ['insert into t select a from u where b < 1', 'deciding'],
  ['select a from t where (a, b) = (1, 2)', 'deciding'],
  ['select a from t tablesample system (1)', 'deciding'],
  ['execute p(1)', 'deciding'],
  ['execute p', 'none'],
  ['select a from t where b = (select c from u where d < 1)', 'deciding'],
] as const)
  t.match(plannedIn(sql), [{ kind: 'plan', constants }], sql);
