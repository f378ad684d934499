// Time-outs that roles of the policy give: what sessions begin with, what they may not change, and where that ends.

import t from 'tap';
import { RawClient, say } from '../../support/raw-client.js';
import { connectAs, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

const policy = `
[policy]
mode = "enforce"
default = "allow"
unknown = "deny"
[policy.roles.hurried]
users = ["bob"]
statement_timeout = 20
lock_timeout = 1.5
[policy.roles.very_hurried]
users = ["bob"]
statement_timeout = 5
`;

async function timeoutsOf(client: RawClient): Promise<(string | null)[]> {
  return [await client.value('show statement_timeout'), await client.value('show lock_timeout')];
}

for (const pool_mode of ['transaction', 'session'] as const) {
  void t.test(`a session begins with the smallest of its roles' time-outs (${pool_mode})`, async (t) => {
    const weir = await startPoliced(t, policy, { weir: { pool_mode, default_pool_size: 1 } });
    const asks = async (parameters: Readonly<Record<string, string>>): Promise<(string | null)[]> => {
      const client = await RawClient.connect(weir, { user: 'bob', parameters });
      const found = await timeoutsOf(client);
      await client.end();
      return found;
    };
    t.same(await asks({}), ['5s', '1500ms']);
    t.same(await asks({ statement_timeout: '3000' }), ['3s', '1500ms'], 'a smaller one is taken');
    t.same(await asks({ statement_timeout: '5s' }), ['5s', '1500ms']);
    t.same(await asks({ statement_timeout: '1min', lock_timeout: '2s' }), ['5s', '1500ms'], 'a greater one is not');
    t.same(await asks({ statement_timeout: '0' }), ['5s', '1500ms'], 'nor none at all');
    t.same(await asks({ options: '-c statement_timeout=0 -c lock_timeout=10' }), ['5s', '10ms']);
    const alice = await connectAs(t, weir, 'alice');
    t.same(await timeoutsOf(alice), ['0', '0']);
  });

  void t.test(`and keeps them (${pool_mode})`, async (t) => {
    const weir = await startPoliced(t, policy, { weir: { pool_mode } });
    const bob = await connectAs(t, weir, 'bob');
    const refused = [
      'set statement_timeout = 0',
      'set statement_timeout to 1000',
      'SET SESSION "statement_timeout" = 1',
      'set local lock_timeout = 1',
      'reset statement_timeout',
      'set lock_timeout to default',
      'reset all',
      "select set_config('statement_timeout', '0', false)",
      "select pg_catalog.set_config('LOCK_TIMEOUT', '0', true)",
      "select set_config('statement' || '_timeout', '0', false)",
      "select set_config(name, '0', false) from pg_settings where name ~ '^statement_t'",
      "update pg_settings set setting = '0' where name = 'statement_timeout'",
      "update pg_catalog.pg_settings set setting = '0' where name = 'lock_timeout'",
      'begin; set statement_timeout = 0; commit',
      'alter role bob set statement_timeout = 0',
      'alter role bob reset statement_timeout',
      'alter role bob reset all',
      'alter role all in database postgres set lock_timeout = 0',
      'alter database postgres set statement_timeout = 0',
      'alter system set statement_timeout = 0',
      'alter system reset all',
      "create function slow() returns int language sql set statement_timeout = 0 as 'select 1'",
      'prepare later as select set_config($1, $2, false)',
    ];
    for (const sql of refused) {
      const { errors } = await bob.query(sql);
      t.match(errors[0], { C: '42501', H: /smaller steps/ }, sql);
    }
    for (const sql of ["set work_mem = '5MB'", 'reset work_mem', "alter role bob set work_mem = '5MB'"]) {
      t.same((await bob.query(sql)).errors, [], sql);
    }
    t.same(await timeoutsOf(bob), ['5s', '1500ms']);
    t.same((await bob.query('discard all')).errors, []);
    t.same(await timeoutsOf(bob), ['5s', '1500ms'], 'DISCARD ALL leads back to the beginning');
    await bob.query('begin');
    t.same((await bob.query('set transaction read only')).errors, []);
    await bob.query('rollback');
    t.same((await (await connectAs(t, weir, 'alice')).query('set statement_timeout = 0; reset all')).errors, []);
  });
}

for (const pool_mode of ['transaction', 'session'] as const) {
  void t.test(`nothing runs between DISCARD ALL and the time-outs behind it (${pool_mode})`, async (t) => {
    const weir = await startPoliced(t, policy, { weir: { pool_mode } });
    const bob = await connectAs(t, weir, 'bob');
    const batch = (text: string) => [say.parse({ text }), say.bind({}), say.execute({})];
    const show = 'show statement_timeout';
    const refused = { C: '42501', H: /Wait for the answer/ };
    bob.write(...batch('discard all'), ...batch(show), say.sync());
    const { errors, commands } = await bob.reply();
    t.same(commands, ['DISCARD ALL']);
    t.match(errors[0], refused, 'in one batch');
    bob.write(...batch('discard all'), say.sync(), ...batch(show), say.sync());
    t.same((await bob.reply()).errors, []);
    const behind = await bob.reply();
    t.match(behind.errors[0], refused, 'in one write');
    bob.write(say.query('discard all'), say.query(show));
    t.same((await bob.reply()).errors, []);
    t.match((await bob.reply()).errors[0], refused);
    t.same((await bob.query('discard all; show statement_timeout')).errors[0]?.['C'], '25001');
    t.equal(await bob.value(show), '5s');
  });
}

void t.test('what takes too long ends', async (t) => {
  const weir = await startPoliced(t, policy.replace('statement_timeout = 5', 'statement_timeout = 0.2'));
  const bob = await connectAs(t, weir, 'bob');
  t.match((await bob.query('select pg_sleep(30)')).errors[0], { C: '57014' });
  t.equal(await bob.value('select 1'), '1');
});

void t.test('where the policy only observes there are none', async (t) => {
  const weir = await startPoliced(t, policy.replace('"enforce"', '"observe"'));
  const bob = await connectAs(t, weir, 'bob');
  t.same(await timeoutsOf(bob), ['0', '0']);
  t.same((await bob.query('set statement_timeout = 0')).errors, []);
  t.equal(weir.pooler.policing.decisions.of('(timeout)')?.observe, 1);
});
