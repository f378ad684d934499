// Read lanes in front of a real PostgreSQL: what may share a server, what becomes of it when things go wrong, and whose answer is whose.

import t, { type Test } from 'tap';
import type { Pool } from '../../lib/pool/index.js';
import { eventually, startPostgres } from '../support/index.js';
import { RawClient, type Reply, say } from '../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';

const server = await startPostgres({
  sql: [
    "create table knobs (name text primary key, seconds float8 default 0, armed bool default false); insert into knobs values ('k')",
    'create table log (n int)',
    'create table pairs (id int primary key, word text); insert into pairs select i, $$word $$ || i from generate_series(0, 999) i',
    `create function bump() returns int language plpgsql as
      $$ begin if (select armed from knobs) then insert into log values (1); end if; return 7; end $$`,
    'create view bumping as select bump() as n',
    'create view bumping_late as select case when i > 3000 then bump() else i end as n from generate_series(1, 4000) i',
    'create view slow as select pg_sleep(seconds)::text as slept from knobs',
    "create view mode as select current_setting('transaction_read_only') as read_only",
    'create view halting as select i, case when i > 1500 then pg_sleep(seconds)::text end as slept from generate_series(1, 2000) i, knobs',
    `create function turn() returns int language plpgsql as
      $$ begin if (select armed from knobs) then perform set_config('TimeZone', 'Asia/Tokyo', false); end if; return 1; end $$`,
    'create view turning as select turn() as n',
    'create view who as select pg_backend_pid() as pid',
  ],
});
t.teardown(() => server.stop());

async function start(
  t: Test,
  weir: WeirOptions['weir'] = {},
  config?: WeirOptions['config'],
): Promise<TestWeir & { readonly pool: () => Pool }> {
  const made = await startWeir({
    server,
    weir: { auth_type: 'trust', default_pool_size: 2, lane_busy_us: 1_000_000, lane_views: true, ...weir },
    users: { postgres: server.admin.password },
    ...(config === undefined ? {} : { config }),
  });
  t.teardown(() => made.stop());
  return Object.assign(made, { pool: () => [...made.pooler.pools][0] as Pool });
}

async function clientsOf(t: Test, weir: TestWeir, count: number, parameters = {}): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => RawClient.connect(weir, { parameters })));
  t.teardown(() => Promise.all(clients.map((client) => client.vanish())));
  return clients;
}

/** Runs it until its shape may share a server. */
async function earn(client: RawClient, sql: string): Promise<void> {
  for (let i = 0; i < 6; i++) await client.query(sql);
}

function values(replies: readonly Reply[]): (string | null | undefined)[] {
  return replies.map(({ rows, errors }) => errors[0]?.M ?? rows[0]?.[0]);
}

/** Sets the knob over a connection that weir does not see. */
async function knob(set: string): Promise<void> {
  await server.query(`update knobs set ${set}`);
}

t.beforeEach(async () => {
  await knob('seconds = 0, armed = false');
});

t.test('a read shares a server once it has proven itself, in either protocol', async (t) => {
  const weir = await start(t, { default_pool_size: 1, lane_stall_ms: 10_000 });
  const clients = await clientsOf(t, weir, 20);
  const [first] = clients as [RawClient];
  await earn(first, 'select word from pairs where id = 1');
  const { lanes } = weir.pool().traffic;
  t.equal(lanes.refused.new, 5, 'its first runs were alone');
  t.equal(lanes.reads, 1);
  const replies = await Promise.all(clients.map((client, i) => client.query(`select word from pairs where id = ${i}`)));
  t.same(
    values(replies),
    clients.map((_, i) => `word ${i}`),
  );
  t.equal(lanes.reads, 21);
  t.same(new Set(replies.map(({ tags, status }) => tags + status)), new Set(['TDCZI']));

  const sql = 'select word from pairs where id = $1';
  for (let i = 0; i < 6; i++) await first.execute(sql, ['3']);
  const before = lanes.reads;
  const extended = await Promise.all(clients.map((client, i) => client.execute(sql, [String(i)])));
  t.same(
    values(extended),
    clients.map((_, i) => `word ${i}`),
  );
  t.equal(lanes.reads, before + 20);
  t.same(new Set(extended.map(({ tags }) => tags)).size, 1);

  await Promise.all(
    clients.map(async (client) => {
      client.write(say.parse({ name: 'mine', text: sql, types: [23] }), say.sync());
      await client.reply();
    }),
  );
  const run = (client: RawClient, i: number): Promise<Reply> => {
    client.write(say.bind({ statement: 'mine', values: [String(i)] }), say.execute(), say.sync());
    return client.reply();
  };
  for (let i = 0; i < 6; i++) await run(first, 5);
  for (const round of [0, 100, 200]) {
    const named = await Promise.all(clients.map((client, i) => run(client, round + i)));
    t.same(
      values(named),
      clients.map((_, i) => `word ${round + i}`),
    );
    t.same(new Set(named.map(({ tags }) => tags)), new Set(['2DCZ']));
  }
  t.ok(lanes.reads >= before + 20 + 60);
  t.same(Object.values(lanes.reruns), Object.values(lanes.reruns).fill(0), 'nothing had to be run again');
});

t.test('what is not a proven read of its own never shares', async (t) => {
  const weir = await start(t);
  const [client] = (await clientsOf(t, weir, 1)) as [RawClient];
  for (const sql of [
    'insert into log values (0)',
    'select 1; select 2',
    'select word from pairs where id = 1 for update',
    'select pg_backend_pid()',
    "select current_setting('transaction_read_only')",
    'select bump()',
    "select nextval('pg_catalog.pg_class_oid_index'::text)",
    'select setting from pg_settings where name = $$port$$',
    'show work_mem',
    'explain select 1',
    'values (1)',
    'table pairs limit 1 for share',
    "select pg_notify('a', 'b')",
    'select pg_advisory_xact_lock(1)',
    'select 1 into temp t1',
    'with w as (insert into log values (1) returning n) select * from w',
  ]) {
    await earn(client, sql);
  }
  await client.query('begin');
  await earn(client, 'select id from pairs where id = 1');
  await client.query('commit');
  await earn(client, 'select id from pairs where id = 1');
  client.write(say.query('select id from pairs where id = 1'), say.query('select id from pairs where id = 2'));
  t.same(values([await client.reply(), await client.reply()]), ['1', '2'], 'two in one write go to one server');
  const { lanes } = weir.pool().traffic;
  t.equal(lanes.reads, 1, 'only the last of those outside the transaction, in which nothing is proven');
});

t.test('what writes all the same is refused by PostgreSQL, runs once, alone, and does not share again', async (t) => {
  const weir = await start(t, { lane_reply_limit: 1_000_000, lane_stall_ms: 10_000 });
  const [client, other] = (await clientsOf(t, weir, 2)) as [RawClient, RawClient];
  await server.query('delete from log');
  await earn(client, 'select n from bumping');
  const { lanes } = weir.pool().traffic;
  t.equal(lanes.reads, 1);
  await knob('armed = true');
  t.equal(await client.value('select n from bumping'), '7');
  t.same(await server.query('select count(*)::int as n from log'), [{ n: 1 }]);
  t.equal(lanes.reruns.writes, 1);
  t.equal(await other.value('select n from bumping'), '7');
  t.equal(lanes.reads, 2);
  t.equal(lanes.refused.writes, 1);
  const extended = await other.execute('select n from bumping');
  t.same(values([extended]), ['7']);

  await knob('armed = false');
  await earn(client, 'select n from bumping_late');
  const shared = lanes.reads;
  await knob('armed = true');
  t.match((await client.query('select n from bumping_late')).errors[0], { C: '25006' }, 'behind its first row');
  t.same((await client.query('select n from bumping_late')).errors, [], 'but only once');
  t.equal(lanes.reads, shared + 1);
});

t.test('nobody sees that a lane is read-only, nor what others have set', async (t) => {
  const weir = await start(t, { default_pool_size: 1 });
  const [utc] = (await clientsOf(t, weir, 1, { TimeZone: 'UTC' })) as [RawClient];
  const [tokyo, reader] = (await clientsOf(t, weir, 2, { TimeZone: 'Asia/Tokyo' })) as [RawClient, RawClient];
  await earn(utc, 'select read_only from mode');
  const sql = "select to_char('2020-01-01 00:00+00'::timestamptz, 'HH24')";
  await earn(utc, sql);
  t.equal(await utc.value('select read_only from mode'), 'on', 'a view shows that it is a lane');
  for (let i = 0; i < 5; i++) {
    t.same(values(await Promise.all([utc, tokyo, reader].map((client) => client.query(sql)))), ['00', '09', '09']);
    t.equal(await utc.value('show default_transaction_read_only'), 'off');
    t.equal((await tokyo.query('insert into log values (1)')).commands[0], 'INSERT 0 1');
    t.equal(await reader.value('show TimeZone'), 'Asia/Tokyo');
  }
  await reader.query('set default_transaction_read_only = on');
  await earn(reader, sql);
  t.match((await reader.query('insert into log values (1)')).errors[0], { C: '25006' });
  t.equal((await tokyo.query('insert into log values (1)')).commands[0], 'INSERT 0 1');
  t.notOk(utc.parameters.get('default_transaction_read_only') === 'on');
});

t.test('a slow read keeps nobody behind it', async (t) => {
  const weir = await start(t);
  const [slow, ...others] = (await clientsOf(t, weir, 11)) as [RawClient, ...RawClient[]];
  await earn(slow, 'select slept from slow');
  await earn(slow, 'select word from pairs where id = 1');
  await knob('seconds = 1');
  const { lanes } = weir.pool().traffic;
  const slept = slow.query('select slept from slow').then(() => performance.now());
  const answered = await Promise.all(
    others.map(async (client, i) => [await client.value(`select word from pairs where id = ${i}`), performance.now()]),
  );
  t.same(
    answered.map(([word]) => word),
    others.map((_, i) => `word ${i}`),
  );
  const last = Math.max(...answered.map(([, at]) => Number(at)));
  t.ok((await slept) > last, 'they were answered before it');
  t.ok(lanes.reruns.stalled > 0, `${lanes.reruns.stalled} were sent again`);
  t.same(
    values(await Promise.all(others.map((client) => client.query('select word from pairs where id = 9')))),
    others.map(() => 'word 9'),
    'and the late answers went nowhere',
  );
});

t.test('a cancel ends the read of whoever asks for it, and of nobody else', async (t) => {
  const weir = await start(t, { lane_stall_ms: 60 });
  const [slow, behind, third] = (await clientsOf(t, weir, 3)) as [RawClient, RawClient, RawClient];
  await earn(slow, 'select slept from slow');
  await earn(slow, 'select word from pairs where id = 1');
  await knob('seconds = 0.4');
  const head = slow.query('select slept from slow');
  const second = behind.query('select word from pairs where id = 1');
  await eventually(() => [...weir.pool().servers].some(({ channel }) => channel.reads === 2));
  await behind.cancel(weir);
  t.match((await second).errors[0], { C: '57014' }, 'the one behind');
  t.equal((await second).status, 'I');
  t.equal(await behind.value('select word from pairs where id = 2'), 'word 2', 'goes on');
  t.same((await head).errors, [], 'the first is not touched');

  await knob('seconds = 60');
  const long = slow.query('select slept from slow');
  const waiting = third.query('select word from pairs where id = 3');
  await new Promise((resolve) => setTimeout(resolve, 10));
  await slow.cancel(weir);
  t.match((await long).errors[0], { C: '57014' }, 'the first');
  t.same(values([await waiting]), ['word 3'], 'who was behind it has got an answer');
  await eventually(async () => {
    const [row] = await server.query<{ n: number }>(
      "select count(*)::int as n from pg_stat_activity where query like '%from slow' and state = 'active'",
    );
    return row?.n === 0;
  });
  t.equal(await slow.value('select word from pairs where id = 4'), 'word 4');
});

t.test('whoever has nothing of an answer when the server is lost gets it from another one', async (t) => {
  const weir = await start(t, { default_pool_size: 1 });
  const clients = await clientsOf(t, weir, 10);
  const [first] = clients as [RawClient];
  await earn(first, 'select slept from slow');
  await earn(first, 'select word from pairs where id = 1');
  await knob('seconds = 0.3');
  const asked = clients.map((client, i) =>
    client.query(i === 0 ? 'select slept from slow' : `select word from pairs where id = ${i}`),
  );
  await eventually(() => [...weir.pool().servers].some(({ channel }) => channel.reads >= 1));
  await server.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where query like '%from slow' and pid <> pg_backend_pid()",
  );
  t.same(
    values(await Promise.all(asked)),
    clients.map((_, i) => (i === 0 ? '' : `word ${i}`)),
  );
  t.ok(weir.pool().traffic.lanes.reruns.lost >= 1);
});

t.test('a client that has half an answer when the server is lost is told so; the others go on', async (t) => {
  const weir = await start(t, { default_pool_size: 2, lane_stall_ms: 5_000 });
  const [reader, ...others] = (await clientsOf(t, weir, 4)) as [RawClient, ...RawClient[]];
  await earn(reader, 'select i from generate_series(1, 3) i');
  await earn(reader, 'select word from pairs where id = 1');
  await server.query('delete from log');
  reader.socket.pause();
  reader.write(say.query('select i from generate_series(1, 3000000) i'));
  const asked = others.map((client, i) => client.query(`select word from pairs where id = ${i}`));
  t.same(
    values(await Promise.all(asked)),
    others.map((_, i) => `word ${i}`),
    'a reader that does not read holds up nobody',
  );
  t.ok(weir.pool().traffic.lanes.reruns.pressure > 0);
  await server.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where query like '%from generate_series%' and pid <> pg_backend_pid()",
  );
  reader.socket.resume();
  await reader.closed;
  t.same(
    values(await Promise.all(others.map((client) => client.query('select word from pairs where id = 9')))),
    others.map(() => 'word 9'),
  );
});

t.test('a long answer arrives whole although others wait behind it', async (t) => {
  const weir = await start(t, { default_pool_size: 1, lane_stall_ms: 5_000 });
  const [reader, ...others] = (await clientsOf(t, weir, 5)) as [RawClient, ...RawClient[]];
  await earn(reader, 'select i from generate_series(1, 3) i');
  await earn(reader, 'select word from pairs where id = 1');
  const long = reader.query('select i from generate_series(1, 100000) i');
  const asked = others.map((client, i) => client.query(`select word from pairs where id = ${i}`));
  t.same(
    values(await Promise.all(asked)),
    others.map((_, i) => `word ${i}`),
  );
  const { rows } = await long;
  t.equal(rows.length, 100_000);
  t.equal(rows.at(-1)?.[0], '100000');
});

t.test('who needs a server of his own gets one although reads never end', async (t) => {
  const weir = await start(t, { default_pool_size: 1, query_wait_timeout: 5 });
  const readers = await clientsOf(t, weir, 10);
  const [writer] = (await clientsOf(t, weir, 1)) as [RawClient];
  await earn(writer, 'select word from pairs where id = 1');
  let running = true;
  const loops = readers.map(async (client, i) => {
    let count = 0;
    while (running) {
      t.equal(await client.value(`select word from pairs where id = ${i}`), `word ${i}`);
      count++;
    }
    return count;
  });
  for (let i = 0; i < 20; i++) {
    t.equal((await writer.query('begin; insert into log values (1)')).status, 'T');
    t.equal((await writer.query('commit')).commands[0], 'COMMIT');
  }
  running = false;
  for (const count of await Promise.all(loops)) t.ok(count > 5, `each reader went on: ${count}`);
});

t.test('a client that breaks the protocol in the middle of a read puts nobody out of step', async (t) => {
  const weir = await start(t, { default_pool_size: 2, lane_stall_ms: 10_000 });
  const clients = await clientsOf(t, weir, 8);
  const [first] = clients as [RawClient];
  const sql = 'select word from pairs where id = $1';
  for (let i = 0; i < 6; i++) await first.execute(sql, ['3']);
  const frame = (tag: string, body: Buffer): Buffer => {
    const header = Buffer.alloc(5);
    header.write(tag, 'latin1');
    header.writeInt32BE(body.length + 4, 1);
    return Buffer.concat([header, body]);
  };
  const parsed = say.parse({ text: sql });
  const bound = say.bind({ values: ['1'] });
  const tail = [say.execute(), say.sync()];
  const broken: Uint8Array[][] = [
    [frame('P', Buffer.from(`\0${sql}\0\0`)), bound, ...tail],
    [parsed, bound, frame('D', Buffer.from('X\0')), ...tail],
    [parsed, bound, frame('D', Buffer.alloc(0)), ...tail],
    [parsed, bound, frame('D', Buffer.from('Pabc')), ...tail],
    [parsed, frame('B', Buffer.from('\0\0\0')), ...tail],
    [parsed, bound, frame('E', Buffer.alloc(0)), ...tail],
    [frame('Q', Buffer.from('select word from pairs where id = 1'))],
  ];
  for (const messages of broken) {
    const [evil] = (await clientsOf(t, weir, 1)) as [RawClient];
    evil.write(...messages);
    const replies = clients.map((client, i) => client.execute(sql, [String(100 + i)]));
    t.same(
      values(await Promise.all(replies)),
      clients.map((_, i) => `word ${100 + i}`),
    );
    await evil.vanish();
  }
  const pool = weir.pool();
  await eventually(() => [...pool.servers].every(({ channel }) => channel.reads === 0 && channel.quiet));
  t.equal((await first.query('insert into log values (1)')).commands[0], 'INSERT 0 1');
});

t.test('a cancel also ends a read part of which has come', async (t) => {
  const weir = await start(t, { lane_reply_limit: 1_000_000, lane_stall_ms: 10_000 });
  const [client, other] = (await clientsOf(t, weir, 2)) as [RawClient, RawClient];
  await earn(client, 'select word from pairs where id = 1');
  const sql = 'select i, slept from halting';
  await earn(client, sql);
  await knob('seconds = 30');
  const asked = client.query(sql);
  await eventually(() => [...weir.pool().servers].some(({ channel }) => channel.firstRead?.started === true));
  const behind = other.query('select word from pairs where id = 4');
  await client.cancel(weir);
  t.match((await asked).errors[0], { C: '57014' });
  t.same(values([await behind]), ['word 4']);
  t.equal(await client.value('select word from pairs where id = 5'), 'word 5');
});

t.test('a setting that a read changes, which PostgreSQL reports, changes nobody else s answer', async (t) => {
  const weir = await start(t, { default_pool_size: 2 });
  const [changer, ...others] = (await clientsOf(t, weir, 4, { TimeZone: 'UTC' })) as [RawClient, ...RawClient[]];
  const sql = "select to_char('2020-01-01 00:00+00'::timestamptz, 'HH24')";
  await earn(changer, sql);
  await earn(changer, 'select n from turning');
  await knob('armed = true');
  for (let i = 0; i < 3; i++) {
    const turned = changer.query('select n from turning');
    const asked = others.map((client) => client.query(sql));
    t.same(values([await turned]), ['1']);
    t.same(values(await Promise.all(asked)), ['00', '00', '00']);
  }
});

t.test('a writer behind many readers that all wait is served', async (t) => {
  const weir = await start(t, { default_pool_size: 1, query_wait_timeout: 5 });
  const readers = await clientsOf(t, weir, 12);
  const [holder, writer] = (await clientsOf(t, weir, 2)) as [RawClient, RawClient];
  const sql = 'select count(*) from pairs a, pairs b where b.id < 30';
  await earn(holder, sql);
  await holder.query('begin; select 1');
  let running = true;
  const loops = readers.map(async (client) => {
    while (running) t.equal(await client.value(sql), '30000');
  });
  await eventually(() => weir.pool().waiting === 12);
  const written = writer.query('insert into log values (1)');
  await eventually(() => weir.pool().waiting === 13);
  await holder.query('commit');
  t.equal((await written).commands[0], 'INSERT 0 1');
  running = false;
  await Promise.all(loops);
});

t.test('what may run code by being read is read alone, unless the operator says otherwise', async (t) => {
  const weir = await start(t, { lane_views: false });
  const [client] = (await clientsOf(t, weir, 1)) as [RawClient];
  const { lanes } = weir.pool().traffic;
  await earn(client, 'select read_only from mode');
  t.same([lanes.reads, lanes.refused.view], [0, 1]);
  await earn(client, 'select id from pairs where id = 3');
  t.equal(lanes.reads, 1);
  await client.query('create view public.words as select word from pairs');
  await earn(client, 'select word from words limit 1');
  await client.query('create table guarded (n int)');
  await earn(client, 'select n from guarded');
  t.same([lanes.reads, lanes.refused.view], [2, 2], 'also a view that is new');
  await client.query('alter table guarded enable row level security');
  await client.query('select n from guarded');
  t.equal(lanes.refused.view, 3, 'and a table that has got row security');
  await client.query('drop view words; drop table guarded');
});

t.test('what is read alone is so also when it has waited among reads that share', async (t) => {
  const weir = await start(t, { lane_views: false, default_pool_size: 1 });
  const [holder, plain, view, more] = (await clientsOf(t, weir, 4)) as [RawClient, RawClient, RawClient, RawClient];
  await earn(holder, 'select read_only from mode');
  await earn(holder, 'select word from pairs where id = 1');
  await holder.query('begin; select 1');
  const asked = [plain.query('select word from pairs where id = 1'), view.query('select read_only from mode')];
  asked.push(more.query('select word from pairs where id = 2'));
  await eventually(() => weir.pool().waiting === 3);
  await holder.query('commit');
  t.same(values(await Promise.all(asked)), ['word 1', 'off', 'word 2']);
});

t.test('clients that name relations without end make weir read all of them alone, and remember no more', async (t) => {
  const weir = await start(t, { lane_views: false });
  const [client] = (await clientsOf(t, weir, 1)) as [RawClient];
  await earn(client, 'select word from pairs where id = 1');
  const { lanes } = weir.pool().traffic;
  t.equal(lanes.reads, 1);
  for (let i = 0; i < 12; i++) {
    const names = Array.from({ length: 1_000 }, (_, n) => `alter table missing_${i}_${n} rename to x;`);
    await client.query(names.join(' '));
  }
  await client.value('select word from pairs where id = 1');
  t.same([lanes.reads, lanes.refused.view], [1, 1]);
});

t.test('lanes can be switched off, for all, a database or a user', async (t) => {
  for (const [what, weir, config] of [
    ['all', { lanes: 'off' }, undefined],
    [
      'a user',
      {},
      (config: TestWeir['config']): TestWeir['config'] => ({
        ...config,
        users: new Map([...config.users].map(([name, user]) => [name, { ...user, lanes: 'off' as const }])),
      }),
    ],
    ['session pooling', { pool_mode: 'session' }, undefined],
  ] as const) {
    const made = await start(t, weir, config);
    const [client] = (await clientsOf(t, made, 1)) as [RawClient];
    await earn(client, 'select word from pairs where id = 1');
    t.equal(made.pool().traffic.lanes.reads, 0, what);
  }
});

t.test('each answer reaches who asked, whatever ends, is cancelled or is killed meanwhile', async (t) => {
  const weir = await start(t, { default_pool_size: 3, lane_busy_us: 200, leak_probe_every: 1 });
  const [warm] = (await clientsOf(t, weir, 1)) as [RawClient];
  await earn(warm, "select 'x' as mine, word from pairs where id = 1");
  await earn(warm, 'select slept from slow');
  await knob('seconds = 0.03');
  let random = 12_345;
  const dice = (sides: number): number => {
    random = (Math.imul(random, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (random >> 8) % sides;
  };
  let right = 0;
  let lost = 0;
  const work = async (id: number): Promise<void> => {
    let client = await RawClient.connect(weir);
    /** Undefined when the client was ended; there is a new one then. */
    const answer = async (asked: Promise<Reply>): Promise<Reply | undefined> => {
      const reply = await asked.catch(() => undefined);
      if (reply !== undefined && reply.errors[0]?.S !== 'FATAL') return reply;
      lost++;
      await client.vanish();
      client = await RawClient.connect(weir);
      return undefined;
    };
    for (let n = 0; n < 150; n++) {
      const mine = `${id}:${n}`;
      const what = dice(100);
      if (what < 2) {
        client.write(say.query(`select '${mine}' as mine, word from pairs where id = 1`));
        await client.vanish();
        client = await RawClient.connect(weir);
      } else if (what < 4) {
        await answer(client.query('select slept from slow'));
      } else if (what < 6) {
        await answer(client.query(`begin; insert into log values (${n}); rollback`));
      } else {
        const asked =
          what % 2 === 0
            ? client.query(`select '${mine}' as mine, word from pairs where id = ${n}`)
            : client.execute(`select '${mine}' as mine, word from pairs where id = $1`, [String(n)]);
        if (what < 9) await client.cancel(weir);
        const reply = await answer(asked);
        if (reply === undefined) continue;
        const [error] = reply.errors;
        if (error === undefined) {
          t.same(reply.rows, [[mine, `word ${n}`]]);
          right++;
        } else {
          t.equal(error.C, '57014');
          t.ok(what < 9, `cancelled by nobody: ${mine}`);
        }
      }
    }
    await client.end();
  };
  let done = false;
  const killing = (async (): Promise<void> => {
    while (!done) {
      await server.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select ''%'' as mine%' limit 1",
      );
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  })();
  await Promise.all(Array.from({ length: 40 }, (_, id) => work(id)));
  done = true;
  await killing;
  const { lanes, ladder } = weir.pool().traffic;
  t.ok(right > 4_000, `${right} answers`);
  t.ok(lost < 60, `${lost} were told of a lost server`);
  t.ok(lanes.reads > 1_000, `${lanes.reads} on lanes`);
  t.ok(lanes.reruns.lost + lanes.reruns.stalled > 0, JSON.stringify(lanes.reruns));
  t.same(Object.values(ladder.leaks), Object.values(ladder.leaks).fill(0), 'nothing was left behind');
});
