// Temporary tables: the server stays with the client that made one until it is gone, and nobody else sees it.

import t from 'tap';
import { type Actor, Ladder, type Scenario } from './rig.js';

const ladder = await Ladder.start(t);
const two = { servers: 2 } as const;

/** Each has a server of its own while there are two: a third client holds the other one. */
async function together(s: Scenario, a: Actor, b: Actor): Promise<boolean> {
  const holder = await s.client('holder');
  await b.serverPid();
  await holder.does('begin; select 1');
  const shared = (await a.serverPid()) === (await b.serverPid());
  await holder.does('commit');
  return shared;
}

ladder.row(
  'CREATE TEMP TABLE: two clients, one name, each its own',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("create temp table mine as select 'of a' as what");
    await s.pinned('temp');
    await b.fails('select what from mine', '42P01');
    await b.does("create temporary table mine as select 'of b' as what");
    await s.pinned('temp', 'temp');
    for (let i = 0; i < 3; i++) {
      await a.gives('select what from mine', 'of a');
      await b.gives('select what from mine', 'of b');
    }
    await a.does('drop table mine');
    await s.pinned('temp');
    await a.fails('select what from mine', '42P01');
    await b.gives('select what from mine', 'of b');
    await b.does('drop table mine');
    await s.pinned();
  },
  two,
);

const kinds: readonly (readonly [make: string, drop: string])[] = [
  ['create temp table x (n int)', 'drop table x'],
  ['create local temporary table x (n int)', 'drop table pg_temp.x'],
  ['create table pg_temp.x (n int)', 'drop table if exists x'],
  ['create temp table x as select 1 as n', 'drop table x'],
  ['create temp table x (n int) on commit delete rows', 'drop table x'],
  ['create temp table x (n serial primary key)', 'drop table x'],
  ['select 1 as n into temp x', 'drop table x'],
  ['select 1 as n into temporary table x', 'drop table x'],
  ['select 1 as n into pg_temp.x', 'discard temp'],
  ['create temp view x as select 1 as n', 'drop view x'],
  ['create view pg_temp.x as select 1 as n', 'discard all'],
  ['create temp sequence x', 'drop sequence x'],
  ['create function pg_temp.x() returns int language sql as $$ select 1 $$', 'drop function pg_temp.x()'],
  ["create type pg_temp.x as enum ('one')", 'drop type pg_temp.x'],
  ['begin; create temp table x (n int); commit', 'begin; drop table x; commit'],
  ['create temp table x (n int); create temp table y (n int); drop table x', 'drop table y'],
  ['set search_path = pg_temp, public; create table x (n int)', 'drop table x; reset search_path'],
];

for (const [make, drop] of kinds) {
  ladder.row(
    `temporary objects: ${make}; the pin ends with ${drop}`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.does(make);
      await s.pinned('temp');
      await b.gives("select to_regclass('pg_temp.x')", null);
      await b.gives("select count(*) from pg_class where relname in ('x', 'y') and pg_table_is_visible(oid)", '0');
      await a.query("select to_regclass('x') is null and to_regclass('y') is null");
      await a.does(drop);
      await s.pinned();
      await a.gives("select to_regclass('x')", null);
      if (s.mode === 'weir') s.t.ok(await together(s, a, b), 'they share a server again');
    },
    two,
  );
}

ladder.row('the pin does not begin: ON COMMIT DROP, ROLLBACK, an error', async (s) => {
  const [a, b] = await s.pair();
  await a.does('begin', 'create temp table x (n int) on commit drop', 'insert into x values (1)');
  await a.gives('select n from x', '1');
  await a.does('commit');
  await b.gives("select to_regclass('x')", null);
  await s.pinned();
  await a.does('begin', 'create temp table x (n int)', 'rollback');
  await b.gives("select to_regclass('x')", null);
  await s.pinned();
  await a.does('begin', 'savepoint one', 'create temp table x (n int)', 'rollback to one', 'commit');
  await b.gives("select to_regclass('x')", null);
  await s.pinned();
  await a.fails('create temp table x as select 1 / 0', '22012');
  await a.query('create temp table x (n int); select 1 / 0');
  await b.gives("select to_regclass('x')", null);
  await a.gives("select to_regclass('x')", null);
  await s.pinned();
  await a.does('create temp table x (n int) on commit drop');
  await s.pinned();
});

ladder.row(
  'the pin does not end where the drop is rolled back',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('create temp table x as select 1 as n', 'begin', 'drop table x', 'rollback');
    await s.pinned('temp');
    await b.gives("select to_regclass('x')", null);
    await a.gives('select n from x', '1');
    await a.does('begin', 'savepoint one', 'drop table x', 'rollback to one', 'commit');
    await a.gives('select n from x', '1');
    await a.does('drop table x');
    await s.pinned();
  },
  two,
);

ladder.row(
  'a temporary table hides a permanent one from its client alone',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("create temp table thing as select 'temporary' as what");
    await b.gives('select what from thing', 'permanent');
    await a.gives('select what from thing', 'temporary');
    await a.does('drop table thing');
    await a.gives('select what from thing', 'permanent');
    await a.does("create temp table thing as select 'temporary' as what");
    await a.end();
    const c = await s.client('c');
    const d = await s.client('d');
    await c.gives('select what from thing', 'permanent');
    await d.gives('select what from thing', 'permanent');
    await b.gives('select what from thing', 'permanent');
  },
  { ...two, setup: ["create table thing as select 'permanent'::text as what", 'grant all on thing to public'] },
);

ladder.row(
  'settings, roles and statements of a pinned client are the same before, during and after',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("set work_mem = '5MB'", "prepare p as select 'before'", 'create temp table x (n int)');
    await b.does("set work_mem = '6MB'");
    await a.shows('work_mem', '5MB');
    await a.does('set enable_sort = off', 'set role reader', "prepare q as select 'during'");
    await a.parse('r', "select 'by protocol'");
    await b.shows('enable_sort', 'on');
    await a.does('reset role', 'drop table x');
    await s.pinned();
    await b.does('begin', 'select 1');
    await a.shows('work_mem', '5MB');
    await a.shows('enable_sort', 'off');
    await a.gives('execute p', 'before');
    await a.gives('execute q', 'during');
    await a.gives('execute r', 'by protocol');
    await b.shows('work_mem', '6MB');
    await b.shows('enable_sort', 'on');
    await b.does('commit');
  },
  two,
);

ladder.row(
  'temporary objects made where nobody looks: DO, a function, EXPLAIN ANALYZE, a prepared statement',
  async (s) => {
    const [a, b] = await s.pair();
    const makes = [
      'do $$ begin create temp table x as select 1 as n; end $$',
      'select make_temp()',
      'explain (analyze, costs off, timing off, summary off) create temp table x as select 1 as n',
      'prepare m as select 1 as n; create temp table x as execute m; deallocate m',
    ];
    for (const make of makes) {
      await a.query(make);
      await b.gives("select to_regclass('pg_temp.x')", null);
      await a.gives('select n from x', '1');
      await b.gives("select to_regclass('x')", null);
      await a.does('drop table x');
      await s.pinned();
    }
  },
  {
    ...two,
    setup: [
      'create function make_temp() returns void language plpgsql as $$ begin create temp table x as select 1 as n; end $$',
    ],
  },
);

ladder.row(
  'a temporary table used by protocol statements and by COPY',
  async (s) => {
    const [a, b] = await s.pair();
    await a.execute('create temp table x (n int)');
    await b.does('select 1');
    await a.parse('add', 'insert into x values ($1)', [23]);
    await b.does('select 1');
    for (const n of ['1', '2', '3']) await a.bind('add', [n]);
    await b.gives("select to_regclass('x')", null);
    await a.gives('select sum(n) from x', '6');
    await a.does('truncate x', 'drop table x');
    s.t.equal((await a.bind('add', ['1'])).errors[0]?.['C'], '42P01', s.where);
  },
  two,
);

ladder.weirRow('a client that leaves with a temporary table leaves none on the server', async (s) => {
  const a = await s.client('a');
  await a.does(
    'create temp table x (n int)',
    'create temp sequence y',
    'create function pg_temp.f() returns int language sql as $$ select 1 $$',
  );
  await s.pinned('temp');
  await a.vanish();
  const b = await s.client('b');
  await b.gives("select to_regclass('pg_temp.x')", null);
  await b.fails('select pg_temp.f()', '42883');
  await s.soon('no temporary relation is left', async () => {
    const rows = await s.admin("select relname from pg_class where relpersistence = 't'");
    return rows.length === 0;
  });
  await s.pinned();
});

ladder.weirRow(
  'a pinned client keeps its one server connection, the others share the rest',
  async (s) => {
    const [a, b] = await s.pair();
    const c = await s.client('c');
    await a.does('create temp table x (n int)');
    const pid = await a.serverPid();
    for (let i = 0; i < 3; i++) {
      const [pidB, pidC] = [await b.serverPid(), await c.serverPid()];
      s.t.not(pidB, pid);
      s.t.equal(pidC, pidB);
      s.t.equal(await a.serverPid(), pid);
    }
  },
  two,
);

ladder.weirRow('where the only server is pinned the others wait until it is free again', async (s) => {
  const [a, b] = await s.pair();
  await a.does('create temp table x (n int)');
  const waiting = b.query('select 1');
  await new Promise((resolve) => setTimeout(resolve, 50));
  s.t.equal(b.raw.untaken, 0);
  await a.does('drop table x');
  s.t.same((await waiting).rows, [['1']]);
});

ladder.probed();
