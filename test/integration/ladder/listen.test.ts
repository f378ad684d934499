// LISTEN and NOTIFY: who listens is told everything in order and between its own statements, who does not is told nothing.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { Ladder, type Scenario } from './rig.js';

const ladder = await Ladder.start(t);

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);

/** Nothing may come: given some time, and round trips of its own. */
async function silent(s: Scenario, ...clients: readonly Awaited<ReturnType<Scenario['client']>>[]): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 60));
  for (const client of clients) {
    await client.does('select 1');
    s.t.same(await client.notifications(0), [], `${client.name} hears nothing ${s.where}`);
  }
}

ladder.row('LISTEN: two listeners and a notifier; who does not listen hears nothing', async (s) => {
  const [a, b] = await s.pair();
  const c = await s.client('c');
  const d = await s.client('d');
  await a.does('listen news');
  await b.does('listen news');
  await c.does("notify news, 'first'");
  await a.hears('news:first');
  await b.hears('news:first');
  await c.does("notify news, 'second'", 'notify news', "notify other, 'third'");
  await a.hears('news:second', 'news:');
  await b.hears('news:second', 'news:');
  await silent(s, c, d);
});

ladder.row('LISTEN: order and number of notifications of one and of several notifiers', async (s) => {
  const [a, b] = await s.pair();
  const c = await s.client('c');
  await a.does('listen one', 'listen two');
  for (const n of numbers(1, 20))
    await (Number(n) % 2 === 0 ? b : c).query(`notify ${Number(n) % 3 === 0 ? 'one' : 'two'}, '${n}'`);
  await a.hears(...numbers(1, 20).map((n) => `${Number(n) % 3 === 0 ? 'one' : 'two'}:${n}`));
  await b.query(
    `begin; ${numbers(1, 30)
      .map((n) => `notify one, '${n}'`)
      .join('; ')}; notify one, '1'; commit`,
  );
  await a.hears(...numbers(1, 30).map((n) => `one:${n}`));
});

ladder.row('payloads: empty, odd, long, too long, bound', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen news');
  const long = 'x'.repeat(7_999);
  await b.does("notify news, 'it''s \u00e9\u4e2d'", `notify news, '${long}'`);
  await b.execute('select pg_notify($1, $2)', ['news', 'bound']);
  await b.execute('select pg_notify($1, $2)', ['news', null]);
  await b.fails(`notify news, '${long}x'`, '22023');
  await b.fails("select pg_notify('', 'x')", '22023');
  await a.hears("news:it's \u00e9\u4e2d", `news:${long}`, 'news:bound', 'news:');
});

ladder.row('channel names: folded, quoted, long', async (s) => {
  const [a, b] = await s.pair();
  const long = 'c'.repeat(70);
  await a.does('listen News', 'listen "News"', 'listen "two words"');
  await a.query(`listen ${long}`);
  await b.does("notify NEWS, '1'", `notify "News", '2'`, `notify "two words", '3'`);
  await b.query(`notify ${long}, '4'`);
  await b.fails(`select pg_notify('${long}', '5')`, '22023');
  await b.does("select pg_notify('News', '6')", "select pg_notify('news', '7')");
  await a.hears('news:1', 'News:2', 'two words:3', `${long.slice(0, 63)}:4`, 'News:6', 'news:7');
});

ladder.row('LISTEN twice is LISTEN once; UNLISTEN one, UNLISTEN *, DISCARD ALL', async (s) => {
  const [a, b] = await s.pair();
  await b.does('listen news');
  await a.does('listen news', 'listen news', 'listen other');
  await b.does("notify news, '1'", "notify other, '1'");
  await a.hears('news:1', 'other:1');
  await a.does('unlisten news', 'unlisten never_listened');
  await b.does("notify news, '2'", "notify other, '2'");
  await a.hears('other:2');
  await a.does('listen news', 'unlisten *');
  await b.does("notify news, '3'", "notify other, '3'");
  await silent(s, a);
  await a.does('listen news', 'discard all');
  await b.does("notify news, '4'");
  await silent(s, a);
  await a.does('listen news');
  await b.does("notify news, '5'");
  await a.hears('news:5');
  await b.hears('news:1', 'news:2', 'news:3', 'news:4', 'news:5');
});

ladder.row('LISTEN in a transaction: committed, rolled back, rolled back to a savepoint', async (s) => {
  const [a, b] = await s.pair();
  await a.does('begin', 'listen news', 'rollback');
  await b.does("notify news, '1'");
  await silent(s, a);
  await a.does('begin', 'listen news', 'commit');
  await b.does("notify news, '2'");
  await a.hears('news:2');
  await a.does('begin', 'unlisten news', 'rollback');
  await b.does("notify news, '3'");
  await a.hears('news:3');
  await a.does('begin', 'savepoint one', 'unlisten *', 'listen other', 'rollback to one', 'listen third', 'commit');
  await b.does("notify news, '4'", "notify other, '4'", "notify third, '4'");
  await a.hears('news:4', 'third:4');
  await a.does('begin', 'unlisten third');
  await a.fails('select 1 / 0', '22012');
  await a.does('commit');
  await a.query('listen other; select 1 / 0');
  await b.does("notify other, '5'", "notify third, '5'");
  await a.hears('third:5');
});

ladder.row('NOTIFY in a transaction: sent by COMMIT, once each; gone with ROLLBACK', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen news');
  await b.does('begin', "notify news, '1'", 'rollback');
  await b.does(
    'begin',
    "notify news, '2'",
    'savepoint one',
    "notify news, '3'",
    'rollback to one',
    "notify news, '2'",
    'commit',
  );
  await b.query("notify news, '4'; select 1 / 0");
  await b.query("notify news, '5'; select 1");
  await a.hears('news:2', 'news:5');
});

ladder.row(
  'notifications do not come in the middle of the listener s transaction',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('listen news', 'begin', 'select 1');
    await b.does("notify news, '1'");
    await new Promise((resolve) => setTimeout(resolve, 60));
    await a.does('select 2');
    s.t.same(await a.notifications(0), [], `not yet ${s.where}`);
    await a.fails('select 1 / 0', '22012');
    s.t.same(await a.notifications(0), [], `not yet ${s.where}`);
    await a.does('rollback');
    await a.hears('news:1');
  },
  { servers: 2 },
);

ladder.row('one s own notifications arrive as well', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen news');
  await a.does("notify news, '1'", "select pg_notify('news', '2')");
  await b.does("notify news, '3'");
  await a.does('begin', "notify news, '4'", 'commit');
  await a.hears('news:1', 'news:2', 'news:3', 'news:4');
});

ladder.row('notifications from elsewhere, to an idle listener and to one that keeps working', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen news');
  await s.admin("notify news, '1'");
  await a.hears('news:1');
  await s.admin("notify news, '2'");
  await b.does('select 1');
  await a.does('select 1');
  await a.hears('news:2');
});

ladder.row('LISTEN by the extended protocol, among others in one Query, and by name', async (s) => {
  const [a, b] = await s.pair();
  await a.execute('listen one');
  await a.query('select 1; listen two; select 2');
  await a.parse('l', 'listen three');
  await b.does('select 1');
  await a.bind('l');
  await a.messages(
    'in a pipeline',
    say.parse({ text: 'listen four' }),
    say.bind({}),
    say.execute(),
    say.parse({ text: 'select 1' }),
    say.bind({}),
    say.execute(),
    say.sync(),
  );
  await b.does('notify one', 'notify two', 'notify three', 'notify four');
  await a.hears('one:', 'two:', 'three:', 'four:');
});

ladder.row('a listener that leaves takes nothing from the others', async (s) => {
  const [a, b] = await s.pair();
  const c = await s.client('c');
  await a.does('listen news', 'listen only_a');
  await b.does('listen news');
  await a.vanish();
  await c.does("notify news, '1'", "notify only_a, '1'");
  await b.hears('news:1');
  const d = await s.client('d');
  await d.does('listen only_a');
  await c.does("notify only_a, '2'");
  await d.hears('only_a:2');
  await silent(s, b, c);
});

ladder.row('a listener keeps its settings and statements, and its channels do not become another s', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen news', "set work_mem = '5MB'", 'prepare p as select 1');
  await b.shows('work_mem', '4MB');
  await b.gives('select count(*) from pg_listening_channels()', '0');
  await a.shows('work_mem', '5MB');
  await a.gives('execute p', '1');
  await b.does('unlisten *', "notify news, '1'");
  await a.hears('news:1');
});

ladder.row('pg_listening_channels() shows one s own', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen one', 'listen two');
  await b.does('listen three');
  await a.gives("select string_agg(c, ',' order by c) from pg_listening_channels() c", 'one,two');
  await b.gives("select string_agg(c, ',' order by c) from pg_listening_channels() c", 'three');
});

ladder.row('LISTEN as another role, and after SET of a reported setting', async (s) => {
  const [a, b] = await s.pair();
  await a.does('set role reader', "set timezone = 'Asia/Tokyo'", 'listen news');
  await b.gives('select current_user', 'app');
  await b.does("notify news, '1'");
  await a.hears('news:1');
  await a.gives('select current_user', 'reader');
});

ladder.weirRow('a listener does not keep the pool s only server', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen news');
  await b.does('begin', 'select 1');
  await s.admin("notify news, '1'");
  await a.hears('news:1');
  await b.does('commit');
  await s.pinned();
});

ladder.weirRow('channels are restored after their server is lost', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen news', 'listen other', 'unlisten other');
  await b.does('listen other');
  for (let round = 1; round <= 2; round++) {
    await s.killServers();
    let n = 0;
    await s.soon('it hears again', async () => {
      await s.admin(`notify news, '${++n}'`);
      return (await a.notifications(1, 100)).some(({ channel }) => channel === 'news');
    });
    await s.soon('the other hears again', async () => {
      await s.admin(`notify other, '${++n}'`);
      return (await b.notifications(1, 100)).some(({ channel }) => channel === 'other');
    });
    await a.does('select 1');
    await b.does('select 1');
  }
});

ladder.weirRow(
  'a listener of another user or database hears its own database only',
  async (s) => {
    const [a, b] = await s.pair();
    const c = await s.client('c', { user: 'other' });
    const d = await s.client('d', { database: 'second' });
    await a.does('listen news');
    await c.does('listen news');
    await d.does('listen news');
    await b.does("notify news, '1'");
    await a.hears('news:1');
    await c.hears('news:1');
    await silent(s, d);
    await s.admin('select 1');
    await d.does("notify news, '2'");
    await d.hears('news:2');
    await silent(s, a, c);
  },
  { setup: ['drop database if exists second with (force)', 'create database second'] },
);

ladder.weirRow(
  'a LISTEN inside a function reaches no other client',
  async (s) => {
    const [a, b] = await s.pair();
    await a.query("do $$ begin execute 'listen news'; end $$");
    await b.does("notify news, '1'");
    await silent(s, b);
    await a.does('select 1');
  },
  { servers: 2 },
);

ladder.row('a client that leaves behind an UNLISTEN in a transaction leaves nothing', async (s) => {
  for (let i = 0; i < 5; i++) {
    const a = await s.client(`a${i}`);
    await a.does('begin', 'select pg_advisory_lock(77)', 'unlisten gone');
    await a.vanish();
    const b = await s.client(`b${i}`);
    await b.does('select pg_advisory_lock(77)', 'select pg_advisory_unlock(77)');
    await b.end();
  }
});

ladder.row('UNLISTEN holds when its COMMIT is followed by an error', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen gone', 'listen stays', 'begin', 'unlisten gone');
  await a.query('commit; savepoint x');
  await b.does('notify gone', 'notify stays');
  await a.query('select 1');
  await a.hears('stays:');
});

ladder.row('UNLISTEN holds, or does not, with the savepoint it stands behind', async (s) => {
  const [a, b] = await s.pair();
  await a.does('listen before', 'listen behind', 'listen again', 'begin', 'unlisten before', 'unlisten again');
  await a.does('savepoint x', 'unlisten behind', 'listen again', 'rollback to x', 'commit');
  await b.does('notify before', 'notify again', 'notify behind');
  await a.query('select 1');
  await a.hears('behind:');
  await a.does('begin', 'unlisten *', 'listen last', 'commit');
  await b.does('notify behind', 'notify last');
  await a.query('select 1');
  await a.hears('last:');
  await a.query("rollback; notify last, 'never'; unlisten *");
  await b.does('notify last');
  await a.does('listen over', 'notify over');
  await a.hears('over:');
});

ladder.row(
  'LISTEN by EXECUTE of what the protocol has prepared hears all from then on, its own Query too',
  async (s) => {
    const [a, b] = await s.pair();
    await a.parse('p', 'listen news');
    await a.does("notify news, 'along'; execute p");
    await a.hears('news:along');
    await b.does("notify news, 'behind'");
    await a.hears('news:behind');
  },
);

ladder.row('a LISTEN that comes while the one before is still being looked at', async (s) => {
  const [a] = await s.pair();
  for (let round = 0; round < 120; round++) {
    await a.query('listen one');
    // At any moment of the milliseconds after the answer.
    const until = performance.now() + (round % 60) / 20;
    while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve));
    await a.query(`listen two; notify two, '${round}'`);
    await a.hears(`two:${round}`);
    await a.query('unlisten *');
  }
});

ladder.row('a LISTEN that an error before it has skipped, while it waited, is none', async (s) => {
  const [a, b] = await s.pair();
  for (const before of ['select nothing from nowhere', 'select 1/0']) {
    await a.messages(
      'skipped',
      ...[say.parse({ text: before }), say.bind(), say.execute()],
      ...[say.parse({ text: 'listen news' }), say.bind(), say.execute(), say.sync()],
    );
    await b.does("notify news, 'not for a'");
    await a.does('begin', 'rollback', 'select 1');
    s.t.same(await a.notifications(0), [], `nothing is heard ${s.where}`);
  }
});

ladder.probed();
