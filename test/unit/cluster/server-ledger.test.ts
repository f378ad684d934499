// The account of server connections over several workers: never one too many, none unused while somebody waits, shares that become equal.

import t from 'tap';
import { ServerLedger } from '../../../lib/cluster/index.js';
import type { PlaceUse } from '../../../lib/pool/index.js';
import { FakeClock } from '../../support/index.js';
import { Random } from '../../support/random.js';

const limits = { poolMax: 4, databaseMax: 0, userMax: 0 };
const pool = (id: number, database = 'd', user = 'u', use: PlaceUse = 'clients') => ({ id, database, user, use });

function ledger() {
  const clock = new FakeClock();
  const said: string[] = [];
  return {
    clock,
    said,
    take: () => said.splice(0),
    ledger: new ServerLedger(clock, {
      refused: (worker, id, full) => said.push(`refused ${worker}.${id} by ${full}`),
      granted: (worker, id) => said.push(`granted ${worker}.${id}`),
      wanted: (worker, id, urgently) => said.push(`${urgently ? 'wanted now' : 'wanted'} ${worker}.${id}`),
      kept: (worker, id) => said.push(`kept ${worker}.${id}`),
    }),
  };
}

t.test('places are granted up to the size of the pool over all workers', async (t) => {
  const { ledger: all, take } = ledger();
  for (const worker of [0, 1, 0, 1]) all.want(worker, pool(1), limits, 'waiting');
  t.same(take(), ['granted 0.1', 'granted 1.1', 'granted 0.1', 'granted 1.1']);
  t.same([all.heldBy(0), all.heldBy(1)], [2, 2]);
  all.want(0, pool(1), limits, 'waiting');
  t.same(take(), ['wanted 1.1'], 'equal shares: only what is not needed there');
  all.gone(1, 1);
  t.same(take(), ['granted 0.1']);
  t.equal(all.heldBy(0) + all.heldBy(1), 4);
});

t.test('who has more than others gives up first, until shares are equal', async (t) => {
  const { ledger: all, take } = ledger();
  for (let i = 0; i < 4; i++) all.want(0, pool(1), limits, 'waiting');
  take();
  for (const share of [1, 2]) {
    all.want(1, pool(7), limits, 'waiting');
    t.same(take(), ['wanted now 0.1']);
    all.gone(0, 1);
    t.same(take(), ['granted 1.7']);
    t.equal(all.heldBy(1), share);
  }
  all.want(1, pool(7), limits, 'waiting');
  t.same(take(), ['wanted 0.1']);
});

t.test('where there are fewer places than workers, they go round, not too fast', async (t) => {
  const { ledger: all, take, clock } = ledger();
  const one = { ...limits, poolMax: 1 };
  all.want(0, pool(1), one, 'waiting');
  all.want(1, pool(1), one, 'waiting');
  t.same(take(), ['granted 0.1', 'wanted 0.1']);
  clock.advance(100);
  all.tick();
  t.same(take(), ['wanted now 0.1']);
  all.tick();
  t.same(take(), [], 'said once');
  all.gone(0, 1);
  t.same(take(), ['granted 1.1']);
  t.notOk(all.busy);
});

t.test('nobody is pressed for a pool that only wants its least number', async (t) => {
  const { ledger: all, take } = ledger();
  for (let i = 0; i < 4; i++) all.want(0, pool(1), limits, 'minimum');
  take();
  all.want(1, pool(1), limits, 'minimum');
  t.same(take(), []);
  all.want(2, pool(1), limits, 'waiting');
  t.same(take(), ['wanted now 0.1']);
  all.gone(0, 1);
  t.same(take(), ['granted 2.1'], 'those for whom clients wait come first');
});

t.test('a wish withdrawn presses nobody any more', async (t) => {
  const { ledger: all, take } = ledger();
  for (let i = 0; i < 4; i++) all.want(0, pool(1), limits, 'waiting');
  all.want(1, pool(2), limits, 'waiting');
  take();
  all.withdraw(1, 2);
  all.tick();
  t.same(take(), ['kept 0.1']);
  t.notOk(all.busy);
  all.gone(0, 1);
  t.same(take(), []);
});

t.test(
  'limits on databases and users hold over pools and workers, and press idle servers of other pools',
  async (t) => {
    const { ledger: all, take } = ledger();
    const byDatabase = { ...limits, databaseMax: 2 };
    all.want(0, pool(1, 'd', 'a'), byDatabase, 'waiting');
    all.want(1, pool(1, 'd', 'b'), byDatabase, 'waiting');
    take();
    all.want(2, pool(1, 'd', 'c'), byDatabase, 'waiting');
    t.same(take().sort(), ['wanted 0.1', 'wanted 1.1']);
    all.gone(1, 1);
    t.same(take(), ['granted 2.1']);
    const byUser = { ...limits, userMax: 1 };
    all.want(1, pool(2, 'e', 'c'), byUser, 'waiting');
    t.same(take(), ['wanted 2.1']);
    all.want(1, pool(3, 'e', 'z'), byUser, 'waiting');
    t.same(take(), ['granted 1.3']);
  },
);

t.test("weir's own servers count to database and user, not to the pool", async (t) => {
  const { ledger: all, take } = ledger();
  const one = { poolMax: 1, databaseMax: 3, userMax: 0 };
  all.want(0, pool(1), one, 'waiting');
  all.want(0, pool(2, 'd', 'u', 'look-ups'), one, 'waiting');
  all.want(1, pool(2, 'd', 'u', 'look-ups'), one, 'waiting');
  t.same(take(), ['granted 0.1', 'granted 0.2', 'granted 1.2']);
  all.want(2, pool(2, 'd', 'u', 'look-ups'), one, 'waiting');
  t.notOk(take().includes('granted 2.2'));
});

t.test('what a lost worker had is free at once', async (t) => {
  const { ledger: all, take } = ledger();
  for (let i = 0; i < 4; i++) all.want(0, pool(1), limits, 'waiting');
  all.want(1, pool(1), limits, 'waiting');
  all.want(0, pool(1), limits, 'waiting');
  take();
  all.lost(0);
  t.same(take(), ['granted 1.1']);
  t.same([all.heldBy(0), all.heldBy(1), all.busy], [0, 1, false]);
});

t.test('whatever happens, no limit is passed and no place is idle while one waits who may have it', async (t) => {
  const random = new Random(Number(process.env['SEED'] ?? 1));
  const below = (limit: number): number => random.below(limit);
  const clock = new FakeClock();
  const held = new Map<string, number>();
  const wishes = new Map<string, true>();
  const key = (worker: number, id: number): string => `${worker} ${id}`;
  const names = [pool(1, 'd', 'a'), pool(2, 'd', 'b'), pool(3, 'e', 'a')];
  const max = { poolMax: 3, databaseMax: 4, userMax: 4 };
  const all = new ServerLedger(clock, {
    granted: (worker, id) => {
      held.set(key(worker, id), (held.get(key(worker, id)) ?? 0) + 1);
      wishes.delete(key(worker, id));
    },
    refused: () => {},
    wanted: () => {},
    kept: () => {},
  });
  const count = (test: (name: (typeof names)[number]) => boolean): number => {
    let sum = 0;
    for (const name of names.filter(test)) for (let w = 0; w < 4; w++) sum += held.get(key(w, name.id)) ?? 0;
    return sum;
  };
  let granted = 0;
  for (let step = 0; step < 20_000; step++) {
    const worker = below(4);
    const name = names[below(3)] as (typeof names)[number];
    const k = key(worker, name.id);
    const what = below(100);
    if (what < 45) {
      wishes.set(k, true);
      all.want(worker, name, max, below(4) > 0 ? 'waiting' : 'minimum');
    } else if (what < 85) {
      const has = held.get(k) ?? 0;
      if (has === 0) continue;
      held.set(k, has - 1);
      granted++;
      all.gone(worker, name.id);
    } else if (what < 93) {
      wishes.delete(k);
      all.withdraw(worker, name.id);
    } else if (what < 99) {
      clock.advance(50);
      all.tick();
    } else {
      for (const { id } of names) {
        held.delete(key(worker, id));
        wishes.delete(key(worker, id));
      }
      all.lost(worker);
    }
    const over =
      names.some(({ id }) => count((name) => name.id === id) > max.poolMax) ||
      ['d', 'e'].some((database) => count((name) => name.database === database) > max.databaseMax) ||
      ['a', 'b'].some((user) => count((name) => name.user === user) > max.userMax);
    if (over) t.fail(`a limit is passed in step ${step}`);
    for (const wish of wishes.keys()) {
      const wanted = names.find(({ id }) => id === Number(wish.split(' ')[1])) as (typeof names)[number];
      const free =
        count(({ id }) => id === wanted.id) < max.poolMax &&
        count(({ database }) => database === wanted.database) < max.databaseMax &&
        count(({ user }) => user === wanted.user) < max.userMax;
      if (free) t.fail(`${wish} waits for nothing in step ${step}`);
    }
    if (!t.passing()) break;
  }
  t.ok(granted > 1_000, `${granted} places went from hand to hand`);
});

t.test('under a limit over several pools, a pool is as fair as under its own', async (t) => {
  const { ledger: all, take, clock } = ledger();
  const tight = { poolMax: 20, databaseMax: 2, userMax: 0 };
  for (let i = 0; i < 3; i++) all.want(0, pool(1), tight, 'waiting');
  take();
  clock.advance(100);
  all.want(1, pool(7), tight, 'waiting');
  t.same(take(), ['wanted now 0.1']);
  all.gone(0, 1);
  t.same(take(), ['granted 0.1'], 'who came first');
  all.want(0, pool(1), tight, 'waiting');
  clock.advance(100);
  all.tick();
  all.gone(0, 1);
  t.ok(take().includes('granted 1.7'));
});

t.test('where the one with most does not give up any, the next is asked too', async (t) => {
  const { ledger: all, take, clock } = ledger();
  const two = { ...limits, poolMax: 2 };
  all.want(0, pool(1), two, 'waiting');
  all.want(1, pool(1), two, 'waiting');
  clock.advance(100);
  all.want(2, pool(1), two, 'waiting');
  t.same(take(), ['granted 0.1', 'granted 1.1', 'wanted now 0.1', 'wanted 1.1']);
  clock.advance(99);
  all.tick();
  t.same(take(), []);
  clock.advance(1);
  all.tick();
  t.same(take(), ['wanted now 1.1']);
});

t.test('who has its share and cannot use it is helped by those who can', async (t) => {
  const { ledger: all, take, clock } = ledger();
  const two = { ...limits, poolMax: 2 };
  all.want(0, pool(1), two, 'waiting');
  all.want(1, pool(1), two, 'waiting');
  clock.advance(500);
  all.want(0, pool(1), two, 'waiting');
  t.same(take(), ['granted 0.1', 'granted 1.1', 'wanted 1.1']);
  all.want(0, pool(1), two, 'starving');
  t.same(take(), ['wanted now 1.1']);
  all.withdraw(0, 1);
  all.tick();
  t.same(take(), ['kept 1.1']);
  all.want(1, pool(1), two, 'starving');
  take();
  all.want(0, pool(1), two, 'starving');
  t.notOk(take().includes('wanted now 1.1'), 'not by those who cannot either');
});
