// What connect_query has made of a server is what every session begins with, and what every RESET goes back to.

import t, { type Test } from 'tap';
import { type Client, connect, leaksOf, settled, startBase, weirWith } from './rig.js';

const postgres = await startBase(t);

const shows =
  "select current_setting('statement_timeout'), current_setting('search_path'), current_setting('role'), current_user, session_user, coalesce(current_setting('app.tenant', true), ''), current_setting('TimeZone'), current_setting('work_mem')";

interface Base {
  readonly title: string;
  readonly connectQuery: string;
  /** What a direct connection begins with instead. */
  readonly options: string;
}

const bases: readonly Base[] = [
  {
    title: 'settings',
    connectQuery:
      "set statement_timeout = 500000; set search_path = sa; set timezone = 'Asia/Tokyo'; select set_config('app.tenant', '7', false)",
    options: '-c statement_timeout=500000 -c search_path=sa -c timezone=Asia/Tokyo -c app.tenant=7',
  },
  {
    title: 'a role',
    connectQuery: 'set role reader; set work_mem = 5000',
    options: '-c role=reader -c work_mem=5000',
  },
];

/** One client does this; the same and another one then look. */
const changes: readonly string[] = [
  "set statement_timeout = '9s'",
  'set search_path = public; set app.tenant = 8',
  "set statement_timeout = '9s'; reset statement_timeout; select current_setting('statement_timeout')",
  'reset all',
  'discard all',
  'set role writer',
  'reset role',
  'set role none',
  'set session authorization default',
  'set session authorization app',
  'reset session authorization',
  'begin; set local statement_timeout = 3000; set local role writer; commit',
  'begin; reset search_path; reset role; reset app.tenant; select 1/0',
  'rollback',
  'begin; set search_path = public; savepoint s; reset search_path; rollback to s; commit',
  "select set_config('search_path', 'public', false), set_config('app.tenant', '9', false)",
  'set search_path to default; reset app.tenant',
  "do $$ begin perform set_config('statement_timeout', '8s', false); perform set_config('app.tenant', '10', false); end $$",
  'do $$ begin reset statement_timeout; reset app.tenant; end $$',
  "do $$ begin execute 'reset all'; end $$",
  'set timezone = utc; reset timezone',
  "set work_mem = '6MB'; reset work_mem",
  'set local statement_timeout = 1000000; discard all',
];

async function sees(t: Test, clients: readonly [Client, Client], sql: string): Promise<void> {
  const [direct, through] = clients;
  t.equal(await through.say(sql), await direct.say(sql), sql);
}

for (const { title, connectQuery, options } of bases) {
  for (const lanes of ['auto', 'off'] as const) {
    t.test(`${title} of connect_query are what resets go back to (lanes ${lanes})`, async (t) => {
      for (const leaving of ['stays', 'leaves'] as const) {
        const weir = await weirWith(t, postgres, { connect_query: connectQuery }, { lanes });
        const pair = async (): Promise<readonly [Client, Client]> => [
          await connect(t, postgres, { parameters: { options } }),
          await connect(t, weir),
        ];
        let a = await pair();
        const b = await pair();
        t.same(
          new Map([...a[1].raw.parameters].filter(([name]) => name !== 'session_authorization')),
          new Map([...a[0].raw.parameters].filter(([name]) => name !== 'session_authorization')),
          'ParameterStatus at the login',
        );
        for (const change of changes) {
          await sees(t, a, change);
          const isOpen = /^begin;(?!.*commit)/.test(change);
          if (isOpen) continue;
          await sees(t, a, shows);
          await sees(t, b, shows);
          if (leaving === 'leaves') {
            for (const client of a) await client.raw.end();
            await settled(weir);
            a = await pair();
            await sees(t, a, shows);
          }
        }
        await settled(weir);
        t.equal(leaksOf(weir), 0, 'no probe found a leak');
      }
    });
  }
}

t.test("a client's own settings go over the base, and its resets back to them", async (t) => {
  const [base] = bases as [Base];
  const weir = await weirWith(t, postgres, { connect_query: base.connectQuery });
  const own = { statement_timeout: '7777', 'app.tenant': 'mine' };
  const a = [
    await connect(t, postgres, { parameters: { options: base.options, ...own } }),
    await connect(t, weir, { parameters: own }),
  ] as const;
  const b = [await connect(t, postgres, { parameters: { options: base.options } }), await connect(t, weir)] as const;
  for (const change of ['select 1', 'set statement_timeout = 1000', 'reset all', 'set app.tenant = 5', 'discard all']) {
    await sees(t, a, change);
    await sees(t, a, shows);
    await sees(t, b, shows);
  }
});

t.test('in session mode a client may reset to the base, and the next one begins with it', async (t) => {
  const [base] = bases as [Base];
  for (const server_reset_query of ['DISCARD ALL', 'reset role']) {
    const weir = await weirWith(
      t,
      postgres,
      { connect_query: base.connectQuery, pool_mode: 'session' },
      { server_reset_query },
    );
    const direct = await connect(t, postgres, { parameters: { options: base.options } });
    const a = await connect(t, weir);
    await sees(t, [direct, a], 'set statement_timeout = 5000000; reset all');
    await sees(t, [direct, a], shows);
    await sees(t, [direct, a], 'discard all');
    await a.raw.end();
    await settled(weir);
    await sees(t, [direct, await connect(t, weir)], shows);
  }
});

t.test('what connect_query makes differently each time is one thing to one client', async (t) => {
  const weir = await weirWith(
    t,
    postgres,
    { connect_query: "select set_config('app.server', pg_backend_pid()::text, false)" },
    { default_pool_size: 2 },
  );
  const [a, b] = [await connect(t, weir), await connect(t, weir)];
  const show = "select current_setting('app.server')";
  const first = await a.say(show);
  await b.say('begin');
  await b.say('select 1');
  const pid = 'select pg_backend_pid() as pid';
  const pids = new Set([await a.say(pid), await b.say(pid)]);
  t.equal(pids.size, 2, 'on two servers');
  for (let i = 0; i < 5; i++) t.equal(await a.say(show), first, 'as long as it lives');
  await b.say('commit');
  for (let i = 0; i < 5; i++) t.equal(await a.say(show), first, 'whichever server it has');
  t.equal(leaksOf(weir), 0, 'no probe found a leak');
});

t.test('temporary tables of connect_query are there again behind a DISCARD ALL', async (t) => {
  const weir = await weirWith(t, postgres, { connect_query: 'create temp table if not exists scratch (v text)' });
  const [a, b] = [await connect(t, weir), await connect(t, weir)];
  t.equal(await a.say('select count(*) from scratch'), '[["0"]]');
  await a.say('discard all');
  t.equal(await b.say('select count(*) from scratch'), '[["0"]]');
});

t.test(
  'an open transaction, COPY or an error of connect_query is told in the log, and clients are served',
  async (t) => {
    const copy = [
      'copy sa.here from stdin',
      'copy sa.here to stdout',
      'begin; set work_mem = 4000',
      'select 1/0',
      'select 1; selec',
    ];
    for (const connect_query of copy) {
      const weir = await weirWith(t, postgres, { connect_query });
      const a = await connect(t, weir);
      t.equal(await a.say('select count(*) from sa.here'), '[["1"]]', connect_query);
      t.equal(await a.say('select now() = statement_timestamp()'), '[["t"]]', 'outside of any transaction');
    }
  },
);

t.test('a role with fewer rights keeps weir from nothing', async (t) => {
  const connect_query = 'set log_min_duration_statement = 60000; set role reader';
  const weir = await weirWith(t, postgres, { connect_query });
  const options = '-c log_min_duration_statement=60000 -c role=reader';
  const parameters = { options };
  const a = [
    await connect(t, postgres, { user: 'super', parameters }),
    await connect(t, weir, { user: 'super' }),
  ] as const;
  const b = [
    await connect(t, postgres, { user: 'super', parameters }),
    await connect(t, weir, { user: 'super' }),
  ] as const;
  const show = "select current_user, current_setting('log_min_duration_statement'), current_setting('work_mem')";
  for (const change of [
    'set work_mem = 1000',
    'set log_min_duration_statement = 5',
    'set role none',
    'set log_min_duration_statement = 5',
    'reset role',
    'set session authorization app',
    'set work_mem = 2000',
    // Back to a role that this authorization could not choose.
    'set session authorization writer',
    'reset role',
    'set work_mem = 3000',
    'reset session authorization',
    'discard all',
  ]) {
    await sees(t, a, change);
    await sees(t, a, show);
    await sees(t, b, show);
  }
  t.equal(leaksOf(weir), 0, 'no probe found a leak');
});

t.test('SET SESSION AUTHORIZATION in connect_query is the base too', async (t) => {
  const weir = await weirWith(t, postgres, { connect_query: 'set session authorization app' });
  const [a, b] = [await connect(t, weir, { user: 'super' }), await connect(t, weir, { user: 'super' })];
  const show = 'select session_user, current_user';
  for (const change of [
    'select 1',
    'set session authorization default',
    'set role reader',
    'reset role',
    'discard all',
    'reset all',
  ]) {
    await a.say(change);
    t.equal(await b.say(show), '[["app","app"]]', change);
  }
  await a.say('reset role');
  t.equal(await a.say(show), '[["app","app"]]');
  t.equal(leaksOf(weir), 0, 'no probe found a leak');
});

t.test(
  'servers of an old connect_query are replaced by RELOAD, and old clients keep what they began with',
  async (t) => {
    const weir = await weirWith(t, postgres, { connect_query: 'set statement_timeout = 500000; set work_mem = 4000' });
    const old = await connect(t, weir);
    const show =
      "select current_setting('statement_timeout'), current_setting('work_mem'), current_setting('lock_timeout')";
    const before = await old.say(show);
    const database = weir.config.databases.get('*');
    if (database === undefined) throw new Error('there is one');
    const databases = new Map([
      ['*', { ...database, connect_query: 'set statement_timeout = 600000; set lock_timeout = 700000' }],
    ]);
    weir.config = { ...weir.config, databases };
    await weir.pooler.reload();
    await settled(weir);
    const other = await connect(t, weir);
    t.equal(await other.say(show), '[["10min","4MB","700s"]]');
    t.equal(await old.say(show), before);
    await old.say('set statement_timeout = 4000000');
    await old.say('reset all');
    t.equal(await old.say(show), before);
    t.equal(await other.say(show), '[["10min","4MB","700s"]]');
  },
);
