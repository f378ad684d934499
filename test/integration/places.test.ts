// Places of servers in front of a real PostgreSQL: a connection that serves nobody gives way to whoever waits, and with N places N clients are served.

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { eventually, startPostgres } from '../support/index.js';
import { Random } from '../support/random.js';
import { RawClient, say } from '../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';

/** Their passwords by their names. */
const people = { one: 'one', two: 'two', three: 'three' };

const server = await startPostgres({
  sql: [
    "create role asker superuser login password 'asker'",
    ...Object.keys(people).map((name) => `create role ${name} login password '${name}'`),
    'create database elsewhere',
  ],
});
t.teardown(() => server.stop());

/** Milliseconds within which whoever need not wait is answered, also on a busy machine. */
const atOnceMs = 15_000;

async function start(t: Test, weir: WeirOptions['weir'] = {}, config?: WeirOptions['config']): Promise<TestWeir> {
  const made = await startWeir({
    server,
    weir: { auth_type: 'trust', query_wait_timeout: 60, client_login_timeout: 60, defer_begin: false, ...weir },
    users: { postgres: server.admin.password, asker: 'asker', ...('auth_user' in weir ? {} : people) },
    ...(config === undefined ? {} : { config }),
  });
  t.teardown(() => made.stop());
  return made;
}

async function client(t: Test, weir: TestWeir, user = 'postgres', database = 'postgres'): Promise<RawClient> {
  const made = await RawClient.connect(weir, { user, database });
  t.teardown(() => made.vanish());
  return made;
}

/** Rejects when it takes as long as a wait for a place would. */
function atOnce<T>(what: string, done: Promise<T>): Promise<T> {
  const late = sleep(atOnceMs, undefined, { ref: false }).then(() => {
    throw new Error(`${what} was not served at once`);
  });
  return Promise.race([done, late]);
}

/** A transaction that keeps its server. */
async function begin(client: RawClient): Promise<void> {
  const { errors } = await client.query('begin; select 1');
  if (errors[0] !== undefined) throw new Error(errors[0]['M']);
}

const asking = { auth_type: 'scram-sha-256', auth_user: 'asker' } as const;

for (const places of [1, 2, 3]) {
  t.test(
    `with auth_query and ${places} places under max_db_connections, ${places} clients have one each`,
    async (t) => {
      const weir = await start(t, { ...asking, max_db_connections: places });
      for (const user of ['one', 'two', 'three'].slice(0, places)) {
        const { rows } = await atOnce(
          user,
          weir.connect({ user, password: user }).then(async (client) => {
            t.teardown(() => client.end().catch(() => {}));
            return client.query<{ who: string }>('begin; select current_user as who') as unknown as {
              rows: unknown[];
            }[];
          }),
        ).then((results) => results[1] as { rows: { who: string }[] });
        t.same(rows, [{ who: user }]);
      }
    },
  );
}

t.test('an idle server that is being checked is waited for when nothing else is to be waited for', async (t) => {
  const weir = await start(t, { server_check_delay: 0.02, default_pool_size: 20 });
  const lonely = await client(t, weir);
  const pids = new Set<string | null>();
  for (let i = 0; i < 8; i++) {
    await sleep(60);
    pids.add(await lonely.value('select pg_backend_pid()'));
  }
  t.equal(pids.size, 1);
  t.equal(
    [...weir.pooler.pools].reduce((sum, { servers }) => sum + servers.size, 0),
    1,
  );
});

t.test('a server that is kept for min_pool_size gives way to a client that waits', async (t) => {
  const weir = await start(t, { max_db_connections: 2, min_pool_size: 2 });
  const first = await client(t, weir, 'one');
  await first.query('select 1');
  const second = await client(t, weir, 'two');
  await atOnce('the second', begin(second));
  await atOnce('the first', begin(first));
  const pids = await Promise.all([first, second].map((each) => each.value('select pg_backend_pid()')));
  t.equal(new Set(pids).size, 2);
});

t.test('a replication connection gets the place of an idle server', async (t) => {
  const weir = await start(t, { max_db_connections: 1 });
  const first = await client(t, weir);
  await first.query('select 1');
  const replication = await atOnce(
    'the replication connection',
    RawClient.connect(weir, { user: 'postgres', database: 'postgres', parameters: { replication: 'database' } }),
  );
  t.teardown(() => replication.vanish());
  t.equal((await replication.query('IDENTIFY_SYSTEM')).rows.length, 1);
});

t.test('the first login of a pool waits for its server as long as a query would', async (t) => {
  const weir = await start(t, { max_db_connections: 1, query_wait_timeout: 1 });
  await begin(await client(t, weir, 'one'));
  await t.rejects(atOnce('the refusal', RawClient.connect(weir, { user: 'two', database: 'postgres' })), {
    message: 'query_wait_timeout',
    code: '08P01',
  });
});

// Statements that need a database for themselves

/** Idle servers of `name` in several pools whose clients have left: of two users, and one that has listened. */
async function settle(t: Test, weir: TestWeir, name: string): Promise<void> {
  for (const user of ['postgres', 'one']) {
    const visitor = await client(t, weir, user, name);
    await visitor.query('select 1');
    await visitor.query('listen x');
    await visitor.query('unlisten x');
    await visitor.end();
  }
}

t.test('DROP DATABASE and its like first close the servers of that database that serve nobody', async (t) => {
  const weir = await start(t, { min_pool_size: 1 });
  const admin = await client(t, weir);
  const extended = (sql: string): ReturnType<RawClient['query']> => admin.execute(sql);
  const simple = (sql: string): ReturnType<RawClient['query']> => admin.query(sql);
  for (const [run, sql] of [
    [simple, 'create database copy template busy'],
    [extended, 'create database "copy two" template = \'busy\''],
    [simple, 'alter database busy rename to "Renamed"'],
    [extended, 'alter database "Renamed" rename to busy'],
    [simple, '/* first */ DROP DATABASE busy'],
    [extended, 'drop database if exists copy with (force)'],
    [extended, 'drop database "copy two"'],
  ] as const) {
    if (sql.startsWith('create database copy')) await server.query('create database busy');
    for (const name of ['busy', 'copy', 'copy two', 'Renamed']) {
      const rows = await server.query('select from pg_database where datname = $1', [name]);
      if (rows.length === 1) await settle(t, weir, name);
    }
    const { errors, commands } = await atOnce(sql, run(sql));
    t.same([errors, commands.length], [[], 1], sql);
  }
});

t.test('a client that is connected to the database is in the way, as it is of a direct connection', async (t) => {
  const weir = await start(t);
  // PostgreSQL itself waits five seconds for the others: all at once, each with a database of its own.
  const makeUser = async (name: string): Promise<RawClient> => {
    await server.query(`create database ${name}`);
    return client(t, weir, 'one', name);
  };
  const busy = async (name: string, sql: string, isExtended: boolean): Promise<void> => {
    const admin = await client(t, weir);
    const { errors } = await atOnce(sql, isExtended ? admin.execute(sql) : admin.query(sql));
    const source = sql.startsWith('create') ? 'source ' : '';
    const M = `${source}database "${name}" is being accessed by other users`;
    t.match(errors, [{ C: '55006', M, D: /^There (is 1 other session|are 2 other sessions) using/ }], sql);
  };
  const users: RawClient[] = [];
  for (const name of ['dropped', 'renamed', 'source', 'begun', 'heard']) users.push(await makeUser(name));
  const [dropped, renamed, source, begun, heard] = users as [RawClient, RawClient, RawClient, RawClient, RawClient];
  const idle = [dropped, renamed, source];
  const all = (isExtended: boolean): Promise<unknown> =>
    Promise.all([
      busy('dropped', 'drop database dropped', isExtended),
      busy('renamed', 'alter database renamed rename to moved', isExtended),
      busy('source', 'create database copied template source', isExtended),
      busy('begun', 'drop database begun', isExtended),
      busy('heard', 'drop database if exists heard', isExtended),
    ]);
  const pids = await Promise.all(idle.map((user) => user.value('select pg_backend_pid()')));
  await begin(begun);
  await heard.query('listen here');
  await all(false);
  const kept = await Promise.all(idle.map((user) => user.value('select pg_backend_pid()')));
  t.same(kept, pids, 'an idle server stays while its client does');

  await server.query('select pg_terminate_backend(pid::int) from unnest($1::text[]) pid', [pids]);
  await eventually(() =>
    [...weir.pooler.pools].every(
      ({ database, servers }) => !['dropped', 'renamed', 'source'].includes(database) || servers.size === 0,
    ),
  );
  await all(true);
  t.equal(await dropped.value('select current_database()'), 'dropped', 'also one that had no server then');

  const admin = await client(t, weir);
  const drop = admin.query('drop database dropped');
  const waiting = "select from pg_stat_activity where state = 'active' and query = 'drop database dropped'";
  await eventually(async () => (await server.query(waiting)).length === 1);
  await dropped.vanish();
  t.same((await atOnce('the drop', drop)).errors, [], 'one that leaves meanwhile is waited for');
  const again = await makeUser('dropped');
  t.equal(await again.value('select current_database()'), 'dropped', 'a new one of that name is found at once');
});

t.test('one that is connected to a database that was dropped elsewhere is in the way of nothing', async (t) => {
  const weir = await start(t);
  const admin = await client(t, weir);
  await server.query('create database bygone with owner = one');
  const user = await client(t, weir, 'one', 'bygone');
  await user.query('select 1');
  await server.query('drop database bygone with (force)');
  t.match((await atOnce('the error', admin.query('drop database bygone'))).errors, [{ C: '3D000' }]);
  t.same((await atOnce('the notice', admin.query('drop database if exists used'))).errors, []);
  t.same((await admin.query('create database bygone')).errors, []);
  t.equal(await user.value('select current_database()'), 'bygone');
  const stranger = await client(t, weir, 'two');
  t.match((await atOnce('the refusal', stranger.query('drop database bygone'))).errors, [{ C: '42501' }], 'told first');
});

t.test('DROP DATABASE WITH (FORCE) ends the clients that are connected to it', async (t) => {
  const weir = await start(t);
  const admin = await client(t, weir);
  for (const run of [admin.query.bind(admin), admin.execute.bind(admin)]) {
    await server.query('create database forced with owner = two');
    const users = [];
    for (const user of ['one', 'one', 'postgres', 'two']) users.push(await client(t, weir, user, 'forced'));
    await users[0]?.query('select 1');
    const elsewhere = await client(t, weir, 'one', 'elsewhere');
    await (users[1] as RawClient).query('begin; select 1');
    const owner = await client(t, weir, 'two');
    t.match(
      (await atOnce('the refusal', owner.query('drop database forced with (force)'))).errors,
      [{ C: '42501' }],
      "whoever may not end the others' sessions",
    );
    t.equal(await users[1]?.value('select 1'), '1');
    t.same((await atOnce('the drop', run('drop database forced with (force)'))).errors, []);
    const told = { S: 'FATAL', C: '57P01', M: 'terminating connection due to administrator command' };
    for (const user of users) t.match(await atOnce('the end', user.fatal()), told);
    t.equal(await elsewhere.value('select current_database()'), 'elsewhere');
    await elsewhere.end();
  }
});

t.test('so they do in session mode, and for statements that were prepared before', async (t) => {
  for (const pool_mode of ['session', 'transaction'] as const) {
    const weir = await start(t, { pool_mode });
    const admin = await weir.connect();
    t.teardown(() => admin.end());
    for (const text of ['drop database again', { text: 'drop database again', values: [] }]) {
      await server.query('create database again');
      const visitor = await client(t, weir, 'one', 'again');
      await visitor.query('select 1');
      await visitor.vanish();
      await t.resolves(admin.query(text as string), pool_mode);
    }
    const named = await client(t, weir);
    await server.query('create database again');
    named.write(...extended('drop database again', 'named'), say.sync());
    await named.reply();
    t.notOk((await server.query("select from pg_database where datname = 'again'")).length, 'in one batch');
  }
});

t.test('where the policy denies the statement no server leaves', async (t) => {
  const weir = await startWeir({
    server,
    weir: { auth_type: 'trust' },
    users: { postgres: server.admin.password, one: 'one' },
    policy: `[policy]
mode = "enforce"
default = "allow"
[[policy.rules]]
name = "no-drops"
statements = ["drop_database"]
verdict = "deny"
`,
  });
  t.teardown(() => weir.stop());
  await server.query('create database guarded');
  const user = await client(t, weir, 'one', 'guarded');
  const pid = await user.value('select pg_backend_pid()');
  const admin = await client(t, weir);
  for (const { errors } of [await admin.query('drop database guarded'), await admin.execute('drop database guarded')]) {
    t.equal(errors[0]?.['C'], '42501');
  }
  t.equal(await user.value('select pg_backend_pid()'), pid);
});

// Listening

t.test('a LISTEN that would take the last place is refused at once, and queries are served', async (t) => {
  for (const limits of [{ max_db_connections: 1 }, { max_user_connections: 1 }]) {
    const weir = await start(t, limits);
    const listener = await client(t, weir);
    const { errors } = await atOnce('the refusal', listener.query('listen x'));
    t.equal(errors[0]?.['C'], '53300');
    t.match(errors[0]?.['H'], new RegExp(`Raise ${Object.keys(limits)[0]}`));
    t.equal(await atOnce('a query', (await client(t, weir)).value('select 1')), '1');
  }
});

t.test('with one place beside it a server listens, queries are served, and the next user is refused', async (t) => {
  const weir = await start(t, { max_db_connections: 2 });
  const listener = await client(t, weir);
  t.same((await atOnce('LISTEN', listener.query('listen x'))).errors, []);
  for (const user of ['one', 'two', 'one']) {
    const other = await client(t, weir, user);
    t.same((await atOnce(`a query of ${user}`, other.query(`notify x, '${user}'`))).errors, []);
    t.match((await atOnce('the notification', listener.until('A'))).at(-1)?.body.toString('latin1'), `x\0${user}\0`);
  }
  const other = await client(t, weir, 'one');
  t.equal((await atOnce('the refusal', other.query('listen x'))).errors[0]?.['C'], '53300');
  t.same((await listener.query('unlisten *')).errors, []);
  await eventually(async () => (await (await client(t, weir, 'two')).query('listen x')).errors.length === 0);
});

// The property

t.test('with N places N clients are served at once, whoever they are and whatever idles', async (t) => {
  const random = new Random(Number(process.env['SEED'] ?? 7));
  const rounds = Math.ceil(Number(process.env['STEPS'] ?? 500) / 100);
  for (const places of [1, 2, 4]) {
    const weir = await start(t, {
      auth_type: 'scram-sha-256',
      auth_user: 'asker',
      max_db_connections: places,
      default_pool_size: places,
      min_pool_size: 1,
      server_check_delay: 0.01,
    });
    for (let round = 0; round < rounds; round++) {
      const listens = places > 2 && random.oneIn(2);
      const clients = await Promise.all(
        Array.from({ length: places }, async (_, i) => {
          const user = random.pick(Object.keys(people));
          const one = await atOnce(`login ${i} of round ${round}`, weir.connect({ user, password: user }));
          if (i === 0 && listens) await atOnce(`LISTEN of round ${round}`, one.query('listen x'));
          return one;
        }),
      );
      // One that listens takes a place, and asks for no other.
      const busy = listens ? clients.slice(1) : clients;
      await Promise.all(busy.map((one, i) => atOnce(`client ${i} of round ${round}`, one.query('begin; select 1'))));
      await Promise.all(
        busy.map((one) => (random.oneIn(3) ? one.end() : one.query('commit').then(() => one.query('select 2')))),
      );
      await Promise.all(clients.map((one) => one.end().catch(() => {})));
    }
    t.pass(`${rounds} rounds with ${places}`);
  }
});

/** A named statement, prepared and run in one batch. */
function extended(text: string, name: string): Buffer[] {
  return [say.parse({ name, text }), say.bind({ statement: name }), say.execute({})];
}
