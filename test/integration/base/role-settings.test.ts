// ALTER ROLE SET and ALTER DATABASE SET: what a direct connection gets at its login and keeps, a client of weir's gets and keeps.

import t, { type Test } from 'tap';
import type { TestPostgres } from '../../support/index.js';
import type { TestWeir } from '../../support/weir.js';
import { type Client, connect, leaksOf, settled, startBase, weirWith } from './rig.js';

const postgres: TestPostgres = await startBase(t);

const shows =
  "select current_setting('work_mem'), current_setting('search_path'), coalesce(current_setting('app.tenant', true), ''), current_setting('role'), current_setting('DateStyle'), current_setting('lock_timeout')";

async function clear(): Promise<void> {
  await postgres.query('alter role app reset all');
  await postgres.query('alter role all reset all');
  await postgres.query('alter database postgres reset all');
  await postgres.query('alter role app in database postgres reset all');
}

const alterations: readonly string[] = [
  "alter role app set work_mem = '5MB'",
  'alter role app set search_path = sa',
  "alter database postgres set app.tenant = '4'",
  "alter role all in database postgres set datestyle = 'German'",
  "alter role app in database postgres set lock_timeout = '6min'",
  'alter role app set role = reader',
];

const changes: readonly string[] = [
  "set work_mem = '9MB'; set search_path = public; set app.tenant = 9",
  'reset work_mem; reset app.tenant',
  'reset all',
  'set role writer',
  'reset role',
  'set role none',
  'discard all',
  "do $$ begin perform set_config('work_mem', '7MB', false), set_config('app.tenant', '7', false); end $$",
  'begin; reset work_mem; set local datestyle = iso; commit',
];

interface Pair {
  readonly direct: Client;
  readonly through: Client;
}

async function pair(t: Test, weir: TestWeir): Promise<Pair> {
  return { direct: await connect(t, postgres), through: await connect(t, weir) };
}

async function same(t: Test, { direct, through }: Pair, sql: string, about = sql): Promise<void> {
  t.equal(await through.say(sql), await direct.say(sql), about);
}

/** Every client gets a server of its own once, so that there are as many. */
async function onSeveralServers(pairs: readonly Pair[]): Promise<void> {
  for (const { through } of pairs) await through.say('begin');
  for (const { through } of pairs) await through.say('select 1');
  for (const { through } of pairs) await through.say('commit');
}

t.test('settings of the role and the database are what resets go back to', async (t) => {
  await clear();
  for (const alteration of alterations) await postgres.query(alteration);
  const weir = await weirWith(t, postgres, {});
  const [a, b] = [await pair(t, weir), await pair(t, weir)];
  t.same(a.through.raw.parameters, a.direct.raw.parameters, 'ParameterStatus at the login');
  for (const change of changes) {
    await same(t, a, change);
    await same(t, a, shows, change);
    await same(t, b, shows, `${change}, seen by another client`);
  }
  t.equal(leaksOf(weir), 0, 'no probe found a leak');
});

for (const lanes of ['auto', 'off'] as const) {
  t.test(`a client keeps what it began with, whatever is altered (lanes ${lanes})`, async (t) => {
    for (const alteration of alterations) {
      await clear();
      const weir = await weirWith(t, postgres, {}, { default_pool_size: 3, lanes });
      const old = await pair(t, weir);
      await same(t, old, shows);
      await postgres.query(alteration);
      const others = [await pair(t, weir), await pair(t, weir)];
      await onSeveralServers([old, ...others]);
      const late = await pair(t, weir);
      for (let i = 0; i < 8; i++) await same(t, old, shows, `${alteration}: who was there before`);
      for (let i = 0; i < 4; i++) await same(t, late, shows, `${alteration}: who came later`);
      await same(t, old, 'set work_mem = 1000; set role writer; set search_path = public');
      await same(t, late, shows);
      await same(t, old, 'reset all');
      await same(t, old, 'reset role');
      for (let i = 0; i < 4; i++) await same(t, old, shows, `${alteration}: and resets`);
      await same(t, late, shows);
      await same(t, old, 'discard all');
      await same(t, old, shows, `${alteration}: and discards`);
      await settled(weir);
      t.equal(leaksOf(weir), 0, 'no probe found a leak');
    }
  });
}

t.test('who logs in after an ALTER ROLE that ran through weir begins with it', async (t) => {
  for (const alteration of alterations) {
    await clear();
    const weir = await weirWith(t, postgres, {}, { default_pool_size: 2 });
    const old = await pair(t, weir);
    await same(t, old, shows);
    const admin = await connect(t, weir, { user: 'super' });
    t.equal(await admin.say(alteration), '[]');
    const late = await pair(t, weir);
    for (let i = 0; i < 3; i++) {
      await same(t, late, shows, alteration);
      await same(t, old, shows, `${alteration}: who was there before`);
    }
  }
});

t.test("the settings of a role are the login's: SET ROLE brings none", async (t) => {
  await clear();
  await postgres.query("alter role reader set work_mem = '3MB'");
  const weir = await weirWith(t, postgres, {});
  const a = await pair(t, weir);
  for (const sql of ['set role reader', shows, 'reset role', shows]) await same(t, a, sql);
});

t.test('connect_query goes over the settings of the role', async (t) => {
  await clear();
  await postgres.query("alter role app set work_mem = '5MB'");
  await postgres.query("alter role app set lock_timeout = '4min'");
  const weir = await weirWith(t, postgres, { connect_query: "set work_mem = '6MB'" });
  const parameters = { options: '-c work_mem=6MB' };
  const a: Pair = { direct: await connect(t, postgres, { parameters }), through: await connect(t, weir) };
  for (const sql of [shows, "set work_mem = '1MB'; set lock_timeout = 1", 'reset all', shows, 'discard all', shows])
    await same(t, a, sql);
});
