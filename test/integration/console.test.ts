// The console and /metrics of a weir in front of a real PostgreSQL: counters are exact, and commands do what they say.

import pg from 'pg';
import t from 'tap';
import { AdminConsole } from '../../lib/admin/index.js';
import { newDatabase } from '../../lib/config/index.js';
import { ownSource, startHttp } from '../../lib/http/index.js';
import { eventually } from '../support/eventually.js';
import { startPostgres } from '../support/postgres.js';
import { startWeir, type TestWeir } from '../support/weir.js';
import { showTables } from '../unit/admin/columns.js';
import { type Family, readExposition, readingOf } from '../unit/http/exposition.js';

type Row = Readonly<Record<string, unknown>>;

const password = 'secret';
const postgres = await startPostgres({
  sql: [
    `create role alice login password '${password}'`,
    'create database app owner alice',
    'create database shop owner alice',
  ],
});
t.teardown(() => postgres.stop());

interface Stage {
  readonly weir: TestWeir;
  readonly admin: pg.Client;
  show(what: string): Promise<readonly Row[]>;
  /** The one row with this value in the first column. */
  row(what: string, name: string): Promise<Row>;
  metrics(): Promise<ReadonlyMap<string, Family>>;
  client(database: string, options?: pg.ClientConfig): Promise<pg.Client>;
}

/** A weir of its own for each test, so that counts begin at nothing. */
async function stage(t: { teardown(run: () => Promise<unknown>): void }, size = 3): Promise<Stage> {
  const { host, port } = postgres;
  const weir = await startWeir({
    server: { host, port },
    users: { boss: password, alice: password },
    weir: { log_level: 'silent', admin_users: ['boss'], default_pool_size: size, server_check_delay: 600 },
    config: (config) => ({
      ...config,
      databases: new Map(['app', 'shop'].map((name) => [name, newDatabase(name, [{ kind: 'tcp', host, port }])])),
    }),
  });
  weir.pooler.console = new AdminConsole(weir.pooler);
  const http = await startHttp(ownSource(weir.pooler), { host: '127.0.0.1', port: 0 });
  const clients: pg.Client[] = [];
  const connect = async (user: string, database: string, options: pg.ClientConfig = {}): Promise<pg.Client> => {
    const client = await weir.connect({ user, password, database, ...options });
    client.on('error', () => {});
    clients.push(client);
    return client;
  };
  t.teardown(async () => {
    await http.close();
    await Promise.all(clients.map((client) => client.end()));
    await weir.stop();
  });
  const admin = await connect('boss', 'pgbouncer');
  const show = async (what: string): Promise<readonly Row[]> => (await admin.query<Row>(`SHOW ${what}`)).rows;
  return {
    weir,
    admin,
    show,
    row: async (what, name) => {
      const found = (await show(what)).filter((row) => Object.values(row)[0] === name);
      if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} rows ${name} in SHOW ${what}`);
      return found[0];
    },
    metrics: async () => {
      const response = await fetch(`http://127.0.0.1:${http.port}/metrics`);
      return readExposition(await response.text(), 'prometheus');
    },
    client: (database, options) => connect('alice', database, options),
  };
}

async function code(run: Promise<unknown>): Promise<string> {
  try {
    await run;
  } catch (error) {
    return error instanceof pg.DatabaseError ? (error.code ?? '') : String(error);
  }
  return 'none';
}

const labels = { database: 'app', user: 'alice' };

void t.test('every query, transaction, assignment and prepared statement is counted once', async (t) => {
  const { client, row, show, metrics } = await stage(t);
  const alice = await client('app');
  // What weir itself asked at the login, and this, is where counting starts.
  await alice.query('select 0');
  const start = await counts(row);
  const startedAt = await metrics();
  for (let i = 0; i < 5; i++) await alice.query('select 1');
  await alice.query('begin');
  await alice.query('select 2');
  await alice.query('select 3');
  await alice.query('commit');
  await alice.query('select 1; select 2');
  for (let i = 0; i < 3; i++) await alice.query({ name: 'plus', text: 'select $1::int + 1', values: [i] });
  t.equal(await code(alice.query('select 1/0')), '22012');
  t.equal(await code(alice.query('nonsense')), '42601');

  const end = await counts(row);
  const difference = (key: string): number => (end[key] ?? Number.NaN) - (start[key] ?? Number.NaN);
  const expected: Readonly<Record<string, number>> = {
    // Query messages and Executes: 5 + 4 + 1 + 3 + 2.
    query_count: 15,
    xact_count: 12,
    // Each transaction is given a server.
    server_assignment_count: 12,
    client_parse_count: 1,
    // One of them is the BEGIN, which weir sends along with what follows it.
    server_parse_count: 2,
    bind_count: 3,
  };
  for (const [key, value] of Object.entries(expected)) t.equal(difference(key), value, key);
  t.ok(difference('query_time') > 0 && difference('xact_time') > 0);
  t.ok(difference('bytes_received') > 200 && difference('bytes_sent') > 500);
  const stats = await row('STATS', 'app');
  for (const [key, value] of Object.entries(end))
    t.equal(Number(stats[`total_${key.replace('bytes_', '')}`]), value, `${key} of SHOW STATS`);

  const families = await metrics();
  const counted: Readonly<Record<string, number>> = {
    weir_queries_total: 15,
    weir_transactions_total: 12,
    weir_server_assignments_total: 12,
    weir_client_parses_total: 1,
    weir_server_parses_total: 2,
    weir_binds_total: 3,
    weir_server_connects_total: 0,
    weir_server_disconnects_total: 0,
    weir_query_duration_seconds_count: 15,
    weir_transaction_duration_seconds_count: 12,
    weir_wait_duration_seconds_count: 12,
    weir_received_bytes_total: difference('bytes_received'),
    weir_sent_bytes_total: difference('bytes_sent'),
  };
  for (const [name, value] of Object.entries(counted)) {
    const [before, after] = [readingOf(startedAt, name, labels), readingOf(families, name, labels)];
    t.equal((after ?? Number.NaN) - (before ?? Number.NaN), value, name);
  }
  const gauges = {
    weir_pool_size: 1,
    weir_pool_size_limit: 3,
    weir_pool_waiting_clients: 0,
    weir_pool_max_wait_seconds: 0,
  };
  for (const [name, value] of Object.entries(gauges)) t.equal(readingOf(families, name, labels), value, name);
  t.equal(readingOf(families, 'weir_server_errors_total', { sqlstate: '22012' }), 1);
  t.equal(readingOf(families, 'weir_server_errors_total', { sqlstate: '42601' }), 1);
  t.equal(readingOf(families, 'weir_logins_total'), 2);
  t.equal(readingOf(families, 'weir_client_connections'), 1);
  t.equal(readingOf(families, 'weir_console_clients'), 1);

  const all = Object.fromEntries((await show('TOTALS')).map(({ name, value }) => [name, Number(value)]));
  const asked = Number((await row('STATS', 'pgbouncer'))['total_query_count']);
  t.equal(
    all['total_query_count'],
    (end['query_count'] ?? 0) + asked - 1,
    'a console command is a query of the console',
  );
  t.equal(all['total_xact_count'], (end['xact_count'] ?? 0) + asked - 1);
  t.equal(all['total_server_assignment_count'], end['server_assignment_count']);
});

async function counts(row: Stage['row']): Promise<Readonly<Record<string, number>>> {
  const { database: _, ...totals } = await row('STATS_TOTALS', 'app');
  return Object.fromEntries(Object.entries(totals).map(([key, value]) => [key, Number(value)]));
}

void t.test('states of clients and servers agree in SHOW POOLS, CLIENTS, SERVERS and /metrics', async (t) => {
  const { client, row, show, metrics } = await stage(t, 1);
  const [busy, waiting, idle] = await Promise.all([
    client('app', { application_name: 'busy one' }),
    client('app'),
    client('app'),
  ]);
  await busy.query('begin');
  const { rows } = await busy.query<{ pid: number }>('select pg_backend_pid() as pid');
  const later = waiting.query('select 1');
  await eventually(async () => (await row('POOLS', 'app'))['cl_waiting'] === 1);
  await eventually(async () => Number((await row('POOLS', 'app'))['maxwait_us']) > 0);
  t.match(await row('POOLS', 'app'), {
    user: 'alice',
    cl_active: 2,
    cl_waiting: 1,
    sv_active: 1,
    sv_idle: 0,
    sv_used: 0,
    sv_tested: 0,
    sv_login: 0,
    pool_mode: 'transaction',
    load_balance_hosts: null,
  });
  const clients = (await show('CLIENTS')).filter((one) => one['database'] === 'app');
  t.same(clients.map((one) => one['state']).sort(), ['active', 'idle', 'waiting']);
  const active = clients.find((one) => one['state'] === 'active');
  const waiter = clients.find((one) => one['state'] === 'waiting');
  t.equal(active?.['application_name'], 'busy one');
  t.ok(Number(waiter?.['wait_us']) + Number(waiter?.['wait']) > 0);
  const servers = await show('SERVERS');
  t.equal(servers.length, 1);
  t.match(servers[0], {
    type: 'S',
    user: 'alice',
    database: 'app',
    state: 'active',
    addr: '127.0.0.1',
    port: postgres.port,
    remote_pid: rows[0]?.pid,
    link: active?.['ptr'],
    close_needed: 0,
    tls: '',
  });
  t.equal(active?.['link'], servers[0]?.['ptr']);
  t.equal(new Set([...clients, ...servers].map((one) => one['id'])).size, 4, 'one counter for both');
  t.same((await show('SOCKETS')).map((one) => one['state']).sort(), [
    'cl_active',
    'cl_active',
    'cl_active',
    'cl_waiting',
    'sv_active',
  ]);
  t.ok((await show('ACTIVE_SOCKETS')).some((one) => one['state'] === 'cl_waiting' && Number(one['pkt_avail']) > 0));
  t.match(await row('DATABASES', 'app'), { current_connections: 1, current_client_connections: 3, max_connections: 0 });
  t.match(await row('USERS', 'alice'), { pool_size: '', current_connections: 1, current_client_connections: 3 });

  const families = await metrics();
  for (const state of ['active', 'waiting', 'idle'])
    t.equal(readingOf(families, 'weir_clients', { ...labels, state }), 1, state);
  t.equal(readingOf(families, 'weir_servers', { ...labels, state: 'active' }), 1);
  t.equal(readingOf(families, 'weir_pool_waiting_clients', labels), 1);
  t.ok((readingOf(families, 'weir_pool_max_wait_seconds', labels) ?? 0) > 0);

  await busy.query('commit');
  await later;
  await idle.query('select 1');
  await eventually(async () => (await row('POOLS', 'app'))['sv_idle'] === 1);
  t.match(await row('POOLS', 'app'), { cl_active: 3, cl_waiting: 0, sv_active: 0, maxwait: 0, maxwait_us: 0 });
});

void t.test(
  'PAUSE db waits for the transaction, holds the clients of that database, and RESUME lets them go',
  async (t) => {
    const { client, admin, row } = await stage(t);
    const [alice, other] = await Promise.all([client('app'), client('shop')]);
    await alice.query('begin');
    await alice.query('select 1');
    let paused = false;
    const pausing = admin.query('PAUSE app').then(() => {
      paused = true;
    });
    await other.query('select 1');
    await alice.query('select 1');
    t.notOk(paused, 'a server is still in use');
    await alice.query('commit');
    await pausing;
    t.match(await row('POOLS', 'app'), { sv_active: 0, sv_idle: 0, cl_active: 1 });
    t.match(await row('DATABASES', 'app'), { paused: 1, current_connections: 0 });
    const held = alice.query('select 42 as answer');
    await eventually(async () => (await row('POOLS', 'app'))['cl_waiting'] === 1);
    await other.query('select 1');
    await admin.query('RESUME app');
    t.same((await held).rows, [{ answer: 42 }]);
  },
);

void t.test('RECONNECT replaces servers, and WAIT_CLOSE waits for those in use', async (t) => {
  const { client, admin, show } = await stage(t);
  const alice = await client('app');
  const pid = async () => (await alice.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid;
  await alice.query('begin');
  const before = await pid();
  await admin.query('RECONNECT app');
  t.match(await show('SERVERS'), [{ remote_pid: before, close_needed: 1, state: 'active' }]);
  const waiting = admin.query('WAIT_CLOSE app');
  t.equal(await pid(), before, 'a transaction keeps its server');
  await alice.query('commit');
  await waiting;
  t.not(await pid(), before);
  t.match(await show('SERVERS'), [{ close_needed: 0 }]);
});

void t.test('KILL cuts the clients and servers of a database, whose new clients wait for RESUME', async (t) => {
  const { client, admin, show, row } = await stage(t);
  const [alice, other] = await Promise.all([client('app'), client('shop')]);
  await alice.query('select 1');
  await other.query('begin');
  const cut = new Promise<pg.DatabaseError>((resolve) => alice.once('error', resolve as (error: Error) => void));
  await admin.query('KILL app');
  t.match(await cut, { code: '57P01', message: 'admin forced disconnect' });
  t.same(
    (await show('CLIENTS')).map((one) => one['database']),
    ['pgbouncer', 'shop'],
  );
  t.match(await row('POOLS', 'app'), { cl_active: 0, sv_active: 0, sv_idle: 0 });
  await other.query('commit');
  await admin.query('RESUME app');
  const again = await client('app');
  t.equal((await again.query('select 1')).rowCount, 1);
});

void t.test('DISABLE refuses new clients and ENABLE takes them again', async (t) => {
  const { client, admin, row } = await stage(t);
  const alice = await client('app');
  await admin.query('DISABLE app');
  t.equal((await row('DATABASES', 'app'))['disabled'], 1);
  await t.rejects(client('app'), { message: 'database app is disabled' });
  t.equal((await alice.query('select 1')).rowCount, 1, 'those there stay');
  await admin.query('ENABLE app');
  t.equal((await (await client('app')).query('select 1')).rowCount, 1);
});

void t.test('KILL_CLIENT in mid-query cuts one client, and its server is not lent on before it is clean', async (t) => {
  const { client, admin, show } = await stage(t, 1);
  const [victim, other] = await Promise.all([client('app'), client('app')]);
  const sleeping = code(victim.query('select pg_sleep(60)'));
  await eventually(async () => (await show('CLIENTS')).some((one) => one['state'] === 'active'));
  const found = (await show('CLIENTS')).find((one) => one['state'] === 'active');
  await admin.query(`KILL_CLIENT ${String(found?.['id'])}`);
  t.equal(await sleeping, '57P01');
  t.same((await other.query('select 7 as seven')).rows, [{ seven: 7 }]);
});

void t.test('reads that share a server are in SHOW LANES and /metrics', async (t) => {
  const { client, show, metrics } = await stage(t);
  const alice = await client('app');
  for (let i = 0; i < 8; i++) await alice.query(`select ${i} as lane`);
  const row = (await show('LANES')).find((one) => one['database'] === 'app');
  t.match(row, { user: 'alice', lanes: 1, depth: 0, depth_max: 0, reads: '3', refused_new: '5', rerun_stalled: '0' });
  const families = await metrics();
  t.equal(readingOf(families, 'weir_lanes', labels), 1);
  t.equal(readingOf(families, 'weir_lane_depth', labels), 0);
  t.equal(readingOf(families, 'weir_lane_reads_total', labels), 3);
  t.equal(readingOf(families, 'weir_lane_refused_total', { ...labels, cause: 'new' }), 5);
  t.equal(readingOf(families, 'weir_lane_reruns_total', { ...labels, cause: 'lost' }), 0);
});

void t.test(
  'a client that keeps a server is in SHOW PINS, SHOW CLIENTS and /metrics, until nothing keeps it',
  async (t) => {
    const { client, show, metrics } = await stage(t);
    const alice = await client('app', { application_name: 'pinner' });
    const other = await client('app');
    const pinned = async (reason: string) => readingOf(await metrics(), 'weir_pinned_clients', { ...labels, reason });
    const pinColumn = async () =>
      Object.fromEntries((await show('CLIENTS')).map((one) => [one['application_name'], one['pin']]));
    t.same(await show('PINS'), []);
    await alice.query('create temp table kept (i int)');
    await alice.query('select pg_advisory_lock(7)');
    await other.query('select 1');
    const [row, ...more] = await show('PINS');
    t.same(more, []);
    const clients = await show('CLIENTS');
    const shown = clients.find((one) => one['application_name'] === 'pinner');
    t.match(row, {
      client_id: shown?.['id'],
      user: 'alice',
      database: 'app',
      application_name: 'pinner',
      reasons: 'advisory_lock,temp',
      age: /^\d$/,
      idle: /^\d$/,
    });
    const server = (await show('SERVERS')).find((one) => one['link'] === shown?.['ptr']);
    t.equal(row?.['server_id'], server?.['id']);
    t.match(await pinColumn(), { pinner: 'advisory_lock,temp', '': '' });
    t.same([await pinned('temp'), await pinned('advisory_lock'), await pinned('cursor')], [1, 1, 0]);

    await alice.query('drop table kept');
    await eventually(async () => (await show('PINS'))[0]?.['reasons'] === 'advisory_lock');
    await alice.query('select pg_advisory_unlock(7)');
    await eventually(async () => (await show('PINS')).length === 0);
    t.equal((await pinColumn())['pinner'], '');
    t.equal(await pinned('temp'), 0);
    const families = await metrics();
    for (const reason of ['temp', 'advisory_lock'])
      t.equal(readingOf(families, 'weir_pins_total', { ...labels, reason }), 1, reason);
    t.ok((readingOf(families, 'weir_probes_total', labels) ?? 0) >= 2);
    t.ok((readingOf(families, 'weir_statement_shapes') ?? 0) >= 4);
    t.ok((readingOf(families, 'weir_statement_lookups_total', { result: 'miss' }) ?? 0) >= 4);
    t.match(await show('HAZARDS'), [
      { user: 'alice', database: 'app', application_name: 'pinner', hazard: 'advisory_lock', count: '1' },
      { application_name: 'pinner', hazard: 'temp', count: '1', transaction_mode: /^pinned/, example: /^create temp/i },
    ]);
  },
);

void t.test('SET takes effect at once: a pool may grow', async (t) => {
  const { client, admin, show } = await stage(t, 1);
  const [first, second] = await Promise.all([client('app'), client('app')]);
  await first.query('begin');
  await first.query('select 1');
  const waiting = second.query('select 1');
  await eventually(async () => (await show('CLIENTS')).some((one) => one['state'] === 'waiting'));
  t.equal((await admin.query('SET default_pool_size = 2')).command, 'SET');
  await waiting;
  t.equal((await show('SERVERS')).length, 2);
  await first.query('commit');
});

void t.test('SHOW commands at work have the columns they always have', async (t) => {
  const { client, admin } = await stage(t);
  const alice = await client('app');
  await alice.query('begin');
  await alice.query('select 1');
  for (const [name, columns] of showTables) {
    const { fields } = await admin.query(`SHOW ${name}`);
    t.same(
      fields.map((field) => field.name),
      columns.split(' '),
      name,
    );
  }
  await alice.query('commit');
});

void t.test('SHUTDOWN WAIT_FOR_CLIENTS refuses new clients and ends with the last one', async (t) => {
  const { weir, client, admin } = await stage(t);
  const alice = await client('app');
  t.equal((await admin.query('SHUTDOWN WAIT_FOR_CLIENTS')).command, 'SHUTDOWN');
  await eventually(() => weir.pooler.shutdownMode === 'wait_for_clients');
  t.equal((await alice.query('select 1')).rowCount, 1, 'those there go on');
  t.equal(await code(admin.query('RESUME')), '08P01');
  await admin.query('SHUTDOWN WAIT_FOR_CLIENTS');
  t.equal((await alice.query('select 1')).rowCount, 1, 'also when it is said again');
  await t.rejects(client('app'));
  await alice.end();
  await weir.pooler.finished;
});
