// What the trail says of each kind of statement, by both protocols, in both modes, alone and in pipelines, on lanes and in COPY.

import t from 'tap';
import { AdminConsole } from '../../../lib/admin/index.js';
import { eventually } from '../../support/index.js';
import { extended, frame, say } from '../../support/raw-client.js';
import { type AuditRecord, server, start, verify } from './rig.js';

/** The members that do not differ from one run to the next, of those that are asked for. */
function shown(records: readonly AuditRecord[], ...members: string[]): unknown[] {
  return records.map((record) => members.map((member) => record[member]));
}

/** The body of a FunctionCall: arguments and result as text. */
function functionCall(oid: number, values: readonly string[]): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(oid);
  head.writeUInt16BE(values.length, 6);
  const all = values.map((value) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(value.length);
    return Buffer.concat([length, Buffer.from(value)]);
  });
  return Buffer.concat([head, ...all, Buffer.alloc(2)]);
}

for (const audit_mode of ['after', 'before'] as const) {
  void t.test(`${audit_mode}: one record a message that runs SQL`, async (t) => {
    await server.query('truncate numbers');
    const weir = await start(t, { audit_mode, audit_parameters: 'full' });
    const client = await weir.client({ parameters: { application_name: 'shop' } });
    await client.query("select word from pairs where id < 3 /*user='ann'*/");
    await client.query("insert into numbers values (1, 'a'), (2, 'b'); delete from numbers where n = 1; select 1");
    await client.query('');
    await client.execute('select word from pairs where id = $1', ['7']);
    await client.query('selec 1');
    await client.execute('select 1 / $1::int', ['0']);
    await client.query('begin');
    await client.query('update numbers set note = null');
    await client.query('commit');
    await client.query('begin');
    await client.query('rollback');
    await client.end();
    await eventually(async () => (await weir.records()).some(({ event }) => event === 'disconnect'));
    const records = await weir.statements();
    t.same(shown(records, 'sql', 'commands', 'rows', 'sqlstate'), [
      ["select word from pairs where id < 3 /*user='ann'*/", 1, 3, undefined],
      ["insert into numbers values (1, 'a'), (2, 'b'); delete from numbers where n = 1; select 1", 3, 4, undefined],
      ['', 0, 0, undefined],
      ['select word from pairs where id = $1', 1, 1, undefined],
      ['selec 1', 0, 0, '42601'],
      ['select 1 / $1::int', 0, 0, '22012'],
      ['begin', 1, 0, undefined],
      ['update numbers set note = null', 1, 1, undefined],
      ['commit', 1, 0, undefined],
      ['begin', 1, 0, undefined],
      ['rollback', 1, 0, undefined],
    ]);
    t.same(shown(records.slice(0, 2), 'kinds', 'tables', 'writes', 'end_user'), [
      [['select'], ['pairs'], undefined, 'ann'],
      [['insert', 'delete', 'select'], ['numbers'], ['numbers'], 'shop'],
    ]);
    t.same(records[3]?.['parameters'], ['7']);
    t.same(
      records.map(({ transaction }) => transaction),
      [1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 8],
    );
    const [first] = records;
    t.match(first, {
      user: 'postgres',
      database: 'postgres',
      role: 'postgres',
      application: 'shop',
      client: /^127\.0\.0\.1:\d+$/,
      shape: /^[0-9a-f]{16}$/,
      verdict: 'allow',
      server: new RegExp(`^127\\.0\\.0\\.1:${server.port}/\\d+$`),
      time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    });
    t.ok(Number(first?.['bytes']) > 60 && Number(first?.['duration_us']) > 0);
    const all = await weir.records();
    t.match(
      all.filter(({ event }) => event === 'connect' || event === 'disconnect'),
      [
        { event: 'connect', user: 'postgres' },
        { event: 'disconnect', reason: 'client close request' },
      ],
    );
    await weir.stop();
    const report = await verify(weir.directory);
    t.ok(report.intact, JSON.stringify(report));
  });

  void t.test(`${audit_mode}: a pipeline with an error in it, and portals by name`, async (t) => {
    const weir = await start(t, { audit_mode, default_pool_size: 1 });
    const client = await weir.client();
    client.write(
      ...extended('select 1'),
      ...extended('select 1 / (id - id) from pairs where id = 1'),
      ...extended('select 2'),
      say.sync(),
      ...extended('select 3'),
      say.sync(),
    );
    await client.reply();
    await client.reply();
    client.write(
      say.query('begin'),
      say.parse({ name: 's', text: 'select generate_series(1, 10)' }),
      say.bind({ portal: 'p', statement: 's' }),
      say.bind({ portal: 'q', statement: 's' }),
      say.execute({ portal: 'p', rows: 4 }),
      say.execute({ portal: 'p', rows: 0 }),
      say.execute({ portal: 'q', rows: 0 }),
      say.sync(),
      say.query('commit'),
    );
    for (let i = 0; i < 3; i++) await client.reply();
    client.write(...extended('selec'), say.sync());
    await client.reply();
    const all = await weir.statements();
    // Where each waits for its record, the error may have come before this one could be sent.
    const behind = all.filter(({ sql }) => sql === 'select 2');
    t.same(shown(behind, 'rows', 'skipped'), audit_mode === 'after' || behind.length > 0 ? [[0, true]] : []);
    const records = all.filter(({ sql }) => sql !== 'select 2');
    t.same(shown(records, 'sql', 'commands', 'rows', 'sqlstate', 'skipped'), [
      ['select 1', 1, 1, undefined, undefined],
      ['select 1 / (id - id) from pairs where id = 1', 0, 0, '22012', undefined],
      ['select 3', 1, 1, undefined, undefined],
      ['begin', 1, 0, undefined, undefined],
      ['select generate_series(1, 10)', 0, 0, undefined, undefined],
      ['select generate_series(1, 10)', 1, 6, undefined, undefined],
      ['select generate_series(1, 10)', 1, 10, undefined, undefined],
      ['commit', 1, 0, undefined, undefined],
      ['selec', 0, 0, '42601', true],
    ]);
    const transactions = new Set(records.slice(-6, -1).map(({ transaction }) => transaction));
    t.equal(transactions.size, 1, 'from begin to commit it is one transaction');
  });

  void t.test(`${audit_mode}: COPY, both ways, and a function call`, async (t) => {
    const weir = await start(t, { audit_mode });
    const client = await weir.client();
    await server.query('truncate numbers');
    client.write(say.query('copy numbers from stdin'));
    await client.until('G');
    client.write(say.copyData(Buffer.from('11\tx\n12\ty\n')), say.copyDone());
    await client.reply();
    await client.query('copy (select * from pairs) to stdout');
    client.write(...extended('copy numbers from stdin'), say.sync());
    await client.until('G');
    client.write(say.copyFail('enough'), say.sync());
    await client.reply();
    const oid = Number(await client.value("select 'pg_catalog.int4pl(int4,int4)'::regprocedure::oid::int"));
    client.write(frame('F', functionCall(oid, ['1', '2'])));
    t.equal((await client.reply()).tags, 'VZ');
    const records = await weir.statements();
    t.same(shown(records.slice(0, 3), 'rows', 'sqlstate'), [
      [2, undefined],
      [100, undefined],
      [0, '57014'],
    ]);
    t.match(records.at(-1), { protocol: 'function', kinds: ['unknown'], commands: 0, rows: 0 });
  });

  void t.test(`${audit_mode}: reads on lanes, and what is sent again`, async (t) => {
    const weir = await start(t, { audit_mode, lane_busy_us: 1_000_000 });
    const clients = await Promise.all(Array.from({ length: 6 }, () => weir.client()));
    const read = 'select word from pairs where id = 5';
    for (let i = 0; i < 6; i++) await clients[0]?.query(read);
    for (let i = 0; i < 20; i++) {
      await Promise.all(clients.map((client, at) => (at % 2 === 0 ? client.query(read) : client.execute(read))));
    }
    const [pool] = [...weir.pooler.pools];
    t.ok((pool?.traffic.lanes.reads ?? 0) > 50, 'most of them went on lanes');
    const records = await weir.statements();
    t.equal(records.length, 126);
    t.ok(records.every(({ rows, sql, server }) => rows === 1 && sql === read && server !== undefined));
  });

  void t.test(`${audit_mode}: the pg driver, prepared statements and a session to itself`, async (t) => {
    for (const pool_mode of ['transaction', 'session'] as const) {
      const weir = await start(t, { audit_mode, pool_mode, audit_parameters: 'redacted' });
      const client = await weir.connect();
      for (let i = 0; i < 3; i++) {
        await client.query({ name: 'read', text: 'select word from pairs where id = $1', values: [i] });
      }
      await client.query('select $1::text', ['x']);
      const refused = client.query({ name: 'bad', text: 'select $1::int', values: ['x'] });
      await t.rejects(refused, { code: '22P02' });
      await client.end();
      const records = await weir.statements();
      t.same(shown(records, 'sql', 'parameters', 'rows', 'sqlstate'), [
        ['select word from pairs where id = $1', [1], 1, undefined],
        ['select word from pairs where id = $1', [1], 1, undefined],
        ['select word from pairs where id = $1', [1], 1, undefined],
        ['select $1::text', [1], 1, undefined],
        ['select $1::int', [1], 0, '22P02'],
      ]);
      await weir.stop();
    }
  });

  void t.test(`${audit_mode}: messages that arrive byte by byte`, async (t) => {
    const weir = await start(t, { audit_mode });
    const client = await weir.client();
    const messages = Buffer.concat([
      say.query('select 1'),
      ...extended('select $1::text', ['abc']),
      say.sync(),
      say.query('begin'),
      say.query('select 2'),
      say.query('commit'),
    ]);
    for (const byte of messages) {
      await client.push(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (let i = 0; i < 5; i++) t.same((await client.reply()).errors, []);
    t.equal((await weir.statements()).length, 5);
  });
}

void t.test('literals do not show in other forms than full', async (t) => {
  for (const audit_sql of ['normalised', 'hash'] as const) {
    const weir = await start(t, { audit_sql });
    const client = await weir.client();
    await client.query("select 'a secret' from pairs where word = 'secret 2'");
    await client.query("selec 'secret 3'");
    const records = await weir.statements();
    t.notMatch(JSON.stringify(records), /secret/);
    if (audit_sql === 'normalised') t.match(records, [{ sql: /from pairs where word/ }, { sql: null }]);
    else t.match(records[0]?.['sql'], /^[0-9a-f]{64}$/);
    await weir.stop();
  }
});

void t.test('which statements are recorded', async (t) => {
  const run = async (...audit_statements: string[]): Promise<unknown[]> => {
    const weir = await start(t, { audit_statements });
    const client = await weir.client();
    await client.query('select 1');
    await client.query('create table defined (n int)');
    await client.query('insert into defined values (1)');
    await client.query('drop table defined');
    client.write(...extended('select 1'), ...extended('insert into numbers values (77)'), say.sync());
    await client.reply();
    await client.query('delete from numbers where n = 77');
    const records = await weir.statements();
    await weir.stop();
    return records.map(({ kinds }) => (kinds as string[])[0]);
  };
  const all = ['select', 'create_table', 'insert', 'drop', 'select', 'insert', 'delete'];
  t.same(await run('all'), all);
  t.same(
    await run('writes'),
    all.filter((kind) => kind !== 'select'),
  );
  t.same(await run('ddl'), ['create_table', 'drop']);
  t.same(await run('denied'), []);
});

void t.test('what weir refuses is a denied statement, by its hazard', async (t) => {
  for (const audit_mode of ['after', 'before'] as const) {
    const weir = await start(t, { audit_mode, audit_statements: ['denied'], 'on_hazard.temp': 'refuse' });
    const client = await weir.client();
    t.equal((await client.query('create temp table x (n int)')).errors[0]?.C, '0A000');
    t.equal((await client.execute('create temp table x (n int)')).errors[0]?.C, '0A000');
    t.equal((await client.query('select 1')).errors.length, 0);
    t.same(shown(await weir.statements(), 'verdict', 'rule', 'sqlstate'), [
      ['deny', 'on_hazard.temp', '0A000'],
      ['deny', 'on_hazard.temp', '0A000'],
    ]);
    await weir.stop();
  }
});

void t.test('who was not let in is recorded', async (t) => {
  const weir = await start(t, { auth_type: 'scram-sha-256' });
  await t.rejects(weir.connect({ password: 'wrong' }));
  await t.rejects(weir.connect({ user: 'nobody', password: 'x' }));
  const refused = (await weir.records()).filter(({ event }) => event === 'refused');
  t.match(refused, [
    { user: 'postgres', database: 'postgres', sqlstate: '28P01', reason: /./ },
    { user: 'nobody', sqlstate: '28P01' },
  ]);
});

void t.test('a reload switches the trail on and off for statements that begin afterwards', async (t) => {
  const weir = await start(t, { audit_statements: [] });
  const client = await weir.client();
  await client.query('select 1');
  const statements = async (audit_statements: string[]): Promise<void> => {
    weir.config = { ...weir.config, weir: { ...weir.config.weir, audit_statements } };
    await weir.pooler.reload();
  };
  await statements(['all']);
  await client.query('select 2');
  await client.query('begin');
  await client.query('select 3');
  await statements([]);
  await client.query('select 4');
  await client.query('commit');
  await statements(['all']);
  await client.query('select 5');
  t.same(
    (await weir.statements()).map(({ sql }) => sql),
    ['select 2', 'begin', 'select 3', 'select 5'],
  );
});

void t.test('the role in force, a changed application, and SHOW AUDIT', async (t) => {
  const weir = await start(t);
  const client = await weir.client();
  await client.query('create role clerk');
  await client.query('set role clerk');
  await client.query("set application_name = 'counter'");
  await client.query('select 1');
  const last = (await weir.statements()).at(-1);
  t.match(last, { role: 'clerk', application: 'counter', end_user: 'counter', user: 'postgres' });
  await client.query('reset role');
  await client.query('drop role clerk');
  weir.pooler.console = new AdminConsole(weir.pooler);
  const console = await weir.client({ database: 'pgbouncer' });
  const { rows } = await console.query('show audit');
  t.match(rows[0], [/^audit\.\d+\.0\.1\.jsonl$/, 'after', 'block']);
});

void t.test('a client that leaves or is cancelled leaves a record of what it asked', async (t) => {
  for (const audit_mode of ['after', 'before'] as const) {
    const weir = await start(t, { audit_mode, default_pool_size: 1 });
    const [cancelled, leaving] = [await weir.client(), await weir.client()];
    const reply = cancelled.query('select pg_sleep(30)');
    await eventually(
      async () =>
        (
          await server.query(
            "select 1 from pg_stat_activity where query like '%sleep(30)' and state = 'active' and pid <> pg_backend_pid()",
          )
        ).length > 0,
    );
    leaving.write(say.query('select 1'));
    await eventually(() => [...weir.pooler.pools].some((pool) => pool.waiting === 1));
    await leaving.vanish();
    await cancelled.cancel(weir);
    t.equal((await reply).errors[0]?.C, '57014');
    await eventually(async () => (await weir.statements()).every((record) => 'duration_us' in record));
    const records = await weir.statements();
    t.match(
      records.find(({ sql }) => sql === 'select pg_sleep(30)'),
      { sqlstate: '57014' },
    );
    t.match(
      records.find(({ sql }) => sql === 'select 1'),
      { skipped: true },
    );
    await weir.stop();
  }
});
