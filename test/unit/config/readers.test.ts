// The two readers, the environment and the auth_file: what a text means, and what is said about a bad one.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the braces are what is tested

import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { parseConnectionString } from '../../../lib/config/connection-string.js';
import { expandEnvironment } from '../../../lib/config/env.js';
import {
  type Config,
  formatProblem,
  type LoadResult,
  loadConfig,
  loadUserList,
  parseUserList,
  storedPasswordBytesMax,
  storedPasswords,
  userNameBytesMax,
} from '../../../lib/config/index.js';
import { includeDepthMax } from '../../../lib/config/raw.js';
import { findKeyLines, lineOf, linesOf } from '../../../lib/config/toml-lines.js';

const env = { APP_PASSWORD: 'from-env', POOL: '7', EMPTY: '' };

function load(name: string, files: Readonly<Record<string, string>>): LoadResult {
  const readFile = (path: string) => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error('missing'), { code: 'ENOENT' });
    return text;
  };
  return loadConfig(name, { env, readFile });
}

const toml = (text: string) => load('weir.toml', { 'weir.toml': text });
const ini = (text: string) => load('p.ini', { 'p.ini': text });

function good(result: LoadResult): Config {
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.config;
}

/** One line a problem: `line key message`. */
function faults(result: LoadResult): readonly string[] {
  return result.ok ? [] : result.problems.map((problem) => `${problem.line ?? '-'} ${problem.key} ${problem.message}`);
}

t.test('a TOML file gives a typed configuration with weir defaults for the rest', async (t) => {
  const config = good(
    toml(`
[weir]
listen_addr = ["127.0.0.1", "::1"]
http_listen = "[::1]:9127"
server_idle_timeout = 0.5
unix_socket_mode = 0o770
log_connections = 0
[databases.app]
host = "db1, /run/pg,@abstract"
port = 5433
password = "\${APP_PASSWORD}"
user = "app"
pool_size = "\${POOL}"
[databases."*"]
[users."o'brien"]
pool_mode = "SESSION"
`),
  );
  t.equal(config.dialect, 'toml');
  t.equal(config.file, 'weir.toml');
  t.equal(config.weir.pool_mode, 'transaction');
  t.equal(config.weir.auth_type, 'scram-sha-256');
  t.same(config.weir.listen_addr, ['127.0.0.1', '::1']);
  t.same(config.weir.http_listen, { host: '::1', port: 9127 });
  t.equal(config.weir.server_idle_timeout, 0.5);
  t.equal(config.weir.unix_socket_mode, 0o770);
  t.equal(config.weir.log_connections, false);
  const app = config.databases.get('app');
  t.same(app?.hosts, [
    { kind: 'tcp', host: 'db1', port: 5433 },
    { kind: 'unix', path: '/run/pg', port: 5433 },
    { kind: 'unix', path: '@abstract', port: 5433 },
  ]);
  t.equal(app?.password?.reveal(), 'from-env');
  t.equal(app?.pool_size, 7);
  t.equal(app?.dbname, undefined);
  t.same(config.databases.get('*')?.hosts, [{ kind: 'unix', path: '/tmp', port: 5432 }]);
  t.equal(config.users.get("o'brien")?.pool_mode, 'session');
});

t.test(
  'every problem of a TOML file names line, key, what was received, what is allowed and the nearest key',
  async (t) => {
    const result = toml(`[weir]
pool_mode = "transation"
listen_prt = 1
max_client_conn = 0
auth_type = "ldap"
[databases.app]
pool_mode.deep = 1
host = '''
db'''
min_pool_sise = 3
[databases.other]
port = 70000
listen_port = 1
[users.x]
pool_size = [1]
[pgbouncer]
`);
    t.same(faults(result), [
      '2 weir.pool_mode not one of the allowed words',
      '3 weir.listen_prt unknown setting',
      '4 weir.max_client_conn out of range',
      '5 weir.auth_type "ldap" is not supported yet',
      '7 databases.app.pool_mode not one of the allowed words',
      '10 databases.app.min_pool_sise unknown setting',
      '12 databases.other.port out of range',
      '13 databases.other.listen_port this setting does not belong here',
      '15 users.x.pool_size not a whole number',
      '16 pgbouncer unknown section',
    ]);
    t.ok(!result.ok);
    if (result.ok) return;
    t.equal(
      formatProblem(result.problems[0]!),
      [
        'weir.toml:2: weir.pool_mode: not one of the allowed words',
        '  received: "transation"',
        '  allowed:  session, transaction, statement',
        '  did you mean: transaction',
      ].join('\n'),
    );
    t.equal(result.problems[1]?.nearest, 'listen_port');
    t.equal(result.problems.at(-1)?.nearest, 'weir');
  },
);

t.test('what is not supported yet is refused by name in both dialects', async (t) => {
  for (const method of ['hba', 'ldap', 'pam']) {
    t.match(faults(toml(`[weir]\nauth_type = "${method}"`))[0], `"${method}" is not supported yet`);
    t.match(
      faults(ini(`[pgbouncer]\nauth_type = ${method}`))[0],
      `2 pgbouncer.auth_type "${method}" is not supported yet`,
    );
  }
  t.same(faults(toml('[peers]\n1 = "host=x"')), ['1 peers peering is not supported yet']);
  t.same(faults(ini('[pgbouncer]\n[peers]\n1 = host=x')), ['2 peers peering is not supported yet']);
});

t.test('a syntax error names its line and quotes nothing of the file', async (t) => {
  const result = toml('[databases.app]\npassword = "hunter2\nuser = "x"');
  t.equal(result.ok, false);
  const text = result.ok ? '' : result.problems.map(formatProblem).join('\n');
  t.match(text, /^weir\.toml:[23]: /);
  t.notMatch(text, 'hunter2');
});

t.test('no secret is shown in any problem', async (t) => {
  const results = [
    toml('[databases.app]\npasswrd = "hunter2"'),
    toml('[databases.app]\npassword = ["hunter2"]'),
    toml('[databases.app]\nhost = "postgres://app:hunter2@db/app"'),
    toml('[weir]\npasswords = "hunter2"'),
    ini("[databases]\napp = password='hunter2 host=x"),
    ini('[databases]\napp = password=hunter2 pasword=hunter2'),
    ini('[databases]\napp = hunter2'),
    ini('[pgbouncer]\nhunter2'),
  ];
  for (const result of results) {
    t.equal(result.ok, false);
    if (!result.ok) t.notMatch(result.problems.map(formatProblem).join('\n'), 'hunter2');
  }
});

t.test('environment variables are replaced in texts, and only there', async (t) => {
  t.same(expandEnvironment('a${POOL}b', env), { ok: true, text: 'a7b' });
  t.match(expandEnvironment('a${EMPTY}', env), { ok: false, message: 'environment variable EMPTY is empty' });
  t.same(expandEnvironment('$${POOL} $POOL $$', env), { ok: true, text: '${POOL} $POOL $$' });
  t.same(expandEnvironment('${X}', { X: '${POOL}' }), { ok: true, text: '${POOL}' });
  t.match(expandEnvironment('${NOPE}', env), { ok: false, message: 'environment variable NOPE is not set' });
  t.match(expandEnvironment('${toString}', env), { ok: false, message: 'environment variable toString is not set' });
  t.match(expandEnvironment('${POOL', env), { ok: false, message: /unfinished/ });
  t.match(expandEnvironment('${}', env), { ok: false, message: /not the name/ });
  t.same(faults(toml('[users.app]\npassword = "${EMPTY}"')), [
    '2 users.app.password environment variable EMPTY is empty',
  ]);
  t.same(faults(toml('[databases.app]\n\nhost = ["a", "${NOPE}"]')), [
    '3 databases.app.host environment variable NOPE is not set',
  ]);
  t.equal(good(ini('[databases]\napp = password=${POOL}')).databases.get('app')?.password?.reveal(), '${POOL}');
});

t.test('the line of a TOML key is found past strings, arrays, comments and inline tables', async (t) => {
  const lines = findKeyLines(`# [no]
a = """
b = 1
\\""" ""x"""
[ t . "q.\\"x" ] # c = 1
k = [ # d = 1
  "]", '#',
  [1, 2],
]
m = { n = 1, o = "}" }
x.y = 'c:\\'
[[list]]
z = 1`);
  const found = (...path: string[]) => lineOf(lines, path);
  t.equal(found('a'), 2);
  t.equal(found('b'), null);
  t.equal(found('t', 'q."x'), 5);
  t.equal(found('t', 'q."x', 'k'), 6);
  t.equal(found('t', 'q."x', 'm', 'n'), 10);
  t.equal(found('t', 'q."x', 'x', 'y'), 11);
  t.equal(found('list', '0', 'z'), 13);
});

t.test('the elements of an array of tables are told apart, also nested ones and those written inline', async (t) => {
  const lines = findKeyLines(`[[p.rules]]
name = "a"
[p.rules.sub]
x = 1
[[p.rules]]

name = "b"
list = ["one", # a comment with ] and "
  "two",
  '''
three''', "four",
]
[[p.rules.deep]]
y = 1
[[p.rules.deep]]
y = 2
[[p.rules]]
[[p.rules.deep]]
y = 3
[p.other]
z = [
  { m = 1, n = [
    2 ] },
  { m = 3 },
]
when = 1979-05-27 07:32:00
after = -1e5 # end`);
  const found = (...path: string[]) => lineOf(lines, ['p', ...path]);
  t.equal(found('rules', '0', 'name'), 2);
  t.equal(found('rules', '0', 'sub', 'x'), 4);
  t.equal(found('rules', '1'), 5);
  t.equal(found('rules', '1', 'name'), 7);
  t.equal(found('rules', '1', 'absent'), 5);
  t.same(
    ['0', '1', '2', '3'].map((index) => found('rules', '1', 'list', index)),
    [8, 9, 10, 11],
  );
  t.equal(found('rules', '1', 'deep', '0', 'y'), 14);
  t.equal(found('rules', '1', 'deep', '1', 'y'), 16);
  t.equal(found('rules', '2'), 17);
  t.equal(found('rules', '2', 'deep', '0', 'y'), 19);
  t.equal(found('other', 'z', '0', 'm'), 22);
  t.equal(found('other', 'z', '0', 'n', '0'), 23);
  t.equal(found('other', 'z', '1', 'm'), 24);
  t.equal(found('other', 'when'), 26);
  t.equal(found('other', 'after'), 27);
  const one = linesOf(findKeyLines('[policy]\na = 1\n[policy2]\nb = 1'), 'policy');
  t.same([...one.values()], [1, 2]);
});

t.test('a policy is in the weir.toml or in the file it names, and the configuration carries it unread', async (t) => {
  const policy = '[policy]\nmask_key = "hunter2"\n[[policy.rules]]\nname = "${NOPE}"';
  const inside = good(toml(`[weir]\n${policy}`)).policy;
  t.equal(inside?.file, 'weir.toml');
  t.same(inside?.table.rules, [{ name: '${NOPE}' }]);
  t.same(inside?.place(['rules', '0', 'name']), { file: 'weir.toml', line: 5 });
  t.notMatch(JSON.stringify(inside) + inspect(inside, { depth: 9, showHidden: true }), 'hunter2');
  t.equal(good(toml('[weir]')).policy, null);
  const named = { 'weir.toml': '[weir]\npolicy_file = "p.toml"', 'p.toml': `#\n${policy}` };
  const outside = good(load('weir.toml', named)).policy;
  t.same(outside?.place(['mask_key']), { file: 'p.toml', line: 3 });
  t.ok(inside !== null && inside !== undefined && outside?.equals(inside), 'lines do not count');
  const ini = { 'p.ini': '[pgbouncer]\npolicy_file = p.toml', 'p.toml': policy };
  t.equal(good(load('p.ini', ini)).policy?.file, 'p.toml');
});

t.test('a policy that is in two places, in none, or beside other things is refused', async (t) => {
  const naming = '[weir]\npolicy_file = "p.toml"\n';
  const both = { 'weir.toml': `${naming}[policy]`, 'p.toml': '[policy]' };
  t.same(faults(load('weir.toml', both)), [
    '2 weir.policy_file this file has a `[policy]` of its own; keep one of the two',
  ]);
  const withPolicy = (text: string) => faults(load('weir.toml', { 'weir.toml': naming, 'p.toml': text }));
  t.same(faults(load('weir.toml', { 'weir.toml': naming })), [
    '2 weir.policy_file cannot be read: there is no such file',
  ]);
  t.same(withPolicy('[polcy]\n'), ['- policy there is no such table', '1 polcy does not belong in a policy file']);
  t.same(withPolicy('policy = 1'), ['1 policy there is no such table']);
  t.match(withPolicy('[policy'), [/^1 {2}invalid TOML/]);
  t.same(faults(toml('policy = 1')), ['1 policy not a table']);
  t.same(faults(ini('[policy]\nmode = off')), [
    '1 policy a policy is written in TOML, in a file of its own that `policy_file` names',
  ]);
  t.match(faults(load('p.ini', { 'p.ini': '[pgbouncer]\n\npolicy_file = p.toml' })), [
    /^3 pgbouncer.policy_file cannot/,
  ]);
});

t.test("an ini file is read in PgBouncer's dialect and keeps PgBouncer's defaults", async (t) => {
  const config = good(
    ini(
      `; comment
   # another
 [databases]
  app =   host=127.0.0.1   port = 5433 dbname='it''s ; app' connect_query='SET x = 1; SELECT 2' # not a comment?=1
`.replace(' # not a comment?=1', ''),
    ),
  );
  t.equal(config.dialect, 'ini');
  t.equal(config.weir.pool_mode, 'session');
  t.equal(config.weir.auth_type, 'md5');
  t.same(config.weir.listen_addr, []);
  const app = config.databases.get('app');
  t.equal(app?.dbname, "it's ; app");
  t.equal(app?.connect_query, 'SET x = 1; SELECT 2');
  t.same(app?.hosts, [{ kind: 'tcp', host: '127.0.0.1', port: 5433 }]);
});

t.test(
  'in an ini file the last of repeated keys and sections wins, empty values and old names are accepted',
  async (t) => {
    const config = good(
      ini(`[pgbouncer]
auth_file =
listen_port= 7000
server_check_query = SELECT ';' # part of the value
pkt_buf = 8192\r
unix_socket_mode = 0770
server_lifetime = 1e3
[databases]
app = host=old pool_size=3
bare =
"odd name" = host=x reserve_pool=4
* = host=h1,h2,h3
[pgbouncer]
listen_port = 7001
[users] bob = pool_mode=statement query_wait_timeout=-1
[databases]
app = host=new`),
    );
    t.equal(config.weir.listen_port, 7001);
    t.equal(config.weir.auth_file, '');
    t.equal(config.weir.server_check_query, "SELECT ';' # part of the value");
    t.equal(config.weir.unix_socket_mode, 0o770);
    t.equal(config.weir.server_lifetime, 1000);
    t.equal(config.weir.pkt_buf, 8192);
    t.equal(config.databases.get('app')?.pool_size, undefined, 'a repeated database replaces the earlier one whole');
    t.equal(config.databases.get('odd name')?.reserve_pool_size, 4);
    t.equal(config.databases.get('*')?.hosts.length, 3);
    t.same(config.databases.get('bare')?.hosts, [{ kind: 'unix', path: '/tmp', port: 5432 }]);
    t.equal(config.users.get('bob')?.pool_mode, 'statement');
    t.equal(config.users.get('bob')?.query_wait_timeout, undefined);
  },
);

t.test('%include reads another file in place, and its problems name that file', async (t) => {
  const files = {
    'p.ini': '[pgbouncer]\n%include more.ini\nlisten_port = 1',
    'more.ini': 'max_client_conn = 9\nlisten_port = 2\n[databases]\n%include dbs.ini\n[pgbouncer]',
    'dbs.ini': 'app = host=x',
  };
  const config = good(load('p.ini', files));
  t.equal(config.weir.max_client_conn, 9);
  t.equal(config.weir.listen_port, 1);
  t.ok(config.databases.has('app'));
  const bad = load('p.ini', { ...files, 'dbs.ini': '\napp = host' });
  t.ok(!bad.ok && bad.problems.some((problem) => problem.file === 'dbs.ini' && problem.line === 2));
  t.same(faults(load('p.ini', { 'p.ini': '\n%include nope.ini' })), [
    '2 %include nope.ini cannot be read: there is no such file',
  ]);
});

t.test('files that include themselves end at the named depth', async (t) => {
  const result = load('p.ini', { 'p.ini': '[pgbouncer]\n%include p.ini' });
  t.match(faults(result).join('\n'), `more than ${includeDepthMax} deep`);
  t.equal(faults(result).length, 1);
});

t.test('an ini syntax error names its line', async (t) => {
  t.match(faults(ini('[pgbouncer\n'))[0], /^1 .*closing/);
  t.match(faults(ini('x = 1\n'))[0], /^1 x a setting before/);
  t.match(faults(ini('[pgbouncer]\n\nlisten_port\n'))[0], /^3 .*neither/);
  t.match(faults(ini('[weir]\na = 1\n'))[0], /^1 weir unknown section/);
  t.match(faults(ini('[pgbouncer]\nlisten_port = 06432'))[0], /^2 pgbouncer.listen_port not a whole number/);
  t.match(faults(ini('[pgbouncer]\nlisten_port ='))[0], /^2 pgbouncer.listen_port not a whole number/);
});

t.test('a connection string is split as PgBouncer does', async (t) => {
  const pairs = (text: string) => {
    const parsed = parseConnectionString(text);
    return parsed.ok ? Object.fromEntries(parsed.pairs) : parsed.message;
  };
  t.same(pairs(''), {});
  t.same(pairs("  a=1 b = 'two words'  c='it''s'"), { a: '1', b: 'two words', c: "it's" });
  t.same(pairs("a=x=y b=it's"), { a: 'x=y', b: "it's" });
  t.match(pairs("a=''"), 'the value of "a" is empty');
  t.match(pairs('a=1 b='), 'the value of "b" is empty');
  t.match(pairs("a='x"), 'the value of "a" has an unfinished quote');
  t.match(pairs('a'), 'key=value');
  t.match(pairs(`a='${"''".repeat(200_000)}`), 'unfinished quote');
});

t.test('a missing, unreadable or oversized file is a problem', async (t) => {
  t.same(faults(load('none.toml', {})), ['-  cannot be read: there is no such file']);
  t.match(faults(toml(`#${'x'.repeat(17 * 1024 * 1024)}`))[0], 'larger than');
  const listed = toml(`[weir]\n${Array.from({ length: 300 }, (_, index) => `k${index} = 1`).join('\n')}`);
  t.equal(faults(listed).length, 101, 'the list of problems is bounded');
  t.equal(faults(listed).at(-1), '-  and 200 more');
});

t.test('the example files load without a problem or warning', async (t) => {
  for (const name of ['weir.example.toml', 'pgbouncer.example.ini']) {
    const result = loadConfig(`config/${name}`, { env: { APP_PASSWORD: 'a', READONLY_PASSWORD: 'b' } });
    t.same(faults(result), [], name);
    t.same(result.warnings, [], name);
  }
  t.ok(readFileSync('config/weir.example.toml', 'utf8').includes('${APP_PASSWORD}'));
});

t.test('any text at all is read or refused, never thrown over', async (t) => {
  const word = fc.constantFrom(
    '[',
    ']',
    '=',
    '"',
    "'",
    '\n',
    '\\',
    '#',
    ';',
    ' ',
    '${',
    '}',
    '.',
    '%include p.ini\n',
    '*',
  );
  const name = fc.constantFrom(
    'weir',
    'databases',
    'users',
    'pgbouncer',
    'app',
    'pool_size',
    'host',
    '__proto__',
    '1',
    '-1',
  );
  const texts = fc.array(fc.oneof(word, name, fc.string({ unit: 'binary', maxLength: 4 })), { maxLength: 40 });
  let refused = 0;
  fc.assert(
    fc.property(texts, (parts) => {
      const text = parts.join('');
      for (const result of [toml(text), ini(text)]) {
        if (result.ok) continue;
        refused++;
        t.ok(result.problems.length > 0 && result.problems.every((problem) => formatProblem(problem) !== ''));
      }
      const list = parseUserList(text);
      return list.ok || list.problems.length > 0;
    }),
    { seed: 2, numRuns: 500 },
  );
  t.ok(refused > 100);
});

const scram = `SCRAM-SHA-256$4096:${'A'.repeat(22)}==$${'B'.repeat(43)}=:${'C'.repeat(43)}=`;

t.test('an auth_file gives the password of each user and its kind', async (t) => {
  const result = parseUserList(`; comment
"plain" "pass word" ignored "rest"
 "md" "md50123456789abcdef0123456789abcdef"\r
"sc" "${scram}"
"say ""hi""" "a""b"
"empty" ""
"plain" "second wins"
`);
  t.ok(result.ok);
  if (!result.ok) return;
  const kinds = [...result.users].map(([user, stored]) => [user, stored.kind, stored.secret.reveal()]);
  t.same(kinds, [
    ['plain', 'plain', 'second wins'],
    ['md', 'md5', 'md50123456789abcdef0123456789abcdef'],
    ['sc', 'scram-sha-256', scram],
    ['say "hi"', 'plain', 'a"b'],
    ['empty', 'plain', ''],
  ]);
});

t.test('a bad auth_file names the line and shows nothing of it, and lengths end at the named limits', async (t) => {
  const bad = parseUserList('"a" "hunter2"\n"b" hunter2\nhunter2\n"" "x"\n"c" "hunter2', 'users.txt');
  t.ok(!bad.ok);
  if (bad.ok) return;
  t.same(
    bad.problems.map((problem) => problem.line),
    [2, 3, 4, 5],
  );
  t.notMatch(bad.problems.map(formatProblem).join('\n'), 'hunter2');
  const line = (name: number, password: number) => `"${'u'.repeat(name)}" "${'p'.repeat(password)}"`;
  t.ok(parseUserList(line(userNameBytesMax, storedPasswordBytesMax)).ok);
  t.notOk(parseUserList(line(userNameBytesMax + 1, 1)).ok);
  t.notOk(parseUserList(line(1, storedPasswordBytesMax + 1)).ok);
});

t.test('passwords of [users.NAME] lie over those of the auth_file, and a missing file is a problem', async (t) => {
  const config = good(toml('[users.a]\npassword = "new"\n[users.c]\npool_size = 1'));
  const list = loadUserList('u', () => '"a" "old"\n"b" "kept"');
  t.ok(list.ok);
  if (!list.ok) return;
  const all = [...storedPasswords(config, list.users)].map(([user, stored]) => `${user}=${stored.secret.reveal()}`);
  t.same(all, ['a=new', 'b=kept']);
  const missing = loadUserList('/nonexistent/userlist.txt');
  t.match(missing, { ok: false, problems: [{ message: 'cannot be read: there is no such file' }] });
});
