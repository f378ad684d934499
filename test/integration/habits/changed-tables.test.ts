// The statement caches of pg and postgres.js while another client changes the tables: what a direct connection gives, or better.

import pg from 'pg';
import postgresJs from 'postgres';
import t from 'tap';
import { startRig, withClients } from './rig.js';

const rig = await startRig(t, {
  postgres: { sql: ['create role tenant_1', 'create role tenant_2', 'grant tenant_1, tenant_2 to app'] },
});

const changes = [
  ['a column is added', 'alter table changing add column more int default 5'],
  ['a column changes its type', "alter table changing alter column n type text using 'text ' || n"],
  ['a column is dropped', 'alter table changing drop column name'],
  [
    'the columns change places',
    'alter table changing drop column id; alter table changing add column id int default 1',
  ],
  [
    'the table is made anew',
    `drop table changing; create table changing (name text, id int, n date);
     insert into changing values ('again', 1, '2026-01-02')`,
  ],
] as const;

async function makeTable(client: pg.Client): Promise<void> {
  await client.query(`drop table if exists changing cascade; create table changing (id int, n int, name text);
    insert into changing values (1, 10, 'one')`);
}

const select = { name: 'all of it', text: 'select * from changing', values: [], rowMode: 'array' };

/** What a query gives: its rows, or the SQLSTATE and text of its error. */
async function outcome(query: Promise<unknown>): Promise<unknown> {
  try {
    const result = (await query) as { rows?: unknown };
    return result.rows ?? result;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code}: ${message}`;
  }
}

for (const place of rig.places) {
  for (const [name, change] of changes) {
    t.test(`pg, ${place.name}: ${name}`, (t) =>
      withClients(place, 3, async (a, b, fresh) => {
        await makeTable(b);
        const before = [[1, 10, 'one']];
        for (const client of [a, b, a]) t.same((await client.query(select)).rows, before);
        await b.query(change);
        const after = (await fresh.query({ text: select.text, rowMode: 'array' })).rows;
        t.notSame(after, before);
        for (const client of [a, b]) {
          const seen = await outcome(client.query(select));
          // pg prepares a name once and does not heal by itself.
          if (place.mode === 'transaction') t.same(seen, after);
          else t.ok(seen === '0A000: cached plan must not change result type' || isSame(seen, after), String(seen));
        }
        // Another name is another statement, also on a direct connection.
        t.same((await a.query({ ...select, name: 'again' })).rows, after);
        t.same((await fresh.query(select)).rows, after, 'whoever prepares it now');
      }),
    );

    t.test(`postgres.js, ${place.name}: ${name}`, (t) =>
      withClients(place, 1, async (other) => {
        await makeTable(other);
        const sql = postgresJs({ ...place.login, max: 1, onnotice: () => {} });
        // It describes a statement once, and reads later rows by that.
        const read = async (): Promise<unknown[][]> =>
          (await sql`select * from changing`.values()).map((row) => [...row]);
        const before = [[1, 10, 'one']];
        for (let n = 0; n < 3; n++) t.same(await read(), before);
        await other.query(change);
        const after = (await other.query({ text: select.text, rowMode: 'array' })).rows;
        for (let n = 0; n < 3; n++) t.same(await read(), after);
        t.same([...(await sql`select ${1}::int as n`.values())], [[1]]);
        await sql.end();
      }),
    );
  }

  t.test(`pg, ${place.name}: many clients of one statement while its table changes again and again`, async (t) => {
    await withClients(place, 5, async (ddl, ...readers) => {
      await makeTable(ddl);
      let wrong = 0;
      let healedByHand = 0;
      let widths = new Set<number>();
      for (let round = 0; round < 8; round++) {
        await ddl.query(`alter table changing add column c${round} int default ${round}`);
        const rows = await Promise.all(
          readers.map(async (reader) => {
            const seen = await outcome(reader.query(select));
            if (Array.isArray(seen)) return (seen[0] as unknown[]).length;
            if (!String(seen).startsWith('0A000')) wrong++;
            healedByHand++;
            const again = await reader.query({ ...select, name: `round ${round}` });
            return (again.rows[0] as unknown[]).length;
          }),
        );
        widths = new Set(rows);
        if (widths.size !== 1 || !widths.has(4 + round)) wrong++;
      }
      t.equal(wrong, 0);
      if (place.mode === 'transaction') t.equal(healedByHand, 0);
    });
  });

  t.test(`pg, ${place.name}: in a transaction the error is PostgreSQL's, and the next transaction is well`, (t) =>
    withClients(place, 2, async (a, b) => {
      await makeTable(b);
      await a.query(select);
      await b.query('alter table changing add column more int default 5');
      await a.query('begin');
      const seen = await outcome(a.query(select));
      t.ok(
        seen === '0A000: cached plan must not change result type' || isSame(seen, [[1, 10, 'one', 5]]),
        String(seen),
      );
      await a.query('rollback');
      await a.query('begin');
      t.same((await a.query({ ...select, name: 'another name' })).rows, [[1, 10, 'one', 5]]);
      await a.query('commit');
    }),
  );

  t.test(`pg, ${place.name}: one text means another table in each client's schema`, (t) =>
    withClients(place, 2, async (a, b) => {
      await a.query(`drop schema if exists s1, s2 cascade; create schema s1; create schema s2;
        create table s1.thing as select 1 as id; create table s2.thing as select 'x' as id, 'named' as name`);
      await a.query('set search_path to s1');
      await b.query('set search_path to s2');
      const all = { name: 'all', text: 'select * from thing', rowMode: 'array' };
      const one = { name: 'one', text: 'select * from thing where id = $1', rowMode: 'array' };
      for (let n = 0; n < 3; n++) {
        t.same((await a.query(all)).rows, [[1]]);
        t.same((await b.query(all)).rows, [['x', 'named']]);
        t.same((await a.query({ ...one, values: [1] })).rows, [[1]]);
        t.same((await b.query({ ...one, values: ['x'] })).rows, [['x', 'named']]);
      }
      // Nothing can be healed in a transaction: here each client needs a statement of its own.
      await b.query('begin');
      t.same((await b.query(all)).rows, [['x', 'named']]);
      await b.query('commit');
      await a.query('begin');
      t.same((await a.query(all)).rows, [[1]]);
      t.same((await a.query({ ...one, values: [1] })).rows, [[1]]);
      await a.query('commit');
    }),
  );

  t.test(`pg, ${place.name}: one text means another table for each role`, (t) =>
    withClients(place, 2, async (a, b) => {
      await a.query(`drop schema if exists tenant_1, tenant_2 cascade; create schema tenant_1; create schema tenant_2;
        create table tenant_1.thing as select 1 as id; create table tenant_2.thing as select 'x' as id, 'named' as name;
        grant all on schema tenant_1 to tenant_1; grant all on tenant_1.thing to tenant_1;
        grant all on schema tenant_2 to tenant_2; grant all on tenant_2.thing to tenant_2`);
      // The search_path of both is `"$user", public`.
      await a.query('set role tenant_1');
      await b.query('set role tenant_2');
      const all = { name: 'all', text: 'select * from thing', rowMode: 'array' };
      for (const [client, rows] of [
        [a, [[1]]],
        [b, [['x', 'named']]],
        [a, [[1]]],
        [b, [['x', 'named']]],
      ] as const) {
        await client.query('begin');
        t.same((await client.query(all)).rows, rows);
        await client.query('commit');
      }
      await a.query('reset role');
      await t.rejects(a.query({ ...all, name: 'other' }), { code: '42P01' });
      await a.query('drop schema tenant_1, tenant_2 cascade');
    }),
  );

  t.test(`pg, ${place.name}: constants are read by the settings of the client that prepared them`, (t) =>
    withClients(place, 2, async (a, b) => {
      await a.query("set timezone to 'Asia/Tokyo'; set datestyle to 'ISO, MDY'");
      await b.query("set timezone to 'America/Lima'; set datestyle to 'ISO, DMY'");
      const moment = {
        name: 'm',
        text: "select extract(epoch from timestamptz '2026-01-01 00:00')::int",
        rowMode: 'array',
      };
      const day = { name: 'd', text: "select ('01/02/2026'::date)::text", rowMode: 'array' };
      for (let n = 0; n < 2; n++) {
        t.same((await a.query(moment)).rows, [[1767193200]]);
        t.same((await b.query(moment)).rows, [[1767243600]]);
        t.same((await a.query(day)).rows, [['2026-01-02']]);
        t.same((await b.query(day)).rows, [['2026-02-01']]);
      }
    }),
  );

  t.test(`pg, ${place.name}: so are texts whose meaning a rarer setting decides`, (t) =>
    withClients(place, 2, async (a, b) => {
      await b.query('set transform_null_equals to on; set array_nulls to off');
      const same = { name: 's', text: 'select null = null as same', rowMode: 'array' };
      const list = { name: 'l', text: "select '{NULL}'::text[] = array['NULL'] as same", rowMode: 'array' };
      t.same((await a.query(same)).rows, [[null]]);
      t.same((await b.query(same)).rows, [[true]]);
      t.same((await a.query(list)).rows, [[false]]);
      t.same((await b.query(list)).rows, [[true]]);
    }),
  );

  t.test(`pg.Pool, ${place.name}: a column is added while twenty clients read and write`, async (t) => {
    await withClients(place, 1, async (ddl) => {
      await ddl.query('drop table if exists busy; create table busy (id serial primary key, n int)');
      const pool = new pg.Pool({ ...place.login, max: 20 });
      const insert = { name: 'insert', text: 'insert into busy (n) values ($1) returning id' };
      const read = { name: 'read', text: 'select id, n from busy where id = $1' };
      let failed = 0;
      const work = Promise.all(
        Array.from({ length: 20 }, async () => {
          for (let n = 0; n < 20; n++) {
            const { rows } = await pool.query<{ id: number }>({ ...insert, values: [n] });
            const seen = await pool.query<{ n: number }>({ ...read, values: [rows[0]?.id] });
            if (seen.rows[0]?.n !== n) failed++;
          }
        }),
      );
      for (let n = 0; n < 5; n++) await ddl.query(`alter table busy add column c${n} int default 0`);
      await work;
      t.equal(failed, 0);
      t.same((await ddl.query('select count(*)::int as n from busy')).rows, [{ n: 400 }]);
      await pool.end();
    });
  });
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
