// The console against a weir without any server: how commands are read, who may run them, which columns and errors come back.

import pg from 'pg';
import pino from 'pino';
import t from 'tap';
import { AdminConsole, commandBytesMax, controlCommands, showCommands } from '../../../lib/admin/index.js';
import { nameBytesMax, parseCommand } from '../../../lib/admin/parse.js';
import { newDatabase } from '../../../lib/config/index.js';
import { footprint } from '../../../lib/session/index.js';
import { startWeir, type TestWeir } from '../../support/weir.js';
import { listNames, showTables, totalNames, typeOids } from './columns.js';

const logged: string[] = [];
const log = pino({ level: 'info' }, { write: (line: string) => logged.push(line) });

const weir = await start();
t.teardown(() => weir.stop());
const admin = await consoleOf('boss');
const watcher = await consoleOf('watcher');

async function start(): Promise<TestWeir> {
  // Port 1 of the loopback address: nobody listens there.
  const nowhere = { host: '127.0.0.1', port: 1 };
  const started = await startWeir({
    server: nowhere,
    log,
    users: { boss: 'b', watcher: 'w', nobody: 'n' },
    weir: { auth_type: 'trust', admin_users: ['boss'], stats_users: ['watcher'] },
    config: (config) => ({
      ...config,
      databases: new Map([
        ['app', newDatabase('app', [{ kind: 'tcp', ...nowhere }], { pool_size: 7, dbname: 'real' })],
        ['we"ird', newDatabase('we"ird', [{ kind: 'tcp', ...nowhere }])],
      ]),
    }),
  });
  started.pooler.console = new AdminConsole(started.pooler);
  return started;
}

async function consoleOf(user: string, database = 'pgbouncer'): Promise<pg.Client> {
  const client = await weir.connect({ user, database });
  client.on('error', () => {});
  t.teardown(() => client.end());
  return client;
}

interface Failure {
  readonly severity: string;
  readonly code: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
}

async function failure(client: pg.Client, sql: string): Promise<Failure> {
  try {
    await client.query(sql);
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error as Failure;
    throw error;
  }
  throw new Error(`${sql} succeeded`);
}

void t.test('a command is a word and at most one argument, in any case, quoted or not', async (t) => {
  const command = (word: string, argument?: string) => ({ kind: 'command', word, argument });
  t.same(parseCommand('SHOW pools'), command('show', 'pools'));
  t.same(parseCommand('\n\tpAuSe  ;; '), command('pause'));
  t.same(parseCommand('PAUSE "My Db";'), command('pause', 'My Db'));
  t.same(parseCommand("pause 'it''s'"), command('pause', "it's"));
  t.same(parseCommand('RESUME "a""b"'), command('resume', 'a"b'));
  t.same(parseCommand('reconnect my-db.x'), command('reconnect', 'my-db.x'));
  for (const text of ['', ' ', ';', ' ; ; \n']) t.same(parseCommand(text), { kind: 'empty' }, JSON.stringify(text));
  for (const text of ['SHOW POOLS; SHOW STATS', '; SHOW POOLS', 'PAUSE;x'])
    t.same(parseCommand(text), { kind: 'several' }, text);
  for (const text of ['"SHOW" POOLS', 'SHOW a b', 'PAUSE "open', "PAUSE 'open", 'PAUSE =', '= x', 'PAUSE a = b'])
    t.same(parseCommand(text), { kind: 'invalid' }, text);
  t.same(parseCommand('PAUSE ""'), { kind: 'bad-arguments' }, 'an empty name is not all databases');
  t.same(parseCommand(`PAUSE ${'x'.repeat(nameBytesMax)}`).kind, 'command', 'the longest name');
  t.same(parseCommand(`PAUSE ${'x'.repeat(nameBytesMax + 1)}`).kind, 'bad-arguments', 'one byte more');
});

void t.test('SET takes a key and a value with = or TO', async (t) => {
  const set = (key: string, value: string) => ({ kind: 'set', key, value });
  t.same(parseCommand('set Default_Pool_Size=5'), set('default_pool_size', '5'));
  t.same(parseCommand("SET server_check_query TO 'select ''1'';' ;"), set('server_check_query', "select '1';"));
  t.same(parseCommand("SET x = ''"), set('x', ''));
  for (const text of ['SET', 'SET x', 'SET x =', 'SET x 5', 'SET x = 1 2', 'SET = = 1', 'SET x = ='])
    t.same(parseCommand(text), { kind: 'invalid' }, text);
});

void t.test('GRANT and REVOKE have all their words', async (t) => {
  const what = { role: 'on_call', user: "bob's" };
  t.same(parseCommand(`grant ACCESS on_call TO "bob's" FOR '1 hour' REASON 'it''s broken';`), {
    kind: 'grant',
    ...what,
    duration: '1 hour',
    reason: "it's broken",
  });
  t.same(parseCommand(`Revoke access on_call From "bob's"`), { kind: 'revoke', ...what });
  for (const text of [
    'GRANT',
    'GRANT select ON t TO bob',
    "GRANT ACCESS r TO bob FOR '1 hour'",
    "GRANT ACCESS r TO bob FOR 1 hour REASON 'x'",
    "GRANT ACCESS r TO bob FOR '1 hour' REASON 'x' 'y'",
    "GRANT ACCESS r = bob FOR '1 hour' REASON 'x'",
    `GRANT ACCESS r "TO" bob FOR '1 hour' REASON 'x'`,
    'REVOKE ACCESS r',
    'REVOKE ACCESS r TO bob',
    'REVOKE ACCESS r FROM bob now',
  ]) {
    t.same(parseCommand(text), { kind: 'invalid' }, text);
  }
  t.same(parseCommand(`GRANT ACCESS "" TO bob FOR '1 h' REASON 'x'`), { kind: 'bad-arguments' });
  t.same(parseCommand(`REVOKE ACCESS r FROM ${'x'.repeat(nameBytesMax + 1)}`), { kind: 'bad-arguments' });
});

void t.test('a long command is read in time proportional to its length', async (t) => {
  const started = performance.now();
  for (const text of ['"'.repeat(16_001), `${'"" '.repeat(5_000)}"`, `x ${"'".repeat(16_001)}`, ' '.repeat(16_000)]) {
    t.ok(parseCommand(text).kind);
  }
  t.ok(performance.now() - started < 1_000);
});

void t.test('every SHOW has the columns and types of PgBouncer, and behind them those of weir', async (t) => {
  const named = showTables.map(([name]) => name);
  t.same([...showCommands.keys()].filter((name) => name !== 'help' && name !== 'fds').sort(), [...named].sort());
  for (const client of [admin, watcher]) {
    for (const [name, columns, types] of showTables) {
      const { fields, rows, command } = await client.query({ text: `SHOW ${name}`, rowMode: 'array' });
      t.same(
        fields.map((field) => field.name),
        columns.split(' '),
        `columns of ${name}`,
      );
      t.same(
        fields.map((field) => field.dataTypeID),
        [...types].map((letter) => typeOids[letter]),
        `types of ${name}`,
      );
      t.ok(rows.every((row: readonly unknown[]) => row.length === fields.length));
      t.equal(command, 'SHOW');
    }
  }
});

void t.test('SELECT is SHOW, and the alias weir is the console too', async (t) => {
  const client = await consoleOf('boss', 'weir');
  t.same((await client.query('select Version;')).rows, [{ version: 'weir test' }]);
});

void t.test('SHOW HELP names every command in a notice', async (t) => {
  const notices: { message: string | undefined; detail: string | undefined }[] = [];
  const listener = (notice: { message: string | undefined; detail: string | undefined }) => notices.push(notice);
  watcher.on('notice', listener);
  const { command, rows } = await watcher.query('SHOW HELP');
  watcher.off('notice', listener);
  t.same([command, rows], ['SHOW', []]);
  t.equal(notices.length, 1);
  t.equal(notices[0]?.message, 'Console usage');
  const text = notices[0]?.detail ?? '';
  for (const name of [...showCommands.keys(), ...controlCommands.keys(), 'set']) {
    if (name !== 'fds' && name !== 'suspend') t.match(text, new RegExp(`\\b${name.toUpperCase()}\\b`), name);
  }
});

void t.test('an empty query is answered, and the console goes on after an error', async (t) => {
  t.same((await admin.query(' ; ')).command, null);
  t.equal((await failure(admin, 'nonsense')).code, '08P01');
  t.equal((await admin.query('SHOW STATE')).rows.length, 3);
});

void t.test('what is no command is repeated in the error', async (t) => {
  for (const sql of ['nonsense', 'SHOW', 'SHOW nonsense;', 'RELOAD now', 'SELECT 1', 'SET x']) {
    const { severity, code, message, hint } = await failure(admin, sql);
    t.same([severity, code, message], ['ERROR', '08P01', `invalid command '${sql}', use SHOW HELP;`], sql);
    t.ok(hint, 'and a hint is given');
  }
  t.match(await failure(admin, 'SHOW POOLS; SHOW STATS'), { code: '08P01', hint: /one command/ });
  t.match(await failure(admin, 'PAUSE ""'), { code: '08P01', message: 'bad arguments' });
  t.match(await failure(admin, 'SHUTDOWN soon'), { code: '08P01', message: 'bad arguments' });
  t.ok((await failure(admin, `x${' y'.repeat(4_000)}`)).message.length < 300, 'a long one only in part');
  const long = `SET auth_query = '${'x'.repeat(commandBytesMax)}'`;
  t.equal((await failure(admin, long)).code, '54000');
});

void t.test('stats_users may look but not act', async (t) => {
  const acting = [...controlCommands.keys(), 'show fds', 'set verbose = 1'];
  t.equal(acting.length, 13);
  for (const sql of acting) {
    const { code, message, hint } = await failure(watcher, sql);
    t.same([code, message, hint], ['08P01', 'admin access needed', 'Log in as one of admin_users.'], sql);
  }
  t.equal(weir.pooler.state, 'active');
  await t.rejects(consoleOf('nobody'), { message: 'not allowed' }, 'and others may not even log in');
});

void t.test('SHOW FDS and SUSPEND are refused by name', async (t) => {
  t.match(await failure(admin, 'SHOW FDS'), { code: '0A000', message: /SHOW FDS/, detail: /passwords/ });
  t.match(await failure(admin, 'SUSPEND'), { code: '0A000', message: /SUSPEND/, hint: /PAUSE/ });
});

void t.test('settings that drivers set or ask for do no harm', async (t) => {
  t.same((await watcher.query('SHOW client_encoding')).rows, [{ client_encoding: 'UTF8' }]);
  t.equal((await watcher.query('SET extra_float_digits = 3')).command, 'SET');
});

void t.test('commands on a database say when there is none, or when it is the console', async (t) => {
  const deeds = { pause: 'pause', disable: 'disable', enable: 'enable', kill: 'kill', reconnect: 'reconnect' };
  for (const [command, deed] of Object.entries({ ...deeds, wait_close: 'wait in' })) {
    t.match(await failure(admin, `${command} absent`), { code: '08P01', message: 'no such database: absent' });
    for (const name of ['pgbouncer', 'weir']) {
      const { code, message } = await failure(admin, `${command} ${name}`);
      t.same([code, message], ['08P01', `cannot ${deed} admin db: ${name}`]);
    }
  }
  t.match(await failure(admin, 'RESUME absent'), { code: '08P01', message: 'no such database: absent' });
  t.match(await failure(admin, 'RESUME app'), { code: '08P01', message: 'database app is not paused' });
  t.match(await failure(admin, 'RESUME pgbouncer'), { message: 'database pgbouncer is not paused' });
  t.match(await failure(admin, 'RESUME'), { code: '08P01', message: 'pooler is not paused/suspended' });
  t.match(await failure(admin, 'DISABLE'), { code: '08P01', message: 'a database is required' });
  t.match(await failure(admin, 'KILL_CLIENT'), { message: 'invalid client pointer supplied' });
  t.match(await failure(admin, 'KILL_CLIENT abc'), { message: 'invalid client pointer supplied' });
  t.match(await failure(admin, 'KILL_CLIENT 999999'), { code: '08P01', message: 'client not found' });
});

void t.test('PAUSE and RESUME, of all and of one, show in SHOW STATE and SHOW DATABASES', async (t) => {
  const paused = async () =>
    Object.fromEntries((await admin.query('SHOW DATABASES')).rows.map((row) => [row.name, row.paused]));
  t.equal((await admin.query('PAUSE "we""ird"')).command, 'PAUSE');
  t.same(await paused(), { pgbouncer: 0, app: 0, 'we"ird': 1 });
  t.equal((await admin.query('RESUME "we""ird"')).command, 'RESUME');
  await admin.query('PAUSE');
  const states = (await admin.query('SHOW STATE')).rows;
  t.same(states, [
    { key: 'active', value: 'no' },
    { key: 'paused', value: 'yes' },
    { key: 'suspended', value: 'no' },
  ]);
  for (const sql of ['PAUSE', 'PAUSE app', 'KILL', 'KILL app']) {
    t.match(await failure(admin, sql), { code: '08P01', message: 'already suspended/paused' }, sql);
  }
  await admin.query('RESUME');
  t.same(await paused(), { pgbouncer: 0, app: 0, 'we"ird': 0 });
});

void t.test('SET changes a setting, and says what is wrong with a value', async (t) => {
  const value = async (key: string) =>
    (await admin.query('SHOW CONFIG')).rows.find((row) => row.key === key) as Record<string, string>;
  t.match(await value('default_pool_size'), { value: '20', default: '20', changeable: 'yes' });
  t.match(await value('listen_addr'), { changeable: 'no' });
  await admin.query("SET default_pool_size = '9'");
  t.match(await value('default_pool_size'), { value: '9', default: '20' });
  t.equal(weir.pooler.config.weir.default_pool_size, 9);
  const wrong: readonly (readonly [string, RegExp, RegExp])[] = [
    ['SET default_pool_size = many', /whole number.*"many"/, /from 1 to/],
    ['SET default_pool_sise = 5', /unknown setting/, /"default_pool_size"/],
    ['SET listen_port = 5', /restart/, /SHOW CONFIG/],
    ['SET pool_mode = sesion', /pool_mode/, /session, transaction, statement/],
    ['SET client_tls_sslmode = require', /TLS/, /RELOAD/],
    ["SET policy_file = 'policy.toml'", /policy_file/, /RELOAD/],
  ];
  for (const [sql, detail, hint] of wrong)
    t.match(await failure(admin, sql), { code: '08P01', message: 'SET failed', detail, hint }, sql);
  t.equal(weir.pooler.config.weir.default_pool_size, 9);
});

void t.test('a failed RELOAD says so with its own SQLSTATE and changes nothing', async (t) => {
  const good = weir.config;
  await admin.query('RELOAD');
  t.equal(weir.pooler.config.weir.default_pool_size, 20, 'SET lasts until the next RELOAD');
  weir.config = { ...good, weir: { ...good.weir, client_tls_sslmode: 'require', client_tls_key_file: '/absent.key' } };
  const { code, message, detail } = await failure(admin, 'RELOAD');
  t.same([code, message], ['F0000', 'RELOAD failed, see logs for additional details']);
  t.ok(detail);
  t.equal(weir.pooler.config.weir.client_tls_sslmode, 'disable');
  weir.config = good;
});

void t.test('the console shows itself as PgBouncer shows its own', async (t) => {
  const row = async (sql: string, key: string, name: string) => {
    const found = (await admin.query(sql)).rows.find((one) => one[key] === name);
    return found as Record<string, unknown>;
  };
  const { size } = weir.pooler.clients;
  t.match(await row('SHOW POOLS', 'database', 'pgbouncer'), {
    user: 'pgbouncer',
    cl_active: size,
    cl_waiting: 0,
    sv_active: 0,
    pool_mode: 'statement',
  });
  t.match(await row('SHOW DATABASES', 'name', 'pgbouncer'), {
    host: null,
    port: weir.port,
    database: 'pgbouncer',
    force_user: 'pgbouncer',
    pool_size: 2,
    pool_mode: 'statement',
    current_client_connections: size,
  });
  t.match(await row('SHOW DATABASES', 'name', 'app'), {
    host: '127.0.0.1',
    port: 1,
    database: 'real',
    force_user: null,
    pool_size: 7,
    server_lifetime: 3600,
    pool_mode: null,
    load_balance_hosts: null,
    disabled: 0,
  });
  const [client] = (await admin.query('SHOW CLIENTS')).rows.filter((one) => one.user === 'boss');
  t.match(client, {
    type: 'C',
    database: 'pgbouncer',
    replication: 'none',
    state: 'idle',
    addr: '127.0.0.1',
    local_addr: '127.0.0.1',
    local_port: weir.port,
    connect_time: /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/,
    wait: 0,
    close_needed: 0,
    link: '',
    tls: '',
  });
  t.match(client.ptr, /^0x[0-9a-f]{8,}$/);
  const before = await row('SHOW STATS', 'database', 'pgbouncer');
  const after = await row('SHOW STATS', 'database', 'pgbouncer');
  t.equal(Number(after['total_query_count']) - Number(before['total_query_count']), 1, 'each command is one query');
  t.equal(after['total_xact_count'], after['total_query_count']);
});

void t.test('SHOW LISTS and SHOW TOTALS have the rows of PgBouncer', async (t) => {
  const lists = (await admin.query('SHOW LISTS')).rows;
  t.same(
    lists.map((row) => row.list),
    listNames,
  );
  const items = Object.fromEntries(lists.map((row) => [row.list, row.items]));
  t.match(items, { databases: 3, users: 3, pools: 1, used_clients: weir.pooler.clients.size, login_clients: 0 });
  const totals = (await admin.query('SHOW TOTALS')).rows.map((row) => row.name);
  t.same(totals, [...totalNames.map((name) => `total_${name}`), ...totalNames.map((name) => `avg_${name}`)]);
});

void t.test('SHOW HAZARDS is sorted, counts, and says what the configuration makes of each', async (t) => {
  const { hazardLog, config } = weir.pooler;
  t.same((await admin.query('SHOW HAZARDS')).rows, []);
  const temp = footprint({ hazards: ['temp'], example: Buffer.from('create temp table t (i int)') });
  hazardLog.record('zoe', 'app', '', footprint({ hazards: ['setting'], example: Buffer.from('set x to a') }));
  hazardLog.record('alice', 'shop', 'web', temp);
  hazardLog.record('alice', 'app', 'web', temp);
  hazardLog.record('alice', 'app', 'batch', footprint({ hazards: ['temp', 'role'] }));
  hazardLog.record('alice', 'app', 'web', temp);
  const rows = async () => (await watcher.query({ text: 'SHOW HAZARDS', rowMode: 'array' })).rows;
  const [carried, dropped] = [/^carried/, /^pinned until the object is dropped$/];
  t.match(await rows(), [
    ['alice', 'app', 'batch', 'role', '1', carried, ''],
    ['alice', 'app', 'batch', 'temp', '1', dropped, ''],
    ['alice', 'app', 'web', 'temp', '2', dropped, 'create temp table t (i int)'],
    ['alice', 'shop', 'web', 'temp', '1', dropped, 'create temp table t (i int)'],
    ['zoe', 'app', '', 'setting', '1', carried, 'set x to a'],
  ]);
  weir.pooler.change({ ...config, weir: { ...config.weir, 'on_hazard.role': 'refuse' } });
  t.match(await rows(), { 0: { 5: 'on_hazard.role = refuse' } });
  weir.pooler.change(config);
});

void t.test('KILL_CLIENT cuts another console by its id', async (t) => {
  const victim = await consoleOf('watcher');
  const ended = new Promise((resolve) => victim.once('error', resolve));
  const { rows } = await admin.query('SHOW CLIENTS');
  const id = Math.max(...rows.map((row) => Number(row.id)));
  await admin.query(`KILL_CLIENT ${id}`);
  t.match(await ended, { message: 'admin forced disconnect' });
});

void t.test('the log names who did what, and nothing that was typed as a value', async (t) => {
  await admin.query("SET server_check_query = 'SELECT ''hunter2'''");
  await failure(admin, "PASSWORD 'hunter2'");
  await failure(admin, "SET no_such_key = 'hunter2'");
  const lines = logged.map((line) => JSON.parse(line) as Record<string, unknown>);
  t.ok(
    lines.some(
      (line) => line['command'] === 'set' && line['argument'] === 'server_check_query' && line['user'] === 'boss',
    ),
  );
  t.ok(lines.some((line) => line['command'] === 'pause' && line['argument'] === 'we"ird'));
  t.notOk(logged.some((line) => line.includes('hunter2')));
});

// Last: it ends the process that all others ask.
void t.test('SHUTDOWN closes the console with the rest', async (t) => {
  t.equal((await admin.query('SHUTDOWN WAIT_FOR_SERVERS')).command, 'SHUTDOWN', 'it is answered first');
  await weir.pooler.finished;
  t.equal(weir.pooler.shutdownMode, 'wait_for_servers');
});
