// Settings: each client keeps its own, whatever way they were set, in and outside transactions, over one shared server.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { type Actor, Ladder, type RowOptions, type Scenario } from './rig.js';

const ladder = await Ladder.start(t, ['create schema "odd, schema" authorization app']);
const mb = (n: number): string => `${n}MB`;

/** Both clients look, a first: its own value and the default. */
async function look(a: Actor, b: Actor, own: string): Promise<void> {
  await a.shows('work_mem', own);
  await b.shows('work_mem', '4MB');
  await a.shows('work_mem', own);
}

ladder.row('SET and SHOW: two clients alternate with different values', async (s) => {
  const [a, b] = await s.pair();
  for (let i = 1; i <= 4; i++) {
    await a.does(`set work_mem = '${mb(i)}'`);
    await b.does(`set work_mem = '${mb(i + 10)}'`);
    await a.shows('work_mem', mb(i));
    await b.shows('work_mem', mb(i + 10));
    await a.shows('work_mem', mb(i));
  }
});

const spellings: readonly (readonly [statement: string, setting: string, value: string])[] = [
  ["set work_mem to '5MB'", 'work_mem', '5MB'],
  ['set session work_mem = 6144', 'work_mem', '6MB'],
  ["SET /* x */ Work_Mem TO '7MB' ; -- done", 'work_mem', '7MB'],
  ["set time zone 'Asia/Tokyo'", 'TimeZone', 'Asia/Tokyo'],
  ['set time zone -3', 'TimeZone', '<-03>+03'],
  ["set time zone interval '+02:30' hour to minute", 'TimeZone', '<+02:30>-02:30'],
  ["set names 'LATIN1'", 'client_encoding', 'LATIN1'],
  ["set schema 'odd, schema'", 'search_path', '"odd, schema"'],
  ['set search_path to "odd, schema", public', 'search_path', '"odd, schema", public'],
  ["set search_path to ''", 'search_path', '""'],
  ['set xml option document', 'xmloption', 'document'],
  ["set datestyle to 'German'", 'DateStyle', 'German, DMY'],
  ['set datestyle to sql, dmy', 'DateStyle', 'SQL, DMY'],
  ["set application_name to 'it''s \"a\" \\ client'", 'application_name', 'it\'s "a" \\ client'],
  ["set statement_timeout = '2h'", 'statement_timeout', '2h'],
  ['set enable_seqscan to off', 'enable_seqscan', 'off'],
  ['set session characteristics as transaction isolation level serializable', 'transaction_isolation', 'serializable'],
  ['set session characteristics as transaction read only, deferrable', 'default_transaction_read_only', 'on'],
  ["set default_transaction_isolation = 'repeatable read'", 'transaction_isolation', 'repeatable read'],
  ["select set_config('work_mem', '8MB', false)", 'work_mem', '8MB'],
  ["select pg_catalog.set_config('work_mem', (4 + 5) || 'MB', false)", 'work_mem', '9MB'],
  ["select set_config(lower('WORK_MEM'), '10MB', 1 = 2)", 'work_mem', '10MB'],
  [
    "with x as (select set_config('work_mem', '11MB', false)) select 1 from x, lateral (select * from x) y",
    'work_mem',
    '11MB',
  ],
  ["update pg_settings set setting = '12MB' where name = 'work_mem'", 'work_mem', '12MB'],
  ["select set_config('work_mem', '13MB', false) from generate_series(1, 3)", 'work_mem', '13MB'],
  ["select set_config('work_mem', '1MB', false); set work_mem = '14MB'; select 1", 'work_mem', '14MB'],
];

for (const [statement, setting, value] of spellings) {
  ladder.row(`SET, other spellings: ${statement.replaceAll('#', '')}`, async (s) => {
    const [a, b] = await s.pair();
    const usual = (await b.query(`show ${setting}`)).rows[0]?.[0] ?? '';
    await a.does(statement);
    await b.shows(setting, usual);
    await a.shows(setting, value);
    await b.shows(setting, usual);
    await a.shows(setting, value);
    await a.does(setting === 'transaction_isolation' ? 'reset default_transaction_isolation' : `reset ${setting}`);
    await b.shows(setting, usual);
    await a.shows(setting, usual);
  });
}

ladder.row('RESET, RESET ALL and SET TO DEFAULT bring back what the session began with', async (s) => {
  const a = await s.client('a', { parameters: { options: '-c work_mem=5MB -c enable_sort=off' } });
  const b = await s.client('b');
  await look(a, b, '5MB');
  for (const back of ['reset work_mem', 'set work_mem to default', 'reset all', 'discard all']) {
    await a.does("set work_mem = '6MB'", 'set enable_sort = on');
    await b.does("set work_mem = '7MB'");
    await a.shows('work_mem', '6MB');
    await a.does(back);
    await b.shows('work_mem', '7MB');
    await a.shows('work_mem', '5MB');
    await a.query('show enable_sort');
    await b.does('reset work_mem');
    await look(a, b, '5MB');
  }
});

ladder.row('set_config with values bound, by the unnamed and by a named statement', async (s) => {
  const [a, b] = await s.pair();
  await a.execute('select set_config($1, $2, false)', ['work_mem', '5MB']);
  await look(a, b, '5MB');
  await a.parse('set', 'select set_config($1, $2, $3)');
  for (let i = 6; i <= 8; i++) {
    await a.bind('set', ['work_mem', mb(i), 'f']);
    await look(a, b, mb(i));
    await a.bind('set', ['work_mem', mb(99), 't']);
    await look(a, b, mb(i));
  }
  await a.does("prepare sql_set(text) as select set_config('work_mem', $1, false)");
  await b.does('select 1');
  await a.does("execute sql_set('20MB')");
  await look(a, b, '20MB');
});

ladder.row(
  'set_config fed by a table: names and values only the server knows',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select set_config(name, value, false) from wanted');
    await look(a, b, '5MB');
    await a.shows('enable_sort', 'off');
    await b.shows('enable_sort', 'on');
    await a.does("select set_config('work_mem', '7MB', false) where false");
    await look(a, b, '5MB');
  },
  {
    setup: [
      "create table wanted as values ('work_mem', '5MB'), ('enable_sort', 'off')",
      'alter table wanted rename column1 to name',
      'alter table wanted rename column2 to value',
      'grant select on wanted to public',
    ],
  },
);

ladder.row('SET in a transaction: kept by COMMIT, gone with ROLLBACK', async (s) => {
  const [a, b] = await s.pair();
  await a.does('begin', "set work_mem = '5MB'");
  await a.shows('work_mem', '5MB');
  await a.does('commit');
  await look(a, b, '5MB');
  await a.does('begin', "set work_mem = '6MB'");
  await a.shows('work_mem', '6MB');
  await a.does('rollback');
  await look(a, b, '5MB');
  await a.does('begin', "set work_mem = '7MB'", 'commit and chain', "set work_mem = '8MB'", 'rollback and chain');
  await a.shows('work_mem', '7MB');
  await a.does('commit');
  await look(a, b, '7MB');
  await a.does('begin', 'reset work_mem', 'rollback');
  await look(a, b, '7MB');
  await a.does('begin', 'reset all', 'end');
  await look(a, b, '4MB');
});

ladder.row('SET and ROLLBACK TO SAVEPOINT, RELEASE, and a savepoint inside a savepoint', async (s) => {
  const [a, b] = await s.pair();
  await a.does('begin', "set work_mem = '5MB'", 'savepoint one', "set work_mem = '6MB'", 'savepoint two');
  await a.does("set work_mem = '7MB'", 'release two');
  await a.shows('work_mem', '7MB');
  await a.does('rollback to one');
  await a.shows('work_mem', '5MB');
  await a.does(
    'set enable_sort = off',
    'savepoint three',
    'set enable_sort = on',
    'rollback to savepoint three',
    'commit',
  );
  await look(a, b, '5MB');
  await a.shows('enable_sort', 'off');
  await b.shows('enable_sort', 'on');
});

ladder.row('SET in a transaction that fails: gone with ROLLBACK, and with COMMIT, which rolls back', async (s) => {
  const [a, b] = await s.pair();
  for (const end of ['rollback', 'commit']) {
    await a.does('begin', "set work_mem = '5MB'");
    await a.fails('select 1 / 0', '22012');
    await a.fails('show work_mem', '25P02');
    await a.does(end);
    await look(a, b, '4MB');
  }
  await a.does('begin', "set work_mem = '5MB'", 'savepoint one', "set work_mem = '6MB'");
  await a.fails('select 1 / 0', '22012');
  await a.does('rollback to one');
  await a.shows('work_mem', '5MB');
  await a.does('commit');
  await look(a, b, '5MB');
});

ladder.row(
  'SET among several statements in one Query: what fails takes back what the same transaction set',
  async (s) => {
    const [a, b] = await s.pair();
    await a.query("set work_mem = '5MB'; select 1 / 0");
    await look(a, b, '4MB');
    await a.query("begin; set work_mem = '6MB'; commit; set work_mem = '7MB'; select 1 / 0");
    await look(a, b, '6MB');
    await a.query("set work_mem = '8MB'; begin; set work_mem = '9MB'; rollback; select 1");
    await a.query('show work_mem');
    await b.shows('work_mem', '4MB');
    await a.query("reset work_mem; select 1; set work_mem = '10MB'");
    await look(a, b, '10MB');
  },
);

ladder.row('SET in a pipeline: an error before the Sync takes back the whole of it', async (s) => {
  const [a, b] = await s.pair();
  const step = (text: string): Buffer[] => [say.parse({ text }), say.bind({}), say.execute()];
  await a.messages('two good', ...step("set work_mem = '5MB'"), ...step('set enable_sort = off'), say.sync());
  await look(a, b, '5MB');
  await a.messages('one bad', ...step("set work_mem = '6MB'"), ...step('select 1 / 0'), say.sync());
  await look(a, b, '5MB');
  await a.messages(
    'committed',
    ...step('begin'),
    ...step("set work_mem = '7MB'"),
    ...step('commit'),
    ...step('select 1 / 0'),
    say.sync(),
  );
  await look(a, b, '7MB');
  await b.shows('enable_sort', 'on');
});

ladder.row('SET LOCAL, set_config with is_local, SET TRANSACTION: gone with the transaction', async (s) => {
  const [a, b] = await s.pair();
  await a.does("set work_mem = '5MB'");
  await a.does('begin', "set local work_mem = '6MB'");
  await a.shows('work_mem', '6MB');
  await a.does('commit');
  await look(a, b, '5MB');
  await a.does('begin', "select set_config('work_mem', '7MB', true)", 'rollback');
  await look(a, b, '5MB');
  await a.does('begin', "set work_mem = '8MB'", "set local work_mem = '9MB'");
  await a.shows('work_mem', '9MB');
  await a.does('commit');
  await look(a, b, '8MB');
  await a.does('begin', "set local work_mem = '9MB'", "set work_mem = '10MB'", 'commit');
  await look(a, b, '10MB');
  await a.query("set local work_mem = '11MB'");
  await look(a, b, '10MB');
  await a.does('begin isolation level serializable', 'set transaction read only', 'commit');
  await b.shows('transaction_read_only', 'off');
  await a.shows('transaction_isolation', 'read committed');
});

ladder.row('SET that fails leaves what was', async (s) => {
  const [a, b] = await s.pair();
  await a.does("set work_mem = '5MB'");
  await a.fails("set work_mem = 'much'", '22023');
  await a.fails('set no_such_setting = 1', '42704');
  await a.fails("set shared_buffers = '1GB'", '55P02');
  await a.fails("set log_min_messages = 'debug1'", '42501');
  await a.fails("select set_config('work_mem', '-5', false)", '22023');
  await look(a, b, '5MB');
});

ladder.row('startup options: each session begins with its own', async (s) => {
  const a = await s.client('a', {
    parameters: { options: '-c work_mem=5MB -c statement_timeout=60s', TimeZone: 'Asia/Tokyo' },
  });
  const b = await s.client('b', {
    parameters: { options: '--work-mem=6MB', application_name: 'b', search_path: 'pg_catalog' },
  });
  const c = await s.client('c');
  for (let i = 0; i < 3; i++) {
    await a.shows('work_mem', '5MB');
    await b.shows('work_mem', '6MB');
    await c.shows('work_mem', '4MB');
    await a.shows('timezone', 'Asia/Tokyo');
    await b.shows('search_path', 'pg_catalog');
    await c.shows('statement_timeout', '0');
    await c.shows('application_name', '');
  }
  await a.does("set timezone = 'Asia/Seoul'", 'reset timezone');
  await c.shows('timezone', 'GMT');
  await a.shows('timezone', 'Asia/Tokyo');
});

ladder.row(
  'custom settings with a dot: each client its own',
  async (s) => {
    const [a, b] = await s.pair();
    const mine = "select coalesce(current_setting('app.tenant', true), '')";
    await a.does("set app.tenant = 'one'");
    await b.gives(mine, '');
    await a.gives(mine, 'one');
    await b.does("select set_config('app.tenant', 'two', false)");
    await a.gives(mine, 'one');
    await b.gives(mine, 'two');
    await a.execute('select set_config($1, $2, false)', ['app.tenant', 'it\'s \\ "odd" \u00e9\u4e2d']);
    await b.gives(mine, 'two');
    await a.gives(mine, 'it\'s \\ "odd" \u00e9\u4e2d');
    await a.does('begin', "set app.tenant = 'three'", 'rollback');
    await b.gives(mine, 'two');
    await a.gives(mine, 'it\'s \\ "odd" \u00e9\u4e2d');
    await a.does('begin', "set local app.tenant = 'four'");
    await a.gives(mine, 'four');
    await a.does('commit');
    await b.gives(mine, 'two');
    await a.gives(mine, 'it\'s \\ "odd" \u00e9\u4e2d');
    await a.does('reset app.tenant', 'set "App"."TenantName" = 5');
    await b.gives(mine, 'two');
    await a.gives(mine, '');
    await a.gives("select current_setting('app.tenantname', true)", '5');
  },
  {},
);

ladder.row('custom settings of startup options, reset and discarded', async (s) => {
  const a = await s.client('a', { parameters: { options: '-c app.tenant=first' } });
  const b = await s.client('b');
  const mine = "select coalesce(current_setting('app.tenant', true), '')";
  await a.gives(mine, 'first');
  await b.gives(mine, '');
  await a.does("set app.tenant = 'second'");
  await b.gives(mine, '');
  await a.gives(mine, 'second');
  await a.does('reset all');
  await b.gives(mine, '');
  await a.gives(mine, 'first');
});

ladder.row('long values and many settings at once', async (s) => {
  const [a, b] = await s.pair();
  const long = 'x'.repeat(60_000);
  await a.does(`set app.long = '${long}'`);
  for (let i = 0; i < 100; i++) await a.query(`set app.n${i} = '${i}'`);
  await b.gives("select coalesce(length(current_setting('app.long', true)), 0)", '0');
  await a.gives("select length(current_setting('app.long'))", '60000');
  await a.gives("select current_setting('app.n57')", '57');
  await b.gives("select coalesce(current_setting('app.n57', true), '')", '');
});

ladder.row('a reported setting is reported to the client that set it, and to no other', async (s) => {
  const [a, b] = await s.pair();
  await a.does("set timezone = 'Asia/Tokyo'");
  await b.does('select 1');
  s.t.equal(a.parameters.get('TimeZone'), 'Asia/Tokyo');
  s.t.equal(b.parameters.get('TimeZone'), 'GMT');
  await a.does('begin', "set timezone = 'Asia/Seoul'");
  s.t.equal(a.parameters.get('TimeZone'), 'Asia/Seoul');
  await a.does('rollback');
  s.t.equal(a.parameters.get('TimeZone'), 'Asia/Tokyo');
  await b.does("set application_name = 'b'", 'select 1');
  await a.does('select 1');
  s.t.equal(a.parameters.get('application_name'), '');
  s.t.equal(b.parameters.get('application_name'), 'b');
});

ladder.row(
  'RESET reports a value that goes back to the beginning of the client, also where the server had it',
  async (s) => {
    const [a] = await s.pair({ parameters: { options: '-c default_transaction_read_only=on -c datestyle=german' } });
    const told = (): (string | undefined)[] =>
      ['default_transaction_read_only', 'DateStyle'].map((name) => a.parameters.get(name));
    const begin = told();
    const changes = ['set default_transaction_read_only = off', "set datestyle = 'ISO, MDY'"];
    const ways = [
      ['reset all'],
      ['reset default_transaction_read_only', 'set datestyle to default'],
      ['set default_transaction_read_only = default', "select 1 from set_config('datestyle', null, false)"],
      ['begin', 'reset all'],
      ['discard all'],
    ];
    for (const statements of ways) {
      await a.does(...changes);
      for (const each of statements) await a.query(each);
      s.t.same(told(), begin, `${statements.join('; ')} ${s.where}`);
      await a.query('rollback');
      if (statements[0] === 'begin') s.t.not(told()[0], begin[0], s.where);
    }
  },
);

ladder.row('a DISCARD ALL that fails in a transaction tells nothing when that is rolled back', async (s) => {
  const [a] = await s.pair({ parameters: { options: '-c default_transaction_read_only=on' } });
  await a.does('set session characteristics as transaction read write', 'begin');
  await a.fails('discard all', '25001');
  await a.query('rollback');
  s.t.equal(a.parameters.get('default_transaction_read_only'), 'off', s.where);
});

ladder.row('a client that leaves in the middle of a transaction takes its settings with it', async (s) => {
  const [a, b] = await s.pair();
  await a.does('set enable_sort = off', 'begin', "set work_mem = '5MB'");
  await a.vanish();
  await b.shows('work_mem', '4MB');
  await b.shows('enable_sort', 'on');
  const c = await s.client('c');
  await c.shows('work_mem', '4MB');
});

ladder.row('a client that leaves while its SET runs leaves nothing behind', async (s) => {
  const [a, b] = await s.pair();
  a.raw.write(say.query("set work_mem = '5MB'; select pg_sleep(0.2); set enable_sort = off"));
  await a.vanish();
  await b.shows('work_mem', '4MB');
  await b.shows('enable_sort', 'on');
});

ladder.weirRow('settings survive the loss of an idle server', async (s) => {
  const [a, b] = await s.pair();
  await a.does("set work_mem = '5MB'", "set timezone = 'Asia/Tokyo'", "set app.tenant = 'one'", 'set role reader');
  await b.does("set work_mem = '6MB'");
  await s.killServers();
  await a.shows('work_mem', '5MB');
  await a.shows('timezone', 'Asia/Tokyo');
  await a.gives("select current_setting('app.tenant')", 'one');
  await a.gives('select current_user', 'reader');
  await b.shows('work_mem', '6MB');
  await b.gives('select current_user', 'app');
});

ladder.weirRow('settings of a transaction that died with its server are nobody else s', async (s) => {
  const [a, b] = await s.pair();
  await a.does('set enable_sort = off', 'begin', "set work_mem = '5MB'");
  await s.killServers();
  const { errors } = await a.query('select 1');
  s.t.ok(errors.length > 0 || a.raw.over, 'the client of the transaction is told');
  await b.shows('work_mem', '4MB');
  await b.shows('enable_sort', 'on');
});

ladder.row(
  'SET LOCAL TO DEFAULT goes back to what the session began with, for the rest of the transaction',
  async (s) => {
    const a = await s.client('a', { parameters: { options: '-c work_mem=5MB', TimeZone: 'Asia/Tokyo' } });
    const b = await s.client('b');
    await a.does("set timezone = 'Asia/Seoul'");
    await b.does("set work_mem = '7MB'");
    await a.does('begin', 'set local timezone to default', 'set local work_mem to default');
    await a.shows('timezone', 'Asia/Tokyo');
    await a.shows('work_mem', '5MB');
    s.t.equal(a.parameters.get('TimeZone'), 'Asia/Tokyo');
    await a.does('commit');
    s.t.equal(a.parameters.get('TimeZone'), 'Asia/Seoul');
    await b.shows('work_mem', '7MB');
    await a.shows('timezone', 'Asia/Seoul');
    await a.shows('work_mem', '5MB');
  },
);

const shadows = [
  'create schema evil',
  'create table evil.log (what text)',
  ...['current_setting(text)', 'current_setting(text, boolean)'].map(
    (signature) =>
      `create function evil.${signature} returns text language plpgsql as $$ begin insert into evil.log values ('read'); return 'evil'; end $$`,
  ),
  "create function evil.set_config(text, text, boolean) returns text language plpgsql as $$ begin insert into evil.log values ('set'); return 'evil'; end $$",
  "create function evil.same(text, text) returns boolean language plpgsql as $$ begin insert into evil.log values ('equal'); return true; end $$",
  'create operator evil.= (leftarg = text, rightarg = text, function = evil.same)',
  'create operator evil.<> (leftarg = text, rightarg = text, function = evil.same)',
  "create view evil.pg_settings as select 'work_mem'::text as name, '99MB'::text as setting, 'session'::text as source from evil.set_config('app.evil', 'seen', false)",
  ...['pg_locks', 'pg_cursors', 'pg_prepared_statements', 'pg_class', 'pg_listening_channels'].map(
    (view) => `create view evil.${view} as select evil.current_setting('x') as name`,
  ),
  'grant all on schema evil to public',
  'grant all on all tables in schema evil to public',
];

ladder.row(
  'SET search_path: nothing of the client s schemas is called behind its back',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('set search_path = evil, pg_catalog', "set work_mem = '5MB'");
    await b.shows('work_mem', '4MB');
    await a.does('do $$ begin set enable_sort = off; end $$');
    await b.shows('enable_sort', 'on');
    await b.gives("select coalesce(current_setting('app.evil', true), '')", '');
    await a.shows('work_mem', '5MB');
    await a.shows('enable_sort', 'off');
    await b.gives('select count(*) from evil.log', '0');
  },
  { setup: ['drop schema if exists evil cascade', ...shadows] },
);

const awkward: readonly string[] = [
  'set statement_timeout = 1',
  'set transaction_timeout = 1',
  'set default_transaction_read_only = on',
  "set default_transaction_isolation = 'serializable'",
  'set client_min_messages = debug5',
  'set client_min_messages = error',
  'set standard_conforming_strings = off',
  "set client_encoding = 'SJIS'",
  'set array_nulls = off',
  'set transform_null_equals = on',
  'set quote_all_identifiers = on',
  'set exit_on_error = on',
  'set lock_timeout = 1',
  'set row_security = off',
  'set search_path = pg_temp',
  "set bytea_output = 'escape'",
  'set debug_print_parse = on',
];

for (const statement of awkward) {
  ladder.weirRow(
    `SET that a careless pooler trips over: ${statement}`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.does(statement);
      for (let i = 0; i < 10; i++) {
        const seen = await b.query("show work_mem; set work_mem = '4MB'; insert into plain values (1)");
        s.t.same(seen.rows, [['4MB']]);
        s.t.same([seen.errors, seen.notices], [[], []], 'the other client notices nothing');
        const { notices } = await b.query('create table if not exists plain (n int)');
        s.t.equal(notices.length, 1);
      }
      const [, setting = ''] = /^set (\w+)/.exec(statement) ?? [];
      const mine = await a.query(`show ${setting}`);
      if (!/_timeout = 1$/.test(statement)) s.t.same(mine.errors, [], 'its own value can be asked for');
    },
    { setup: ['create table plain (n int)', 'grant all on plain to public'] },
  );
}

ladder.weirRow('SET idle_session_timeout of one client does not end the others sessions', async (s) => {
  const [a, b] = await s.pair();
  await a.query("set idle_session_timeout = '50ms'");
  await new Promise((resolve) => setTimeout(resolve, 150));
  for (let i = 0; i < 3; i++) {
    await b.shows('idle_session_timeout', '0');
    await new Promise((resolve) => setTimeout(resolve, 70));
  }
});

// Every setting there is

interface Wanted {
  readonly name: string;
  readonly values: readonly [string, string];
}

/** What a session may not keep, or is another row. */
const leftOut =
  "name !~ '^(transaction_|role$|session_authorization$|seed$|is_superuser$|in_hot_standby$)' and name not in ('session_preload_libraries', 'exit_on_error')";

interface SettingRow {
  readonly name: string;
  readonly vartype: string;
  readonly setting: string;
  readonly boot_val: string | null;
  readonly enumvals: string[] | null;
  readonly min_val: string | null;
  readonly max_val: string | null;
}

const known: Readonly<Record<string, readonly string[]>> = {
  application_name: ['one', 'two'],
  client_encoding: ['LATIN1', 'WIN1252'],
  createrole_self_grant: ['set', 'inherit'],
  DateStyle: ['German, DMY', 'SQL, DMY'],
  debug_io_direct: [],
  default_tablespace: ['pg_default'],
  default_text_search_config: ['pg_catalog.german', 'pg_catalog.french'],
  default_transaction_read_only: [],
  dynamic_library_path: ['$libdir', '$libdir:/nowhere'],
  extension_control_path: ['$system', '$system:/nowhere'],
  lc_messages: ['POSIX'],
  lc_monetary: ['POSIX'],
  lc_numeric: ['POSIX'],
  lc_time: ['POSIX'],
  log_connections: [],
  restrict_nonsystem_relation_kind: ['view', 'foreign-table'],
  search_path: ['pg_catalog', 'public'],
  temp_tablespaces: ['pg_default'],
  TimeZone: ['Asia/Tokyo', 'Asia/Seoul'],
  timezone_abbreviations: ['Australia', 'India'],
  max_stack_depth: ['1000', '1001'],
};

function candidates({ name, vartype, setting, enumvals, min_val, max_val }: SettingRow): readonly string[] {
  const special = known[name];
  if (special !== undefined) return [...special, setting];
  if (vartype === 'bool') return [setting === 'on' ? 'off' : 'on', setting];
  if (vartype === 'enum') return [...(enumvals ?? []).filter((value) => value !== setting), setting];
  if (vartype === 'string') return [];
  const [min, max, now] = [Number(min_val), Number(max_val), Number(setting)];
  // Far away, so that no time-out strikes, where there is room.
  const far = /timeout|interval|delay/.test(name) ? [3_600_000, 3_600_001, 3_600, 3_601] : [];
  const near = vartype === 'real' ? [now + 0.5, now - 0.5, now + 0.25, now / 2] : [now + 1, now + 2, now - 1, now - 2];
  return [...far, ...near, min, max].filter((n) => n >= min && n <= max && n !== now).map(String);
}

/** Each with two values that the server accepts and shows differently. */
async function accepted(s: Scenario, user: string, contexts: readonly string[]): Promise<Wanted[]> {
  const rows = (await s.admin(
    `select name, vartype, setting, boot_val, enumvals, min_val, max_val from pg_settings
     where context = any($1) and ${leftOut} order by name`,
    [contexts],
  )) as unknown as SettingRow[];
  const { Client } = (await import('pg')).default;
  const client = new Client({ host: ladder.postgres.host, port: ladder.postgres.port, user, database: 'postgres' });
  await client.connect();
  const found: Wanted[] = [];
  const skipped: string[] = [];
  try {
    for (const row of rows) {
      const shown: string[] = [];
      const taken: string[] = [];
      for (const value of candidates(row)) {
        if (taken.length === 2) break;
        const tried = await client
          .query<{ now: string }>({ text: 'begin; select 1' })
          .then(() => client.query('select set_config($1, $2, false)', [row.name, value]))
          .then(() => client.query<{ now: string }>('select current_setting($1) as now', [row.name]))
          .catch(() => undefined);
        await client.query('rollback');
        const now = tried?.rows[0]?.now;
        if (now === undefined || shown.includes(now)) continue;
        shown.push(now);
        taken.push(value);
      }
      const [first, second] = taken;
      if (first === undefined || second === undefined) skipped.push(row.name);
      else found.push({ name: row.name, values: [first, second] });
    }
  } finally {
    await client.end();
  }
  s.t.comment(`${found.length} settings of ${user}; without two values: ${skipped.join(' ')}`);
  return found;
}

const allOf = (names: string): string =>
  `select name, pg_catalog.current_setting(name) from pg_catalog.pg_settings where name !~ '^(transaction_|in_hot_standby)' and name in (${names}) order by name`;

function walk(user: string, contexts: readonly string[], countMin: number): void {
  const options: RowOptions = {};
  const title = `every setting that ${user === 'super' ? 'a superuser' : 'a user'} may set`;

  ladder.row(
    `${title}, one after another: two clients, two values, one server`,
    async (s) => {
      const wanted = await accepted(s, user, contexts);
      s.t.ok(wanted.length >= countMin, `${wanted.length} of them`);
      const [a, b] = await s.pair({ user });
      const problems: string[] = [];
      const shown = async (client: Actor, name: string): Promise<string> => {
        const { rows, errors } = await client.query(`select pg_catalog.current_setting('${name}')`);
        return rows[0]?.[0] ?? `error ${errors[0]?.['M']}`;
      };
      for (const { name, values } of wanted) {
        const before = await shown(a, name);
        await a.query(`select pg_catalog.set_config('${name}', '${values[0]}', false)`);
        const other = await shown(b, name);
        const own = await shown(a, name);
        await b.query(`select pg_catalog.set_config('${name}', '${values[1]}', false)`);
        const ownAgain = await shown(a, name);
        const own2 = await shown(b, name);
        await a.query(`reset ${name}`);
        const own3 = await shown(b, name);
        const after = await shown(a, name);
        await b.query(`reset ${name}`);
        const end = await shown(b, name);
        if (other !== before) problems.push(`${name}: the other saw ${other}`);
        if (own === own2 || own !== ownAgain || own2 !== own3)
          problems.push(`${name}: ${own} ${ownAgain}, ${own2} ${own3}`);
        if (after !== before || end !== before) problems.push(`${name}: not reset: ${before} ${after} ${end}`);
      }
      s.t.same(problems, [], `each kept its own ${s.where}`);
    },
    options,
  );

  ladder.row(
    `${title}, all at once, then RESET ALL`,
    async (s) => {
      // A socket has its own idea of these, and the statistics of statements and of their parts exclude each other.
      const wanted = (await accepted(s, user, contexts)).filter(
        ({ name }) => !/^tcp_|^log_statement_stats$/.test(name),
      );
      const names = wanted.map(({ name }) => `'${name}'`).join(', ');
      const [a, b] = await s.pair({ user });
      for (const { name, values } of wanted)
        await a.query(`select pg_catalog.set_config('${name}', '${values[0]}', false)`);
      await b.query(allOf(names));
      await a.query(allOf(names));
      for (const { name, values } of wanted)
        await b.query(`select pg_catalog.set_config('${name}', '${values[1]}', false)`);
      const first = await a.query(allOf(names));
      const second = await b.query(allOf(names));
      const alike = first.rows.filter((row, i) => row[1] === second.rows[i]?.[1]).map((row) => row[0]);
      s.t.same(alike, [], `none is alike ${s.where}`);
      await a.does('reset all');
      await b.query(allOf(names));
      await a.query(allOf(names));
      await b.does('discard all');
      const back = await a.query(allOf(names));
      const fresh = await b.query(allOf(names));
      s.t.same(fresh.rows, back.rows, `both are as they began ${s.where}`);
    },
    options,
  );
}

ladder.row(
  'a beginning of one s own comes back by RESET alone, not by one of another setting, nor by DISCARD ALL refused',
  async (s) => {
    const [a, b] = await s.pair({ parameters: { options: '-c default_transaction_read_only=on' } });
    const show = 'show default_transaction_read_only';
    const part = (text: string): Uint8Array[] => [say.parse({ text }), say.bind(), say.execute()];
    const write = 'set session characteristics as transaction read write';
    await a.messages('set beside', ...part('set time zone local'), ...part(write), say.sync());
    await b.does('select 1');
    await a.gives(show, 'off');
    await a.does('begin');
    await a.query('discard all');
    await a.does('rollback');
    await b.does('select 1');
    await a.gives(show, 'off');
    await a.does('begin', 'select 1');
    await a.messages('refused', ...part('discard all'), say.sync());
    await a.does('rollback');
    await b.does('select 1');
    await a.gives(show, 'off');
    await a.does('begin');
    await a.messages('refused at once', ...part('discard all'), say.sync());
    await a.does('rollback');
    await a.gives(show, 'off');
    await a.does('begin', 'reset default_transaction_read_only', 'rollback');
    await b.does('select 1');
    await a.gives(show, 'off');
    await a.does('begin', 'reset all');
    await a.query('select 1/0');
    await a.does('rollback');
    await b.does('select 1');
    await a.gives(show, 'off');
    await a.does('begin');
    await a.query('select 1/0');
    await a.query('reset default_transaction_read_only');
    await a.does('rollback');
    await b.does('select 1');
    await a.gives(show, 'off');
    await a.does('reset default_transaction_read_only');
    await a.gives(show, 'on');
  },
);

walk('app', ['user'], 140);
walk('super', ['user', 'superuser'], 180);

ladder.probed();
