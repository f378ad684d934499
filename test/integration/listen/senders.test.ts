// The pid in a notification is the one that its sender was told, whichever server ran the NOTIFY and whoever has that server by then.

import t, { type Test } from 'tap';
import { workersMax } from '../../../lib/config/index.js';
import { startPostgres } from '../../support/index.js';
import { RawClient, say } from '../../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../../support/weir.js';
import { startWeirCluster, type WeirCluster } from '../../support/weir-cluster.js';
import { heard, type Note } from './rig.js';

const server = await startPostgres({
  hba: 'host all all 127.0.0.1/32 trust',
  sql: [
    'create role app login superuser',
    'create role other login superuser',
    'create table told (payload text)',
    `create function tells() returns trigger language plpgsql
      as $$ begin perform pg_notify('ch', new.payload); return new; end $$`,
    'create trigger tells after insert on told for each row execute function tells()',
    "create function says(text) returns void language plpgsql as $$ begin perform pg_notify('ch', $1); end $$",
  ],
});
t.teardown(() => server.stop());

type Place = { readonly host: string; readonly port: number };

async function start(t: Test, settings: WeirOptions['weir'] = {}): Promise<TestWeir> {
  const weir = await startWeir({
    server,
    users: { app: 'x', other: 'x' },
    weir: { auth_type: 'trust', default_pool_size: 4, ...settings },
  });
  t.teardown(() => weir.stop());
  return weir;
}

async function connect(t: Test, place: Place, user = 'app'): Promise<RawClient> {
  const client = await RawClient.connect(place, { user });
  t.teardown(() => client.end());
  return client;
}

/** Every way to notify with a payload. */
const ways: Readonly<Record<string, (client: RawClient, payload: string) => Promise<unknown>>> = {
  'a NOTIFY': (client, payload) => client.query(`notify ch, '${payload}'`),
  'a pg_notify that is bound': (client, payload) => client.execute('select pg_notify($1, $2)', ['ch', payload]),
  'a trigger': (client, payload) => client.execute('insert into told values ($1)', [payload]),
  'a function': (client, payload) => client.query(`select says('${payload}')`),
  'a DO': (client, payload) => client.query(`do $$ begin perform pg_notify('ch', '${payload}'); end $$`),
  'a transaction': async (client, payload) => {
    await client.query('begin');
    await client.query(`notify ch, '${payload}'`);
    await client.query('commit');
  },
  'one behind a savepoint': async (client, payload) => {
    await client.query('begin');
    await client.query(`savepoint s; notify ch, 'undone'; rollback to s; notify ch, '${payload}'`);
    await client.query('commit');
  },
  'a pipeline': async (client, payload) => {
    client.write(
      ...[say.parse({ text: 'select 1' }), say.bind(), say.execute()],
      ...[say.parse({ text: 'select pg_notify($1, $2)' }), say.bind({ values: ['ch', payload] }), say.execute()],
      say.sync(),
    );
    await client.reply();
  },
  'a prepared statement': async (client, payload) => {
    await client.query(`prepare tell as select pg_notify('ch', $1)`);
    await client.query(`execute tell('${payload}')`);
    await client.query('deallocate tell');
  },
};

/** Payloads are the pids of who sent them. */
function strangers(notes: readonly Note[]): Note[] {
  return notes.filter(({ pid, payload }) => pid !== Number.parseInt(payload, 10));
}

/** The notifications that come among the answers of a client's own statements, and those behind. */
async function own(client: RawClient, sql: string): Promise<Note[]> {
  client.write(say.query(sql));
  const messages = await client.until('Z');
  const among = messages
    .filter(({ tag }) => tag === 'A')
    .map(({ body }) => {
      const end = body.indexOf(0, 4);
      return {
        pid: body.readInt32BE(0),
        channel: body.toString('utf8', 4, end),
        payload: body.toString('utf8', end + 1, body.length - 1),
      };
    });
  return among.length > 0 ? among : heard(client, 1);
}

for (const settings of [
  {},
  { lanes: 'off', defer_begin: false },
  { 'on_hazard.listen': 'pin' },
  { pool_mode: 'session' },
] as const) {
  t.test(`a notification has the pid of whoever sent it, by every way, with ${JSON.stringify(settings)}`, async (t) => {
    const weir = await start(t, settings);
    const listener = await connect(t, weir);
    const sender = await connect(t, weir);
    const stranger = await connect(t, weir, 'other');
    const direct = await connect(t, server);
    await listener.query('listen ch');
    for (const [way, notify] of Object.entries(ways)) {
      for (const client of [sender, direct, stranger, sender]) {
        await notify(client, `${client.cancelPid}`);
        t.same(
          (await heard(listener, 1)).map(({ pid, payload }) => [pid, payload]),
          [[client.cancelPid, `${client.cancelPid}`]],
          `${way} by ${client === direct ? 'a session beside' : client === sender ? 'another client' : 'a client of another user'}`,
        );
      }
    }
    for (const sql of [`notify ch, '1'`, `select pg_notify('ch', '2')`, "insert into told values ('3')"]) {
      const notes = await own(listener, sql);
      t.same(
        notes.map(({ pid }) => pid),
        [listener.cancelPid],
        `its own: ${sql}`,
      );
    }
  });
}

t.test('a client that DO or a function has begun to listen for is told who sent', async (t) => {
  const weir = await start(t);
  const listener = await connect(t, weir);
  const sender = await connect(t, weir);
  const direct = await connect(t, server);
  await listener.query("do $$ begin execute 'listen ch'; end $$");
  for (const client of [sender, direct, sender]) {
    await client.query(`notify ch, '${client.cancelPid}'`);
    t.same(
      (await heard(listener, 1)).map(({ pid }) => pid),
      [client.cancelPid],
    );
  }
  t.same(
    (await own(listener, "notify ch, 'own'")).map(({ pid }) => pid),
    [listener.cancelPid],
  );
});

t.test('a client that leaves at once is still the sender', async (t) => {
  const weir = await start(t, { default_pool_size: 1, server_lifetime: 0 });
  const listener = await connect(t, weir);
  await listener.query('listen ch');
  for (let round = 0; round < 10; round++) {
    const client = await RawClient.connect(weir, { user: 'app' });
    await client.query(`notify ch, '${client.cancelPid}'`);
    await client.end();
  }
  const notes = await heard(listener, 10);
  t.equal(notes.length, 10);
  t.same(strangers(notes), []);
});

for (const [size, wayOf] of [
  [1, ['a NOTIFY']],
  [2, ['a NOTIFY', 'a pg_notify that is bound', 'a transaction', 'a pipeline']],
  [1, ['a trigger']],
  [2, ['a trigger', 'a function', 'a NOTIFY', 'a DO']],
] as const) {
  t.test(`clients that take turns on ${size} servers, by ${wayOf.join(', ')}`, async (t) => {
    const weir = await start(t, { default_pool_size: size });
    const listener = await connect(t, weir);
    await listener.query('listen ch');
    const clients = await Promise.all(Array.from({ length: 6 }, () => connect(t, weir)));
    const rounds = 60;
    const notes: Note[] = [];
    const hearing = heard(listener, clients.length * rounds, 30_000).then((all) => notes.push(...all));
    await Promise.all(
      clients.map(async (client, index) => {
        for (let round = 0; round < rounds; round++) {
          const way = ways[wayOf[(index + round) % wayOf.length] ?? ''];
          await way?.(client, `${client.cancelPid} ${round}`);
        }
      }),
    );
    await hearing;
    t.equal(notes.length, clients.length * rounds);
    t.same(strangers(notes), []);
  });
}

t.test('writes go on where the server that listens does not answer', async (t) => {
  const weir = await start(t, { default_pool_size: 1 });
  const listener = await connect(t, weir);
  const [one, two] = [await connect(t, weir), await connect(t, weir)];
  await listener.query('listen ch');
  await one.query("notify ch, 'one'");
  await heard(listener, 1);
  const pid = Number(
    (await server.query("select pid from pg_stat_activity where query ilike 'listen %' or query = 'SELECT 1'"))[0]?.[
      'pid'
    ],
  );
  t.ok(pid > 0);
  process.kill(pid, 'SIGSTOP');
  try {
    const begunMs = performance.now();
    t.same((await two.query("notify ch, 'two'")).commands, ['NOTIFY']);
    t.ok(performance.now() - begunMs < 5_000);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  t.same(
    (await heard(listener, 1)).map(({ payload }) => payload),
    ['two'],
  );
});

/** Of a worker of weir with this index; its clients' pids say which serves them. */
async function connectTo(t: Test, weir: WeirCluster, worker: number): Promise<RawClient> {
  for (;;) {
    const client = await RawClient.connect(weir, { user: 'app' });
    if (client.cancelPid % workersMax === worker) {
      t.teardown(() => client.end());
      return client;
    }
    await client.end();
  }
}

t.test('with two workers a notification has the pid of whoever sent it', async (t) => {
  const settings = { workers: 2, auth_type: 'trust', pool_mode: 'transaction', default_pool_size: 4 };
  const weir = await startWeirCluster(t, { server, settings, users: { app: 'x' } });
  const listener = await connectTo(t, weir, 0);
  const senders = [await connectTo(t, weir, 1), await connectTo(t, weir, 0), await connect(t, server)];
  await listener.query('listen ch');
  for (const [way, notify] of Object.entries(ways)) {
    for (const client of senders) {
      await notify(client, `${client.cancelPid}`);
      t.same(
        (await heard(listener, 1)).map(({ pid, payload }) => [pid, payload]),
        [[client.cancelPid, `${client.cancelPid}`]],
        way,
      );
    }
  }
  await Promise.all(
    senders.map(async (client) => {
      for (let n = 0; n < 200; n++) await client.query(`notify ch, '${client.cancelPid} ${n}'`);
    }),
  );
  const notes = await heard(listener, senders.length * 200, 15_000);
  t.same(strangers(notes), []);
  for (const { cancelPid } of senders) {
    const numbers = notes.filter(({ pid }) => pid === cancelPid).map(({ payload }) => Number(payload.split(' ')[1]));
    t.same(
      numbers,
      numbers.map((_, n) => n),
      'in order',
    );
    t.equal(numbers.length, 200);
  }
  await listener.query('unlisten *');
});

t.test('with two workers clients of one take turns on its server while one of the other listens', async (t) => {
  const settings = { workers: 2, auth_type: 'trust', pool_mode: 'transaction', default_pool_size: 2 };
  const weir = await startWeirCluster(t, { server, settings, users: { app: 'x' } });
  const listener = await connectTo(t, weir, 0);
  const clients = [];
  for (let n = 0; n < 6; n++) clients.push(await connectTo(t, weir, n < 4 ? 1 : 0));
  await listener.query('listen ch');
  const rounds = 40;
  const names = ['a trigger', 'a NOTIFY', 'a transaction', 'a pipeline'] as const;
  const hearing = heard(listener, clients.length * rounds, 30_000);
  await Promise.all(
    clients.map(async (client, index) => {
      for (let round = 0; round < rounds; round++) {
        await ways[names[(index + round) % names.length] ?? '']?.(client, `${client.cancelPid} ${round}`);
      }
    }),
  );
  const notes = await hearing;
  t.equal(notes.length, clients.length * rounds);
  t.same(strangers(notes), []);
});
