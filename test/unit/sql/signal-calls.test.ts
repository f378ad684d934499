// Where a text names the pids that PostgreSQL is to signal, in every form a driver or a person writes them.

import t from 'tap';
import { createStatementCatalog, withPids } from '../../../lib/sql/index.js';

const catalog = await createStatementCatalog({ maxEntries: 10, maxBytes: 100_000, inspectLimitBytes: 100_000 });
t.teardown(() => catalog.close());

/** What becomes of the text when 8388672 is 321 and 8388673 is 7; parameters as `$n only` or `$n also elsewhere`. */
function seen(sql: string): { sql: string; parameters: string[] } {
  const text = Buffer.from(sql);
  const found = catalog.signalledPids(text);
  if (found === undefined) return { sql: 'unread', parameters: [] };
  const places = found.literals.map((place) => ({ ...place, instead: place.pid === 8388672 ? 321 : 7 }));
  return {
    sql: withPids(text, places).toString(),
    parameters: found.parameters.map(({ number, only }) => `$${number} ${only ? 'only' : 'also elsewhere'}`),
  };
}

t.test('literals are found in every form of them, and replaced without moving what is behind', (t) => {
  const forms: [sql: string, becomes: string][] = [
    ['select pg_cancel_backend(8388672)', 'select pg_cancel_backend(321    )'],
    ["select pg_cancel_backend('8388672')", "select pg_cancel_backend('321'    )"],
    ["select pg_cancel_backend(' 8388672 ')", "select pg_cancel_backend('321'      )"],
    ["select pg_cancel_backend(E'8388672')", "select pg_cancel_backend('321'     )"],
    ['select pg_cancel_backend($$8388672$$)', "select pg_cancel_backend('321'      )"],
    ['select pg_cancel_backend($a$8388672$a$)', "select pg_cancel_backend('321'        )"],
    ['select pg_cancel_backend(8388672::int)', 'select pg_cancel_backend(321    ::int)'],
    ["select pg_cancel_backend('8388672'::int4)", "select pg_cancel_backend('321'    ::int4)"],
    ["select pg_cancel_backend(int '8388672')", "select pg_cancel_backend(int '321'    )"],
    ["select pg_cancel_backend(cast('8388672' as integer))", "select pg_cancel_backend(cast('321'     as integer))"],
    ["select pg_cancel_backend('8388672'::text::int)", "select pg_cancel_backend('321'    ::text::int)"],
    ['select pg_cancel_backend((8388672))', 'select pg_cancel_backend((321    ))'],
    ['select pg_catalog.pg_cancel_backend(8388672)', 'select pg_catalog.pg_cancel_backend(321    )'],
    ['SELECT "pg_cancel_backend"(8388672)', 'SELECT "pg_cancel_backend"(321    )'],
    ['select Pg_Terminate_Backend ( /* it */ 8388672 )', 'select Pg_Terminate_Backend ( /* it */ 321     )'],
    ['select pg_terminate_backend(8388672, 500)', 'select pg_terminate_backend(321    , 500)'],
    [
      'select pg_terminate_backend(timeout => 8388673, pid => 8388672)',
      'select pg_terminate_backend(timeout => 8388673, pid => 321    )',
    ],
    ['select pg_terminate_backend(pid := 8388672)', 'select pg_terminate_backend(pid := 321    )'],
    ["select 'größer', pg_cancel_backend(8388672), 8388672", "select 'größer', pg_cancel_backend(321    ), 8388672"],
    [
      'select pg_cancel_backend(8388672), pg_terminate_backend(8388673)',
      'select pg_cancel_backend(321    ), pg_terminate_backend(7      )',
    ],
    ['select 1; select pg_cancel_backend(8388672); select 2', 'select 1; select pg_cancel_backend(321    ); select 2'],
    ['select * from pg_cancel_backend(8388672)', 'select * from pg_cancel_backend(321    )'],
    ['select coalesce(pg_cancel_backend(8388672), false)', 'select coalesce(pg_cancel_backend(321    ), false)'],
    ['explain analyze select pg_cancel_backend(8388672)', 'explain analyze select pg_cancel_backend(321    )'],
    [
      'with c as (select pg_cancel_backend(8388672) as ok) select ok from c',
      'with c as (select pg_cancel_backend(321    ) as ok) select ok from c',
    ],
  ];
  for (const [sql, becomes] of forms) {
    t.equal(seen(sql).sql, becomes);
    if (!/[8]388672'|\$/.test(sql)) t.equal(becomes.length, sql.length, 'nothing moves');
  }
  t.end();
});

t.test('parameters are found, with the casts drivers put round them', (t) => {
  for (const argument of ['$1', '$1::int', '($1)::int4', 'cast($1 as bigint)::int', '$1::text::int']) {
    t.same(seen(`select pg_cancel_backend(${argument})`).parameters, ['$1 only'], argument);
  }
  t.same(seen('select pg_terminate_backend(timeout => $1, pid => $2)').parameters, ['$2 only']);
  t.same(seen('select pg_cancel_backend($1), pg_cancel_backend($2)').parameters, ['$1 only', '$2 only']);
  t.same(seen('select pg_cancel_backend($1), pg_terminate_backend($1)').parameters, ['$1 only']);
  t.same(seen('select $1::int, pg_cancel_backend($1)').parameters, ['$1 also elsewhere']);
  t.same(seen('select $1::int, pg_cancel_backend($2)').parameters, ['$2 only']);
  t.end();
});

t.test('what is no such pid, or is not run at once, is left alone', (t) => {
  for (const sql of [
    'select pg_cancel_backend(8388671 + 1)',
    'select pg_cancel_backend(pid) from pg_stat_activity where pid = 8388672',
    'select mine.pg_cancel_backend(8388672)',
    'select pg_reload_conf(), 8388672',
    'prepare p as select pg_cancel_backend(8388672)',
    'create view v as select pg_cancel_backend(8388672)',
    'declare c cursor for select pg_cancel_backend(8388672)',
    'do $$ begin perform pg_cancel_backend(8388672); end $$',
    "select pg_cancel_backend('8388672'::mine)",
    "select pg_cancel_backend('{8388672}'::int[])",
  ]) {
    t.same(seen(sql), { sql, parameters: [] });
  }
  t.equal(seen('select pg_cancel_backend(').sql, 'unread');
  t.end();
});
