// max_cost and max_rows: what is asked, of whom, under which settings, for how long an answer holds, and that nobody waits for ever.

import t, { type Test } from 'tap';
import { RawClient, type Reply, say } from '../../support/raw-client.js';
import { connectAs, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

/** SQLSTATE of the error, or what was answered. */
function came({ errors, commands }: Reply): string | undefined {
  return errors[0]?.['C'] ?? commands.at(-1);
}

const tooMuch = '53400';

function costPolicy(limit: string, statements = '["select"]'): string {
  return `[policy]\ndefault = "allow"\n[[policy.rules]]\nname = "cheap"\nstatements = ${statements}\n${limit}\n`;
}

async function connectUnder(t: Test, policy: string, more = {}): Promise<RawClient> {
  const weir = await startPoliced(t, policy, more);
  return connectAs(t, weir, 'bob');
}

const modes = ['transaction', 'session', 'statement'] as const;

for (const pool_mode of modes)
  void t.test(`${pool_mode} mode: every statement of a pipeline is answered`, { timeout: 60_000 }, async (t) => {
    const bob = await connectUnder(t, costPolicy('max_cost = 1000'), { weir: { pool_mode } });
    bob.write(say.query('select 1 as a'), say.query('select now() as b'), say.query('select 3 as c'));
    for (let i = 0; i < 3; i++) t.equal(came(await bob.reply()), 'SELECT 1');
    for (const text of ['select 4 as d', 'select 5, 6', 'select count(*) from orders a, orders b, orders c, orders d'])
      bob.write(say.parse({ text }), say.bind({}), say.execute({}), say.sync());
    t.strictSame(
      [came(await bob.reply()), came(await bob.reply()), came(await bob.reply())],
      ['SELECT 1', 'SELECT 1', tooMuch],
    );
    t.equal(came(await bob.query('select 7, 8, 9')), 'SELECT 1');
  });

const dear = 'select count(*) from orders a, orders b, orders c, orders d';
const cheap = costPolicy('max_cost = 1000');

void t.test("the client's own planner settings neither open nor lock a door", async (t) => {
  const alice = await connectAs(t, server, 'alice');
  await alice.query('create table ones as select i from generate_series(1, 3000) i; analyze ones');
  for (const pool_mode of ['transaction', 'session'] as const) {
    const weir = await startPoliced(t, cheap, { weir: { pool_mode } });
    const bob = await connectAs(t, weir, 'bob');
    const free =
      'set cpu_tuple_cost = 0; set seq_page_cost = 0; set cpu_operator_cost = 0; set cpu_index_tuple_cost = 0';
    await bob.query(`${free}; set random_page_cost = 0`);
    t.equal(came(await bob.query(`${dear} where a.id > 0`)), tooMuch, 'by SET');
    t.equal(came(await bob.execute(`${dear} where a.id > $1`, ['1'])), tooMuch);
    await bob.query('reset all');
    await bob.query('begin');
    await bob.query(free.replaceAll('set ', 'set local '));
    t.equal(came(await bob.query(`${dear} where a.id > 2`)), tooMuch, 'by SET LOCAL');
    await bob.query('rollback');
    await bob.query(`select set_config('cpu_tuple_cost', '0', false), set_config('cpu_operator_cost', '0', false)`);
    t.equal(came(await bob.query(`${dear} where a.id > 3`)), tooMuch, 'by set_config');
    bob.write(say.parse({ text: 'set seq_page_cost = 0' }), say.bind({}), say.execute({}));
    bob.write(say.parse({ text: `${dear} where a.id > 4` }), say.bind({}), say.execute({}), say.sync());
    t.equal(came(await bob.reply()), tooMuch, 'within one batch');
    const parameters = { options: '-c cpu_tuple_cost=0 -c cpu_operator_cost=0 -c seq_page_cost=0' };
    const other = await RawClient.connect(weir, { user: 'bob', parameters });
    t.teardown(() => other.vanish());
    t.equal(came(await other.query(`${dear} where a.id > 5`)), tooMuch, 'by startup options');
    await other.query('set enable_hashjoin = off; set enable_mergejoin = off');
    const joined = 'select count(*) from ones a join ones b on a.i = b.i';
    const plain = await connectAs(t, weir, 'bob');
    const limit = Number((await plan(plain, joined)).match(/cost=[\d.]+\.\.([\d.]+)/)?.[1]);
    t.ok(limit > 0 && limit < 1000, `a hash join costs ${limit}`);
    t.equal(came(await other.query(joined)), tooMuch, 'a plan that only its own settings choose');
    t.equal(came(await plain.query(joined)), 'SELECT 1', 'others have the plan of theirs');
    await other.query('set seq_page_cost = 100000; set cpu_tuple_cost = 100000');
    t.equal(came(await other.query('select count(*) as poisoned from orders where id < 5')), 'SELECT 1');
    t.equal(came(await plain.query('select count(*) as poisoned from orders where id < 5')), 'SELECT 1');
    t.equal(await other.value('show seq_page_cost'), '100000', 'the settings are still there');
  }
});

async function plan(client: RawClient, sql: string): Promise<string> {
  return (await client.query(`explain ${sql}`)).rows.flat().join('\n');
}

void t.test('what a transaction has changed counts for it alone', async (t) => {
  const weir = await startPoliced(t, costPolicy('max_rows = 5000'));
  const bob = await connectAs(t, weir, 'bob');
  const other = await connectAs(t, weir, 'bob');
  const alice = await connectAs(t, server, 'alice');
  await alice.query('create table heap as select i from generate_series(1, 20000) i; analyze heap');
  await alice.query('create table other.heap as select 1 as i; analyze other.heap');
  t.equal(came(await bob.query('select i from heap')), tooMuch);
  await other.query('begin');
  await other.query('truncate heap');
  t.equal(came(await other.query('select i from heap')), 'SELECT 0');
  await other.query('rollback');
  t.equal(came(await bob.query('select i from heap')), tooMuch);
  t.equal(came(await other.query('select i from heap')), tooMuch);
  t.equal(came(await bob.query('set search_path = other')), 'SET');
  t.equal(came(await bob.query('select i from heap')), 'SELECT 1');
  t.equal(
    came(await bob.query('set search_path = public; select i from heap')),
    tooMuch,
    'what stands before may change it',
  );
  t.equal(came(await other.query('select i from heap')), tooMuch);
});

void t.test('a cheap literal opens no door for a dear one', async (t) => {
  for (const pool_mode of ['transaction', 'session'] as const) {
    const bob = await connectUnder(t, costPolicy('max_rows = 5000'), { weir: { pool_mode } });
    const pairs = [
      ['select * from generate_series(1, 10)', 'select * from generate_series(1, 9000)'],
      ['select generate_series(1, 10)', 'select generate_series(1, 9000)'],
      ['select id from orders where id between 1 and 2', undefined],
      ['select 1 from orders a, orders b, orders c limit 10', 'select 1 from orders a, orders b, orders c limit 9000'],
    ] as const;
    for (const [few, many] of pairs) {
      t.match(came(await bob.query(few)), /^SELECT/, few);
      if (many !== undefined) t.equal(came(await bob.query(many)), tooMuch, many);
      t.match(came(await bob.query(few)), /^SELECT/, `${few} is not locked out`);
    }
    const series = 'select * from generate_series(1, $1::int)';
    t.equal(came(await bob.execute(series, ['10'])), 'SELECT 10');
    t.equal(came(await bob.execute(series, ['9000'])), tooMuch, 'nor a cheap value');
    await bob.query('prepare p(int) as select * from generate_series(1, $1)');
    t.equal(came(await bob.query('execute p(10)')), 'SELECT 10');
    t.equal(came(await bob.query('execute p(9000)')), tooMuch);
    bob.write(say.parse({ name: 's', text: series }), say.sync());
    await bob.reply();
    for (const [value, expected] of [
      ['3', 'SELECT 3'],
      ['9000', tooMuch],
    ] as const) {
      bob.write(say.bind({ statement: 's', values: [value] }), say.execute({}), say.sync());
      t.equal(came(await bob.reply()), expected);
    }
  }
});

void t.test('EXPLAIN, COPY, cursors and several statements', async (t) => {
  const bob = await connectUnder(t, cheap);
  t.equal(came(await bob.query(`explain ${dear}`)), 'EXPLAIN', 'it costs nothing');
  t.equal(came(await bob.execute(`explain (costs off) ${dear}`)), 'EXPLAIN');
  t.equal(came(await bob.query('explain analyze select id from orders where id = 1')), 'EXPLAIN');
  t.equal(came(await bob.query('explain (analyze, costs off) select id from orders where id = 1')), 'EXPLAIN');
  t.equal(came(await bob.query(`explain analyze verbose ${dear}`)), tooMuch);
  t.equal(came(await bob.query(`explain (analyze, verbose) ${dear}`)), tooMuch);
  t.equal(came(await bob.query('copy (select id from orders where id = 1) to stdout')), 'COPY 1');
  t.equal(came(await bob.query('copy (select id from (select 1 as id) x) to stdout (format csv)')), 'COPY 1');
  t.equal(came(await bob.query(`copy (${dear}) to stdout`)), tooMuch);
  t.equal(came(await bob.query('select 1; select 2;')), 'SELECT 1');
  t.equal(came(await bob.query(`select 1; ${dear}`)), tooMuch);
  t.equal(came(await bob.query(`begin; ${dear}; commit`)), tooMuch);
  t.equal(came(await bob.query('begin; select id from orders where id = 2; commit')), 'COMMIT');
  t.equal(came(await bob.query(`prepare q as select 1; deallocate q; prepare q as ${dear}; execute q`)), tooMuch);
  await bob.query('begin');
  t.equal(came(await bob.query('declare c cursor for select id from orders')), 'DECLARE CURSOR');
  t.equal(came(await bob.query('fetch 2 c')), 'FETCH 2');
  t.equal(came(await bob.query(`declare d cursor for ${dear}`)), tooMuch);
  await bob.query('rollback');
  t.equal(came(await bob.query('create temp table few as select id from orders')), 'SELECT 50');
  t.equal(came(await bob.query(`create temp table many as ${dear}`)), tooMuch);
  t.equal(came(await bob.query(`create view dear_view as ${dear}`)), 'CREATE VIEW', 'it runs nothing');
  t.equal(came(await bob.query('select * from dear_view')), tooMuch);
  t.equal(came(await bob.query('drop view dear_view')), 'DROP VIEW');
  const everything = await connectUnder(t, costPolicy('max_cost = 1000', '["*"]'));
  for (const sql of [
    'begin',
    'savepoint s',
    'set local work_mem = 65536',
    'show work_mem',
    'copy orders to stdout',
    'commit',
  ])
    t.notOk((await everything.query(sql)).errors[0], sql);
  t.equal(came(await everything.query('do $$begin end$$')), tooMuch, 'what nobody can estimate');
});

void t.test('values that decide, behind a BEGIN, in the batch of it, too long to be held', async (t) => {
  const bob = await connectUnder(t, costPolicy('max_rows = 5000'));
  const series = 'select * from generate_series(1, $1::int)';
  await bob.query('begin');
  t.equal(came(await bob.execute(series, ['10'])), 'SELECT 10');
  t.equal(came(await bob.execute(series, ['9000'])), tooMuch);
  t.equal((await bob.query('rollback')).status, 'I');
  for (const [value, expected] of [
    ['7', 'SELECT 7'],
    ['9000', tooMuch],
  ] as const) {
    bob.write(say.parse({ text: 'begin' }), say.bind({}), say.execute({}));
    bob.write(say.parse({ text: series }), say.bind({ values: [value] }), say.execute({}), say.sync());
    t.equal(came(await bob.reply()), expected);
    await bob.query('rollback');
  }
  t.equal(came(await bob.execute('select length($1)', ['x'.repeat(20_000)])), 'SELECT 1');
  bob.write(say.parse({ text: 'select nothing from orders where id > $1' }), say.bind({ values: ['1'] }), say.sync());
  t.equal((await bob.reply()).errors[0]?.['C'], '42703');
  bob.write(say.parse({ text: series }), say.bind({ values: ['many'] }), say.execute({}), say.sync());
  t.match(await bob.reply(), { errors: [{ C: '22P02' }], status: 'I' });
  t.equal(came(await bob.query('select 1')), 'SELECT 1');
});

void t.test('behind a BEGIN that no server knows of yet a refusal makes the transaction fail', async (t) => {
  const bob = await connectUnder(t, cheap);
  for (const refused of [[say.query(dear)], [say.parse({ text: dear }), say.bind({}), say.execute({}), say.sync()]]) {
    await bob.query('begin');
    bob.write(...refused);
    t.match(await bob.reply(), { errors: [{ C: tooMuch }], status: 'E' });
    t.match(await bob.query('select 1'), { errors: [{ C: '25P02' }], status: 'E' });
    t.match(await bob.query('rollback'), { commands: ['ROLLBACK'], status: 'I' });
  }
});

void t.test('session mode: a text that was refused does not stick to its name', async (t) => {
  const bob = await connectUnder(t, costPolicy('max_rows = 5000'), { weir: { pool_mode: 'session' } });
  const before = [say.parse({ name: 'kept', text: 'select 1' }), say.sync()];
  bob.write(...before);
  await bob.reply();
  for (const [value, expected] of [
    ['9000', tooMuch],
    ['8', 'SELECT 8'],
  ] as const) {
    const text = `select ${expected === tooMuch ? 'x' : 'x + 0'} from generate_series(1, $1::int) x`;
    bob.write(say.bind({ statement: 'kept' }), say.execute({}));
    bob.write(say.parse({ text }), say.bind({ values: [value] }), say.execute({}), say.sync());
    t.equal(came(await bob.reply()), expected);
  }
});
