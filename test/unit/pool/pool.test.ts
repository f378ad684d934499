// A real pool under a fake clock in front of fake servers: limits, order, time-outs, failures, recovery, and what a server must never be lent in.

import { serialize } from 'pg-protocol';
import t from 'tap';
import { WaitForecast } from '../../../lib/pool/wait-forecast.js';
import { Waiters } from '../../../lib/pool/waiters.js';
import { PoolerError } from '../../../lib/util/index.js';
import { commandComplete, noticeResponse, readyForQuery, TransactionStatus } from '../../../lib/wire/index.js';
import { answered, aWhile, type PoolRig, startRig, type TestClient, until } from '../../support/pool-rig.js';

const { query, parse, bind, execute, sync } = serialize;

/** Clients that begin a transaction and so keep a server each. */
async function occupy(rig: PoolRig, pool: PoolRig['pools'][number], names: string[]): Promise<TestClient[]> {
  const clients = names.map((name) => rig.client(pool, name));
  for (const client of clients) client.say(query('begin'));
  await until('all are in a transaction', () =>
    clients.every(({ server }) => server?.channel.status === TransactionStatus.InTransaction),
  );
  rig.takeDiary();
  return clients;
}

// Limits and order

t.test(
  'a pool makes as many servers as it may, and then clients wait and are served in the order they came',
  async (t) => {
    const { server, rig } = await startRig(t);
    const pool = rig.pool(server, { pool_size: 2 });
    const [a, b] = (await occupy(rig, pool, ['a', 'b'])) as [TestClient, TestClient];
    const waiting = ['c', 'd', 'e', 'f'].map((name) => rig.client(pool, name));
    for (const client of waiting) client.say(query(`select ${client.name}`));
    await aWhile();
    t.equal(server.attempts, 2);
    t.same([pool.waiting, pool.counts], [4, { idle: 0, active: 2, tested: 0, being_canceled: 0, login: 0 }]);
    waiting[1]?.leave();
    t.equal(pool.waiting, 3);
    a.say(query('commit'));
    b.say(query('commit'));
    await until('all are served', () => waiting.every((client, i) => i === 1 || answered(client)()));
    t.same(rig.takeDiary(), ['c served', 'e served', 'f served']);
    t.same(
      waiting.map((client) => client.read()[1]),
      ['DataRow c.0', undefined, 'DataRow e.0', 'DataRow f.0'],
    );
    t.same([pool.counts.idle, pool.waiting, pool.assignments], [2, 0, 5]);
    t.equal(server.attempts, 2);
  },
);

t.test('nobody overtakes who waits', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 });
  const [a] = (await occupy(rig, pool, ['a'])) as [TestClient];
  const [b, c] = [rig.client(pool, 'b'), rig.client(pool, 'c')];
  b.say(query('select b'));
  a.say(query('commit'));
  await until('b is served', () => b.server !== undefined);
  c.say(query('select c'));
  t.ok(c.ticket, 'c waits although b has not finished');
  await until('c is served', answered(c));
  t.same(rig.takeDiary(), ['b served', 'c served']);
});

t.test('the servers used last are used first, unless round robin is asked for', async (t) => {
  for (const serverRoundRobin of [false, true]) {
    const { server, rig } = await startRig(t);
    const pool = rig.pool(server, {}, { serverRoundRobin });
    for (const client of await occupy(rig, pool, ['a', 'b'])) client.say(query('commit'));
    await until('both are idle', () => pool.counts.idle === 2);
    const used: (number | undefined)[] = [];
    for (let i = 0; i < 4; i++) {
      const client = rig.client(pool, `c${i}`);
      client.say(query('select x'));
      used.push(client.server?.pid);
      await until('it is answered', answered(client));
    }
    t.equal(new Set(used).size, serverRoundRobin ? 2 : 1);
  }
});

t.test('a reserve is opened for who has waited long enough', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1, reserve_pool_size: 1, reserve_pool_timeout: 5 });
  await occupy(rig, pool, ['a']);
  const [b, c] = [rig.client(pool, 'b'), rig.client(pool, 'c')];
  b.say(query('begin'));
  rig.pass(4_999);
  await aWhile();
  t.equal(server.attempts, 1);
  t.equal(pool.maxWaitMs(), 4_999);
  rig.pass(1);
  await until('b is served', () => b.server !== undefined);
  c.say(query('select c'));
  rig.pass(10_000);
  await aWhile();
  t.equal(server.attempts, 2, 'the reserve has an end too');
});

t.test(
  'a limit on a database takes an idle server from another pool for who waits, but none that is at work',
  async (t) => {
    const { server, rig } = await startRig(t);
    const limits = { pool_size: 5, max_db_connections: 2 };
    const one = rig.pool(server, limits, {}, { user: 'one' });
    const two = rig.pool(server, limits, {}, { user: 'two' });
    const elsewhere = rig.pool(server, limits, {}, { user: 'one', database: 'other' });
    const [a, b] = (await occupy(rig, one, ['a', 'b'])) as [TestClient, TestClient];
    const c = rig.client(two, 'c');
    c.say(query('begin'));
    await occupy(rig, elsewhere, ['x']);
    await aWhile();
    t.ok(c.ticket, 'c waits while both are at work');
    a.say(query('commit'));
    await until('a is done', answered(a));
    rig.pass(1);
    await until('c is served', () => c.server !== undefined);
    t.same(
      [one.servers.size, two.servers.size, rig.budget.ofDatabase('d'), rig.budget.ofDatabase('other')],
      [1, 1, 2, 1],
    );
    b.say(query('commit'));
    await until('b is done', answered(b));
    one.reconfigure({ ...one.settings, min_pool_size: 1 }, one.policy, one.target, true);
    const filled = rig.pool(server, { ...limits, min_pool_size: 1, forced_user: true }, {}, { user: 'three' });
    rig.pass(1);
    await aWhile();
    t.equal(filled.servers.size, 0, 'a pool that nobody waits for takes nothing from another one');
    const d = rig.client(filled, 'd');
    d.say(query('select d'));
    await until('d is answered', answered(d));
    t.equal(one.servers.size, 0, 'also what min_pool_size has filled gives way');
  },
);

t.test('a limit on a user spans databases', async (t) => {
  const { server, rig } = await startRig(t);
  const limits = { pool_size: 5, max_user_connections: 1 };
  const one = rig.pool(server, limits, {}, { database: 'one' });
  const two = rig.pool(server, limits, {}, { database: 'two' });
  const [a] = (await occupy(rig, one, ['a'])) as [TestClient];
  const b = rig.client(two, 'b');
  b.say(query('select b'));
  await aWhile();
  t.ok(b.ticket);
  a.say(query('commit'));
  await until('a is done', answered(a));
  rig.pass(1);
  await until('b is answered', answered(b));
  t.same([one.servers.size, two.servers.size, rig.budget.ofUser('u')], [0, 1, 1]);
});

t.test('waiters leave in any order without a trace', async (t) => {
  const waiters = new Waiters<number>();
  const tickets = Array.from({ length: 100 }, (_, i) => waiters.enter(i, i, { user: '', weight: 1 }));
  for (let i = 0; i < 100; i += 2) waiters.leave(tickets[i] as (typeof tickets)[number]);
  for (let i = 0; i < 90; i++) waiters.leave(tickets[i] as (typeof tickets)[number]);
  t.equal(waiters.length, 5);
  t.same(
    [...waiters.all()].map((ticket) => ticket.client),
    [91, 93, 95, 97, 99],
  );
  t.equal(waiters.next()?.client, 91);
  for (const ticket of waiters.all()) waiters.leave(ticket);
  t.equal(waiters.next(), undefined);
});

t.test('users take turns by their weights, and each serves its own in order', async (t) => {
  const waiters = new Waiters<string>();
  const [loud, quiet, heavy] = [
    { user: 'loud', weight: 1 },
    { user: 'quiet', weight: 1 },
    { user: 'heavy', weight: 3 },
  ];
  const first = waiters.enter('l0', 0, loud);
  for (let i = 1; i < 100; i++) waiters.enter(`l${i}`, i, loud);
  for (let i = 0; i < 2; i++) waiters.enter(`q${i}`, 100, quiet);
  for (let i = 0; i < 8; i++) waiters.enter(`h${i}`, 101, heavy);
  t.equal(waiters.longest()?.client, 'l0');
  const served: string[] = [];
  for (let i = 0; i < 14; i++) {
    const ticket = waiters.next();
    if (ticket === undefined) break;
    served.push(ticket.client);
    waiters.serve(ticket);
    // Who gives up takes nobody's turn.
    if (i === 0) waiters.leave(first);
  }
  t.equal(served.join(' '), 'l0 q0 h0 h1 h2 l1 q1 h3 h4 h5 l2 h6 h7 l3');
  t.equal(waiters.length, 96);
  t.equal(waiters.longest()?.client, 'l4');
  const late = waiters.enter('q2', 200, quiet);
  t.equal(waiters.next()?.client, 'q2', 'the other user has just been served');
  waiters.leave(late);
  t.equal(waiters.next()?.client, 'l4');
  for (const ticket of waiters.all()) waiters.leave(ticket);
  t.same([waiters.next(), waiters.longest(), waiters.length, waiters.alone], [undefined, undefined, 0, 0]);
});

t.test(
  'how long the wait will be is known only of a queue that has lasted, and from enough who were served',
  async (t) => {
    const forecast = new WaitForecast();
    forecast.tick(0, 5);
    for (let i = 0; i < 100; i++) forecast.onServed();
    forecast.tick(1_999, 5);
    t.equal(forecast.msFor(10), undefined);
    forecast.tick(2_000, 5);
    t.equal(forecast.msFor(10), 200, 'fifty a second');
    for (let i = 0; i < 19; i++) forecast.onServed();
    forecast.tick(4_000, 5);
    t.equal(forecast.msFor(10), undefined, 'a few long transactions');
    for (let i = 0; i < 40; i++) forecast.onServed();
    forecast.tick(6_000, 5);
    t.equal(forecast.msFor(1_000), 50_000);
    forecast.tick(6_250, 0);
    t.equal(forecast.msFor(10), undefined, 'nobody waits');
  },
);

// Waiting

t.test('who would wait longer than query_wait_timeout is refused at once, unless told otherwise', async (t) => {
  const { server, rig } = await startRig(t);
  for (const refusesEarly of [true, false]) {
    const name = { database: `early ${refusesEarly}` };
    const pool = rig.pool(server, { pool_size: 1, query_wait_timeout: 10 }, { refusesEarly }, name);
    const [busy] = await occupy(rig, pool, ['a']);
    const wait = (count: number): TestClient[] =>
      Array.from({ length: count }, (_, i) => {
        const client = rig.client(pool, `w${i}`);
        client.say(query('select 1'));
        return client;
      });
    const quick = wait(25);
    const keeper = rig.client(pool, 'keeper');
    keeper.say(query('begin'));
    const slow = wait(100);
    rig.pass(1);
    busy?.say(query('commit'));
    await until(
      'one of them keeps the server',
      () => keeper.server?.channel.status === TransactionStatus.InTransaction,
    );
    t.ok(quick.every((client) => answered(client)()));
    // 26 in two seconds: the hundred that wait take 7.7 s.
    rig.pass(2_000);
    t.same(
      slow.filter(({ error }) => error !== undefined),
      [],
    );
    const more = wait(50);
    const refused = more.filter(({ error }) => error !== undefined);
    if (refusesEarly) {
      t.equal(more.indexOf(refused[0] as TestClient), 30, 'the 131st would wait for more than 10 s');
      t.equal(refused.length, 20);
      t.match(refused[0]?.error, { sqlstate: '08P01', message: 'query_wait_timeout', detail: /^130 clients wait/ });
    } else {
      t.same(refused, []);
    }
    keeper.say(query('commit'));
    await until('all that wait are served', () => pool.waiting === 0);
  }
});

t.test('who waits too long is told, then refused', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1, query_wait_timeout: 10 }, { queryWaitNotifyMs: 3_000 });
  await occupy(rig, pool, ['a']);
  const b = rig.client(pool, 'b');
  b.say(query('select b'));
  rig.pass(2_999);
  const c = rig.client(pool, 'c');
  c.say(query('select c'));
  rig.pass(1);
  rig.pass(1_000);
  rig.pass(5_999);
  t.same(rig.takeDiary(), ['b told after 3 s', 'c told after 7 s']);
  rig.pass(1);
  t.same(rig.takeDiary(), ['b failed']);
  t.match(b.error, { message: 'query_wait_timeout', sqlstate: '08P01' });
  t.equal(pool.waiting, 1);
});

t.test('a pool tells how long it waits and how long it has kept clients waiting', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 });
  const [a] = (await occupy(rig, pool, ['a'])) as [TestClient];
  const b = rig.client(pool, 'b');
  b.say(query('select b'));
  rig.pass(250);
  t.equal(pool.maxWaitMs(), 250);
  a.say(query('commit'));
  await until('b is answered', answered(b));
  t.equal(pool.maxWaitMs(), 0);
  t.equal(pool.waitTime.count, 2);
});

// Servers and time

t.test('idle servers beyond min_pool_size are closed after server_idle_timeout', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 3, min_pool_size: 1 }, { serverIdleMs: 10_000 });
  for (const client of await occupy(rig, pool, ['a', 'b', 'c'])) client.say(query('commit'));
  await until('all are idle', () => pool.counts.idle === 3);
  rig.pass(9_999);
  t.equal(pool.servers.size, 3);
  rig.pass(1);
  t.equal(pool.servers.size, 1);
  await until('the others have gone', () => server.live.length === 1);
  t.ok(server.backends.find((backend) => backend.closed)?.heard.endsWith('X\0\0\0\x04'), 'with a goodbye');
});

t.test('a pool is filled to min_pool_size once it has been used, and again when servers die', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 4, min_pool_size: 3 });
  rig.pass(1);
  await aWhile();
  t.equal(server.attempts, 0);
  const a = rig.client(pool, 'a');
  a.say(query('select a'));
  await until('there are three', () => pool.counts.idle === 3);
  server.live[0]?.kill();
  await until('one has been noticed', () => server.attempts === 4 && pool.counts.idle === 3);
  t.equal(pool.servers.size, 3);
});

t.test('a server is closed after its lifetime: at once when idle, else when its client is done', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { server_lifetime: 60 });
  const [a, b] = (await occupy(rig, pool, ['a', 'b'])) as [TestClient, TestClient];
  a.say(query('commit'));
  await until('a is done', () => pool.counts.idle === 1);
  rig.pass(60_000);
  t.same([pool.counts.idle, pool.counts.active], [0, 1]);
  b.say(query('commit'));
  await until('b is done', answered(b));
  t.equal(pool.servers.size, 0);
  const c = rig.client(pool, 'c');
  c.say(query('select c'));
  await until('c has a new one', answered(c));
  t.equal(server.attempts, 3);
});

t.test('a server that was idle for long is checked before it is lent, and the dead one is never lent', async (t) => {
  for (const [serverCheckQuery, sent] of [
    ['<empty>', 'Q\0\0\0\x05\0'],
    ['select check', /select check/],
    ['nonsense', /nonsense/],
  ] as const) {
    const { server, rig } = await startRig(t);
    const pool = rig.pool(server, { pool_size: 1 }, { serverCheckQuery, serverCheckDelayMs: 10_000 });
    const a = rig.client(pool, 'a');
    a.say(query('select a'));
    await until('a is done', answered(a));
    rig.pass(10_000);
    a.say(query('select a'));
    t.ok(a.server, 'at the limit it is lent at once');
    await until('a is done again', answered(a));
    rig.pass(10_001);
    const b = rig.client(pool, 'b');
    b.say(query('select b'));
    t.ok(b.ticket, 'b waits for the check');
    t.equal(pool.counts.tested, 1);
    await until('b is answered', answered(b));
    t.match(server.backends[0]?.heard, sent);
    t.equal(server.attempts, serverCheckQuery === 'nonsense' ? 2 : 1, 'one that fails is replaced');
    t.same(b.read()[1], 'DataRow b.0');
  }
});

t.test('a check that gets no answer ends with the server', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(
    server,
    { pool_size: 1 },
    { serverCheckQuery: '<empty>', serverCheckDelayMs: 1, serverConnectMs: 5_000 },
  );
  const a = rig.client(pool, 'a');
  a.say(query('select a'));
  await until('a is done', answered(a));
  rig.pass(100);
  server.live[0]?.hold();
  a.say(query('select again'));
  await aWhile();
  rig.pass(4_999);
  t.ok(a.ticket);
  rig.pass(1);
  await until('a is answered elsewhere', answered(a));
  t.equal(server.attempts, 2);
});

t.test('effects are undone before a server is lent on, or the server goes', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 });
  const [a, b] = [rig.client(pool, 'a'), rig.client(pool, 'b')];
  a.say(query('leak secret'));
  b.say(query('leaked'));
  await until('b is answered', answered(b));
  t.same(b.read()[1], 'DataRow -');
  t.same([pool.traffic.ladder.resets.discard_all, server.attempts], [1, 1]);
  a.read();
  a.say(query('do load'));
  b.say(query('select x'));
  await until('b is answered again', answered(b));
  t.equal(server.attempts, 2);
});

t.test('with session pooling each lease ends with server_reset_query', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1, pool_mode: 'session' }, { serverResetQuery: 'do reset' });
  const [a, b] = [rig.client(pool, 'a'), rig.client(pool, 'b')];
  a.say(query('select a'));
  b.say(query('select b'));
  await until('b is answered', answered(b));
  await until('both have been reset', () => pool.counts.idle === 1);
  t.same(server.backends[0]?.model.done, ['reset', 'reset']);
  pool.policy = { ...pool.policy, serverResetQuery: 'nonsense' };
  a.say(query('select a'));
  await until('a server that cannot be reset is closed', () => pool.servers.size === 0);
});

t.test('limits on the time of queries and transactions are those of the client that has the server', async (t) => {
  const { server, rig } = await startRig(t);
  for (const [settings, messages, message] of [
    [{ query_timeout: 5 }, [query('select slow')], 'query_timeout'],
    [{ transaction_timeout: 5 }, [query('begin'), query('select slow')], 'transaction timeout'],
    [{ idle_transaction_timeout: 5 }, [query('begin')], 'idle transaction timeout'],
  ] as const) {
    const pool = rig.pool(server, { pool_size: 1, ...settings }, {}, { database: message });
    const [a] = (await occupy(rig, pool, ['a'])) as [TestClient];
    a.say(query('commit'));
    await until('it is idle', () => pool.counts.idle === 1);
    a.read();
    if (message !== 'idle transaction timeout') server.live.at(-1)?.hold();
    a.say(...messages);
    if (message === 'idle transaction timeout')
      await until('it is in a transaction', () => a.server?.channel.idleInTransactionSinceMs !== undefined);
    rig.pass(4_999);
    t.equal(a.error, undefined);
    rig.pass(1);
    t.equal(a.error?.message, message);
    pool.close();
    pool.kill(new PoolerError('done', { sqlstate: '57P01' }));
    rig.pools.length = 0;
  }
});

// Failures

t.test('a server that cannot be reached is tried again after server_login_retry, and no sooner', async (t) => {
  const { server, rig } = await startRig(t);
  server.behaviour = 'refuse';
  const pool = rig.pool(server, { pool_size: 5, max_db_connections: 5 });
  const first = ['a', 'b'].map((name) => rig.client(pool, name));
  for (const client of first) client.say(query('select x'));
  await until('they have failed', () => first.every(({ error }) => error !== undefined));
  await aWhile();
  t.equal(server.attempts, 2, 'one for each that waited');
  for (const { error } of first) {
    const { message, sqlstate, hint } = error ?? {};
    t.strictSame(
      [message, sqlstate, hint],
      ['sorry, too many clients already', '53300', undefined],
      'as the server says',
    );
  }
  t.equal(rig.budget.ofDatabase('d'), 0, 'places are not kept for what cannot be made');
  for (let i = 0; i < 10; i++) {
    const client = rig.client(pool, 'again');
    client.say(query('select x'));
    t.match(
      client.error,
      {
        message: 'server login has been failing, cached error: sorry, too many clients already (server_login_retry)',
        sqlstate: '53300',
        hint: `Weir tries again in ${15 - i} s (server_login_retry).`,
      },
      'refused at once',
    );
    rig.pass(1_000);
  }
  await aWhile();
  t.equal(server.attempts, 2);
  rig.pass(5_000);
  await aWhile();
  t.equal(server.attempts, 2, 'nobody needs one');
  const late = rig.client(pool, 'late');
  late.say(query('select x'));
  await until('late has failed', () => late.error !== undefined);
  t.equal(server.attempts, 3);
  server.behaviour = 'accept';
  rig.pass(15_000);
  const lucky = rig.client(pool, 'lucky');
  lucky.say(query('select x'));
  await until('lucky is answered', answered(lucky));
  t.equal(pool.failure, undefined);
  t.same(rig.warnings, []);
});

t.test('a server that is starting up says so itself, and is tried again in a moment', async (t) => {
  const { server, rig } = await startRig(t);
  server.behaviour = 'refuse';
  server.refusal = { sqlstate: '57P03', message: 'the database system is starting up' };
  const pool = rig.pool(server);
  const first = rig.client(pool, 'first');
  first.say(query('select x'));
  await until('first has failed', () => first.error !== undefined);
  t.match(first.error, { sqlstate: '57P03', message: 'the database system is starting up' });
  const next = rig.client(pool, 'next');
  next.say(query('select x'));
  t.match(next.error, { sqlstate: '57P03', message: /cached error/, hint: /^Weir tries again in 1 s/ });
  rig.pass(500);
  server.behaviour = 'accept';
  const lucky = rig.client(pool, 'lucky');
  lucky.say(query('select x'));
  await until('lucky is answered', answered(lucky));
});

t.test('while a server lives, clients wait for it through failures of others', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 3 });
  const [a] = (await occupy(rig, pool, ['a'])) as [TestClient];
  server.behaviour = 'close';
  const b = rig.client(pool, 'b');
  b.say(query('select b'));
  await until('an attempt has failed', () => pool.failure !== undefined);
  for (let i = 0; i < 14; i++) rig.pass(1_000);
  await aWhile();
  t.same([b.error, server.attempts], [undefined, 2], 'no attempt is made before its time');
  rig.pass(1_000);
  await until('the next attempt', () => server.attempts === 3);
  a.say(query('commit'));
  await until('b is answered', answered(b));
});

t.test('a pool without min_pool_size left, whose server is down, asks only as often as it may', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 4, min_pool_size: 4, forced_user: true });
  server.behaviour = 'refuse';
  for (let i = 0; i < 40; i++) {
    rig.pass(1_000);
    await aWhile();
  }
  t.ok(server.attempts >= 3 && server.attempts <= 8, `${server.attempts} attempts in 40 s`);
  server.behaviour = 'accept';
  rig.pass(15_000);
  await until('it is filled', () => {
    pool.sweep();
    return pool.counts.idle === 4;
  });
});

t.test('who logs in waits for the first server, and hears why there is none', async (t) => {
  const { server, rig } = await startRig(t);
  server.behaviour = 'refuse';
  const pool = rig.pool(server);
  await t.rejects(pool.greeted(), { message: /too many clients/ });
  await t.rejects(pool.greeted(), { message: /cached error/ });
  server.behaviour = 'accept';
  rig.pass(15_000);
  await pool.greeted();
  t.equal(pool.welcome?.parameters.get('TimeZone'), 'UTC');
  await until('it is there', () => pool.counts.idle === 1);
  server.behaviour = 'hang';
  const closing = rig.pool(server, {}, {}, { database: 'other' });
  const waiting = closing.greeted();
  await until('it was asked', () => server.attempts === 3);
  closing.close();
  await t.rejects(waiting, { message: 'server shutting down' });
});

t.test('a pool that is closed while connections are being made leaves none and breaks nothing', async (t) => {
  const { server, rig } = await startRig(t);
  server.behaviour = 'refuse';
  const pool = rig.pool(server, { pool_size: 4, max_db_connections: 10 });
  for (const name of ['a', 'b', 'c']) rig.client(pool, name).say(query('select x'));
  await until('they fail', () => pool.waiting === 0);
  server.behaviour = 'accept';
  rig.pass(20_000);
  for (const name of ['d', 'e', 'f']) rig.client(pool, name).say(query('begin'));
  pool.close();
  t.type(pool.lease(rig.client(pool, 'g')), PoolerError, 'it lends nothing any more');
  await until('nothing is being made', () => pool.counts.login === 0);
  await aWhile();
  t.same([pool.servers.size, rig.budget.ofDatabase('d')], [0, 0]);
  await until('no connection is left', () => server.live.length === 0);
  t.same(rig.warnings, []);
});

t.test('a server that speaks out of turn right after its login is not used, and the counts stay right', async (t) => {
  const { server, rig } = await startRig(t);
  server.behaviour = 'accept-then-nonsense';
  const pool = rig.pool(server, { pool_size: 1 });
  const a = rig.client(pool, 'a');
  a.say(query('select a'));
  await until('it was tried', () => a.error !== undefined && server.live.length === 0);
  t.match(a.error?.message, /right after the login/);
  t.equal(rig.budget.ofDatabase('d'), 0);
  a.error = undefined;
  rig.pass(15_000);
  a.say(query('select a'));
  server.behaviour = 'accept';
  await until('a is answered', () => {
    rig.pass(15_000);
    return a.error !== undefined || answered(a)();
  });
  t.same(pool.counts, { idle: pool.servers.size, active: 0, tested: 0, being_canceled: 0, login: 0 });
  t.equal(rig.budget.ofDatabase('d'), pool.servers.size);
});

t.test('a server that dies while idle is gone; one that dies at work takes its client with it', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server);
  const [a, b] = (await occupy(rig, pool, ['a', 'b'])) as [TestClient, TestClient];
  b.say(query('commit'));
  await until('b is done', () => pool.counts.idle === 1);
  const [first, second] = [server.backends[0], server.backends[1]];
  first?.kill();
  await until('a has noticed', () => a.error !== undefined);
  t.match(a.error, { sqlstate: '08006' });
  second?.kill();
  await until('the other is gone', () => pool.servers.size === 0);
  t.same([pool.counts.idle, pool.counts.active, rig.budget.ofDatabase('d')], [0, 0, 0]);
  t.equal(pool.disconnects, 2);
});

t.test('an idle server that says what nobody asked for is closed; a notice it may say', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 });
  const a = rig.client(pool, 'a');
  a.say(query('select a'));
  await until('a is done', answered(a));
  server.live[0]?.say(noticeResponse({ severity: 'NOTICE', sqlstate: '00000', message: 'hello' }));
  await aWhile();
  t.equal(pool.counts.idle, 1);
  server.live[0]?.say(Buffer.concat([commandComplete('SELECT 1'), readyForQuery(TransactionStatus.Idle)]));
  await until('it is closed', () => pool.servers.size === 0);
  t.match(rig.closed[0]?.detail, /make no sense/);
});

t.test('a server with half a message of its own is not lent', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 });
  const a = rig.client(pool, 'a');
  a.say(query('select a'));
  await until('a is done', answered(a));
  const notice = noticeResponse({ severity: 'NOTICE', sqlstate: '00000', message: 'hello' });
  const [idle] = pool.servers;
  server.live[0]?.say(notice.subarray(0, 9));
  await until('half of it has come', () => idle?.channel.midMessage === true);
  a.read();
  a.say(query('select b'));
  await until('a is answered by another', answered(a));
  t.equal(server.attempts, 2);
});

t.test('a server that dies right after each login is not dialled in a tight loop', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 3, min_pool_size: 3, forced_user: true });
  pool.sweep();
  await until('they are there', () => pool.counts.idle === 3);
  rig.pass(10);
  for (let i = 0; i < 10; i++) {
    for (const backend of server.live) backend.kill();
    await until('they are gone', () => pool.servers.size === 0);
    await aWhile();
    rig.pass(1_000);
  }
  t.ok(server.attempts <= 6, `${server.attempts} attempts in 10 s`);
  rig.pass(10_000);
  await until('it is filled again', () => {
    pool.sweep();
    return pool.counts.idle === 3;
  });
});

// Control

t.test(
  'a server another process wants serves a client that waits for it once, also where it was long in coming',
  async (t) => {
    const { server, rig } = await startRig(t);
    const pool = rig.pool(server, { pool_size: 1 });
    const [a, b] = [rig.client(pool, 'a'), rig.client(pool, 'b')];
    a.say(query('select a'));
    b.say(query('select b'));
    pool.onPlaceWanted(true);
    await until('a is served', answered(a));
    await until('the first is closed', () => pool.disconnects === 1);
    await until('b is served', answered(b));
    t.same([server.attempts, pool.servers.size], [2, 1], 'given up once, not again');
  },
);

t.test('reconnect replaces idle servers at once and others when they are done', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server);
  const [a, b] = (await occupy(rig, pool, ['a', 'b'])) as [TestClient, TestClient];
  b.say(query('commit'));
  await until('b is done', () => pool.counts.idle === 1);
  pool.reconnect();
  t.same([pool.counts.idle, pool.retiring], [0, 1]);
  a.say(query('commit'));
  await until('a is done', answered(a));
  t.equal(pool.servers.size, 0);
  const c = rig.client(pool, 'c');
  c.say(query('select c'));
  await until('c is answered', answered(c));
  t.equal(pool.retiring, 0);
});

t.test('a paused pool lends nothing, lets go of its servers, and goes on where it was', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server);
  const [a, b] = (await occupy(rig, pool, ['a', 'b'])) as [TestClient, TestClient];
  b.say(query('commit'));
  await until('b is done', () => pool.counts.idle === 1);
  pool.pause();
  t.equal(pool.counts.idle, 0);
  const c = rig.client(pool, 'c');
  c.say(query('select c'));
  a.say(query('select still'));
  a.say(query('commit'));
  await until('a is done', () => pool.servers.size === 0);
  rig.pass(60_000);
  await aWhile();
  t.ok(c.ticket);
  t.equal(server.attempts, 2);
  pool.resume();
  await until('c is answered', answered(c));
});

t.test('a pool that is killed tells those who had a server', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server);
  const clients = await occupy(rig, pool, ['a', 'b']);
  pool.kill(new PoolerError('admin says so', { sqlstate: '57P01' }));
  t.same(
    clients.map(({ error }) => error?.message),
    ['admin says so', 'admin says so'],
  );
  t.same([pool.servers.size, pool.counts.active, rig.budget.ofUser('u')], [0, 0, 0]);
});

t.test('new settings hold from now on', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 });
  await occupy(rig, pool, ['a']);
  const b = rig.client(pool, 'b');
  b.say(query('select b'));
  pool.reconfigure({ ...pool.settings, pool_size: 2 }, pool.policy, pool.target, true);
  await until('b is answered', answered(b));
  pool.reconfigure(pool.settings, pool.policy, pool.target, false);
  t.equal(pool.counts.idle, 0, 'servers for another target are replaced');
});

// Clients that leave in the middle

t.test('a client that leaves with nothing under way gives its server back as it is', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1, pool_mode: 'session' }, { serverResetQuery: '' });
  const a = rig.client(pool, 'a');
  a.onBatchEnd = () => {};
  a.say(query('select a'));
  await until('a has its answer', () => a.received.length > 0 && a.server?.channel.quiet === true);
  a.leave();
  t.equal(pool.counts.idle, 1);
  t.equal(server.cancels.length, 0);
});

t.test('a transaction that was left is rolled back before the server is lent on', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 });
  const [a] = (await occupy(rig, pool, ['a'])) as [TestClient];
  const b = rig.client(pool, 'b');
  b.say(query('select b'));
  a.leave();
  t.equal(pool.counts.tested, 1);
  await until('b is answered', answered(b));
  t.match(server.backends[0]?.heard, /ROLLBACK\0.*select b/s);
  t.equal(server.attempts, 1);
});

t.test('a query that was left is cancelled, and its server is not lent before the request has arrived', async (t) => {
  const { server, rig } = await startRig(t);
  server.holdCancels = true;
  const pool = rig.pool(server, { pool_size: 1 });
  const [a] = (await occupy(rig, pool, ['a'])) as [TestClient];
  a.say(query('commit'));
  await until('a is done', () => pool.counts.idle === 1);
  const [backend] = server.backends;
  backend?.hold();
  a.say(query('select slow'));
  const b = rig.client(pool, 'b');
  b.say(query('select b'));
  await until('the server has it', () => /slow/.test(backend?.heard ?? ''));
  a.leave();
  await until('the request has come', () => server.cancels.length === 1);
  t.same(server.cancels, [backend?.pid]);
  await until('what was left has been read', () => pool.counts.being_canceled === 1);
  t.equal(pool.cancelsInFlight, 1);
  await aWhile();
  t.ok(b.ticket, 'the request might yet hit b');
  server.releaseCancels();
  await until('b is answered', answered(b));
  t.same(b.read()[1], 'DataRow b.0');
  t.same([server.attempts, pool.cancelsInFlight], [1, 0]);
});

t.test(
  'a cancel for a client at work keeps its server back when the query ends before the request arrives',
  async (t) => {
    const { server, rig } = await startRig(t);
    server.holdCancels = true;
    const pool = rig.pool(server, { pool_size: 1 });
    const [a] = (await occupy(rig, pool, ['a'])) as [TestClient];
    a.say(query('commit'));
    await until('a is done', () => pool.counts.idle === 1);
    const [backend] = server.backends;
    backend?.hold();
    a.read();
    a.say(query('select slow'));
    await until('the server has it', () => /slow/.test(backend?.heard ?? ''));
    const cancelling = pool.cancel([...pool.servers][0] as Parameters<typeof pool.cancel>[0]);
    await until('the request has come', () => server.cancels.length === 1);
    await until('a has been told', () => a.server === undefined);
    t.match(a.read(), ['ErrorResponse 57014 canceling statement due to user request', 'ReadyForQuery I']);
    t.same([pool.counts.being_canceled, pool.counts.idle], [1, 0]);
    a.say(query('select next'));
    await aWhile();
    t.ok(a.ticket, 'a must wait too');
    server.releaseCancels();
    await cancelling;
    await until('a is answered', answered(a));
    t.same(a.read()[1], 'DataRow next.0');
  },
);

t.test('a client that leaves in the middle of a message or a batch takes its server with it', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 });
  const long = Buffer.from(query(`notice ${'x'.repeat(10_000)}`));
  for (const [what, messages] of [
    ['half a message', [long.subarray(0, 9_000)]],
    ['no Sync', [parse({ text: 'select x' }), bind({}), execute()]],
    ['COPY data', [query('copyin x')]],
    ['an error without its Sync', [parse({ text: 'nonsense' })]],
  ] as const) {
    const client = rig.client(pool, what);
    client.say(...messages);
    await until('it has a server', () => client.server !== undefined);
    await aWhile();
    client.leave();
    await until(`the connection is gone: ${what}`, () => {
      rig.pass(50);
      return server.live.length === 0;
    });
    t.equal(pool.servers.size, 0, what);
  }
  const after = rig.client(pool, 'after');
  after.say(parse({ text: 'select x' }), bind({}), execute(), sync());
  await until('others are served', answered(after));
  t.equal(pool.registry.size, 0);
});

t.test('a server that does not finish what was left is given up', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 });
  const [a] = (await occupy(rig, pool, ['a'])) as [TestClient];
  server.live[0]?.hold();
  a.leave();
  await aWhile();
  rig.pass(9_999);
  t.equal(pool.counts.tested, 1);
  rig.pass(1);
  t.equal(pool.servers.size, 0);
});
