// Real drivers and tools through weir, unmodified: pg with its cursor, stream and COPY, postgres.js, Drizzle, Kysely, psql, pgbench.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { drizzle as drizzleOverPg } from 'drizzle-orm/node-postgres';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import { drizzle as drizzleOverPostgresJs } from 'drizzle-orm/postgres-js';
import { sql as drizzleSql, eq } from 'drizzle-orm/sql';
import { Kysely, sql as kyselySql, PostgresDialect } from 'kysely';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import postgresJs from 'postgres';
import t from 'tap';
import { eventually, startPostgres, temporaryDirectory } from '../support/index.js';
import { startWeir, type TestWeir } from '../support/weir.js';

const user = 'app';
const password = "it's a secret";
const poolSize = 3;

const server = await startPostgres({
  sql: [
    `create role app login superuser password 'it''s a secret'`,
    'create table item (id int primary key, name text, amount int not null default 0)',
    "insert into item select n, 'item ' || n, 100 from generate_series(1, 100) n",
  ],
});
t.teardown(() => server.stop());
const weir = await startWeir({ server, weir: { default_pool_size: poolSize }, users: { [user]: password } });
t.teardown(() => weir.stop());
const login = { host: weir.host, port: weir.port, user, password, database: 'postgres' };

/** Sums over the pools of one weir. */
function traffic(of: TestWeir): { queries: number; transactions: number; serverParses: number; clientParses: number } {
  const sum = { queries: 0, transactions: 0, serverParses: 0, clientParses: 0 };
  for (const { traffic: each } of of.pooler.pools) {
    sum.queries += each.queries;
    sum.transactions += each.transactions;
    sum.serverParses += each.serverParses;
    sum.clientParses += each.clientParses;
  }
  return sum;
}

/** Every server is free again: no test leaves one behind for the next. */
async function settled(of: TestWeir = weir): Promise<void> {
  await eventually(() => [...of.pooler.pools].every(({ counts }) => counts.active + counts.tested === 0));
}

async function withClient<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await weir.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
    await settled();
  }
}

t.test('pg: values of every kind go in as parameters and come back', (t) =>
  withClient(async (client) => {
    const values = {
      number: 42,
      words: "naïve 'quoted' \\ text 🐘",
      nothing: null,
      bytes: Buffer.from([0, 1, 2, 255]),
      list: [1, 2, 3],
      json: { a: [1, { b: 'c' }] },
      moment: new Date(Date.UTC(2026, 1, 3, 4, 5, 6, 789)),
      truth: true,
      long: 'x'.repeat(200_000),
    };
    const { rows } = await client.query(
      `select $1::int as number, $2::text as words, $3::text as nothing, $4::bytea as bytes, $5::int[] as list,
              $6::jsonb as json, $7::timestamptz as moment, $8::bool as truth, $9::text as long`,
      Object.values(values),
    );
    t.same(rows, [values]);
    const binary = await client.query({ text: 'select $1::int4 as n', values: [7], rowMode: 'array' });
    t.same(binary.rows, [[7]]);
    const several = (await client.query('select 1 as a; select 2 as b, 3 as c')) as unknown as pg.QueryResult[];
    t.same(
      several.map(({ rows }) => rows),
      [[{ a: 1 }], [{ b: 2, c: 3 }]],
    );
  }),
);

t.test('pg: named statements are parsed once for each client, and once more on each server', async (t) => {
  const clients = await Promise.all(Array.from({ length: 12 }, () => weir.connect()));
  const before = traffic(weir).serverParses;
  const statements = 5;
  const rounds = 20;
  let right = 0;
  await Promise.all(
    clients.map(async (client, c) => {
      for (let round = 0; round < rounds; round++) {
        const n = (c + round) % statements;
        const { rows } = await client.query<{ n: number; m: number }>({
          name: `stmt ${n}`,
          text: `select ${n} as n, $1::int as m`,
          values: [c * 1_000 + round],
        });
        if (rows[0]?.n === n && rows[0].m === c * 1_000 + round) right++;
      }
    }),
  );
  t.equal(right, clients.length * rounds);
  const parses = traffic(weir).serverParses - before;
  // A server's is brought up to date by the first who has parsed it since.
  t.ok(
    parses >= statements && parses <= 2 * statements * clients.length,
    `${parses} parses for ${statements} statements`,
  );
  for (const client of clients)
    await client.query({ name: 'stmt 1', text: 'select 1 as n, $1::int as m', values: [0] });
  const parsedBefore = traffic(weir).serverParses;
  for (let round = 0; round < rounds; round++) {
    await Promise.all(
      clients.map((client) => client.query({ name: 'stmt 1', text: 'select 1 as n, $1::int as m', values: [round] })),
    );
  }
  const more = traffic(weir).serverParses - parsedBefore;
  t.ok(more <= poolSize, `${more} parses when all have it`);

  // The same name for another text is each client's own affair.
  const [one, two] = clients as [pg.Client, pg.Client];
  await one.query({ name: 'mine', text: 'select 1 as n' });
  await two.query({ name: 'mine', text: 'select 2 as n' });
  t.same((await one.query({ name: 'mine', text: 'select 1 as n' })).rows, [{ n: 1 }]);
  t.same((await two.query({ name: 'mine', text: 'select 2 as n' })).rows, [{ n: 2 }]);
  await Promise.all(clients.map((client) => client.end()));
  await settled();
});

t.test('pg: an error leaves the client usable, in every form a query can have', (t) =>
  withClient(async (client) => {
    await t.rejects(client.query('select 1/0'), { code: '22012', message: 'division by zero' });
    await t.rejects(client.query('select 1/$1::int', [0]), { code: '22012' });
    const named = { name: 'divide', text: 'select 10 / $1::int as q' };
    await t.rejects(client.query({ ...named, values: [0] }), { code: '22012' });
    t.same((await client.query({ ...named, values: [5] })).rows, [{ q: 2 }]);
    await t.rejects(client.query('selct 1'), { code: '42601', position: '1' });
    await t.rejects(client.query({ name: 'bad', text: 'select * from nowhere', values: [] }), { code: '42P01' });
    await t.rejects(client.query({ name: 'bad', text: 'select * from nowhere', values: [] }), { code: '42P01' });
    await t.rejects(client.query('select $1::int', ['not a number']), { code: '22P02' });
    t.same((await client.query('select 1 as ok')).rows, [{ ok: 1 }]);
  }),
);

t.test('pg: transactions commit, roll back and fail as a whole', (t) =>
  withClient(async (client) => {
    await client.query('begin');
    await client.query('update item set amount = 1 where id = $1', [1]);
    await client.query('rollback');
    t.same((await client.query('select amount from item where id = 1')).rows, [{ amount: 100 }]);

    await client.query('begin');
    await client.query('update item set amount = 2 where id = 1');
    await t.rejects(client.query('select 1/0'), { code: '22012' });
    await t.rejects(client.query('select 1'), { code: '25P02' });
    const { command } = await client.query('commit');
    t.equal(command, 'ROLLBACK', 'the commit of a failed transaction');

    await client.query('begin');
    await client.query('savepoint here');
    await t.rejects(client.query({ name: 'p', text: 'select 1/0' }), { code: '22012' });
    await client.query('rollback to here');
    await client.query({ name: 'raise', text: 'update item set amount = amount + $1 where id = 1', values: [5] });
    await client.query('commit');
    t.same((await client.query('select amount from item where id = 1')).rows, [{ amount: 105 }]);
    await client.query('update item set amount = 100');
  }),
);

t.test('pg.Pool: forty clients move money over three servers and none is lost', async (t) => {
  const pool = new pg.Pool({ ...login, max: 40 });
  let failed = 0;
  await Promise.all(
    Array.from({ length: 400 }, async (_, n) => {
      const client = await pool.connect();
      try {
        const [from, to] = [1 + (n % 50), 51 + (n % 50)];
        await client.query('begin');
        await client.query('update item set amount = amount - $1 where id = $2', [1, from]);
        await client.query({
          name: 'add',
          text: 'update item set amount = amount + $1 where id = $2',
          values: [1, to],
        });
        await client.query(n % 4 === 0 ? 'rollback' : 'commit');
      } catch {
        failed++;
      } finally {
        client.release();
      }
    }),
  );
  t.equal(failed, 0);
  const { rows } = await pool.query(
    'select sum(amount)::int as all, sum(amount) filter (where id > 50)::int as moved from item',
  );
  t.same(rows, [{ all: 10_000, moved: 5_300 }]);
  t.ok((await server.connectionCount(user)) <= poolSize);
  await pool.query('update item set amount = 100');
  await pool.end();
  await settled();
});

t.test('postgres.js: prepared queries, pipelines, fragments and types', async (t) => {
  const sql = postgresJs({ ...login, max: 4, onnotice: () => {} });
  const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => sql`select ${n}::int as n, ${`t${n}`} as t`));
  t.same(
    answers.map(([row]) => [row?.['n'], row?.['t']]),
    Array.from({ length: 200 }, (_, n) => [n, `t${n}`]),
    'each query of a pipeline gets its own answer',
  );
  const ids = [3, 1, 2];
  t.same(
    (await sql`select id, name from item where id in ${sql(ids)} order by id`).map(({ id }) => id as number),
    [1, 2, 3],
  );
  t.same((await sql`select ${sql.array([1, 2])}::int[] as list, ${sql.json({ a: 1 })}::jsonb as json`)[0], {
    list: [1, 2],
    json: { a: 1 },
  });
  await t.rejects(sql`select 1/${0}::int`, { code: '22012' });
  await t.rejects(sql`select * from nowhere`, { code: '42P01' });
  t.same((await sql`select 1 as ok`)[0], { ok: 1 });
  const unsafe = await sql.unsafe('select 1 as a; select 2 as b');
  t.same([...unsafe], [[{ a: 1 }], [{ b: 2 }]], 'several statements in one simple query');

  const cursorRows: number[] = [];
  await sql`select n from generate_series(1, 1000) n`.cursor(100, (rows) => {
    for (const { n } of rows) cursorRows.push(n as number);
  });
  t.equal(cursorRows.length, 1_000);
  t.equal(cursorRows[999], 1_000);
  let seen = 0;
  for await (const rows of sql`select n from generate_series(1, 1000) n`.cursor(10)) {
    seen += rows.length;
    if (seen >= 50) break;
  }
  t.equal(seen, 50, 'a cursor that is left early');
  t.equal((await sql`select 2 as n`)[0]?.['n'], 2);
  await sql.end();
  await settled();
});

t.test('postgres.js: transactions, savepoints and a mix of failing queries in a pipeline', async (t) => {
  const sql = postgresJs({ ...login, max: 3, onnotice: () => {} });
  const result = await sql.begin(async (tx) => {
    await tx`update item set amount = amount + 1 where id = 7`;
    await tx
      .savepoint(async (inner) => {
        await inner`update item set amount = 0 where id = 7`;
        await inner`select 1/0`;
      })
      .catch(() => {});
    // A pipeline inside a transaction.
    return Promise.all(
      [1, 2, 3].map((n) => tx<{ v: number }[]>`select ${n}::int + amount as v from item where id = 7`),
    );
  });
  t.same(
    result.map((rows) => rows[0]?.v),
    [102, 103, 104],
  );
  await t.rejects(
    sql.begin(async (tx) => {
      await tx`update item set amount = -1 where id = 7`;
      throw new Error('changed my mind');
    }),
    { message: 'changed my mind' },
  );
  t.equal((await sql`select amount from item where id = 7`)[0]?.['amount'], 101);

  const outcomes = await Promise.allSettled(
    Array.from({ length: 60 }, (_, n) => (n % 3 === 0 ? sql`select ${n}::int / 0 as n` : sql`select ${n}::int as n`)),
  );
  const wrong = outcomes.filter((outcome, n) =>
    outcome.status === 'fulfilled' ? outcome.value[0]?.['n'] !== n : n % 3 !== 0 || outcome.reason.code !== '22012',
  );
  t.equal(outcomes.length, 60);
  t.same(wrong, []);
  await sql`update item set amount = 100`;
  await sql.end();
  await settled();
});

t.test('pg-cursor: reads in pieces inside and outside a transaction, and lets go when closed', (t) =>
  withClient(async (client) => {
    for (const inside of [true, false]) {
      if (inside) await client.query('begin');
      const cursor = client.query(new Cursor<{ n: number }>('select n from generate_series(1, $1::int) n', [1_000]));
      let sum = 0;
      for (;;) {
        const rows = await cursor.read(300);
        if (rows.length === 0) break;
        for (const { n } of rows) sum += n;
      }
      t.equal(sum, 500_500);
      await cursor.close();
      if (inside) await client.query('commit');
    }
    const left = client.query(new Cursor('select generate_series(1, 1000000)'));
    t.equal((await left.read(10)).length, 10);
    await left.close();
    t.same((await client.query('select 1 as ok')).rows, [{ ok: 1 }]);
    const failing = client.query(new Cursor('select 1 / (3 - n) from generate_series(1, 5) n'));
    await t.rejects(failing.read(5), { code: '22012' });
    t.same((await client.query('select 2 as ok')).rows, [{ ok: 2 }]);
  }),
);

t.test('pg-query-stream: a hundred thousand rows, and a stream that is destroyed early', (t) =>
  withClient(async (client) => {
    let count = 0;
    let sum = 0;
    const stream = client.query(
      new QueryStream('select n, repeat($1, 50) as t from generate_series(1, 100000) n', ['x'], { batchSize: 1_000 }),
    );
    for await (const row of stream as AsyncIterable<{ n: number; t: string }>) {
      count++;
      sum += row.n;
    }
    t.equal(count, 100_000);
    t.equal(sum, 5_000_050_000);

    const early = client.query(new QueryStream('select generate_series(1, 1000000) as n'));
    for await (const _row of early) break;
    t.same((await client.query('select 1 as ok')).rows, [{ ok: 1 }]);
  }),
);

t.test('pg-copy-streams: both directions, bad data, and a client that stops in the middle', async (t) => {
  await server.query('create table copied (n int, t text)');
  await withClient(async (client) => {
    const lines = 100_000;
    const source = Readable.from(
      (function* () {
        for (let n = 0; n < lines; n += 100) {
          yield Array.from({ length: 100 }, (_, i) => `${n + i}\ttext ${n + i}\n`).join('');
        }
      })(),
    );
    await pipeline(source, client.query(copyFrom('copy copied from stdin')));
    t.same((await client.query('select count(*)::int as n, sum(n)::bigint as s from copied')).rows, [
      { n: lines, s: '4999950000' },
    ]);

    const out = new PassThrough();
    let newlines = 0;
    out.on('data', (chunk: Buffer) => {
      for (const byte of chunk) if (byte === 10) newlines++;
    });
    await pipeline(client.query(copyTo('copy copied to stdout')), out);
    t.equal(newlines, lines);

    const bad = pipeline(
      Readable.from(['1\tok\n', 'one\tnot a number\n']),
      client.query(copyFrom('copy copied from stdin')),
    );
    await t.rejects(bad, { code: '22P02' });
    t.same(
      (await client.query('select count(*)::int as n from copied')).rows,
      [{ n: lines }],
      'nothing of it is there',
    );

    await client.query('begin');
    await pipeline(Readable.from(['-1\tin a transaction\n']), client.query(copyFrom('copy copied from stdin')));
    await client.query('rollback');
    t.same((await client.query('select count(*)::int as n from copied where n < 0')).rows, [{ n: 0 }]);
  });

  const quitter = await weir.connect();
  quitter.on('error', () => {});
  const stream = quitter.query(copyFrom('copy copied from stdin'));
  stream.on('error', () => {});
  stream.write('-5\thalf a copy\n');
  await eventually(() => [...weir.pooler.pools].some(({ counts }) => counts.active === 1));
  (quitter as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  await settled();
  t.same(
    await server.query('select count(*)::int as n from copied where n < 0'),
    [{ n: 0 }],
    'what it sent is not kept',
  );
});

t.test('Drizzle, over pg and over postgres.js', async (t) => {
  const item = pgTable('item', {
    id: integer('id').primaryKey(),
    name: text('name'),
    amount: integer('amount').notNull(),
  });
  const pool = new pg.Pool({ ...login, max: 5 });
  const client = postgresJs({ ...login, max: 5, onnotice: () => {} });
  const overPg = drizzleOverPg(pool);
  const overPostgresJs = drizzleOverPostgresJs(client);

  for (const [name, db, id] of [
    ['pg', overPg, 1_001],
    ['postgres.js', overPostgresJs, 1_002],
  ] as const) {
    await db.insert(item).values({ id, name, amount: 1 });
    await db.transaction(async (tx) => {
      await tx.update(item).set({ amount: 2 }).where(eq(item.id, id));
      await tx
        .transaction(async (inner) => {
          await inner.update(item).set({ amount: 3 }).where(eq(item.id, id));
          inner.rollback();
        })
        .catch(() => {});
    });
    t.same(await db.select().from(item).where(eq(item.id, id)), [{ id, name, amount: 2 }], name);
    await t.rejects(async () => db.insert(item).values({ id, name, amount: 1 }), { cause: { code: '23505' } });
    const byName = db
      .select({ amount: item.amount })
      .from(item)
      .where(eq(item.name, drizzleSql.placeholder('name')))
      .prepare(`by name ${name}`);
    t.same(await Promise.all([byName.execute({ name }), byName.execute({ name: 'item 1' })]), [
      [{ amount: 2 }],
      [{ amount: 100 }],
    ]);
    await db.delete(item).where(eq(item.id, id));
  }
  await pool.end();
  await client.end();
  await settled();
});

t.test('Kysely: queries, a transaction, a stream', async (t) => {
  interface Tables {
    item: { id: number; name: string; amount: number };
  }
  const db = new Kysely<Tables>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ ...login, max: 5 }), cursor: Cursor }),
  });
  t.same(await db.selectFrom('item').select(['id', 'name']).where('id', '<=', 2).orderBy('id').execute(), [
    { id: 1, name: 'item 1' },
    { id: 2, name: 'item 2' },
  ]);
  await t.rejects(
    db.transaction().execute(async (tx) => {
      await tx.updateTable('item').set({ amount: 0 }).execute();
      await kyselySql`select 1/0`.execute(tx);
    }),
    { code: '22012' },
  );
  const inserted = await db
    .transaction()
    .execute((tx) =>
      tx.insertInto('item').values({ id: 2_000, name: 'new', amount: 1 }).returning('id').executeTakeFirstOrThrow(),
    );
  t.same(inserted, { id: 2_000 });
  let streamed = 0;
  for await (const { amount } of db.selectFrom('item').select('amount').where('id', '<=', 100).stream(7))
    streamed += amount;
  t.equal(streamed, 10_000);
  await db.deleteFrom('item').where('id', '=', 2_000).execute();
  await db.destroy();
  await settled();
});

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

async function run(command: string, args: readonly string[], input = ''): Promise<Ran> {
  const child = spawn(command, args, {
    env: { ...process.env, PGPASSWORD: password, LC_ALL: 'C', PSQLRC: '/dev/null' },
  });
  const chunks: { out: Buffer[]; err: Buffer[] } = { out: [], err: [] };
  child.stdout.on('data', (chunk: Buffer) => chunks.out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.err.push(chunk));
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out: Buffer.concat(chunks.out).toString(), err: Buffer.concat(chunks.err).toString() };
}

function missing(command: string): string | false {
  return spawnSync(command, ['--version']).error === undefined ? false : `${command} is not installed`;
}

t.test('psql: describing, scripts, copying both ways, a million rows', { skip: missing('psql') }, async (t) => {
  const directory = temporaryDirectory(t);
  const psql = (input: string): Promise<Ran> =>
    run('psql', ['-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', weir.url(user, password)], input);

  const described = await psql('\\d item\n\\dt\n\\dn+\n\\df pg_catalog.abs\n');
  t.equal(described.err, '');
  t.match(described.out, /^amount\|integer\|\|not null\|0$/m);

  const file = join(directory, 'rows.csv');
  writeFileSync(file, Array.from({ length: 20_000 }, (_, n) => `${n},"name, ${n}"\n`).join(''));
  const copied = await psql(
    `create table loaded (n int, t text);
\\copy loaded from '${file}' csv
select count(*), max(t) from loaded;
\\copy (select * from loaded order by n) to '${file}.out' csv
begin; truncate loaded; rollback;
select count(*) from loaded;
do $$ begin raise notice 'hello from a block'; end $$;
select 1 as a \\gset
select :a + 1;
begin; prepare p as select $1::int * 2; execute p(21); commit;
drop table public.loaded;
`,
  );
  t.equal(copied.code, 0, copied.err);
  t.match(copied.err, /NOTICE: +hello from a block/);
  t.match(copied.out, /20000\|name, 9999/);
  t.match(copied.out, /^42$/m);
  t.equal(readFileSync(`${file}.out`, 'latin1'), readFileSync(file, 'latin1'));

  const large = await psql("select n, repeat('x', 20) from generate_series(1, 1000000) n;\n");
  t.equal(large.code, 0, large.err);
  t.equal(large.out.length, 5_888_896 + 1_000_000 * 22);

  const failed = await run('psql', ['-X', '-c', 'select 1/0', weir.url(user, password)]);
  t.equal(failed.code, 1);
  t.match(failed.err, /division by zero/);
  const refused = await run('psql', ['-X', '-c', 'select 1', weir.url(user, 'wrong')]);
  t.equal(refused.code, 2);
  await settled();
});

t.test('pgbench: sixty clients over five servers, counted exactly', { skip: missing('pgbench') }, async (t) => {
  const benched = await startWeir({ server, weir: { default_pool_size: 5 }, users: { [user]: password } });
  t.teardown(() => benched.stop());
  // The other weir's servers log in as the same user.
  await weir.stop();
  const place = ['-h', benched.host, '-p', String(benched.port), '-U', user];
  const made = await run('pgbench', [...place, '-i', '-q', '-s', '1', 'postgres']);
  t.equal(made.code, 0, made.err);

  const directory = temporaryDirectory(t);
  const scripts = {
    'select-only': '\\set aid random(1, 100000)\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n',
    'tpc-b': `\\set aid random(1, 100000)
\\set bid random(1, 1)
\\set tid random(1, 10)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
`,
  } as const;
  const statements = { 'select-only': 1, 'tpc-b': 7 } as const;

  let most = 0;
  let polling = true;
  const watch = new pg.Client(server.admin);
  await watch.connect();
  const poll = (async (): Promise<void> => {
    while (polling) {
      const { rows } = await watch.query<{ n: number }>(
        "select count(*)::int as n from pg_stat_activity where usename = 'app'",
      );
      most = Math.max(most, rows[0]?.n ?? 0);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  const clients = 60;
  for (const name of ['select-only', 'tpc-b'] as const) {
    const file = join(directory, `${name}.sql`);
    writeFileSync(file, scripts[name]);
    const each = name === 'tpc-b' ? 10 : 100;
    for (const mode of ['simple', 'extended', 'prepared']) {
      const before = traffic(benched);
      const ran = await run('pgbench', [
        ...place,
        '-n',
        '-c',
        '60',
        '-j',
        '2',
        '-t',
        String(each),
        '-M',
        mode,
        '-f',
        file,
        'postgres',
      ]);
      t.equal(ran.code, 0, ran.err);
      t.match(ran.out, new RegExp(`number of transactions actually processed: ${clients * each}/${clients * each}`));
      t.notMatch(ran.out + ran.err, /ERROR|FATAL|aborted/);
      const after = traffic(benched);
      const transactions = after.transactions - before.transactions;
      const queries = after.queries - before.queries;
      if (mode === 'prepared') {
        // Each client prepares each statement once, in a batch of its own when weir has to ask a server for it.
        const prepares = clients * statements[name];
        t.ok(
          transactions >= clients * each && transactions <= clients * each + prepares,
          `${transactions} transactions`,
        );
        t.ok(
          queries >= clients * each * statements[name] && queries <= clients * each * statements[name] + prepares,
          `${queries} queries`,
        );
        const parses = after.serverParses - before.serverParses;
        // A client's own Parse is a Parse, and brings what the servers have up to date where it is used.
        t.ok(parses <= 2 * prepares, `${name}: ${parses} parses on five servers`);
      } else {
        t.equal(transactions, clients * each, `${name} ${mode}: transactions`);
        t.equal(queries, clients * each * statements[name], `${name} ${mode}: queries`);
      }
    }
  }
  polling = false;
  await poll;
  await watch.end();
  t.ok(most >= 2 && most <= 5, `at most ${most} server connections`);
  await settled(benched);
  t.same(
    await server.query(`select count(*)::int as n, sum(delta) = (select sum(abalance) from pgbench_accounts) as balanced,
      sum(delta) = (select sum(bbalance) from pgbench_branches) as branches from pgbench_history`),
    [{ n: clients * 10 * 3, balanced: true, branches: true }],
  );
});
