// How much work a decision is: in step with the length of the text, whatever the text is made of.

import t from 'tap';
import { decide, Ruleset, Schema } from '../../../lib/policy/index.js';
import { type Deeds, StatementReader } from '../../../lib/sql/index.js';
import { policyOf } from '../../support/policy.js';

const parts = 400;
const partNames = Array.from({ length: parts }, (_, number) => `events_${number}`);
const schema = Schema.of({
  user: 'bob',
  relations: [
    ['public', 'people', 'false', 'false'],
    ['public', 'orders', 'false', 'false'],
    ['public', 'events', 'false', 'false'],
    ['public', 'seen', 'true', 'false'],
    ...partNames.map((name) => ['public', name, 'false', 'false'] as const),
  ],
  bases: [
    ['public', 'seen', 'public', 'orders', 'read'],
    ...partNames.map((name) => ['public', name, 'public', 'events', 'read'] as const),
  ],
  columns: ['id', 'name', 'email', 'ssn'].map((name) => ['public', 'people', name, 'text'] as const),
});
const policy = policyOf(`[policy]
default = "allow"
unknown = "deny"
[[policy.rules]]
name = "no-ssn"
columns = ["public.people.ssn", "*.*.iban"]
verdict = "deny"
[[policy.rules]]
name = "orders"
columns = ["public.orders.id", "public.orders.total"]
verdict = "allow"
[[policy.rules]]
name = "no-secrets"
tables = ["public.secrets", "public.events_secret"]
verdict = "deny"
[[policy.masks]]
columns = ["public.people.email", "*.*.phone"]
with = "null"`);
const ruleset = new Ruleset(policy, [], 'shop');
const names = { schema, path: ['public'], ownTables: new Set<string>() };

/** @param n how many of each: the text grows with it */
type Shape = (n: number) => string;

function list(n: number, item: (number: number) => string, between = ', '): string {
  return Array.from({ length: n }, (_, number) => item(number)).join(between);
}

const shapes: Readonly<Record<string, Shape>> = {
  'columns of one name, tables of many': (n) =>
    `select ${list(n, () => 'yy.ssn')} from ${list(n, (i) => `public.people q${i}`)}, big yy`,
  'columns of each table': (n) =>
    `select ${list(n, (i) => `q${i}.name`)} from ${list(n, (i) => `public.people q${i}`)}`,
  'columns of one alias in many queries': (n) => `select ${list(n, (i) => `(select q.c${i} from public.people q)`)}`,
  'columns of no table': (n) => `select ${list(n, (i) => `c${i}`)} from ${list(n, (i) => `public.orders q${i}`)}`,
  'columns of tables whose own are not known': (n) =>
    `select ${list(n, (i) => `q${i}.iban${i}`)} from ${list(n, (i) => `other${i} q${i}`)}`,
  'whole rows': (n) => `select ${list(n, (i) => `q${i}`)} from ${list(n, (i) => `public.people q${i}`)}`,
  'functions and tables': (n) =>
    `select ${list(n, (i) => `f${i}(q${i}.id)`)} from ${list(n, (i) => `public.people q${i}`)}`,
  'a partitioned table many times': (n) => `select 1 from ${list(n, (i) => `public.events e${i}`)}`,
  'a view many times': (n) => `select 1 from ${list(n, (i) => `public.seen s${i}`)}`,
  'with queries': (n) =>
    `with ${list(n, (i) => `w${i} as (select 1 from ${i > 0 ? `w${i - 1}` : 'people'})`)} select 1 from w${n - 1}`,
  using: (n) => `select 1 from people ${list(n, (i) => `join orders o${i} using (c${i})`, ' ')}`,
  'updates of many columns': (n) => `update people set ${list(n, (i) => `c${i} = q.d${i}`)} from orders q`,
  statements: (n) => list(n, (i) => `select q.c${i} from people q`, ';'),
  operators: (n) => `select ${list(n, (i) => `q.id operator(other.+) ${i}`)} from people q`,
};

const roundsMin = 20;
const inVainMax = 10;
const msMax = 3_000;

/** Milliseconds of the quickest, when no further one is quicker: what else the machine does only makes it slower. */
function msOf(run: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  let inVain = 0;
  const until = performance.now() + msMax;
  for (let round = 0; (round < roundsMin || inVain < inVainMax) && performance.now() < until; round++) {
    const begin = performance.now();
    run();
    const ms = performance.now() - begin;
    inVain = ms < best ? 0 : inVain + 1;
    best = Math.min(best, ms);
  }
  return best;
}

const reader = await StatementReader.create();

async function deedsOf(text: string): Promise<Deeds> {
  const reading = await reader.read(text);
  if (reading.kind === 'unread' || reading.facts.deeds === undefined) throw new Error(`not read: ${text.slice(0, 80)}`);
  return reading.facts.deeds;
}

const few = 80;
const factor = 16;
/** Of work that grows as the text does the factor, of work that grows as its square the square of it. */
const ratioMax = factor * 6;
/** So short that nobody waits for it, whatever the ratio. */
const shortMs = 2;
const attemptsMax = 3;

for (const [title, shape] of Object.entries(shapes)) {
  t.test(`work grows as the text does: ${title}`, async (t) => {
    const [short, long] = [await deedsOf(shape(few)), await deedsOf(shape(few * factor))];
    t.equal(long.unknown, false, 'all of it is looked at');
    // A statement's own index is made once: each round decides about a copy.
    const decideAnew = (deeds: Deeds) => (): void => {
      const copy = { ...deeds, statements: deeds.statements.map((statement) => ({ ...statement })) };
      decide(copy, ruleset, names);
    };
    const tries: string[] = [];
    let isInStep = false;
    // A machine with other work to do may spoil a measurement, and not several.
    for (let attempt = 0; attempt < attemptsMax && !isInStep; attempt++) {
      const [shortly, longer] = [msOf(decideAnew(short)), msOf(decideAnew(long))];
      isInStep = longer < shortMs || longer / shortly < ratioMax;
      tries.push(`${shortly.toFixed(2)} ms, ${longer.toFixed(2)} ms for ${factor} times the text`);
    }
    t.ok(isInStep, tries.join('; '));
    t.comment(tries.at(-1) ?? '');
  });
}
