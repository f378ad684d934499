// What is read off a parse tree: every hazard of HAZARDS.md that a text can show, and the ways in which texts hide them.

import t from 'tap';
import { createStatementCatalog, type ScanMode, type StatementFacts, UNKNOWN } from '../../../lib/sql/index.js';

const mode: ScanMode = { standardConformingStrings: true, encoding: 'safe' };
const catalog = await createStatementCatalog({
  maxEntries: 4_096,
  maxBytes: 4 << 20,
  inspectLimitBytes: 65_536,
  trustedFunctions: ['uuid_generate_v4', 'app.tally'],
});
t.teardown(() => catalog.close());

function facts(text: string): StatementFacts {
  const bytes = Buffer.from(text);
  return catalog.lookup(bytes, 0, bytes.length, mode);
}

function literal(value: string | null) {
  return { kind: 'literal', value };
}

const expression = { kind: 'expression' };

const hazardCases: readonly (readonly [string, string, readonly object[]])[] = [
  [
    "SET x.y = 'a', 1, on",
    'tracked',
    [{ kind: 'set', name: 'x.y', local: false, values: [literal('a'), literal('1'), literal('on')] }],
  ],
  ['SET LOCAL work_mem TO -1', 'none', [{ kind: 'set', name: 'work_mem', local: true, values: [literal('-1')] }]],
  ['SET x TO DEFAULT', 'tracked', [{ kind: 'set', name: 'x', local: false, values: null }]],
  [
    "SET TIME ZONE INTERVAL '1' HOUR",
    'tracked',
    [{ kind: 'set', name: 'timezone', local: false, values: [expression] }],
  ],
  [
    "SET NAMES 'LATIN1'",
    'tracked',
    [{ kind: 'set', name: 'client_encoding', local: false, values: [literal('LATIN1')] }],
  ],
  ["SET SCHEMA 'a'", 'tracked', [{ kind: 'set', name: 'search_path', local: false, values: [literal('a')] }]],
  ['RESET ALL', 'tracked', [{ kind: 'reset_all' }]],
  ['RESET work_mem', 'tracked', [{ kind: 'reset', name: 'work_mem' }]],
  ['SET ROLE bob', 'tracked', [{ kind: 'set_role', local: false, role: 'bob' }]],
  ['SET LOCAL ROLE bob', 'none', [{ kind: 'set_role', local: true, role: 'bob' }]],
  ['SET ROLE NONE', 'tracked', [{ kind: 'set_role', local: false, role: 'none' }]],
  ['RESET ROLE', 'tracked', [{ kind: 'set_role', local: false, role: null }]],
  ["SET SESSION AUTHORIZATION 'bob'", 'tracked', [{ kind: 'session_authorization', local: false, role: 'bob' }]],
  ['RESET SESSION AUTHORIZATION', 'tracked', [{ kind: 'session_authorization', local: false, role: null }]],
  [
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE, NOT DEFERRABLE',
    'tracked',
    [
      {
        kind: 'session_characteristics',
        settings: [
          { name: 'default_transaction_read_only', value: 'on' },
          { name: 'default_transaction_isolation', value: 'serializable' },
          { name: 'default_transaction_deferrable', value: 'off' },
        ],
      },
    ],
  ],
  ['SET TRANSACTION ISOLATION LEVEL SERIALIZABLE', 'none', []],
  [
    "SELECT pg_catalog.set_config('search_path', '', false)",
    'tracked',
    [{ kind: 'set_config', name: literal('search_path'), value: literal(''), local: literal('false'), certain: true }],
  ],
  [
    "select set_config('x.y', $2::text, $3) from t where a",
    'tracked',
    [
      {
        kind: 'set_config',
        name: literal('x.y'),
        value: { kind: 'parameter', number: 2 },
        local: { kind: 'parameter', number: 3 },
        certain: false,
      },
    ],
  ],
  [
    "select set_config('x', current_user, true)",
    'none',
    [{ kind: 'set_config', name: literal('x'), value: expression, local: literal('true'), certain: true }],
  ],
  [
    "select set_config('x', 'y', 'f'::bool)",
    'tracked',
    [{ kind: 'set_config', name: literal('x'), value: literal('y'), local: literal('false'), certain: true }],
  ],
  [
    "update pg_settings set setting = 'evil' where name = 'search_path'",
    'tracked',
    [{ kind: 'set_config', name: expression, value: expression, local: expression, certain: false }],
  ],
  ['PREPARE p (int, text) AS SELECT $1', 'tracked', [{ kind: 'prepare', name: 'p', bodyStart: 25, bodyEnd: 34 }]],
  [
    '/* x */ select 1; prepare "as" /* as */ as\n delete from t',
    'tracked',
    [{ kind: 'prepare', name: 'as', bodyStart: 44, bodyEnd: 57 }],
  ],
  ["EXECUTE p(1, 'a')", 'tracked', [{ kind: 'execute', name: 'p', arguments: [literal('1'), literal('a')] }]],
  ['DEALLOCATE p', 'tracked', [{ kind: 'deallocate', name: 'p' }]],
  ['DEALLOCATE PREPARE ALL', 'tracked', [{ kind: 'deallocate', name: null }]],
  ['DISCARD ALL', 'tracked', [{ kind: 'discard', what: 'all' }]],
  ['DISCARD TEMPORARY', 'tracked', [{ kind: 'discard', what: 'temp' }]],
  ['LISTEN "Chan"', 'tracked', [{ kind: 'listen', channel: 'Chan' }]],
  ['UNLISTEN *', 'tracked', [{ kind: 'unlisten', channel: null }]],
  ["NOTIFY c, 'p'", 'none', [{ kind: 'notify', channel: 'c' }]],
  ['DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'tracked', [{ kind: 'declare_hold', name: 'c' }]],
  ['DECLARE c CURSOR FOR SELECT 1', 'none', []],
  ['CLOSE ALL', 'tracked', [{ kind: 'close', name: null }]],
  [
    'select pg_advisory_lock(5)',
    'tracked',
    [{ kind: 'advisory_lock', function: 'pg_advisory_lock', arguments: [literal('5')], certain: true }],
  ],
  [
    'select pg_try_advisory_lock_shared($1, $2)',
    'tracked',
    [
      {
        kind: 'advisory_lock',
        function: 'pg_try_advisory_lock_shared',
        arguments: [
          { kind: 'parameter', number: 1 },
          { kind: 'parameter', number: 2 },
        ],
        certain: true,
      },
    ],
  ],
  [
    'select pg_advisory_unlock_all()',
    'tracked',
    [{ kind: 'advisory_unlock', function: 'pg_advisory_unlock_all', arguments: [], certain: true }],
  ],
  ['select pg_advisory_xact_lock(1)', 'none', []],
  [
    'CREATE TEMP TABLE x (a int)',
    'tracked',
    [
      { kind: 'ddl', node: 'CreateStmt' },
      { kind: 'temp_object', name: 'x', onCommitDrop: false },
    ],
  ],
  [
    'CREATE TEMP TABLE x ON COMMIT DROP AS SELECT 1',
    'none',
    [
      { kind: 'ddl', node: 'CreateTableAsStmt' },
      { kind: 'temp_object', name: 'x', onCommitDrop: true },
    ],
  ],
  [
    'CREATE TABLE pg_temp.x (a int)',
    'tracked',
    [
      { kind: 'ddl', node: 'CreateStmt' },
      { kind: 'temp_object', name: 'x', onCommitDrop: false },
    ],
  ],
  [
    'CREATE TYPE pg_temp.x AS ENUM ()',
    'tracked',
    [
      { kind: 'ddl', node: 'CreateEnumStmt' },
      { kind: 'temp_object', name: '', onCommitDrop: false },
    ],
  ],
  ['SELECT 1 AS a INTO TEMP x', 'tracked', [{ kind: 'temp_object', name: 'x', onCommitDrop: false }]],
  [
    'DROP TABLE a.b, c',
    'none',
    [
      { kind: 'ddl', node: 'DropStmt' },
      { kind: 'drop', object: 'table', names: ['a.b', 'c'] },
    ],
  ],
  ["LOAD 'x'", 'tracked', [{ kind: 'load' }]],
  [
    "select nextval('s'), currval('s'), lastval()",
    'tracked',
    [{ kind: 'nextval', function: 'nextval' }, { kind: 'currval' }, { kind: 'lastval' }],
  ],
  ['select setseed(0.5)', 'tracked', [{ kind: 'setseed' }]],
  ["select * from dblink('x', 'y') as t(a int)", 'unknown', [{ kind: 'dblink', function: 'dblink' }]],
  [
    "select query_to_xml('select 1', true, true, '')",
    'unknown',
    [{ kind: 'session_function', function: 'query_to_xml' }],
  ],
  ['select mine(1)', 'unknown', [{ kind: 'unknown_function', function: 'mine' }]],
  ['select public.now()', 'unknown', [{ kind: 'unknown_function', function: 'public.now' }]],
  ['select "Now"()', 'unknown', [{ kind: 'unknown_function', function: 'Now' }]],
  ['select uuid_generate_v4(), app.tally()', 'none', []],
  ['DO $$ begin end $$', 'unknown', [{ kind: 'do' }]],
  ['CALL a.p(1)', 'unknown', [{ kind: 'call', procedure: 'a.p' }]],
  ['COPY t FROM STDIN', 'none', [{ kind: 'copy', direction: 'from', target: 'stdin' }]],
  ["COPY (SELECT 1) TO PROGRAM 'x'", 'none', [{ kind: 'copy', direction: 'to', target: 'program' }]],
  ["COPY t TO 'x'", 'none', [{ kind: 'copy', direction: 'to', target: 'file' }]],
  [
    'BEGIN ISOLATION LEVEL SERIALIZABLE',
    'none',
    [{ kind: 'transaction', operation: 'begin', chain: false, savepoint: null }],
  ],
  ['COMMIT AND CHAIN', 'none', [{ kind: 'transaction', operation: 'commit', chain: true, savepoint: null }]],
  [
    'ROLLBACK TO SAVEPOINT "S"',
    'none',
    [{ kind: 'transaction', operation: 'rollback_to', chain: false, savepoint: 'S' }],
  ],
  ["PREPARE TRANSACTION 'x'", 'none', [{ kind: 'transaction', operation: 'prepare', chain: false, savepoint: null }]],
  ['CREATE EXTENSION x', 'unknown', [{ kind: 'unknown_statement', node: 'CreateExtensionStmt' }]],
  [
    "CREATE FUNCTION f() RETURNS int LANGUAGE 'c' AS 'x'",
    'tracked',
    [{ kind: 'ddl', node: 'CreateFunctionStmt' }, { kind: 'load' }],
  ],
  [
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select set_config(1)'",
    'none',
    [{ kind: 'ddl', node: 'CreateFunctionStmt' }],
  ],
];

void t.test('databases that a statement needs for itself are told by name', async (t) => {
  for (const [text, databases] of [
    ['DROP DATABASE Shop', ['shop']],
    ['drop database if exists "Shop" with (force)', ['forced Shop']],
    ['/* psql */ select 1; drop database shop', ['shop']],
    ['alter database shop rename to store', ['shop', 'name store']],
    ['alter database shop set tablespace fast', ['shop']],
    ['create database store', ['template1', 'name store']],
    ['create database store template shop', ['shop', 'name store']],
    ["create database store with owner = me template = 'Shop'", ['Shop', 'name store']],
    ['alter database shop set work_mem = 1000', []],
    ['alter database shop owner to me', []],
    ['alter database shop with connection limit 5', []],
    ['alter table shop rename to store', []],
  ] as const) {
    const found = facts(text);
    t.ok(found.known, text);
    const told = found.hazards.flatMap((hazard) => (hazard.kind === 'vacant' ? hazard.databases : []));
    t.same(
      told.map(({ name, use }) => (use === 'alone' ? name : `${use} ${name}`)),
      databases,
      text,
    );
  }
});

void t.test('each hazard is told with its values', async (t) => {
  for (const [text, effects, hazards] of hazardCases) {
    const found = facts(text);
    t.ok(found.known, text);
    t.equal(found.sessionEffects, effects, `effects of ${text}`);
    t.same(found.hazards, hazards, `hazards of ${text}`);
  }
});

void t.test('facts that hang on a literal are those of the very text, not of its shape', async (t) => {
  for (const name of ['role', 'work_mem', 'x.y']) {
    const found = facts(`select set_config('${name}', '1', false)`);
    t.equal(found.literalDependent, true);
    t.match(found.hazards, [{ kind: 'set_config', name: literal(name) }]);
  }
  const one = facts('select pg_advisory_lock(1)');
  const two = facts('select pg_advisory_lock(2)');
  t.equal(one.shape, two.shape, 'the shape is shared');
  t.equal(one.counters, two.counters, 'and so are its counters');
  t.not(one, two);
  t.equal(
    facts("select set_config('a' -- c\n'b', '1', false)"),
    UNKNOWN,
    'a text that libpg-query reads otherwise is unknown',
  );
});

void t.test('hazards are found wherever they hide', async (t) => {
  for (const text of [
    "with x as (select set_config('a', 'b', false)) select 1",
    "select 1 from t where a = (select set_config('a', 'b', false))",
    "select 1 order by set_config('a', 'b', false)",
    "insert into t values (set_config('a', 'b', false))",
    "explain analyze select set_config('a', 'b', false)",
    "select (set_config('a', 'b', false))::int",
    "select 1 union select 2 union all (select set_config('a', 'b', false)::int limit 1)",
    "select * from generate_series(1, 2) g, lateral (select set_config('a', 'b', false)) x",
    "select \"set_config\"('a', 'b', false)",
    "select count(*) filter (where set_config('a', 'b', false) = '') over (partition by 1)",
    "copy (select set_config('a', 'b', false)) to stdout",
    "declare c cursor for select set_config('a', 'b', false)",
    "create table x as select set_config('a', 'b', false)",
    "select case when true then set_config('a', 'b', false) end",
    "select array[set_config('a', 'b', false)]",
    "values (set_config('a', 'b', false))",
    "merge into t using s on set_config('a', 'b', false) = '' when matched then delete",
    "execute p(set_config('a', 'b', false))",
    "select 1; select 2; select set_config('a', 'b', false)",
    "select xmlelement(name a, set_config('a', 'b', false))",
    "select json_object('a': set_config('a', 'b', false))",
    "select * from json_table(set_config('a', 'b', false)::jsonb, '$' columns (x int path '$'))",
    "select * from rows from (generate_series(1, 2), set_config('a', 'b', false)) x",
  ]) {
    const found = facts(text);
    t.ok(
      found.hazards.some((hazard) => hazard.kind === 'set_config'),
      text,
    );
    t.not(found.sessionEffects, 'none');
    t.equal(found.laneCandidate, false);
  }
});

void t.test('read-only and lane candidates', async (t) => {
  const cases: readonly (readonly [string, boolean, boolean])[] = [
    ['select a from t where b = 1', true, true],
    ['select random(), now(), count(*) from t', true, true],
    ['values (1)', true, true],
    ['table t', true, true],
    ['show work_mem', true, false],
    ['explain select 1', true, false],
    ['explain analyze delete from t', false, false],
    ['select a from t for update', false, false],
    ['select a from (select a from t for share) x', false, false],
    ['with d as (delete from t returning *) select * from d', false, false],
    ['select 1 into x', false, false],
    ['select pg_sleep(1)', true, false],
    ["select pg_notify('a', 'b')", true, false],
    ['select pg_advisory_xact_lock(1)', true, false],
    ['select pg_backend_pid()', true, false],
    ['select txid_current()', true, false],
    ['select mine()', true, false],
    ['select name from pg_prepared_statements', true, false],
    ['select uuid_generate_v4()', true, false],
    ['select 1; select 2', true, false],
    ['begin read only', true, false],
    ['insert into t values (1)', false, false],
    ['set x = 1', false, false],
    ['lock table t', false, false],
    ['', true, false],
  ];
  for (const [text, readOnly, laneCandidate] of cases) {
    const found = facts(text);
    t.ok(found.known, text);
    t.equal(found.readOnly, readOnly, `read-only: ${text}`);
    t.equal(found.laneCandidate, laneCandidate, `lane: ${text}`);
  }
});

void t.test('tables, columns, functions and kinds are named', async (t) => {
  const found = facts(
    'with w as (select a from s.t) insert into u (x, y) select w.a, lower(v.*::text) from w join V v on $3 = 1; truncate z',
  );
  t.same(found.tables, [
    { schema: null, name: 'u', access: 'write' },
    { schema: 's', name: 't', access: 'read' },
    { schema: null, name: 'v', access: 'read' },
    { schema: null, name: 'z', access: 'write' },
  ]);
  t.same(found.columns, ['x', 'y', 'a', 'w.a', 'v.*']);
  t.same(found.functions, ['lower']);
  t.same(found.kinds, ['insert', 'truncate']);
  t.equal(found.parameterCount, 3);
});

void t.test('a WITH name hides a table only where PostgreSQL would look it up', async (t) => {
  const tables = (text: string) => facts(text).tables.map(({ name }) => name);
  t.same(tables('with secret as (select 1) select * from secret'), []);
  t.same(tables('(with secret as (select 1) select * from secret) union select * from secret'), ['secret']);
  t.same(tables('with secret as (select * from secret) select * from secret'), ['secret']);
  t.same(tables('with recursive r as (select 1 union select * from r) select * from r'), []);
  t.same(tables('with a as (select * from b), b as (select * from a) select 1'), ['b']);
  t.same(tables('with secret as (select 1) select * from public.secret'), ['secret']);
  t.same(tables('with w as (select 1) select (select 1 from w)'), []);
  t.same(tables('with t as (select 1) insert into t select * from t'), ['t']);
});

void t.test('too many names or hazards are not told as if they were all', async (t) => {
  const many = facts(`select ${Array.from({ length: 300 }, (_, i) => `c${i}`).join(',')} from t`);
  t.equal(many.truncated, true);
  t.equal(many.columns.length, 256);
  t.equal(many.laneCandidate, false);
  const locks = facts(`select ${Array.from({ length: 65 }, () => 'lastval()').join(',')}`);
  t.equal(locks.sessionEffects, 'unknown');
});
