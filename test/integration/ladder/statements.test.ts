// Prepared statements: the protocol's and SQL's are one store for each client, and each client has its own.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { type Actor, Ladder } from './rig.js';

const ladder = await Ladder.start(t);
const thing = ["create table thing as select 1 as id, 'one'::text as name", 'alter table thing owner to app'];
const int4 = 23;
const names = 'select name from pg_prepared_statements order by name collate "C"';

/** Says which statements a client has. */
async function has(s: { t: Tap; where: string }, client: Actor, ...wanted: string[]): Promise<void> {
  const { rows } = await client.query(names);
  s.t.same(rows.flat(), wanted, `${client.name} has ${wanted.join(' ') || 'none'} ${s.where}`);
}

type Tap = { same(found: unknown, wanted: unknown, message: string): unknown };

ladder.row('PREPARE and EXECUTE: same name, different texts', async (s) => {
  const [a, b] = await s.pair();
  await a.does("prepare p as select 'of a'");
  await b.does("prepare p as select 'of b'");
  for (let i = 0; i < 3; i++) {
    await a.gives('execute p', 'of a');
    await b.gives('execute p', 'of b');
  }
  await a.does('deallocate p');
  await b.gives('execute p', 'of b');
  await a.fails('execute p', '26000');
  await a.does('prepare p(int, text) as select $1 + 1, $2');
  await b.gives('execute p', 'of b');
  await a.gives("execute p(1 + 1, 'x')", '3');
  await a.fails('execute p(1)', '42601');
  await a.fails("execute p('one', 'x')", '22P02');
  await b.query('execute p(1)');
});

ladder.row('PREPARE, then protocol Describe and Bind', async (s) => {
  const [a, b] = await s.pair();
  await a.does('prepare p(int) as select $1 * 2 as twice');
  await b.does('prepare p(int) as select $1 * 3 as thrice');
  await a.describe('p');
  await b.describe('p');
  const first = await a.bind('p', ['21']);
  const second = await b.bind('p', ['21']);
  s.t.same([first.rows, second.rows], [[['42']], [['63']]], s.where);
  s.t.same([first.columns, second.columns], [['twice'], ['thrice']], s.where);
  await a.close('p');
  await a.fails('execute p(1)', '26000');
  await b.gives('execute p(1)', '3');
});

ladder.row('protocol Parse, then SQL EXECUTE', async (s) => {
  const [a, b] = await s.pair();
  await a.parse('p', 'select $1 || $$ of a$$', [25]);
  await b.parse('p', 'select $1 || $$ of b$$', [25]);
  await a.gives("execute p('x')", 'x of a');
  await b.gives("execute p('x')", 'x of b');
  await a.gives("execute p('y')", 'y of a');
  await a.does('deallocate p');
  const gone = await a.bind('p', ['x']);
  s.t.equal(gone.errors[0]?.['C'], '26000');
  s.t.same((await b.bind('p', ['z'])).rows, [['z of b']]);
});

ladder.row('42P05: a name is taken, by PREPARE or by Parse, whichever comes second', async (s) => {
  const [a, b] = await s.pair();
  await a.does('prepare sql_made as select 1');
  await a.parse('parsed', 'select 2');
  await b.does('select 1');
  await a.fails('prepare sql_made as select 3', '42P05');
  await b.does('select 1');
  await a.fails('prepare parsed as select 3', '42P05');
  for (const name of ['sql_made', 'parsed']) {
    const { errors } = await a.parse(name, 'select 3');
    s.t.equal(errors[0]?.['C'], '42P05', s.where);
    await b.does('select 1');
  }
  await a.gives('execute sql_made', '1');
  await a.gives('execute parsed', '2');
  await b.does('prepare sql_made as select 4');
  await b.gives('execute sql_made', '4');
});

ladder.row('26000: a statement that is not there, asked for in every way', async (s) => {
  const [a, b] = await s.pair();
  await b.does('prepare theirs as select 1');
  await b.parse('parsed', 'select 1');
  for (const name of ['theirs', 'parsed', 'nowhere']) {
    await a.fails(`execute ${name}`, '26000');
    await a.fails(`deallocate ${name}`, '26000');
    await a.fails(`explain execute ${name}`, '26000');
    s.t.equal((await a.bind(name)).errors[0]?.['C'], '26000', s.where);
    s.t.equal((await a.describe(name)).errors[0]?.['C'], '26000', s.where);
    s.t.same((await a.close(name)).errors, [], s.where);
  }
  await b.gives('execute theirs', '1');
  await b.gives('execute parsed', '1');
});

ladder.row('DEALLOCATE ALL, DISCARD ALL and DISCARD PLANS touch the client s own only', async (s) => {
  const [a, b] = await s.pair();
  for (const all of ['deallocate all', 'discard all', 'deallocate prepare all']) {
    for (const client of [a, b]) {
      await client.does(`prepare made as select '${client.name}'`);
      await client.parse('parsed', `select '${client.name}'`);
    }
    await a.does(all);
    await b.gives('execute made', 'b');
    s.t.same((await b.bind('parsed')).rows, [['b']], s.where);
    await a.fails('execute made', '26000');
    s.t.equal((await a.bind('parsed')).errors[0]?.['C'], '26000', s.where);
    await a.does("prepare made as select 'again'", 'discard plans');
    await b.gives('execute parsed', 'b');
    await a.gives('execute made', 'again');
    await b.does('deallocate made', 'deallocate parsed');
    await a.does('deallocate made');
  }
});

ladder.row('pg_prepared_statements shows a client its own names', async (s) => {
  const [a, b] = await s.pair();
  await has(s, a);
  await a.does('prepare one as select 1', 'prepare "Two Words" as select 2');
  await a.parse('three', 'select 3');
  await b.parse('theirs', 'select 4');
  await has(s, a, 'Two Words', 'one', 'three');
  await has(s, b, 'theirs');
  await a.close('one');
  await has(s, a, 'Two Words', 'three');
  await a.does('deallocate all');
  await has(s, a);
  await has(s, b, 'theirs');
});

ladder.row('statements are not transactional: made and dropped in what is rolled back', async (s) => {
  const [a, b] = await s.pair();
  await a.does('begin', 'prepare p as select 1', 'rollback');
  await b.does('select 1');
  await a.gives('execute p', '1');
  await a.does('begin', 'deallocate p', 'rollback');
  await b.does('select 1');
  await a.fails('execute p', '26000');
  await a.does('begin', 'prepare q as select 2');
  await a.fails('select 1 / 0', '22012');
  await a.does('rollback');
  await a.gives('execute q', '2');
  await a.fails('prepare bad as select no_such_column', '42703');
  await a.fails('execute bad', '26000');
  await a.parse('bad', 'select no_such_column');
  await a.query('prepare r as select 3; select 1 / 0; prepare never as select 4');
  await b.does('select 1');
  await a.gives('execute r', '3');
  await a.fails('execute never', '26000');
});

ladder.row('a pipeline with an error: what was prepared before it stays, what comes behind never was', async (s) => {
  const [a, b] = await s.pair();
  await a.messages(
    'parse, fail, parse',
    say.parse({ name: 'before', text: 'select 1' }),
    say.parse({ text: 'select 1 / 0' }),
    say.bind({}),
    say.execute(),
    say.parse({ name: 'behind', text: 'select 2' }),
    say.close({ type: 'S', name: 'before' }),
    say.sync(),
  );
  await b.does('select 1');
  await a.gives('execute before', '1');
  await a.fails('execute behind', '26000');
});

ladder.row('several statements in one Query, and EXECUTE inside other statements', async (s) => {
  const [a, b] = await s.pair();
  await a.query("prepare p(int) as select $1; execute p(1); execute p(2); deallocate p; prepare p as select 'last'");
  await b.query("prepare p as select 'other'");
  await a.gives('execute p', 'last');
  await a.does('create table made as execute p');
  await b.gives('select * from made', 'last');
  await a.does('explain (costs off) execute p', 'drop table made');
  await b.gives('execute p', 'other');
  await a.does('begin', 'execute p', 'savepoint one', 'execute p', 'rollback to one', 'execute p', 'commit');
  await a.execute('execute p');
  await a.execute("prepare by_protocol as select 'by protocol'");
  await b.does('select 1');
  await a.gives('execute by_protocol', 'by protocol');
});

ladder.row('names: folded, quoted, long, odd', async (s) => {
  const [a, b] = await s.pair();
  await a.does("prepare Folded as select 'folded'", 'prepare "Folded" as select \'quoted\'');
  await b.does('select 1');
  s.t.same((await a.bind('folded')).rows, [['folded']], s.where);
  s.t.same((await a.bind('Folded')).rows, [['quoted']], s.where);
  await a.gives('execute FOLDED', 'folded');
  await a.gives('execute "Folded"', 'quoted');
  const long = 'n'.repeat(70);
  await a.query(`prepare ${long} as select 'long'`);
  await b.does('select 1');
  s.t.same((await a.bind(long.slice(0, 63))).rows, [['long']], s.where);
  await a.query(`execute ${long}`);
  for (const odd of ['with space', 'quo"te', "it's", '\u00e9\u4e2d', 'weir_1', '$1']) {
    await a.parse(odd, `select 1`);
    await b.does('select 1');
    s.t.same((await a.bind(odd)).rows, [['1']], s.where);
    await a.gives(`execute "${odd.replaceAll('"', '""')}"`, '1');
    await a.does(`deallocate "${odd.replaceAll('"', '""')}"`);
  }
});

ladder.row('unnamed statements: kept over another client s work, gone with the next Parse or Query', async (s) => {
  const [a, b] = await s.pair();
  await a.parse('', "select 'of a'");
  await b.parse('', "select 'of b'");
  s.t.same((await a.bind('')).rows, [['of a']], s.where);
  s.t.same((await b.bind('')).rows, [['of b']], s.where);
  s.t.same((await a.bind('')).rows, [['of a']], s.where);
  await a.execute('deallocate all');
  await b.query('select 1');
  s.t.equal((await b.bind('')).errors[0]?.['C'], '26000', s.where);
});

ladder.row('every kind of statement: types, no rows, RETURNING, many parameters', async (s) => {
  const [a, b] = await s.pair();
  await a.does('create table item (id int primary key, name text)');
  await a.does(
    'prepare ins(int, text) as insert into item values ($1, $2) returning id, name',
    'prepare upd as update item set name = $1',
  );
  await a.parse('del', 'delete from item where id = $1', [int4]);
  await b.parse('ins', 'select count(*) from item');
  await a.gives("execute ins(1, 'one')", '1');
  s.t.same((await b.bind('ins')).rows, [['1']], s.where);
  await a.bind('ins', ['2', 'two']);
  await a.query("execute upd('both')");
  await b.does('select 1');
  await a.query('execute del(1)');
  await a.bind('del', ['2']);
  s.t.same((await b.bind('ins')).rows, [['0']], s.where);
  await a.does('prepare vals as values (1), (2)', 'execute vals');
  await a.describe('upd');
  await a.describe('ins');
});

ladder.row(
  'a statement is planned again for the settings of the moment',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('set search_path = one', 'prepare p as select what from place');
    await b.does('set search_path = two', 'prepare p as select what from place');
    await a.gives('execute p', 'one');
    await b.gives('execute p', 'two');
    await a.does('set search_path = two');
    await a.gives('execute p', 'two');
    await b.does('set search_path = one');
    await b.gives('execute p', 'one');
    await a.parse('d', "select '01/02/2024'::date::text");
    await a.does("set datestyle = 'SQL, DMY'");
    await a.bind('d');
    await b.parse('d', "select '01/02/2024'::date::text");
    await b.bind('d');
    await a.bind('d');
  },
  {
    setup: ['one', 'two'].flatMap((name) => [
      `drop schema if exists ${name} cascade`,
      `create schema ${name} authorization app`,
      `create table ${name}.place as select '${name}'::text as what`,
      `grant all on ${name}.place to public`,
    ]),
  },
);

const changes = [
  'alter table thing add column extra int default 7',
  'alter table thing drop column extra',
  'alter table thing alter column name type varchar(20)',
  'drop table thing; create table thing as select 2 as id, 3 as name',
];

ladder.weirRow(
  '0A000: a protocol statement works on after another client s ALTER TABLE',
  async (s) => {
    const [a, b] = await s.pair();
    await a.parse('p', 'select * from thing');
    await b.parse('q', 'select * from thing');
    s.t.same((await a.bind('p')).columns, ['id', 'name']);
    s.t.same((await b.bind('q')).columns, ['id', 'name']);
    for (const change of changes) {
      await b.does(change);
      const wanted = (await b.query('select * from thing')).columns;
      for (const [client, name] of [
        [a, 'p'],
        [b, 'q'],
        [a, 'p'],
      ] as const) {
        const outcome = await client.bind(name);
        s.t.same(outcome.errors, [], change);
        s.t.same(outcome.columns, wanted, change);
        s.t.equal(outcome.tags, '2TDCZ');
      }
    }
  },
  { setup: thing },
);

ladder.weirRow(
  '0A000: an administrator s ALTER TABLE on a connection of his own',
  async (s) => {
    const [a] = await s.pair();
    await a.parse('p', 'select * from thing where id = $1', [int4]);
    await a.bind('p', ['1']);
    for (const change of changes.slice(0, 3)) {
      await s.admin(change);
      const outcome = await a.bind('p', ['1']);
      s.t.same(outcome.errors, [], change);
      s.t.equal(outcome.rows.length, 1);
    }
  },
  { setup: thing },
);

ladder.row(
  '0A000: in a transaction the error is shown',
  async (s) => {
    const [a, b] = await s.pair();
    await a.parse('p', 'select * from thing');
    await a.bind('p');
    await b.does('alter table thing add column extra int');
    await a.does('begin');
    const inside = await a.bind('p');
    s.t.equal(inside.errors[0]?.['C'], '0A000', s.where);
    s.t.equal(inside.status, 'E', s.where);
    await a.does('rollback');
  },
  { setup: thing },
);

ladder.weirRow(
  '0A000: after the transaction that showed the error the statement works on',
  async (s) => {
    const [a, b] = await s.pair();
    await a.parse('p', 'select * from thing');
    await a.bind('p');
    await b.does('alter table thing add column extra int');
    await a.does('begin');
    await a.bind('p');
    await a.does('rollback');
    const outcome = await a.bind('p');
    s.t.same([outcome.errors, outcome.columns], [[], ['id', 'name', 'extra']]);
    await b.does('alter table thing drop column extra');
    const twice = [
      say.bind({ statement: 'p' }),
      say.execute(),
      say.bind({ statement: 'p' }),
      say.execute(),
      say.sync(),
    ];
    // Whoever does not ask for the columns remembers them, and would read the new rows by the old ones.
    const told = await a.messages('two in a pipeline', ...twice);
    s.t.same(
      told.errors.map((error) => error['C']),
      ['0A000'],
    );
    // Each time, until it asks for them.
    const again = await a.messages('two in a pipeline', ...twice);
    s.t.equal(again.errors[0]?.['C'], '0A000');
    await a.bind('p');
    const pipelined = await a.messages('two in a pipeline', ...twice);
    s.t.same(pipelined.rows, [
      ['1', 'one'],
      ['1', 'one'],
    ]);
  },
  { setup: thing },
);

ladder.weirRow(
  '0A000: a changing statement is not run twice',
  async (s) => {
    const [a, b] = await s.pair();
    await a.parse('p', 'insert into thing values (2) returning *');
    await a.bind('p');
    await b.does('alter table thing add column extra int');
    const outcome = await a.bind('p');
    s.t.same([outcome.errors, outcome.rows.length], [[], 1]);
    await b.gives('select count(*) from thing', '3');
  },
  { setup: ['create table thing as select 1 as id', 'alter table thing owner to app'] },
);

ladder.weirRow('statements of both kinds survive the loss of the server', async (s) => {
  const [a, b] = await s.pair();
  await a.does("prepare made(int) as select $1 || ' made'");
  await a.parse('parsed', 'select 2');
  await b.does("prepare made as select 'of b'");
  await s.killServers();
  await b.gives('execute made', 'of b');
  await a.gives('execute made(1)', '1 made');
  s.t.same((await a.bind('parsed')).rows, [['2']]);
  await has(s, a, 'made', 'parsed');
});

ladder.row('a client that leaves takes its statements with it', async (s) => {
  const [a, b] = await s.pair();
  await a.does('prepare p as select 1');
  await a.parse('q', 'select 2');
  await a.vanish();
  await has(s, b);
  await b.fails('execute p', '26000');
  await b.does("prepare p as select 'new'");
  await b.gives('execute p', 'new');
});

ladder.row(
  'many statements by many clients over one server',
  async (s) => {
    const clients = await Promise.all(['a', 'b', 'c'].map((name) => s.client(name)));
    for (let i = 0; i < 40; i++)
      for (const client of clients) {
        if (i % 2 === 0) await client.query(`prepare s${i} as select '${client.name}${i}'`);
        else await client.parse(`s${i}`, `select '${client.name}${i}'`);
      }
    for (let i = 39; i >= 0; i--)
      for (const client of clients) {
        if (i % 3 === 0) await client.gives(`execute s${i}`, `${client.name}${i}`);
        else s.t.same((await client.bind(`s${i}`)).rows, [[`${client.name}${i}`]], s.where);
      }
  },
  { weir: { max_prepared_statements: 10 } },
);

ladder.row('of two PREPAREs of one name in one Query the first one counts', async (s) => {
  const [a, b] = await s.pair();
  await a.query("prepare p as select 'first'; prepare p(int) as select $1");
  await b.query('select 1');
  s.t.same((await a.bind('p')).rows, [['first']], s.where);
  await a.query("prepare q as select 1; deallocate q; prepare q as select 'last'");
  await b.query('select 1');
  await a.gives('execute q', 'last');
  await a.query("prepare r as select 'r'; select 1/0; deallocate r; prepare r as select 'never'");
  await a.gives('execute r', 'r');
});

ladder.row('an EXECUTE without a name is described by what its statement is now', async (s) => {
  const [a] = await s.pair();
  await a.does('prepare p(int) as select $1 as n');
  await a.parse('', 'execute p(1)');
  await a.describe('');
  await a.close('p');
  await a.describe('');
});

ladder.row('EXECUTE of a statement whose table is gone, or not in search_path, says so', async (s) => {
  const [a, b] = await s.pair();
  await a.does('create temp table gone(v text)');
  await a.parse('p', 'select v from gone');
  await a.does('prepare q as select v from gone', 'drop table gone');
  await b.does('prepare p as select 1', 'prepare q as select 1');
  await a.fails('execute p', '42P01');
  await b.gives('execute p', '1');
  // Where in the text it was prepared with.
  await a.fails('execute q', '42P01');
  await a.messages('executed', say.parse({ text: 'execute p' }), say.bind(), say.execute(), say.sync());
  await a.does('begin');
  await a.fails('execute p', '42P01');
  await a.does('rollback');
  await b.gives('execute q', '1');
});

ladder.row('a statement whose table is gone does no harm to a transaction that does not use it', async (s) => {
  const [a, b] = await s.pair();
  await a.does('create temp table gone(v text)', 'prepare p as select v from gone', 'drop table gone');
  await a.does("prepare q as select 'q'");
  await b.does('prepare p as select 1', 'prepare q as select 1');
  await a.does('begin', "do $$ begin execute 'set work_mem = ''3MB'''; execute 'execute q'; end $$");
  await a.shows('work_mem', '3MB');
  await a.does('commit');
  await b.gives('execute q', '1');
  await a.fails('execute p', '42P01');
});

ladder.row('DISCARD ALL that fails, or never runs, takes no statement away', async (s) => {
  const [a, b] = await s.pair();
  await a.parse('p', 'select 1');
  for (const never of [
    () => a.fails('discard all', '25001'),
    () => a.messages('bound', say.parse({ text: 'DISCARD ALL' }), say.bind(), say.sync()),
  ]) {
    await a.does('begin', 'prepare q as select 2');
    await never();
    await a.query('commit');
    await b.query('select 1');
    s.t.same((await a.bind('q')).rows, [['2']], s.where);
    await a.gives('execute p', '1');
    await a.does('deallocate q');
  }
});

ladder.row('DEALLOCATE, then an error and what nobody can read', async (s) => {
  const [a] = await s.pair();
  await a.parse('p', 'select 1');
  await a.does('begin', 'deallocate p');
  await a.query('end $$');
  await a.query('commit');
  await a.parse('p', 'select 2');
  await a.gives('execute p', '2');
});

ladder.row('a failed transaction, ended in the same write: names are the client s own', async (s) => {
  const [a, b] = await s.pair();
  await a.does("prepare p as select 'of a'");
  await b.does("prepare p as select 'of b'");
  for (const client of [a, b]) {
    await client.does('begin');
    await client.query('select 1/0');
    const ends = [say.parse({ text: 'rollback' }), say.bind(), say.execute()];
    const uses = [say.parse({ text: 'execute p' }), say.bind(), say.execute(), say.sync()];
    s.t.same((await client.messages('in one batch', ...ends, ...uses)).rows, [[`of ${client.name}`]], s.where);
  }
  await a.does('deallocate p', 'begin');
  await a.query('select 1/0');
  await a.query("rollback; prepare p as select 'new'");
  await b.gives('execute p', 'of b');
  await a.gives('execute p', 'new');
});

ladder.weirRow('behind a ROLLBACK in one Query no other client s statement is found', async (s) => {
  const [a, b] = await s.pair();
  await a.does("prepare p as select 'of a'");
  await b.does("prepare p as select 'of b'");
  await a.gives('execute p', 'of a');
  await b.does('begin');
  await b.query('select 1/0');
  const { rows } = await b.query(`rollback; ${names}; execute p`);
  s.t.notOk(rows.flat().includes('of a'), 'not the other one s');
  await b.query('rollback');
  await b.gives('execute p', 'of b');
});

ladder.row('a PREPARE that was skipped leaves the name free, whatever it stands for with others', async (s) => {
  const [a, b] = await s.pair();
  await b.does("prepare p as select 'of b'", 'execute p');
  await a.does('begin');
  await a.messages(
    'skipped',
    ...[say.parse({ text: 'execute missing' }), say.bind(), say.execute()],
    ...[say.parse({ text: "prepare p as select 'of a'" }), say.bind(), say.execute(), say.sync()],
  );
  await a.query('rollback and chain');
  const used = [
    say.parse({ name: 'p', text: "select 'new'" }),
    say.bind({ statement: 'p' }),
    say.execute(),
    say.sync(),
  ];
  s.t.same((await a.messages('parsed', ...used)).rows, [['new']], s.where);
  await a.does('commit');
  await b.gives('execute p', 'of b');
});

ladder.row('a name that PREPARE was refused stands for what it did', async (s) => {
  const [a, b] = await s.pair();
  await b.does("prepare p as select 'of b' || $1::text");
  await a.messages('prepared', say.parse({ name: 'p', text: "select 'of a' || $1::text" }), say.sync());
  await a.does('begin');
  await a.query('prepare p as select 2');
  await a.query('rollback and chain');
  const used = [say.bind({ statement: 'p', values: ['!'] }), say.execute(), say.sync()];
  s.t.same((await a.messages('bound', ...used)).rows, [['of a!']], s.where);
  await a.does('rollback');
  await b.gives("execute p ('?')", 'of b?');
});

ladder.row(
  'a statement that cannot be prepared any more fails when it is executed, not when EXECUTE is parsed',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('create table gone(v text)');
    await a.parse('p', 'select v from gone');
    await b.does('drop table gone');
    await a.does('begin', 'select 1');
    const parts = [say.parse({ text: 'execute p' }), say.bind(), say.execute(), say.sync()];
    s.t.equal((await a.messages('executed', ...parts)).tags, '12EZ', s.where);
    await a.does('rollback');
  },
);

ladder.row('a DEALLOCATE that a failed transaction skips leaves the name as it is', async (s) => {
  const [a, b] = await s.pair();
  await b.does("prepare p as select 'of b'");
  for (const name of ['p', 'q']) {
    await a.parse(name, "select 'of a'");
    await a.does('begin');
    await a.query('select 1/0');
    await a.query(`deallocate ${name}`);
    const ended = [say.parse({ text: 'commit' }), say.bind(), say.execute()];
    const used = [say.bind({ statement: name }), say.execute(), say.sync()];
    s.t.same((await a.messages('used', ...ended, ...used)).rows, [['of a']], s.where);
  }
  await b.gives('execute p', 'of b');
});

ladder.row('the unnamed statement outlives an error of its execution', async (s) => {
  const [a] = await s.pair();
  await a.does('begin');
  await a.messages('fails', say.parse({ text: 'release a' }), say.bind(), say.execute(), say.sync());
  await a.messages('described', say.describe({ type: 'S' }), say.sync());
  await a.does('rollback');
});

ladder.row(
  'what a client has set for the moment, when it prepares a text, is not for others with the same text',
  async (s) => {
    const [a, b] = await s.pair();
    const nulls = 'select count(*) from (select null::int as a) t where a = null';
    await b.parse('s', nulls);
    await b.gives('execute s', '0');
    await a.does('begin', 'set local transform_null_equals = on');
    await a.parse('s', nulls);
    await a.gives('execute s', '1');
    await a.does('commit');
    await b.gives('execute s', '0');
    await a.does(`begin; select set_config('transform_null_equals', 'on', true); prepare q as ${nulls}`, 'commit');
    await b.does(`prepare q as ${nulls}`);
    await b.gives('execute q', '0');
  },
);

ladder.row('a setting that changes in the batch of a Parse is not for others', async (s) => {
  const [a, b] = await s.pair();
  const date = "select '01/02/2024'::date";
  const run = [say.bind({ statement: 's' }), say.execute()];
  const set = [say.parse({ text: "set datestyle = 'ISO, DMY'" }), say.bind(), say.execute()];
  await b.parse('s', date);
  const first = await b.messages('b runs it', ...run, say.sync());
  const parts = [...set, say.parse({ name: 's', text: date }), ...run, say.sync()];
  s.t.same((await a.messages('set, parse and run', ...parts)).rows, [['2024-02-01']], s.where);
  const pipelined = [say.query("set datestyle = 'ISO, MDY'"), say.parse({ name: 'p', text: date }), say.sync()];
  await a.messages('set and parse in one write', ...pipelined);
  await a.query('select 1');
  s.t.same((await b.messages('b runs it again', ...run, say.sync())).rows, first.rows, s.where);
});

ladder.weirRow(
  'a statement that is parsed again under other settings is not for those who have the settings of before',
  async (s) => {
    const [a, c, holder] = [await s.client('a'), await s.client('c'), await s.client('holder')];
    const run = [say.bind({ statement: 's' }), say.execute(), say.sync()];
    for (const client of [a, c]) {
      await client.does("set datestyle = 'ISO, DMY'");
      await client.parse('s', "select '01/02/2024'::date");
      await client.messages('run', ...run);
    }
    await a.does("set datestyle = 'ISO, MDY'");
    await holder.does('begin', 'select 1');
    await a.messages('a, elsewhere', ...run);
    s.t.same((await c.messages('c, elsewhere', ...run)).rows, [['2024-02-01']], s.where);
    await holder.does('commit');
  },
  { servers: 2 },
);

ladder.row('how floats and bytes are written is part of what a text means', async (s) => {
  const [a, b] = await s.pair();
  const text = "select (0.1::float8 + 0.2::float8)::text, (bytea '\\x41ff')::text";
  const run = [say.bind({ statement: 's' }), say.execute(), say.sync()];
  await a.parse('s', text);
  const first = await a.messages('a', ...run);
  await b.does('set extra_float_digits = -5', 'set bytea_output = escape');
  await b.parse('s', text);
  await b.messages('b', ...run);
  s.t.same((await a.messages('a again', ...run)).rows, first.rows, s.where);
});

ladder.probed();
