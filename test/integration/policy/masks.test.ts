// What masks make of values of all types: nothing hidden shows, and the type of the column stays.

import t, { type Test } from 'tap';
import type { RawClient } from '../../support/raw-client.js';
import { connectAs, planted, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

/** Values by the type of their column. Of every text, only the first and the last character may show. */
const values: Readonly<Record<string, readonly string[]>> = {
  text: [`'PLANTED@example.org'`, `''`, `'a@example.org,PLANTED@example.org'`, `'Jo <jo@example.org> PLANTED'`],
  'varchar(9)': [`'xPLANTEDx'`],
  'char(12)': [`'xPLANTED'`],
  bpchar: [`'xPLANTED '`],
  name: [`'xPLANTED'`],
  '"char"': [`'P'`],
  'text[]': [`'{PLANTED,b}'`, `'{}'`],
  'varchar(20)[]': [`'{PLANTED}'`],
  'integer[]': [`'{77777}'`],
  'timestamp[]': [`'{2020-02-29}'`],
  smallint: ['-32768', '32767'],
  integer: ['-2147483648', '77777'],
  bigint: ['-9223372036854775808', '9223372036854775807'],
  real: [`'-Infinity'`, `'NaN'`],
  'double precision': [`'Infinity'`, '77777.7'],
  numeric: [`'NaN'`, '77777.7'],
  'numeric(3,1)': ['-99.9', '99.9'],
  date: [`'2020-02-29'`, `'infinity'`, `'4713-01-01 BC'`],
  timestamp: [`'2020-02-29 12:34:56'`, `'-infinity'`],
  'timestamptz(2)': [`'2020-02-29 12:34:56+03'`, `'infinity'`],
  uuid: [`'77777777-7777-7777-7777-777777777777'`],
  json: [`'"PLANTED"'`],
  jsonb: [`'"PLANTED"'`],
  bytea: [`'PLANTED'`],
  boolean: ['true'],
  inet: [`'10.0.0.7'`],
  masks_enum: [`'PLANTED'`],
  masks_domain: [`'PLANTED'`],
  masks_pair: [`'(7,PLANTED)'`],
};

const methods = {
  null: 'with = "null"',
  hash: 'with = "hash"',
  partial: 'with = "partial"\nkeep_first = 1\nkeep_last = 1',
  email: 'with = "email"',
  number: 'with = "number"\nstep = 100',
  date: 'with = "date"\nunit = "month"',
};

const tables = Object.keys(values).map((type, index) => ({ type, table: `masks_${index}` }));

async function prepareTables(t: Test): Promise<void> {
  const alice = await connectAs(t, server, 'alice');
  const statements = [
    `create type masks_enum as enum ('PLANTED')`,
    `create domain masks_domain as text check (value like '%PLANTED%')`,
    'create type masks_pair as (number int, word text)',
    ...tables.map(({ type, table }) => `create table ${table} (hidden ${type})`),
    ...tables.map(
      ({ type, table }) => `insert into ${table} values (${[...(values[type] ?? []), 'null'].join('), (')})`,
    ),
  ];
  for (const sql of statements) t.strictSame((await alice.query(sql)).errors, [], sql);
}

async function connectMasked(t: Test, method: string): Promise<RawClient> {
  const key = `mask_key = "${'k'.repeat(20)}"`;
  const mask = `[[policy.masks]]\nroles = ["analyst"]\ncolumns = ["public.*.hidden"]\n${method}`;
  const weir = await startPoliced(
    t,
    `[policy]\ndefault = "allow"\n${key}\n[policy.roles.analyst]\nusers = ["bob"]\n${mask}\n`,
  );
  return connectAs(t, weir, 'bob');
}

void t.test('masks of all kinds over columns of all types', async (t) => {
  await prepareTables(t);
  const alice = await connectAs(t, server, 'alice');
  for (const [kind, method] of Object.entries(methods)) {
    const bob = await connectMasked(t, method);
    for (const { type, table } of tables) {
      const { rows, errors } = await bob.query(`select hidden, pg_typeof(hidden) from ${table}`);
      t.strictSame(errors, [], `${kind} of ${type}`);
      t.notMatch(JSON.stringify(rows), new RegExp(`${planted}|77777`), `${kind} of ${type}`);
      t.equal(rows.at(-1)?.[0], null, `${kind} of ${type}: NULL stays`);
      t.equal(rows[0]?.[1], await alice.value(`select pg_typeof(hidden) from ${table} limit 1`));
    }
  }
});

void t.test('an e-mail keeps its first letter and its domain only where it is one alone', async (t) => {
  const alice = await connectAs(t, server, 'alice');
  await alice.query('create table addresses (id int, hidden text)');
  const shown = [
    ['jo@example.org', 'j***@example.org'],
    ['jo@sub-1.example.org', 'j***@sub-1.example.org'],
    ['jo@example.org,ann@example.org', '***'],
    ['jo@example.org ann', '***'],
    ['@example.org', '***'],
    ['jo@', '***'],
    ['', '***'],
  ];
  for (const [index, [value]] of shown.entries()) {
    await alice.query(`insert into addresses values (${index}, '${value}')`);
  }
  const bob = await connectMasked(t, methods.email);
  t.strictSame(
    (await bob.query('select hidden from addresses order by id')).rows,
    shown.map(([, masked]) => [masked]),
  );
});

void t.test('the TimeZone of the session does not move where a time is cut', async (t) => {
  const alice = await connectAs(t, server, 'alice');
  await alice.query('create table moments (hidden timestamptz, day date)');
  await alice.query(`insert into moments values ('2020-02-29 12:34:56+00')`);
  const bob = await connectMasked(t, 'with = "date"\nunit = "week"');
  const seen = new Set<string | null>();
  for (const hours of [0, 24, 60, 61, 100, 150, -24, -100]) {
    await bob.query(`set time zone '<here>${hours}'`);
    seen.add(await bob.value('select extract(epoch from hidden)::bigint from moments'));
  }
  t.strictSame([...seen], [String(Date.UTC(2020, 1, 24) / 1_000)]);
});
