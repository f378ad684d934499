// Places under limits that span pools: who gives way to whom, what a pool counts on before it grows, and that with N places N clients are served at once.

import { serialize } from 'pg-protocol';
import t from 'tap';
import { LocalPlaces, type PlaceSeeker, type PlaceUse, type Pool } from '../../../lib/pool/index.js';
import { FakeServer } from '../../support/fake-server.js';
import { answered, aWhile, type PoolRig, startRig, type TestClient, until } from '../../support/pool-rig.js';
import { Random } from '../../support/random.js';

const { query } = serialize;

async function ask(rig: PoolRig, pool: Pool, name: string): Promise<TestClient> {
  const client = rig.client(pool, name);
  client.say(query(`select ${name}`));
  await until(`${name} is answered`, answered(client));
  return client;
}

/** One that only counts: what it has been told, it keeps. */
function seeker(database: string, user: string, use: PlaceUse = 'clients'): PlaceSeeker & { told: string[] } {
  const told: string[] = [];
  return {
    ...{ database, user, use, told },
    onPlace: () => told.push('place'),
    reconsider: () => told.push('reconsider'),
    onPlaceRefused: (full) => told.push(`refused by ${full}`),
    onPlaceWanted: () => {},
    onPlaceKept: () => {},
    spareSinceMs: () => undefined,
    giveWay: () => false,
  };
}

t.test(
  'places are counted to the limits and not beyond; nought is none; who waits hears of each that is free',
  async (t) => {
    const places = new LocalPlaces();
    const limits = { poolMax: 9, databaseMax: 2, userMax: 1 };
    const [a, b, c] = [seeker('d', 'a'), seeker('d', 'b'), seeker('d', 'c')];
    t.equal(places.take(a, limits, 'waiting'), 'taken');
    t.equal(places.take(a, limits, 'waiting'), 'asked', 'one for each user');
    t.equal(places.take(b, limits, 'waiting'), 'taken');
    t.equal(places.take(c, limits, 'waiting'), 'asked', 'two for the database');
    t.equal(places.take(c, { ...limits, databaseMax: 0, userMax: 0 }, 'waiting'), 'taken');
    t.same([places.ofDatabase('d'), places.ofUser('a')], [3, 1]);
    places.take(b, limits, 'waiting');
    places.withdraw(a);
    places.give(c);
    t.same([a.told, b.told, c.told], [[], ['reconsider'], []]);
  },
);

t.test('servers that listen leave one place for queries, and who would take it is refused', async (t) => {
  const places = new LocalPlaces();
  const limits = { poolMax: 1, databaseMax: 3, userMax: 2 };
  const hubs = ['a', 'b', 'c'].map((user) => seeker('d', user, 'listening'));
  const [a, b, c] = hubs as [(typeof hubs)[0], (typeof hubs)[0], (typeof hubs)[0]];
  t.same([places.take(a, limits, 'waiting'), places.take(b, limits, 'waiting')], ['taken', 'taken']);
  t.equal(places.take(c, limits, 'waiting'), 'refused');
  const other = seeker('other', 'a', 'listening');
  t.equal(places.take(other, limits, 'waiting'), 'refused');
  t.same([c.told, other.told], [['refused by database'], ['refused by user']]);
  const clients = seeker('d', 'a');
  t.same([places.take(clients, limits, 'waiting'), places.ofDatabase('d')], ['taken', 3]);
  const alone = seeker('one', 'z', 'listening');
  t.equal(places.take(alone, { poolMax: 1, databaseMax: 1, userMax: 0 }, 'waiting'), 'refused');
});

t.test(
  'of the servers that serve nobody the one goes that has done so longest, those of min_pool_size last',
  async (t) => {
    const { server, rig } = await startRig(t);
    const limits = { pool_size: 5, max_db_connections: 3 };
    const pools = ['kept', 'older', 'newer'].map((user) =>
      rig.pool(server, { ...limits, min_pool_size: user === 'kept' ? 1 : 0 }, {}, { user }),
    );
    for (const pool of pools) {
      await ask(rig, pool, pool.user);
      rig.pass(10);
    }
    const late = rig.pool(server, limits, {}, { user: 'late' });
    const gone: string[] = [];
    for (const expected of ['older', 'newer', 'kept']) {
      const client = rig.client(late, `late${expected}`);
      client.say(query('begin'));
      await until('it is served', () => client.server !== undefined);
      gone.push(...pools.filter(({ servers }) => servers.size === 0).map(({ user }) => user));
      t.equal(gone.at(-1), [...gone].at(-1));
      t.ok(gone.includes(expected), `${expected} is among those that have gone`);
    }
    t.equal(rig.budget.ofDatabase('d'), 3);
  },
);

t.test('a connection that hangs while it is made for nobody any more gives way at once', async (t) => {
  const { server, rig } = await startRig(t);
  const good = await FakeServer.start(t);
  const limits = { max_user_connections: 1 };
  server.behaviour = 'hang';
  const hanging = rig.pool(server, limits, {}, { database: 'hangs' });
  const gone = rig.client(hanging, 'gone');
  gone.say(query('select gone'));
  await until('it is dialled', () => server.attempts === 1);
  gone.leave();
  const late = rig.pool(good, limits, {}, { database: 'works' });
  await ask(rig, late, 'late');
  t.same([hanging.counts.login, rig.budget.ofUser('u')], [0, 1]);
});

t.test('a connection that somebody waits for is not given up, and one of several is', async (t) => {
  const { server, rig } = await startRig(t);
  const good = await FakeServer.start(t);
  const limits = { pool_size: 3, max_user_connections: 2 };
  server.behaviour = 'hang';
  const hanging = rig.pool(server, limits, {}, { database: 'hangs' });
  const [stays, leaves] = [rig.client(hanging, 'stays'), rig.client(hanging, 'leaves')];
  for (const client of [stays, leaves]) client.say(query('select 1'));
  await until('both are dialled', () => server.attempts === 2);
  const works = rig.pool(good, limits, {}, { database: 'works' });
  const late = rig.client(works, 'late');
  late.say(query('select late'));
  await aWhile();
  t.ok(late.ticket, 'both are waited for');
  leaves.leave();
  rig.pass(1);
  await until('late is answered', answered(late));
  t.same([hanging.counts.login, stays.ticket !== undefined], [1, true]);
});

// What a pool counts on

t.test('whoever finds only servers that have to be checked waits for a check, each for one', async (t) => {
  for (const serverRoundRobin of [false, true]) {
    const { server, rig } = await startRig(t);
    const pool = rig.pool(
      server,
      { pool_size: 9 },
      { serverCheckQuery: '<empty>', serverCheckDelayMs: 1_000, serverRoundRobin },
    );
    const busy = ['a', 'b', 'c'].map((name) => rig.client(pool, name));
    for (const client of busy) client.say(query('begin'));
    await until('all have one', () => busy.every((client) => client.server !== undefined));
    for (const client of busy) client.say(query('commit'));
    await until('all are idle', () => pool.counts.idle === 3);
    for (const waiting of [1, 2, 3]) {
      rig.pass(1_001);
      const clients = Array.from({ length: waiting }, (_, i) => rig.client(pool, `c${i}`));
      for (const client of clients) client.say(query('begin'));
      t.equal(pool.counts.tested, waiting, 'no more are checked than are waited for');
      await until('all are served', () => clients.every((client) => client.server !== undefined));
      t.equal(server.attempts, 3);
      for (const client of clients) client.say(query('commit'));
      await until('all are idle again', () => pool.counts.idle === 3);
    }
  }
});

t.test('a pool that is nearly idle keeps one server, however often it is checked', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 20 }, { serverCheckQuery: '<empty>', serverCheckDelayMs: 1_000 });
  for (let i = 0; i < 10; i++) {
    await ask(rig, pool, `c${i}`);
    rig.pass(1_500);
  }
  t.same([server.attempts, pool.servers.size], [1, 1]);
});

t.test(
  'a check that takes too long is not waited for: a new server is made, and no other check is counted on',
  async (t) => {
    const { server, rig } = await startRig(t);
    const pool = rig.pool(server, { pool_size: 2 }, { serverCheckQuery: '<empty>', serverCheckDelayMs: 1_000 });
    await ask(rig, pool, 'a');
    server.live[0]?.hold();
    rig.pass(1_001);
    const b = rig.client(pool, 'b');
    b.say(query('select b'));
    rig.pass(499);
    await aWhile();
    t.same([server.attempts, b.ticket !== undefined], [1, true]);
    rig.pass(1);
    await until('b is answered', answered(b));
    t.equal(server.attempts, 2);
  },
);

t.test('a server whose drain may take long is not waited for', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 2 });
  const a = rig.client(pool, 'a');
  a.say(query('begin'));
  await until('a has one', () => a.server !== undefined);
  server.live[0]?.hold();
  a.say(query('select a'));
  await aWhile();
  a.leave();
  await ask(rig, pool, 'b');
  t.equal(server.attempts, 2);
});

t.test('with server_check_delay = 0 a server that has just logged in is not checked', async (t) => {
  const { server, rig } = await startRig(t);
  const pool = rig.pool(server, { pool_size: 1 }, { serverCheckQuery: 'select check', serverCheckDelayMs: 0 });
  await pool.greeted();
  rig.clock.advance(5);
  const a = rig.client(pool, 'a');
  a.say(query('select a'));
  t.ok(a.server, 'it is lent at once');
  await until('a is answered', answered(a));
  rig.clock.advance(5);
  await ask(rig, pool, 'b');
  t.match(server.backends[0]?.heard, /select a.*select check.*select b/s);
});

t.test('who logs in to a pool waits for its first server no longer than query_wait_timeout', async (t) => {
  const { server, rig } = await startRig(t);
  const limits = { max_db_connections: 1, query_wait_timeout: 3 };
  const busy = rig.client(rig.pool(server, limits, {}, { user: 'busy' }), 'busy');
  busy.say(query('begin'));
  await until('it has the place', () => busy.server !== undefined);
  const greeted = rig.pool(server, limits, {}, { user: 'late' }).greeted();
  let ended = false;
  greeted.catch(() => {}).finally(() => (ended = true));
  rig.pass(2_999);
  await aWhile();
  t.notOk(ended);
  rig.pass(1);
  await t.rejects(greeted, { message: 'query_wait_timeout', sqlstate: '08P01' });
  const again = rig.pool(server, limits, {}, { user: 'later' }).greeted();
  busy.say(query('commit'));
  await again;
  t.pass('a place that comes free in time is had');
});

// The property

interface Kind {
  readonly name: string;
  readonly limits: (places: number) => object;
  readonly nameOf: (i: number) => { readonly database?: string; readonly user?: string };
}

const kinds: readonly Kind[] = [
  {
    name: 'max_db_connections',
    limits: (n) => ({ max_db_connections: n, pool_size: 9 }),
    nameOf: (i) => ({ user: `u${i}` }),
  },
  {
    name: 'max_user_connections',
    limits: (n) => ({ max_user_connections: n, pool_size: 9 }),
    nameOf: (i) => ({ database: `d${i}` }),
  },
  {
    name: 'both',
    limits: (n) => ({ max_db_connections: n, max_user_connections: n, pool_size: 9 }),
    nameOf: (i) => ({ user: `u${i % 2}`, database: `d${i >> 1}` }),
  },
];

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 600);

for (const { name, limits, nameOf } of kinds) {
  t.test(
    `with N places under ${name}, N clients of any mixture of pools are served without time passing`,
    async (t) => {
      const random = new Random(seed);
      const places = 1 + random.below(4);
      const { server, rig } = await startRig(t);
      const pools = Array.from({ length: 4 }, (_, i) =>
        rig.pool(
          server,
          { ...limits(places), min_pool_size: random.below(3), server_lifetime: random.pick([3, 3_600]) },
          {
            serverCheckQuery: '<empty>',
            serverCheckDelayMs: random.pick([0, 100, 30_000]),
            serverIdleMs: random.pick([0, 5_000]),
            serverRoundRobin: random.oneIn(2),
            serverLoginRetryMs: 0,
          },
          { ...nameOf(i), use: i === 3 ? 'look-ups' : 'clients' },
        ),
      );
      /** Those that have a server, or have to get one. */
      const served = new Set<TestClient>();
      let count = 0;
      let most = 0;
      for (let step = 0; step < steps; step++) {
        const client = random.pick([...served, undefined]);
        if (client === undefined) {
          // Where both limits hold, a place of each is needed.
          if (served.size >= places) continue;
          const one = rig.client(random.pick(pools), `c${count++}`);
          one.say(query('begin'));
          if (random.oneIn(8)) {
            one.leave();
            continue;
          }
          served.add(one);
          most = Math.max(most, served.size);
          const at = rig.clock.now();
          await until(`step ${step} of SEED=${seed}: ${one.name} is served`, () => one.server !== undefined);
          t.equal(rig.clock.now(), at);
        } else {
          switch (random.below(6)) {
            case 0:
              rig.pass(random.pick([1, 50, 200, 1_500]));
              break;
            case 1:
              served.delete(client);
              client.leave();
              break;
            case 2:
              served.delete(client);
              client.say(query(random.pick(['commit', 'rollback'])));
              await until('it is answered', () => client.server === undefined);
              break;
            case 3:
              client.say(query('select 1'));
              break;
            case 4:
              if (random.oneIn(10)) random.pick(server.live)?.kill();
              await aWhileShort();
              for (const lost of served) if (lost.error !== undefined) served.delete(lost);
              break;
            default:
              for (const pool of pools) pool.sweep();
          }
        }
        const held = pools.reduce((sum, pool) => sum + pool.servers.size + pool.counts.login, 0);
        if (name !== 'both' && held > places) t.fail(`${held} servers of ${places}`);
      }
      t.ok(most > 0, `up to ${most} of ${places} at a time, ${count} clients, ${server.attempts} connections`);
    },
  );
}

/** A few turns of the loop. */
async function aWhileShort(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
