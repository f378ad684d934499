// What goes wrong between clients and servers: servers that die, hang or refuse, clients that misbehave, time limits, cancels, shutdown.

import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import postgresJs from 'postgres';
import t, { type Test } from 'tap';
import { newUser, type UserSettings } from '../../lib/config/index.js';
import { Secret } from '../../lib/util/index.js';
import { eventually, startPostgres, stretched } from '../support/index.js';
import { extended, type Fields, frame, RawClient, say, sendCancelRequest, startup } from '../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';

const server = await startPostgres({
  settings: { timezone: 'GMT' },
  sql: [
    "create role app superuser login password 'app'",
    "create role other superuser login password 'other'",
    "create role late login password 'in time'",
  ],
});
t.teardown(() => server.stop());

async function start(t: Test, weir: WeirOptions['weir'] = {}, more: Partial<WeirOptions> = {}): Promise<TestWeir> {
  const started = await startWeir({
    server,
    // A BEGIN is to take a server here.
    weir: { auth_type: 'trust', server_login_retry: 0.2, defer_begin: false, ...weir },
    users: { postgres: server.admin.password, app: 'app', other: 'other' },
    ...more,
  });
  t.teardown(() => started.stop());
  return started;
}

function busyServers(weir: TestWeir): number {
  return [...weir.pooler.pools].reduce(
    (sum, { counts }) => sum + counts.active + counts.tested + counts.being_canceled,
    0,
  );
}

async function settled(weir: TestWeir): Promise<void> {
  await eventually(() => busyServers(weir) === 0, { withinMs: 15_000 });
}

/** A statement runs on the server: a cancel that arrives before, PostgreSQL itself forgets. */
async function asleep(): Promise<void> {
  const sleepers = "select 1 from pg_stat_activity where state = 'active' and wait_event = 'PgSleep'";
  await eventually(async () => (await server.query(sleepers)).length > 0, { withinMs: 15_000 });
}

/** Rejects where something takes as long as only what is lost does, and says what it was. */
function inTime<T>(what: string, done: PromiseLike<T>): Promise<T> {
  const begin = performance.now();
  const late = async (): Promise<never> => {
    while (performance.now() - begin < stretched(15_000)) await sleep(1_000, undefined, { ref: false });
    throw new Error(`${what} did not come in time`);
  };
  return Promise.race([done, late()]);
}

async function refusal(weir: TestWeir, login: Parameters<typeof startup>[0] = {}): Promise<Fields> {
  const client = await RawClient.open(weir);
  client.write(startup(login));
  return client.fatal();
}

const cachedError = /^server login has been failing, cached error: .* \(server_login_retry\)$/;

// Servers

/** Clients that ask again and again, and connect again when they are cut off. */
class Load {
  answers = 0;
  wrong = 0;
  readonly errors = new Map<string, number>();
  #going = true;
  readonly #done: Promise<unknown>;

  constructor(weir: TestWeir, clients: number) {
    this.#done = Promise.all(Array.from({ length: clients }, (_, c) => this.#run(weir, c)));
  }

  async stop(): Promise<void> {
    this.#going = false;
    await this.#done;
  }

  async #run(weir: TestWeir, c: number): Promise<void> {
    while (this.#going) {
      const client = await RawClient.connect(weir).catch((error: { code?: string; message: string }) => {
        this.#count(error.code ?? error.message);
        return undefined;
      });
      if (client === undefined) {
        await sleep(20);
        continue;
      }
      for (let n = 0; this.#going && !client.over; n++) {
        const ask = n % 3 === 0 ? client.execute('select $1::text', [`${c}:${n}`]) : client.query(`select '${c}:${n}'`);
        const reply = await ask.catch(() => undefined);
        if (reply === undefined) {
          this.#count('lost');
          break;
        }
        if (reply.errors[0] !== undefined) this.#count(reply.errors[0]['C'] ?? '');
        else if (reply.rows[0]?.[0] === `${c}:${n}`) this.answers++;
        else this.wrong++;
      }
      await client.end();
    }
  }

  #count(what: string): void {
    this.errors.set(what, (this.errors.get(what) ?? 0) + 1);
  }
}

t.test('a server that is killed or restarted under load: errors end, and service resumes by itself', async (t) => {
  const weir = await start(t, { default_pool_size: 4 });
  const idle = await RawClient.connect(weir);
  const load = new Load(weir, 20);
  for (const fault of ['killed', 'restarted fast', 'restarted immediately']) {
    const before = load.answers;
    await eventually(() => load.answers > before + 200);
    if (fault === 'killed') {
      server.kill9();
      await eventually(() => load.errors.size > 0);
      await sleep(300);
    }
    await server.restart(fault === 'restarted fast' ? 'fast' : 'immediate');
    const after = load.answers;
    await eventually(() => load.answers > after + 200, { withinMs: 10_000 });
    const errors = [...load.errors.values()].reduce((sum, count) => sum + count, 0);
    await eventually(async () => {
      const seen = load.answers;
      await eventually(() => load.answers > seen + 200);
      return [...load.errors.values()].reduce((sum, count) => sum + count, 0) >= errors;
    });
    const settledErrors = JSON.stringify([...load.errors]);
    const again = load.answers;
    await eventually(() => load.answers > again + 200);
    t.equal(JSON.stringify([...load.errors]), settledErrors, `${fault}: no error any more`);
    t.equal(await idle.value('select 1'), '1', `${fault}: a client that was idle meanwhile noticed nothing`);
  }
  await load.stop();
  t.equal(load.wrong, 0, 'nobody got the answer of somebody else');
  const known = ['08006', '57P01', '57P02', '57P03', 'lost'];
  t.same(
    [...load.errors.keys()].filter((code) => !known.includes(code)),
    [],
  );
  t.ok(
    [...load.errors.keys()].some((code) => code !== 'lost'),
    'clients were told why',
  );
  await idle.end();
  await settled(weir);
  t.ok([...weir.pooler.pools].every(({ servers }) => servers.size <= 4));
});

t.test(
  'a frozen server: query_timeout and server_connect_timeout end the wait, and thawed it serves again',
  async (t) => {
    const weir = await start(t, {
      default_pool_size: 2,
      query_timeout: 0.5,
      server_connect_timeout: 0.5,
      cancel_wait_timeout: 0.5,
    });
    const a = await RawClient.connect(weir);
    const bystander = await RawClient.connect(weir);
    t.equal(await a.value('select 1'), '1');
    server.freeze();
    t.teardown(() => server.thaw());
    const started = performance.now();
    a.write(say.query('select 2'));
    t.match(await a.fatal(), { S: 'FATAL', C: '57014', M: 'query_timeout' });
    t.ok(performance.now() - started < 3_000);
    t.match(await refusal(weir, { user: 'app' }), { C: '08006', M: /server_connect_timeout/ });
    server.thaw();
    t.equal(await bystander.value('select 3'), '3');
    await eventually(async () => {
      const b = await RawClient.connect(weir, { user: 'app' });
      t.equal(await b.value('select 4'), '4');
      await b.end();
    });
    await bystander.end();
    await settled(weir);
  },
);

t.test('a backend that is terminated: idle it is replaced unseen, active its client alone is told', async (t) => {
  const weir = await start(t, { default_pool_size: 2 });
  const a = await RawClient.connect(weir);
  const b = await RawClient.connect(weir);
  const idlePid = await a.value('select pg_backend_pid()');
  await server.query('select pg_terminate_backend($1)', [idlePid]);
  await eventually(() => [...weir.pooler.pools].every(({ servers }) => servers.size === 0));
  t.not(await a.value('select pg_backend_pid()'), idlePid);

  const sleeper = await a.value('select pg_backend_pid()');
  a.write(say.query('select pg_sleep(60)'));
  const asleep = "select 1 from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
  await eventually(async () => (await server.query(asleep, [sleeper])).length === 1);
  await server.query('select pg_terminate_backend($1)', [sleeper]);
  t.match(await a.fatal(), { S: 'FATAL', C: '57P01', M: 'terminating connection due to administrator command' });
  t.equal(await b.value('select 1'), '1');

  const c = await RawClient.connect(weir);
  const pid = await c.value('begin; select pg_backend_pid()');
  await server.query('select pg_terminate_backend($1)', [pid]);
  t.match(await c.fatal(), { S: 'FATAL', C: '57P01' }, 'idle in a transaction');
  t.equal(await b.value('select 1'), '1');
  await b.end();
  await settled(weir);
});

t.test('a database that is dropped: its clients are told so, others are served', async (t) => {
  const weir = await start(t);
  await server.query('create database doomed');
  const a = await RawClient.connect(weir, { database: 'doomed' });
  const b = await RawClient.connect(weir);
  t.equal(await a.value('select current_database()'), 'doomed');
  await server.query('drop database doomed with (force)');
  await eventually(() =>
    [...weir.pooler.pools].every(({ database, servers }) => database !== 'doomed' || servers.size === 0),
  );
  a.write(say.query('select 1'));
  const told = await a.fatal();
  t.match(told, { S: 'FATAL', C: '3D000', M: /database "doomed" does not exist/ });
  const late = await RawClient.connect(weir, { database: 'doomed' });
  late.write(say.query('select 1'));
  t.match(await late.fatal(), { S: 'FATAL', C: '3D000', M: cachedError }, 'whose login needed no server');
  t.match(await refusal(weir, { database: 'never was' }), {
    S: 'FATAL',
    C: '3D000',
    M: /database "never was" does not exist/,
  });
  t.equal(await b.value('select current_database()'), 'postgres');
  await server.query('create database doomed');
  await eventually(async () => {
    const again = await RawClient.connect(weir, { database: 'doomed' });
    t.equal(await again.value('select current_database()'), 'doomed');
    await again.end();
  });
  await b.end();
});

t.test('a password the server does not take: told without naming it, and put right it works', async (t) => {
  const weir = await start(t, {}, { users: { late: 'not the password', postgres: server.admin.password } });
  const told = await refusal(weir, { user: 'late' });
  t.match(told, { S: 'FATAL', C: '28P01', M: /password authentication failed for user "late"/ });
  t.notMatch(JSON.stringify(told), /not the password/);
  t.match(await refusal(weir, { user: 'late' }), { C: '28P01', M: cachedError });
  await server.query("alter role late password 'not the password'");
  await eventually(async () => {
    const client = await RawClient.connect(weir, { user: 'late' });
    t.equal(await client.value('select current_user'), 'late');
    await client.end();
  });
});

t.test(
  'a server that is down at the start: one attempt per server_login_retry, everybody is told, then it comes up',
  async (t) => {
    server.kill9();
    const weir = await start(t, { server_login_retry: 1 });
    const first = await refusal(weir);
    t.match(first, { S: 'FATAL', C: '08006', M: /ECONNREFUSED/ });
    const attempts = weir.pooler.connectFailures;
    const refusals = await Promise.all(Array.from({ length: 20 }, () => refusal(weir)));
    t.equal(refusals.filter(({ C, M }) => C === '08006' && cachedError.test(M ?? '')).length, 20);
    t.ok(weir.pooler.connectFailures - attempts <= 2, `${weir.pooler.connectFailures - attempts} more attempts`);
    await server.restart('immediate');
    await eventually(async () => {
      const client = await RawClient.connect(weir);
      t.equal(await client.value('select 1'), '1');
      await client.end();
    });
  },
);

t.test('a server that never answers its login: client_login_timeout says that the server is down', async (t) => {
  const sockets: net.Socket[] = [];
  const hole = net.createServer((socket) => void sockets.push(socket.on('error', () => {})));
  hole.listen(0, '127.0.0.1');
  await once(hole, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    hole.close();
  });
  const weir = await start(
    t,
    { client_login_timeout: 0.5, server_connect_timeout: 30 },
    { server: { host: '127.0.0.1', port: (hole.address() as AddressInfo).port } },
  );
  t.match(await refusal(weir), { S: 'FATAL', C: '08P01', M: 'client_login_timeout (server down)' });
});

// Clients

t.test('a client that stops reading a huge result costs little memory and nobody else', async (t) => {
  const weir = await start(t, { default_pool_size: 2 });
  const slow = await RawClient.connect(weir);
  const other = await RawClient.connect(weir);
  const rows = 150_000;
  const before = process.memoryUsage().rss;
  slow.socket.pause();
  slow.write(say.query(`select repeat('x', 1000) from generate_series(1, ${rows})`));
  let answered = 0;
  const until = performance.now() + 1_500;
  while (performance.now() < until) {
    if ((await other.value('select 1')) === '1') answered++;
  }
  const grown = (process.memoryUsage().rss - before) / 2 ** 20;
  t.ok(grown < 80, `memory grew by ${grown.toFixed(0)} MB`);
  t.ok(answered > 100, `${answered} answers meanwhile`);
  t.ok(slow.bytesRead < 50_000_000);
  slow.socket.resume();
  let read = 0;
  for (let tag = ''; tag !== 'Z'; ) {
    ({ tag } = await slow.next());
    if (tag === 'D') read++;
  }
  t.equal(read, rows, 'read at last, it is complete');
  t.equal(await slow.value('select 2'), '2');
  await slow.end();
  await other.end();
  await settled(weir);
});

t.test('a client that sends without end and reads nothing is held back', async (t) => {
  const weir = await start(t, { default_pool_size: 2 });
  const greedy = await RawClient.connect(weir);
  const other = await RawClient.connect(weir);
  const before = process.memoryUsage().rss;
  greedy.socket.pause();
  const batch = Buffer.concat(
    Array.from({ length: 100 }, () => Buffer.concat([...extended("select repeat('y', 10000)"), say.sync()])),
  );
  let sent = 0;
  // What the kernel and weir do not take stays here.
  while (sent < 100 && greedy.socket.writableLength < 1_000_000) {
    greedy.socket.write(batch);
    sent++;
    await sleep(1);
  }
  t.equal(await other.value('select 1'), '1');
  await sleep(300);
  const grown = (process.memoryUsage().rss - before) / 2 ** 20;
  t.ok(grown < 100, `memory grew by ${grown.toFixed(0)} MB`);
  greedy.socket.resume();
  let ready = 0;
  while (ready < sent * 100) {
    const { tag } = await greedy.next();
    if (tag === 'Z') ready++;
    else if (tag === 'E') break;
  }
  t.equal(ready, sent * 100, 'every batch is answered in the end');
  await greedy.end();
  t.equal(await other.value('select 1'), '1');
  await other.end();
  await settled(weir);
});

t.test('a thousand clients that connect at once are all served over ten servers', async (t) => {
  const weir = await start(t, { default_pool_size: 10 });
  const clients = await Promise.all(Array.from({ length: 1_000 }, () => RawClient.connect(weir, { user: 'app' })));
  t.equal(weir.pooler.sessionCount, 1_000);
  const answers = await Promise.all(clients.map((client, n) => client.execute('select $1::int', [`${n}`])));
  t.equal(answers.filter(({ rows }, n) => rows[0]?.[0] === `${n}`).length, 1_000);
  t.ok((await server.connectionCount('app')) <= 10);
  await Promise.all(clients.map((client) => client.end()));
  await eventually(() => weir.pooler.sessionCount === 0);

  // By a driver that authenticates, from connect to end.
  const secured = await start(t, { auth_type: 'scram-sha-256', default_pool_size: 10 });
  const login = { host: secured.host, port: secured.port, user: 'app', password: 'app', database: 'postgres' };
  let served = 0;
  await Promise.all(
    Array.from({ length: 200 }, async (_, n) => {
      const client = new pg.Client(login);
      await client.connect();
      const { rows } = await client.query('select $1::int as n', [n]);
      if (rows[0]?.n === n) served++;
      await client.end();
    }),
  );
  t.equal(served, 200);
});

t.test('bad packets at every stage get the right FATAL, close their own connection and disturb nobody', async (t) => {
  const trusted = await start(t, { max_packet_size: 2_000_000 });
  const secured = await start(t, { auth_type: 'scram-sha-256' });
  const plain = await start(t, { auth_type: 'plain' });
  const bystander = await RawClient.connect(trusted);
  await bystander.query('begin');

  const length = (n: number, ...rest: number[]): Buffer => {
    const buffer = Buffer.alloc(4 + rest.length);
    buffer.writeInt32BE(n);
    Buffer.from(rest).copy(buffer, 4);
    return buffer;
  };
  const sslRequest = say.requestSsl();
  const bad = { S: 'FATAL', C: '08P01', M: 'bad packet' };
  /** What has no length of a packet is no client: it is not spoken to. */
  const silence = { message: 'the connection is over' };
  interface Case {
    readonly what: string;
    readonly weir: TestWeir;
    readonly loggedIn?: true;
    readonly send: readonly Buffer[];
    /** Sent when the first reply has come. */
    readonly after?: readonly Buffer[];
    readonly told: object;
  }
  const nobody = Buffer.concat([length(9), Buffer.from([0, 3, 0, 0, 0])]);
  const cases: readonly Case[] = [
    { what: 'HTTP', weir: trusted, send: [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')], told: silence },
    { what: 'a length of 0', weir: trusted, send: [length(0)], told: silence },
    { what: 'a length of 7', weir: trusted, send: [length(7, 0, 3, 0)], told: silence },
    { what: 'a negative length', weir: trusted, send: [length(-1, 0, 3, 0, 0)], told: silence },
    { what: 'a startup packet of 10,001 bytes', weir: trusted, send: [length(10_001, 0, 3, 0, 0)], told: silence },
    { what: 'random bytes', weir: trusted, send: [Buffer.from('8f3a9c1d5e7b2046', 'hex')], told: silence },
    {
      what: 'protocol 2',
      weir: trusted,
      send: [length(8, 0, 2, 0, 0)],
      told: { S: 'FATAL', C: '0A000', M: /unsupported frontend protocol 2\.0/ },
    },
    { what: 'no user', weir: trusted, send: [nobody], told: { S: 'FATAL', C: '28000', M: 'no username supplied' } },
    {
      what: 'a parameter without end',
      weir: trusted,
      send: [length(13, 0, 3, 0, 0, 0x75, 0x73, 0x65, 0x72, 0)],
      told: bad,
    },
    { what: 'a second SSLRequest', weir: trusted, send: [sslRequest], after: [sslRequest], told: bad },
    {
      what: 'bytes behind an SSLRequest',
      weir: trusted,
      send: [sslRequest, startup()],
      told: { S: 'FATAL', C: '08P01', M: 'received unencrypted data after SSL request' },
    },
    {
      what: 'a user name of 200 bytes',
      weir: trusted,
      send: [startup({ user: 'u'.repeat(200) })],
      told: { S: 'FATAL', M: 'username too long' },
    },
    {
      what: 'a Query instead of SASL',
      weir: secured,
      send: [startup({ user: 'app' })],
      after: [say.query('select 1')],
      told: bad,
    },
    {
      what: 'a mechanism nobody offered',
      weir: secured,
      send: [startup({ user: 'app' })],
      after: [say.sendSASLInitialResponseMessage('PLAIN', 'x')],
      told: { S: 'FATAL', C: /^(08P01|28P01|28000)$/ },
    },
    {
      what: 'SASL garbage',
      weir: secured,
      send: [startup({ user: 'app' })],
      after: [frame('p', Buffer.from('garbage'))],
      told: { S: 'FATAL', C: /^(08P01|28P01|28000)$/ },
    },
    {
      what: 'an endless SASL message',
      weir: secured,
      send: [startup({ user: 'app' })],
      after: [frame('p', Buffer.alloc(10), 1_000_000_000)],
      told: bad,
    },
    {
      what: 'a SCRAM first message that is none',
      weir: secured,
      send: [startup({ user: 'app' })],
      after: [say.sendSASLInitialResponseMessage('SCRAM-SHA-256', 'n,,nonsense')],
      told: { S: 'FATAL' },
    },
    {
      what: 'a password of 70,000 bytes',
      weir: plain,
      send: [startup({ user: 'app' })],
      after: [say.password('p'.repeat(70_000))],
      told: { S: 'FATAL', C: /^(08P01|28P01)$/ },
    },
    {
      what: 'a wrong password',
      weir: plain,
      send: [startup({ user: 'app' })],
      after: [say.password('nope')],
      told: { S: 'FATAL', C: '28P01', M: /password authentication failed/ },
    },
    { what: 'an unknown tag', weir: trusted, loggedIn: true, send: [frame('z')], told: bad },
    { what: 'a password after the login', weir: trusted, loggedIn: true, send: [say.password('late')], told: bad },
    { what: 'a length of 3', weir: trusted, loggedIn: true, send: [frame('Q', Buffer.alloc(0), 3)], told: bad },
    {
      what: 'a length of 2^31',
      weir: trusted,
      loggedIn: true,
      send: [frame('Q', Buffer.alloc(0), 0x8000_0000)],
      told: bad,
    },
    {
      what: 'a message over max_packet_size',
      weir: trusted,
      loggedIn: true,
      send: [frame('Q', Buffer.alloc(0), 2_000_001)],
      told: bad,
    },
    { what: 'a server message', weir: trusted, loggedIn: true, send: [frame('Z', Buffer.from('I'))], told: bad },
    {
      what: 'garbage behind a query that runs',
      weir: trusted,
      loggedIn: true,
      send: [say.query('select pg_sleep(0.05)'), frame('\x01', Buffer.from('junk'))],
      told: bad,
    },
  ];
  for (const { what, weir, loggedIn, send, after, told } of cases) {
    const client = loggedIn === true ? await RawClient.connect(weir) : await RawClient.open(weir);
    client.write(...send);
    if (after !== undefined) {
      await once(client.socket, 'data');
      if (what === 'a second SSLRequest') forget(client);
      client.write(...after);
    }
    t.match(await client.fatal().catch((error: unknown) => error), told, what);
  }

  // Cut off in the middle, with nobody there to be told.
  for (const part of [Buffer.alloc(0), length(60), startup().subarray(0, 20), sslRequest.subarray(0, 5)]) {
    const client = await RawClient.open(trusted);
    client.write(part);
    client.socket.end();
    await client.closed;
  }
  for (const part of [Buffer.alloc(0), frame('p', Buffer.alloc(3), 100)]) {
    const client = await RawClient.open(secured);
    client.write(startup({ user: 'app' }));
    await client.next();
    client.write(part);
    client.socket.end();
    await client.closed;
  }
  for (const weir of [trusted, secured, plain]) await eventually(() => weir.pooler.pendingLogins === 0);

  t.equal((await bystander.query('commit')).status, 'I');
  t.equal(await bystander.value('select 1'), '1');
  await bystander.end();
  await eventually(() => trusted.pooler.sessionCount === 0);
  await settled(trusted);

  /** The answer to SSLRequest is one letter, not a message: what the client made of it is thrown away. */
  function forget(client: RawClient): void {
    client.expectFrames();
  }
});

// Time

t.test('client_login_timeout, client_idle_timeout', async (t) => {
  const weir = await start(t, { client_login_timeout: 0.6, client_idle_timeout: 0.6 });
  const secured = await start(t, { auth_type: 'scram-sha-256', client_login_timeout: 0.6 });
  const silent = await RawClient.open(weir);
  const halfway = await RawClient.open(secured);
  halfway.write(startup({ user: 'app' }));
  const idle = await RawClient.connect(weir);
  const inTransaction = await RawClient.connect(weir);
  await inTransaction.query('begin');
  const [a, b, c] = await Promise.all([silent.fatal(), halfway.fatal(), idle.fatal()]);
  t.match(a, { S: 'FATAL', C: '08P01', M: 'client_login_timeout' });
  t.match(b, { S: 'FATAL', C: '08P01', M: 'client_login_timeout' });
  t.match(c, { S: 'FATAL', C: '57P05', M: 'client_idle_timeout' });
  t.equal((await inTransaction.query('commit')).status, 'I', 'inside a transaction another limit holds');
  await inTransaction.end();
});

t.test('query_timeout, transaction_timeout, idle_transaction_timeout and query_wait_timeout', async (t) => {
  const cases: readonly (readonly [string, readonly string[], Fields])[] = [
    ['query_timeout', ['select pg_sleep(60)'], { S: 'FATAL', C: '57014', M: 'query_timeout' }],
    ['transaction_timeout', ['begin', 'select pg_sleep(60)'], { S: 'FATAL', C: '25P04', M: 'transaction timeout' }],
    ['idle_transaction_timeout', ['begin'], { S: 'FATAL', C: '25P03', M: 'idle transaction timeout' }],
  ];
  await Promise.all(
    [...cases, ...cases].map(async ([key, statements, told], index) => {
      const defer_begin = index >= cases.length;
      const weir = await start(t, { default_pool_size: 1, [key]: 0.5, defer_begin });
      const name = `${key} ${String(defer_begin)}`;
      const a = await RawClient.connect(weir, { parameters: { application_name: name } });
      const b = await RawClient.connect(weir);
      for (const sql of statements.slice(0, -1)) await a.query(sql);
      a.write(say.query(statements.at(-1) ?? ''));
      t.match(await a.fatal(), told, name);
      t.equal(await b.value('select 1'), '1', `${name}: the server is free for the next`);
      t.equal(await server.connectionCount(name), 0, `${name}: and is not in the transaction any more`);
      // Below the limit nothing happens.
      for (let n = 0; n < 5; n++) t.equal((await b.query('select pg_sleep(0.15)')).errors.length, 0);
      await b.end();
    }),
  );

  const weir = await start(t, { default_pool_size: 1, query_wait_timeout: 0.5, query_wait_notify: 0.2 });
  const holder = await RawClient.connect(weir);
  const waiter = await RawClient.connect(weir);
  await holder.query('begin');
  waiter.write(say.query('select 1'));
  const notice = await waiter.next();
  t.equal(notice.tag, 'N');
  t.match(notice.body.toString(), /No server connection available in the pool/);
  t.match(await waiter.fatal(), { S: 'FATAL', C: '08P01', M: 'query_wait_timeout' });
  t.equal((await holder.query('commit')).status, 'I');
  const patient = await RawClient.connect(weir);
  await holder.query('begin');
  const answer = patient.value('select 5');
  await sleep(100);
  await holder.query('commit');
  t.equal(await answer, '5', 'who is served in time is served');
  await holder.end();
  await patient.end();
});

// Limits

t.test('limits on clients, at the limit and one above, and again when one has left', async (t) => {
  const user = (name: string, more: Partial<UserSettings> = {}): [string, UserSettings] => [
    name,
    newUser(name, { password: new Secret(name === 'postgres' ? server.admin.password : name), ...more }),
  ];
  const limits: readonly (readonly [WeirOptions['weir'], Partial<UserSettings>, string])[] = [
    [{ max_client_conn: 3 }, {}, 'no more connections allowed (max_client_conn)'],
    [{ max_db_client_connections: 3 }, {}, 'client connections exceeded (max_db_client_connections)'],
    [{ max_user_client_connections: 3 }, {}, 'client connections exceeded (max_user_client_connections)'],
    [{}, { max_user_client_connections: 3 }, 'client connections exceeded (max_user_client_connections)'],
  ];
  for (const [settings, ofUser, message] of limits) {
    const weir = await start(t, settings, {
      config: (config) => ({ ...config, users: new Map([user('app', ofUser), user('other')]) }),
    });
    const clients = await Promise.all([1, 2, 3].map(() => RawClient.connect(weir, { user: 'app' })));
    const told = await refusal(weir, { user: 'app' });
    t.match(told, { S: 'FATAL', C: '53300', M: message });
    t.match(told['H'], /The limit is 3/);
    if (message.includes('user')) await (await RawClient.connect(weir, { user: 'other' })).end();
    await clients[0]?.end();
    await eventually(() => weir.pooler.sessionCount <= 2);
    const again = await RawClient.connect(weir, { user: 'app' });
    t.equal(await again.value('select 1'), '1');
    t.match(await refusal(weir, { user: 'app' }), { M: message });
    await Promise.all([again, ...clients].map((client) => client.end()));
    await weir.stop();
  }
});

t.test('limits on servers: pool_size, reserve pool, max_db_connections over two users, minimum and age', async (t) => {
  const reserved = await start(t, { default_pool_size: 1, reserve_pool_size: 1, reserve_pool_timeout: 0.5 });
  const [a, b, c] = await Promise.all(
    [1, 2, 3].map(() => RawClient.connect(reserved)) as [Promise<RawClient>, Promise<RawClient>, Promise<RawClient>],
  );
  await a.query('begin');
  const started = performance.now();
  t.equal((await b.query('begin')).status, 'T');
  t.ok(performance.now() - started >= 400, 'the reserve is opened to who has waited');
  const waiting = c.query('select 1');
  await sleep(700);
  t.equal([...reserved.pooler.pools][0]?.servers.size, 2, 'and never exceeded');
  await a.query('commit');
  t.equal((await waiting).errors.length, 0);
  await Promise.all([a, b, c].map((client) => client.end()));
  await reserved.stop();

  const shared = await start(t, { default_pool_size: 5, max_db_connections: 2 });
  const users = await Promise.all(
    ['app', 'app', 'app', 'other', 'other', 'other'].map((user) => RawClient.connect(shared, { user })),
  );
  const most: number[] = [];
  for (let round = 0; round < 10; round++) {
    const replies = Promise.all(users.map((client) => client.query('select pg_sleep(0.005), current_user')));
    most.push([...shared.pooler.pools].reduce((sum, { servers }) => sum + servers.size, 0));
    t.equal((await replies).filter(({ errors }) => errors.length > 0).length, 0);
    most.push([...shared.pooler.pools].reduce((sum, { servers }) => sum + servers.size, 0));
  }
  t.equal(Math.max(...most), 2);
  await Promise.all(users.map((client) => client.end()));
  await shared.stop();

  const lively = await start(t, {
    default_pool_size: 5,
    min_pool_size: 2,
    server_idle_timeout: 0.5,
    server_lifetime: 3,
  });
  const clients = await Promise.all([1, 2, 3, 4].map(() => RawClient.connect(lively)));
  const pids = new Set(
    (await Promise.all(clients.map((client) => client.query('select pg_backend_pid(), pg_sleep(0.1)')))).map(
      ({ rows }) => rows[0]?.[0],
    ),
  );
  t.equal(pids.size, 4);
  const [pool] = [...lively.pooler.pools];
  await eventually(() => pool?.servers.size === 2);
  await sleep(600);
  t.equal(pool?.servers.size, 2, 'the minimum stays');
  await eventually(
    () => [...(pool?.servers ?? [])].every(({ pid }) => !pids.has(String(pid))) && pool?.servers.size === 2,
  );
  t.equal(await clients[0]?.value('select 1'), '1', 'the old ones were replaced');
  await Promise.all(clients.map((client) => client.end()));
});

// Cancel

t.test('cancel reaches a running query, a queued one, and never anybody else', async (t) => {
  const weir = await start(t, { default_pool_size: 1 });
  const a = await RawClient.connect(weir);
  const b = await RawClient.connect(weir);
  const canceled = { S: 'ERROR', C: '57014', M: 'canceling statement due to user request' };

  const running = a.query('select pg_sleep(60)');
  await asleep();
  const wrongKey = Buffer.from(a.cancelSecret);
  wrongKey[0] = (wrongKey[0] ?? 0) ^ 1;
  await sendCancelRequest(weir, a.cancelPid, wrongKey);
  await sendCancelRequest(weir, a.cancelPid, Buffer.concat([a.cancelSecret, Buffer.alloc(4)]));
  await sendCancelRequest(weir, 0x7fff_0000, a.cancelSecret);
  await b.cancel(weir);
  const queued = b.query('select 1');
  await eventually(() => [...weir.pooler.pools][0]?.waiting === 1);
  await b.cancel(weir);
  t.match((await inTime('the end of the queued query', queued)).errors[0], canceled, 'a queued query');
  t.equal(busyServers(weir), 1, 'the running one runs on');
  await a.cancel(weir);
  t.match((await inTime('the end of the running query', running)).errors[0], canceled, 'a running query');
  t.equal(await b.value('select 2'), '2', 'the queued client goes on');
  await a.cancel(weir);
  t.equal(
    await a.value('select pg_sleep(0.05)::text || $$x$$'),
    'x',
    'a cancel for a client that runs nothing is nothing',
  );

  const pipelined = b.execute('select pg_sleep(60)');
  await asleep();
  await b.cancel(weir);
  t.match((await inTime('the end of what was pipelined', pipelined)).errors[0], canceled);
  await b.query('begin');
  const inside = b.query('select pg_sleep(60)');
  await asleep();
  await b.cancel(weir);
  t.equal((await inTime('the end of the statement in a transaction', inside)).status, 'E');
  t.equal((await b.query('rollback')).status, 'I');

  const newer = await RawClient.connect(weir, { minor: 2 });
  const long = newer.query('select pg_sleep(60)');
  await asleep();
  await newer.cancel(weir);
  t.match(
    (await inTime('the end of what runs under a long key', long)).errors[0],
    canceled,
    'with the long key of protocol 3.2',
  );
  await Promise.all([a, b, newer].map((client) => client.end()));
  await settled(weir);
});

t.test('cancel by the drivers: postgres.js, pg', async (t) => {
  const weir = await start(t, { default_pool_size: 2 });
  const sql = postgresJs({ host: weir.host, port: weir.port, user: 'app', database: 'postgres', max: 1 });
  t.teardown(() => sql.end({ timeout: 0 }));
  // What is cancelled while postgres.js connects for it leaves it waiting for ever, as it does without weir.
  await inTime('the connection of postgres.js', sql`select 1`);
  const query = sql`select pg_sleep(60)`;
  const ended = t.rejects(query, { code: '57014' });
  await asleep();
  query.cancel();
  await inTime('the end of the query of postgres.js', ended);
  t.same([...(await inTime('its next answer', sql`select 1 as n`))], [{ n: 1 }]);
  await inTime('the end of postgres.js', sql.end());
  await settled(weir);

  const client = await inTime('the connection of pg', weir.connect());
  const rejected = t.rejects(client.query('select pg_sleep(60)'), { code: '57014' });
  await asleep();
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const secret = Buffer.alloc(4);
  secret.writeInt32BE(secretKey);
  await inTime('the end of the cancel request', sendCancelRequest(weir, processID, secret));
  await inTime('the end of the query of pg', rejected);
  t.same((await inTime('its next answer', client.query('select 1 as n'))).rows, [{ n: 1 }]);
  await inTime('the end of pg', client.end());
  await settled(weir);
});

t.test('a storm of cancels hits only the queries of who asked', async (t) => {
  const weir = await start(t, { default_pool_size: 3 });
  const clients = await Promise.all(Array.from({ length: 24 }, () => RawClient.connect(weir)));
  const rounds = 60;
  const hit: string[] = [];
  let answered = 0;
  let cancelled = 0;
  await Promise.all(
    clients.map(async (client, c) => {
      const cancels = c % 2 === 0;
      for (let n = 0; n < rounds; n++) {
        const text = `${c}:${n}`;
        const seconds = ((c * 7 + n * 3) % 5) / 1_000;
        const ask =
          n % 2 === 0
            ? client.query(`select '${text}', pg_sleep(${seconds})`)
            : client.execute('select $1::text, pg_sleep($2::float8)', [text, `${seconds}`]);
        const cancel = cancels ? sleep((c + n) % 6).then(() => client.cancel(weir)) : Promise.resolve();
        const reply = await ask;
        if (reply.rows[0]?.[0] === text && reply.errors.length === 0) answered++;
        else if (reply.errors[0]?.['C'] === '57014' && cancels) cancelled++;
        else hit.push(`${text}: ${JSON.stringify(reply)}`);
        // Not awaited between queries by every other: a late cancel may meet the next query of its own client.
        if (n % 2 === 0) await cancel;
      }
    }),
  );
  t.same(hit, [], 'nobody else is hit, and every answer is its own');
  t.equal(answered + cancelled, 24 * rounds);
  t.ok(cancelled > 20, `${cancelled} queries cancelled`);
  t.ok(answered >= 12 * rounds);
  await sleep(100);
  for (const client of clients) t.equal(await client.value('select 1'), '1');
  await Promise.all(clients.map((client) => client.end()));
  await settled(weir);
});

t.test('hundreds of cancels at once, right and wrong, disturb nobody', async (t) => {
  const weir = await start(t, { default_pool_size: 2 });
  const victim = await RawClient.connect(weir);
  const idle = await RawClient.connect(weir);
  let answers = 0;
  let going = true;
  const working = (async (): Promise<void> => {
    while (going) if ((await victim.query('select 1')).rows[0]?.[0] === '1') answers++;
  })();
  await Promise.all(
    Array.from({ length: 400 }, (_, n) =>
      n % 2 === 0 ? sendCancelRequest(weir, victim.cancelPid, Buffer.from([n & 255, n >> 8, 1, 2])) : idle.cancel(weir),
    ),
  );
  going = false;
  await working;
  t.ok(answers > 10, `${answers} answers`);
  t.equal(await idle.value('select 1'), '1');
  await Promise.all([victim, idle].map((client) => client.end()));
  await eventually(() => weir.pooler.pendingLogins === 0);
  await settled(weir);
});

// Shutdown

t.test('shutdown that waits for clients: nobody new, those who are here go on to their own end', async (t) => {
  const weir = await start(t, { default_pool_size: 2 });
  const a = await RawClient.connect(weir);
  const b = await RawClient.connect(weir);
  await b.query('begin');
  weir.pooler.shutdown('wait_for_clients');
  await t.rejects(RawClient.open(weir), { code: 'ECONNREFUSED' });
  t.equal(await a.value('select 1'), '1');
  t.equal((await b.query('commit')).status, 'I');
  let finished = false;
  void weir.pooler.finished.then(() => {
    finished = true;
  });
  await a.end();
  await sleep(300);
  t.equal(finished, false);
  t.equal(await b.value('select 2'), '2');
  await b.end();
  await weir.pooler.finished;
  t.equal(finished, true);
});

t.test('shutdown that waits for servers: transactions end, then everybody is told', async (t) => {
  const weir = await start(t, { default_pool_size: 2 });
  const idle = await RawClient.connect(weir);
  const busy = await RawClient.connect(weir);
  await busy.query('begin');
  weir.pooler.shutdown('wait_for_servers');
  await t.rejects(RawClient.open(weir), { code: 'ECONNREFUSED' });
  t.equal((await busy.query('select 1')).status, 'T', 'the transaction goes on');
  t.equal((await busy.query('commit')).status, 'I');
  const told = { S: 'FATAL', C: '57P01', M: 'server shutting down' };
  t.match(await idle.fatal(), told);
  t.match(await busy.fatal(), told);
  await weir.pooler.finished;
});

t.test('shutdown at once: everybody is told, also who is in the middle of something', async (t) => {
  const weir = await start(t, { default_pool_size: 2 });
  const clients = await Promise.all(
    [1, 2, 3, 4].map(() => RawClient.connect(weir, { parameters: { application_name: 'cut off' } })),
  );
  clients[0]?.write(say.query('begin'));
  clients[1]?.write(say.query('select pg_sleep(60)'));
  clients[2]?.write(say.query('select 1'));
  await eventually(() => [...weir.pooler.pools][0]?.waiting === 1);
  weir.pooler.shutdown('immediate');
  for (const client of clients) t.match(await client.fatal(), { S: 'FATAL', C: '57P01', M: 'server shutting down' });
  await weir.pooler.finished;
  await eventually(async () => (await server.connectionCount('cut off')) === 0);
  await t.rejects(RawClient.open(weir), { code: 'ECONNREFUSED' });
});
