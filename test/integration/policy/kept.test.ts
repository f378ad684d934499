// What PostgreSQL keeps from ordinary users is kept from restricted roles: the lists are complete for each version, and nothing gets round them.

import pg from 'pg';
import t from 'tap';
import { keptColumns, keptFunctions, keptRelations, keptSettings } from '../../../lib/policy/kept.js';
import { postgresVersions, startPostgres } from '../../support/postgres.js';
import { analystPolicy, connectAs, planted, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

const denied = '42501';
const catalogs = `c.oid < 16384 and n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'v', 'm')`;
const notReadable = `select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where ${catalogs} and not has_any_column_privilege('lowly', c.oid, 'select')`;
const columnsNotReadable = `select n.nspname || '.' || c.relname as name, a.attname as column
  from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
  where ${catalogs} and has_any_column_privilege('lowly', c.oid, 'select') and not has_column_privilege('lowly', c.oid, a.attnum, 'select')`;
const notCallable = `select distinct proname as name from pg_proc
  where oid < 16384 and pronamespace = 'pg_catalog'::regnamespace and not has_function_privilege('lowly', oid, 'execute')`;

for (const version of postgresVersions) {
  void t.test(`PostgreSQL ${version} keeps nothing that the lists have not`, async (t) => {
    const postgres = await startPostgres({ version, sql: ['create role lowly'] });
    t.teardown(() => postgres.stop('immediate'));
    const missing = async (
      sql: string,
      known: (row: { name: string; column: string }) => boolean,
    ): Promise<unknown[]> => (await postgres.query<{ name: string; column: string }>(sql)).filter((row) => !known(row));
    t.same(await missing(notReadable, ({ name }) => keptRelations.has(name)), []);
    t.same(await missing(columnsNotReadable, ({ name, column }) => keptColumns.get(name)?.has(column) === true), []);
    t.same(await missing(notCallable, ({ name }) => keptFunctions.includes(name)), []);
    const { host, port, user, password, database } = postgres.admin;
    const client = new pg.Client({ host, port, user, password, database });
    await client.connect();
    const settings = async (): Promise<string[]> =>
      (await client.query<{ name: string }>('select name from pg_settings')).rows.map(({ name }) => name);
    const all = await settings();
    await client.query('set role lowly');
    const some = new Set(await settings());
    await client.end();
    t.ok(all.length > some.size, 'a superuser sees more');
    t.same(
      all.filter((name) => !some.has(name) && !keptSettings.includes(name)),
      [],
    );
  });
}

for (const sql of [
  `create subscription sub connection 'host=127.0.0.1 password=PLANTED-subscription' publication p with (connect = false)`,
  'create extension postgres_fdw',
  `create server far foreign data wrapper postgres_fdw options (host 'PLANTED-server')`,
  `create user mapping for public server far options (user 'x', password 'PLANTED-mapping')`,
  `alter role lowly set app.password = 'PLANTED-role'`,
  `alter system set primary_conninfo = 'password=PLANTED-conninfo'`,
  `alter system set archive_cleanup_command = 'PLANTED-archive'`,
  'select pg_reload_conf()',
  `alter table secrets add column code text default 'PLANTED-default'`,
  `alter table orders add column code text default 'open'`,
  'create table words (id int, word text) partition by list (word)',
  `create table words_1 partition of words for values in ('PLANTED-bound')`,
  `create table words_2 partition of words for values in ('open')`,
  `create table checked (word text check (word <> 'PLANTED-check'))`,
  `create index checked_word on checked (word) where word <> 'PLANTED-index'`,
]) {
  await server.query(sql);
}

void t.test('nothing of it comes, and tools go on', async (t) => {
  const weir = await startPoliced(
    t,
    analystPolicy.replace('"public.secrets", ', '"public.secrets", "public.words_1", "public.checked", '),
  );
  const bob = await connectAs(t, weir, 'bob');
  const isFine = async (sql: string, rows?: readonly unknown[]): Promise<void> => {
    for (const reply of [await bob.query(sql), await bob.execute(sql)]) {
      t.same(reply.errors, [], sql);
      t.notOk(JSON.stringify(reply).includes(planted), sql);
      if (rows !== undefined) t.same(reply.rows, rows, sql);
    }
  };
  for (const sql of [
    'select subconninfo from pg_subscription',
    'select * from pg_subscription',
    'select * from pg_user_mappings',
    'select * from pg_foreign_server',
    'select s from pg_foreign_server s',
    'select * from information_schema.user_mapping_options',
    'select * from information_schema.foreign_server_options',
    'select * from pg_db_role_setting',
    'select * from pg_roles',
    'select attmissingval from pg_attribute where attmissingval is not null',
    'select * from pg_attribute',
    'select pg_get_expr(adbin, adrelid) from pg_attrdef',
    'select pg_get_expr(relpartbound, oid) from pg_class',
    'select * from pg_class',
    'select * from pg_constraint',
    'select * from pg_index',
    'select * from information_schema.columns',
    'select * from pg_settings',
    'select name, setting from pg_settings where name like $$primary%$$',
  ]) {
    await isFine(sql);
  }
  for (const sql of [
    'show primary_conninfo',
    'show all',
    `select current_setting('primary_conninfo')`,
    `select current_setting('archive_cleanup' || '_command')`,
    `select current_setting(name) from pg_settings`,
    `select ('primary_conninfo'::text).current_setting`,
    'select * from pg_show_all_settings()',
    'select * from pg_user_mapping',
    'select * from pg_file_settings',
    `select pg_get_partition_constraintdef('words_1'::regclass)`,
    'listen changes',
  ]) {
    for (const reply of [await bob.query(sql), await bob.execute(sql)]) {
      t.equal(reply.errors[0]?.['C'], denied, sql);
      t.notOk(JSON.stringify(reply.rows).includes(planted), sql);
    }
  }
  await isFine('show server_version');
  await isFine(`select current_setting('server_encoding'), current_setting('TimeZone') is null`, [['UTF8', 'f']]);
  await isFine(`select setting from pg_settings where name = 'max_index_keys'`, [['32']]);
  await isFine(`select oid, typname from pg_type where typname = 'int4'`, [['23', 'int4']]);
  await isFine(
    `select xmin is null, tableoid::regclass, relname, relpartbound is null from pg_class where relname = 'words_2'`,
    [['f', 'pg_class', 'words_2', 'f']],
  );
  // As psql's \d asks.
  await isFine(
    `SELECT a.attname, (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d
       WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef)
     FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'orders'::regclass AND a.attname = 'code'`,
    [['code', `'open'::text`]],
  );
  await isFine(
    `SELECT c.oid::pg_catalog.regclass, pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
     WHERE c.oid = i.inhrelid AND i.inhparent = 'words'::regclass ORDER BY 1`,
    [
      ['words_1', null],
      ['words_2', `FOR VALUES IN ('open')`],
    ],
  );
  await isFine(
    `select column_default from information_schema.columns where column_name = 'code' and table_name = 'orders'`,
    [[`'open'::text`]],
  );
});

void t.test('a rule for current_setting vouches for the settings', async (t) => {
  const rule = '[[policy.rules]]\nname = "settings"\nfunctions = ["pg_catalog.current_setting"]\nverdict = "allow"\n';
  const bob = await connectAs(
    t,
    await startPoliced(t, analystPolicy.replace('[[policy.rules]]', `${rule}[[policy.rules]]`)),
    'bob',
  );
  for (const sql of ['show archive_cleanup_command', 'select current_setting(name) from pg_settings limit 1']) {
    t.same((await bob.query(sql)).errors, [], sql);
  }
});
