// Places of servers in front of a real PostgreSQL: a connection that serves nobody gives way to whoever waits, and with N places N clients are served.

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { startPostgres } from '../support/index.js';
import { RawClient } from '../support/raw-client.js';
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
