// Tests the PostgreSQL that other tests are given: every version, every fault it offers, no directory or process left.

import { chmodSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { makeSelfSigned } from '../../support/certificates.js';
import {
  eventually,
  postgresVersions,
  startPostgres,
  type Teardown,
  type TestPostgres,
  temporaryDirectory,
} from '../../support/index.js';
import { isRunning } from '../../support/processes.js';

void t.test('every supported version starts, with users, databases and settings, and ends', async (t) => {
  for (const version of postgresVersions) {
    const server = await startPostgres({
      version,
      settings: { work_mem: '5MB', max_connections: 33 },
      superuser: { name: 'Ann "the" Admin', password: "it's" },
      sql: ['create database shop', "create role reader login password 'secret'"],
    });
    t.teardown(() => server.stop());
    t.match((await server.query("select current_setting('server_version_num')::int / 10000 as major"))[0], {
      major: version,
    });
    t.same(await server.query('select current_setting($1) as value', ['max_connections']), [{ value: '33' }]);
    t.same(await server.query("select current_setting('work_mem') as value"), [{ value: '5MB' }]);
    t.same(await server.query('select current_database() as name', [], 'shop'), [{ name: 'shop' }]);
    const ann = new pg.Client(server.url({ user: 'Ann "the" Admin', password: "it's", database: 'shop' }));
    await ann.connect();
    t.same((await ann.query('select rolsuper from pg_roles where rolname = current_user')).rows, [{ rolsuper: true }]);
    t.same([await server.connectionCount(), await server.connectionCount('reader')], [1, 0]);
    await ann.end();
    await eventually(async () => (await server.connectionCount()) === 0);
    const { pid } = server;
    await server.stop();
    t.notOk(isRunning(pid));
  }
});

void t.test('settings change without a restart, and back', async (t) => {
  const server = await start(t);
  const workMem = async (): Promise<unknown> => (await server.query("select current_setting('work_mem') as value"))[0];
  await server.configure({ work_mem: '7MB', 'weir.test': "a'b" });
  t.same(await workMem(), { value: '7MB' });
  t.same(await server.query("select current_setting('weir.test') as value"), [{ value: "a'b" }]);
  await server.configure({ work_mem: undefined });
  t.same(await workMem(), { value: '4MB' });
});

void t.test('a killed server breaks its connections and comes back with its data', async (t) => {
  // Nothing writes what is committed but the commit itself.
  const server = await start(t, { settings: { wal_writer_delay: '10s' } });
  await server.query('create table kept as select 1 as n');
  const client = new pg.Client(server.url());
  client.on('error', () => {});
  await client.connect();
  const { pid, port } = server;
  const broken = client.query('select pg_sleep(60)');
  await eventually(async () => (await server.connectionCount()) === 1);
  server.kill9();
  await t.rejects(broken);
  await t.rejects(server.query('select 1'));
  await server.restart();
  t.same(await server.query('select n from kept'), [{ n: 1 }]);
  t.equal(server.port, port);
  t.not(server.pid, pid);
});

void t.test('a frozen server is silent, then answers', async (t) => {
  const server = await start(t);
  const client = new pg.Client(server.url());
  await client.connect();
  server.freeze();
  const answer = client.query('select 1 as n').then(({ rows }) => rows);
  t.equal(await Promise.race([answer, sleep(200, 'silence')]), 'silence');
  server.thaw();
  t.same(await answer, [{ n: 1 }]);
  await client.end();
  server.freeze();
  const { pid } = server;
  await server.stop();
  t.notOk(isRunning(pid), 'a frozen server can be stopped');
});

void t.test('TLS and pg_hba.conf are as asked, and do not concern the harness', async (t) => {
  const { key, cert } = await makeSelfSigned('localhost', { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' });
  const server = await start(t, {
    tls: { key, cert },
    hba: 'hostssl all plain 127.0.0.1/32 password\nhost all all 127.0.0.1/32 reject',
    sql: ["create role plain login password 'secret'"],
  });
  const login = { ...server.admin, user: 'plain', password: 'secret' };
  const secure = new pg.Client({ ...login, ssl: { ca: cert, checkServerIdentity: () => undefined } });
  await secure.connect();
  t.same((await secure.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')).rows, [{ ssl: true }]);
  await secure.end();
  await t.rejects(new pg.Client(login).connect(), { code: '28000' }, 'not without TLS');
  await t.rejects(new pg.Client(server.admin).connect(), { code: '28000' }, 'not the superuser');
  t.same(await server.query('select 1 as n'), [{ n: 1 }]);
});

void t.test('two who need the same template at once both get a server and leave one template', async (t) => {
  const temporary = temporaryDirectory(t);
  chmodSync(temporary, 0o755);
  const usual = process.env['WEIR_TEST_TEMPLATES'];
  process.env['WEIR_TEST_TEMPLATES'] = temporary;
  t.teardown(() => {
    if (usual === undefined) delete process.env['WEIR_TEST_TEMPLATES'];
    else process.env['WEIR_TEST_TEMPLATES'] = usual;
  });
  const servers = await Promise.all([startPostgres(), startPostgres()]);
  for (const server of servers) {
    t.same(await server.query('select 1 as n'), [{ n: 1 }]);
    await server.stop();
  }
  t.same(readdirSync(temporary), ['18'], 'only the template stays');
});

async function start(t: Teardown, options?: Parameters<typeof startPostgres>[0]): Promise<TestPostgres> {
  const server = await startPostgres(options);
  t.teardown(() => server.stop());
  return server;
}
