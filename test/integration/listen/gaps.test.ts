// The server that listens is killed, paused, moved: who listens is told that there may be a gap, once, and is heard again by itself.

import t, { type Test } from 'tap';
import { newDatabase } from '../../../lib/config/index.js';
import { eventually, startPostgres, type TestPostgres } from '../../support/index.js';
import { Random } from '../../support/random.js';
import { RawClient, readFields } from '../../support/raw-client.js';
import { startWeir, type TestWeir } from '../../support/weir.js';
import { startWeirCluster } from '../../support/weir-cluster.js';
import { heard, noteOf, noticed } from './rig.js';

const app = 'create role app login superuser';
const hba = 'host all all 127.0.0.1/32 trust';
const server = await startPostgres({ hba, sql: [app] });
t.teardown(() => server.stop());

const login = { user: 'app', database: 'postgres' };
const users = { app: 'x' };
const settings = { auth_type: 'trust', default_pool_size: 3, server_login_retry: 0.5 } as const;

async function weirFor(t: Test): Promise<TestWeir> {
  const weir = await startWeir({ server, users, weir: settings });
  t.teardown(() => weir.stop());
  return weir;
}

/** Ends the backends that listen for weir's clients; answers how many there were. */
async function killListeners(at: TestPostgres = server): Promise<number> {
  const rows = await at.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app' and query ~ '^(UN)?LISTEN "|^SELECT 1$' and state = 'idle'`,
  );
  return rows.length;
}

/** `server_login_retry` and the back-off of the listening server behind it, and time to log in. */
const backMsMax = 40_000;

/** Notifies until it is heard, and once more; answers the notices that came before. */
async function heardAgain(client: RawClient, at: TestPostgres = server): Promise<number> {
  let notices = 0;
  let told = '';
  const comes = async (payload: string): Promise<boolean> => {
    while (client.untaken > 0) {
      const message = await client.next();
      if (message.tag === 'N') notices++;
      if (message.tag === 'E') told = readFields(message.body)['M'] ?? '';
      if (message.tag === 'A' && noteOf(message).payload === payload) return true;
    }
    return false;
  };
  try {
    await eventually(
      async () => {
        await at.query("notify ch, 'again'");
        return comes('again');
      },
      { withinMs: backMsMax },
    );
  } catch (cause) {
    // Who is at fault: a client that was cut off, a server that is not there, or one that does not listen.
    const servers = await at.query("select state, query from pg_stat_activity where usename = 'app'");
    const standing = client.over ? `is cut off: ${told}` : `is there, with ${notices} notices`;
    throw new Error(`not heard again: the client ${standing}; its servers: ${JSON.stringify(servers)}`, { cause });
  }
  // What comes right behind the new LISTEN may come before the notice of it.
  await at.query("notify ch, 'and again'");
  await eventually(() => comes('and again'));
  return notices;
}

t.test('who listens is told once that the server was lost, also who is busy, and hears again', async (t) => {
  const weir = await weirFor(t);
  const idle = await RawClient.connect(weir, login);
  const busy = await RawClient.connect(weir, login);
  const silent = await RawClient.connect(weir, login);
  for (const client of [idle, busy]) {
    await client.query('listen ch');
    await client.query('listen other');
  }
  await busy.query('begin');
  await server.query("notify ch, 'before'");
  t.same(
    (await heard(idle, 1)).map(({ payload }) => payload),
    ['before'],
    'it hears before',
  );
  t.equal(await eventually(async () => (await killListeners()) === 1), true, 'one server listens, and is killed');
  const notice = await noticed(idle);
  t.match(notice, { S: 'WARNING', C: '01000', M: 'notifications may have been lost' }, 'a warning');
  t.ok(notice?.['D'] !== undefined && notice['H'] !== undefined, 'with a detail and a hint');
  t.equal(await heardAgain(idle), 0, 'told once, and heard again');
  t.same(busy.untaken, 0, 'nothing in a transaction');
  t.match((await busy.query('select 1')).tags, /^TDCZ$/, 'nor behind a statement of it');
  await busy.query('commit');
  t.equal(await heardAgain(busy), 1, 'but behind it');
  t.same((await silent.query('select 1')).notices, [], 'who does not listen is told nothing');
  t.equal(weir.pooler.listenersLost, 1, 'it is counted');
  await Promise.all([idle.end(), busy.end(), silent.end()]);
});

t.test('PAUSE leaves no server connected, and RESUME listens again; KILL and RECONNECT', async (t) => {
  const weir = await weirFor(t);
  const client = await RawClient.connect(weir, login);
  await client.query('listen ch');
  await weir.pooler.pause(undefined);
  t.equal(await server.connectionCount('app'), 0, 'nothing of weir is connected');
  weir.pooler.resume(undefined);
  t.equal(await heardAgain(client), 1, 'it hears again, and is told');
  weir.pooler.reconnect(undefined);
  await weir.pooler.waitClose(undefined);
  t.equal(await heardAgain(client), 1, 'the server that listens is replaced by RECONNECT');
  weir.pooler.kill(undefined);
  await client.closed;
  await eventually(async () => (await server.connectionCount('app')) === 0);
  t.pass('KILL leaves none');
});

t.test('after a reload with another host, what is notified there is heard', async (t) => {
  const other = await startPostgres({ hba, sql: [app] });
  t.teardown(() => other.stop());
  const weir = await weirFor(t);
  const client = await RawClient.connect(weir, login);
  await client.query('listen ch');
  await server.query("notify ch, 'first'");
  t.equal((await heard(client, 1)).length, 1, 'heard from the first');
  weir.config = {
    ...weir.config,
    databases: new Map([['*', newDatabase('*', [{ kind: 'tcp', host: other.host, port: other.port }])]]),
  };
  await weir.pooler.reload();
  t.equal(await heardAgain(client, other), 1, 'heard from the other, behind a notice');
  await client.end();
});

t.test(
  'while no server can be had a LISTEN is an error, not the end of the session; others hear again by themselves',
  async (t) => {
    const own = await startPostgres({ hba, sql: [app] });
    t.teardown(() => own.stop());
    const weir = await startWeir({ server: own, users, weir: { ...settings, query_wait_timeout: 2 } });
    t.teardown(() => weir.stop());
    const listener = await RawClient.connect(weir, login);
    const late = await RawClient.connect(weir, login);
    await listener.query('listen ch');
    // Behind this its own server is looked at no more.
    await listener.query('select 1');
    own.kill9();
    const { errors, status } = await late.query('listen ch');
    t.equal(errors.length, 1, 'an error');
    t.equal(errors[0]?.['S'], 'ERROR', 'that ends no session');
    t.equal(status, 'I', 'and the client may go on');
    await own.restart();
    t.equal(await heardAgain(listener, own), 1, 'the one that listened is told and hears again');
    t.same((await late.query('select 1')).notices, [], 'the other has nothing to be told');
    await Promise.all([listener.end(), late.end()]);
  },
);

/** Numbers in their order; where one is missing, a notice has come in its place. */
async function storm(t: Test, place: { readonly host: string; readonly port: number }, seed: number): Promise<void> {
  const random = new Random(seed);
  const listeners = await Promise.all(Array.from({ length: 6 }, () => RawClient.connect(place, login)));
  for (const listener of listeners) for (const sql of ['listen ch', 'select 1']) await listener.query(sql);
  const notifier = await RawClient.connect(server, login);
  let kills = 0;
  const last = 400;
  for (let n = 1; n <= last; n++) {
    await notifier.query(`notify ch, '${n}'`);
    if (n % 80 === 40) kills += await killListeners();
    // Others come and go on the same channel meanwhile.
    if (random.oneIn(20)) {
      const passing = await RawClient.connect(place, login);
      await passing.query('listen ch');
      passing.socket.destroy();
    }
  }
  t.ok(kills >= 3, `${kills} servers that listened were killed`);
  // A last one for all, once all are heard again.
  await eventually(async () => (await killListenersCount()) > 0, { withinMs: 20_000 });
  let unexplained = 0;
  let gaps = 0;
  let twice = 0;
  for (const listener of listeners) {
    // All have joined before the first.
    let before = 0;
    let noticed = false;
    let missing = false;
    let ended = false;
    await eventually(
      async () => {
        await notifier.query(`notify ch, 'end'`);
        while (listener.untaken > 0) {
          const message = await listener.next();
          if (message.tag === 'N') {
            noticed = !missing;
            missing = false;
            gaps++;
          }
          if (message.tag !== 'A') continue;
          const { payload } = noteOf(message);
          const n = payload === 'end' ? last + 1 : Number(payload);
          if (n <= before && payload !== 'end') twice++;
          // What comes right behind the new LISTEN may come before the notice of it.
          if (n > before + 1) {
            if (missing) unexplained++;
            missing = !noticed;
            noticed = false;
          }
          before = n;
          if (payload === 'end') ended = true;
        }
        return ended && !missing;
      },
      { withinMs: 20_000 },
    );
  }
  t.equal(unexplained, 0, 'whatever is missing is told');
  t.equal(twice, 0, 'nothing comes twice or out of order');
  t.ok(gaps <= kills * listeners.length, `no gap is told more than once: ${gaps}`);
  await Promise.all([...listeners, notifier].map((client) => client.end()));
}

async function killListenersCount(): Promise<number> {
  const rows = await server.query(
    `select 1 from pg_stat_activity where usename = 'app' and query ~ '^(UN)?LISTEN "|^SELECT 1$' and state = 'idle'`,
  );
  return rows.length;
}

t.test('listening servers are killed while clients are notified, come and go', async (t) => {
  await storm(t, await weirFor(t), 1);
});

t.test('the same in two processes', async (t) => {
  const cluster = await startWeirCluster(t, { server, settings: { ...settings, default_pool_size: 6 }, users });
  await storm(t, cluster, 2);
});
