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

ladder.probed();
