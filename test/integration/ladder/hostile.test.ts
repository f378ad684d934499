// What hostile or hasty clients have tried: each way by which one client once reached another, or lost its own session.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { Ladder } from './rig.js';

const ladder = await Ladder.start(t);

ladder.row(
  'a statement and a goodbye in one write: the statement runs, and the server serves the next',
  async (s) => {
    const [a, b] = await s.pair();
    a.raw.write(say.query('insert into w values (1)'), say.end());
    await a.raw.closed;
    for (let tries = 0; tries < 100; tries++) {
      if ((await b.peek('select count(*) from w')) === '1') break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await b.gives('select count(*) from w', '1');
  },
  { setup: ['create table w (n int)', 'grant all on w to public'] },
);

for (const name of ['"\u00e9.\u00fc"', '"app.m\u00fcll"', `"app.${'x'.repeat(300)}"`]) {
  ladder.weirRow(`settings with odd names stay where they are: ${name.slice(0, 12)}`, async (s) => {
    const [a, b] = await s.pair();
    const bare = name.replaceAll('"', '');
    await a.query(`select set_config('${bare}', 'of a', false)`);
    s.t.not(await b.peek(`select coalesce(current_setting('${bare}', true), '')`), 'of a');
    await a.vanish();
    s.t.not(await b.peek(`select coalesce(current_setting('${bare}', true), '')`), 'of a');
  });
}

for (const making of [
  ['begin; set local search_path = pg_temp; create table users (a text); commit'],
  ['begin', 'set local search_path = pg_temp', 'create table users (a text)', 'commit'],
  ["begin; select set_config('search_path', 'pg_temp', true); create table users (a text); commit"],
  ['set search_path = pg_temp, public; create table users (a text)'],
]) {
  ladder.row(
    `a table made behind a search_path of pg_temp is the client s own: ${making.length} ${making[0]?.slice(0, 40)}`,
    async (s) => {
      const [a, b] = await s.pair();
      for (const sql of making) await a.query(sql);
      await b.gives('select count(*) from users', '1');
      await a.vanish();
      await b.does('insert into users values (2)');
      await b.gives('select count(*) from public.users', '2');
    },
    {
      servers: 2,
      setup: ['create table users (n int)', 'insert into users values (1)', 'grant all on users to public'],
    },
  );
}

ladder.row('SET ROLE NONE is not RESET ROLE where the session began with a role', async (s) => {
  const b = await s.client('b');
  const a = await s.client('a', { parameters: { options: '-c role=reader' } });
  await a.gives('select current_user', 'reader');
  await a.does('set role none');
  await b.gives('select current_user', 'app');
  await a.gives('select current_user', 'app');
  await a.does('reset role');
  await b.gives('select current_user', 'app');
  await a.gives('select current_user', 'reader');
});

ladder.row(
  'lastval of a client that left in the middle is nobody s',
  async (s) => {
    const [a, b] = await s.pair();
    await b.gives("select nextval('s')", '1');
    a.raw.write(say.query("select nextval('s'), pg_sleep(0.2)"));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await a.vanish();
    const { rows, errors } = await b.query('select lastval()');
    s.t.ok(rows[0]?.[0] === '1' || errors[0]?.['C'] === '55000', 'its own, or none');
  },
  { setup: ['create sequence s', 'grant all on sequence s to public'], only: 'weir' },
);

ladder.row('very many PREPAREs in one Query', async (s) => {
  const [a, b] = await s.pair();
  await a.does(Array.from({ length: 70 }, (_, i) => `prepare p${i} as select ${i}`).join(';'));
  await a.gives('execute p69', '69');
  await a.gives('execute p3', '3');
  await a.end();
  await b.fails('execute p3', '26000');
});

ladder.weirRow(
  'refused is refused, whichever way it comes',
  async (s) => {
    const [a] = await s.pair();
    const lock = 'select pg_advisory_lock(1)';
    a.raw.write(say.query('set standard_conforming_strings = on'), say.query(lock));
    await a.raw.reply();
    s.t.equal((await a.raw.reply()).errors[0]?.['C'], '0A000', 'behind what decides how it is read');
    s.t.equal((await a.query(`/* ${'x'.repeat(300_000)} */ ${lock}`)).errors[0]?.['C'], '0A000', 'too long to be read');
    s.t.equal(await a.peek("select count(*) from pg_locks where locktype = 'advisory'"), '0');
  },
  { weir: { 'on_hazard.advisory_lock': 'refuse', 'on_hazard.unknown': 'refuse' } },
);

ladder.row('a setting that is longer than weir carries', async (s) => {
  const [a] = await s.pair();
  await a.gives("select length(set_config('app.big', repeat('x', 5000000), false))", '5000000');
  await a.gives("select length(current_setting('app.big'))", '5000000');
  await a.gives("select length(current_setting('app.big'))", '5000000');
});

ladder.row('notifications for another encoding', async (s) => {
  const a = await s.client('a', { parameters: { client_encoding: 'LATIN1' } });
  await a.does('listen ch');
  await s.admin("select pg_notify('ch', 'plain')");
  const [first] = await a.notifications(1);
  s.t.equal(first?.payload, 'plain');
});

ladder.weirRow(
  'what is to pin pins, also where its text speaks of prepared statements',
  async (s) => {
    const [a] = await s.pair();
    await a.does("do $$ begin execute 'select 1'; end $$");
    await s.pinned('unknown');
  },
  { weir: { 'on_hazard.unknown': 'pin' } },
);

ladder.probed();
