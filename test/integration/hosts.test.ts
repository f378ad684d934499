// Where weir listens and where it finds servers: Unix sockets on both sides, several hosts, hosts that are down, primaries and standbys.

import net from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import t from 'tap';
import { type DatabaseSettings, type GlobalSettings, newDatabase } from '../../lib/config/index.js';
import { startEmbedded } from '../../lib/demo/index.js';
import { eventually, startPostgres, temporaryDirectory } from '../support/index.js';
import { scratchBase, type Teardown } from '../support/temporary-directory.js';
import { startWeir, type TestWeir } from '../support/weir.js';

const sql = ["create role alice login password 'secret'"];
const [first, second] = await Promise.all([
  startPostgres({ sql }),
  startPostgres({ sql: [...sql, 'alter system set default_transaction_read_only = on', 'select pg_reload_conf()'] }),
]);
t.teardown(() => Promise.all([first.stop(), second.stop()]));

interface Place {
  readonly host: string;
  readonly port: number;
}

async function start(
  t: Teardown,
  places: readonly Place[],
  database: Partial<DatabaseSettings> = {},
  weir: Partial<GlobalSettings> = {},
): Promise<TestWeir> {
  const hosts = places.map(({ host, port }) =>
    host.startsWith('/') ? ({ kind: 'unix', path: host, port } as const) : ({ kind: 'tcp', host, port } as const),
  );
  const started = await startWeir({
    server: first,
    users: { alice: 'secret' },
    weir: { log_level: 'silent', server_login_retry: 0.1, server_connect_timeout: 3, ...weir },
    config: (config) => ({ ...config, databases: new Map([['*', newDatabase('*', hosts, database)]]) }),
  });
  t.teardown(() => started.stop());
  return started;
}

function clientOf(place: Place): pg.Client {
  const client = new pg.Client({ ...place, user: 'alice', password: 'secret', database: 'postgres' });
  client.on('error', () => {});
  return client;
}

/** Ports of the servers that so many transactions at once run on. */
async function portsUsed(weir: TestWeir, count: number): Promise<number[]> {
  const clients = Array.from({ length: count }, () => clientOf(weir));
  await Promise.all(clients.map((client) => client.connect()));
  try {
    await Promise.all(clients.map((client) => client.query('begin')));
    const results = await Promise.all(
      clients.map((client) => client.query<{ port: number }>('select inet_server_port() as port')),
    );
    return results.map(({ rows }) => rows[0]?.port ?? 0);
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
}

const closedPort = await new Promise<number>((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address() as net.AddressInfo;
    server.close(() => resolve(port));
  });
});
const down = { host: '127.0.0.1', port: closedPort };

const tooLong = first.socketDir === undefined && 'the directory of the socket has too long a name';

t.test('Unix sockets on both sides', { skip: tooLong }, async (t) => {
  const { socketDir = '' } = first;
  const directory = temporaryDirectory(t);
  // By the socket the harness's own user comes in; alice by a line for everybody.
  const weir = await start(
    t,
    [{ host: socketDir, port: first.port }],
    {},
    { unix_socket_dir: directory, unix_socket_mode: 0o700 },
  );
  const client = clientOf({ host: directory, port: weir.port });
  await client.connect();
  const { rows } = await client.query('select inet_server_addr() as address, current_user as who');
  t.strictSame(rows, [{ address: null, who: 'alice' }]);
  await client.end();
  const over = clientOf(weir);
  await over.connect();
  t.strictSame((await over.query('select 1 as one')).rows, [{ one: 1 }], 'TCP serves beside it');
  await over.end();
  const wrong = new pg.Client({
    host: directory,
    port: weir.port,
    user: 'alice',
    password: 'wrong',
    database: 'postgres',
  });
  await t.rejects(wrong.connect(), { code: '28P01' }, 'a Unix socket asks for the password all the same');
  await weir.stop();
  const gone = clientOf({ host: directory, port: weir.port });
  await t.rejects(gone.connect(), { code: 'ENOENT' }, 'the socket file goes with weir');
});

t.test('new servers go to several hosts in turn', async (t) => {
  const weir = await start(t, [first, second], { pool_size: 6 });
  const ports = await portsUsed(weir, 6);
  t.equal(ports.filter((port) => port === first.port).length, 3);
  t.equal(ports.filter((port) => port === second.port).length, 3);
});

t.test('load_balance_hosts = disable keeps to the first host', async (t) => {
  const weir = await start(t, [first, second], { pool_size: 4, load_balance_hosts: 'disable' });
  t.strictSame(new Set(await portsUsed(weir, 4)), new Set([first.port]));
});

t.test('a host that is down is passed over', async (t) => {
  for (const load_balance_hosts of ['round-robin', 'disable'] as const) {
    const weir = await start(t, [down, second], { pool_size: 4, load_balance_hosts });
    t.strictSame(await portsUsed(weir, 4), Array(4).fill(second.port), load_balance_hosts);
  }
});

t.test('where no socket is found the client is told of `host`', async (t) => {
  const weir = await start(t, [{ host: '/no/such/directory', port: 5432 }]);
  await t.rejects(clientOf(weir).connect(), {
    message: 'could not connect to server at /no/such/directory/.s.PGSQL.5432: ENOENT',
    hint: /where the database has no `host`: set it/,
  });
});

t.test('where all hosts are down the client is told which one, and served when one is up', async (t) => {
  const weir = await start(t, [down]);
  await t.rejects(clientOf(weir).connect(), {
    code: '08006',
    message: `could not connect to server at 127.0.0.1:${closedPort}: ECONNREFUSED`,
  });
  weir.config = {
    ...weir.config,
    databases: new Map([['*', newDatabase('*', [{ kind: 'tcp', ...first, host: first.host, port: first.port }])]]),
  };
  await weir.pooler.reload();
  t.strictSame(await eventually(() => portsUsed(weir, 1)), [first.port]);
});

t.test('host names are looked up', async (t) => {
  const weir = await start(t, [{ host: 'localhost', port: first.port }]);
  t.strictSame(await portsUsed(weir, 1), [first.port]);
  const unknown = await start(t, [{ host: 'no-such-host.invalid', port: first.port }]);
  await t.rejects(clientOf(unknown).connect(), /no-such-host\.invalid/);
});

t.test('target_session_attrs chooses by what servers say they are', async (t) => {
  for (const [target_session_attrs, expected] of [
    ['any', first],
    ['read-write', first],
    ['read-only', second],
    ['primary', first],
    ['prefer-standby', first],
  ] as const) {
    const weir = await start(t, [first, second], { target_session_attrs, load_balance_hosts: 'disable' });
    t.strictSame(await portsUsed(weir, 2), [expected.port, expected.port], target_session_attrs);
  }
  const reversed = await start(t, [second, first], { target_session_attrs: 'read-write' });
  t.strictSame(await portsUsed(reversed, 3), Array(3).fill(first.port));
  const none = await start(t, [second], { target_session_attrs: 'read-write' });
  await t.rejects(clientOf(none).connect(), { message: /no server is read-write \(target_session_attrs\)/ });
});

t.test('a real standby is told from a primary', async (t) => {
  const source = await startPostgres({ sql: [...sql, 'create table replicated (a int)'] });
  t.teardown(() => source.stop());
  // What recovery makes of a copy of a crashed server is what a standby is.
  await source.query('checkpoint');
  source.kill9();
  const standby = await startEmbedded({
    copyOf: source.dataDir,
    temporaryBase: scratchBase(),
    files: { 'standby.signal': '' },
    settings: { max_connections: '200' },
    log: () => {},
  });
  t.teardown(() => standby.stop('immediate'));
  for (const [target_session_attrs, expected] of [
    ['standby', standby],
    ['prefer-standby', standby],
    ['read-only', standby],
    ['primary', first],
    ['read-write', first],
  ] as const) {
    const weir = await start(t, [first, standby], { target_session_attrs });
    t.strictSame(await portsUsed(weir, 2), [expected.port, expected.port], target_session_attrs);
  }
  const weir = await start(t, [first], { target_session_attrs: 'standby' });
  await t.rejects(clientOf(weir).connect(), { message: /no server is standby \(target_session_attrs\)/ });
});

t.test('connect_query runs once on each new server, and its errors are ignored', async (t) => {
  const weir = await start(t, [first], { connect_query: "set statement_timeout = '41s'", pool_size: 1 });
  const client = clientOf(weir);
  await client.connect();
  t.strictSame((await client.query('show statement_timeout')).rows, [{ statement_timeout: '41s' }]);
  await client.end();
  const failing = await start(t, [first], { connect_query: 'select 1/0' });
  t.strictSame(await portsUsed(failing, 1), [first.port]);
});

t.test('a port in use, and a socket somebody answers on, are refused with the place', async (t) => {
  const directory = temporaryDirectory(t);
  const weir = await start(t, [first], {}, { unix_socket_dir: directory });
  await t.rejects(start(t, [first], {}, { listen_port: weir.port }), {
    message: `cannot listen on 127.0.0.1:${weir.port}: EADDRINUSE`,
  });
  const path = join(directory, `.s.PGSQL.${weir.port}`);
  const other = { listen_addr: [], listen_port: weir.port, unix_socket_dir: directory };
  await t.rejects(start(t, [first], {}, other), { message: `cannot listen on ${path}: another program answers there` });
});
