// Sequences: currval and lastval answer with the client's own value or not at all, never with another client's.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { type Actor, Ladder, type Scenario } from './rig.js';

const ladder = await Ladder.start(t);
const setup = [
  'create sequence s',
  'create sequence u start 1000',
  'create table item (id serial primary key, name text)',
  'create table log (id int generated always as identity, what text)',
  'grant all on all tables in schema public to public',
  'grant all on all sequences in schema public to public',
];

/** Its own value, or 55000 as in a session that never asked for one; another client's value never. */
async function ownOrNone(s: Scenario, client: Actor, sql: string, own: string | null | undefined): Promise<void> {
  const { rows, errors } = await client.query(sql);
  const cell = errors[0]?.['C'] ?? rows[0]?.[0];
  s.t.ok(cell === own || cell === '55000', `${client.name}: ${sql} gave ${cell}, its own is ${own}`);
}

const next = async (client: Actor, sql = "select nextval('s')"): Promise<string | null | undefined> =>
  (await client.query(sql)).rows[0]?.[0];

ladder.row(
  'nextval and currval in one transaction, one Query, one pipeline',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('begin', "select nextval('s')");
    await a.gives("select currval('s')", '1');
    await a.gives('select lastval()', '1');
    await a.does('commit');
    await b.query("select nextval('s'); select currval('s'), lastval()");
    await a.query("insert into item (name) values ('x'); select currval('item_id_seq'); select lastval()");
    await b.does('begin', "insert into item (name) values ('y')");
    await b.gives("select currval(pg_get_serial_sequence('item', 'id'))", '2');
    await b.gives('insert into item (id, name) values (currval($$item_id_seq$$) + 10, $$z$$) returning id', '12');
    await b.does('rollback');
    await a.does('begin', "select setval('s', 50)");
    await a.gives("select currval('s')", '50');
    await a.gives("select nextval('s')", '51');
    await a.does('commit');
  },
  { setup, servers: 2 },
);

ladder.row(
  'nobody else s value is shown in the middle of a pipeline, nor beside one s own',
  async (s) => {
    const [a, b] = await s.pair();
    const asked = (sql: string): Uint8Array[] => [say.parse({ text: sql }), say.bind(), say.execute()];
    await a.does("select nextval('s')");
    const mid = [...asked('select 1'), ...asked("select currval('s')"), ...asked('select 2'), say.sync()];
    const { errors } = await b.messages('in a pipeline', ...mid);
    s.t.equal(errors[0]?.['C'], '55000', s.where);
    await b.query('select 1');
    const own = [...asked('select 1'), ...asked("select nextval('u')"), ...asked('select lastval()'), say.sync()];
    s.t.same((await b.messages('its own', ...own)).rows, [['1'], ['1000'], ['1000']], s.where);
    await b.fails("select currval('s')", '55000');
    await b.end();
    // A pipeline that fails before anything is forgotten.
    const c = await s.client('c');
    await c.messages('fails', say.parse({ text: 'select 1/0' }), say.bind(), say.execute(), ...mid);
    await c.fails("select currval('s')", '55000');
  },
  { setup },
);

ladder.row(
  'a COMMIT that EXECUTE runs in a pipeline finds no statement of weir s before it',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("select nextval('s')");
    const executed = [say.parse({ text: 'execute ending' }), say.bind(), say.execute()];
    const pipeline = [say.parse({ name: 'ending', text: 'commit' }), say.bind({ statement: 'ending' }), ...executed];
    const { errors, rows } = await b.messages('twice', ...pipeline, ...executed, say.sync());
    s.t.same([errors, rows], [[], []], s.where);
    await b.fails("select currval('s')", '55000');
  },
  { setup, servers: 1 },
);

ladder.row(
  'who wrote, and took no value by it, is not shown another client s',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("select nextval('s')");
    await b.does("insert into plain values ('x')");
    await b.fails('select lastval()', '55000');
    await a.does("select nextval('s')");
    await b.does("insert into plain values ('x')");
    await b.fails("select currval('s')", '55000');
  },
  { setup: [...setup, 'create table plain (name text)', 'grant all on plain to public'] },
);

ladder.row(
  'what an error has kept from running has taken no value',
  async (s) => {
    const [a, b] = await s.pair();
    const part = (text: string): Uint8Array[] => [say.parse({ text }), say.bind(), say.execute()];
    const failing = [...part('select 1/0'), ...part('do $$ begin perform 1; end $$'), say.sync()];
    await a.does("select nextval('s')");
    await b.does('begin', 'savepoint x');
    await b.messages('fails', ...failing);
    await b.does('rollback to x');
    await b.fails('select lastval()', '55000');
    await b.does('rollback', 'begin', 'select 1');
    await b.messages('fails', ...failing);
    await b.does('rollback', 'do $$ begin perform 1; end $$');
    await b.fails('select lastval()', '55000');
  },
  { setup },
);

ladder.row(
  'who never called nextval gets 55000, whatever others did',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("select nextval('s')", "insert into item (name) values ('x')");
    await b.fails("select currval('s')", '55000');
    await b.fails('select lastval()', '55000');
    await b.fails("select currval('item_id_seq')", '55000');
    await a.does('begin', "select nextval('s')", 'commit');
    await b.fails("select currval('s')", '55000');
    await b.fails("insert into item values (currval('s'), 'y')", '55000');
    await a.does("do $$ begin perform nextval('s'); end $$");
    await b.fails("select currval('s')", '55000');
    await b.fails('select lastval()', '55000');
  },
  { setup, servers: 2 },
);

ladder.weirRow(
  'on a server where another client called nextval, the first currval of all gives 55000',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does("select nextval('s')");
    await b.fails("select currval('s')", '55000');
    await b.fails('select lastval()', '55000');
    await a.does('select 1');
  },
  // A weir of its own: nobody has called currval in it.
  { setup, weir: { query_wait_timeout: 6 } },
);

ladder.weirRow(
  'currval after another client s nextval is one s own or none, also the first time',
  async (s) => {
    const [a, b] = await s.pair();
    for (let round = 0; round < 4; round++) {
      const own = await next(a);
      const other = await next(b);
      await ownOrNone(s, a, "select currval('s')", own);
      await ownOrNone(s, b, "select currval('s')", other);
      await ownOrNone(s, a, 'select lastval()', own);
    }
  },
  { setup, servers: 2 },
);

ladder.weirRow(
  'a client that calls currval keeps the server from its nextval on',
  async (s) => {
    const [a, b] = await s.pair();
    const first = await next(a);
    await ownOrNone(s, a, "select currval('s')", first);
    for (let round = 0; round < 3; round++) {
      const own = await next(a);
      await next(b);
      await a.gives("select currval('s')", own ?? '');
      await next(b);
      await a.gives("select currval('s')", own ?? '');
      s.t.ok((await s.weir.pins()).length >= 1, 'a is pinned');
    }
    await s.pinned('sequence');
  },
  { setup, servers: 2 },
);

ladder.weirRow(
  'a client that calls lastval keeps the server from its INSERT on',
  async (s) => {
    const [a, b] = await s.pair();
    const insert = "insert into item (name) values ('x')";
    const insertIdentity = "insert into log (what) values ('x')";
    await a.does(insert);
    await a.query('select lastval()');
    let id = 1;
    for (const table of ['item', 'item', 'log', 'log']) {
      await a.does(table === 'item' ? insert : insertIdentity);
      const own = await s.admin(`select last_value::text as last from ${table}_id_seq`);
      await b.does(table === 'item' ? insert : insertIdentity, "select nextval('u')");
      await a.gives('select lastval()', String(own[0]?.['last']));
      id++;
    }
    s.t.equal(id, 5);
  },
  { setup, servers: 2 },
);

ladder.weirRow(
  'clients that never call currval or lastval are not pinned by nextval',
  async (s) => {
    const [a, b] = await s.pair();
    for (let i = 0; i < 3; i++) {
      await next(a);
      await next(b);
      await a.does("insert into item (name) values ('x')");
    }
    await s.pinned();
  },
  { setup },
);

ladder.row(
  'values are unique and rise for each client, with CACHE as well',
  async (s) => {
    const [a, b] = await s.pair();
    for (const client of [a, b]) {
      const seen: number[] = [];
      for (let i = 0; i < 5; i++) seen.push(Number(await client.peek("select nextval('cached')")));
      s.t.same(
        seen,
        [...new Set(seen)].sort((x, y) => x - y),
        s.where,
      );
    }
    await a.gives('select count(*) from cached where last_value >= 1', '1');
  },
  { servers: 2, setup: ['create sequence cached cache 10', 'grant all on sequence cached to public'] },
);

ladder.row(
  'DISCARD SEQUENCES and DISCARD ALL forget one s own only',
  async (s) => {
    const [a, b] = await s.pair();
    for (const discard of ['discard sequences', 'discard all']) {
      await a.does("select nextval('s')", discard);
      await a.fails("select currval('s')", '55000');
      await a.fails('select lastval()', '55000');
      await b.does('begin', "select nextval('u')");
      await b.query("select currval('u')");
      await b.does('commit');
    }
  },
  { setup, servers: 2 },
);

ladder.row(
  'nextval survives ROLLBACK, and so does currval inside the next transaction',
  async (s) => {
    const [a, b] = await s.pair();
    await a.query("begin; select nextval('s'); rollback; select currval('s')");
    await b.fails("select currval('s')", '55000');
    await a.query(
      "begin; select nextval('s'); savepoint one; select nextval('s'); rollback to one; select currval('s'); commit",
    );
    await b.fails('select lastval()', '55000');
  },
  { setup, servers: 2 },
);

ladder.row(
  'a client that leaves takes its values with it',
  async (s) => {
    const [a, b] = await s.pair();
    await a.query("select nextval('s'); select currval('s')");
    await a.vanish();
    await b.fails("select currval('s')", '55000');
    await b.fails('select lastval()', '55000');
  },
  { setup, servers: 2 },
);

/** A client of an application that weir has not seen yet. */
const newcomer = (s: Scenario, name: string): Promise<Actor> =>
  s.client(name, { parameters: { application_name: `${name} of ${s.t.name}`.slice(0, 60) } });

/** Newcomers, and as many servers that nobody has used for anything. */
async function apart<const N extends readonly string[]>(s: Scenario, ...names: N): Promise<{ [I in keyof N]: Actor }> {
  const clients: Actor[] = [];
  for (const name of names) clients.push(await newcomer(s, name));
  for (const client of clients) await client.does('begin', 'select 1');
  for (const client of clients) await client.does('commit');
  return clients as { [I in keyof N]: Actor };
}

/** Takes a server that is free, and keeps it. */
const hold = (client: Actor): Promise<void> => client.does('begin', `create temp table zz_${client.name} (a int)`);

for (const [how, insert] of [
  ['INSERT', "insert into item (name) values ('x') returning id"],
  ['nextval', "select nextval('item_id_seq')"],
  ['INSERT in a transaction', "begin; insert into item (name) values ('x') returning id; commit"],
] as const) {
  for (const protocol of how === 'INSERT in a transaction' ? ['simple'] : ['simple', 'extended']) {
    ladder.row(
      `lastval and currval are the newest after ${how} while servers are held and let go, by the ${protocol} protocol`,
      async (s) => {
        const ask = (client: Actor, sql: string): Promise<unknown> =>
          protocol === 'simple' ? client.query(sql) : client.execute(sql);
        const [a, h, h2] = await apart(s, 'a', 'h', 'h2', 'unused');
        await ask(a, insert);
        await hold(h);
        await ask(a, insert);
        await hold(h2);
        await h.does('rollback');
        for (let i = 0; i < 2; i++) {
          await ask(a, 'select lastval()');
          await ask(a, "select currval('item_id_seq')");
        }
      },
      { setup, servers: 20 },
    );
  }
}

ladder.weirRow(
  'an older value of one s own is never shown, however few servers there are',
  async (s) => {
    for (let round = 0; round < 3; round++) {
      const [a, b, h, h2] = [
        await newcomer(s, `a${round}`),
        await newcomer(s, `b${round}`),
        await newcomer(s, `h${round}`),
        await newcomer(s, `i${round}`),
      ];
      await a.does("insert into item (name) values ('x')");
      await hold(h);
      const own = await next(a, "insert into item (name) values ('x') returning id");
      const other = await next(b, "select nextval('u')");
      await h.does('rollback');
      await hold(h2);
      await ownOrNone(s, a, 'select lastval()', own);
      await ownOrNone(s, a, "select currval('item_id_seq')", own);
      await ownOrNone(s, b, 'select lastval()', other);
      await ownOrNone(s, a, "select currval('item_id_seq')", own);
      for (const actor of [a, b, h, h2]) await actor.end();
    }
  },
  { setup, servers: 2 },
);

ladder.row(
  'who has called nextval finds its value as often as it asks, whoever holds a server meanwhile',
  async (s) => {
    const [a, h] = await apart(s, 'a', 'h');
    await a.does("select nextval('s')");
    await hold(h);
    for (let i = 0; i < 3; i++) await a.gives("select currval('s')", '1');
    await a.gives('select lastval()', '1');
  },
  { setup, servers: 20 },
);

ladder.row(
  'a client that keeps its server keeps its values there, of temporary sequences as well',
  async (s) => {
    const b = await newcomer(s, 'b');
    for (let round = 0; round < 3; round++) {
      await b.does("select nextval('s')");
      const a = await newcomer(s, `a${round}`);
      await a.does('create temp sequence ts', "select g, nextval('ts') from generate_series(1, 3) g");
      await b.does('begin', 'select 1');
      await a.gives("select currval('ts')", '3');
      await a.gives('select lastval()', '3');
      await b.does('commit');
      await a.gives("select currval('ts')", '3');
      await a.end();
    }
  },
  { setup, servers: 2 },
);

const hidden = [
  ...setup,
  'create table tagged (x int default nextval($$s$$), who text, z int default currval($$s$$))',
  'create table plain (who text, z int)',
  'create view newest as select lastval() as z',
  'create view counting as select nextval($$s$$) as z',
  'create function newest() returns bigint language sql as $$ select lastval() $$',
  'create function note() returns trigger language plpgsql as $$ begin new.z := currval($q$s$q$); return new; end $$',
  'create table noted (who text, z int)',
  'create trigger note before insert on noted for each row execute function note()',
  'create domain recent as bigint check (value <= lastval())',
  'create table ruled (who text, z int)',
  'create rule more as on insert to ruled do also insert into plain values (new.who, lastval()::int)',
  'create table guarded (who text, z int)',
  'insert into guarded values ($$one$$, 1)',
  'alter table guarded enable row level security',
  'create policy recent on guarded using (lastval() > 0)',
  'create procedure remember(out z bigint) language plpgsql as $$ begin z := lastval(); end $$',
  'grant all on all tables in schema public to public',
  'grant all on all sequences in schema public to public',
];

/** Each asks in its own way what the session remembers, or stores it; the last statement gives it. */
const hiddenReads: readonly (readonly [what: string, ...statements: string[]])[] = [
  ['a default', "insert into tagged (x, who) values (100, 'a') returning z"],
  ['a trigger', "insert into noted values ('a') returning z"],
  ['a view', 'select z from newest'],
  ['a function', 'select newest()'],
  ['a domain', 'select 0::recent, lastval()'],
  ['a rule', "insert into ruled values ('a', 0)", 'select max(z) from plain'],
  ['a policy', 'select z, lastval() from guarded'],
  ['a call', 'call remember(null)'],
  ['a block', 'do $$ begin insert into plain values ($q$a$q$, lastval()); end $$', 'select max(z) from plain'],
  ['a prepared statement', 'prepare p as select lastval()', 'execute p', 'deallocate p'],
  ['COPY', 'copy (insert into plain values ($$a$$, lastval()) returning z) to stdout', 'select max(z) from plain'],
  ['a WITH', "with w as (insert into tagged (x, who) values (100, 'a') returning z) select z from w"],
  ['UPDATE', 'insert into plain values ($$a$$, 0)', 'update plain set z = lastval() returning z'],
  ['EXPLAIN', 'explain analyze insert into tagged (x) values (1)', 'select max(z) from tagged where x = 1'],
];

ladder.row(
  'what defaults, triggers, views, functions and the like read of sequences is one s own, with a server to spare',
  async (s) => {
    const [a, b] = await apart(s, 'a', 'b');
    await a.does("select nextval('s')");
    await b.does("select nextval('s')", "select nextval('s')");
    for (const [, ...statements] of hiddenReads) {
      for (const sql of statements) if (!sql.startsWith('explain')) await a.query(sql);
      await b.gives('select lastval()', '3');
    }
  },
  { setup: hidden, servers: 2 },
);

for (const take of [
  "select nextval('s')",
  "insert into tagged (who) values ('b')",
  'select z from counting',
  "do $$ begin perform nextval('s'); end $$",
]) {
  ladder.weirRow(
    `what they read is never another client s, who has taken it by ${take}`,
    async (s) => {
      const b = await newcomer(s, 'b');
      for (const [what, ...statements] of hiddenReads) {
        const a = await newcomer(s, what);
        await a.query("select nextval('u')");
        await b.query(take);
        await s.admin('update plain set z = null');
        await s.admin('truncate tagged');
        for (const sql of statements) {
          const { rows, errors } = await a.query(sql);
          const cell = errors[0]?.['C'] ?? rows[0]?.at(-1);
          const none = cell === undefined || cell === null || cell === '0' || cell === '25P02';
          const own = cell === '55000' || Number(cell) >= 1000 || String(cell).startsWith('Insert on');
          s.t.ok(none || own, `${sql} gave ${cell}`);
        }
        await a.end();
      }
    },
    { setup: hidden, servers: 1 },
  );
}

ladder.weirRow(
  'a table that is made anew beside weir, as a view or with a default, shows nothing of another client s',
  async (s) => {
    const [a, b] = [await newcomer(s, 'a'), await newcomer(s, 'b')];
    await s.admin('create table fresh (z int)');
    await s.admin('grant all on fresh to public');
    for (const client of [a, b]) await client.does('insert into fresh values (0)', 'select z from fresh');
    await s.admin('alter table fresh add y int');
    await s.admin('alter table fresh alter y set default currval($$s$$)');
    await b.does("select nextval('s')");
    await a.fails('insert into fresh (z) values (1) returning y', '55000');
    await s.admin('drop table fresh');
    await s.admin('create view fresh as select lastval() as z');
    await s.admin('grant all on fresh to public');
    await b.does("select nextval('s')");
    await a.fails('select z from fresh', '55000');
  },
  { setup, servers: 1 },
);

ladder.row(
  'a value of the same lease is found in a transaction, whatever the server remembered before',
  async (s) => {
    const [a, b] = [await newcomer(s, 'a'), await newcomer(s, 'b')];
    for (const begin of ['begin', 'begin isolation level serializable', 'begin read write']) {
      await b.does("select nextval('s')");
      await a.does(begin, "insert into item (name) values ('x')");
      await a.query('select lastval()');
      await a.query("select currval('item_id_seq')");
      await a.does('commit', 'discard sequences');
      await b.does("select nextval('s')");
      await a.does(begin);
      await a.execute("insert into item (name) values ('x')");
      await a.execute('select lastval()');
      await a.execute('select lastval()');
      await a.does('savepoint one');
      await a.query("select nextval('u')");
      await a.fails('select 1/0', '22012');
      await a.does('rollback to one');
      await a.execute('select lastval()');
      await a.does('rollback', 'discard sequences');
    }
    await b.does("select nextval('s')");
    const part = (text: string): Uint8Array[] => [
      say.parse({ text }),
      say.bind(),
      say.describe({ type: 'P' }),
      say.execute(),
    ];
    await a.messages(
      'a pipeline',
      ...part("insert into item (name) values ('x')"),
      ...part('select lastval()'),
      say.sync(),
    );
    await a.does('discard sequences');
    await b.does("select nextval('s')");
    await a.query("insert into item (name) values ('x'); select lastval()");
  },
  { setup, servers: 1 },
);

ladder.weirRow(
  'several batches sent at once: a discard that an error has skipped is made up for before the next one reads',
  async (s) => {
    const b = await newcomer(s, 'b');
    const part = (text: string): Uint8Array[] => [say.parse({ text }), say.bind(), say.execute()];
    for (let round = 0; round < 2; round++) {
      let a = await newcomer(s, `a${round}`);
      await b.does("select nextval('s')");
      const failing = [...part('select 1/0'), ...part("insert into item (name) values ('x')"), say.sync()];
      a.raw.write(...failing, ...part('select lastval()'), say.sync(), say.query('select lastval()'));
      s.t.equal((await a.read('fails')).errors[0]?.['C'], '22012');
      s.t.equal((await a.read('asks')).errors[0]?.['C'], '55000');
      s.t.equal((await a.read('asks again')).errors[0]?.['C'], '55000');
      await a.end();

      a = await newcomer(s, `c${round}`);
      await b.does("select nextval('s')");
      a.raw.write(
        say.query('begin; select 1/0'),
        say.query('rollback; select lastval()'),
        say.query('select lastval()'),
      );
      s.t.equal((await a.read('fails')).errors[0]?.['C'], '22012');
      for (const label of ['ends and asks', 'asks']) {
        const code = (await a.read(label)).errors[0]?.['C'] ?? 'none';
        s.t.ok(['55000', '25P02'].includes(code), `${label}: ${code}`);
      }
      await a.end();

      a = await newcomer(s, `d${round}`);
      await b.does("select nextval('s')");
      await a.query('begin; select 1/0');
      const mixed = await a.query('rollback; select lastval()');
      s.t.ok(['55000', '25P02'].includes(mixed.errors[0]?.['C'] ?? ''), 'one Query with the ROLLBACK');
      s.t.same(mixed.rows, []);
      await a.does('rollback');
      await a.fails('select lastval()', '55000');
      await a.end();
    }
  },
  { setup, servers: 1 },
);

ladder.row(
  'what DISCARD SEQUENCES forgets is forgotten on every server',
  async (s) => {
    const [a, h] = await apart(s, 'a', 'h');
    for (const discard of ['discard sequences', 'discard all']) {
      await a.does("select nextval('s')");
      await hold(h);
      await a.does(discard);
      await a.fails("select currval('s')", '55000');
      await h.does('rollback');
      for (let i = 0; i < 3; i++) await a.fails('select lastval()', '55000');
    }
  },
  { setup, servers: 3 },
);

ladder.row(
  'setval, identity, TRUNCATE ... RESTART IDENTITY and savepoints, with somebody else on another server',
  async (s) => {
    const [a, b] = await apart(s, 'a', 'b');
    const steps = [
      "select setval('s', 41)",
      "select currval('s')",
      'select lastval()',
      "select nextval('s')",
      'select lastval()',
      "select setval('s', 7, false)",
      "select currval('s')",
      "insert into log (what) values ('x') returning id",
      'select lastval()',
      'truncate log restart identity',
      'select lastval()',
      "insert into log (what) values ('y') returning id",
      "select currval(pg_get_serial_sequence('log', 'id'))",
      "begin; savepoint one; insert into log (what) values ('z'); rollback to one; commit",
      'select lastval()',
      "insert into nowhere values ('z')",
      'select lastval()',
      'alter table log alter id restart with 100',
      "insert into log (what) values ('z')",
      'select lastval()',
    ];
    for (const sql of steps) {
      await a.query(sql);
      await b.does("select nextval('u')");
    }
    await b.gives('select lastval()', String(1000 + steps.length - 1));
  },
  { setup: [...setup, 'alter table log owner to app'], servers: 2 },
);

ladder.weirRow(
  'values are kept from others also behind RELOAD and a reset query of the operator s',
  async (s) => {
    const [a, b] = [await newcomer(s, 'a'), await newcomer(s, 'b')];
    await b.does("select nextval('s')");
    await a.fails('select lastval()', '55000');
    await b.does("select nextval('s')");
    await s.weir.weir.pooler.reload();
    await a.fails("select currval('s')", '55000');
  },
  { setup, servers: 1, weir: { server_reset_query: 'RESET work_mem', server_reset_query_always: true } },
);

ladder.probed();

t.test("operators, casts and domains of one's own may read and take values unseen", async (t) => {
  const l = await Ladder.start(t);
  const setup = [
    'create sequence hidden',
    'grant all on sequence hidden to app',
    'create function shown(int, int) returns bigint language sql as $$ select lastval() $$',
    'create operator === (leftarg = int, rightarg = int, function = shown)',
    'create type wrapped as (x bigint)',
    'create function wrap(int) returns wrapped language sql as $$ select row(lastval())::wrapped $$',
    'create cast (int as wrapped) with function wrap(int)',
    'create domain watched as int check (lastval() > value)',
  ];
  for (const text of [
    'select 1 === 2',
    'select 1::wrapped',
    'select 0::watched',
    'values (1 === 2)',
    'show search_path; select 1 === 2',
  ]) {
    l.weirRow(
      text,
      async (s) => {
        const [a, b] = await s.pair();
        await a.query("select nextval('hidden')");
        s.t.equal((await b.query(text)).errors[0]?.['C'], '55000', 'not the value of another client');
      },
      { servers: 1, setup },
    );
  }
});
