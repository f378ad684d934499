// Replication connections through weir: physical and logical, beside pooled clients, over every limit and to every end.

import t, { type Test } from 'tap';
import { AdminConsole } from '../../lib/admin/index.js';
import { eventually, startPostgres } from '../support/index.js';
import { RawClient, say } from '../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';
import { startWeirCluster } from '../support/weir-cluster.js';

const server = await startPostgres({
  settings: { wal_level: 'logical', max_wal_senders: 8 },
  hba: 'host all all all trust\nhost replication all all trust',
  sql: [
    "create role app superuser login replication password 'app'",
    'create table changes (n int primary key, note text)',
  ],
});
t.teardown(() => server.stop());
await server.query('create publication all_changes for all tables');

async function start(t: Test, weir: WeirOptions['weir'] = {}): Promise<TestWeir> {
  const started = await startWeir({ server, weir: { auth_type: 'trust', ...weir }, users: { app: 'app' } });
  t.teardown(() => started.stop());
  return started;
}

const logical = { user: 'app', parameters: { replication: 'database', application_name: 'standby' } };
const physical = { user: 'app', parameters: { replication: 'true' } };

const walSenders = async (): Promise<number> =>
  (await server.query("select 1 from pg_stat_activity where backend_type = 'walsender'")).length;

t.test('a replication connection speaks with a server of its own', async (t) => {
  const weir = await start(t, { default_pool_size: 1 });
  const direct = await RawClient.connect(server, physical);
  const system = (await direct.query('IDENTIFY_SYSTEM')).rows[0]?.[0];
  await direct.end();
  for (const login of [physical, logical]) {
    const client = await RawClient.connect(weir, login);
    t.equal((await client.query('IDENTIFY_SYSTEM')).rows[0]?.[0], system);
    t.ok(client.parameters.has('server_version'));
    // The only server of the pool is for everybody else.
    const other = await RawClient.connect(weir, { user: 'app' });
    t.equal(await other.value('select 1'), '1');
    t.equal(await client.value('SHOW server_version_num'), await other.value('show server_version_num'));
    await other.end();
    await client.end();
  }
  await eventually(async () => (await walSenders()) === 0);
});

t.test('changes flow as they are committed, and what the client says reaches the server', async (t) => {
  const weir = await start(t);
  const client = await RawClient.connect(weir, logical);
  t.equal(await client.value("select current_setting('application_name')"), 'standby');
  await client.query('CREATE_REPLICATION_SLOT changes_slot TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT');
  client.write(
    say.query("START_REPLICATION SLOT changes_slot LOGICAL 0/0 (proto_version '1', publication_names 'all_changes')"),
  );
  t.equal((await client.next()).tag, 'W');
  await server.query("insert into changes values (1, 'seen by the standby')");
  let seen = '';
  while (!seen.includes('seen by the standby')) {
    const { tag, body } = await client.next();
    t.equal(tag, 'd');
    seen += body.toString('latin1');
  }
  // CopyDone from both sides.
  client.write(Buffer.from([0x63, 0, 0, 0, 4]));
  const tags = (await client.until('Z')).map(({ tag }) => tag).join('');
  t.match(tags, /c.*C.*Z$/);
  t.equal(await client.value('select count(*) from changes'), '1');
  await client.vanish();
  await eventually(async () => (await walSenders()) === 0);
});

t.test('a whole base backup passes', async (t) => {
  const weir = await start(t);
  const client = await RawClient.connect(weir, physical);
  client.write(say.query("BASE_BACKUP (LABEL 'through weir', CHECKPOINT 'fast', WAL false)"));
  let bytes = 0;
  for (;;) {
    const { tag, bodyBytes, body } = await client.next();
    if (tag === 'd') bytes += bodyBytes;
    if (tag === 'E') t.fail(body.toString('latin1'));
    if (tag === 'Z') break;
  }
  t.ok(bytes > 10_000_000, `${bytes} bytes`);
  await client.end();
});

t.test('a cancel, a kill, a lost server and a shutdown end it as any other', async (t) => {
  const weir = await start(t);
  weir.pooler.console = new AdminConsole(weir.pooler);
  const client = await RawClient.connect(weir, logical);
  const sleeping = client.query('select pg_sleep(30)');
  await eventually(
    async () =>
      (
        await server.query(
          "select 1 from pg_stat_activity where query like '%pg_sleep(30)%' and backend_type = 'walsender'",
        )
      ).length === 1,
  );
  await client.cancel(weir);
  t.equal((await sleeping).errors[0]?.['C'], '57014');
  t.equal(await client.value('select 1'), '1');

  await server.query("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'");
  await client.closed;

  const second = await RawClient.connect(weir, physical);
  weir.pooler.kill(undefined);
  await second.closed;
  await eventually(async () => (await walSenders()) === 0);
  weir.pooler.resume(undefined);

  const third = await RawClient.connect(weir, physical);
  const rows = [...weir.pooler.clients].map(({ state }) => state.kind);
  t.same(rows, ['replication']);
  weir.pooler.shutdown('wait_for_clients');
  await weir.pooler.finished;
  await third.closed;
});

t.test('its server counts to the limits, and its place comes back', async (t) => {
  const weir = await start(t, { max_db_connections: 1 });
  const client = await RawClient.connect(weir, physical);
  await t.rejects(RawClient.connect(weir, physical), { code: '53300', message: /max_db_connections/ });
  await client.end();
  await eventually(() => weir.pooler.serversOf('postgres') === 0);
  const again = await RawClient.connect(weir, physical);
  await again.end();
  await eventually(() => weir.pooler.serversOf('postgres') === 0);
  await t.rejects(RawClient.connect(weir, { ...logical, parameters: { ...logical.parameters, nonsense: '1' } }), {
    code: '42704',
  });
  await eventually(() => weir.pooler.serversOf('postgres') === 0);
});

t.test('also through several processes', async (t) => {
  const weir = await startWeirCluster(t, {
    server,
    settings: { auth_type: 'trust', max_db_connections: 2 },
    users: { app: 'app' },
  });
  const clients = [await RawClient.connect(weir, physical), await RawClient.connect(weir, logical)];
  for (const client of clients) t.equal((await client.query('IDENTIFY_SYSTEM')).rows.length, 1);
  const waiting = RawClient.connect(weir, physical);
  await clients[0]?.end();
  t.equal((await (await waiting).query('IDENTIFY_SYSTEM')).rows.length, 1);
});
