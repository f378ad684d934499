// Places that a worker keeps for its next clients: who is asked, when, and that the limits hold over all workers at any time.

import t from 'tap';
import { ClientLedger } from '../../../lib/cluster/client-ledger.js';
import { ClientPlaces, recallMs } from '../../../lib/cluster/client-places.js';
import type { ClientLimits } from '../../../lib/pooler/index.js';
import { Random } from '../../support/random.js';

const limits: ClientLimits = { all: 5, database: 0, user: 0 };

/** Workers with one ledger, which answers at once. */
function workers(count: number) {
  const ledger = new ClientLedger();
  const said: string[] = [];
  const clock = { ms: 10_000, now: () => clock.ms, wallMs: () => clock.ms };
  const places = Array.from({ length: count }, (_, worker) => {
    const office = {
      admit: async (database: string, user: string, limits: ClientLimits) => {
        const refusal = ledger.admit(worker, database, user, limits);
        said.push(`${worker} ${refusal === undefined ? 'admits' : 'refuses'} ${database}.${user}`);
        return refusal;
      },
      dismiss: (database: string, user: string, count: number) => {
        ledger.dismiss(worker, database, user, count);
        said.push(`${worker} dismisses ${count} ${database}.${user}`);
      },
    };
    return new ClientPlaces(office, clock);
  });
  return { ledger, clock, places, heard: () => said.splice(0) };
}

t.test('the next client takes the place of the one before, and nobody is asked', async (t) => {
  const { ledger, places, heard } = workers(1);
  const [worker] = places as [ClientPlaces];
  t.equal(await worker.admit('d', 'u', limits), undefined);
  for (let i = 0; i < 10; i++) {
    worker.dismiss('d', 'u');
    t.equal(await worker.admit('d', 'u', limits), undefined);
  }
  t.same(heard(), ['0 admits d.u']);
  worker.dismiss('d', 'u');
  t.equal(await worker.admit('d', 'other', limits), undefined);
  t.same(heard(), ['0 admits d.other'], 'a place is one of a database and user');
  t.equal(ledger.all, 2);
});

t.test('a place nobody has needed from one tick to the next is given back', async (t) => {
  const { ledger, places, heard } = workers(1);
  const [worker] = places as [ClientPlaces];
  for (let i = 0; i < 4; i++) await worker.admit('d', 'u', limits);
  for (let i = 0; i < 3; i++) worker.dismiss('d', 'u');
  heard();
  worker.tick();
  t.same(heard(), [], 'they have not been there for a whole tick');
  await worker.admit('d', 'u', limits);
  worker.dismiss('d', 'u');
  worker.tick();
  t.same(heard(), ['0 dismisses 2 d.u']);
  worker.tick();
  t.same(heard(), ['0 dismisses 1 d.u']);
  worker.tick();
  t.same([heard(), ledger.all], [[], 1]);
});

t.test('who is asked for them gives all back, and keeps none for a while', async (t) => {
  const { ledger, clock, places, heard } = workers(1);
  const [worker] = places as [ClientPlaces];
  for (let i = 0; i < 4; i++) await worker.admit('d', `u${i % 2}`, limits);
  for (const user of ['u0', 'u1', 'u0']) worker.dismiss('d', user);
  heard();
  worker.recall();
  t.same(heard(), ['0 dismisses 2 d.u0', '0 dismisses 1 d.u1']);
  clock.ms += recallMs - 1;
  worker.dismiss('d', 'u1');
  t.same([heard(), ledger.all], [['0 dismisses 1 d.u1'], 0]);
  await worker.admit('d', 'u0', limits);
  clock.ms += 1;
  worker.dismiss('d', 'u0');
  t.same(heard(), ['0 admits d.u0'], 'kept again');
});

t.test('a place that was taken under other limits is none', async (t) => {
  const { places, heard } = workers(1);
  const [worker] = places as [ClientPlaces];
  for (let i = 0; i < 4; i++) await worker.admit('d', 'u', limits);
  worker.dismiss('d', 'u');
  heard();
  const fewer = { ...limits, all: 3 };
  t.match(await worker.admit('d', 'u', fewer), { sqlstate: '53300' });
  t.same(heard(), ['0 dismisses 1 d.u', '0 refuses d.u']);
  worker.dismiss('d', 'u');
  t.equal(await worker.admit('d', 'u', fewer), undefined);
  t.same(heard(), ['0 dismisses 1 d.u', '0 admits d.u']);
  worker.dismiss('d', 'u');
  t.equal(await worker.admit('d', 'u', fewer), undefined);
  t.same(heard(), [], 'this one was taken under these');
});

t.test('over several workers no more clients are in than the limits say, and no place is lost', async (t) => {
  const random = new Random(11);
  const { ledger, clock, places } = workers(3);
  const inside: { readonly worker: number; readonly user: string }[] = [];
  let refused = 0;
  let recalledMs = Number.NEGATIVE_INFINITY;
  for (let step = 0; step < 20_000; step++) {
    clock.ms += random.below(200);
    const worker = random.below(places.length);
    const user = `u${random.below(2)}`;
    if (random.oneIn(2) && inside.length > 0) {
      const [left] = inside.splice(random.below(inside.length), 1);
      if (left !== undefined) places[left.worker]?.dismiss('d', left.user);
    } else {
      const wanted: ClientLimits = { all: 5, database: 0, user: 3 };
      let refusal = await places[worker]?.admit('d', user, wanted);
      if (refusal !== undefined && clock.ms >= recalledMs + recallMs) {
        recalledMs = clock.ms;
        for (const each of places) each.recall();
        refusal = await places[worker]?.admit('d', user, wanted);
      }
      const mine = inside.filter((one) => one.user === user).length;
      const full = inside.length >= 5 || mine >= 3;
      if ((refusal !== undefined) !== full)
        t.fail(`step ${step}: ${inside.length} inside, ${mine} of ${user}: ${refusal}`);
      if (refusal === undefined) inside.push({ worker, user });
      else refused++;
    }
    if (random.oneIn(10)) places[worker]?.tick();
    if (ledger.all > 5 || ledger.all < inside.length)
      t.fail(`step ${step}: ${ledger.all} on account, ${inside.length} inside`);
  }
  t.ok(refused > 100, `${refused} were refused`);
  for (const { worker, user } of inside) places[worker]?.dismiss('d', user);
  for (const each of places) each.recall();
  t.equal(ledger.all, 0);
});
