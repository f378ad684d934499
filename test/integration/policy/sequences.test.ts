// What statements and settings before do to one that follows: names that change their meaning, prepared statements, conditions.

import t, { type Test } from 'tap';
import { extended, RawClient, type Reply, say } from '../../support/raw-client.js';
import type { TestWeir } from '../../support/weir.js';
import { analystPolicy, connectAs, planted, server, sleepByNumber, startPoliced } from './rig.js';

t.teardown(() => server.stop());

const denied = '42501';

async function runAll(t: Test, weir: TestWeir, steps: readonly string[]): Promise<Reply> {
  const bob = await connectAs(t, weir, 'bob');
  let reply: Reply | undefined;
  for (const sql of steps) reply = await bob.query(sql);
  await bob.vanish();
  if (reply === undefined) throw new Error('no steps');
  return reply;
}

async function loginError(t: Test, weir: TestWeir, options: string): Promise<string | undefined> {
  try {
    const client = await RawClient.connect(weir, { user: 'bob', parameters: { options } });
    t.teardown(() => client.vanish());
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

/** Each ends with the attempt. */
const sequences: readonly (readonly string[])[] = [
  // Not a space to PostgreSQL: there is no such schema.
  [`select set_config('search_path', U&'\\00a0other, public', false)`, 'select email from people'],
  // A schema that may not be used is not searched.
  ['set role lowly', 'set search_path = other, public', 'select email from people'],
  [
    'set search_path = other',
    `update pg_settings set setting = 'public' where name = 'search_path'; select email from people`,
  ],
  [
    'set search_path = other',
    `prepare p as select set_config('search_path', 'public', false)`,
    'execute p; select email from people',
  ],
  [
    'set search_path = other',
    `prepare p as select set_config('search_path', 'public', false)`,
    'begin',
    'execute p',
    'select email from people',
  ],
  // A name whose second PREPARE has failed is what it was.
  [
    'set search_path = other',
    'begin',
    'prepare p as select email::text from people',
    'savepoint s',
    'prepare p as select 1',
    'rollback to s',
    'set search_path = public',
    'execute p',
  ],
];

for (const mode of ['transaction', 'session'] as const) {
  void t.test('masks with a star for the schema leave the catalogs alone, which tools read', async (t) => {
    const policy = `[policy]\ndefault = "allow"\n[[policy.masks]]\ncolumns = ["*.*.email", "*.*.*name"]\nwith = "null"`;
    const weir = await startPoliced(t, policy);
    const bob = await connectAs(t, weir, 'bob');
    const described = `SELECT c.relname, a.attname FROM pg_catalog.pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'other' AND c.relname = 'people' AND a.attnum > 0`;
    t.same((await bob.query(described)).rows, [
      ['people', 'id'],
      ['people', 'email'],
    ]);
    t.same((await bob.query('select name, email from people where id = 1')).rows, [[null, null]]);
  });

  void t.test(`nothing planted, pool_mode ${mode}`, async (t) => {
    const weir = await startPoliced(t, analystPolicy, { weir: { pool_mode: mode } });
    for (const steps of sequences) {
      const { rows, errors } = await runAll(t, weir, steps);
      t.notOk(JSON.stringify([rows, errors]).includes(planted), steps.join('; '));
    }
  });
}

void t.test('a session may not begin with a setting it may not make', async (t) => {
  const weir = await startPoliced(t);
  t.equal(await loginError(t, weir, '-c standard_conforming_strings=off'), denied);
  t.equal(await loginError(t, weir, '-c work_mem=1000'), undefined);
});

void t.test('the key of hashes is not shown', async (t) => {
  const keyed = analystPolicy.replace('[policy]\n', `[policy]\nmask_key = "${'k'.repeat(32)}"\n`);
  const weir = await startPoliced(t, keyed.replace('with = "null"', 'with = "hash"'));
  const steps = [
    ['prepare p as select email from people', 'explain (verbose) execute p'],
    ['set client_min_messages = log'],
    [`select set_config('client_min_messages', 'debug1', false)`],
    ['set debug_print_plan = on'],
  ];
  for (const each of steps) t.equal((await runAll(t, weir, each)).errors[0]?.['C'], denied, each.join('; '));
  t.equal(await loginError(t, weir, '-c client_min_messages=log'), denied);
  t.equal(await loginError(t, weir, '-c debug_print_plan=on'), denied);
  t.strictSame((await runAll(t, weir, ['set client_min_messages = warning'])).errors, []);
});

void t.test('a masked statement stays prepared when other tables come', async (t) => {
  const weir = await startPoliced(t);
  const bob = await connectAs(t, weir, 'bob');
  const alice = await connectAs(t, weir, 'alice');
  await bob.query('prepare p as select email from people where id = 1');
  await alice.query('create table newcomers (id int)');
  // Bob's next look at an unknown relation reads the schema again.
  t.strictSame((await bob.query('select * from newcomers')).errors, []);
  t.strictSame((await bob.query('execute p')).rows, [[null]]);
  await alice.query('drop table newcomers');
});

void t.test('a mistake that is refused leaves what names mean as it was', async (t) => {
  const weir = await startPoliced(t, analystPolicy, { weir: { pool_mode: 'session' } });
  const bob = await connectAs(t, weir, 'bob');
  t.equal((await bob.query('selct email from people')).errors[0]?.['C'], denied);
  t.strictSame((await bob.query('select email from people where id = 1')).rows, [[null]]);
});

const conditions = `
[policy]
default = "allow"
[[policy.rules]]
name = "where"
statements = ["update", "delete"]
require = ["where"]
verdict = "deny"
[[policy.rules]]
name = "transaction"
statements = ["insert"]
require = ["transaction"]
verdict = "deny"
[[policy.rules]]
name = "limit"
statements = ["select"]
tables = ["public.orders"]
require = ["limit"]
verdict = "deny"
[[policy.rules]]
name = "kinds"
statements = ["notify", "set_work_mem"]
verdict = "deny"
[[policy.rules]]
name = "functions"
functions = ["pg_catalog.pg_sleep"]
verdict = "deny"
`;

function batchOf(sql: string): Buffer[] {
  return [...extended(sql), say.sync()];
}

void t.test('conditions and kinds are not got round', async (t) => {
  const weir = await startPoliced(t, conditions);
  const attempts = [
    ['merge into orders o using (select 1) s on true when matched then delete'],
    ['begin; commit; insert into orders values (7001)'],
    ['begin', 'commit; insert into orders values (7002)'],
    ['begin', 'prepare p as insert into orders values (7003)', 'commit', 'execute p'],
    ['select * from orders limit null::bigint'],
    [`select pg_notify('a', 'b')`],
    [`update pg_settings set setting = '1000' where name = 'work_mem'`],
  ];
  for (const steps of attempts) t.equal((await runAll(t, weir, steps)).errors[0]?.['C'], denied, steps.join('; '));
  const bob = await connectAs(t, weir, 'bob');
  bob.write(sleepByNumber);
  t.equal((await bob.reply()).errors[0]?.['C'], denied, 'a call by its number');
  // In a pipeline: what is known of the transaction is what the server last said.
  for (const batches of [
    [[say.query('commit')], [say.query('insert into orders values (7004)')]],
    [[say.query('commit; select 1')], batchOf('insert into orders values (7005)')],
    [batchOf('rollback'), [say.query('insert into orders values (7006)')]],
    [[...extended('commit'), ...batchOf('insert into orders values (7007)')]],
  ]) {
    await bob.query('begin');
    await bob.query('select 1');
    bob.write(...batches.flat());
    const codes: (string | undefined)[] = [];
    for (const _ of batches) codes.push((await bob.reply()).errors[0]?.['C']);
    t.equal(codes.at(-1), denied);
    await bob.query('rollback');
  }
  await bob.query('begin');
  bob.write(...batchOf('insert into orders values (7008)'), ...batchOf('insert into orders values (7009)'));
  t.strictSame([(await bob.reply()).errors, (await bob.reply()).errors], [[], []], 'inserts in a transaction');
  await bob.query('rollback');
  await bob.query('begin');
  bob.write(
    say.parse({ name: 'asked', text: 'insert into orders values (7010)' }),
    say.describe({ type: 'S', name: 'asked' }),
    say.flush(),
  );
  await bob.until('n');
  bob.write(say.bind({ statement: 'asked' }), say.execute(), say.sync());
  t.strictSame((await bob.reply()).errors, [], 'prepared first');
  await bob.query('rollback');
  const kept = ['begin; insert into orders values (7004); rollback', 'select id from orders order by id limit 1'];
  for (const sql of kept) t.strictSame((await runAll(t, weir, [sql])).errors, [], sql);
});

void t.test('a view allowed by a pattern shows what its reader may read', async (t) => {
  const weir = await startPoliced(
    t,
    '[policy]\ndefault = "deny"\n[[policy.rules]]\nname = "open"\nstatements = ["select"]\ntables = ["public.*"]\nverdict = "allow"\n',
  );
  t.equal((await runAll(t, weir, ['select * from notes_view'])).errors[0]?.['C'], denied);
  t.strictSame((await runAll(t, weir, ['select * from orders_view limit 1'])).errors, []);
});

void t.test('a column that is denied is not shown by an error or under another name', async (t) => {
  const weir = await startPoliced(
    t,
    '[policy]\ndefault = "allow"\n[[policy.rules]]\nname = "mail"\ncolumns = ["public.people.email"]\nverdict = "deny"\n',
  );
  for (const sql of [
    'update people set id = null where id = 1',
    'update people set salary = (select 1 from orders old limit 1) returning old.email',
    'with orders as (table people) select orders.email from orders',
  ]) {
    const { rows, errors } = await runAll(t, weir, [sql]);
    t.notOk(JSON.stringify([rows, errors]).includes(planted), sql);
  }
});
