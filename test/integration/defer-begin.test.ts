// BEGIN that waits for what follows it: what clients are told is what PostgreSQL tells them, and nothing runs outside the transaction.

import t, { type Test } from 'tap';
import { eventually, startPostgres } from '../support/index.js';
import { RawClient, type Reply, say } from '../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';

const server = await startPostgres({
  hba: 'host all all 127.0.0.1/32 trust',
  sql: ['create table notes (n int)', 'create sequence counter'],
});
t.teardown(() => server.stop());

async function start(t: Test, weir: WeirOptions['weir'] = {}): Promise<TestWeir> {
  const made = await startWeir({
    server,
    weir: { auth_type: 'trust', default_pool_size: 1, leak_probe_every: 1, ...weir },
    users: { postgres: server.admin.password },
  });
  t.teardown(() => made.stop());
  return made;
}

async function connect(t: Test, place: { host: string; port: number }, count: number): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => RawClient.connect(place)));
  t.teardown(() => Promise.all(clients.map((client) => client.vanish())));
  return clients;
}

function active(weir: TestWeir): number {
  return [...weir.pooler.pools].reduce((sum, pool) => sum + pool.counts.active, 0);
}

/** What a client sees of a reply, without where in PostgreSQL's sources an error was raised. */
function seen({ tags, status, rows, commands, errors, notices }: Reply): unknown {
  const brief = (fields: Reply['errors'][number]): unknown => [fields.S, fields.C, fields.M];
  return { tags, status, rows, commands, errors: errors.map(brief), notices: notices.map(brief) };
}

/** One step: what is written, up to one ReadyForQuery each. */
type Step = string | { readonly execute: string; readonly values?: readonly string[] } | readonly Uint8Array[];

async function take(client: RawClient, step: Step): Promise<unknown> {
  if (typeof step === 'string') return seen(await client.query(step));
  if ('execute' in step) return seen(await client.execute(step.execute, step.values));
  client.write(...step);
  return seen(await client.reply());
}

/** The batch a driver sends for a statement it has prepared. */
function run(name: string): Uint8Array[] {
  return [say.bind({ statement: name }), say.execute(), say.sync()];
}

const programs: Readonly<Record<string, readonly Step[]>> = {
  'a transaction that commits': ['begin', 'insert into notes values (1)', 'select n from notes', 'commit', 'select 1'],
  'one that is rolled back': [
    'BEGIN',
    'insert into notes values (2)',
    'rollback',
    'select count(*) from notes where n = 2',
  ],
  'one in which nothing is done': [
    'begin',
    'commit',
    'start transaction',
    'rollback',
    'begin',
    'end',
    'begin',
    'abort',
  ],
  'all forms': [
    'begin isolation level serializable read only',
    'show transaction_isolation',
    'insert into notes values (3)',
    'commit',
    'start transaction isolation level repeatable read, read write',
    'show transaction_isolation',
    'rollback',
    'begin transaction read only deferrable; -- and a comment',
    'show transaction_read_only',
    'end',
    '/* é */ begin work',
    'select 1',
    'commit work',
  ],
  'a second BEGIN, and ends without one': ['begin', 'begin', 'commit', 'commit', 'rollback'],
  errors: [
    'begin',
    'nonsense',
    'select 1',
    'commit',
    'begin',
    'select 1/0',
    'rollback',
    'begin',
    'rollback to x',
    'rollback',
  ],
  savepoints: ['begin', 'savepoint a', 'insert into notes values (4)', 'rollback to a', 'release a', 'commit'],
  chains: ['begin', 'commit and chain', 'insert into notes values (5)', 'rollback and chain', 'rollback'],
  'two-phase, prepared': ['begin', "prepare transaction 'x'", 'rollback'],
  settings: [
    'begin',
    'set local work_mem = 4321',
    'show work_mem',
    'commit',
    'show work_mem',
    'begin',
    'set transaction isolation level serializable',
    'show transaction_isolation',
    'commit',
    'begin',
    'set work_mem = 5555',
    'rollback',
    'show work_mem',
  ],
  'statements of the session within it': [
    'prepare p as select 41 + 1',
    'begin',
    'execute p',
    'select name from pg_prepared_statements',
    'deallocate p',
    'commit',
    'begin',
    'select name from pg_prepared_statements',
    'commit',
    'begin',
    'select lastval()',
    'rollback',
    'begin',
    "select nextval('counter') > 0",
    'select lastval() > 0',
    'commit',
    'begin',
    'listen news',
    'commit',
    'unlisten *',
    'begin',
    'discard all',
    'rollback',
    'begin',
    'vacuum notes',
    'rollback',
    'begin',
    'declare c cursor for select generate_series(1, 3)',
    'fetch 2 from c',
    'commit',
  ],
  COPY: ['begin', 'copy (select 1) to stdout', 'commit', 'begin', 'copy notes from stdin where nothing', 'rollback'],
  'the extended protocol': [
    { execute: 'begin' },
    { execute: 'insert into notes values ($1)', values: ['6'] },
    { execute: 'select n from notes where n = $1', values: ['6'] },
    { execute: 'rollback' },
    { execute: 'begin' },
    { execute: 'commit' },
    { execute: 'start transaction read only' },
    { execute: 'show transaction_read_only' },
    { execute: 'commit' },
    { execute: 'begin' },
    { execute: 'select 1/0' },
    { execute: 'select 1' },
    { execute: 'commit' },
    [say.parse({ text: 'begin' }), say.bind(), say.describe({ type: 'P' }), say.execute(), say.sync()],
    [say.bind(), say.execute(), say.sync()],
    'rollback',
    [say.parse({ text: 'begin' }), say.describe({ type: 'S' }), say.bind(), say.execute(), say.sync()],
    'rollback',
    [
      say.parse({ text: 'begin' }),
      say.bind(),
      say.execute(),
      say.parse({ text: 'select 7' }),
      say.bind(),
      say.execute(),
      say.sync(),
    ],
    'rollback',
    'begin',
    [say.sync()],
    [say.describe({ type: 'S', name: 'none' }), say.sync()],
    'rollback',
    'begin',
    [say.close({ type: 'S', name: 'none' }), say.sync()],
    'rollback',
  ],
  'statements that were prepared': [
    [say.parse({ name: 'b', text: 'begin' }), say.parse({ name: 'c', text: 'commit' }), say.sync()],
    [say.parse({ name: 'q', text: 'select 8' }), say.sync()],
    [say.bind({ statement: 'b', values: ['1', '2'] }), say.execute(), say.sync()],
    [say.bind({ statement: 'b' }), say.sync()],
    [say.bind({ statement: 'b' }), say.execute(), say.execute(), say.sync()],
    [say.bind({ statement: 'b', portal: 'p' }), say.execute({ portal: 'p' }), say.sync()],
    'rollback',
    run('b'),
    run('q'),
    run('c'),
    run('b'),
    run('c'),
    run('b'),
    [say.parse({ name: 'r', text: 'select 9' }), say.sync()],
    run('r'),
    [say.parse({ name: 'r', text: 'select 9' }), say.sync()],
    run('c'),
    run('q'),
  ],
};

for (const [name, steps] of Object.entries(programs)) {
  t.test(`${name}: as on a direct connection`, async (t) => {
    for (const defer_begin of [true, false]) {
      const weir = await start(t, { defer_begin });
      const [through, other] = (await connect(t, weir, 2)) as [RawClient, RawClient];
      const [direct] = (await connect(t, server, 1)) as [RawClient];
      for (const [index, step] of steps.entries()) {
        // Another client has used the server meanwhile, wherever the first one does not hold it.
        if (active(weir) === 0) await other.query(`select ${index}`);
        const [a, b] = [await take(through, step), await take(direct, step)];
        t.same(a, b, `${defer_begin ? 'deferred' : 'at once'}, step ${index}`);
      }
      for (const pool of weir.pooler.pools) {
        const { leaks } = pool.traffic.ladder;
        t.same(Object.values(leaks), Object.values(leaks).fill(0));
      }
      await server.query('truncate notes');
    }
  });
}

t.test('no server is held until there is something to do', async (t) => {
  const weir = await start(t);
  const [thinking, other] = (await connect(t, weir, 2)) as [RawClient, RawClient];
  t.equal((await thinking.query('begin')).status, 'T');
  const [begun] = await server.query<{ now: string }>('select clock_timestamp()::text as now');
  t.equal(active(weir), 0);
  t.equal(await other.value('select 5'), '5', 'the only server is free');
  t.equal(
    await thinking.value(`select now() > '${begun?.now}'::timestamptz`),
    't',
    'the transaction has begun with its first statement',
  );
  t.equal(active(weir), 1);
  await thinking.query('commit');
  await thinking.query('begin');
  await thinking.end();
  t.equal(await other.value('select 6'), '6', 'a client that leaves behind its BEGIN leaves nothing');
});

t.test('a client in a transaction is told of notifications only behind it', async (t) => {
  const weir = await start(t, { default_pool_size: 3 });
  const [listener, speaker] = (await connect(t, weir, 2)) as [RawClient, RawClient];
  await listener.query('listen news');
  await listener.query('begin');
  await speaker.query('notify news');
  await speaker.query('select 1');
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(listener.untaken, 0);
  t.same((await listener.query('commit')).commands, ['COMMIT']);
  t.equal((await listener.next()).tag, 'A');
});

t.test('a BEGIN that fails takes the statement behind it along', async (t) => {
  const weir = await start(t);
  const [client, other] = (await connect(t, weir, 2)) as [RawClient, RawClient];
  // A snapshot can be imported by a serializable transaction only; a standby refuses serializable ones; here a limit is met.
  await server.query('truncate notes');
  for (const ask of [
    (): Promise<Reply> => client.query('insert into notes values (1)'),
    (): Promise<Reply> => client.execute('insert into notes values (1)'),
  ]) {
    t.equal((await client.query('begin isolation level serializable')).status, 'T');
    // Makes the BEGIN fail where it runs: its statement is taken away from under weir.
    const [pool] = [...weir.pooler.pools];
    await other.query('select 1');
    const [lent] = [...(pool?.servers ?? [])];
    await eventually(() => lent?.state.kind === 'idle' || lent?.state.kind === 'shared');
    const body = Buffer.from('begin isolation level serializable\0\0\0', 'latin1');
    const statement = pool?.registry.hold(body, () => {
      throw new Error('it is held');
    });
    t.ok(statement);
    const placed = statement && lent?.channel.statements.place(statement, 0);
    if (placed !== undefined) lent?.channel.statements.confirm(placed);
    const reply = await ask();
    t.match(reply.errors[0], { C: '26000' });
    t.equal(reply.status, 'I', 'and the client knows that it is in none');
    t.equal(await other.value('select count(*) from notes'), '0');
    if (statement !== undefined) lent?.channel.statements.forget(statement);
    t.equal(await client.value('select 1'), '1');
  }
});

t.test('a transaction that is cancelled while it waits for its server has failed', async (t) => {
  const weir = await start(t);
  const [holder, client] = (await connect(t, weir, 2)) as [RawClient, RawClient];
  await server.query('truncate notes');
  await holder.query('begin; select 1');
  for (const end of ['rollback', 'commit', { execute: 'rollback' }] as const) {
    await client.query('begin');
    const asked = client.query('insert into notes values (1)');
    await eventually(() => [...weir.pooler.pools].some((pool) => pool.waiting > 0));
    await client.cancel(weir);
    const reply = await asked;
    t.match(reply.errors[0], { C: '57014' });
    t.equal(reply.status, 'E');
    for (const step of ['insert into notes values (2)', { execute: 'insert into notes values (3)' }] as const) {
      t.match(await take(client, step), { errors: [['ERROR', '25P02']], status: 'E' });
    }
    t.match(await take(client, end), { commands: ['ROLLBACK'], status: 'I' });
  }
  await holder.query('commit');
  t.equal(await client.value('select count(*) from notes'), '0');
});

t.test('in statement pooling BEGIN is refused as ever', async (t) => {
  const weir = await start(t, { pool_mode: 'statement' });
  const [client] = (await connect(t, weir, 1)) as [RawClient];
  client.write(say.query('begin'));
  t.match((await client.fatal()).M, /transaction blocks not allowed/);
});
