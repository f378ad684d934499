// DO, CALL and users' functions: whatever they did to the session belongs to the client that called them, and to no other.

import t from 'tap';
import { Ladder } from './rig.js';

const ladder = await Ladder.start(t, ['create schema ext', 'create extension dblink schema ext']);
const setup = [
  'create function plain(n int) returns int language plpgsql as $$ begin return n + 1; end $$',
  "create function sets(v text) returns void language plpgsql as $$ begin perform set_config('work_mem', v, false); end $$",
  "create function sets_sql(v text) returns text language sql as $$ select set_config('work_mem', v, false) $$",
  "create function sets_locally(v text) returns void language plpgsql as $$ begin perform set_config('work_mem', v, true); end $$",
  "create function framed() returns text language plpgsql set work_mem = '9MB' as $$ begin return current_setting('work_mem'); end $$",
  "create function framed_sets() returns void language plpgsql set work_mem = '9MB' as $$ begin set work_mem = '10MB'; set enable_sort = off; end $$",
  "create function definer() returns void language plpgsql security definer as $$ begin set work_mem = '11MB'; end $$",
  "create procedure proc(v text) language plpgsql as $$ begin perform set_config('work_mem', v, false); commit; perform set_config('enable_sort', 'off', false); rollback; end $$",
  'create function resets() returns void language plpgsql as $$ begin reset work_mem; end $$',
  'create function runs(sql text) returns void language plpgsql as $$ begin execute sql; end $$',
  "create function custom() returns void language plpgsql as $$ begin perform set_config('app.' || 'hidden', 'secret', false); end $$",
  'create sequence s',
  'grant all on sequence s to public',
];

const sets: readonly (readonly [what: string, sql: string])[] = [
  ['SET in a DO block', "do $$ begin set work_mem = '5MB'; end $$"],
  ['set_config in a DO block', "do $$ begin perform set_config('work_mem', '5MB', false); end $$"],
  ['a plpgsql function', "select sets('5MB')"],
  ['an sql function', "select sets_sql('5MB')"],
  ['a function in FROM', "select * from sets_sql('5MB')"],
  ['a function in a WHERE', "select 1 where sets_sql('5MB') is not null"],
  ['EXECUTE of a text', "select runs('set work_mem = ''5MB''')"],
  ['a function in a transaction', "begin; select sets('5MB'); commit"],
  ['a function in a PREPAREd statement', "prepare p as select sets('5MB'); execute p; deallocate p"],
  ['a function in VALUES', "values (sets_sql('5MB'))"],
  ['a function in COPY', "copy (select sets_sql('5MB')) to stdout"],
];

for (const [what, sql] of sets) {
  ladder.row(
    `a setting changed by ${what} is its client s, and stays so`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.does(sql);
      await b.shows('work_mem', '4MB');
      await a.shows('work_mem', '5MB');
      await b.does("set work_mem = '6MB'");
      await a.shows('work_mem', '5MB');
      await b.shows('work_mem', '6MB');
      await a.does('select resets()');
      await b.shows('work_mem', '6MB');
      await a.shows('work_mem', '4MB');
      await s.pinned();
    },
    { setup },
  );
}

ladder.row(
  'CALL of a procedure that sets, commits, sets and rolls back',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("call proc('5MB')");
    await b.shows('work_mem', '4MB');
    await b.shows('enable_sort', 'on');
    await a.shows('work_mem', '5MB');
    await a.shows('enable_sort', 'on');
  },
  { setup },
);

ladder.row(
  'functions by the extended protocol with values',
  async (s) => {
    const [a, b] = await s.pair();
    await a.parse('p', 'select sets($1)');
    for (const value of ['5MB', '6MB']) {
      await a.bind('p', [value]);
      await b.shows('work_mem', '4MB');
      await a.shows('work_mem', value);
    }
    await a.execute('call proc($1)', ['7MB']);
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '7MB');
  },
  { setup },
);

ladder.row(
  'what does not last: SET LOCAL, functions with SET clauses, blocks that fail',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("do $$ begin set local work_mem = '5MB'; end $$", "select sets_locally('5MB')");
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '4MB');
    await a.gives('select framed()', '9MB');
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '4MB');
    await a.query("do $$ begin set work_mem = '5MB'; raise exception 'no'; end $$");
    await a.query(
      "do $$ begin begin set work_mem = '5MB'; perform 1 / 0; exception when division_by_zero then null; end; end $$",
    );
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '4MB');
    await a.does('select plain(1)');
    await b.does('select plain(2)');
    await s.pinned();
  },
  { setup },
);

ladder.row(
  'what lasts although it looks as if not: SET in a function with a SET clause, in SECURITY DEFINER',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select framed_sets()');
    await b.shows('enable_sort', 'on');
    await b.shows('work_mem', '4MB');
    await a.query('show work_mem');
    await a.shows('enable_sort', 'off');
    await a.does('select definer()');
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '11MB');
  },
  { setup },
);

ladder.row(
  'functions in transactions that are rolled back, to a savepoint, or fail',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('begin', "select sets('5MB')");
    await a.shows('work_mem', '5MB');
    await a.does('rollback');
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '4MB');
    await a.does('begin', "select sets('5MB')", 'savepoint one', "select sets('6MB')", 'rollback to one', 'commit');
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '5MB');
    await a.does('begin', "select sets('7MB')");
    await a.fails('select 1 / 0', '22012');
    await a.does('commit');
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '5MB');
    await a.query("select sets('8MB'); select 1 / 0");
    await b.shows('work_mem', '4MB');
    await a.shows('work_mem', '5MB');
  },
  { setup },
);

ladder.row(
  'reported settings changed by a function',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("do $$ begin set timezone = 'Asia/Tokyo'; set application_name = 'from do'; end $$");
    await b.shows('timezone', 'GMT');
    await b.shows('application_name', '');
    await a.shows('timezone', 'Asia/Tokyo');
    await a.shows('application_name', 'from do');
    s.t.equal(b.parameters.get('TimeZone'), 'GMT');
  },
  { setup },
);

ladder.row(
  'custom settings set by a function: seen by nobody else, known ones kept',
  async (s) => {
    const [a, b] = await s.pair();
    const hidden = "select coalesce(current_setting('app.hidden', true), '')";
    const known = "select coalesce(current_setting('app.known', true), '')";
    await a.does("set app.known = 'one'", "do $$ begin perform set_config('app.known', 'two', false); end $$");
    await b.gives(known, '');
    await a.gives(known, 'two');
    await a.does('select custom()');
    await b.gives(hidden, '');
    await b.gives(known, '');
    await a.gives(known, 'two');
  },
  { setup },
);

ladder.row(
  'what else functions leave: locks, held cursors, temporary tables, sequences, statements',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("select runs('select pg_advisory_lock(5)')");
    await b.gives('select pg_try_advisory_lock(5)', 'f');
    await a.does('select pg_advisory_unlock(5)');
    await a.does("select runs('create temp table x as select 1 as n')");
    await b.gives("select to_regclass('pg_temp.x')", null);
    await a.gives('select n from x', '1');
    await a.does('drop table x', "select runs('declare c cursor with hold for select 7')");
    await b.fails('fetch c', '34000');
    await a.gives('fetch c', '7');
    await a.does('close c', "do $$ begin perform nextval('s'); end $$");
    await b.fails("select currval('s')", '55000');
    await b.fails('select lastval()', '55000');
    await s.pinned();
  },
  { setup, servers: 2 },
);

ladder.row(
  'a statement PREPAREd by a function is its client s alone',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("do $$ begin execute 'prepare dynamic as select 5'; end $$");
    await b.fails('execute dynamic', '26000');
    await a.gives('execute dynamic', '5');
    await b.does('prepare dynamic as select 6');
    await a.gives('execute dynamic', '5');
    await b.gives('execute dynamic', '6');
  },
  { setup, servers: 2 },
);

ladder.row(
  'DISCARD and DEALLOCATE by a function',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("set work_mem = '5MB'");
    await a.parse('p', 'select 1');
    await b.does("prepare p as select 'of b'", "set work_mem = '6MB'");
    await b.parse('q', 'select 2');
    await a.does("do $$ begin execute 'deallocate all'; end $$");
    await b.gives('execute p', 'of b');
    s.t.same((await b.bind('q')).rows, [['2']], s.where);
    await b.shows('work_mem', '6MB');
    await a.shows('work_mem', '5MB');
    await a.parse('fresh', 'select 3');
    s.t.same((await a.bind('fresh')).rows, [['3']], s.where);
  },
  { setup },
);

ladder.row(
  'dblink connections belong to the client that opened them',
  async (s) => {
    const [a, b] = await s.pair({ user: 'super' });
    const place = `host=127.0.0.1 port=${ladder.postgres.port} user=super dbname=postgres`;
    await a.does(`select ext.dblink_connect('far', '${place}')`);
    await b.gives('select coalesce(array_length(ext.dblink_get_connections(), 1), 0)', '0');
    await a.gives("select n from ext.dblink('far', 'select 5') as x(n int)", '5');
    await b.query("select n from ext.dblink('far', 'select 5') as x(n int)");
    await a.gives('select ext.dblink_get_connections()', '{far}');
  },
  { servers: 2 },
);

ladder.weirRow('dblink pins until the client leaves, and nobody inherits the connection', async (s) => {
  const a = await s.client('a', { user: 'super' });
  const place = `host=127.0.0.1 port=${ladder.postgres.port} user=super dbname=postgres`;
  await a.does(`select ext.dblink_connect('far', '${place}')`);
  await a.does("select ext.dblink_disconnect('far')");
  s.t.equal((await s.weir.pins()).length, 1);
  await a.does(`select ext.dblink_connect('far', '${place}')`);
  await a.end();
  const b = await s.client('b', { user: 'super' });
  await b.gives('select coalesce(array_length(ext.dblink_get_connections(), 1), 0)', '0');
  // Who asks for connections may have opened one.
  await b.end();
  await s.pinned();
});

ladder.row(
  'setseed: the client s random numbers are its own',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select setseed(0.25)');
    await b.peek('select random()');
    await a.query('select random()');
    await b.peek('select random()');
    await b.does('select setseed(0.5)');
    await a.query('select random()');
    await b.query('select random()');
    await a.query('select random()');
    await a.does('set seed = 0.75');
    await b.query('select random()');
    await a.query('select random()');
  },
  { servers: 2 },
);

ladder.weirRow(
  'setseed pins until the client leaves',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select setseed(0.25)');
    const first = await a.serverPid();
    s.t.not(await b.serverPid(), first);
    s.t.equal((await s.weir.pins()).length, 1);
    await a.end();
    await s.pinned();
  },
  { servers: 2 },
);

ladder.probed();
