// Random changes of a small schema, and statements that stand or fall with them. Some fail: both sides then say the same.

import type { Random } from '../../support/random.js';

/** What two sides begin with. */
export const beginning = [
  'drop schema if exists public cascade',
  'drop schema if exists front cascade',
  'create schema public',
  'create schema front',
  "create type mood as enum ('sad', 'ok')",
  'create type pair as (l int, r text)',
  'create domain small as int',
  'create table t0 (a int, b text, c mood)',
  "insert into t0 values (1, 'x', 'ok')",
  'create table t1 (a int, b int)',
  'insert into t1 values (1, 2)',
  'create view v as select a, b from t0',
  'create function f(x int) returns int language sql as $$ select x + 1 $$',
  'create function g(x int) returns text language sql as $$ select $q$int$q$ $$',
  'create function r() returns table (p int, q text) language sql as $$ select 1, $q$r$q$ $$',
] as const;

/** Without the domain: what a column's domain becomes in place of its base type no description shows, and its rows read the same. */
const types = ['int', 'bigint', 'text', 'mood', 'pair', 'numeric(5,2)', 'varchar(7)', 'int[]'] as const;
const columns = ['a', 'b', 'c', 'd'] as const;
const words = ['sad', 'ok', 'glad', 'new'] as const;

/** Under these a name that is resolved anew may come to something else although nothing it meant before has changed. */
export interface Change {
  readonly sql: string;
  /**
   * PostgreSQL itself looks at what this is about only when something else makes it do so: a function beside others of its
   * name, a table before another one on the path, the columns of a value of `pair`. Older statements with it may come to the
   * old or to the new.
   */
  readonly unsettles?: 'g' | 'tables' | 'pair';
}

export function randomChange(random: Random): Change {
  const table = (): string => random.pick(['t0', 't1']);
  const column = (): string => random.pick(columns);
  const type = (): string => random.pick(types);
  // What is made is made in one schema: on another path it would come before what statements meant until now.
  const ofPair = (sql: string): Change => ({ sql, unsettles: 'pair' });
  const plain = (sql: string): Change => ({ sql });
  return random.weighted<() => Change>([
    [6, () => plain(`alter table ${table()} add column ${column()} ${type()}`)],
    [6, () => plain(`alter table ${table()} drop column ${column()} cascade`)],
    [3, () => plain(`alter table ${table()} rename column ${column()} to ${column()}`)],
    [6, () => alterType(table(), column(), type())],
    [3, () => plain(recreate(random, table(), type))],
    [
      2,
      () =>
        plain(
          'alter table public.t0 rename to tx; alter table public.t1 rename to t0; alter table public.tx rename to t1',
        ),
    ],
    [2, () => before(random, table(), type)],
    [2, () => ({ sql: `drop table if exists front.${table()} cascade`, unsettles: 'tables' })],
    [
      4,
      () =>
        plain(`drop view if exists public.v cascade; create view public.v as select ${viewed(random)} from ${table()}`),
    ],
    [2, () => plain(`create or replace view public.v as select ${viewed(random)} from ${table()}`)],
    [3, () => plain(`drop function if exists public.f(int); ${makeF(type())}`)],
    [2, () => plain('create or replace function public.f(x int) returns int language sql as $$ select x + 2 $$')],
    [3, () => ({ sql: makeG(random.pick(['int', 'text', 'bigint', 'small'])), unsettles: 'g' })],
    [
      2,
      () => ({
        sql: `drop function if exists public.g(${random.pick(['int', 'text', 'bigint', 'small'])})`,
        unsettles: 'g',
      }),
    ],
    [3, () => plain(`drop function if exists public.r(); ${makeR(random)}`)],
    [2, () => plain(`alter type mood rename value '${random.pick(words)}' to '${random.pick(words)}'`)],
    [1, () => plain(`alter type mood add value if not exists '${random.pick(words)}'`)],
    [
      2,
      () =>
        plain(
          `drop type if exists public.mood cascade; create type public.mood as enum ('${random.pick(words)}', 'last')`,
        ),
    ],
    [
      2,
      () => ofPair(`alter type pair add attribute ${random.pick(['m', 'n'])} ${random.pick(['int', 'text'])} cascade`),
    ],
    [2, () => ofPair(`alter type pair drop attribute ${random.pick(['l', 'r', 'm', 'n'])} cascade`)],
    [
      1,
      () =>
        ofPair(
          `drop type if exists public.pair cascade; create type public.pair as (l ${random.pick(['int', 'text'])}, r text)`,
        ),
    ],
    [
      2,
      () =>
        plain(
          `drop domain if exists public.small cascade; create domain public.small as ${random.pick(['int', 'text'])}`,
        ),
    ],
    [
      1,
      () => plain(`alter domain small add constraint c${random.below(5)} check (value::text <> '${random.below(3)}')`),
    ],
  ])();
}

function alterType(table: string, column: string, type: string): Change {
  return { sql: `alter table ${table} alter column ${column} type ${type} using null` };
}

function recreate(random: Random, table: string, type: () => string): string {
  const own = columns.filter(() => !random.oneIn(3)).map((name) => `${name} ${type()}`);
  return `drop table if exists public.${table} cascade; create table public.${table} (${own.join(', ')}); insert into public.${table} default values`;
}

function before(random: Random, table: string, type: () => string): Change {
  const sql = random.oneIn(3)
    ? `alter table public.${table} set schema front; create table public.${table} (a ${type()}, b ${type()})`
    : `create table front.${table} (a ${type()}, d ${type()}); insert into front.${table} default values`;
  return { sql, unsettles: 'tables' };
}

function viewed(random: Random): string {
  return random.pick(['*', 'a', 'a, b', '*, 1 as extra', 'b as a', 'a::text as a, b']);
}

function makeF(type: string): string {
  return `create function public.f(x int) returns ${type} language sql as $$ select null::${type} $$`;
}

function makeG(type: string): string {
  return `create function public.g(x ${type}) returns text language sql as $$ select $q$${type}$q$ $$`;
}

function makeR(random: Random): string {
  return random.pick([
    'create function public.r() returns table (p int, q text) language sql as $$ select 1, $q$r$q$ $$',
    'create function public.r() returns table (q text, p int) language sql as $$ select $q$r$q$, 1 $$',
    'create function public.r() returns setof int language sql as $$ select 7 $$',
    'create function public.r() returns text language plpgsql as $$ begin return $q$one$q$; end $$',
  ]);
}

/** A text of a statement, with the values it is bound with. */
export interface Text {
  readonly sql: string;
  readonly values: readonly (string | null)[];
  /** Identifiers of types that the client gives with it. */
  readonly types: readonly number[];
  /** What of it a `Change` may unsettle. */
  readonly about: 'g' | 'tables' | 'pair' | 'other';
}

const int4 = 23;
const text = 25;

export function randomText(random: Random): Text {
  const table = random.pick(['t0', 't1']);
  const value = random.pick(['1', '2', 'x', 'ok', null]);
  const given = random.weighted<readonly number[]>([
    [6, []],
    [1, [int4]],
    [1, [text]],
    [1, [0]],
  ]);
  const of = (about: Text['about'], sql: string): Text => {
    const asks = sql.includes('$1');
    return { sql, values: asks ? [value] : [], types: asks ? given : [], about };
  };
  const tables = (sql: string): Text => of('tables', sql);
  const column = random.pick(columns);
  return random.weighted<() => Text>([
    [8, () => tables(`select * from ${table}`)],
    [2, () => tables(`table ${table}`)],
    [4, () => tables(`select ${column} from ${table}`)],
    [4, () => tables(`select * from ${table} where ${column} = $1`)],
    [2, () => tables(`select count(*) from ${table} where ${column} is not null`)],
    [2, () => tables(`select ${table} from ${table}`)],
    [2, () => tables(`select x.${column}, $1 = x.${random.pick(columns)} as same from ${table} x`)],
    [2, () => tables(`insert into ${table} (${column}) values ($1) returning *`)],
    [2, () => tables(`update ${table} set ${column} = $1 returning ${random.pick(columns)}`)],
    [2, () => tables(`delete from ${table} where ${column} = $1 returning *`)],
    [1, () => tables(`insert into ${table} (${column}) values ($1)`)],
    [2, () => tables(`with w as (select * from ${table}) select w.*, 1 as one from w`)],
    [1, () => tables(`select x.*, y.* from ${table} x, v y`)],
    [1, () => tables(`explain (costs off) select ${column} from ${table}`)],
    [4, () => tables('select * from v')],
    [2, () => tables(`select ${column} from v where ${column} = $1`)],
    [2, () => of('other', 'select f($1)')],
    [2, () => of('other', 'select f(1) as f, 2 as two')],
    [3, () => of('other', 'select * from r()')],
    [2, () => of('other', 'select r()')],
    [3, () => of('g', 'select g($1)')],
    [2, () => of('g', random.pick(["select g('1')", 'select g(1)', 'select g(1::bigint)']))],
    [2, () => of('other', 'select $1::mood')],
    [1, () => of('other', "select 'last'::mood as m, 'ok'::mood as n")],
    [1, () => of('other', "select array['last']::mood[]")],
    [2, () => of('other', 'select $1::small')],
    [1, () => of('pair', 'select ($1::pair).*')],
    [1, () => of('other', 'select null::pair')],
    [1, () => of('other', 'select 1 as one, $1 as two')],
  ])();
}
