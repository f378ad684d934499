// The weir command as its users meet it: a process with arguments, files, output, signals and an exit status.

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import t from 'tap';
import { eventually, freePort, projectRoot, startPostgres, temporaryDirectory } from '../support/index.js';
import { isRunning } from '../support/processes.js';
import type { Teardown } from '../support/temporary-directory.js';
import { type Ended, linesOf, mainFile, WeirCommand } from '../support/weir-command.js';

const postgres = await startPostgres({ sql: ["create role alice login password 'secret'"] });
t.teardown(() => postgres.stop());

function run(t: Teardown, ...args: readonly string[]): Promise<Ended> {
  return new WeirCommand(t, args).ended;
}

interface Files {
  readonly directory: string;
  readonly config: string;
  readonly logfile: string;
  readonly pidfile: string;
}

/** A directory with a configuration in TOML that listens where the system chooses. */
function configure(t: Teardown, settings: Readonly<Record<string, unknown>> = {}): Files {
  const directory = temporaryDirectory(t);
  const [config, logfile, pidfile] = [
    join(directory, 'weir.toml'),
    join(directory, 'weir.log'),
    join(directory, 'weir.pid'),
  ];
  writeToml(config, { unix_socket_dir: directory, logfile, pidfile, ...settings });
  return { directory, config, logfile, pidfile };
}

function writeToml(path: string, settings: Readonly<Record<string, unknown>>): void {
  const weir = { listen_port: 0, admin_users: ['alice'], ...settings };
  writeFileSync(
    path,
    [
      '[weir]',
      ...Object.entries(weir).map(([key, value]) => `${key} = ${JSON.stringify(value)}`),
      '[databases.postgres]',
      `host = "${postgres.host}"`,
      `port = ${postgres.port}`,
      '[users.alice]',
      'password = "secret"',
      '',
    ].join('\n'),
  );
}

async function connect(t: Teardown, port: number, host = '127.0.0.1', database = 'postgres'): Promise<pg.Client> {
  const client = new pg.Client({ host, port, user: 'alice', password: 'secret', database });
  client.on('error', () => {});
  await client.connect();
  t.teardown(() => client.end());
  return client;
}

async function one(client: pg.Client): Promise<unknown> {
  return (await client.query('select 1 as one')).rows[0]?.one;
}

// What ends at once

t.test('--version and --help say what they should and succeed', async (t) => {
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string };
  for (const flag of ['--version', '-V']) {
    const ended = await run(t, flag);
    t.match(ended, { status: 0, stdout: `weir ${version}\n`, stderr: '' }, flag);
  }
  const help = await run(t, '--help');
  t.match(help, { status: 0, stderr: '' });
  t.equal((await run(t, 'help')).stdout, help.stdout);
  for (const word of ['--daemon', '--quiet', '--user', '--verbose', 'check', 'report', 'TOML', 'pgbouncer.ini']) {
    t.ok(help.stdout.includes(word), word);
  }
});

t.test('what it does not understand it says, and fails', async (t) => {
  for (const [args, message] of [
    [['--no-such-option'], /unknown option '--no-such-option'/],
    [['--port', 'many'], /--port/],
    [['check'], /missing required argument 'file'\nFor example: weir check weir\.toml/],
    [['chekc', 'weir.toml'], /no command "chekc"\nHINT: Did you mean: weir check weir\.toml/],
    [['chekc'], /no file and no command "chekc"\nHINT: Did you mean: weir check\n/],
    [['frobnicate', 'weir.toml'], /no command "frobnicate"\nHINT: See weir --help/],
    [['--reboot', 'x.toml'], /--reboot is not supported[\s\S]*HINT: Send SIGTERM/],
    [['/no/such/weir.toml'], /configuration file \/no\/such\/weir\.toml does not exist/],
    [['check', '/no/such/weir.toml'], /configuration file \/no\/such\/weir\.toml does not exist/],
  ] as const) {
    const ended = await run(t, ...args);
    t.equal(ended.status, 1, args.join(' '));
    t.match(ended.stderr, message);
    t.notMatch(ended.stderr, /\n {4}at /, 'without a stack trace');
  }
});

t.test('check passes good files and names what is wrong with bad ones', async (t) => {
  const directory = temporaryDirectory(t);
  const good = configure(t);
  t.match(await run(t, 'check', good.config), { status: 0, stderr: '', stdout: /good; 1 database, 1 user$/m });

  const bad = join(directory, 'bad.toml');
  writeFileSync(
    bad,
    [
      '[weir]',
      'listen_port = 6432',
      'defualt_pool_size = 5',
      'pool_mode = "transactional"',
      '[databases.app]',
      'pool_size = -1',
      '',
    ].join('\n'),
  );
  const ended = await run(t, 'check', bad);
  t.equal(ended.status, 1);
  t.equal(ended.stdout, '');
  t.match(ended.stderr, `${bad}:3: weir.defualt_pool_size: `);
  t.match(ended.stderr, 'did you mean: default_pool_size');
  t.match(ended.stderr, `${bad}:4: weir.pool_mode: `);
  t.match(ended.stderr, /allowed: +session, transaction,? (or )?statement/);
  t.match(ended.stderr, `${bad}:6: databases.app.pool_size: `);

  const ini = join(directory, 'bad.ini');
  writeFileSync(ini, '[databases]\n* = host=127.0.0.1 prot=5432\n[pgbouncer]\nlisten_prot = 6432\n');
  const badIni = await run(t, 'check', ini);
  t.equal(badIni.status, 1);
  t.match(badIni.stderr, `${ini}:2: `);
  t.match(badIni.stderr, `${ini}:4: `);
  t.match(badIni.stderr, 'did you mean: listen_port');

  const empty = join(directory, 'empty.toml');
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is weir that replaces it
  writeFileSync(empty, '[databases.app]\nhost = "db"\n[users.app]\npassword = "${APP_PASSWORD}"\n');
  const unset = await new WeirCommand(t, ['check', empty], { env: { APP_PASSWORD: '' } }).ended;
  t.equal(unset.status, 1);
  t.match(unset.stderr, `${empty}:4: users.app.password: environment variable APP_PASSWORD is empty`);

  const secret = join(directory, 'secret.toml');
  writeFileSync(secret, '[weir]\n[users.alice]\npassword = "hunter2\n');
  const hidden = await run(t, 'check', secret);
  t.equal(hidden.status, 1);
  t.notMatch(hidden.stderr, /hunter2/, 'no secret is shown');
});

t.test('the example configurations are good', async (t) => {
  const config = join(projectRoot, 'config');
  const examples = readdirSync(config).filter((file) => /\.example\./.test(file));
  t.ok(examples.length >= 2, examples.join(', '));
  // Of PgBouncer's package, which need not be here.
  const ofPackage = '/etc/pgbouncer/';
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'userlist.txt'), '"app" "a"\n');
  for (const name of examples) {
    const file = join(directory, name);
    writeFileSync(file, readFileSync(join(config, name), 'utf8').replace(ofPackage, `${directory}/`));
    const env = { APP_PASSWORD: 'a', READONLY_PASSWORD: 'b' };
    const { ended } = new WeirCommand(t, ['check', file], { cwd: config, env });
    const { status, stderr } = await ended;
    t.match({ status, stderr }, { status: 0, stderr: '' }, file);
  }
});

t.test('what README shows first works as it is typed', async (t) => {
  const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8');
  const [, toml = '', typed = ''] = /```toml\n(# weir\.toml\n[\s\S]*?)```\n```sh\n([\s\S]*?)```/.exec(readme) ?? [];
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'weir.toml'), toml);
  const built = typed.replaceAll('node dist/lib/cli/main.js', `"${process.execPath}" "${mainFile}"`);
  // Up to the line that would go on for ever.
  const lines = built.split('\n').filter((line) => !line.startsWith('make '));
  const script = lines.slice(0, lines.findIndex((line) => / check /.test(line)) + 1).join('\n');
  const { APP_PASSWORD: _, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync('bash', ['-ec', script], { cwd: directory, env, encoding: 'utf8' });
  t.match({ status, stdout, stderr }, { status: 0, stdout: /weir\.toml: good; 1 database, 1 user\n/, stderr: '' });
  t.match(readFileSync(join(directory, 'users.txt'), 'utf8'), /^"ops" "/);

  // In front of the PostgreSQL that is here, where it may listen.
  const [port, httpPort] = [await freePort(), await freePort()];
  const here = toml
    .replace('"db.internal"\nport = 5432', `"${postgres.host}"\nport = ${postgres.port}`)
    .replace('listen_port = 6432', `listen_port = ${port}\nunix_socket_dir = ""`)
    .replace('127.0.0.1:9127', `127.0.0.1:${httpPort}`);
  writeFileSync(join(directory, 'weir.toml'), here);
  await postgres.query("create role app login password 'the password of app'");
  await postgres.query('create database app owner app');
  const weir = new WeirCommand(t, ['weir.toml'], { cwd: directory, env: { APP_PASSWORD: 'the password of app' } });
  await weir.port();
  const url = (user: string, password: string, database: string): string =>
    `postgresql://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
  t.match(await ask(url('app', 'the password of app', 'app'), 'select current_user as name'), [{ name: 'app' }]);
  t.ok((await ask(url('ops', 'a password for the console', 'pgbouncer'), 'show pools')).length > 0);
});

// What runs

t.test('it serves by a TOML file, logs, writes its pid, and cleans up when it is told to stop', async (t) => {
  const httpPort = await freePort();
  const { config, logfile, pidfile, directory } = configure(t, { http_listen: `127.0.0.1:${httpPort}` });
  const weir = new WeirCommand(t, [config]);
  const port = await weir.port();
  t.equal(readFileSync(pidfile, 'utf8'), `${weir.pid}\n`);
  t.equal(await one(await connect(t, port)), 1, 'by TCP');
  t.equal(await one(await connect(t, port, directory)), 1, 'by its Unix socket');
  t.equal((await fetch(`http://127.0.0.1:${httpPort}/healthz`)).status, 200);
  t.match(await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text(), /^# HELP /m);

  const console_ = await connect(t, port, directory, 'pgbouncer');
  const { rows } = await console_.query('SHOW VERSION');
  const version = (await run(t, '--version')).stdout.split('\n')[0];
  t.strictSame(Object.values(rows[0] as object), [version], 'the console and --version agree');

  const second = await run(t, config);
  t.equal(second.status, 1);
  t.match(second.stderr, `pidfile ${pidfile} names process ${weir.pid}, which runs`);
  t.equal(readFileSync(pidfile, 'utf8'), `${weir.pid}\n`, 'and stays as it is');

  weir.signal('SIGQUIT');
  const ended = await weir.ended;
  t.match(ended, { status: 0, signal: null, stderr: '' });
  t.notOk(existsSync(pidfile));
  t.notOk(existsSync(join(directory, `.s.PGSQL.${port}`)));
  const log = linesOf(readFileSync(logfile, 'utf8')).map(({ msg }) => msg);
  t.strictSame(log.slice(0, 2), ['HTTP server is ready', 'weir is ready'], 'in this order');
  t.equal(log.at(-1), 'weir has stopped', 'the log is written to its end');
  t.strictSame(
    linesOf(ended.stdout).map(({ msg }) => msg),
    log,
    'standard output has the same lines',
  );
  t.notMatch(ended.stdout, /secret/, 'and no password');
});

t.test('where HTTP cannot listen, it is never ready, and leaves nothing behind', async (t) => {
  const other = http.createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  t.teardown(() => other.close());
  const http_listen = `127.0.0.1:${(other.address() as net.AddressInfo).port}`;
  for (const workers of [1, 2]) {
    const { config, directory, pidfile } = configure(t, { http_listen, workers });
    const { status, stdout, stderr } = await run(t, config);
    t.equal(status, 1);
    t.match(stderr, `cannot listen on ${http_listen} for HTTP: EADDRINUSE`);
    t.notMatch(stdout, /ready/);
    t.notOk(existsSync(pidfile));
    t.strictSame(
      readdirSync(directory).filter((name) => name.startsWith('.s.')),
      [],
      `${workers} workers`,
    );
  }
});

t.test('it serves by a pgbouncer.ini, with an auth_file beside the working directory', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'userlist.txt'), '"alice" "secret"\n');
  writeFileSync(
    join(directory, 'pgbouncer.ini'),
    [
      '[databases]',
      `postgres = host=${postgres.host} port=${postgres.port}`,
      '[pgbouncer]',
      '  listen_addr = 127.0.0.1',
      '  listen_port = 0',
      '  unix_socket_dir =',
      '  auth_type = md5',
      '  auth_file = userlist.txt',
      '  pkt_buf = 8192',
      '',
    ].join('\n'),
  );
  const weir = new WeirCommand(t, ['pgbouncer.ini'], { cwd: directory });
  const client = await connect(t, await weir.port());
  t.equal(await one(client), 1);
  await client.end();
  weir.signal('SIGTERM');
  t.equal((await weir.ended).status, 0);
});

t.test('--quiet prints nothing; the log file is there from the start, and opened again at SIGHUP', async (t) => {
  const { config, logfile } = configure(t);
  const weir = new WeirCommand(t, ['--quiet', config]);
  await weir.port(() => (existsSync(logfile) ? readFileSync(logfile, 'utf8') : ''));
  renameSync(logfile, `${logfile}.1`);
  weir.signal('SIGHUP');
  await eventually(() => existsSync(logfile) && readFileSync(logfile, 'utf8').includes('configuration reloaded'));
  weir.signal('SIGTERM');
  t.match(await weir.ended, { status: 0, stdout: '', stderr: '' });
  t.match(readFileSync(logfile, 'utf8'), /weir has stopped/);
  t.match(readFileSync(`${logfile}.1`, 'utf8'), /weir is ready/);
});

t.test('SIGHUP puts a changed file in force, and changes nothing where the file is bad', async (t) => {
  const files = configure(t);
  const weir = new WeirCommand(t, [files.config]);
  const port = await weir.port();
  const client = await connect(t, port);
  const admin = await connect(t, port, '127.0.0.1', 'pgbouncer');
  const poolSize = async (): Promise<string | undefined> => {
    const { rows } = await admin.query<{ key: string; value: string }>('SHOW CONFIG');
    return rows.find(({ key }) => key === 'default_pool_size')?.value;
  };
  t.equal(await poolSize(), '20');
  const { directory, logfile, pidfile } = files;
  const kept = { unix_socket_dir: directory, logfile, pidfile };
  writeToml(files.config, { ...kept, default_pool_size: 7 });
  weir.signal('SIGHUP');
  await eventually(async () => (await poolSize()) === '7');
  t.equal(await one(client), 1, 'a client stays');

  writeToml(files.config, { ...kept, default_pool_size: 8, max_client_con: 5 });
  weir.signal('SIGHUP');
  await eventually(() => weir.stdout.includes('not reloaded'));
  const complaint = linesOf(weir.stdout).find(({ msg }) => msg?.includes('not reloaded'))?.msg ?? '';
  t.match(complaint, /nothing changed/);
  t.match(complaint, `${files.config}:`);
  t.match(complaint, 'did you mean: max_client_conn');
  t.equal(await poolSize(), '7');
  t.equal(await one(client), 1);
});

t.test(
  'a policy is checked with the configuration that names it, and a bad one changes nothing at RELOAD',
  async (t) => {
    const { directory, config } = configure(t);
    const policy = join(directory, 'policy.toml');
    const kept = { unix_socket_dir: directory, policy_file: policy };
    const rule = '[policy]\n[[policy.rules]]\nname = "no-ddl"\nstatements = ["ddl"]\n';
    writeToml(config, kept);
    writeFileSync(policy, `${rule}verdict = "deny"\n`);
    t.match(await run(t, 'check', config), { status: 0, stdout: /good; .*, a policy of 0 roles, 1 rule, 0 masks/ });
    const weir = new WeirCommand(t, [config]);
    const admin = await connect(t, await weir.port(), '127.0.0.1', 'pgbouncer');

    writeFileSync(policy, `${rule}verdict = "denied"\n`);
    writeToml(config, { ...kept, default_pool_size: 7 });
    t.match(await run(t, 'check', config), { status: 1, stderr: `${policy}:5: policy.rules[0] "no-ddl": verdict: ` });
    t.match(await run(t, config), { status: 1, stderr: `${policy}:5: ` });
    const detail = /:5: policy.rules\[0\] "no-ddl": verdict: not one of the allowed words/;
    await t.rejects(admin.query('RELOAD'), { code: 'F0000', detail });
    weir.signal('SIGHUP');
    await eventually(() => weir.stdout.includes('not reloaded'));
    t.match(linesOf(weir.stdout).find(({ msg }) => msg?.includes('not reloaded'))?.msg, `${policy}:5: `);
    const { rows } = await admin.query<{ key: string; value: string }>('SHOW CONFIG');
    t.equal(rows.find(({ key }) => key === 'default_pool_size')?.value, '20');

    writeFileSync(policy, `${rule}verdict = "observe"\n`);
    await admin.query('RELOAD');
    await eventually(() => {
      const changes = linesOf(weir.stdout).filter(({ msg }) => msg === 'setting changed');
      return changes.some(({ setting }) => setting === 'policy');
    });
  },
);

t.test('SIGTERM waits for clients, and takes no new ones; a second one does not wait', async (t) => {
  const { config } = configure(t);
  const weir = new WeirCommand(t, [config]);
  const port = await weir.port();
  const client = await connect(t, port);
  weir.signal('SIGTERM');
  await eventually(() => weir.stdout.includes('shutting down'));
  await t.rejects(connect(t, port), { code: 'ECONNREFUSED' });
  t.equal(await one(client), 1, 'who is there is served');
  t.notOk(weir.over);
  await client.end();
  t.match(await weir.ended, { status: 0, signal: null });

  const hasty = new WeirCommand(t, [configure(t).config]);
  const waiting = await connect(t, await hasty.port());
  const gone = new Promise((resolve) => waiting.once('end', resolve));
  hasty.signal('SIGTERM');
  await eventually(() => hasty.stdout.includes('shutting down'));
  hasty.signal('SIGTERM');
  t.match(await hasty.ended, { status: 0, signal: null });
  await gone;
});

t.test('SIGINT waits for transactions, not for clients', async (t) => {
  const weir = new WeirCommand(t, [configure(t).config]);
  const port = await weir.port();
  const [idle, busy] = [await connect(t, port), await connect(t, port)];
  await one(idle);
  await busy.query('begin; select 1');
  weir.signal('SIGINT');
  await eventually(() => weir.stdout.includes('shutting down'));
  t.equal(await one(busy), 1, 'a transaction goes on');
  t.notOk(weir.over);
  await busy.query('commit');
  t.match(await weir.ended, { status: 0, signal: null });
});

t.test('SIGQUIT ends at once, whoever is there', async (t) => {
  const weir = new WeirCommand(t, [configure(t).config]);
  const client = await connect(t, await weir.port());
  const sleeping = client.query('select pg_sleep(60)').then(
    () => undefined,
    (error: unknown) => error as pg.DatabaseError,
  );
  await eventually(
    async () => (await postgres.query("select from pg_stat_activity where query ~ '^select pg_sleep'")).length === 1,
  );
  weir.signal('SIGQUIT');
  t.match(await weir.ended, { status: 0, signal: null });
  t.match(await sleeping, { code: '57P01', message: 'server shutting down' });
});

t.test('SIGUSR1 holds queries back until SIGUSR2', async (t) => {
  const weir = new WeirCommand(t, [configure(t).config]);
  const port = await weir.port();
  const client = await connect(t, port);
  t.equal(await one(client), 1);
  const admin = await connect(t, port, '127.0.0.1', 'pgbouncer');
  const waiting = async (): Promise<number> => {
    const { rows } = await admin.query<{ cl_waiting: number; sv_idle: number }>('SHOW POOLS');
    return rows.reduce((sum, row) => sum + Number(row.cl_waiting), 0);
  };
  const paused = async (): Promise<boolean> => {
    const { rows } = await admin.query<{ key: string; value: string }>('SHOW STATE');
    return rows.find(({ key }) => key === 'paused')?.value === 'yes';
  };
  weir.signal('SIGUSR1');
  await eventually(paused);
  let answered = false;
  const held = one(client).finally(() => {
    answered = true;
  });
  await eventually(async () => (await waiting()) === 1);
  t.notOk(answered);
  weir.signal('SIGUSR2');
  t.equal(await held, 1);
  t.notOk(await paused());
});

t.test('a port in use is an error that says what to change', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await eventually(() => server.listening);
  const { port } = server.address() as net.AddressInfo;
  const { config, pidfile } = configure(t, { listen_port: port });
  const ended = await run(t, config);
  t.equal(ended.status, 1);
  t.match(ended.stderr, `weir: cannot listen on 127.0.0.1:${port}: EADDRINUSE`);
  t.match(
    ended.stderr,
    /HINT: Another program listens there; change listen_port, or without a file: --port \(make run PORT=\.\.\.\)\./,
  );
  t.notOk(existsSync(pidfile), 'no pid file stays behind');
});

t.test('what a killed weir leaves behind stops no other one', async (t) => {
  const { config, directory, pidfile } = configure(t, { listen_port: await freePort() });
  const first = new WeirCommand(t, [config]);
  const port = await first.port();
  first.signal('SIGKILL');
  t.equal((await first.ended).signal, 'SIGKILL');
  const socket = join(directory, `.s.PGSQL.${port}`);
  t.ok(existsSync(socket) && existsSync(pidfile), 'a socket that nobody answers on, and the pid of nobody');
  const second = new WeirCommand(t, [config]);
  await second.port();
  t.equal(readFileSync(pidfile, 'utf8'), `${second.pid}\n`);
  t.equal(await one(await connect(t, port, directory)), 1);
});

t.test('--daemon returns when clients can connect, and stays in the background', async (t) => {
  const { config, directory, pidfile, logfile } = configure(t);
  const bare = configure(t, { logfile: '', pidfile: '' });
  t.match(await run(t, '--daemon', bare.config), { status: 1, stderr: /--daemon needs logfile and pidfile/ });
  t.teardown(() => {
    // Whatever went wrong, the daemon does not outlive the test; a good end removes the file.
    if (existsSync(pidfile)) process.kill(Number(readFileSync(pidfile, 'utf8')), 'SIGKILL');
  });
  const ended = await run(t, '--daemon', config);
  t.match(ended, { status: 0, stdout: '', stderr: '' });
  const pid = Number(readFileSync(pidfile, 'utf8'));
  t.ok(isRunning(pid));
  const ready = linesOf(readFileSync(logfile, 'utf8')).find(({ msg }) => msg === 'weir is ready');
  const [place = ''] = (ready?.['listen'] ?? []) as string[];
  const port = Number(/\d+$/.exec(place)?.[0]);
  const client = await connect(t, port, directory);
  t.equal(await one(client), 1);
  await client.end();
  process.kill(pid, 'SIGTERM');
  await eventually(() => !isRunning(pid));
  t.notOk(existsSync(pidfile));
});

// What a running one can be asked

t.test('report says of a running weir what its clients did that transaction mode would treat apart', async (t) => {
  const httpPort = await freePort();
  const { config } = configure(t, { http_listen: `127.0.0.1:${httpPort}`, pool_mode: 'session' });
  const weir = new WeirCommand(t, [config]);
  const client = await connect(t, await weir.port());
  const url = `http://127.0.0.1:${httpPort}`;
  await client.query('select 1');
  const safe = await run(t, 'report', '--url', url);
  t.match(safe, { status: 0, stderr: '', stdout: /would pin no server and refuse nothing\.\n$/ });

  await client.query("set application_name = 'hunter2'");
  for (let i = 0; i < 2; i++) await client.query('create temp table if not exists scratch (i int)');
  const text = await run(t, 'report', '--config', config);
  t.match(text, { status: 0, stderr: '' });
  t.match(text.stdout, /^weir \S+, \d+ queries since \d{4}-/);
  t.match(text.stdout, /^database postgres, user alice, no application name$/m);
  t.match(text.stdout, /^ {2}temp +2 times {2}pinned until the object is dropped\n +create temp table/im);
  t.match(text.stdout, /^Transaction mode would pin a server for: temp\.\n$/m);
  t.notMatch(text.stdout, /hunter2/, 'examples have no literals');

  const json = await run(t, 'report', '--url', `${url}/`, '--json');
  t.equal(json.status, 0);
  const { hazards } = JSON.parse(json.stdout) as { hazards: readonly Record<string, unknown>[] };
  t.match(
    hazards.find(({ hazard }) => hazard === 'temp'),
    { user: 'alice', database: 'postgres', application_name: '', count: 2, outcome: 'pinned' },
  );
});

t.test('report says what to do when it gets no answer', async (t) => {
  const nobody = `127.0.0.1:${await freePort()}`;
  const elsewhere = http.createServer((request, response) => {
    response.statusCode = request.url === '/other/hazards' ? 200 : 404;
    response.end('{}');
  });
  elsewhere.listen(0, '127.0.0.1');
  t.teardown(() => elsewhere.close());
  await eventually(() => elsewhere.listening);
  const url = `http://127.0.0.1:${(elsewhere.address() as net.AddressInfo).port}`;
  for (const [args, message] of [
    [[], /does not know where weir is\nHINT: Give --config/],
    [['--config', '/no/such.toml'], /configuration file \/no\/such\.toml does not exist/],
    [['--config', configure(t).config], /weir\.toml sets no http_listen\nHINT: Set it/],
    [['--config', configure(t, { http_listen: '127.0.0.1:0' }).config], /lets the system choose[\s\S]*HINT: .*--url/],
    [
      ['--config', configure(t, { http_listen: nobody }).config],
      /no answer from .*: ECONNREFUSED\nHINT: Check that weir/,
    ],
    [['--url', `http://${nobody}`], /no answer from .*: ECONNREFUSED\nHINT: Check that weir/],
    [['--url', nobody], /--url is not the address of an HTTP server\nHINT: It looks like http:/],
    [['--url', 'http://a:hunter2@127.0.0.1'], /without user and password/],
    [['--url', url], /\/hazards answers with status 404\nHINT: /],
    [['--url', `${url}/other`], /\/other\/hazards answers is no report of weir\nHINT: /],
  ] as const) {
    const ended = await run(t, 'report', ...args);
    t.match(ended, { status: 1, stdout: '', stderr: message }, args.join(' '));
    t.notMatch(ended.stderr, /\n {4}at |hunter2/, 'without a stack trace');
  }
});

// Without a file

/** The line to try, and what it connects to. */
async function tryOut(t: Teardown, ...args: string[]): Promise<{ weir: WeirCommand; url: string }> {
  const weir = new WeirCommand(t, ['--port', String(await freePort()), ...args]);
  const url = await Promise.race([
    eventually(() => /psql '([^']+)'/.exec(weir.stdout)?.[1] ?? false, { withinMs: 60_000 }),
    weir.failure(),
  ]);
  return { weir, url };
}

async function ask(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function postmasterOf(url: string): Promise<number> {
  const [row] = await ask(url, "select pg_read_file('postmaster.pid') as text");
  return Number(String(row?.['text']).split('\n')[0]);
}

t.test('without a file it starts a PostgreSQL and prints a line that works; killed, it leaves nothing', async (t) => {
  const { weir, url } = await tryOut(t);
  t.strictSame(await ask(url, 'select 40 + 2 as answer'), [{ answer: 42 }]);
  if (spawnSync('psql', ['--version']).status === 0) {
    const line = /^\s*(psql '.*')$/m.exec(weir.stdout)?.[1] ?? '';
    const psql = spawnSync('sh', ['-c', `${line} -XAtc 'select 6 * 7'`], { encoding: 'utf8', timeout: 20_000 });
    t.equal(psql.stdout, '42\n', 'as it is printed');
  } else {
    await t.test('as it is printed', { skip: 'psql is not installed' }, async () => {});
  }
  const pid = await postmasterOf(url);
  t.ok(isRunning(pid));
  weir.signal('SIGKILL');
  await weir.ended;
  await eventually(() => !isRunning(pid), { withinMs: 15_000 });
  t.notOk(isRunning(pid), 'the server ends with weir, however that ends');
});

t.test('without a file it says what an application, the console and a scraper are given', async (t) => {
  const { weir, url } = await tryOut(t);
  const said = await eventually(() => /will be lost|are lost/.test(weir.stdout) && weir.stdout, { withinMs: 5_000 });
  t.equal(/^ *DATABASE_URL=(\S+)$/m.exec(said)?.[1], url);
  const consoleUrl = /^ *psql '(\S+)' -c 'SHOW POOLS'$/m.exec(said)?.[1] ?? '';
  t.match(await ask(consoleUrl, 'show version'), [{ version: /weir/ }]);
  const metrics = /^ *curl (\S+)$/m.exec(said)?.[1] ?? '';
  t.match(await (await fetch(metrics)).text(), /^weir_/m);
  t.match(said, /^Setting up a PostgreSQL /, 'why it takes a moment');
  t.match(said, /All data are lost when weir ends, unless it is started with --data-dir/);
  // Somebody in a transaction: Ctrl-C says whom it waits for, and a second one waits no longer.
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  await client.query('begin');
  await client.query('select 1');
  weir.signal('SIGINT');
  await eventually(() => /waiting for 1 client in a transaction; Ctrl-C again to stop now/.test(weir.stdout));
  weir.signal('SIGINT');
  t.match(await weir.ended, { signal: null });
});

t.test('what is in the way of a Unix socket is named, with its owner', async (t) => {
  const { config, directory } = configure(t, { listen_addr: '', listen_port: 6432 });
  mkdirSync(join(directory, '.s.PGSQL.6432'));
  const { status, stderr } = await run(t, config);
  t.equal(status, 1);
  t.match(stderr, /\.s\.PGSQL\.6432: a file of (user \S+|the user with number \d+) is in the way/);
  t.match(stderr, /HINT: Remove the file, or change unix_socket_dir/);
});

t.test('with --data-dir what was written is there the next time', async (t) => {
  const parent = temporaryDirectory(t);
  // PostgreSQL does not run as root: whom it runs as instead must get there.
  chmodSync(parent, 0o711);
  const directory = join(parent, 'data');
  const first = await tryOut(t, '--data-dir', directory);
  await ask(first.url, 'create table kept as select 7 as seven');
  const pid = await postmasterOf(first.url);
  first.weir.signal('SIGINT');
  t.match(await first.weir.ended, { status: 0, signal: null });
  t.notOk(isRunning(pid));
  const second = await tryOut(t, '--data-dir', directory);
  t.strictSame(await ask(second.url, 'select seven from kept'), [{ seven: 7 }]);
  second.weir.signal('SIGTERM');
  t.match(await second.weir.ended, { status: 0, signal: null });
});
