// What an attacker tried: each of these once let one client reach another, or take the process down.

import t from 'tap';
import { eventually, startPostgres } from '../support/index.js';
import { RawClient, say, startup } from '../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';

const server = await startPostgres({
  settings: { timezone: 'GMT' },
  sql: [
    'create table users (name text)',
    "insert into users values ('honest')",
    'create schema evil',
    `create function evil.now() returns timestamptz language plpgsql as
      $$ begin perform set_config('statement_timeout', '12345', false); return pg_catalog.now(); end $$`,
    `create function public.upper(i int) returns text language plpgsql as
      $$ begin perform set_config('statement_timeout', '777', false); return 'own'; end $$`,
  ],
});
t.teardown(() => server.stop());

function start(weir: WeirOptions['weir'] = {}): Promise<TestWeir> {
  return startWeir({
    server,
    weir: { auth_type: 'trust', default_pool_size: 1, ...weir },
    users: { postgres: server.admin.password },
  });
}

const weir = await start();
t.teardown(() => weir.stop());

async function pair(
  first: Record<string, string>,
  second: Record<string, string>,
  work: (a: RawClient, b: RawClient) => Promise<void>,
): Promise<void> {
  const a = await RawClient.connect(weir, { parameters: first });
  const b = await RawClient.connect(weir, { parameters: second });
  await work(a, b);
  await Promise.all([a.end(), b.end()]);
}

t.test('a table made under a search_path of pg_temp is gone before the next client', async (t) => {
  await pair({ search_path: 'pg_temp' }, {}, async (a, b) => {
    const made = await a.query('create table users as select $$EVIL$$::text as name');
    t.same(made.errors, []);
    // Until then the server stays with whoever made the table.
    await a.end();
    t.equal(await b.value('select name from users'), 'honest');
  });
});

t.test('a function that stands in for a built-in one leaves nothing behind', async (t) => {
  await pair({ search_path: 'evil, pg_catalog' }, {}, async (a, b) => {
    t.same((await a.query('select now()')).errors, []);
    t.equal(await b.value('show statement_timeout'), '0');
  });
});

t.test('nor does one of the client s own with the name of a built-in one and other arguments', async (t) => {
  await pair({}, {}, async (a, b) => {
    const make = `create function public.lower(i int) returns text language plpgsql as
      $$ begin perform set_config('statement_timeout', '888', false); return 'own'; end $$`;
    t.same((await a.query(make)).errors, []);
    for (let i = 0; i < 8; i++) {
      for (const sql of ['select upper(1)', 'select lower(1)', "select 'x' where upper(2) = 'own'"]) {
        t.same((await a.query(sql)).errors, []);
        t.equal(await b.value('show statement_timeout'), '0', sql);
      }
      t.equal(await a.value("select upper('built in')"), 'BUILT IN');
    }
    await a.query('drop function public.lower(int)');
  });
});

t.test('a statement behind SET standard_conforming_strings in one write is not taken for what it seems', async (t) => {
  await pair({}, {}, async (a, b) => {
    const hidden = "select 'x\\', ',set_config($$statement_timeout$$,$$4321$$,false) --'";
    a.write(Buffer.concat([say.query('set standard_conforming_strings = off'), say.query(hidden)]));
    await a.until('Z');
    await a.until('Z');
    t.equal(await b.value('show statement_timeout'), '0');
    t.equal(await b.value('show standard_conforming_strings'), 'on');
  });
});

t.test('a prepared statement is not shared between clients for whom its constants differ', async (t) => {
  const text = "select '01/02/2024'::date::text";
  const run = async (client: RawClient): Promise<string | null | undefined> => {
    client.write(
      Buffer.concat([
        say.parse({ name: 'd', text }),
        say.bind({ statement: 'd' }),
        say.describe({ type: 'P' }),
        say.execute(),
        say.sync(),
      ]),
    );
    return (await client.reply()).rows[0]?.[0];
  };
  await pair({ DateStyle: 'ISO, DMY' }, { DateStyle: 'ISO, MDY' }, async (a, b) => {
    t.equal(await run(a), '2024-02-01');
    t.equal(await run(b), '2024-01-02');
  });
});

t.test('settings with any characters reach the server as they are, whatever encoding it was left in', async (t) => {
  await pair(
    { client_encoding: 'SJIS' },
    { client_encoding: 'UTF8', 'my.x': "\u0141'\\ \u00e9 \u{1f600}" },
    async (a, b) => {
      for (let i = 0; i < 3; i++) {
        t.equal(await a.value('select 1'), '1');
        t.equal(
          await b.value("select encode(convert_to(current_setting('my.x'), 'UTF8'), 'hex')"),
          Buffer.from("\u0141'\\ \u00e9 \u{1f600}").toString('hex'),
        );
        t.equal(await b.value('show statement_timeout'), '0');
      }
    },
  );
});

t.test('settings that cannot be taken back are refused when a session would begin with them', async (t) => {
  for (const name of ['seed', 'transaction_read_only', 'transaction_isolation']) {
    const client = await RawClient.open(weir);
    client.write(startup({ parameters: { [name]: 'on' } }));
    const fields = await client.fatal();
    t.match(fields.M, /unsupported startup parameter/);
    await client.vanish();
  }
});

t.test('clients that give up while their login waits leave no session behind', async (t) => {
  const paused = await start({ max_client_conn: 3 });
  t.teardown(() => paused.stop());
  const first = await RawClient.connect(paused);
  await first.end();
  await paused.pooler.pause(undefined);
  const leaving: RawClient[] = [];
  for (let i = 0; i < 3; i++) {
    const client = await RawClient.open(paused);
    client.write(startup({ parameters: { TimeZone: `Asia/${['Tokyo', 'Seoul', 'Dhaka'][i]}` } }));
    leaving.push(client);
  }
  await eventually(() => paused.pooler.clients.size === 3);
  await Promise.all(leaving.map((client) => client.vanish()));
  await eventually(() => paused.pooler.clients.size === 0);
  paused.pooler.resume(undefined);
  const next = await RawClient.connect(paused);
  t.equal(await next.value('select 1'), '1');
  t.equal(paused.pooler.sessionCount, 1);
  await next.end();
});

t.test('a client that asks and never reads is not read any more', async (t) => {
  const client = await RawClient.connect(weir);
  client.socket.pause();
  const syncs = Buffer.concat(Array.from({ length: 20_000 }, () => say.sync()));
  for (let i = 0; i < 100; i++) client.socket.write(syncs);
  const connection = [...weir.pooler.clients].find((each) => each.state.kind === 'idle');
  await eventually(() => (connection?.peer.pressured ?? false) === true);
  const before = connection?.peer.unwrittenBytes ?? 0;
  await new Promise((resolve) => setTimeout(resolve, 200));
  const after = connection?.peer.unwrittenBytes ?? 0;
  t.ok(after - before < 1_000_000, 'what waits for it does not grow');
  t.ok(after < 8_000_000, 'and stays small');
  await client.vanish();
  await eventually(() => weir.pooler.clients.size === 0);
});

t.test('a client that piles up messages behind a slow statement is owed a bounded number of replies', async (t) => {
  const client = await RawClient.connect(weir);
  client.write(say.query('select pg_sleep(1)'));
  const closes = Buffer.concat(Array.from({ length: 20_000 }, () => say.close({ type: 'S', name: 'x' })));
  for (let i = 0; i < 20; i++) client.socket.write(closes);
  await eventually(() => [...weir.pooler.clients].some((each) => each.state.kind === 'active'));
  const [connection] = weir.pooler.clients;
  await new Promise((resolve) => setTimeout(resolve, 300));
  const owed = connection?.state.kind === 'active' ? connection.state.server.channel.owedCount : 0;
  t.ok(owed > 1_000 && owed < 40_000, `${owed} replies are owed`);
  client.write(say.sync());
  await client.until('Z');
  let closed = 0;
  while (closed < 400_000) if ((await client.next()).tag === '3') closed++;
  t.equal((await client.next()).tag, 'Z', 'and all of them come, in order');
  await client.end();
});

t.test('who has not proved anything makes no pool', async (t) => {
  const guarded = await start({ auth_type: 'scram-sha-256' });
  t.teardown(() => guarded.stop());
  for (let i = 0; i < 20; i++) {
    const client = await RawClient.open(guarded);
    client.write(startup({ user: `made up ${i}` }));
    await client.next();
    await client.vanish();
  }
  t.same([...guarded.pooler.pools], []);
});

t.test('a shutdown that waits for servers ends when one is killed under its client', async (t) => {
  const ending = await start();
  const client = await RawClient.connect(ending);
  await client.query('begin');
  const pid = await client.value('select pg_backend_pid()');
  ending.pooler.shutdown('wait_for_servers');
  await server.query(`select pg_terminate_backend(${pid})`);
  await ending.pooler.finished;
  await client.closed;
  t.pass('it has ended');
});
