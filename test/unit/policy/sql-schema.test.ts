// A schema from SQL: relations with columns and types, what views are made of, functions, and where names lead.

import t from 'tap';
import { type Schema, schemaOfSql } from '../../../lib/policy/index.js';
import { StatementReader } from '../../../lib/sql/index.js';

const reader = await StatementReader.create();

async function schemaOf(script: string): Promise<Schema> {
  const result = await schemaOfSql(script, reader, 'bob');
  if (!result.ok) throw new Error(`${result.line}: ${result.message}`);
  return result.schema;
}

function columnsOf(schema: Schema, name: string, at = 'public'): unknown {
  return schema.relation(at, name)?.columns?.map((column) => `${column.name} ${column.type}`);
}

void t.test('columns with types as CAST takes them', async (t) => {
  const schema = await schemaOf(`create table t (
    a serial primary key, b varchar(20) not null, c timestamp(3) with time zone, d numeric(10, 2)[], e app.mood, f date,
    g "char", h int[][], i interval day to second(2), j char(3), k bit varying(4), l time, m double precision, n "Odd",
    constraint sane check (a > 0))`);
  t.same(columnsOf(schema, 't'), [
    'a integer',
    'b character varying(20)',
    'c timestamp(3) with time zone',
    'd numeric(10,2)[]',
    'e app.mood',
    'f date',
    'g "char"',
    'h integer[][]',
    'i interval',
    'j character(3)',
    'k bit varying(4)',
    'l time without time zone',
    'm double precision',
    'n "Odd"',
  ]);
});

void t.test('columns from other tables', async (t) => {
  const schema = await schemaOf(`
    create table base (id int, name text);
    create table like_it (x int, like base, y int);
    create table child (extra text) inherits (base);
    create table parted (id int, v text) partition by range (id);
    create table part partition of parted for values from (0) to (1);
    create table later (id int, v text);
    alter table parted attach partition later for values from (1) to (2);
    alter table base add column more text;
    create table made as select * from base;`);
  t.same(columnsOf(schema, 'like_it'), ['x integer', 'id integer', 'name text', 'y integer']);
  t.same(columnsOf(schema, 'child'), ['id integer', 'name text', 'extra text']);
  t.same(columnsOf(schema, 'part'), ['id integer', 'v text']);
  t.same(columnsOf(schema, 'base'), ['id integer', 'name text', 'more text']);
  t.equal(columnsOf(schema, 'made'), undefined);
  const bases = (name: string): unknown => schema.relation('public', name)?.bases;
  t.same(bases('part'), [{ schema: 'public', name: 'parted', when: 'read' }]);
  t.same(bases('later'), [{ schema: 'public', name: 'parted', when: 'read' }]);
  t.same(bases('child'), [{ schema: 'public', name: 'base', when: 'read' }]);
});

void t.test('views, rules, functions and operators', async (t) => {
  const schema = await schemaOf(`
    create table a (id int);
    create table other.b (id int);
    create or replace view v as with c as (select * from a) select * from c join other.b using (id);
    create materialized view m as select * from v;
    create rule r as on insert to a do also insert into other.b values (1);
    create function app.f() returns int language sql as 'select 1';
    create aggregate total (int) (sfunc = int4pl, stype = int);
    create operator ### (rightarg = int, function = app.f);
    create sequence s;`);
  const view = schema.relation('public', 'v');
  t.equal(view?.isView, true);
  t.same(
    view?.bases.map(({ schema: at, name }) => `${at}.${name}`),
    ['public.a', 'other.b'],
  );
  const copy = schema.relation('public', 'm');
  t.ok(copy);
  if (copy !== undefined) {
    t.equal(copy.isView, true);
    t.same(
      schema
        .reached(copy, 'read')
        .map(({ relation }) => relation.name)
        .sort(),
      ['a', 'b', 'v'],
    );
  }
  t.same(schema.relation('public', 'a')?.bases, [{ schema: 'other', name: 'b', when: 'write' }]);
  t.same([...schema.functionSchemas('f')], ['app']);
  t.same([...schema.functionSchemas('total')], ['public']);
  t.equal(schema.hasOperator('###'), true);
  t.ok(schema.relation('public', 's'));
});

void t.test('names without a schema are made where the search path says', async (t) => {
  const schema = await schemaOf('create table x (id int); set search_path = app, public; create table y (id int)');
  t.ok(schema.relation('public', 'x'));
  t.ok(schema.relation('app', 'y'));
  t.equal(schema.searchPath, '"$user", public');
  t.equal(schema.sessionUser, 'bob');
});

void t.test('what cannot be parsed is told with its line', async (t) => {
  const result = await schemaOfSql('create table x (id int);\n\ncreate tabel y (id int);', reader, 'bob');
  t.same(result, { ok: false, line: 3, message: 'syntax error at or near "tabel"' });
});
