// Cursors WITH HOLD: fetched from after their transaction by who declared them, and by nobody else.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { type Actor, Ladder } from './rig.js';

const ladder = await Ladder.start(t);
const two = { servers: 2 } as const;
const series = (from: number, to: number): string => `select n from generate_series(${from}, ${to}) n`;

async function fetches(client: Actor, cursor: string, wanted: string): Promise<void> {
  await client.gives(`fetch ${cursor}`, wanted);
}

ladder.row(
  'DECLARE WITH HOLD: two clients, one name, each its own rows',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('begin', `declare c cursor with hold for ${series(1, 9)}`, 'commit');
    await s.pinned('cursor');
    await b.fails('fetch c', '34000');
    await b.does(`declare c cursor with hold for ${series(101, 109)}`);
    await s.pinned('cursor', 'cursor');
    for (let i = 1; i <= 3; i++) {
      await fetches(a, 'c', `${i}`);
      await fetches(b, 'c', `${100 + i}`);
    }
    await a.does('close c');
    await s.pinned('cursor');
    await a.fails('fetch c', '34000');
    await fetches(b, 'c', '104');
    await b.does('close all');
    await s.pinned();
  },
  two,
);

const ends: readonly string[] = [
  'close c',
  'close all',
  'discard all',
  'begin; close c; commit',
  'move forward all in c; close "c"',
];

for (const end of ends) {
  ladder.row(
    `a held cursor ends with ${end}`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.does(`declare c scroll cursor with hold for ${series(1, 5)}`);
      await b.gives('select count(*) from pg_cursors', '0');
      await a.gives('select name from pg_cursors where is_holdable', 'c');
      await fetches(a, 'last from c', '5');
      await b.does('select 1');
      await fetches(a, 'prior from c', '4');
      await a.does(end);
      await s.pinned();
      await a.fails('fetch c', '34000');
      await b.does('select 1');
    },
    two,
  );
}

ladder.row(
  'several cursors: the pin ends with the last',
  async (s) => {
    const [a, b] = await s.pair();
    await a.query(`declare c cursor with hold for ${series(1, 5)}; declare d cursor with hold for ${series(6, 9)}`);
    await a.does('close c');
    await s.pinned('cursor');
    await b.does('select 1');
    await fetches(a, 'd', '6');
    await a.does('close d');
    await s.pinned();
  },
  two,
);

ladder.row('rolled back and failed: no cursor, no pin', async (s) => {
  const [a, b] = await s.pair();
  await a.does('begin', `declare c cursor with hold for ${series(1, 5)}`, 'fetch c', 'rollback');
  await s.pinned();
  await b.fails('fetch c', '34000');
  await a.fails('fetch c', '34000');
  await a.does('begin', 'savepoint one', `declare c cursor with hold for ${series(1, 5)}`, 'rollback to one', 'commit');
  await a.fails('fetch c', '34000');
  await a.does('begin', `declare c cursor with hold for select 1 / (n - 3) from generate_series(1, 5) n`, 'fetch c');
  await a.fails('commit', '22012');
  await a.fails('fetch c', '34000');
  await a.fails(`declare c cursor with hold for select no_such_column`, '42703');
  await s.pinned();
  await b.does('select 1');
});

ladder.row(
  'a close that is rolled back; a cursor kept over later transactions',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does(`declare c cursor with hold for ${series(1, 5)}`, 'begin', 'fetch c', 'close c', 'rollback');
    await b.does('select 1');
    await a.query('fetch c');
    await a.does(`declare d cursor with hold for ${series(1, 5)}`, 'begin', 'fetch d', 'rollback');
    await b.does('select 1');
    await a.query('fetch d');
    await a.query('fetch d');
    await a.query('close all');
    await s.pinned();
  },
  two,
);

ladder.row('a cursor without HOLD ends with its transaction and pins nothing', async (s) => {
  const [a, b] = await s.pair();
  await a.does('begin', `declare c cursor for ${series(1, 5)}`, 'fetch 2 from c', 'commit');
  await s.pinned();
  await a.fails('fetch c', '34000');
  await a.fails(`declare c cursor for ${series(1, 5)}`, '25P01');
  await b.does('select 1');
});

ladder.row(
  'held cursors by the extended protocol, by name and with values',
  async (s) => {
    const [a, b] = await s.pair();
    await a.execute(`declare c cursor with hold for select n from generate_series(1, 5) n where n > $1`, ['2']);
    await b.does('select 1');
    await a.execute('fetch 2 from c');
    await a.parse('next', 'fetch c');
    await b.does('select 1');
    await a.bind('next');
    await a.bind('next');
    await a.execute('close c');
    await s.pinned();
    s.t.equal((await a.bind('next')).errors[0]?.['C'], '34000', s.where);
  },
  two,
);

ladder.row(
  'held cursors made in a DO block or a function',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does(`do $$ begin execute 'declare c cursor with hold for ${series(1, 5)}'; end $$`);
    await b.gives('select count(*) from pg_cursors', '0');
    await fetches(a, 'c', '1');
    await b.fails('fetch c', '34000');
    await fetches(a, 'c', '2');
    await a.does('close c');
    await s.pinned();
  },
  two,
);

ladder.row(
  'a held cursor sees what was there when it was made, under the role that made it',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does(
      'set role reader',
      "set datestyle = 'German'",
      "declare c cursor with hold for select current_user, date '2024-01-02' from generate_series(1, 3)",
    );
    await b.gives('select current_user', 'app');
    await fetches(a, 'c', 'reader');
    await a.does('reset role');
    await fetches(a, 'c', 'reader');
    await b.does("set datestyle = 'ISO'");
    await a.query('fetch c');
    await a.does('close c');
  },
  two,
);

ladder.row(
  'a held cursor that the protocol closes keeps the server no longer',
  async (s) => {
    const a = await s.client('a');
    await a.does(`declare c cursor with hold for ${series(1, 5)}`);
    await s.pinned('cursor');
    await a.messages('closed', say.close({ type: 'P', name: 'c' }), say.sync());
    await s.pinned();
    await a.fails('fetch c', '34000');
  },
  two,
);

ladder.weirRow('a client that leaves with a held cursor leaves none on the server', async (s) => {
  const a = await s.client('a');
  await a.does(`declare c cursor with hold for ${series(1, 5)}`);
  await a.vanish();
  const b = await s.client('b');
  await b.gives('select count(*) from pg_cursors', '0');
  await b.fails('fetch c', '34000');
  await s.pinned();
});

ladder.probed();
