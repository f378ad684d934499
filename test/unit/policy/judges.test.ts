// Which sessions share decisions: those of the same roles whose names mean the same, and no others.

import t from 'tap';
import { type Context, type Judge, Policy, Schema } from '../../../lib/policy/index.js';
import { policyOf } from '../../support/policy.js';

const policy = new Policy(
  policyOf(`[policy]
default = "allow"
[[policy.masks]]
columns = ["public.people.email"]
with = "null"`),
);

function databaseOf(schemas: readonly string[]): Schema {
  return Schema.of({ user: 'bob', relations: schemas.map((name) => [name, 'people', 'false', 'false']) });
}

const schema = databaseOf(['public', '?']);

function judge(changes: Partial<Context>): Judge {
  const ruleset = policy.ruleset([], 'shop');
  const none = { searchPath: undefined, role: undefined, inDoubt: false, ownTables: new Set<string>() };
  return policy.judge({ ruleset, schema, ...none, ...changes });
}

void t.test('sessions with the same search path share a judge', async (t) => {
  t.equal(judge({}), judge({ searchPath: 'bob, public' }));
  t.not(judge({}), judge({ searchPath: 'public' }));
});

void t.test('a schema called ? is no search path that is not known', async (t) => {
  const named = judge({ searchPath: '"?"' });
  const doubtful = judge({ inDoubt: true });
  t.not(named, doubtful);
  t.same(named.names?.path, ['?']);
  t.equal(doubtful.names?.path, undefined);
});

void t.test('a schema that has been read anew has judges of its own', async (t) => {
  t.not(judge({}), judge({ schema: databaseOf(['public']) }));
  t.equal(judge({}), judge({}), 'and the one before keeps its own');
});
