// Policies: what is refused and pinned on demand, how pins are shown and counted, and that they end after pin_timeout.

import t from 'tap';
import { Ladder } from './rig.js';

const ladder = await Ladder.start(t);

interface Sample {
  readonly hazard: string;
  readonly sql: string;
  readonly user?: string;
}

const samples: readonly Sample[] = [
  { hazard: 'setting', sql: "set work_mem = '5MB'" },
  { hazard: 'setting', sql: "select set_config('work_mem', '5MB', false)" },
  { hazard: 'role', sql: 'set role reader' },
  { hazard: 'role', sql: 'set session authorization app', user: 'super' },
  { hazard: 'statement', sql: 'prepare p as select 1' },
  { hazard: 'listen', sql: 'listen news' },
  { hazard: 'cursor', sql: 'declare c cursor with hold for select 1' },
  { hazard: 'temp', sql: 'create temp table x (n int)' },
  { hazard: 'advisory_lock', sql: 'select pg_advisory_lock(1)' },
  { hazard: 'sequence', sql: "select nextval('s')" },
  { hazard: 'load', sql: "load 'auto_explain'", user: 'super' },
  { hazard: 'unknown', sql: 'do $$ begin null; end $$' },
];
const setup = ['create sequence s', 'grant all on sequence s to public'];

for (const { hazard, sql, user = 'app' } of samples) {
  ladder.weirRow(
    `on_hazard.${hazard} = refuse: ${sql}`,
    async (s) => {
      const [a, b] = await s.pair({ user });
      for (const outcome of [await a.query(sql), await a.execute(sql)]) {
        const [error] = outcome.errors;
        s.t.equal(error?.['C'], '0A000');
        s.t.match(`${error?.['M']} ${error?.['D']}`, new RegExp(hazard));
        s.t.match(error?.['H'] ?? '', new RegExp(`on_hazard\\.${hazard}`));
        s.t.equal(outcome.status, 'I');
      }
      await a.gives('select 1', '1');
      await a.does('begin');
      s.t.equal((await a.query(sql)).errors[0]?.['C'], '0A000');
      await a.does('rollback');
      await a.gives('select 1', '1');
      await b.gives('select 1', '1');
      await s.pinned();
    },
    { setup, weir: { [`on_hazard.${hazard}`]: 'refuse' } },
  );

  ladder.weirRow(
    `on_hazard.${hazard} = pin: ${sql}`,
    async (s) => {
      const [a, b] = await s.pair({ user });
      await a.does(sql);
      await s.pinned(hazard);
      const pid = await a.serverPid();
      for (let i = 0; i < 3; i++) {
        s.t.not(await b.serverPid(), pid);
        s.t.equal(await a.serverPid(), pid);
      }
      await a.end();
      await s.pinned();
      await b.shows('work_mem', '4MB');
      await b.gives(`select current_user = $$${user}$$`, 't');
    },
    { setup, servers: 2, weir: { [`on_hazard.${hazard}`]: 'pin' } },
  );
}

ladder.weirRow(
  'a policy concerns its hazard only: everything else works as before',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("set work_mem = '5MB'", 'prepare p as select 1', 'set role reader');
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '5MB');
    await a.gives('execute p', '1');
    await a.fails('create temp table x (n int)', '0A000');
    await a.fails('listen news', '0A000');
    await a.does('begin', 'create temp table x (n int) on commit drop', 'commit');
    await s.pinned();
  },
  { weir: { 'on_hazard.temp': 'refuse', 'on_hazard.listen': 'refuse' } },
);

ladder.weirRow('SHOW PINS and the metrics say who is pinned, to which server, why and since when', async (s) => {
  const before = await s.weir.sum('weir_pins_total', 'reason="temp"');
  const a = await s.client('a', { parameters: { application_name: 'the pinned one' } });
  await a.does('create temp table x (n int)', 'select pg_advisory_lock(1)');
  await s.pinned('advisory_lock', 'temp');
  const [pin] = await s.weir.pins();
  s.t.match(pin?.row, { user: 'app', database: 'postgres', application_name: 'the pinned one' });
  s.t.same(Object.keys(pin?.row ?? {}), [
    'client_id',
    'user',
    'database',
    'application_name',
    'server_id',
    'reasons',
    'age',
    'idle',
  ]);
  s.t.ok(Number(pin?.row['age']) >= 0 && Number(pin?.row['age']) < 30);
  s.t.equal(await s.weir.sum('weir_pinned_clients', 'reason="temp"'), 1);
  s.t.equal(await s.weir.sum('weir_pinned_clients', 'reason="advisory_lock"'), 1);
  s.t.equal(await s.weir.sum('weir_pins_total', 'reason="temp"'), before + 1);
  await a.does('drop table x');
  await s.pinned('advisory_lock');
  await a.does('select pg_advisory_unlock(1)');
  await s.pinned();
  s.t.equal(await s.weir.sum('weir_pinned_clients', 'reason='), 0);
});

ladder.weirRow(
  'pin_timeout: an idle client that keeps a server is told why it is sent away',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('create temp table x (n int)');
    const from = performance.now();
    const waiting = b.query('select 1');
    const fatal = await a.raw.fatal();
    const seconds = (performance.now() - from) / 1000;
    s.t.equal(fatal['S'], 'FATAL');
    s.t.equal(fatal['C'], '57P05');
    s.t.match(JSON.stringify(fatal), /temp/);
    s.t.ok(seconds > 0.8 && seconds < 4, `after ${seconds} s`);
    s.t.same((await waiting).rows, [['1']], 'who waited for the server has it');
    await b.gives("select to_regclass('pg_temp.x')", null);
    await s.pinned();
  },
  { weir: { pin_timeout: 1 } },
);

ladder.weirRow(
  'pin_timeout does not concern clients at work, in a transaction, or without a pin',
  async (s) => {
    const [a, b] = await s.pair();
    const c = await s.client('c');
    await a.does('create temp table x (n int)');
    await c.does("set work_mem = '5MB'");
    for (let i = 0; i < 4; i++) {
      await new Promise((resolve) => setTimeout(resolve, 750));
      await a.does('insert into x values (1)');
    }
    await a.does('select pg_sleep(3.1)');
    await a.gives('select count(*) from x', '4');
    await a.does('drop table x');
    await new Promise((resolve) => setTimeout(resolve, 3_100));
    for (const client of [a, b, c]) await client.gives('select 1', '1');
  },
  { servers: 3, weir: { pin_timeout: 2.5 } },
);

ladder.weirRow(
  'query_wait_timeout: who waits for a pinned server is told',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('create temp table x (n int)');
    const { errors } = await b.query('select 1');
    s.t.match(errors[0]?.['M'] ?? '', /query_wait_timeout/);
    await a.gives('select count(*) from x', '0');
  },
  { weir: { query_wait_timeout: 1 } },
);

ladder.weirRow(
  'track_session_state = false: nothing is replayed but reported settings, as with PgBouncer',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("set work_mem = '5MB'", "set timezone = 'Asia/Tokyo'");
    await b.shows('work_mem', '5MB');
    await b.shows('timezone', 'GMT');
    await a.shows('timezone', 'Asia/Tokyo');
    await a.does('create temp table x (n int)');
    await b.does('drop table x', 'reset work_mem');
    await s.pinned();
  },
  { weir: { track_session_state: false, leak_probe_every: 0 } },
);

ladder.weirRow(
  'SHOW HAZARDS: what clients in session mode did, with an example of each',
  async (s) => {
    const a = await s.client('a', { parameters: { application_name: 'report' } });
    await a.does("set work_mem = '5MB'", "set work_mem = '6MB'", 'prepare p as select 1', 'listen news');
    await a.does('create temp table x (n int)', 'select pg_advisory_lock(1)', 'set role reader', 'reset role');
    await a.does('declare c cursor with hold for select 1', 'do $$ begin null; end $$', "select nextval('s')");
    const rows = (await s.weir.show('HAZARDS')).filter((row) => row['application_name'] === 'report');
    s.t.same(Object.keys(rows[0] ?? {}), [
      'user',
      'database',
      'application_name',
      'hazard',
      'count',
      'transaction_mode',
      'example',
    ]);
    const hazards = rows.map((row) => row['hazard']);
    for (const hazard of ['setting', 'statement', 'listen', 'temp', 'advisory_lock', 'role', 'cursor', 'unknown'])
      s.t.ok(hazards.includes(hazard), `${hazard} is among them`);
    const setting = rows.find((row) => row['hazard'] === 'setting');
    s.t.equal(Number(setting?.['count']), 2);
    s.t.match(String(setting?.['example']), /set work_mem/i);
    s.t.notMatch(String(setting?.['example']), /5MB/, 'an example is a shape, without its constants');
  },
  { setup, weir: { pool_mode: 'session' } },
);

ladder.probed();
