// Rules that decide anew with each run: rates, costs, transactions; and requirements that the text itself meets or not.

import t, { type Test } from 'tap';
import { RawClient, type Reply, say } from '../../support/raw-client.js';
import { connectAs, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

async function connectUnder(t: Test, rules: string, more = {}): Promise<RawClient> {
  const weir = await startPoliced(t, `[policy]\ndefault = "allow"\n${rules}`, more);
  return connectAs(t, weir, 'bob');
}

/** SQLSTATE of the error, or what was answered. */
function came({ errors, commands }: Reply): string | undefined {
  return errors[0]?.['C'] ?? commands.at(-1);
}

const tooMuch = '53400';
const denied = '42501';

void t.test(
  'max_cost: the plan of the first of a shape decides, in and out of transactions, by both protocols',
  async (t) => {
    const bob = await connectUnder(
      t,
      `[[policy.rules]]
name = "cheap"
statements = ["select", "update"]
max_cost = 1000`,
    );
    const cheap = 'select * from orders where id = 1';
    const dear = 'select count(*) from orders a, orders b, orders c, orders d';
    t.equal(came(await bob.query(cheap)), 'SELECT 1');
    const refused = await bob.query(dear);
    t.match(refused.errors[0], { C: tooMuch, D: /Rule "cheap": the planner estimates a cost of [\d.]+, over 1000/ });
    t.equal(refused.status, 'I');
    t.equal(came(await bob.query(dear)), tooMuch, 'the second time by what is known');
    t.equal(came(await bob.execute('select * from orders where id = $1', ['1'])), 'SELECT 1', 'with a parameter');
    t.equal(came(await bob.execute(`${dear} where a.id > $1`, ['0'])), tooMuch);
    await bob.query('begin');
    await bob.query('select 1');
    t.equal(came(await bob.query('select total from orders where id = 2')), 'SELECT 1');
    t.equal(
      (await bob.query('select nothing from orders')).errors[0]?.['C'],
      '42703',
      "an error in the plan is the statement's own",
    );
    t.equal((await bob.query('rollback')).status, 'I');
    await bob.query('begin');
    await bob.query('select 1');
    const inside = await bob.query(`${dear}, orders e`);
    t.equal(came(inside), tooMuch);
    t.equal(inside.status, 'E', 'the transaction has failed as by any error');
    await bob.query('rollback');
    t.equal(came(await bob.query(`explain analyze ${dear}`)), tooMuch, 'one that cannot be estimated is denied');
    t.equal(came(await bob.query(`declare c cursor with hold for ${dear}`)), tooMuch);
    await bob.query(`prepare dear as ${dear}`);
    t.equal(came(await bob.query('execute dear')), tooMuch);
  },
);

void t.test('a plan is asked for behind settings that the server has to be brought to first', async (t) => {
  const policy = `[policy]\ndefault = "allow"\n[[policy.rules]]\nname = "few"\nstatements = ["select"]\nmax_rows = 5000`;
  const weir = await startPoliced(t, policy, { weir: { default_pool_size: 1 } });
  for (const application_name of ['one', 'other']) {
    const client = await RawClient.connect(weir, { user: 'bob', parameters: { application_name } });
    t.teardown(() => client.vanish());
    t.equal(came(await client.query(`select id from orders where id = ${application_name.length}`)), 'SELECT 1');
    t.equal(
      came(await client.execute(`select total, '${application_name}' from orders where id = $1`, ['1'])),
      'SELECT 1',
    );
    t.equal(came(await client.query('select * from generate_series(1, 9000)')), tooMuch);
  }
});

void t.test('several statements in one Query are never put behind EXPLAIN', async (t) => {
  const bob = await connectUnder(t, `[[policy.rules]]\nname = "cheap"\nstatements = ["select"]\nmax_cost = 1`);
  t.equal(came(await bob.query('select 1 from orders; update orders set total = -1')), tooMuch);
  t.strictSame((await bob.query('table orders limit 0')).errors.length <= 1, true);
  const alice = await connectAs(t, server, 'alice');
  t.strictSame((await alice.query('select count(*) from orders where total = -1')).rows, [['0']]);
});

void t.test('max_rows, and a plan that is asked for within a batch', async (t) => {
  const bob = await connectUnder(t, `[[policy.rules]]\nname = "few"\nstatements = ["select"]\nmax_rows = 5000`);
  t.equal(came(await bob.query('select * from generate_series(1, 100000)')), tooMuch);
  bob.write(
    say.parse({ text: 'select id from orders' }),
    say.bind({}),
    say.execute({}),
    say.parse({ text: 'select person from orders' }),
    say.bind({}),
    say.execute({}),
    say.parse({ text: 'select * from generate_series(1, $1::int)' }),
    say.bind({ values: ['9000'] }),
    say.execute({}),
    say.sync(),
  );
  const reply = await bob.reply();
  t.match(reply.errors, [{ C: tooMuch, D: /the planner estimates 9000 rows/ }]);
  t.equal(reply.rows.length, 100, 'those before were answered');
});

void t.test('queries in a pipeline are estimated one after the other', async (t) => {
  const bob = await connectUnder(t, `[[policy.rules]]\nname = "few"\nstatements = ["select"]\nmax_rows = 5000`);
  bob.write(
    say.query('select id, 1 from orders'),
    say.query('begin'),
    say.query('select person, 2 from orders'),
    say.query('select * from generate_series(1, 100001)'),
    say.query('select 3'),
    say.query('rollback'),
  );
  const answers: (string | undefined)[] = [];
  for (let i = 0; i < 6; i++) answers.push(came(await bob.reply()));
  t.strictSame(answers, ['SELECT 50', 'BEGIN', 'SELECT 50', tooMuch, '25P02', 'ROLLBACK']);
});

void t.test('rate: each user has so many, prepared or not; waiting for a server costs none', async (t) => {
  const weir = await startPoliced(
    t,
    `[policy]\ndefault = "allow"\n[[policy.rules]]\nname = "slow"\nstatements = ["update"]\nrate = "3/hour"`,
    { weir: { default_pool_size: 1 } },
  );
  const bob = await connectAs(t, weir, 'bob');
  const other = await connectAs(t, weir, 'bob');
  const alice = await connectAs(t, weir, 'alice');
  await other.query('begin');
  await other.query('select 1');
  const update = 'update orders set total = total where id = 1';
  const waiting = bob.query(update);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await other.query('commit');
  t.equal(came(await waiting), 'UPDATE 1');
  t.equal(came(await bob.execute('update orders set total = total where id = $1', ['1'])), 'UPDATE 1');
  t.equal(came(await bob.query(update)), 'UPDATE 1');
  t.match((await bob.query(update)).errors[0], { C: tooMuch, D: /Rule "slow"/ });
  t.equal(came(await bob.query('select 1')), 'SELECT 1');
  t.equal(came(await alice.query(update)), 'UPDATE 1', 'another user has a rate of her own');
});

void t.test('require: where, limit, transaction', async (t) => {
  const bob = await connectUnder(
    t,
    `[[policy.rules]]
name = "where"
statements = ["update", "delete"]
require = ["where"]
[[policy.rules]]
name = "limit"
tables = ["public.orders"]
statements = ["select"]
require = ["limit"]
[[policy.rules]]
name = "transaction"
tables = ["public.people"]
statements = ["update"]
require = ["transaction"]
hint = "BEGIN first."`,
  );
  for (const sql of [
    'update orders set total = total',
    'delete from orders',
    'delete from orders where true',
    'delete from orders where 1 = 1',
    'with d as (delete from orders returning *) select 1',
    'select * from orders',
    'select * from orders limit all',
    'select * from orders limit null',
    'select * from (select * from orders limit 1) x',
  ]) {
    t.equal(came(await bob.query(sql)), denied, sql);
    t.equal(came(await bob.execute(sql)), denied, sql);
  }
  t.equal(came(await bob.query('update orders set total = total where id = 1')), 'UPDATE 1');
  t.equal(came(await bob.query('select * from orders limit 1')), 'SELECT 1');
  t.equal(came(await bob.query('select * from people limit 1')), 'SELECT 1');
  const update = 'update people set name = name where id = 1';
  t.match((await bob.query(update)).errors[0], { C: denied, H: 'BEGIN first.' });
  t.equal(came(await bob.execute(update)), denied);
  await bob.query('begin');
  t.equal(came(await bob.query(update)), 'UPDATE 1', 'behind a BEGIN that no server knows of');
  t.equal(came(await bob.execute(update)), 'UPDATE 1');
  await bob.query('commit');
  t.equal(came(await bob.query(`begin; ${update}; commit`)), 'COMMIT');
  t.equal(came(await bob.query(update)), denied);
});

void t.test('an estimate tells nothing of what is masked', async (t) => {
  const alice = await connectAs(t, server, 'alice');
  await alice.query('create table wages as select i as id, i % 2 * 1000 as wage from generate_series(1, 1000) i');
  await alice.query('analyze wages');
  const weir = await startPoliced(
    t,
    '[policy]\ndefault = "allow"\n[[policy.masks]]\ncolumns = ["public.wages.wage"]\nwith = "null"\n[[policy.rules]]\nname = "few"\nmax_rows = 100\n',
  );
  const bob = await connectAs(t, weir, 'bob');
  t.strictSame((await bob.query('select id from wages where wage = 1000')).errors, []);
  t.strictSame((await bob.execute('select id from wages where wage < 1000')).errors, []);
});

void t.test('a plan that is not had lets nothing pass', async (t) => {
  const weir = await startPoliced(
    t,
    '[policy]\ndefault = "allow"\n[[policy.rules]]\nname = "cheap"\nstatements = ["select"]\nmax_cost = 1000\n',
  );
  const bob = await connectAs(t, weir, 'bob');
  const dear = 'from orders a, orders b, orders c, orders d';
  // What the parameters are only its own Parse tells.
  bob.write(say.parse({ text: `select count(*), $1 + $1 ${dear}`, name: 'typed', types: [23] }), say.sync());
  t.strictSame((await bob.reply()).errors, [], 'nothing runs yet');
  bob.write(say.bind({ statement: 'typed', values: ['1'] }), say.execute({}), say.sync());
  t.strictSame(came(await bob.reply()), tooMuch);
  const alice = await connectAs(t, server, 'alice');
  await alice.query('begin');
  await alice.query('lock table orders in access exclusive mode');
  const isBlocked = `select count(*) from pg_stat_activity where usename = 'bob' and wait_event_type = 'Lock'`;
  const watcher = await connectAs(t, server, 'alice');
  bob.write(say.query(`select count(*) ${dear}`));
  while ((await watcher.value(isBlocked)) === '0') await new Promise(setImmediate);
  await bob.cancel(weir);
  const cancelled = await bob.reply();
  await alice.query('rollback');
  t.strictSame([cancelled.rows, cancelled.errors[0]?.['C']], [[], '57014']);
});

void t.test('what waits for the schema can be cancelled', async (t) => {
  const holder = await connectAs(t, server, 'alice');
  await holder.query('begin');
  await holder.query('lock table pg_catalog.pg_inherits in access exclusive mode');
  const weir = await startPoliced(t);
  const bob = await connectAs(t, weir, 'bob');
  bob.write(say.query('select id from orders where id = 1'));
  const isBlocked = `select count(*) from pg_locks where relation = 'pg_catalog.pg_inherits'::regclass and not granted`;
  while ((await holder.value(isBlocked)) === '0') await new Promise(setImmediate);
  await bob.cancel(weir);
  const cancelled = await bob.reply();
  t.match(cancelled.errors, [{ C: '57014', D: /was waiting for what the policy/ }]);
  t.equal(cancelled.status, 'I');
  bob.write(say.query('select id from orders where id = 2'));
  await holder.query('rollback');
  t.strictSame((await bob.reply()).rows, [['2']]);
});
