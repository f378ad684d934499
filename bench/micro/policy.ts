// What a decision costs, with two hundred rules: where the shape has been decided before, and where it has not.

import { formatProblem, loadConfig } from '../../lib/config/index.js';
import { type Names, Policy, readPolicy, Schema } from '../../lib/policy/index.js';
import type { StatementFacts } from '../../lib/sql/index.js';
import { gatePolicy } from '../gate-policy.js';
import type { Exercise } from './exercise.js';
import { type StatementTools, scanMode } from './statements.js';
import { join, pointQuery, type TextOf } from './texts.js';

const rules = 200;
/** As many as a database of middling size has. */
const tables = [
  ...Array.from({ length: 300 }, (_, i) => `table_${i}`),
  'pgbench_accounts',
  'orders',
  'order_lines',
  'customers',
];

export const policyExercises: readonly Exercise<StatementTools>[] = [
  hit('point-query', pointQuery),
  miss('point-query', pointQuery),
  miss('join-200', join),
];

function policyInForce(): Policy {
  const readFile = (path: string): string => (path === 'p.toml' ? gatePolicy(rules) : '[weir]\npolicy_file = "p.toml"');
  const loaded = loadConfig('weir.toml', { env: {}, readFile });
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  const { policy } = loaded.config;
  const result = policy === null ? undefined : readPolicy(policy, {});
  if (result?.ok !== true) throw new Error('the policy of the bench is not one');
  return new Policy(result.policy);
}

const schema = new Schema({
  relations: tables.map((name) => ['public', name, 'false']),
  bases: [],
  calls: [],
  columns: [],
  functions: [],
  path: [['"$user", public', 'app']],
  usable: [['public', 'true']],
});

function judgeOf(policy: Policy): ReturnType<Policy['judge']> {
  const ruleset = policy.ruleset([], 'app');
  const ownTables: Names['ownTables'] = new Set();
  return policy.judge({ ruleset, schema, searchPath: undefined, role: undefined, inDoubt: false, ownTables });
}

async function factsOf({ seen }: StatementTools, text: TextOf): Promise<StatementFacts> {
  seen.withDeeds = true;
  const bytes = Buffer.from(text(1_000_000));
  const facts = seen.lookup(bytes, 0, bytes.length, scanMode);
  if (!facts.known || facts.deeds === undefined) throw new Error('not understood');
  return facts;
}

function hit(name: string, text: TextOf): Exercise<StatementTools> {
  return decision(`policy/hit/${name}`, text, (facts) => facts);
}

/** Other facts each time, of the same deeds. */
function miss(name: string, text: TextOf): Exercise<StatementTools> {
  return decision(`policy/miss/${name}`, text, (facts) => ({ ...facts }));
}

function decision(
  name: string,
  text: TextOf,
  next: (facts: StatementFacts) => StatementFacts,
): Exercise<StatementTools> {
  return {
    name,
    prepare: async (tools) => {
      const facts = await factsOf(tools, text);
      const judge = judgeOf(policyInForce());
      return {
        run: (calls) => {
          let allowed = 0;
          for (let i = 0; i < calls; i++) if (judge.decide(next(facts)).denial === undefined) allowed++;
          return allowed;
        },
        expected: (calls) => calls,
      };
    },
  };
}
