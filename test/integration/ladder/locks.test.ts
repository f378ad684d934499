// Session advisory locks: held by the client that took them, over every statement, until unlocked as often or until it leaves.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { type Actor, Ladder } from './rig.js';

const ladder = await Ladder.start(t);
const two = { servers: 2 } as const;

/** What another client finds: `t` when it could have had the lock. */
async function free(b: Actor, key: string, wanted: boolean, kind = ''): Promise<void> {
  await b.does('begin');
  await b.gives(`select pg_try_advisory_xact_lock${kind}(${key})`, wanted ? 't' : 'f');
  await b.does('rollback');
}

ladder.row(
  'pg_advisory_lock: held over statements, free after unlock',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select pg_advisory_lock(1)');
    await s.pinned('advisory_lock');
    await free(b, '1', false);
    await free(b, '2', true);
    await a.does('select 1');
    await free(b, '1', false);
    await a.gives('select pg_advisory_unlock(1)', 't');
    await s.pinned();
    await free(b, '1', true);
    await b.gives('select pg_try_advisory_lock(1)', 't');
    await free(a, '1', false);
    await b.gives('select pg_advisory_unlock(1)', 't');
    await s.pinned();
  },
  two,
);

ladder.row(
  'locks are counted: unlocked as often as locked',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select pg_advisory_lock(1)', 'select pg_advisory_lock(1)', 'select pg_try_advisory_lock(1)');
    for (let i = 0; i < 2; i++) {
      await a.gives('select pg_advisory_unlock(1)', 't');
      await s.pinned('advisory_lock');
      await free(b, '1', false);
    }
    await a.gives('select pg_advisory_unlock(1)', 't');
    await s.pinned();
    await free(b, '1', true);
    await a.gives('select pg_advisory_unlock(1)', 'f');
    await s.pinned();
    await a.does('select pg_advisory_lock(n) from generate_series(1, 5) n');
    await free(b, '5', false);
    await a.does('select pg_advisory_unlock(n) from generate_series(1, 4) n');
    await s.pinned('advisory_lock');
    await free(b, '5', false);
    await free(b, '4', true);
    await a.does('select pg_advisory_unlock(5)');
    await s.pinned();
  },
  two,
);

const takes: readonly (readonly [take: string, release: string, key: string])[] = [
  ['select pg_advisory_lock(7, 8)', 'select pg_advisory_unlock(7, 8)', '7, 8'],
  ['select pg_try_advisory_lock(-1)', 'select pg_advisory_unlock(-1)', '-1'],
  [
    'select pg_catalog.pg_advisory_lock(9223372036854775807)',
    'select pg_advisory_unlock(9223372036854775807)',
    '9223372036854775807',
  ],
  ['select pg_advisory_lock_shared(3)', 'select pg_advisory_unlock_shared(3)', '3'],
  ['select pg_advisory_lock(4)', 'select pg_advisory_unlock_all()', '4'],
  ['select pg_advisory_lock(4); select pg_advisory_lock(5)', 'discard all', '4'],
  ['begin; select pg_advisory_lock(6); commit', 'begin; select pg_advisory_unlock(6); commit', '6'],
  ['select 1 where pg_try_advisory_lock(10)', 'select pg_advisory_unlock(10)', '10'],
  ['do $$ begin perform pg_advisory_lock(11); end $$', 'do $$ begin perform pg_advisory_unlock(11); end $$', '11'],
  ['select take_lock(12)', 'select pg_advisory_unlock(12)', '12'],
  ['prepare l(int) as select pg_advisory_lock($1); execute l(13)', 'select pg_advisory_unlock(13); deallocate l', '13'],
  [
    "select pg_advisory_lock(hashtext('job')::bigint)",
    "select pg_advisory_unlock(hashtext('job')::bigint)",
    "hashtext('job')::bigint",
  ],
];

for (const [take, release, key] of takes) {
  ladder.row(
    `locks, other spellings: ${take}; released by ${release}`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.does(take);
      await free(b, key, false);
      await a.does('select 1');
      await free(b, key, false);
      await a.does(release);
      await free(b, key, true);
      await s.pinned();
    },
    {
      ...two,
      setup: [
        'create function take_lock(n bigint) returns void language plpgsql as $$ begin perform pg_advisory_lock(n); end $$',
      ],
    },
  );
}

ladder.row(
  'locks by values bound, named and unnamed',
  async (s) => {
    const [a, b] = await s.pair();
    await a.execute('select pg_advisory_lock($1)', ['21']);
    await free(b, '21', false);
    await a.parse('lock', 'select pg_try_advisory_lock($1)', [20]);
    await a.bind('lock', ['22']);
    await a.bind('lock', ['22']);
    await free(b, '22', false);
    await a.execute('select pg_advisory_unlock($1)', ['22']);
    await free(b, '22', false);
    await a.execute('select pg_advisory_unlock($1)', ['22']);
    await free(b, '22', true);
    await s.pinned('advisory_lock');
    await a.execute('select pg_advisory_unlock($1)', ['21']);
    await s.pinned();
    await free(b, '21', true);
  },
  two,
);

ladder.row(
  'a lock survives ROLLBACK, ROLLBACK TO SAVEPOINT and an error',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('begin', 'select pg_advisory_lock(1)', 'rollback');
    await free(b, '1', false);
    await a.does('begin', 'savepoint one', 'select pg_advisory_lock(2)', 'rollback to one', 'commit');
    await free(b, '2', false);
    await a.query('select pg_advisory_lock(3); select 1 / 0');
    await free(b, '3', false);
    await a.query('select pg_advisory_lock(4), 1 / 0');
    await a.does('begin', 'select pg_advisory_unlock(1)', 'rollback');
    await free(b, '1', true);
    await s.pinned('advisory_lock');
    await a.does('select pg_advisory_unlock_all()');
    await s.pinned();
    for (const key of ['1', '2', '3', '4']) await free(b, key, true);
  },
  two,
);

ladder.row(
  'shared and exclusive',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select pg_advisory_lock_shared(1)');
    await free(b, '1', false);
    await free(b, '1', true, '_shared');
    await b.gives('select pg_try_advisory_lock_shared(1)', 't');
    await s.pinned('advisory_lock', 'advisory_lock');
    await a.gives('select pg_try_advisory_lock(1)', 'f');
    await b.gives('select pg_advisory_unlock(1)', 'f');
    await b.gives('select pg_advisory_unlock_shared(1)', 't');
    await a.gives('select pg_try_advisory_lock(1)', 't');
    await a.does('select pg_advisory_unlock_shared(1)');
    await free(b, '1', false, '_shared');
    await a.does('select pg_advisory_unlock(1)');
    await s.pinned();
  },
  two,
);

ladder.row(
  'no pin: transaction locks, a lock not had, an unlock of what is not held',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('begin', 'select pg_advisory_xact_lock(1)');
    await a.does('commit');
    await s.pinned();
    await b.does('select pg_advisory_lock(1)');
    await a.gives('select pg_try_advisory_lock(1)', 'f');
    await s.pinned('advisory_lock');
    await a.gives('select pg_advisory_unlock(1)', 'f');
    await a.does('select pg_advisory_unlock_all()');
    await free(a, '1', false);
    await b.does('select pg_advisory_unlock(1)');
    await s.pinned();
  },
  two,
);

ladder.row(
  'a client waits for a lock until its holder unlocks',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select pg_advisory_lock(1)');
    const waiting = b.query('select pg_advisory_lock(1)');
    await new Promise((resolve) => setTimeout(resolve, 60));
    s.t.equal(b.raw.untaken, 0, s.where);
    await a.does('select pg_advisory_unlock(1)');
    s.t.equal((await waiting).errors.length, 0, s.where);
    await free(a, '1', false);
    await b.does('select pg_advisory_unlock(1)');
  },
  two,
);

ladder.row(
  'a holder that leaves, politely or not, frees its locks at once',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select pg_advisory_lock(1)');
    await a.end();
    await s.soon('the lock is free', async () => (await b.peek('select pg_try_advisory_lock(1)')) === 't', 1_000);
    await b.does('select pg_advisory_unlock(1)');
    const c = await s.client('c');
    await c.does('begin', 'select pg_advisory_lock(2)');
    await c.vanish();
    await s.soon('the lock is free', async () => (await b.peek('select pg_try_advisory_lock(2)')) === 't', 1_000);
    await b.does('select pg_advisory_unlock(2)');
    await s.pinned();
  },
  two,
);

ladder.row(
  'a client that leaves while it waits for a lock never gets it',
  async (s) => {
    const [a, b] = await s.pair();
    await a.does('select pg_advisory_lock(1)');
    b.raw.write(say.query('select pg_advisory_lock(1)'));
    await new Promise((resolve) => setTimeout(resolve, 60));
    await b.vanish();
    await a.does('select pg_advisory_unlock(1)');
    const c = await s.client('c');
    await s.soon('the lock is free', async () => (await c.peek('select pg_try_advisory_lock(1)')) === 't', 2_000);
    await c.does('select pg_advisory_unlock(1)');
  },
  two,
);

ladder.row(
  'pg_locks shows a holder its own lock',
  async (s) => {
    const [a, b] = await s.pair();
    const mine = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    await a.does('select pg_advisory_lock(1)');
    await b.gives(mine, '0');
    await a.gives(mine, '1');
    await a.does('select pg_advisory_unlock(1)');
    await a.gives(mine, '0');
  },
  two,
);

ladder.weirRow('with one server only, who comes next does not own the lock of who left', async (s) => {
  const a = await s.client('a');
  await a.does('select pg_advisory_lock(1)');
  await a.vanish();
  const b = await s.client('b');
  await b.gives("select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", '0');
});

ladder.probed();
