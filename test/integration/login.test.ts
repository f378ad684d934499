// Logging in, on both sides of weir and against a real PostgreSQL: every method, every refusal, and what may be tried how often.

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import pg from 'pg';
import pino from 'pino';
import t from 'tap';
import { newDatabase, parseUserList, type UserList } from '../../lib/config/index.js';
import { Secret } from '../../lib/util/index.js';
import { makeCertificates, writeCertificates } from '../support/certificates.js';
import { eventually, startPostgres } from '../support/index.js';
import { type Fields, frame, RawClient, readFields, startup } from '../support/raw-client.js';
import type { Teardown } from '../support/temporary-directory.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';

const password = `it's "s3cret" \\ naïve`;
const quoted = pg.escapeLiteral(password);
const md5Of = (user: string): string => `md5${createHash('md5').update(password).update(user).digest('hex')}`;

const certificates = await makeCertificates('alice');
const certificateDir = await writeCertificates(t, certificates);
const postgres = await startPostgres({
  tls: certificates.server,
  hba: [
    'hostssl all bound all scram-sha-256',
    'hostnossl all bound all reject',
    'host all plain all password',
    'host all md5 all md5',
    'host all open all trust',
    'host all all all scram-sha-256',
  ].join('\n'),
  sql: [
    ...['alice', 'bob', 'bound', 'plain', 'open'].map((user) => `create role ${user} login password ${quoted}`),
    `create role md5 login password '${md5Of('md5')}'`,
    `create role asker login superuser password ${quoted}`,
    'create role passwordless login',
    `create role expired login password ${quoted} valid until '2001-01-01'`,
    `create role group_only nologin password ${quoted}`,
    'create database app',
  ],
});
t.teardown(() => postgres.stop());

const storedSecrets = new Map(
  (await postgres.query<{ rolname: string; rolpassword: string }>('select rolname, rolpassword from pg_authid')).map(
    ({ rolname, rolpassword }) => [rolname, rolpassword],
  ),
);

const clientTls = {
  client_tls_sslmode: 'prefer',
  client_tls_key_file: `${certificateDir}/server.key`,
  client_tls_cert_file: `${certificateDir}/server.crt`,
  client_tls_ca_file: `${certificateDir}/ca.crt`,
} as const;

async function start(t: Teardown, options: Omit<WeirOptions, 'server'>): Promise<TestWeir> {
  const weir = await startWeir({ server: postgres, users: {}, ...options });
  t.teardown(() => weir.stop());
  return weir;
}

/** A client that is logged in, and leaves when the test ends. */
async function logIn(t: Teardown, weir: TestWeir, config: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client({ host: weir.host, port: weir.port, database: 'postgres', password, ...config });
  // The end of weir before that of the client.
  client.on('error', () => {});
  await client.connect();
  t.teardown(() => client.end());
  return client;
}

interface Refusal {
  readonly code: string | undefined;
  readonly message: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
}

/** The error a login ends with. @throws when it succeeds */
async function refusal(weir: TestWeir, config: pg.ClientConfig): Promise<Refusal> {
  const client = new pg.Client({ host: weir.host, port: weir.port, database: 'postgres', password, ...config });
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    const { code, message, detail, hint } = error as pg.DatabaseError;
    return { code, message, detail, hint };
  }
  await client.end();
  throw new Error('the login succeeded');
}

async function whoAmI(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ current_user: string }>('select current_user');
  return rows[0]?.current_user ?? '';
}

function fileOf(users: Readonly<Record<string, string>>): UserList {
  const lines = Object.entries(users).map(([user, secret]) => `"${user}" "${secret.replaceAll('"', '""')}"`);
  const result = parseUserList(lines.join('\n'));
  if (!result.ok) throw new Error('a bad line');
  return result.users;
}

// Clients towards weir

const wrongPassword = { code: '28P01', message: 'password authentication failed', detail: undefined, hint: undefined };
const wrongProof = { code: '28P01', message: 'SASL authentication failed', detail: undefined, hint: undefined };

t.test('each auth_type takes the right password, whatever form it is stored in, and no other', async (t) => {
  const forms = { plain: password, md5: md5Of('alice'), scram: storedSecrets.get('alice') ?? '' };
  const database = { user: 'asker', password: new Secret(password) };
  for (const [auth_type, form, refused] of [
    ['plain', 'plain', wrongPassword],
    ['plain', 'md5', wrongPassword],
    ['plain', 'scram', wrongPassword],
    ['md5', 'plain', wrongPassword],
    ['md5', 'md5', wrongPassword],
    ['md5', 'scram', wrongProof],
    ['scram-sha-256', 'plain', wrongProof],
    ['scram-sha-256', 'scram', wrongProof],
  ] as const) {
    const weir = await start(t, { weir: { auth_type }, database, userList: fileOf({ alice: forms[form] }) });
    const client = await logIn(t, weir, { user: 'alice' });
    t.equal(await whoAmI(client), 'asker', `${auth_type} against a password stored as ${form}`);
    t.same(await refusal(weir, { user: 'alice', password: 'wrong' }), refused, 'another password');
    t.same(await refusal(weir, { user: 'alice', password: `${password} ` }), refused, 'a longer password');
  }
});

t.test('an md5 secret is of no use to SCRAM: the login fails like any other', async (t) => {
  const weir = await start(t, { userList: fileOf({ alice: md5Of('alice') }) });
  t.same(await refusal(weir, { user: 'alice' }), wrongProof);
});

t.test('trust asks for nothing, but the user must exist; any does not even ask for that', async (t) => {
  const trusting = await start(t, { weir: { auth_type: 'trust' }, users: { open: '' } });
  t.equal(await whoAmI(await logIn(t, trusting, { user: 'open', password: '' })), 'open');
  t.match(await refusal(trusting, { user: 'nobody' }), { code: '28000', message: 'no such user' });
  const database = { user: 'asker', password: new Secret(password) };
  const any = await start(t, { weir: { auth_type: 'any' }, database });
  t.equal(await whoAmI(await logIn(t, any, { user: 'nobody', password: '' })), 'asker');
});

/** What a stranger is shown up to the end of a login with SCRAM: everything but the random part. */
async function scramExchange(weir: TestWeir, user: string): Promise<{ shown: string[]; salt: string; error: Fields }> {
  const client = await RawClient.open(weir);
  const nonce = 'abcdefghijklmnopqrstuvwx';
  const shown: string[] = [];
  client.write(startup({ user }));
  const offer = await client.next();
  shown.push(offer.tag, offer.body.toString('latin1'));
  const first = Buffer.from(`n,,n=,r=${nonce}`);
  const length = Buffer.alloc(4);
  length.writeInt32BE(first.length);
  client.write(frame('p', Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), length, first])));
  const challenge = await client.next();
  const [serverNonce = '', salt = '', iterations = ''] = challenge.body.toString('latin1', 4).split(',');
  shown.push(challenge.tag, String(serverNonce.length), serverNonce.slice(0, 26), String(salt.length), iterations);
  client.write(frame('p', Buffer.from(`c=biws,${serverNonce},p=${Buffer.alloc(32).toString('base64')}`)));
  const last = await client.next();
  shown.push(last.tag, last.body.toString('latin1'));
  await client.closed;
  return { shown, salt, error: readFields(last.body) };
}

t.test('nothing tells an unknown user from a wrong password', async (t) => {
  const weir = await start(t, { users: { alice: password } });
  const known = await scramExchange(weir, 'alice');
  const unknown = await scramExchange(weir, 'nobody');
  t.equal(known.error['C'], '28P01');
  t.same(unknown.shown, known.shown, 'the same messages of the same length, the same iterations, the same error');
  t.equal((await scramExchange(weir, 'nobody')).salt, unknown.salt, 'an unknown user has a salt of its own that stays');
  t.not((await scramExchange(weir, 'nobody2')).salt, unknown.salt);
  t.equal((await scramExchange(weir, 'alice')).salt, known.salt);
  for (const auth_type of ['plain', 'md5'] as const) {
    const other = await start(t, { weir: { auth_type }, users: { alice: password } });
    const [one, two] = [
      await refusal(other, { user: 'alice', password: 'x' }),
      await refusal(other, { user: 'nobody' }),
    ];
    t.equal(one.code, '28P01');
    if (auth_type === 'plain') t.same(two, one, 'auth_type plain');
    else t.equal(two.code, one.code, 'auth_type md5');
  }
});

t.test('a certificate names its user, and nobody else', async (t) => {
  const weir = await start(t, {
    weir: { auth_type: 'cert', ...clientTls, client_tls_sslmode: 'verify-full' },
    users: { alice: password, bob: password },
  });
  const { ca, client, otherClient, expiredClient } = certificates;
  const ssl = (own?: { cert: string; key: string }): pg.ClientConfig['ssl'] => ({
    ca: ca.cert,
    ...(own === undefined ? {} : { cert: own.cert, key: own.key }),
  });
  t.equal(await whoAmI(await logIn(t, weir, { user: 'alice', password: '', ssl: ssl(client) })), 'alice');
  const refused = { code: '28000', message: 'certificate authentication failed' };
  t.match(await refusal(weir, { user: 'bob', ssl: ssl(client) }), refused, 'of another user');
  t.match(await refusal(weir, { user: 'nobody', ssl: ssl(client) }), refused, 'of another user, who is unknown');
  t.match(await refusal(weir, { user: 'alice', ssl: ssl() }), refused, 'none');
  t.match(await refusal(weir, { user: 'alice', ssl: ssl(otherClient) }), refused, 'of another authority');
  t.match(await refusal(weir, { user: 'alice', ssl: ssl(expiredClient) }), refused, 'expired');
  t.match(await refusal(weir, { user: 'alice' }), { code: '28000', message: 'SSL required' }, 'without TLS');
});

const psql = spawnSync('psql', ['--version']).status === 0;

t.test('channel binding ties the login to the TLS connection it is made on', async (t) => {
  const weir = await start(t, { weir: clientTls, users: { alice: password } });
  const ssl = { ca: certificates.ca.cert };
  const bound = await logIn(t, weir, { user: 'alice', ssl, enableChannelBinding: true });
  t.equal(await whoAmI(bound), 'alice');
  // A driver that knows channel binding and is told that weir does not: somebody between them took it away.
  const mitm = await startTerminator(t, weir.port);
  const between = { ...weir, port: mitm, host: weir.host } as TestWeir;
  t.match(
    await refusal(between, {
      user: 'alice',
      ssl: { rejectUnauthorized: false },
      enableChannelBinding: true,
    }),
    { code: '28000', message: 'SASL authentication failed' },
    'somebody who terminates TLS in between is noticed',
  );
});

t.test('psql insists on channel binding and gets it', { skip: psql ? false : 'psql is not installed' }, async (t) => {
  const weir = await start(t, { weir: clientTls, users: { alice: password } });
  const run = async (more: string): Promise<{ status: number | null; output: string }> => {
    const child = spawn(
      'psql',
      [
        '-XAtc',
        'select current_user',
        `host=localhost port=${weir.port} dbname=postgres user=alice connect_timeout=10 ${more}`,
      ],
      {
        env: { ...process.env, PGPASSWORD: password, LC_ALL: 'C' },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => (output += bytes.toString()));
    const [status] = (await once(child, 'close')) as [number | null];
    return { status, output };
  };
  const root = `sslrootcert=${certificateDir}/ca.crt`;
  t.same(await run(`sslmode=verify-full channel_binding=require ${root}`), { status: 0, output: 'alice\n' });
  t.same(await run(`sslmode=verify-full channel_binding=disable ${root}`), { status: 0, output: 'alice\n' });
  const plain = await run('sslmode=disable channel_binding=require');
  t.not(plain.status, 0, 'without TLS there is nothing to bind to');
});

// Weir towards servers

t.test('weir answers every method a server may ask for', async (t) => {
  const users = Object.fromEntries(['alice', 'bound', 'plain', 'md5', 'open'].map((user) => [user, password]));
  for (const server_tls_sslmode of ['disable', 'require'] as const) {
    const weir = await start(t, { weir: { server_tls_sslmode }, users });
    for (const user of Object.keys(users)) {
      if (user === 'bound' && server_tls_sslmode === 'disable') continue;
      const client = await logIn(t, weir, { user });
      const { rows } = await client.query(
        'select current_user as who, ssl from pg_stat_ssl where pid = pg_backend_pid()',
      );
      t.same(rows, [{ who: user, ssl: server_tls_sslmode === 'require' }], `user ${user}, TLS: ${server_tls_sslmode}`);
    }
  }
});

t.test('a server that refuses weir is quoted to the client', async (t) => {
  const logged: { msg: string }[] = [];
  const weir = await start(t, {
    weir: { server_tls_sslmode: 'disable', log_pooler_errors: false, log_connections: false },
    users: { bound: password, alice: 'not the one of the server' },
    log: pino({ level: 'error' }, { write: (line: string) => void logged.push(JSON.parse(line)) }),
  });
  const place = `${postgres.host}:${postgres.port}`;
  const rejected = await refusal(weir, { user: 'bound' });
  t.equal(rejected.code, '28000');
  t.match(rejected.message, /^pg_hba.conf rejects connection /);
  t.equal(rejected.hint, `See pg_hba.conf of PostgreSQL at ${place}: it says who may log in from here, and how.`);
  const wrong = await refusal(weir, { user: 'alice', password: 'not the one of the server' });
  t.match(wrong, { code: '28P01', message: /^password authentication failed for user "alice"$/ });
  const hint = `The password that weir has for user "alice" (section [users.alice] of the configuration) is not the one in PostgreSQL at ${place}: change either.`;
  t.equal(wrong.hint, hint);
  t.match(
    logged.map(({ msg }) => msg),
    [
      new RegExp(`^server login at ${place} failed: pg_hba.conf rejects`),
      new RegExp(`^server login at ${place} failed: password authentication failed for user "alice"$`),
    ],
  );
  const again = await refusal(weir, { user: 'alice', password: 'not the one of the server' });
  t.match(again, {
    code: '28P01',
    message: /^server login has been failing, cached error: password auth.* \(server_login_retry\)$/,
  });
  t.match(again.hint?.slice(hint.length), /^ Weir tries again in 1[45] s \(server_login_retry\)\.$/);
  t.match(await refusal(weir, { user: 'alice', password: 'not the one of the server', database: 'nowhere' }), {
    code: '28P01',
  });
  const missing = await start(t, { users: { alice: password, group_only: password } });
  t.match(await refusal(missing, { user: 'alice', database: 'nowhere' }), {
    code: '3D000',
    message: /^database "nowhere" does not exist$/,
    hint: /^Create the database in PostgreSQL at /,
  });
  const unfit = await refusal(missing, { user: 'group_only' });
  t.match(
    unfit,
    { code: '28000', message: /is not permitted to log in$/, hint: undefined },
    'the password is the right one',
  );
});

t.test('where weir has a password from that the server refuses is told', async (t) => {
  const wrong = { user: 'alice', password: 'wrong' };
  const ofFile = await start(t, { userList: fileOf({ alice: 'wrong' }) });
  t.match((await refusal(ofFile, wrong)).hint, /"alice" \(the users file, auth_file\) is not the one/);
  const ofDatabase = await start(t, {
    users: { alice: password },
    database: { user: 'alice', password: new Secret('wrong') },
  });
  t.match(
    (await refusal(ofDatabase, { user: 'alice' })).hint,
    /"alice" \(password in section \[databases\."\*"\] of the configuration\) is not the one/,
  );
});

t.test('channel binding towards the server notices who terminates TLS in between', async (t) => {
  const port = await startTerminator(t, postgres.port);
  const server = { host: postgres.host, port };
  const options = { weir: { server_tls_sslmode: 'require' }, users: { alice: password, plain: password } } as const;
  const weir = await startWeir({ server, ...options });
  t.teardown(() => weir.stop());
  t.equal(await whoAmI(await logIn(t, weir, { user: 'plain' })), 'plain', 'a password is given to whoever asks for it');
  const refused = await refusal(weir, { user: 'alice' });
  t.match(
    refused,
    { code: '28000', message: /^SCRAM channel binding check failed$/, hint: undefined },
    'SCRAM is bound to the certificate',
  );
});

t.test('SCRAM passes through where weir has only the secret the server has', async (t) => {
  const secret = storedSecrets.get('alice') ?? '';
  const weir = await start(t, { userList: fileOf({ alice: secret }) });
  t.equal(await whoAmI(await logIn(t, weir, { user: 'alice' })), 'alice');
  t.same(await refusal(weir, { user: 'alice', password: 'wrong' }), wrongProof);
  const other = storedSecrets.get('bob') ?? '';
  t.not(other.split('$')[1], secret.split('$')[1], 'the same password, another salt');
  const mixed = await start(t, { userList: fileOf({ alice: other }) });
  const refused = await refusal(mixed, { user: 'alice' });
  t.match(refused.message, /^server login failed: /);
  t.notMatch(JSON.stringify(refused), /s3cret/);
  const asked = await start(t, { userList: fileOf({ plain: storedSecrets.get('plain') ?? '' }) });
  t.match(await refusal(asked, { user: 'plain' }), {
    message: /only a SCRAM secret is known/,
    hint: /pg_hba.conf/,
  });
});

t.test('a database with a user has its servers log in as that user', async (t) => {
  const weir = await start(t, {
    database: { user: 'bob', password: new Secret(password) },
    userList: fileOf({ alice: 'of weir only' }),
  });
  const client = await logIn(t, weir, { user: 'alice', password: 'of weir only' });
  t.equal(await whoAmI(client), 'bob');
  t.same(await refusal(weir, { user: 'alice' }), wrongProof, "the server's password is not the client's");
  t.same(await refusal(weir, { user: 'bob' }), wrongProof, 'nor does it let anybody in');
});

// auth_query

const asking = { weir: { auth_user: 'asker' }, users: { asker: password } } as const;

t.test('auth_query finds the users that are in no file', async (t) => {
  const weir = await start(t, asking);
  t.equal(await whoAmI(await logIn(t, weir, { user: 'alice' })), 'alice');
  t.equal(await whoAmI(await logIn(t, weir, { user: 'asker' })), 'asker', 'who asks is in the file');
  for (const [user, given] of [
    ['alice', 'wrong'],
    ['nobody', password],
    ['passwordless', password],
    ['passwordless', ''],
    ['expired', password],
    ['group_only', password],
    ["nobody' or '1'='1", password],
    ['md5', password],
  ] as const) {
    t.same(await refusal(weir, { user, password: given || 'x' }), wrongProof, `${user} with "${given}"`);
  }
  const md5 = await start(t, { ...asking, weir: { ...asking.weir, auth_type: 'md5' } });
  t.equal(await whoAmI(await logIn(t, md5, { user: 'md5' })), 'md5', 'an md5 secret serves both sides');
});

t.test('auth_query is asked at each login: a changed password counts at once', async (t) => {
  await postgres.query(`create role changing login password 'first'`);
  const weir = await start(t, asking);
  t.equal(await whoAmI(await logIn(t, weir, { user: 'changing', password: 'first' })), 'changing');
  await postgres.query(`alter role changing password 'second'`);
  t.same(await refusal(weir, { user: 'changing', password: 'first' }), wrongProof);
  t.equal(await whoAmI(await logIn(t, weir, { user: 'changing', password: 'second' })), 'changing');
});

t.test('auth_query runs in auth_dbname, by the query and the user of the database', async (t) => {
  await postgres.query(
    `create function secret_of(name text) returns table (who text, secret text) language sql security definer as
     $$ select rolname::text, rolpassword from pg_authid where rolname = name and rolname <> 'bob' $$`,
  );
  const weir = await start(t, {
    users: { bob: password },
    config: (config) => {
      const hosts = [{ kind: 'tcp', host: postgres.host, port: postgres.port }] as const;
      const lookup = newDatabase('lookup', hosts, { dbname: 'postgres' });
      const app = newDatabase('app', hosts, {
        auth_user: 'bob',
        auth_dbname: 'lookup',
        auth_query: 'select who, secret from secret_of($1)',
      });
      return { ...config, databases: new Map([lookup, app].map((database) => [database.name, database])) };
    },
  });
  t.equal(await whoAmI(await logIn(t, weir, { user: 'alice', database: 'app' })), 'alice');
  const pools = [...weir.pooler.pools].map(({ database, user }) => `${database} ${user}`).sort();
  t.same(pools, ['app alice'], 'the query runs on servers that no client is lent');
  t.same(
    await refusal(weir, { user: 'alice', database: 'lookup' }),
    wrongProof,
    'a database without auth_user has no query',
  );
});

t.test('an answer of auth_query about somebody else lets nobody in', async (t) => {
  const auth_query = "select rolname, rolpassword from pg_authid where rolname = 'alice' and $1 <> ''";
  const weir = await start(t, { ...asking, weir: { ...asking.weir, auth_query } });
  t.equal(await whoAmI(await logIn(t, weir, { user: 'alice' })), 'alice');
  t.same(await refusal(weir, { user: 'bob' }), wrongProof);
});

t.test('an auth_query that fails, or cannot run, is an error that does not say the secret', async (t) => {
  const broken = await start(t, {
    ...asking,
    weir: { ...asking.weir, auth_query: 'select nonsense where $1 is null' },
  });
  const refused = await refusal(broken, { user: 'alice' });
  t.ok(refused.code !== undefined && refused.code !== '28P01', `${refused.code} ${refused.message}`);
  const unreachable = await start(t, { ...asking, users: { asker: 'wrong' } });
  const told = await refusal(unreachable, { user: 'alice' });
  t.match(told.message, /^password authentication failed for user "asker"$/);
  t.same([told.detail, told.hint], [undefined, undefined], 'where the server is, only the log says');
});

t.test('no client steers the look-up of passwords by its search_path (CVE-2025-12819)', async (t) => {
  // A catalog of its own in which everybody has the password of whoever made it.
  await postgres.query('create schema evil');
  await postgres.query(
    `create table evil.pg_authid as
     select 'bob'::name as rolname, ${pg.escapeLiteral(storedSecrets.get('alice') ?? '')} as rolpassword,
            null::timestamptz as rolvaliduntil, true as rolcanlogin`,
  );
  await postgres.query(`alter role bob password 'of bob'`);
  await postgres.query('grant usage on schema evil to public');
  await postgres.query('grant select on evil.pg_authid to public');
  const weir = await start(t, { ...asking, weir: { ...asking.weir, default_pool_size: 1 } });
  const options = '-c search_path=evil,pg_catalog';
  t.same(await refusal(weir, { user: 'bob', options }), wrongProof, 'at its own login');

  const asker = await logIn(t, weir, { user: 'asker', options });
  const { rows } = await asker.query('select count(*)::int as visible from pg_authid');
  t.same(rows, [{ visible: 1 }], 'the trap works for a client that wants it');
  t.same(await refusal(weir, { user: 'bob' }), wrongProof, 'nor by what it left on the server that runs the look-up');
  await asker.query('set search_path = evil, pg_catalog');
  await asker.query(`set session role alice`);
  await asker.query('reset role');
  t.same(await refusal(weir, { user: 'bob' }), wrongProof);
  t.equal(await whoAmI(await logIn(t, weir, { user: 'bob', password: 'of bob' })), 'bob');
  t.same((await asker.query('show search_path')).rows, [{ search_path: 'evil, pg_catalog' }], 'which the client keeps');
});

// Limits on logins

t.test('too many failed logins are refused without a look at the password, for a while', async (t) => {
  const weir = await start(t, {
    weir: { max_login_failures: 2, login_failure_window: 1 },
    users: { alice: password, bob: 'of bob' },
  });
  for (let i = 0; i < 3; i++) t.same(await refusal(weir, { user: 'alice', password: 'wrong' }), wrongProof);
  const rejected = await refusal(weir, { user: 'alice' });
  t.match(rejected, { code: '28000', message: 'login rejected', hint: /^Too many failed logins; try again in 1 s\.$/ });
  t.match(await refusal(weir, { user: 'bob' }), { message: 'login rejected' }, 'the address is refused, not the user');
  t.equal(await whoAmI(await eventually(() => logIn(t, weir, { user: 'alice' }))), 'alice');
});

t.test('a failed login is answered late, and keeps nobody else waiting', async (t) => {
  const weir = await start(t, { weir: { auth_failure_delay: 0.5 }, users: { alice: password } });
  const before = performance.now();
  const failing = refusal(weir, { user: 'alice', password: 'wrong' });
  await logIn(t, weir, { user: 'alice' });
  const loggedInMs = performance.now() - before;
  t.same(await failing, wrongProof);
  const failedMs = performance.now() - before;
  t.ok(failedMs >= 490, `after ${failedMs} ms`);
  t.ok(loggedInMs < failedMs, `while another login took ${loggedInMs} ms`);
});

t.test('logins under way are limited, in number and in time', async (t) => {
  const weir = await start(t, {
    weir: { max_pending_logins: 2, client_login_timeout: 1, auth_type: 'trust' },
    users: { open: '' },
  });
  const silent = [await RawClient.open(weir), await RawClient.open(weir)];
  await eventually(() => weir.pooler.pendingLogins === 2);
  const third = await RawClient.open(weir);
  await third.closed;
  t.equal(third.bytesRead, 0, 'one too many is closed without a word');
  const errors = await Promise.all(silent.map((client) => client.fatal()));
  t.same(
    errors.map((fields) => [fields['C'], fields['M']]),
    [
      ['08P01', 'client_login_timeout'],
      ['08P01', 'client_login_timeout'],
    ],
  );
  await eventually(() => weir.pooler.pendingLogins === 0);
  t.equal(await (await RawClient.connect(weir, { user: 'open' })).value('select 1'), '1');
});

// What else a client may ask for at login

t.test('parameters of the startup packet', async (t) => {
  const trusting = { auth_type: 'trust' } as const;
  const users = { open: '' };
  const plain = await start(t, { weir: trusting, users });
  await t.rejects(RawClient.connect(plain, { user: 'open', parameters: { nonsense: '1' } }), {
    code: '42704',
    message: 'unrecognized configuration parameter "nonsense"',
  });
  await t.rejects(RawClient.connect(plain, { user: 'open', parameters: { 'bad name': '1' } }), {
    code: '08P01',
    message: 'unsupported startup parameter: bad name',
  });
  await t.rejects(RawClient.connect(plain, { user: 'open', parameters: { options: '-d 5' } }), {
    message: /^unsupported options startup parameter: only '-c config=val'/,
  });
  await t.rejects(RawClient.connect(plain, { user: 'open', parameters: { TimeZone: 'Nowhere/City' } }), {
    code: '22023',
  });
  await t.rejects(RawClient.connect(plain, { user: 'x'.repeat(200) }), { code: '28000', message: 'username too long' });

  const ignoring = await start(t, {
    weir: { ...trusting, ignore_startup_parameters: ['nonsense', 'extra_float_digits'] },
    users,
  });
  const client = await RawClient.connect(ignoring, {
    user: 'open',
    parameters: { nonsense: '1', extra_float_digits: '-3', options: '-c nonsense=2', application_name: 'mine' },
  });
  t.equal(await client.value('show extra_float_digits'), '1', 'an ignored parameter has no effect');
  t.equal(await client.value('show application_name'), 'mine');

  const adding = await start(t, { weir: { ...trusting, application_name_add_host: true }, users });
  const named = await RawClient.connect(adding, { user: 'open', parameters: { application_name: 'mine' } });
  const expected = `mine - 127.0.0.1:${named.socket.localPort}`;
  t.equal(await named.value('show application_name'), expected);
  t.equal(named.parameters.get('application_name'), expected, 'and the client is told');
});

t.test('protocol 3.2 has cancel keys of 32 bytes, and they cancel', async (t) => {
  const weir = await start(t, { weir: { auth_type: 'trust' }, users: { open: '' } });
  const client = await RawClient.connect(weir, { user: 'open', minor: 2 });
  t.equal(client.cancelSecret.length, 32);
  const reply = client.query('select pg_sleep(20)');
  await eventually(
    async () => (await postgres.query("select from pg_stat_activity where query ~ '^select pg_sleep'")).length === 1,
  );
  await client.cancel(weir);
  t.equal((await reply).errors[0]?.['C'], '57014');
  t.equal(await client.value('select 1'), '1');
});

t.test('a login waits for nobody else, and a hundred at once all succeed', async (t) => {
  const weir = await start(t, { weir: { default_pool_size: 2 }, users: { alice: password } });
  const clients = await Promise.all(Array.from({ length: 100 }, () => logIn(t, weir, { user: 'alice' })));
  const users = await Promise.all(clients.map(whoAmI));
  t.same(new Set(users), new Set(['alice']));
  t.equal(weir.pooler.logins, 100);
});

/** Takes TLS connections with a certificate of its own and makes others behind them: what a man in the middle does. */
async function startTerminator(t: Teardown, targetPort: number): Promise<number> {
  const sockets = new Set<net.Socket>();
  const sslRequest = Buffer.from('0000000804d2162f', 'hex');
  const server = net.createServer((front) => {
    const back = net.connect(targetPort, '127.0.0.1');
    for (const socket of [front, back]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
    front.once('data', () => back.write(sslRequest));
    back.once('data', () => {
      front.write('S');
      const { cert, key } = certificates.otherServer;
      const towardsClient = new tls.TLSSocket(front, { isServer: true, cert, key });
      const towardsServer = tls.connect({ socket: back, rejectUnauthorized: false });
      for (const socket of [towardsClient, towardsServer]) socket.on('error', () => {});
      towardsClient.pipe(towardsServer).pipe(towardsClient);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as net.AddressInfo).port;
}
