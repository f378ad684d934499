// The table of settings and what is computed from a configuration: checks, resolvers, differences, listing, reference.

import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import t from 'tap';
import { keysIn } from '../../../lib/config/config.js';
import {
  type Config,
  defaultConfig,
  diffConfig,
  findDatabase,
  formatProblem,
  listSettings,
  loadConfig,
  newDatabase,
  newUser,
  printHosts,
  reloadedConfig,
  renderReference,
  resolveAuthQuery,
  resolveLogLevel,
  resolvePool,
  setSetting,
} from '../../../lib/config/index.js';
import { nearest } from '../../../lib/config/problems.js';
import { defaultFor, type Setting, type ValueType } from '../../../lib/config/schema.js';
import { groups, settings } from '../../../lib/config/settings.js';
import { decodeValue, describeAllowed, printValue, sameValue } from '../../../lib/config/values.js';
import { Secret } from '../../../lib/util/index.js';

const table = Object.entries(settings) as readonly (readonly [string, Setting])[];

function load(file: string, text: string) {
  return loadConfig(file, { env: {}, readFile: () => text });
}

function good(text: string, file = 'weir.toml'): Config {
  const result = load(file, text);
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.config;
}

function complaints(text: string, file = 'weir.toml'): { problems: readonly string[]; warnings: readonly string[] } {
  const result = load(file, text);
  const print = (list: readonly { key: string; line: number | null }[]) => list.map((p) => `${p.line ?? '-'} ${p.key}`);
  return { problems: result.ok ? [] : print(result.problems), warnings: print(result.warnings) };
}

t.test('every setting has a default of its own type and range, one group, and a text', async (t) => {
  const grouped = Object.values(groups).flatMap((group) => Object.keys(group));
  t.equal(new Set(grouped).size, grouped.length, 'no key is in two groups');
  t.equal(grouped.length, table.length);
  for (const [key, entry] of table) {
    const said = entry.noEffect ?? entry.doc;
    t.ok(said.length > 10 && !/\s$/.test(said), `${key} is documented`);
    if (entry.noEffect === null) t.match(entry.doc, /[.]$/, `${key} ends its sentence`);
    for (const dialect of ['toml', 'ini'] as const) {
      const value = defaultFor(entry, dialect);
      if (value === null) continue;
      const decoded = decodeValue(entry.type, printValue(entry.type, value));
      t.ok(decoded.ok && sameValue(decoded.value, value), `the default of ${key} survives printing and reading`);
    }
    t.ok(describeAllowed(entry.type).length > 0);
  }
});

t.test(
  "the table has every global, database and user setting of PgBouncer's, with its defaults in an ini file",
  async (t) => {
    const global = {
      application_name_add_host: '0',
      auth_dbname: '',
      auth_file: '',
      auth_hba_file: '',
      auth_ident_file: '',
      auth_ldap_options: '',
      auth_type: 'md5',
      auth_user: '',
      autodb_idle_timeout: '3600',
      cancel_wait_timeout: '10',
      client_idle_timeout: '0',
      client_login_timeout: '60',
      client_tls13_ciphers: '',
      client_tls_ca_file: '',
      client_tls_cert_file: '',
      client_tls_ciphers: 'default',
      client_tls_dheparams: 'auto',
      client_tls_ecdhcurve: 'auto',
      client_tls_key_file: '',
      client_tls_protocols: 'secure',
      client_tls_sslmode: 'disable',
      conffile: '',
      default_pool_size: '20',
      disable_pqexec: '0',
      dns_max_ttl: '15',
      dns_nxdomain_ttl: '15',
      dns_zone_check_period: '0',
      idle_transaction_timeout: '0',
      ignore_startup_parameters: '',
      job_name: 'pgbouncer',
      listen_addr: '',
      listen_backlog: '128',
      listen_port: '6432',
      log_connections: '1',
      log_disconnections: '1',
      log_pooler_errors: '1',
      log_stats: '1',
      logfile: '',
      login_notify_message: '',
      max_client_conn: '100',
      max_db_client_connections: '0',
      max_db_connections: '0',
      max_packet_size: '2147483647',
      max_prepared_statements: '200',
      max_user_client_connections: '0',
      max_user_connections: '0',
      min_pool_size: '0',
      peer_id: '0',
      pidfile: '',
      pkt_buf: '4096',
      pool_idle_timeout: '0',
      pool_mode: 'session',
      query_timeout: '0',
      query_wait_notify: '5',
      query_wait_timeout: '120',
      reserve_pool_size: '0',
      reserve_pool_timeout: '5',
      resolv_conf: '',
      sbuf_loopcnt: '5',
      scram_iterations: '4096',
      server_check_delay: '30',
      server_check_query: '<empty>',
      server_connect_timeout: '15',
      server_fast_close: '0',
      server_idle_timeout: '600',
      server_lifetime: '3600',
      server_login_retry: '15',
      server_reset_query: 'DISCARD ALL',
      server_reset_query_always: '0',
      server_round_robin: '0',
      server_tls13_ciphers: '',
      server_tls_ca_file: '',
      server_tls_cert_file: '',
      server_tls_ciphers: 'default',
      server_tls_key_file: '',
      server_tls_protocols: 'secure',
      server_tls_sslmode: 'prefer',
      service_name: 'pgbouncer',
      so_reuseport: '0',
      stats_period: '60',
      stats_users: '',
      suspend_timeout: '10',
      syslog: '0',
      syslog_facility: 'daemon',
      syslog_ident: 'pgbouncer',
      tcp_defer_accept: '1',
      tcp_keepalive: '1',
      tcp_keepcnt: '0',
      tcp_keepidle: '0',
      tcp_keepintvl: '0',
      tcp_socket_buffer: '0',
      tcp_user_timeout: '0',
      track_extra_parameters: 'IntervalStyle',
      transaction_timeout: '0',
      unix_socket_dir: '/tmp',
      unix_socket_group: '',
      unix_socket_mode: '0777',
      user: '',
      verbose: '0',
      admin_users: '',
    };
    const rows = new Map(listSettings(good('[pgbouncer]', 'p.ini')).map((row) => [row.key, row.default]));
    for (const [key, value] of Object.entries(global)) t.equal(rows.get(key), value, key);
    t.match(rows.get('auth_query'), /^SELECT rolname, CASE WHEN rolvaliduntil/);
    const own = [...rows.keys()].filter((key) => !Object.hasOwn(global, key) && key !== 'auth_query');
    t.ok(
      own.every((key) => settings[key as keyof typeof settings].origin === 'weir'),
      own.join(),
    );
    const has = (scope: 'database' | 'user', keys: string) => {
      for (const key of keys.split(' ')) t.ok((keysIn(scope) as readonly string[]).includes(key), `${scope} ${key}`);
    };
    has(
      'database',
      'dbname host port user password auth_user auth_query auth_dbname pool_size min_pool_size reserve_pool_size',
    );
    has('database', 'pool_mode connect_query query_wait_timeout load_balance_hosts max_db_connections server_lifetime');
    has('database', 'max_db_client_connections client_encoding datestyle timezone application_name');
    has('user', 'pool_mode pool_size reserve_pool_size max_user_connections max_user_client_connections query_timeout');
    has('user', 'query_wait_timeout idle_transaction_timeout transaction_timeout client_idle_timeout');
    const fixed = table
      .filter(([, entry]) => entry.origin === 'pgbouncer' && entry.change === 'restart')
      .map(([key]) => key);
    t.same(fixed.sort(), [
      'disable_pqexec',
      'job_name',
      'listen_addr',
      'listen_backlog',
      'listen_port',
      'pidfile',
      'pkt_buf',
      'resolv_conf',
      'service_name',
      'so_reuseport',
      'track_extra_parameters',
      'unix_socket_dir',
      'unix_socket_group',
      'unix_socket_mode',
      'user',
    ]);
  },
);

t.test('each number is accepted at its limits and refused one beyond', async (t) => {
  let checked = 0;
  for (const [key, { type }] of table) {
    if (type.kind !== 'int' && type.kind !== 'seconds') continue;
    for (const value of [type.min, type.max]) {
      t.ok(decodeValue(type, value).ok, `${key} = ${value}`);
      t.ok(decodeValue(type, String(value)).ok, `${key} = "${value}"`);
    }
    for (const value of [type.min - 1, type.max + 1, Number.NaN, Number.POSITIVE_INFINITY, '', '1x', null, true, [1]]) {
      t.notOk(decodeValue(type, value).ok, `${key} = ${inspect(value)}`);
    }
    checked++;
  }
  t.ok(checked > 40);
});

t.test('values are read from what TOML, ini and console have for them', async (t) => {
  const read = (type: ValueType, raw: unknown) => {
    const decoded = decodeValue(type, raw);
    return decoded.ok ? decoded.value : decoded.refusal.message;
  };
  const { bool, mode, list, endpoint, text } = {
    bool: settings.log_stats.type,
    mode: settings.unix_socket_mode.type,
    list: settings.client_tls_protocols.type,
    endpoint: settings.http_listen.type,
    text: settings.auth_file.type,
  };
  for (const raw of [true, 1, '1', 'on', 'YES', 'true']) t.equal(read(bool, raw), true);
  for (const raw of [false, 0, '0', 'off', 'no', 'False']) t.equal(read(bool, raw), false);
  for (const raw of [2, '', 'maybe', null, []]) t.equal(read(bool, raw), 'not a flag');
  t.equal(read(mode, '0770'), 0o770);
  t.equal(read(mode, '0o700'), 0o700);
  t.equal(read(mode, '789'), 'not octal permissions');
  t.equal(read(mode, 0o1000), 'out of range');
  t.same(read(list, 'TLSv1.2, tlsv1.3,'), ['tlsv1.2', 'tlsv1.3']);
  t.equal(read(list, ['ssl3']), '"ssl3" is not allowed');
  t.equal(read(list, [1]), 'not a list of texts');
  t.same(read(endpoint, '0.0.0.0:0'), { host: '0.0.0.0', port: 0 });
  t.equal(read(endpoint, ''), null);
  for (const raw of ['host', ':80', '::1:80', 'h:99999', 'a b:1', 5]) t.type(read(endpoint, raw), 'string');
  t.equal(read(text, 'a\0b'), 'contains a zero byte');
  t.equal(read(text, 'x'.repeat(8192)), 'x'.repeat(8192));
  t.equal(read(text, 'x'.repeat(8193)), 'too long');
  t.equal(read(settings.pool_mode.type, 'toString'), 'not one of the allowed words');
});

t.test('contradictions between settings are found, with the line of the setting at fault', async (t) => {
  const users = 'auth_file = "u"';
  t.same(complaints(`[weir]\n${users}\nlisten_addr = ""\nunix_socket_dir = ""`).problems, ['3 weir.listen_addr']);
  t.same(complaints(`[weir]\n${users}\nclient_tls_sslmode = "verify-ca"`).problems, [
    '1 weir.client_tls_key_file',
    '1 weir.client_tls_cert_file',
    '1 weir.client_tls_ca_file',
  ]);
  t.same(complaints(`[weir]\n${users}\nclient_tls_cert_file = "c"`).problems, ['1 weir.client_tls_key_file']);
  t.same(complaints(`[weir]\n${users}\nserver_tls_key_file = "k"`).problems, ['1 weir.server_tls_cert_file']);
  t.same(complaints(`[weir]\n${users}\nauth_type = "cert"`).problems, ['3 weir.auth_type']);
  t.same(complaints('[weir]\nauth_type = "any"\n[databases.a]\n[databases.b]\nuser = "u"').problems, [
    '3 databases.a.user',
  ]);
  t.same(complaints(`[weir]\n${users}\nhttp_listen = "127.0.0.1:6432"`).problems, ['3 weir.http_listen']);
  const withToken = (length: number) => complaints(`[weir]\n${users}\nhttp_admin_token = "${'x'.repeat(length)}"`);
  t.same(withToken(15).problems, ['3 weir.http_admin_token']);
  t.same(withToken(16).problems, []);
  for (const name of ['pgbouncer', 'weir']) {
    t.same(complaints(`[weir]\n${users}\n[databases.${name}]`).problems, [`3 databases.${name}`]);
    t.same(complaints(`[databases]\n${name} = host=x`, 'p.ini').problems, [`2 databases.${name}`]);
  }
  for (const host of ['db:5432', 'postgres://u@h/d', 'a b']) {
    t.same(complaints(`[weir]\n${users}\n[databases.a]\nhost = "${host}"`).problems, ['4 databases.a.host'], host);
  }
  t.same(complaints(`[weir]\n${users}\n[databases.a]\nhost = "2001:db8::1, fe80::1%eth0, db-1.internal"`).problems, []);
});

t.test('what PgBouncer tolerates stops a TOML file but only warns in an ini file', async (t) => {
  const pairs: readonly (readonly [toml: string, ini: string, key: string])[] = [
    ['[databases.a]\nmin_pool_size = 21', '[databases]\na = min_pool_size=21', '2 databases.a.min_pool_size'],
    ['[databases.a]\nauth_query = "q"', '[databases]\na = auth_query=q', '2 databases.a.auth_query'],
    ['[databases.a]\npassword = "p"', '[databases]\na = password=p', '2 databases.a.password'],
    ['[databases.a]\nauth_dbname = "b"', '[databases]\na = auth_dbname=b', '2 databases.a.auth_dbname'],
  ];
  for (const [toml, ini, key] of pairs) {
    t.same(complaints(`${toml}\n[weir]\nauth_file = "u"`).problems, [key]);
    t.same(complaints(`${ini}\n[pgbouncer]\nauth_file = u`, 'p.ini'), { problems: [], warnings: [key] });
  }
  t.same(complaints('[weir]\nauth_query = "q"\nauth_file = "u"').problems, ['2 weir.auth_query']);
  t.same(complaints('[weir]\nmin_pool_size = 5\nauth_file = "u"\n[databases.a]\npool_size = 5').problems, []);
  t.same(complaints('[weir]\nmin_pool_size = 5\nauth_file = "u"\n[databases.a]\npool_size = 4').problems, [
    '5 databases.a.pool_size',
  ]);
});

t.test('a setting without effect is warned about only when it is changed', async (t) => {
  t.same(complaints('[databases]\na = host=b\n[pgbouncer]\nauth_file = u\npkt_buf = 4096\nso_reuseport = 1', 'p.ini'), {
    problems: [],
    warnings: ['6 pgbouncer.so_reuseport'],
  });
  t.same(
    complaints('[weir]').warnings,
    ['- databases', '1 weir.auth_type'],
    'and so is a file in which nobody can log in',
  );
});

t.test('a pool takes the user over the database over the global value', async (t) => {
  const config = good(`
[weir]
auth_file = "u"
default_pool_size = 10
query_timeout = 100
client_idle_timeout = 50
max_user_client_connections = 9
[databases.app]
pool_size = 5
pool_mode = "session"
reserve_pool_size = 2
max_db_connections = 0
query_wait_timeout = 4
[databases.forced]
user = "svc"
dbname = "real"
[users.alice]
pool_mode = "statement"
pool_size = 3
query_timeout = 1.5
client_idle_timeout = 7
query_wait_timeout = 0
max_user_client_connections = 2
[users.svc]
pool_size = 8
query_timeout = 33
client_idle_timeout = 44
`);
  t.match(resolvePool(config, 'app', 'alice'), {
    user: 'alice',
    dbname: 'app',
    forced_user: false,
    pool_mode: 'statement',
    pool_size: 3,
    reserve_pool_size: 2,
    query_timeout: 1.5,
    client_idle_timeout: 7,
    query_wait_timeout: 0,
    max_user_client_connections: 2,
    server_lifetime: 3600,
  });
  t.match(resolvePool(config, 'app', 'bob'), {
    user: 'bob',
    pool_mode: 'session',
    pool_size: 5,
    query_timeout: 100,
    client_idle_timeout: 50,
    query_wait_timeout: 4,
    max_user_client_connections: 9,
    max_db_connections: 0,
  });
  t.match(
    resolvePool(config, 'forced', 'alice'),
    {
      user: 'svc',
      dbname: 'real',
      forced_user: true,
      pool_mode: 'transaction',
      pool_size: 8,
      query_timeout: 33,
      client_idle_timeout: 7,
      max_user_client_connections: 2,
    },
    'with a forced user the pool is its, the client stays itself',
  );
  t.equal(resolvePool(config, 'none', 'alice'), undefined);
});

t.test('in database and user entries 0 means the global value where PgBouncer has it so', async (t) => {
  const config = good(`
[weir]
auth_file = "u"
max_db_connections = 50
max_user_connections = 40
query_timeout = 30
server_lifetime = 20
min_pool_size = 6
[databases.app]
max_db_connections = 0
server_lifetime = 0
[users.alice]
max_user_connections = 0
query_timeout = 0
pool_size = 4
`);
  t.match(resolvePool(config, 'app', 'alice'), {
    max_db_connections: 50,
    max_user_connections: 40,
    query_timeout: 30,
    server_lifetime: 20,
    pool_size: 4,
    min_pool_size: 4,
  });
});

t.test('the entry * answers for every other name but those of the console', async (t) => {
  const config = good('[weir]\nauth_file = "u"\n[databases."*"]\nhost = "h"\n[databases.a]\nhost = "other"');
  t.match(findDatabase(config, 'b'), { fallback: true, database: { name: 'b', hosts: [{ host: 'h' }] } });
  t.match(findDatabase(config, 'a'), { fallback: false, database: { name: 'a', hosts: [{ host: 'other' }] } });
  t.equal(resolvePool(config, 'b', 'u')?.dbname, 'b');
  for (const name of ['pgbouncer', 'weir', '*']) t.equal(findDatabase(config, name), undefined, name);
  t.equal(findDatabase(good('[databases.a]\n[weir]\nauth_file = "u"'), 'b'), undefined);
});

t.test('auth_query, its user and its database come from the database or the global section', async (t) => {
  const config = good(`
[weir]
auth_user = "asker"
auth_dbname = "b"
[databases.a]
auth_user = "other"
auth_query = "SELECT 1"
[databases.b]
`);
  const of = (name: string) => resolveAuthQuery(config, config.databases.get(name)!);
  t.same(of('a'), { auth_user: 'other', auth_query: 'SELECT 1', auth_dbname: 'b' });
  t.match(of('b'), { auth_user: 'asker', auth_query: /^SELECT rolname/, auth_dbname: 'b' });
  t.equal(resolveAuthQuery(defaultConfig(), newDatabase('x', [])), undefined);
});

t.test('verbose lowers the log level and never raises it', async (t) => {
  const level = (verbose: number, log_level: 'info' | 'trace') =>
    resolveLogLevel({ ...defaultConfig().weir, verbose, log_level });
  t.same(
    [level(0, 'info'), level(1, 'info'), level(2, 'info'), level(1, 'trace')],
    ['info', 'debug', 'trace', 'trace'],
  );
});

t.test('a configuration made without a file has every key', async (t) => {
  const config = defaultConfig();
  t.equal(config.weir.pool_mode, 'transaction');
  t.same(config.weir.listen_addr, ['127.0.0.1']);
  t.same(Object.keys(config.weir).sort(), [...keysIn('weir')].sort());
  const database = newDatabase('postgres', [{ kind: 'tcp', host: '127.0.0.1', port: 1 }], {
    user: 'u',
    password: new Secret('p'),
  });
  const read = good('[weir]\nauth_file = "u"\n[databases.a]').databases.get('a')!;
  t.same(Object.keys(database).sort(), Object.keys(read).sort(), 'the same shape as one from a file');
  t.equal(newUser('x', { pool_size: 3 }).pool_size, 3);
  t.match(resolvePool({ ...config, databases: new Map([['postgres', database]]) }, 'postgres', 'someone'), {
    user: 'u',
    pool_size: 20,
    pool_mode: 'transaction',
  });
});

t.test('a difference names each key, masks secrets and tells what needs a restart', async (t) => {
  const before = good(`
[weir]
auth_file = "u"
[databases.a]
host = "h1"
user = "u"
password = "hunter2"
[databases.gone]
[users.x]
pool_size = 1
`);
  const after = good(`
[weir]
auth_file = "u"
listen_port = 7000
pool_mode = "session"
[databases.a]
host = "h1,h2"
user = "u"
password = "hunter3"
[databases.fresh]
[users.x]
`);
  t.same(diffConfig(before, before), []);
  const policies = ['', '[policy]\nmode = "off"', '\n[policy]\nmode = "off"', '[policy]'].map((text) => good(text));
  const changed = (from: number, to: number) => diffConfig(policies[from]!, policies[to]!);
  t.same(changed(0, 1), [{ key: 'policy', old: null, new: 'weir.toml', restart: false }]);
  t.same(changed(1, 2), [], 'where it stands does not matter');
  t.same(changed(2, 3), [{ key: 'policy', old: 'weir.toml', new: 'weir.toml', restart: false }]);
  t.same(changed(3, 0), [{ key: 'policy', old: 'weir.toml', new: null, restart: false }]);
  t.same(diffConfig(before, after), [
    { key: 'weir.listen_port', old: '6432', new: '7000', restart: true },
    { key: 'weir.pool_mode', old: 'transaction', new: 'session', restart: false },
    { key: 'databases.a.host', old: 'h1:5432', new: 'h1:5432, h2:5432', restart: false },
    { key: 'databases.a.password', old: '********', new: '********', restart: false },
    { key: 'databases.gone', old: 'removed', new: null, restart: false },
    { key: 'databases.fresh', old: null, new: 'added', restart: false },
    { key: 'users.x.pool_size', old: '1', new: null, restart: false },
  ]);
  t.same(
    diffConfig(before, reloadedConfig(before, after))
      .map((change) => change.key)
      .slice(0, 2),
    ['weir.pool_mode', 'databases.a.host'],
    'a reload leaves out what needs a restart',
  );
  t.equal(
    printHosts([
      { kind: 'tcp', host: '::1', port: 1 },
      { kind: 'unix', path: '/s', port: 2 },
    ]),
    '[::1]:1, /s:2',
  );
});

t.test('SET changes one reloadable global setting, checked like a file', async (t) => {
  const config = good('[weir]\nauth_file = "u"');
  const changed = setSetting(config, 'query_timeout', '1.5');
  t.ok(changed.ok && changed.config.weir.query_timeout === 1.5);
  t.equal(config.weir.query_timeout, 0, 'the configuration it came from stays');
  const message = (key: string, text: string) => {
    const result = setSetting(config, key, text);
    return result.ok ? 'ok' : result.problem.message;
  };
  t.equal(message('listen_port', '1'), 'this setting can only be changed by a restart');
  t.equal(message('pool_size', '1'), 'unknown setting');
  t.equal(message('toString', '1'), 'unknown setting');
  t.equal(message('pool_mode', 'x'), 'not one of the allowed words');
  t.equal(message('max_client_conn', '-1'), 'out of range');
  t.match(message('client_tls_sslmode', 'require'), /missing/);
  t.equal(message('pkt_buf', '1'), 'this setting can only be changed by a restart');
});

t.test('SHOW CONFIG lists every global setting once, in order, with the file it came from', async (t) => {
  const rows = listSettings(good('[weir]\nauth_file = "u"\nhttp_listen = "[::1]:80"\nadmin_users = ["a", "b"]'));
  t.same(
    rows.map((row) => row.key),
    [...keysIn('weir')].sort(),
  );
  const row = (key: string) => rows.find((candidate) => candidate.key === key);
  t.same(row('conffile')?.value, 'weir.toml');
  t.same(row('http_listen'), { key: 'http_listen', value: '[::1]:80', default: '', changeable: false });
  t.same(row('admin_users'), { key: 'admin_users', value: 'a, b', default: '', changeable: true });
  t.equal(row('unix_socket_mode')?.value, '0777');
});

t.test('a secret shows neither in JSON nor when a configuration is inspected', async (t) => {
  const config = good('[weir]\nauth_file = "u"\n[databases.a]\nuser = "u"\npassword = "hunter2"');
  t.notMatch(inspect(config, { depth: 9 }), 'hunter2');
  t.notMatch(JSON.stringify([...config.databases]), 'hunter2');
});

t.test('what cannot be an address or a host name is refused', async (t) => {
  const database = '[databases.app]\nhost = "db"\n[users.app]\npassword = "x"\n';
  for (const bad of ['300.1.1.1', '127.0.0.1, 1.2.3.4.5', 'fe80::zz', 'two words', '127.0.0.1:6432']) {
    t.same(complaints(`[weir]\nlisten_addr = "${bad}"\n${database}`).problems, ['2 weir.listen_addr'], bad);
  }
  t.same(complaints(`[weir]\nhttp_listen = "300.1.1.1:9127"\n${database}`).problems, ['2 weir.http_listen']);
  t.same(complaints(database.replace('"db"', '"300.1.1.1"')).problems, ['2 databases.app.host']);
  for (const fine of ['*', '127.0.0.1', '::', 'fe80::1%eth0', 'localhost', 'weir_1.internal', '127.1', '4711']) {
    t.same(complaints(`[weir]\nlisten_addr = "${fine}"\n${database}`), { problems: [], warnings: [] }, fine);
  }
});

t.test('a file without a database is told from one that serves somebody', async (t) => {
  t.same(complaints('[users.app]\npassword = "x"\n').warnings, ['- databases']);
  t.ok(complaints('[pgbouncer]\nauth_file = /dev/null\n', 'pgbouncer.ini').warnings.includes('- databases'));
});

t.test('the nearest key is offered for a slip and not for anything else', async (t) => {
  t.equal(nearest('poolsize', ['pool_size', 'port']), 'pool_size');
  t.equal(nearest('Pool_Mode', ['pool_mode']), 'pool_mode');
  t.equal(nearest('hots', keysIn('database')), 'host', 'two letters exchanged');
  t.equal(nearest('hsot', keysIn('database')), 'host');
  t.equal(nearest('sesion', ['session', 'transaction', 'statement']), 'session');
  t.equal(nearest('tx', ['session', 'transaction', 'statement']), null);
  t.equal(nearest('zzz', ['pool_size', 'port']), null);
  t.equal(nearest('x'.repeat(1000), ['pool_size']), null);
});

t.test('config/README.md is what the table of settings says', async (t) => {
  const page = renderReference();
  t.equal(readFileSync('config/README.md', 'utf8'), page, 'write renderReference() to config/README.md');
  for (const [key] of table) t.ok(page.includes(`| \`${key}\``), key);
});
