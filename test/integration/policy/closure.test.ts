// What a relation touches is judged with it, however it is reached: views over parents, C functions, foreign tables, names that were "made".

import t, { type Test } from 'tap';
import { extended, type RawClient, type Reply, say } from '../../support/raw-client.js';
import { analystPolicy, connectAs, planted, server, startPoliced } from './rig.js';

const denied = '42501';
const { host, port } = server;

for (const sql of [
  'create extension tablefunc',
  'create extension citext',
  'create extension postgres_fdw',
  'create table readings (id int, word text) partition by range (id)',
  'create table readings_1 partition of readings for values from (0) to (100)',
  'create table readings_2 partition of readings for values from (100) to (200)',
  `insert into readings select i, case when i < 100 then 'open' else 'PLANTED-reading' end from generate_series(98, 103) i`,
  'create view readings_view as select * from readings',
  'create materialized view readings_copy as select * from readings',
  'create view readings_view_2 as select word from readings_view',
  'create view parent_view as select * from parent',
  'create table half (id int, word text)',
  'create table whole () inherits (half, parent)',
  `insert into whole values (1, 'PLANTED-whole')`,
  `create view crossed as select * from crosstab('select id, word, word from secrets order by 1') as t(a int, b text)`,
  'create table tagged (tag citext)',
  `insert into tagged values ('Open')`,
  `create view tagged_view as select tag from tagged where tag = 'open'`,
  'create view statistics_copy as select stavalues1::text from pg_statistic',
  'create view subscriptions_view as select subconninfo from pg_subscription',
  `create server itself foreign data wrapper postgres_fdw options (host '${host}', port '${port}', dbname 'postgres')`,
  `create user mapping for public server itself options (user 'alice', password_required 'false')`,
  `create foreign table far_secrets (id int, word text) server itself options (table_name 'secrets')`,
  'create table far (id int, word text) partition by range (id)',
  `create foreign table far_1 partition of far for values from (0) to (100) server itself options (table_name 'secrets')`,
  'create table inbox (id int)',
  'create rule echo as on insert to inbox do also select word from secrets',
  'create rule peek as on update to inbox do also select peek()',
  'create table tall (id int, word text)',
  'alter table tall alter word set storage external',
  `insert into tall values (1, 'PLANTED' || repeat('x', 6000))`,
]) {
  await server.query(sql);
}
t.teardown(() => server.stop());

const hidden = '"public.secrets", "public.secret_child", "public.readings_2", "public.tall"';
const allowing = analystPolicy
  .replace('"public.secrets", "public.secret_child"', hidden)
  .replace('"public.people.email"', '"public.people.email", "public.half.word"');
const denying = `${allowing.replace('default = "allow"', 'default = "deny"')}
[[policy.rules]]
name = "reads"
statements = ["read", "transaction", "savepoint", "prepare", "execute", "deallocate", "set", "insert", "update", "select_into", "create_table_as"]
verdict = "allow"
`;
const policies = { allowing, denying };

async function tell(reply: Reply): Promise<[string | undefined, boolean]> {
  return [reply.errors[0]?.['C'], JSON.stringify([reply.rows, reply.errors, reply.notices]).includes(planted)];
}

async function isDenied(t: Test, client: RawClient, sql: string): Promise<void> {
  t.strictSame(await tell(await client.query(sql)), [denied, false], sql);
  if (!sql.includes(';')) t.strictSame(await tell(await client.execute(sql)), [denied, false], `${sql}, extended`);
}

for (const [name, policy] of Object.entries(policies)) {
  void t.test(`a relation is denied as what it touches is, ${name}`, async (t) => {
    const weir = await startPoliced(t, policy);
    const bob = await connectAs(t, weir, 'bob');
    for (const sql of [
      'select * from readings',
      'select * from readings_view',
      'select * from readings_copy',
      'select * from readings_view_2',
      'select id from parent_view',
      'select * from crossed',
      'select * from statistics_copy',
      'select * from subscriptions_view',
      'select * from far_secrets',
      'select * from far',
      'insert into inbox values (1)',
      'update inbox set id = 2',
    ]) {
      await isDenied(t, bob, sql);
    }
    // A part of two parents, one of which is masked.
    t.strictSame((await bob.query('select email, tableoid::regclass from only parent')).errors.length, 1);
    t.notOk(JSON.stringify((await bob.query('select * from half')).rows).includes(planted));
    for (const sql of [
      'select * from readings_1',
      'select tag from tagged_view',
      'select * from orders_view limit 1',
    ]) {
      t.strictSame((await bob.query(sql)).errors, [], sql);
    }
  });
}

void t.test('a foreign table, or a view that calls C, is open by its name, the function by its own', async (t) => {
  const vouched = (rule: string): string =>
    allowing.replace(
      '[[policy.rules]]',
      `[[policy.rules]]\nname = "vouched"\n${rule}\nverdict = "allow"\n[[policy.rules]]`,
    );
  for (const [rule, sql] of [
    ['tables = ["public.far_secrets"]', 'select * from far_secrets'],
    ['tables = ["public.crossed"]', 'select * from crossed'],
    ['functions = ["public.crosstab"]', 'select * from crossed'],
  ] as const) {
    const bob = await connectAs(t, await startPoliced(t, vouched(rule)), 'bob');
    t.strictSame((await bob.query(sql)).errors, [], rule);
  }
  const bob = await connectAs(t, await startPoliced(t, vouched('tables = ["public.*"]')), 'bob');
  await isDenied(t, bob, 'select * from far_secrets');
});

const toast = (
  await server.query<{ name: string }>(
    `select reltoastrelid::regclass::text as name from pg_class where relname = 'tall'`,
  )
)[0]?.name as string;
const bare = toast.replace('pg_toast.', '');
const chunks = (from: string): string => `select convert_from(chunk_data, 'UTF8') from ${from} where chunk_seq = 0`;

/** Each ends with the attempt. */
const madeNames: readonly (readonly string[])[] = [
  [`prepare z as select 1 as id into ${toast}`, chunks(toast)],
  [`select 1 as id into ${toast}`, chunks(toast)],
  [`select 1 as id into temp ${bare}`, 'set search_path = pg_toast, public, pg_temp', chunks(bare)],
  ['set search_path = pg_toast, public, pg_temp', `select 1 as id into temp ${bare}`, chunks(bare)],
  [`set search_path = pg_toast, public, pg_temp`, `select 1 as id into temp ${bare}; ${chunks(bare)}`],
  [`begin; select 1 as id into temp ${bare}`, 'set local search_path = pg_toast, public, pg_temp', chunks(bare)],
];

for (const mode of ['transaction', 'session'] as const) {
  void t.test(`a name that a session has made is no other table's, pool_mode ${mode}`, async (t) => {
    const policy = allowing.replace(', "copy_file"', ', "copy_file"').replace('"ddl", ', '');
    const weir = await startPoliced(t, policy, { weir: { pool_mode: mode } });
    for (const steps of madeNames) {
      const bob = await connectAs(t, weir, 'bob');
      let reply: Reply | undefined;
      for (const sql of steps) reply = await bob.query(sql);
      t.strictSame(reply && (await tell(reply)), [denied, false], steps.join('; '));
      await bob.vanish();
    }
  });

  void t.test(`a table made elsewhere under a name that was not made, pool_mode ${mode}`, async (t) => {
    const policy = allowing.replace('"ddl", ', '').replace('"public.people.email"', '"*.*.email"');
    const weir = await startPoliced(t, policy, { weir: { pool_mode: mode } });
    const attempts: readonly (readonly string[])[] = [
      ['select 1/0 as email into NAME'],
      ['select 1/0 as email into temp NAME'],
      ['prepare p as select 1 as email into temp NAME'],
      ['begin', 'select 1 as email into temp NAME', 'rollback'],
      ['begin', 'create temp table NAME on commit drop as select 1 as email', 'commit'],
      ['select 1 as email into temp NAME', 'drop table NAME'],
      ['select 1 as email into temp NAME', 'alter table NAME rename to other_NAME'],
      ['begin', 'savepoint s', 'select 1 as email into temp NAME', 'rollback to s'],
      ['select 1 as email into temp NAME', 'discard temp'],
    ];
    for (const [number, steps] of attempts.entries()) {
      const name = `fresh_${mode}_${number}`;
      const bob = await connectAs(t, weir, 'bob');
      for (const sql of steps) await bob.query(sql.replaceAll('NAME', name));
      await server.query(`create table ${name} as select 'PLANTED'::text as email`);
      t.notOk(JSON.stringify(await bob.query(`select * from ${name}`)).includes(planted), steps.join('; '));
      await bob.vanish();
    }
  });

  void t.test(`temporary tables are their session's to use, pool_mode ${mode}`, async (t) => {
    const policy = allowing.replace('"ddl", ', '').replace('"truncate", ', '');
    const weir = await startPoliced(t, policy, { weir: { pool_mode: mode } });
    const bob = await connectAs(t, weir, 'bob');
    const fine = async (sql: string, rows?: unknown): Promise<void> => {
      for (const reply of [await bob.query(sql), ...(sql.startsWith('select') ? [await bob.execute(sql)] : [])]) {
        t.strictSame(reply.errors, [], sql);
        if (rows !== undefined) t.strictSame(reply.rows, rows, sql);
      }
    };
    await fine('create temp table yours (id int); insert into yours values (3); select * from yours', [['3']]);
    await fine('create temp table mine as select 1 as id');
    await fine('select * from mine', [['1']]);
    await fine('select * from pg_temp.mine', [['1']]);
    await fine('insert into mine values (2)');
    await fine('set search_path = public');
    await fine('select count(*) from mine', [['2']]);
    await fine('set search_path = public, pg_temp');
    await fine('select count(*) from mine', [['2']]);
    await fine('begin');
    await fine('create temp table short on commit drop as select 4 as id');
    await fine('select * from short', [['4']]);
    await fine('select s.id from short s join orders o on o.id = s.id', [['4']]);
    await fine('prepare p as select * from short');
    await fine('execute p', [['4']]);
    await fine('commit');
    t.equal((await bob.query('select * from short')).errors[0]?.['C'], denied);
    bob.write(
      ...extended('create temp table piped (id int)'),
      say.sync(),
      ...extended('select * from piped'),
      say.sync(),
    );
    t.strictSame([(await bob.reply()).errors, (await bob.reply()).errors], [[], []], 'in a pipeline');
    await fine('drop table mine');
  });
}
