// Roles: what a client has become by SET ROLE, SET SESSION AUTHORIZATION or a function, no other client ever is.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { type Actor, Ladder } from './rig.js';

const ladder = await Ladder.start(t, [
  'create schema reader authorization reader',
  'grant all on schema reader to public',
]);
const who = "select session_user || ' as ' || current_user";

async function are(a: Actor, asA: string, b: Actor, asB: string): Promise<void> {
  await a.gives(who, asA);
  await b.gives(who, asB);
  await a.gives(who, asA);
}

ladder.row('SET ROLE: two clients alternate as different roles', async (s) => {
  const [a, b] = await s.pair();
  for (const [mine, other] of [
    ['reader', 'writer'],
    ['writer', 'reader'],
  ] as const) {
    await a.does(`set role ${mine}`);
    await are(a, `app as ${mine}`, b, 'app as app');
    await b.does(`set role '${other}'`);
    await are(a, `app as ${mine}`, b, `app as ${other}`);
    await b.does('reset role');
  }
  await a.shows('role', 'writer');
  await b.shows('role', 'none');
  await a.does('set role none');
  await are(a, 'app as app', b, 'app as app');
});

const ways: readonly (readonly [set: string, back: string])[] = [
  ['set role reader', 'reset role'],
  ['set session role reader', 'set role to default'],
  ["select set_config('role', 'reader', false)", 'set role none'],
  ["select set_config('ro' || 'le', 'reader', false)", "select set_config('role', 'none', false)"],
  ["update pg_settings set setting = 'reader' where name = 'role'; set role reader", 'discard all'],
  ['begin; set role reader; commit', 'reset session authorization'],
  ['set local role writer; set role reader', 'set session authorization default'],
  ['SET "role" TO \'reader\'', 'begin; reset role; commit'],
];

for (const [set, back] of ways) {
  ladder.row(`SET ROLE, other spellings: ${set}; back with ${back}`, async (s) => {
    const [a, b] = await s.pair();
    await a.query(set);
    await are(a, 'app as reader', b, 'app as app');
    await a.query('reset all');
    await are(a, 'app as reader', b, 'app as app');
    await a.query(back);
    await are(a, 'app as app', b, 'app as app');
  });
}

ladder.row('SET ROLE bound, and as a startup option', async (s) => {
  const [a, b] = await s.pair();
  await a.execute('select set_config($1, $2, $3)', ['role', 'reader', 'false']);
  await are(a, 'app as reader', b, 'app as app');
  const c = await s.client('c', { parameters: { options: '-c role=writer' } });
  await are(c, 'app as writer', b, 'app as app');
  await are(c, 'app as writer', a, 'app as reader');
  await c.does('reset role');
  await are(c, 'app as writer', b, 'app as app');
});

ladder.row('SET ROLE in transactions: ROLLBACK, savepoints, errors, LOCAL', async (s) => {
  const [a, b] = await s.pair();
  await a.does('begin', 'set role reader');
  await a.gives(who, 'app as reader');
  await a.does('rollback');
  await are(a, 'app as app', b, 'app as app');
  await a.does('begin', 'set role reader', 'savepoint one', 'set role writer', 'rollback to one', 'commit');
  await are(a, 'app as reader', b, 'app as app');
  await a.does('begin', 'set local role writer');
  await a.gives(who, 'app as writer');
  await a.does('commit');
  await are(a, 'app as reader', b, 'app as app');
  await a.does('begin', 'reset role');
  await a.fails('select 1 / 0', '22012');
  await a.does('commit');
  await are(a, 'app as reader', b, 'app as app');
  await a.query('set role none; select 1 / 0');
  await are(a, 'app as reader', b, 'app as app');
  await a.fails('set role super', '42501');
  await a.fails('set role nobody_at_all', '22023');
  await are(a, 'app as reader', b, 'app as app');
});

ladder.row('SET ROLE decides what is allowed and who owns what', async (s) => {
  const [a, b] = await s.pair();
  await a.does('set role writer', 'create table owned (n int)');
  await b.fails('insert into owned values (1)', '42501');
  await b.gives("select tableowner::text from pg_tables where tablename = 'owned'", 'writer');
  await a.does('insert into owned values (1)');
  await b.does('set role reader');
  await b.fails('select * from owned', '42501');
  await a.does('insert into owned values (2)', 'drop table owned');
});

ladder.row('SET ROLE and settings that follow the role', async (s) => {
  const [a, b] = await s.pair();
  await a.does('set role reader');
  await b.gives('select current_schema()', 'public');
  await a.gives('select current_schema()', 'reader');
  await b.gives("select array_to_string(current_schemas(false), ',')", 'public');
  await a.does("set work_mem = '5MB'", 'reset role');
  await b.shows('work_mem', '4MB');
  await a.shows('work_mem', '5MB');
  await a.gives('select current_schema()', 'public');
});

ladder.row('a client that leaves as another role leaves no role behind', async (s) => {
  const [a, b] = await s.pair();
  await a.does('set role reader');
  await a.end();
  await b.gives(who, 'app as app');
  const c = await s.client('c');
  await c.does('begin', 'set role writer');
  await c.vanish();
  await b.gives(who, 'app as app');
  const d = await s.client('d');
  d.raw.write(say.query('set role writer; select pg_sleep(0.2)'));
  await d.vanish();
  await b.gives(who, 'app as app');
});

ladder.row('SET SESSION AUTHORIZATION: the others keep their login', async (s) => {
  const [a, b] = await s.pair({ user: 'super' });
  await a.does('set session authorization app');
  await are(a, 'app as app', b, 'super as super');
  await a.fails("set log_min_messages = 'debug1'", '42501');
  await b.does('set role writer');
  await a.does('set role reader');
  await are(a, 'app as reader', b, 'super as writer');
  await a.does('reset all');
  await are(a, 'app as reader', b, 'super as writer');
  await a.does('reset session authorization', 'reset role');
  await are(a, 'super as super', b, 'super as writer');
  s.t.equal(a.parameters.get('session_authorization'), 'super');
  s.t.equal(a.parameters.get('is_superuser'), 'on');
});

ladder.row('SET SESSION AUTHORIZATION in transactions, LOCAL, as set_config and in a pipeline', async (s) => {
  const [a, b] = await s.pair({ user: 'super' });
  await a.does('begin', 'set session authorization app', 'rollback');
  await are(a, 'super as super', b, 'super as super');
  await a.does('begin', 'set local session authorization app');
  await a.gives(who, 'app as app');
  await a.does('commit');
  await are(a, 'super as super', b, 'super as super');
  await a.does("select set_config('session_authorization', 'app', false)");
  await are(a, 'app as app', b, 'super as super');
  await a.does('set session authorization default');
  await are(a, 'super as super', b, 'super as super');
  await a.does(
    'begin',
    'set session authorization app',
    'savepoint one',
    'reset session authorization',
    'rollback to one',
    'commit',
  );
  await are(a, 'app as app', b, 'super as super');
  await a.does('discard all');
  await are(a, 'super as super', b, 'super as super');
});

ladder.row('settings only a superuser may set stay with who became less since', async (s) => {
  const [a, b] = await s.pair({ user: 'super' });
  await a.does(
    "set session_replication_role = 'replica'",
    "set temp_file_limit = '1GB'",
    'set session authorization app',
    'set role reader',
  );
  await b.shows('session_replication_role', 'origin');
  await a.shows('session_replication_role', 'replica');
  await a.shows('temp_file_limit', '1GB');
  await a.gives(who, 'app as reader');
  await b.gives(who, 'super as super');
  await a.fails("set session_replication_role = 'local'", '42501');
  await a.does('set role app');
  await b.shows('temp_file_limit', '-1');
  await a.shows('temp_file_limit', '1GB');
  await a.does('reset session authorization');
  await b.gives(who, 'super as super');
  await a.does('reset session_replication_role');
  await a.shows('session_replication_role', 'origin');
});

ladder.row('SET SESSION AUTHORIZATION is refused to a user as PostgreSQL refuses it', async (s) => {
  const [a, b] = await s.pair();
  await a.fails('set session authorization super', '42501');
  await a.fails("select set_config('session_authorization', 'super', false)", '42501');
  await a.does('set session authorization app', 'set session authorization default');
  await are(a, 'app as app', b, 'app as app');
});

const functions = [
  'create function become(role text) returns void language plpgsql as $$ begin execute format($f$set role %I$f$, role); end $$',
  "create function configure(role text) returns text language sql as $$ select set_config('role', role, false) $$",
  'create function secure() returns void language plpgsql security definer as $$ begin set role reader; end $$',
  'create function authorize(who text) returns void language plpgsql as $$ begin execute format($f$set session authorization %I$f$, who); end $$',
  'create procedure become_now(role text) language plpgsql as $$ begin execute format($f$set role %I$f$, role); commit; end $$',
];

const calls: readonly (readonly [what: string, call: string])[] = [
  ['a DO block', 'do $$ begin set role reader; end $$'],
  ['set_config in a DO block', "do $$ begin perform set_config('role', 'reader', false); end $$"],
  ['a plpgsql function', "select become('reader')"],
  ['an sql function', "select configure('reader')"],
  ['a procedure', "call become_now('reader')"],
  ['a function in a transaction', "begin; select become('reader'); commit"],
];

for (const [what, call] of calls) {
  ladder.row(
    `a role changed in ${what} is its client s alone`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.query(call);
      await b.gives(who, 'app as app');
      await a.gives(who, 'app as reader');
      await b.gives(who, 'app as app');
      await a.does('reset role');
      await are(a, 'app as app', b, 'app as app');
    },
    { setup: functions },
  );
}

ladder.row(
  'a role changed in a function and rolled back',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('begin', "select become('reader')");
    await a.gives(who, 'app as reader');
    await a.does('rollback');
    await are(a, 'app as app', b, 'app as app');
    await a.query("do $$ begin set role reader; raise exception 'no'; end $$");
    await b.gives(who, 'app as app');
    await a.gives(who, 'app as app');
    await a.query('do $$ begin begin set role reader; perform 1 / 0; exception when others then null; end; end $$');
    await b.gives(who, 'app as app');
    await a.gives(who, 'app as app');
  },
  { setup: functions },
);

ladder.row(
  'SECURITY DEFINER: its role ends with the function, and it may not change roles',
  async (s) => {
    const [a, b] = await s.pair();
    await a.fails('select secure()', '42501');
    await are(a, 'app as app', b, 'app as app');
    await a.does('select owner_name()');
    await are(a, 'app as app', b, 'app as app');
  },
  {
    setup: [
      ...functions,
      'create function owner_name() returns text language sql security definer as $$ select current_user::text $$',
    ],
  },
);

ladder.row(
  'a session authorization changed in a function is its client s alone',
  async (s) => {
    const [a, b] = await s.pair({ user: 'super' });
    await a.does("select authorize('app')");
    await b.gives(who, 'super as super');
    await a.gives(who, 'app as app');
    await b.gives(who, 'super as super');
    await a.does('reset session authorization');
    await are(a, 'super as super', b, 'super as super');
  },
  { setup: functions },
);

ladder.weirRow(
  'a client that leaves right after a function changed its role leaves no role behind',
  async (s) => {
    for (let i = 0; i < 5; i++) {
      const a = await s.client(`a${i}`);
      const b = await s.client(`b${i}`);
      await a.does("select become('writer')");
      await a.vanish();
      await b.gives(who, 'app as app');
      const c = await s.client(`c${i}`);
      await c.gives(who, 'app as app');
    }
  },
  { setup: functions },
);

ladder.weirRow('roles survive the loss of a server, those of a lost transaction do not', async (s) => {
  const [a, b] = await s.pair();
  await a.does('set role reader');
  await s.killServers();
  await are(a, 'app as reader', b, 'app as app');
  await b.does('begin', 'set role writer');
  await s.killServers();
  await b.query('select 1');
  const c = await s.client('c');
  await are(a, 'app as reader', c, 'app as app');
});

ladder.probed();
