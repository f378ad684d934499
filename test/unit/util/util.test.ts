// The small pieces: a ring against an array, secrets that do not show, errors, assertions, clocks.

import { inspect } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { AssertionFailure, assert, PoolerError, Ring, Secret, systemClock } from '../../../lib/util/index.js';
import { FakeClock } from '../../support/index.js';

t.test('a ring behaves as an array', async (t) => {
  t.plan(2);
  const action = fc.oneof(
    { weight: 30, arbitrary: fc.constant('push' as const) },
    { weight: 20, arbitrary: fc.constant('shift' as const) },
    { weight: 1, arbitrary: fc.constantFrom('filter' as const, 'clear' as const) },
  );
  let longest = 0;
  fc.assert(
    fc.property(fc.constantFrom(1, 2, 8), fc.array(action, { maxLength: 120, size: 'max' }), (capacity, actions) => {
      const ring = new Ring<number>(capacity);
      let array: number[] = [];
      let next = 0;
      for (const each of actions) {
        if (each === 'push') {
          ring.push(next);
          array.push(next++);
        } else if (each === 'shift') {
          if (ring.shift() !== array.shift()) return false;
        } else if (each === 'filter') {
          const seen: number[] = [];
          ring.filter((value) => {
            seen.push(value);
            return value % 3 !== 0;
          });
          if (seen.join() !== array.join()) return false;
          array = array.filter((value) => value % 3 !== 0);
        } else {
          ring.clear();
          array = [];
        }
        longest = Math.max(longest, array.length);
        if (ring.length !== array.length || ring.peek() !== array[0] || ring.last() !== array.at(-1)) return false;
        for (let i = 0; i <= array.length; i++) if (ring.at(i) !== array[i]) return false;
      }
      return true;
    }),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 300 },
  );
  t.pass('for every run');
  t.ok(longest > 16, 'it grew more than once');
});

t.test('a ring lets go of what was shifted', async (t) => {
  t.throws(() => new Ring(3), AssertionFailure, 'a capacity is a power of two');
  const ring = new Ring<object>(4);
  ring.push({});
  ring.shift();
  t.equal(ring.peek(), undefined);
  t.equal(ring.at(0), undefined);
  t.equal(ring.at(-1), undefined);
});

t.test('a secret shows in no text, only where it is asked for', async (t) => {
  const secret = new Secret('hunter2');
  const texts = [
    `${secret}`,
    String(secret),
    JSON.stringify({ secret }),
    inspect({ deep: [secret] }),
    inspect(secret, { showHidden: true }),
  ];
  for (const text of texts) t.notMatch(text, /hunter2/);
  t.same(Object.keys(secret), []);
  t.equal(secret.reveal(), 'hunter2');
});

t.test('a PoolerError carries what a client may be told', async (t) => {
  const cause = new Error('inner');
  const error = new PoolerError('message', { sqlstate: '53300', detail: 'd', hint: 'h', cause });
  t.match(error, { name: 'PoolerError', message: 'message', sqlstate: '53300', detail: 'd', hint: 'h', cause });
  const bare = new PoolerError('message', { sqlstate: '08P01' });
  t.equal(bare.detail, undefined);
  t.notOk('cause' in bare);
});

t.test('an assertion says the fact that does not hold', async (t) => {
  t.doesNotThrow(() => assert(true, 'so'));
  t.throws(() => assert(false, 'water flows down'), new AssertionFailure('water flows down'));
});

t.test('a clock goes forward', async (t) => {
  const before = systemClock.now();
  t.ok(systemClock.now() >= before);
  t.ok(Math.abs(systemClock.wallMs() - Date.now()) < 1_000);
  const clock = new FakeClock();
  const wall = clock.wallMs();
  clock.advance(1.5);
  t.equal(clock.now(), 1.5);
  t.equal(clock.wallMs(), wall + 1);
  t.throws(() => clock.advance(-1), RangeError);
});
