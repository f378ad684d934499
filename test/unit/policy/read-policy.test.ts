// What a policy file means, and what is said about a bad one: a row for each error.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the braces are what is tested

import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { formatProblem, loadConfig, policyTables } from '../../../lib/config/index.js';
import {
  isSettingKind,
  type PolicyDocument,
  type PolicyResult,
  readPolicy,
  statementGroups,
  statementKinds,
} from '../../../lib/policy/index.js';
import { policyOf, tryPolicy } from '../../support/policy.js';

const env = { MASK_KEY: '0123456789abcdef', SHORT: 'hunter2', TEAM: 'analyst' };

function read(policy: string): PolicyResult {
  return tryPolicy(policy, env);
}

function good(policy: string): PolicyDocument {
  return policyOf(policy, env);
}

function problems(policy: string): readonly string[] {
  const result = read(policy);
  return result.ok ? [] : result.problems.map(formatProblem);
}

void t.test('a policy says who, what and how, and leaves the rest open', async (t) => {
  const policy = good(`[policy]
mode = "observe"
default = "allow"
unknown = "allow"
mask_key = "\${MASK_KEY}"
[policy.roles.analysts]
users = ["\${TEAM}_*", "bi"]
databases = "app, app_*"
applications = ["psql"]
networks = ["10.0.0.0/8", "::1", "unix"]
certificates = ["*.example.org"]
hours = ["08:00-12:30", "22:00-06:00"]
days = ["mon-wed", "sat"]
timezone = "Europe/Berlin"
statement_timeout = 0.5
lock_timeout = "2"
[policy.roles.night]
granted_only = true
[[policy.rules]]
name = "no-ddl"
roles = ["analysts"]
except = ["night"]
databases = ["app*"]
statements = ["write", "SELECT", "set_role"]
tables = ["public.Orders", '*."Odd.Name"']
columns = ["*.users.email"]
functions = ["pg_catalog.pg_sleep*"]
verdict = "deny"
message = "no"
hint = "ask"
[[policy.rules]]
name = "limits"
statements = ["any", "select"]
require = ["where", "limit"]
max_cost = 1000
max_rows = 10
rate = "100/min"
[[policy.masks]]
columns = ["*.*.email"]
with = "hash"
`);
  t.equal(policy.source, 'p.toml');
  t.same([policy.mode, policy.default, policy.unknown], ['observe', 'allow', 'allow']);
  t.equal(policy.maskKey?.reveal(), env.MASK_KEY);
  const role = policy.roles.get('analysts');
  if (role === undefined) throw new Error('the role is missing');
  t.same(
    ['analyst_kim', 'bi', 'bi2', 'analyst'].map((user) => role.users.some((pattern) => pattern.matches(user))),
    [true, true, false, false],
  );
  t.equal(role.databases.length, 2);
  t.equal(role.networks.length, 3);
  t.same(role.hours, [
    { fromMinute: 480, toMinute: 750 },
    { fromMinute: 0, toMinute: 360 },
    { fromMinute: 1320, toMinute: 1440 },
  ]);
  t.same([...role.days], [1, 2, 3, 6]);
  t.equal(role.timeZone, 'Europe/Berlin');
  t.same([role.statementTimeoutMs, role.lockTimeoutMs, role.grantedOnly], [500, 2000, false]);
  const night = policy.roles.get('night');
  t.same([night?.grantedOnly, night?.timeZone, night?.users, night?.days.size], [true, 'UTC', [], 0]);
  const [ddl, limits] = policy.rules;
  if (ddl === undefined || limits === undefined) throw new Error('a rule is missing');
  t.same([ddl.name, ddl.roles, ddl.except, ddl.verdict], ['no-ddl', ['analysts'], ['night'], 'deny']);
  t.same([...ddl.statements], [...statementGroups.write, 'select', 'set_role']);
  t.same([ddl.tables[0]?.matches(['public', 'orders']), ddl.tables[1]?.matches(['a', 'Odd.Name'])], [true, true]);
  t.same([ddl.message, ddl.hint, ddl.place], ['no', 'ask', { file: 'p.toml', line: 19 }]);
  t.equal(limits.statements.size, 0, 'any is everything, also what no list names');
  t.same([[...limits.require], limits.maxCost, limits.maxRows], [['where', 'limit'], 1000, 10]);
  t.same([limits.rate, limits.verdict], [{ count: 100, perMs: 60_000 }, 'deny']);
  t.same(policy.masks[0]?.method, { kind: 'hash' });
  t.equal(policy.masks[0]?.name, undefined);
});

void t.test('an empty policy denies everything: it is written down on purpose or not at all', async (t) => {
  const policy = good('[policy]');
  t.same([policy.mode, policy.default, policy.unknown, policy.maskKey], ['enforce', 'deny', 'deny', undefined]);
  t.same([policy.roles.size, policy.rules, policy.masks], [0, [], []]);
});

void t.test('each way to mask has its own keys', async (t) => {
  const methods: readonly (readonly [string, unknown])[] = [
    ['with = "null"', { kind: 'null' }],
    ['with = "email"', { kind: 'email' }],
    ['with = "constant"\nvalue = ""', { kind: 'constant', value: '' }],
    ['with = "partial"\nkeep_last = 2', { kind: 'partial', keepFirst: 0, keepLast: 2, fill: '***' }],
    ['with = "partial"\nkeep_first = 1\nfill = "…"', { kind: 'partial', keepFirst: 1, keepLast: 0, fill: '…' }],
    ['with = "number"\nstep = 100', { kind: 'number', step: 100 }],
    ['with = "date"\nunit = "month"', { kind: 'date', unit: 'month' }],
    ['with = "sql"\nsql = "left({column}, 3)"', { kind: 'sql', expression: 'left({column}, 3)' }],
  ];
  for (const [keys, method] of methods) {
    t.same(good(`[[policy.masks]]\ncolumns = ["a.b.c"]\n${keys}`).masks[0]?.method, method, keys);
  }
});

/** A text, and the first lines of what is said about it. */
type Row = readonly [policy: string, ...heads: string[]];

const rule = '[[policy.rules]]\nname = "r"\nverdict = "deny"\n';
const mask = '[[policy.masks]]\ncolumns = ["a.b.c"]\n';
const inRule = 'policy.rules[0] "r": ';
const inMask = 'policy.masks[0]: ';

const rows: readonly Row[] = [
  // [policy]
  ['[policy]\nmode = "on"', '2: policy.mode: not one of the allowed words'],
  ['[policy]\ndefault = "maybe"', '2: policy.default: not one of the allowed words'],
  ['[policy]\nunknown = 1', '2: policy.unknown: not one of the allowed words'],
  ['[policy]\nmask_key = "${SHORT}"', '2: policy.mask_key: too short'],
  ['[policy]\nmask_key = "${NOPE}"', '2: policy.mask_key: environment variable NOPE is not set'],
  ['[policy]\nrule = []', '2: policy.rule: unknown key'],
  ['[policy]\nroles = 1', '2: policy.roles: not a table'],
  ['[policy]\nrules = 1', '2: policy.rules: not a list of tables'],
  ['[policy.rules]\nname = "x"', '1: policy.rules: not a list of tables'],
  ['[policy]\nmasks = [1]', '2: policy.masks: not a list of tables'],
  // Roles
  ['[policy.roles."a b"]', '1: policy.roles.a b: not the name of a role'],
  ['[policy.roles]\na = 1', '2: policy.roles.a: not a table'],
  ['[policy.roles.a]\nuser = ["x"]', '2: policy.roles.a.user: unknown key'],
  ['[policy.roles.a]\nusers = []', '2: policy.roles.a.users: an empty list'],
  ['[policy.roles.a]\nusers = 1', '2: policy.roles.a.users: not a list'],
  ['[policy.roles.a]\nusers = ["x",\n""]', '3: policy.roles.a.users: not an item of a list'],
  ['[policy.roles.a]\nusers = ["x", 1]', '2: policy.roles.a.users: not an item of a list'],
  [`[policy.roles.a]\nusers = ["${'x'.repeat(1025)}"]`, '2: policy.roles.a.users: not an item of a list'],
  [`[policy.roles.a]\nusers = [${'"x",'.repeat(1001)}]`, '2: policy.roles.a.users: too many items'],
  ['[policy.roles.a]\nusers = ["${NOPE}"]', '2: policy.roles.a.users: environment variable NOPE is not set'],
  ['[policy.roles.a]\nnetworks = ["10.0.0.0/33"]', '2: policy.roles.a.networks: neither an address nor a network'],
  ['[policy.roles.a]\nnetworks = ["db.internal"]', '2: policy.roles.a.networks: neither an address nor a network'],
  ['[policy.roles.a]\nhours = ["8-18"]', '2: policy.roles.a.hours: not a time of day'],
  ['[policy.roles.a]\nhours = ["08:00-25:00"]', '2: policy.roles.a.hours: not a time of day'],
  ['[policy.roles.a]\nhours = ["08:00-08:00"]', '2: policy.roles.a.hours: not a time of day'],
  ['[policy.roles.a]\ndays = ["mon-fry"]', '2: policy.roles.a.days: not a day of the week'],
  ['[policy.roles.a]\ndays = ["mon"]\ntimezone = "Berlin"', '3: policy.roles.a.timezone: not a time zone'],
  ['[policy.roles.a]\ntimezone = "UTC"', '2: policy.roles.a.timezone: without effect'],
  ['[policy.roles.a]\nstatement_timeout = 0', '2: policy.roles.a.statement_timeout: out of range'],
  ['[policy.roles.a]\nlock_timeout = "2s"', '2: policy.roles.a.lock_timeout: not a number of seconds'],
  ['[policy.roles.a]\ngranted_only = 2', '2: policy.roles.a.granted_only: not a flag'],
  // Rules
  ['[[policy.rules]]\nverdict = "deny"', '1: policy.rules[0]: name: missing'],
  ['[[policy.rules]]\nname = "no ddl"\nverdict = "deny"', '2: policy.rules[0]: name: not a name'],
  ['[[policy.rules]]\nname = ["x"]\nverdict = "deny"', '2: policy.rules[0]: name: not text'],
  [`${rule}${rule}`, '5: policy.rules[1] "r": name: another one above has this name'],
  ['[[policy.rules]]\nname = "r"', `1: ${inRule}verdict: missing`],
  [`${rule}sql = "x"`, `4: ${inRule}sql: unknown key`],
  ['[[policy.rules]]\nname = "r"\nverdict = "allowed"', `3: ${inRule}verdict: not one of the allowed words`],
  [`${rule}roles = ["analyst"]\n[policy.roles.analysts]`, `4: ${inRule}roles: there is no such role`],
  [`${rule}except = ["a"]`, `4: ${inRule}except: there is no such role`],
  [`${rule}roles = ["a"]\nexcept = ["a"]\n[policy.roles.a]`, `5: ${inRule}except: in \`roles\` too`],
  [`${rule}databases = []`, `4: ${inRule}databases: an empty list`],
  [`${rule}statements = []`, `4: ${inRule}statements: an empty list`],
  [`${rule}statements = ["select",\n"selct"]`, `5: ${inRule}statements: unknown statement`],
  [`${rule}statements = ["set_"]`, `4: ${inRule}statements: unknown statement`],
  [`${rule}tables = ["orders"]`, `4: ${inRule}tables: names no schema`],
  [`${rule}tables = ["db.public.orders"]`, `4: ${inRule}tables: schema.table has 2 parts, this has 3`],
  [`${rule}tables = ["public."]`, `4: ${inRule}tables: a part of the name is empty`],
  [`${rule}tables = ["public.my-table"]`, `4: ${inRule}tables: not a name`],
  [`${rule}tables = ['public."x']`, `4: ${inRule}tables: a part of the name is empty`],
  [`${rule}tables = ["public.${'x'.repeat(64)}"]`, `4: ${inRule}tables: names in PostgreSQL have at most 63 bytes`],
  [`${rule}columns = ["users.email"]`, `4: ${inRule}columns: names no schema`],
  [`${rule}columns = ["email"]`, `4: ${inRule}columns: schema.table.column has 3 parts, this has 1`],
  [`${rule}functions = ["pg_sleep"]`, `4: ${inRule}functions: names no schema`],
  [`${rule}require = ["were"]`, `4: ${inRule}require: not an allowed word`],
  [`${rule}max_cost = 0`, `4: ${inRule}max_cost: out of range`],
  [`${rule}max_rows = "many"`, `4: ${inRule}max_rows: not a whole number`],
  [`${rule}rate = "100 per minute"`, `4: ${inRule}rate: not a rate`],
  [`${rule}rate = "0/min"`, `4: ${inRule}rate: not a rate`],
  [`${rule}message = " "`, `4: ${inRule}message: empty`],
  ['[[policy.rules]]\nname = "r"\nverdict = "allow"\nrate = "1/s"', `4: ${inRule}rate: not with \`verdict = "allow"\``],
  ['[[policy.rules]]\nname = "r"\nverdict = "allow"\nhint = "x"', `4: ${inRule}hint: not with \`verdict = "allow"\``],
  // Masks
  ['[[policy.masks]]\nwith = "null"', `1: ${inMask}columns: missing`],
  ['[[policy.masks]]\ncolumns = ["a.b.c"]', `1: ${inMask}with: missing`],
  [`${mask}with = "nil"`, `3: ${inMask}with: not one of the allowed words`],
  [`${mask}with = "hash"`, `3: ${inMask}with: \`hash\` needs \`mask_key\` in \`[policy]\``],
  [`${mask}with = "constant"`, `1: ${inMask}value: missing: \`with = "constant"\` needs it`],
  [`${mask}with = "number"`, `1: ${inMask}step: missing: \`with = "number"\` needs it`],
  [`${mask}with = "number"\nstep = 0`, `4: ${inMask}step: out of range`],
  [`${mask}with = "date"`, `1: ${inMask}unit: missing: \`with = "date"\` needs it`],
  [`${mask}with = "date"\nunit = "minute"`, `4: ${inMask}unit: not one of the allowed words`],
  [`${mask}with = "sql"`, `1: ${inMask}sql: missing: \`with = "sql"\` needs it`],
  [`${mask}with = "sql"\nsql = ""`, `4: ${inMask}sql: empty`],
  [`${mask}with = "partial"`, `3: ${inMask}with: keeps nothing`],
  [`${mask}with = "null"\nvalue = "x"`, `4: ${inMask}value: only with \`with = "constant"\``],
  [`${mask}with = "null"\nkeep_first = 1`, `4: ${inMask}keep_first: only with \`with = "partial"\``],
  [`${mask}with = "null"\nkeep_last = 1`, `4: ${inMask}keep_last: only with \`with = "partial"\``],
  [`${mask}with = "null"\nfill = "x"`, `4: ${inMask}fill: only with \`with = "partial"\``],
  [`${mask}with = "null"\nstep = 1`, `4: ${inMask}step: only with \`with = "number"\``],
  [`${mask}with = "null"\nunit = "day"`, `4: ${inMask}unit: only with \`with = "date"\``],
  [`${mask}with = "null"\nsql = "x"`, `4: ${inMask}sql: only with \`with = "sql"\``],
  [`${mask}with = "null"\nroles = ["x"]`, `4: ${inMask}roles: there is no such role`],
  [
    `${mask}with = "null"\nname = "m"\n${mask}with = "null"\nname = "m"`,
    '8: policy.masks[1] "m": name: another one above',
  ],
];

for (const [policy, ...heads] of rows) {
  void t.test(`refused: ${policy.replaceAll('\n', ' / ').slice(0, 90)}`, async (t) => {
    const found = problems(policy);
    t.equal(found.length, heads.length, found.join('\n'));
    for (const [index, head] of heads.entries()) t.match(found[index], `p.toml:${head}`);
  });
}

void t.test('all problems are told at once, by line, with what is allowed and what was meant', async (t) => {
  const found = problems(`[policy]
mode = "enforc"
[[policy.rules]]
name = "no-ddl"
statements = ["selct"]
tables = ["orders"]
roles = ["analyst"]
verdict = "deny"
[policy.roles.analysts]
user = ["x"]`);
  t.same(found, [
    [
      'p.toml:2: policy.mode: not one of the allowed words',
      '  received: "enforc"',
      '  allowed:  off, observe, enforce',
      '  did you mean: enforce',
    ].join('\n'),
    [
      'p.toml:5: policy.rules[0] "no-ddl": statements: unknown statement',
      '  received: "selct"',
      '  did you mean: select',
    ].join('\n'),
    [
      'p.toml:6: policy.rules[0] "no-ddl": tables: names no schema',
      '  received: "orders"',
      '  allowed:  public.TABLE, or *.TABLE',
    ].join('\n'),
    [
      'p.toml:7: policy.rules[0] "no-ddl": roles: there is no such role',
      '  received: "analyst"',
      '  allowed:  analysts',
      '  did you mean: analysts',
    ].join('\n'),
    ['p.toml:10: policy.roles.analysts.user: unknown key', '  did you mean: users'].join('\n'),
  ]);
});

void t.test('no problem shows the mask key or what an environment variable holds', async (t) => {
  const bad = [
    '[policy]\nmask_key = "${SHORT}"',
    '[policy]\nmask_key = "hunter2"',
    '[policy]\nmask_key = ["hunter2"]',
    '[policy]\nmask_kee = "hunter2"',
    '[policy]\nmode = "${SHORT}"',
    '[policy.roles.a]\nnetworks = ["${SHORT}"]',
    '[policy.roles.a]\ndays = ["mon"]\ntimezone = "${SHORT}"',
    `${rule}rate = "\${SHORT}"`,
    `${rule}statements = ["\${SHORT}"]`,
    `${rule}tables = "a.b, \${SHORT}"`,
    `${rule}columns = ["\${SHORT}.x"]`,
  ];
  for (const policy of bad) {
    const found = problems(policy);
    t.equal(found.length, 1, policy);
    t.notMatch(found.join('\n'), 'hunter2', policy);
  }
});

void t.test('the examples are good', async (t) => {
  const names = readdirSync('config/examples')
    .filter((name) => name.startsWith('policy-'))
    .sort();
  t.same(names, ['policy-analysts.toml', 'policy-ci.toml', 'policy-developers.toml', 'policy-production.toml']);
  for (const name of names) {
    const path = `config/examples/${name}`;
    const readFile = (asked: string): string =>
      asked === path ? readFileSync(path, 'utf8') : `[weir]\npolicy_file = "${path}"`;
    const loaded = loadConfig('weir.toml', { env: {}, readFile });
    const raw = loaded.ok ? loaded.config.policy : null;
    if (raw === null) throw new Error(`${name} could not be loaded`);
    const result = readPolicy(raw, { POLICY_MASK_KEY: env.MASK_KEY });
    t.same(result.ok ? [] : result.problems.map(formatProblem), [], name);
    t.ok(result.ok && result.policy.rules.length > 2, name);
  }
});

void t.test('the reference names every key and every kind of statement', async (t) => {
  const page = readFileSync('config/README.md', 'utf8');
  for (const { keys } of Object.values(policyTables)) {
    for (const key of Object.keys(keys)) t.ok(page.includes(`\n| \`${key}\` |`), key);
  }
  const part = page.slice(page.indexOf('### Statements'));
  for (const [group, members] of Object.entries(statementGroups)) {
    const row = part.split('\n').find((line) => line.startsWith(`| \`${group}\``));
    const listed = [...(row ?? '').matchAll(/`([a-z_]+)`/g)].map(([, name]) => name);
    for (const kind of group === 'any' ? [] : members) {
      const object = kind.replace(/^(create|alter|drop)_(?!owned|table_as)/, '');
      t.ok(listed.includes(object), `${group}: ${kind}`);
    }
  }
  const grouped = new Set<string>([...statementGroups.ddl, ...statementGroups.read, ...statementGroups.write]);
  for (const kind of statementKinds) if (!grouped.has(kind)) t.ok(part.includes(`\`${kind}\``), kind);
  t.equal(new Set(statementKinds).size, statementKinds.length);
  t.same(['set_role', 'set_a.b', 'set_', 'set_Role', 'set'].map(isSettingKind), [true, true, false, false, false]);
});
