// Temporary roles: what an order must say, how long a grant holds, and who has what.

import t from 'tap';
import { grantOf } from '../../../lib/pooler/grant-order.js';
import { Grants } from '../../../lib/pooler/grants.js';
import { PoolerError } from '../../../lib/util/index.js';
import { FakeClock } from '../../support/fake-clock.js';
import { policyOf } from '../../support/policy.js';

const document = policyOf(`
[policy]
mode = "enforce"
[policy.roles.on_call]
granted_only = true
users = ["bob", "dev-*"]
[policy.roles.writer]
users = ["alice"]
`);
const order = { role: 'on_call', user: 'bob', duration: '1 hour', reason: 'a fire', grantedBy: 'http' };
const weekMs = 7 * 86_400_000;

/** What is wrong with the order, changed so. */
function refusalOf(changes: Partial<typeof order>): PoolerError | undefined {
  try {
    grantOf({ ...order, ...changes }, document, weekMs, 0);
    return undefined;
  } catch (error) {
    if (error instanceof PoolerError) return error;
    throw error;
  }
}

void t.test('a duration is a whole number and a unit', async (t) => {
  const durations: readonly (readonly [string, number])[] = [
    ['1s', 1],
    ['90 seconds', 90],
    ['30 min', 1_800],
    ['2 minutes', 120],
    ['1 hour', 3_600],
    [' 36  HOURS ', 129_600],
    ['1h', 3_600],
    ['1 day', 86_400],
    ['7 days', 604_800],
  ];
  for (const [duration, seconds] of durations) {
    t.same(
      grantOf({ ...order, duration }, document, weekMs, 5_000),
      { role: 'on_call', user: 'bob', untilMs: 5_000 + seconds * 1_000, reason: 'a fire', grantedBy: 'http' },
      duration,
    );
  }
  for (const duration of ['', '1', 'hour', '0 s', '-1 hour', '1.5 hours', '1 month', '1 hour 1 min', '9999999999 s']) {
    t.match(refusalOf({ duration }), { sqlstate: '22023', hint: /30 min/ }, duration);
  }
  t.match(refusalOf({ duration: '8 days' }), {
    sqlstate: '22023',
    hint: 'policy_grant_max allows 604800 seconds.',
  });
});

void t.test('an order that cannot be met says what to change', async (t) => {
  t.throws(() => grantOf(order, undefined, weekMs, 0), /no policy in force/);
  t.match(refusalOf({ role: 'admin' }), {
    sqlstate: '42704',
    hint: 'Its roles: on_call, writer.',
  });
  t.match(refusalOf({ user: 'mallory' }), { sqlstate: '22023', hint: /users/ });
  t.ok(grantOf({ ...order, user: 'dev-1' }, document, weekMs, 0));
  t.ok(grantOf({ ...order, role: 'writer', user: 'mallory' }, document, weekMs, 0), 'stands for being named');
  for (const user of ['', 'x'.repeat(128)]) t.match(refusalOf({ role: 'writer', user }), { sqlstate: '22023' });
  for (const reason of ['', ' \n', 'x'.repeat(1_001)])
    t.match(refusalOf({ reason }), { sqlstate: '22023', message: /reason/ });
  t.ok(grantOf({ ...order, reason: 'x'.repeat(1_000) }, document, weekMs, 0));
});

void t.test('a grant ends by itself, and what is known of a user stays the same object until then', async (t) => {
  const clock = new FakeClock();
  const grants = new Grants(clock);
  const add = (role: string, seconds: number): void =>
    grants.add({ role, user: 'bob', untilMs: clock.wallMs() + seconds * 1_000, reason: 'x', grantedBy: 'http' });
  t.same(grants.of('bob'), new Set());
  add('on_call', 10);
  add('writer', 20);
  const both = grants.of('bob');
  t.same(both, new Set(['on_call', 'writer']));
  t.equal(grants.of('bob'), both);
  t.same(grants.of('alice'), new Set());
  clock.advance(9_999);
  t.equal(grants.of('bob'), both);
  clock.advance(1);
  t.same(grants.of('bob'), new Set(['writer']));
  t.same(
    grants.list().map(({ role }) => role),
    ['writer'],
  );
  add('writer', 60);
  clock.advance(30_000);
  t.same(grants.of('bob'), new Set(['writer']), 'given again, for longer');
  t.equal(grants.remove('writer', 'bob'), true);
  t.equal(grants.remove('writer', 'bob'), false);
  t.same(grants.of('bob'), new Set());
});
