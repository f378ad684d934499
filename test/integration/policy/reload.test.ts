// RELOAD of a policy under clients that are connected: in transactions, with statements prepared before, with a policy and without.

import t, { type Test } from 'tap';
import { type RawClient, type Reply, say } from '../../support/raw-client.js';
import type { TestWeir } from '../../support/weir.js';
import { analystPolicy, connectAs, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

const denied = '42501';
const stale = '0A000';

const withoutSecrets = analystPolicy;
const withSecrets = analystPolicy.replace(
  'tables = ["public.secrets", "public.secret_child"]',
  'tables = ["public.nothing"]',
);
const constantMask = analystPolicy.replace('with = "null"', 'with = "constant"\nvalue = "hidden"');
const otherRules = analystPolicy.replace('"no-secrets"', '"no-secrets-at-all"');
const unmasked = analystPolicy.slice(0, analystPolicy.indexOf('[[policy.masks]]'));

async function reload(weir: TestWeir, policy: string | undefined): Promise<void> {
  weir.policy = policy;
  await weir.pooler.reload();
}

function codeOf(reply: Reply): string | undefined {
  return reply.errors[0]?.['C'];
}

async function prepare(client: RawClient, name: string, text: string): Promise<Reply> {
  client.write(say.parse({ name, text }), say.sync());
  return client.reply();
}

async function run(client: RawClient, statement: string): Promise<Reply> {
  client.write(say.bind({ statement }), say.execute({}), say.sync());
  return client.reply();
}

const modes = ['transaction', 'session'] as const;

for (const pool_mode of modes) {
  const start = (t: Test, policy: string): Promise<TestWeir> => startPoliced(t, policy, { weir: { pool_mode } });

  void t.test(`a transaction goes on, and what is denied now fails it (${pool_mode})`, async (t) => {
    const weir = await start(t, withSecrets);
    const bob = await connectAs(t, weir, 'bob');
    await bob.query('begin');
    t.equal((await bob.query('select count(*) from secrets')).rows[0]?.[0], '5');
    await reload(weir, withoutSecrets);
    t.equal((await bob.query('select count(*) from orders')).rows[0]?.[0], '50');
    const reply = await bob.query('select count(*) from secrets');
    t.match(reply.errors[0], { C: denied, D: 'Rule "no-secrets" denies it.' });
    t.equal(reply.status, 'E');
    t.equal(codeOf(await bob.query('select 1')), '25P02');
    await bob.query('rollback');
    await reload(weir, withSecrets);
    t.equal((await bob.query('select count(*) from secrets')).rows[0]?.[0], '5');
  });

  void t.test(`statements prepared before are judged by what holds now (${pool_mode})`, async (t) => {
    const weir = await start(t, withSecrets);
    const bob = await connectAs(t, weir, 'bob');
    await prepare(bob, 'count_secrets', 'select count(*) from secrets');
    await bob.query('prepare sql_secrets as select count(*) from secrets');
    t.equal((await run(bob, 'count_secrets')).rows[0]?.[0], '5');
    t.equal((await bob.query('execute sql_secrets')).rows[0]?.[0], '5');
    await reload(weir, withoutSecrets);
    t.equal(codeOf(await run(bob, 'count_secrets')), denied);
    t.equal(codeOf(await bob.query('execute sql_secrets')), denied);
    await reload(weir, withSecrets);
    t.equal((await run(bob, 'count_secrets')).rows[0]?.[0], '5');
    t.equal((await bob.query('execute sql_secrets')).rows[0]?.[0], '5');
  });

  void t.test(`masked statements run only as long as they would be masked alike (${pool_mode})`, async (t) => {
    const weir = await start(t, analystPolicy);
    const bob = await connectAs(t, weir, 'bob');
    const text = 'select email from people where id = 1';
    await prepare(bob, 'mail', text);
    await bob.query(`prepare sql_mail as ${text}`);
    t.same((await run(bob, 'mail')).rows, [[null]]);
    t.same((await bob.query('execute sql_mail')).rows, [[null]]);

    await reload(weir, otherRules);
    t.same((await run(bob, 'mail')).rows, [[null]], 'masks have not changed');
    t.same((await bob.query('execute sql_mail')).rows, [[null]]);

    for (const policy of [constantMask, unmasked]) {
      await reload(weir, policy);
      const reply = await run(bob, 'mail');
      t.match(reply.errors[0], { C: stale, H: 'Prepare the statement again.' });
      t.equal(codeOf(await bob.query('execute sql_mail')), stale);
    }
    await reload(weir, constantMask);
    await bob.query('deallocate all');
    await prepare(bob, 'mail', text);
    await bob.query(`prepare sql_mail as ${text}`);
    t.same((await run(bob, 'mail')).rows, [['hidden']]);
    t.same((await bob.query('execute sql_mail')).rows, [['hidden']]);
  });

  void t.test(`masks that begin make what was prepared without them useless (${pool_mode})`, async (t) => {
    const weir = await start(t, unmasked);
    const bob = await connectAs(t, weir, 'bob');
    await prepare(bob, 'mail', 'select email from people where id = 1');
    t.match((await run(bob, 'mail')).rows, [[/PLANTED/]]);
    await reload(weir, analystPolicy);
    t.equal(codeOf(await run(bob, 'mail')), stale);
    t.equal(codeOf(await run(bob, 'mail')), stale, 'and stays so');
  });

  void t.test(`a policy is switched on and off for who is connected (${pool_mode})`, async (t) => {
    const weir = await start(t, analystPolicy);
    const bob = await connectAs(t, weir, 'bob');
    t.equal(codeOf(await bob.query('select * from secrets')), denied);
    for (const off of [undefined, analystPolicy.replace('"enforce"', '"off"')]) {
      await reload(weir, off);
      t.equal((await bob.query('select * from secrets')).rows.length, 5);
      await prepare(bob, 'count_secrets', 'select count(*) from secrets');
      await prepare(bob, 'mail', 'select email from people where id = 1');
      t.match((await run(bob, 'mail')).rows, [[/PLANTED/]]);
      await bob.query('begin');
      await bob.query('select 1');
      await reload(weir, analystPolicy);
      t.equal(codeOf(await bob.query('select * from secrets')), denied);
      await bob.query('rollback');
      t.same((await bob.query('select email from people where id = 1')).rows, [[null]]);
      t.equal(codeOf(await run(bob, 'count_secrets')), denied);
      t.ok([stale, denied].includes(codeOf(await run(bob, 'mail')) ?? ''));
      await bob.query('deallocate all');
    }
  });
}

void t.test('an invalid policy changes nothing', async (t) => {
  const weir = await startPoliced(t);
  const bob = await connectAs(t, weir, 'bob');
  await prepare(bob, 'mail', 'select email from people where id = 1');
  await t.rejects(reload(weir, analystPolicy.replace('"enforce"', '"enforced"')), /enforced/);
  t.equal(codeOf(await bob.query('select * from secrets')), denied);
  t.same((await run(bob, 'mail')).rows, [[null]]);
});

void t.test('masked statements outlive what is read anew of the schema', async (t) => {
  const weir = await startPoliced(t);
  const [bob, alice] = [await connectAs(t, weir, 'bob'), await connectAs(t, weir, 'alice')];
  await prepare(bob, 'mail', 'select email from people where id = 1');
  await alice.query('create table passing (id int)');
  await bob.query('select * from passing');
  t.same((await run(bob, 'mail')).rows, [[null]]);
  await alice.query('drop table passing');
});
