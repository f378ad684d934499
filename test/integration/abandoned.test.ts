// Whatever a client has begun and left is cancelled, at whatever point of the protocol it was, and its server counts until that is so.

import t, { type Test } from 'tap';
import { eventually, startPostgres } from '../support/index.js';
import { frame, RawClient, say } from '../support/raw-client.js';
import { startWeir, type TestWeir } from '../support/weir.js';

const server = await startPostgres({
  hba: 'host all all 127.0.0.1/32 trust',
  sql: [
    'create role app login superuser',
    'create table slow (n int)',
    'create function slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(30); return new; end $$',
    'create trigger slowly before insert on slow for each row execute function slowly()',
  ],
});
t.teardown(() => server.stop());

const slow = 'select pg_sleep(30)';
const batch = [say.parse({ text: slow }), say.bind(), say.execute()];

/** What eight clients each send before they leave. */
const states: Readonly<Record<string, readonly Uint8Array[]>> = {
  'a Query': [say.query(slow)],
  'a batch with its Sync': [...batch, say.sync()],
  'an Execute with Flush and no Sync': [...batch, say.flush()],
  'an Execute with nothing behind it': batch,
  'an Execute and half a message': [...batch, say.flush(), frame('Q', Buffer.from('select'), 1_000)],
  'a Query and half a message': [say.query(slow), frame('Q', Buffer.from('select'), 1_000)],
  'behind BEGIN': [say.query('begin'), say.query(slow)],
  'behind BEGIN, without a Sync': [say.query('begin'), ...batch, say.flush()],
  'a portal that is suspended, and the next': [
    ...[say.parse({ text: 'select 1 from generate_series(1, 3)' }), say.bind(), say.execute({ rows: 1 }), say.flush()],
    ...batch,
    say.flush(),
  ],
  'COPY to a client': [say.query(`copy (${slow}) to stdout`)],
  'COPY from a client': [say.query('copy slow from stdin'), say.copyData(Buffer.from('1\n')), say.copyDone()],
};

async function running(): Promise<number> {
  const rows = await server.query(
    // A backend that has answered with an error counts as active until its connection is closed.
    "select 1 from pg_stat_activity where usename = 'app' and state = 'active' and wait_event = 'PgSleep'",
  );
  return rows.length;
}

const counted = (weir: TestWeir): number => [...weir.pooler.pools].reduce((sum, pool) => sum + pool.servers.size, 0);

async function eightLeave(
  t: Test,
  weir: TestWeir,
  messages: readonly Uint8Array[],
  leave: (client: RawClient) => void,
): Promise<void> {
  let beyond = 0;
  let uncounted = 0;
  for (let i = 0; i < 8; i++) {
    const client = await RawClient.connect(weir, { user: 'app' });
    client.write(...messages);
    await eventually(async () => (await running()) > 0);
    leave(client);
    // Weir is asked first: what runs afterwards was running then.
    const counts = counted(weir);
    const active = await running();
    if (active > 2) beyond++;
    if (active > counts) uncounted++;
  }
  await eventually(
    async () => {
      const counts = counted(weir);
      const active = await running();
      if (active > counts) uncounted++;
      return active === 0;
    },
    { withinMs: 8_000 },
  ).catch(() => undefined);
  t.equal(await running(), 0, 'nothing runs any more');
  t.equal(beyond, 0, 'nor has more run than servers are allowed');
  t.equal(uncounted, 0, 'nor anything that was not counted');
  const last = await RawClient.connect(weir, { user: 'app' });
  t.equal(await last.value('select 1'), '1', 'and the next is served');
  await last.end();
}

for (const pool_mode of ['transaction', 'session'] as const) {
  t.test(`pool_mode = ${pool_mode}`, async (t) => {
    const weir = await startWeir({
      server,
      users: { app: 'x' },
      weir: { auth_type: 'trust', pool_mode, default_pool_size: 2, max_db_connections: 2 },
    });
    t.teardown(() => weir.stop());
    for (const [title, messages] of Object.entries(states)) {
      await t.test(title, (t) => eightLeave(t, weir, messages, (client) => client.socket.destroy()));
    }
    await t.test('a goodbye behind a batch without Sync', (t) =>
      eightLeave(t, weir, [...batch, say.flush()], (client) => client.write(say.end())),
    );
    await t.test('KILL_CLIENT behind a batch without Sync', (t) =>
      eightLeave(t, weir, [...batch, say.flush()], () => {
        for (const { id, session } of weir.pooler.clients) if (session !== undefined) weir.pooler.killClient(id);
      }),
    );
  });
}

t.test('query_timeout, KILL and an immediate shutdown', async (t) => {
  const weir = await startWeir({
    server,
    users: { app: 'x' },
    weir: { auth_type: 'trust', default_pool_size: 2, query_timeout: 1 },
  });
  const late = await RawClient.connect(weir, { user: 'app' });
  late.write(...batch, say.flush());
  await late.closed;
  await eventually(async () => (await running()) === 0, { withinMs: 8_000 });
  t.pass('query_timeout leaves nothing');
  for (const end of [() => weir.pooler.kill(undefined), () => weir.pooler.shutdown('immediate')]) {
    const client = await RawClient.connect(weir, { user: 'app' });
    client.write(...batch, say.flush());
    await eventually(async () => (await running()) > 0);
    end();
    await client.closed;
    await eventually(async () => (await running()) === 0, { withinMs: 8_000 });
    if (weir.pooler.state === 'paused') weir.pooler.resume(undefined);
  }
  t.pass('nor do KILL and a shutdown');
  await weir.stop();
});
