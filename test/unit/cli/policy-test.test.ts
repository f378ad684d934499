// The examples of test/spec/policy, each with its verdict and rule; that examples fail which are wrong, and files that are.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import t from 'tap';
import { policyAt } from '../../../lib/cli/load.js';
import { rehearsalOf, schemaAt } from '../../../lib/cli/policy-setup.js';
import { testFile } from '../../../lib/cli/policy-test.js';
import { StatementReader } from '../../../lib/sql/index.js';
import { PoolerError } from '../../../lib/util/index.js';
import { projectRoot, temporaryDirectory } from '../../support/index.js';

const reader = await StatementReader.create();
const spec = join(projectRoot, 'test/spec/policy');

// The policy for analysts asks for it.
process.env['POLICY_MASK_KEY'] = 'only for the examples';

const files: readonly (readonly [file: string, examplesMin: number])[] = [
  ['verdicts-analyst.toml', 120],
  ['verdicts-developer.toml', 30],
  ['example-analysts.toml', 15],
  ['example-ci.toml', 15],
  ['example-developers.toml', 15],
  ['example-production.toml', 15],
  ['../../../config/examples/ci/tests.toml', 3],
];

for (const [file, examplesMin] of files) {
  void t.test(file, async (t) => {
    const cases = await testFile(join(spec, file), reader);
    t.ok(cases.length >= examplesMin);
    for (const { name, line, failure } of cases) t.equal(failure, undefined, `${line}: ${name}`);
  });
}

void t.test('every way of the corpus that a server would deny is denied without one', async (t) => {
  const { denied } = parse(readFileSync(join(spec, 'evasions.toml'), 'utf8')) as unknown as { denied: string[] };
  const schema = await schemaAt(join(spec, 'verdicts.sql'), reader, 'bob');
  const document = policyAt(join(spec, 'analyst.toml'));
  for (const sql of denied) {
    const reading = await reader.read(sql);
    const bob = { user: 'bob', database: 'shop', wallMs: 0 };
    const rehearsal = rehearsalOf(document, bob, { schema, assumes: 'catalog' });
    t.equal(rehearsal.judge(sql, reading.kind === 'read' ? reading.facts : undefined).verdict, 'deny', sql);
  }
});

const policy = `
[policy]
mode = "enforce"
default = "allow"
[[policy.rules]]
name = "no-drop"
statements = ["drop_table"]
verdict = "deny"
`;

async function failuresOf(t: Parameters<typeof temporaryDirectory>[0], examples: string): Promise<unknown> {
  const file = join(temporaryDirectory(t), 'examples.toml');
  writeFileSync(file, policy + examples);
  return (await testFile(file, reader)).map(({ line, failure }) => [line, failure?.rule, failure?.message]);
}

void t.test('an example fails for its verdict, its rule, or its tables', async (t) => {
  const failures = await failuresOf(
    t,
    `
[[tests]]
sql = "drop table x"
user = "bob"
expect = "allow"
[[tests]]
sql = "drop table x"
user = "bob"
expect = "deny"
rule = "no-drops"
[[tests]]
sql = "select 1 from a, b"
user = "bob"
expect = "allow"
tables = ["public.a"]
[[tests]]
sql = "select 1 from b, a"
user = "bob"
expect = "allow"
tables = ["public.a", "public.b"]
`,
  );
  t.same(failures, [
    [10, 'no-drop', 'expected allow, got deny'],
    [14, 'no-drop', 'expected the rule no-drops, got no-drop'],
    [19, '(none)', 'expected the tables public.a, got public.a, public.b'],
    [24, undefined, undefined],
  ]);
});

const wrong: readonly (readonly [name: string, examples: string, said: RegExp])[] = [
  ['no examples', '', /tests: missing/],
  ['no statement', '[[tests]]\nuser = "bob"\nexpect = "allow"', /:9: tests\[0\]\.sql: missing/],
  ['nobody', '[[tests]]\nsql = "select 1"\nexpect = "allow"', /tests\[0\]\.user: missing/],
  [
    'no verdict',
    '[[tests]]\nsql = "select 1"\nuser = "bob"\nexpect = "maybe"',
    /tests\[0\]\.expect: one of allow, deny, masked/,
  ],
  [
    'a key that is none',
    '[[tests]]\nsqll = "x"\nsql = "x"\nuser = "x"\nexpect = "deny"',
    /tests\[0\]\.sqll: unknown key; did you mean sql/,
  ],
  [
    'a list that is none',
    '[[tests]]\ntables = "x"\nsql = "x"\nuser = "x"\nexpect = "deny"',
    /tests\[0\]\.tables: not a list/,
  ],
  ['a time that is none', '[[tests]]\nat = "noon"\nsql = "x"\nuser = "x"\nexpect = "deny"', /not a time: noon/],
  ['a role that is none', '[[tests]]\nrole = "x"\nsql = "x"\nexpect = "deny"', /the policy has no role x/],
];

for (const [name, examples, said] of wrong) {
  void t.test(`refused: ${name}`, async (t) => {
    await t.rejects(failuresOf(t, examples), said);
    await t.rejects(failuresOf(t, examples), PoolerError);
  });
}

void t.test('a policy of a file of its own is wrong where it stands', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'p.toml'), '[policy]\nmode = "perhaps"\n');
  const file = join(directory, 'examples.toml');
  writeFileSync(file, 'policy = "p.toml"\n[[tests]]\nsql = "x"\nuser = "x"\nexpect = "deny"\n');
  await t.rejects(testFile(file, reader), /p\.toml:2: policy\.mode/);
});
