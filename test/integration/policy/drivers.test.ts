// Every kind of rule means the same by every driver, however it sends its statements, on every PostgreSQL.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import postgresJs from 'postgres';
import t, { type Test } from 'tap';
import { postgresVersions, projectRoot, startPostgres } from '../../support/index.js';
import { startWeir, type TestWeir } from '../../support/weir.js';
import { pythonWith, run, works } from '../habits/rig.js';

const policy = `[policy]
default = "deny"
[[policy.rules]]
name = "no-secrets"
tables = ["public.secrets"]
verdict = "deny"
[[policy.rules]]
name = "cheap"
statements = ["select"]
max_cost = 100000
[[policy.rules]]
name = "few"
statements = ["select"]
max_rows = 5000
[[policy.rules]]
name = "rest"
statements = ["read", "insert", "transaction", "savepoint", "set", "prepare", "execute", "deallocate", "discard"]
verdict = "allow"
[[policy.masks]]
columns = ["public.people.email"]
with = "constant"
value = "hidden"
`;

/** \`{}\` is the place of the value; what comes is the first column of the first row, or a SQLSTATE. */
const cases: readonly (readonly [what: string, sql: string, value: number, expected: string])[] = [
  ['allow', 'select n from items where id = {}', 7, '70'],
  ['allow, another value', 'select n from items where id = {}', 8, '80'],
  ['deny', 'select word from secrets where id = {}', 1, '42501'],
  ['deny by default', 'delete from items where id = {}', 1, '42501'],
  ['max_cost, dear', 'select count(*) from items a, items b, items c where a.id > {}', 1, '53400'],
  ['max_cost, cheap', 'select count(*) from items where id < {}', 10, '9'],
  ['max_rows, few', 'select x from generate_series(1, {}) x', 10, '1'],
  ['max_rows, many', 'select x from generate_series(1, {}) x', 9000, '53400'],
  ['max_rows, few again', 'select x from generate_series(1, {}) x', 11, '1'],
  ['mask', 'select email from people where id = {}', 1, 'hidden'],
  ['insert', 'insert into notes values ({}) returning id', 5, '5'],
  ["the statement's own error", 'select nothing from items where id = {}', 5, '42703'],
];

type Runs = (sql: string, value: number) => Promise<unknown>;

const dollar = (sql: string): string => sql.replace('{}', '$1::int');

async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    return String(await work);
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

async function compare(t: Test, how: string, runs: Runs, around?: (work: () => Promise<void>) => Promise<void>) {
  for (const [what, sql, value, expected] of cases) {
    let found = '';
    const work = async (): Promise<void> => {
      found = await outcome(runs(sql, value));
    };
    await (around === undefined ? work() : around(work));
    t.equal(found, expected, `${how}: ${what}`);
  }
}

const first = ({ rows: [row] }: pg.QueryResult): unknown => Object.values((row ?? {}) as object)[0];

async function tryPg(t: Test, weir: TestWeir): Promise<void> {
  const client = await weir.connect();
  await compare(t, 'pg, simple', async (sql, value) => first(await client.query(sql.replace('{}', String(value)))));
  const unnamed: Runs = async (sql, value) => first(await client.query(dollar(sql), [value]));
  await compare(t, 'pg, unnamed', unnamed);
  await compare(t, 'pg, in a transaction', unnamed, async (work) => {
    await client.query('begin');
    await work();
    await client.query('rollback');
  });
  await compare(t, 'pg, named', async (sql, value) =>
    first(
      await client.query({
        name: `s${cases.findIndex(([, text]) => text === sql)}`,
        text: dollar(sql),
        values: [value],
      }),
    ),
  );
  await client.end();
}

async function tryPostgresJs(t: Test, weir: TestWeir, password: string): Promise<void> {
  for (const prepare of [true, false]) {
    const sql = postgresJs(weir.url('postgres', password), { max: 1, prepare, onnotice: () => {}, fetch_types: false });
    const firstOf = (rows: readonly object[]): unknown => Object.values(rows[0] ?? {})[0];
    const how = `postgres.js, prepare ${prepare}`;
    await compare(t, how, async (text, value) => firstOf(await sql.unsafe(dollar(text), [value], { prepare })));
    await compare(t, `${how}, in a transaction`, async (text, value) =>
      sql.begin(async (inner) => firstOf(await inner.unsafe(dollar(text), [value], { prepare }))),
    );
    await sql.end();
  }
}

/** Drivers that need not be installed tell one line for each case and way: how, what, and what came. */
async function tryProgram(t: Test, command: string, args: readonly string[]): Promise<void> {
  const input = cases.map(([what, sql, value]) => `${what}\t${sql}\t${value}\n`).join('');
  const { code, out, err } = await run(command, args, { input });
  t.equal(code, 0, err);
  const lines = out.trim().split('\n');
  t.ok(lines.length >= 3 * cases.length, `${lines.length} outcomes`);
  for (const line of lines) {
    const [how, what, found] = line.split('\t');
    t.equal(found, cases.find(([name]) => name === what)?.[3], `${how}: ${what}`);
  }
}

const python = pythonWith('psycopg');
const jar = process.env['PGJDBC'] ?? '/usr/share/java/postgresql.jar';
const noJava = !existsSync(jar)
  ? 'pgjdbc is not installed'
  : works('javac', ['-version'])
    ? false
    : 'no JDK is installed';
const beside = (file: string): string => join(projectRoot, 'test', 'integration', 'policy', file);

for (const version of postgresVersions)
  void t.test(`PostgreSQL ${version}`, async (t) => {
    const server = await startPostgres({
      version,
      sql: [
        'create table items (id int primary key, n int)',
        'insert into items select i, i * 10 from generate_series(1, 300) i',
        'create table secrets (id int, word text)',
        'create table notes (id int)',
        'create table people (id int, email text)',
        `insert into people values (1, 'ann@example.org')`,
        'analyze items',
      ],
    });
    t.teardown(() => server.stop());
    for (const pool_mode of ['transaction', 'session'] as const)
      await t.test(`${pool_mode} mode`, async (t) => {
        const { password } = server.admin;
        const weir = await startWeir({ server, policy, users: { postgres: password }, weir: { pool_mode } });
        t.teardown(() => weir.stop());
        await tryPg(t, weir);
        await tryPostgresJs(t, weir, password);
        const url = weir.url('postgres', password);
        await t.test('psycopg', { skip: python === undefined ? 'psycopg 3 is not installed' : false }, (t) =>
          tryProgram(t, python ?? '', ['-B', beside('psycopg-policy.py'), url]),
        );
        await t.test('pgjdbc', { skip: noJava }, (t) => {
          const at = `jdbc:postgresql://${weir.host}:${weir.port}/postgres`;
          return tryProgram(t, 'java', ['-cp', jar, beside('PgjdbcPolicy.java'), at, password]);
        });
      });
  });
