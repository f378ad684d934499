// The weir policy commands as they are met in CI and at a desk: arguments, output, exit status, and a schema read from a server.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot, startPostgres, type Teardown, temporaryDirectory } from '../../support/index.js';
import { startWeir } from '../../support/weir.js';
import { type Ended, WeirCommand } from '../../support/weir-command.js';

const server = await startPostgres({
  sql: [
    "create role bob login password 'secret'",
    'create table people (id int primary key, email varchar(80), born timestamp(0))',
    'create view people_view as select * from people',
    'create schema bob authorization bob',
    'create table bob.notes (id int)',
  ],
});
t.teardown(() => server.stop());

const spec = join(projectRoot, 'test/spec/policy');

const policy = `
[policy]
mode = "enforce"
default = "allow"
unknown = "deny"
mask_key = "a key that nobody may see"
[policy.roles.analyst]
users = ["bob"]
[[policy.rules]]
name = "no-ddl"
roles = ["analyst"]
statements = ["ddl"]
verdict = "deny"
hint = "Ask the <data> team & wait."
[[policy.rules]]
name = "slowly"
roles = ["analyst"]
rate = "10/min"
[[policy.masks]]
roles = ["analyst"]
columns = ["public.people.email"]
with = "hash"
`;

function run(
  t: Teardown,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Ended> {
  return new WeirCommand(t, ['policy', ...args], options).ended;
}

/** A directory with a policy file and others. */
function directoryOf(t: Teardown, files: Readonly<Record<string, string>> = {}): string {
  const directory = temporaryDirectory(t);
  for (const [name, text] of Object.entries({ 'policy.toml': policy, ...files })) {
    writeFileSync(join(directory, name), text);
  }
  return directory;
}

void t.test('explain tells deeds, rules, verdict and conditions', async (t) => {
  const cwd = directoryOf(t);
  const asked = ['explain', '--user', 'bob', '--sql', 'select id from orders; drop table orders', 'policy.toml'];
  const { status, stdout, stderr } = await run(t, asked, { cwd });
  t.equal(status, 0, stderr);
  t.match(stdout, /^roles: analyst$/m);
  t.match(stdout, /^ {4}select public\.orders: allow, no rule$/m);
  t.match(stdout, /^ {4}drop_table public\.orders: deny, rule "no-ddl"$/m);
  t.match(stdout, /^ {2}verdict: deny by no-ddl$/m);
  t.match(stdout, /^ {2}when it runs: rule "slowly": at most 10 in 60 s$/m);
  t.match(stdout, /HINT: Ask the <data> team & wait\./);
});

void t.test('explain with the schema of a server: by URL', async (t) => {
  const cwd = directoryOf(t);
  const url = `postgresql://bob@${server.host}:${server.port}/postgres`;
  const asked = [
    'explain',
    '--user',
    'bob',
    '--connect',
    url,
    '--sql',
    'select * from people',
    '--json',
    'policy.toml',
  ];
  const { status, stdout, stderr } = await run(t, asked, { cwd, env: { PGPASSWORD: 'secret' } });
  t.equal(status, 0, stderr);
  const [text] = (JSON.parse(stdout) as { texts: { verdict: string; rewritten: string; tables: string[] }[] }).texts;
  t.equal(text?.verdict, 'masked');
  t.same(text?.tables, ['public.people']);
  t.match(
    text?.rewritten,
    /^select \* from \(SELECT "id", CAST\(.*'\*\*\*'.* AS "email", "born" FROM "public"."people"\) AS "people"$/,
  );
  t.notMatch(stdout, /nobody may see/);
});

void t.test('names are looked up as the user, whoever is logged in', async (t) => {
  const cwd = directoryOf(t);
  const { user, password } = server.admin;
  const url = `postgresql://${user}@${server.host}:${server.port}/postgres`;
  const asked = ['explain', '--user', 'bob', '--connect', url, '--sql', 'select * from notes', 'policy.toml'];
  const { stdout, stderr } = await run(t, asked, { cwd, env: { PGPASSWORD: password } });
  t.match(stdout, /select bob\.notes: allow/, stderr);
});

void t.test('explain with the schema of a server: by the configuration', async (t) => {
  const database = `[databases.app]\nhost = "${server.host}"\nport = ${server.port}\ndbname = "postgres"\n`;
  const weir = `[weir]\npolicy_file = "policy.toml"\naudit_dir = "trail"\n${database}`;
  const cwd = directoryOf(t, { 'weir.toml': weir });
  const asked = ['explain', '--user', 'bob', '--database', 'app', '--connect', '--sql', 'select id from people_view'];
  const { status, stdout, stderr } = await run(t, asked, { cwd, env: { PGPASSWORD: 'secret' } });
  t.equal(status, 0, stderr);
  t.match(stdout, /select public\.people_view: deny, \(mask\)/);
});

void t.test('explain says why there is no schema, without the password', async (t) => {
  const cwd = directoryOf(t);
  const url = `postgresql://bob:wrong-word@${server.host}:${server.port}/postgres`;
  const { status, stderr } = await run(t, ['explain', '--user', 'bob', '--connect', url, '--sql', 'x', 'policy.toml'], {
    cwd,
  });
  t.equal(status, 1);
  t.match(stderr, /password authentication failed/);
  t.notMatch(stderr, /wrong-word/);
});

const migration = `-- two bad statements of four
\\set ON_ERROR_STOP on
begin;

create table
  more (id int);
copy people (id) from stdin;
1; drop table people
\\.
selec 1;
commit;
`;

void t.test('check finds what would be denied, in each format', async (t) => {
  const cwd = directoryOf(t, { 'm.sql': migration, 'good.sql': 'select 1;' });
  const asked = ['check', '--policy', 'policy.toml', '--user', 'bob', 'good.sql', 'm.sql'];
  const text = await run(t, asked, { cwd });
  t.equal(text.status, 1, text.stderr);
  t.match(text.stdout, /^m\.sql:5: denied by the policy: more \[no-ddl\]$/m);
  t.match(text.stdout, /^m\.sql:10: cannot be parsed: syntax error at or near "selec" \[\(unknown\)\]$/m);
  t.match(text.stdout, /^6 statements, 2 failed$/m);

  const junit = await run(t, [...asked, '--format', 'junit'], { cwd });
  t.match(junit.stdout, /<testsuites name="weir policy statements" tests="6" failures="2">/);
  t.match(junit.stdout, /<testsuite name="m.sql" tests="5" failures="2" errors="0">/);
  t.match(junit.stdout, /Ask the &lt;data&gt; team &amp; wait\./);

  const sarif = await run(t, [...asked, '--format', 'sarif', '--output', 'out.sarif'], { cwd });
  t.equal(sarif.status, 1);
  t.equal(sarif.stdout, '');
  const log = JSON.parse(readFileSync(join(cwd, 'out.sarif'), 'utf8')) as Sarif;
  t.equal(log.version, '2.1.0');
  const [report] = log.runs;
  t.equal(log.runs.length, 1);
  t.equal(report?.tool.driver.name, 'weir');
  const found = report?.results.map(({ ruleId, ruleIndex, level, message, locations: [location] }) => {
    t.equal(report.tool.driver.rules[ruleIndex]?.id, ruleId);
    t.equal(level, 'error');
    t.ok(message.text.length > 0);
    return [ruleId, location?.physicalLocation.artifactLocation.uri, location?.physicalLocation.region.startLine];
  });
  t.same(found, [
    ['no-ddl', 'm.sql', 5],
    ['(unknown)', 'm.sql', 10],
  ]);
});

interface Sarif {
  readonly version: string;
  readonly runs: readonly {
    readonly tool: { readonly driver: { readonly name: string; readonly rules: readonly { readonly id: string }[] } };
    readonly results: readonly {
      readonly ruleId: string;
      readonly ruleIndex: number;
      readonly level: string;
      readonly message: { readonly text: string };
      readonly locations: readonly {
        readonly physicalLocation: {
          readonly artifactLocation: { readonly uri: string };
          readonly region: { readonly startLine: number };
        };
      }[];
    }[];
  }[];
}

void t.test('check finds nothing in what is allowed', async (t) => {
  const cwd = directoryOf(t, { 'm.sql': 'create table more (id int);' });
  const { status, stdout } = await run(t, ['check', '--policy', 'policy.toml', '--user', 'alice', 'm.sql'], { cwd });
  t.equal(status, 0);
  t.equal(stdout, '1 statements, 0 failed\n');
});

void t.test('check follows transactions, as the example for migrations asks', async (t) => {
  const example = join(projectRoot, 'config/examples/policy-ci.toml');
  const cwd = directoryOf(t, {
    'good.sql': 'begin; create table a (id int); commit; create index on a (id);',
    'bad.sql': 'begin; select 1; commit;\ncreate table a (id int);\nupdate a set id = 1;\ndrop table a;',
  });
  const good = await run(t, ['check', '--policy', example, '--user', 'deploy', 'good.sql'], { cwd });
  t.equal(good.status, 0, good.stdout);
  const bad = await run(t, ['check', '--policy', example, '--user', 'deploy', 'bad.sql'], { cwd });
  t.equal(bad.status, 1);
  t.same(
    [...bad.stdout.matchAll(/^bad\.sql:(\d+): .* \[(.*)\]$/gm)].map(([, line, rule]) => [line, rule]),
    [
      ['2', 'in-a-transaction'],
      ['3', 'where'],
      ['4', 'no-data-loss'],
    ],
  );
});

void t.test('test passes with the examples of the project, and fails with one that is wrong', async (t) => {
  const good = await run(t, ['test', join(spec, 'verdicts-analyst.toml'), join(spec, 'verdicts-developer.toml')]);
  t.equal(good.status, 0, good.stdout);
  t.match(good.stdout, /^\d+ tests, 0 failed$/m);
  const example =
    'policy = "policy.toml"\n[[tests]]\nname = "drops"\nsql = "drop table a"\nuser = "bob"\nexpect = "allow"\n';
  const cwd = directoryOf(t, { 'wrong.toml': example });
  const bad = await run(t, ['test', '--format', 'junit', 'wrong.toml'], { cwd });
  t.equal(bad.status, 1);
  t.match(bad.stdout, /<testcase classname="wrong.toml" name="drops" file="wrong.toml" line="2">/);
});

void t.test('learn writes a policy under which the examples of what was learnt pass', async (t) => {
  const texts = [
    'select * from orders',
    'copy (select 1) to stdout',
    'insert into app."Odd" values (\'x\')',
    'select own()',
    'do $$ begin end $$',
  ];
  const lines = texts.flatMap((sql, seq) =>
    ['bob', 'alice'].map((user) => JSON.stringify({ seq, event: 'statement', user, sql, verdict: 'allow' })),
  );
  const more = [
    { event: 'segment', version: 1 },
    { seq: 90, event: 'statement', user: 'bob', sql: 'drop table x', verdict: 'deny' },
    { seq: 91, event: 'statement', user: 'bob', sql: 'select 1 from cut', sql_bytes: 70_000, verdict: 'allow' },
    { seq: 92, event: 'statement', user: 'bob', sql: null, verdict: 'allow' },
  ].map((record) => JSON.stringify(record));
  const tests = texts.map((sql) => `[[tests]]\nuser = "bob"\nsql = ${JSON.stringify(sql)}\nexpect = "allow"\n`);
  const others = ['drop table x', 'select 1 from cut', 'delete from orders', 'select another()'];
  const denied = others.map((sql) => `[[tests]]\nuser = "bob"\nsql = "${sql}"\nexpect = "deny"\n`);
  const alice = '[[tests]]\nuser = "alice"\nsql = "select * from orders"\nexpect = "deny"\n';
  const cwd = directoryOf(t, {
    'audit.1.0.1.jsonl': `${[...more, ...lines].join('\n')}\n{"seq":99,"eve`,
    'examples.toml': `policy = "learnt.toml"\n${[...tests, ...denied, alice].join('')}`,
  });
  const learnt = await run(t, ['learn', '--user', 'bob', '--output', 'learnt.toml', 'audit.1.0.1.jsonl'], { cwd });
  t.equal(learnt.status, 0, learnt.stderr);
  t.match(learnt.stderr, /learnt from 5 different statements of 1 users/);
  t.match(learnt.stderr, /1 records of denied statements/);
  t.match(learnt.stderr, /2 records have no text/);
  const tested = await run(t, ['test', 'examples.toml'], { cwd });
  t.equal(tested.status, 0, tested.stdout);
});

for (const form of ['full', 'normalised'] as const) {
  void t.test(`what a weir has recorded (${form}) it allows under what is learnt, and nothing else`, async (t) => {
    const cwd = directoryOf(t);
    const users = { [server.admin.user]: server.admin.password };
    const { user, password } = server.admin;
    const used = [
      'select id, email from people where id = 1',
      "insert into people values (1, 'a@example.org') on conflict do nothing",
      'update people set email = null where id in (1, 2)',
      'select * from people_view limit 1',
      'begin; select count(*) from people; commit',
      "set work_mem = '1MB'",
      'create temp table mine as select 1 as one',
      'select one from mine',
      "select set_config('app.user', 'x', false), now()",
      'copy (select id from people) to stdout',
    ];
    const recording = await startWeir({ server, users, weir: { audit_dir: join(cwd, 'trail'), audit_sql: form } });
    const client = await recording.connect({ user, password, database: 'postgres' });
    for (const sql of used) await client.query(sql);
    await client.query('select email from people where id = $1', [1]);
    await client.end();
    await recording.stop();

    const segments = readdirSync(join(cwd, 'trail')).map((name) => join('trail', name));
    const learnt = await run(t, ['learn', '--output', 'learnt.toml', ...segments], { cwd });
    t.equal(learnt.status, 0, learnt.stderr);
    t.match(learnt.stderr, /^learnt from 11 different statements of 1 users$/m);

    const enforcing = await startWeir({ server, users, policy: readFileSync(join(cwd, 'learnt.toml'), 'utf8') });
    t.teardown(() => enforcing.stop());
    const again = await enforcing.connect({ user, password, database: 'postgres' });
    for (const sql of used) await t.resolves(again.query(sql), sql);
    await t.resolves(again.query('select email from people where id = $1', [1]));
    for (const sql of ['delete from people where id = 1', 'select * from pg_roles', 'drop table people']) {
      await t.rejects(again.query(sql), { code: '42501' }, sql);
    }
    await again.end();
  });
}

const refusals: readonly (readonly [name: string, args: readonly string[], said: RegExp])[] = [
  ['nobody', ['explain', '--sql', 'x', 'policy.toml'], /HINT: Give --user or --role/],
  ['no statement', ['explain', '--user', 'bob', 'policy.toml'], /HINT: Give one of --sql and --file/],
  ['no role', ['explain', '--role', 'x', '--sql', 'x', 'policy.toml'], /HINT: It has: analyst\./],
  ['no time', ['explain', '--user', 'bob', '--at', 'noon', '--sql', 'x', 'policy.toml'], /not a time: noon/],
  ['no file', ['check', '--user', 'bob', '--policy', 'policy.toml', 'x.sql'], /cannot read x\.sql/],
  [
    'no policy',
    ['check', '--user', 'bob', '--policy', 'x.toml', 'x.sql'],
    /x\.toml: cannot be read: there is no such file/,
  ],
  [
    'no URL',
    ['explain', '--user', 'bob', '--connect', 'localhost', '--sql', 'x', 'policy.toml'],
    /--connect takes a URL/,
  ],
  [
    'no schema',
    ['explain', '--user', 'bob', '--schema', 'policy.toml', '--sql', 'x', 'policy.toml'],
    /policy\.toml:2: syntax error/,
  ],
  ['no segment', ['learn', 'audit.9.0.1.jsonl'], /cannot read audit\.9\.0\.1\.jsonl/],
];

for (const [name, args, said] of refusals) {
  void t.test(`refused: ${name}`, async (t) => {
    const { status, stderr } = await run(t, args, { cwd: directoryOf(t) });
    t.equal(status, 1);
    t.match(stderr, said);
  });
}
