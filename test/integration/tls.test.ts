// TLS on both sides of weir, against a real PostgreSQL: every sslmode, certificates that fit and that do not, and their replacement.

import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import pg from 'pg';
import t from 'tap';
import type { GlobalSettings } from '../../lib/config/index.js';
import { type CertificatePair, makeCertificates, makeSelfSigned, writeCertificates } from '../support/certificates.js';
import { eventually, startPostgres, temporaryDirectory } from '../support/index.js';
import { RawClient, readFields, startup } from '../support/raw-client.js';
import type { Teardown } from '../support/temporary-directory.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';

const certificates = await makeCertificates('alice');
const files = await writeCertificates(t, certificates);
const pathOf = (name: string): string => join(files, name);

const elsewhere = await makeSelfSigned('db.example', { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' });
writeFileSync(pathOf('elsewhere.crt'), elsewhere.cert);

const users = { alice: 'secret', bob: 'secret', carol: 'secret', dave: 'secret' };
const sql = Object.entries(users).map(([user, password]) => `create role ${user} login password '${password}'`);
const hba = [
  'hostssl all alice all cert',
  'hostnossl all carol all reject',
  'hostssl all dave all reject',
  'host all all all scram-sha-256',
].join('\n');
const [secure, plain, misnamed, expired] = await Promise.all([
  startPostgres({ sql, hba, tls: { ...certificates.server, ca: certificates.ca.cert } }),
  startPostgres({ sql }),
  startPostgres({ sql, tls: elsewhere }),
  startPostgres({ sql, tls: certificates.expiredServer }),
]);
t.teardown(() => Promise.all([secure, plain, misnamed, expired].map((server) => server.stop())));

const towardsClients = {
  client_tls_key_file: pathOf('server.key'),
  client_tls_cert_file: pathOf('server.crt'),
  client_tls_ca_file: pathOf('ca.crt'),
} as const;

async function start(
  t: Teardown,
  weir: Partial<GlobalSettings>,
  more: Pick<WeirOptions, 'server'> = { server: secure },
): Promise<TestWeir> {
  const started = await startWeir({ users, weir: { log_level: 'silent', ...weir }, ...more });
  t.teardown(() => started.stop());
  return started;
}

type Ssl = Exclude<pg.ClientConfig['ssl'], undefined>;

function newClient(weir: TestWeir, ssl: Ssl, user = 'bob'): pg.Client {
  const client = new pg.Client({
    host: weir.host,
    port: weir.port,
    user,
    password: 'secret',
    database: 'postgres',
    ssl,
  });
  client.on('error', () => {});
  return client;
}

/** `ok`, or the error of the login. */
async function outcome(weir: TestWeir, ssl: Ssl): Promise<string> {
  const client = newClient(weir, ssl);
  try {
    await client.connect();
    const { rows } = await client.query('select 1 as one');
    await client.end();
    return rows[0]?.one === 1 ? 'ok' : 'no answer';
  } catch (error) {
    return (error as Error).message;
  }
}

const trusting = { ca: certificates.ca.cert };
const withCertificate = (pair: CertificatePair): Ssl => ({ ...trusting, cert: pair.cert, key: pair.key });

t.test('what each client_tls_sslmode takes', async (t) => {
  const none = 'The server does not support SSL connections';
  const uncertified = 'certificate authentication failed';
  const expectations = {
    disable: { plain: 'ok', tls: none, certified: none, other: none },
    allow: { plain: 'ok', tls: 'ok', certified: 'ok', other: 'ok' },
    prefer: { plain: 'ok', tls: 'ok', certified: 'ok', other: 'ok' },
    require: { plain: 'SSL required', tls: 'ok', certified: 'ok', other: 'ok' },
    'verify-ca': { plain: 'SSL required', tls: uncertified, certified: 'ok', other: uncertified },
    'verify-full': { plain: 'SSL required', tls: uncertified, certified: 'ok', other: uncertified },
  } as const;
  for (const [client_tls_sslmode, expected] of Object.entries(expectations)) {
    const weir = await start(t, {
      ...towardsClients,
      client_tls_sslmode: client_tls_sslmode as keyof typeof expectations,
    });
    const found = {
      plain: await outcome(weir, false),
      tls: await outcome(weir, trusting),
      certified: await outcome(weir, withCertificate(certificates.client)),
      other: await outcome(weir, withCertificate(certificates.otherClient)),
    };
    t.strictSame(found, expected, client_tls_sslmode);
  }
});

t.test('what each server_tls_sslmode takes', async (t) => {
  const outcomeOf = async (weir: Partial<GlobalSettings>, server: WeirOptions['server']): Promise<string> => {
    const started = await start(t, weir, { server });
    const client = newClient(started, false);
    try {
      await client.connect();
    } catch (error) {
      return `${(error as pg.DatabaseError).message} ${(error as pg.DatabaseError).detail ?? ''}`;
    }
    const { rows } = await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
    await client.end();
    return rows[0].ssl ? 'tls' : 'plain';
  };
  const ca = { server_tls_ca_file: pathOf('ca.crt') };
  const otherCa = { server_tls_ca_file: pathOf('otherCa.crt') };
  const ownCa = { server_tls_ca_file: pathOf('elsewhere.crt') };
  const untrusted = /TLS handshake with server "127\.0\.0\.1" failed.*/;
  for (const [server_tls_sslmode, more, server, expected] of [
    ['disable', {}, secure, /^plain$/],
    ['disable', {}, plain, /^plain$/],
    ['allow', {}, secure, /^plain$/],
    ['allow', {}, plain, /^plain$/],
    ['prefer', {}, secure, /^tls$/],
    ['prefer', {}, plain, /^plain$/],
    ['require', {}, secure, /^tls$/],
    ['require', {}, expired, /^tls$/],
    ['require', {}, plain, /the server does not support TLS/],
    ['verify-ca', ca, secure, /^tls$/],
    ['verify-ca', ca, plain, /the server does not support TLS/],
    ['verify-ca', otherCa, secure, untrusted],
    ['verify-ca', {}, secure, untrusted],
    ['verify-ca', ca, expired, /certificate has expired/],
    ['verify-ca', ownCa, misnamed, /^tls$/],
    ['verify-full', ca, secure, /^tls$/],
    ['verify-full', ca, { host: 'localhost', port: secure.port }, /^tls$/],
    [
      'verify-full',
      ownCa,
      misnamed,
      /does not match certificate's altnames|TLS handshake with server "127\.0\.0\.1" failed/,
    ],
    ['verify-full', otherCa, secure, untrusted],
    ['verify-full', ca, plain, /the server does not support TLS/],
  ] as const) {
    const found = await outcomeOf({ server_tls_sslmode, ...more }, server);
    const name =
      Object.entries({ secure, plain, misnamed, expired }).find(([, one]) => one === server)?.[0] ?? 'by name';
    t.match(
      found,
      expected,
      `${server_tls_sslmode} ${Object.values(more)
        .map((path) => path.slice(files.length + 1))
        .join()} ${name}`,
    );
  }
});

t.test('allow and prefer try the other way where pg_hba.conf refuses the first', async (t) => {
  for (const [server_tls_sslmode, user, ssl] of [
    ['allow', 'carol', true],
    ['prefer', 'dave', false],
  ] as const) {
    const weir = await start(t, { server_tls_sslmode });
    const client = newClient(weir, false, user);
    await client.connect();
    t.strictSame(
      (await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')).rows,
      [{ ssl }],
      user,
    );
    await client.end();
  }
  for (const [server_tls_sslmode, user] of [
    ['disable', 'carol'],
    ['require', 'dave'],
  ] as const) {
    const weir = await start(t, { server_tls_sslmode });
    await t.rejects(newClient(weir, false, user).connect(), {
      code: '28000',
      message: /pg_hba\.conf rejects connection/,
    });
  }
});

t.test('weir shows its certificate to servers that want one', async (t) => {
  const own = { server_tls_cert_file: pathOf('client.crt'), server_tls_key_file: pathOf('client.key') };
  const weir = await start(t, { server_tls_sslmode: 'require', ...own });
  const client = newClient(weir, false, 'alice');
  await client.connect();
  const { rows } = await client.query('select client_dn from pg_stat_ssl where pid = pg_backend_pid()');
  t.strictSame(rows, [{ client_dn: '/CN=alice' }]);
  await client.end();
  const bare = await start(t, { server_tls_sslmode: 'require' });
  await t.rejects(newClient(bare, false, 'alice').connect(), /connection requires a valid client certificate/);
});

t.test('a cancel request reaches a server that is spoken to over TLS', async (t) => {
  const weir = await start(t, { server_tls_sslmode: 'require', auth_type: 'trust' });
  const client = await RawClient.connect(weir, { user: 'bob' });
  const reply = client.query('select pg_sleep(20)');
  await eventually(
    async () => (await secure.query("select from pg_stat_activity where query ~ '^select pg_sleep'")).length === 1,
  );
  await client.cancel(weir);
  t.equal((await reply).errors[0]?.['C'], '57014');
});

// The ways to begin

/** A TLS connection that begins without SSLRequest. */
function connectDirectly(weir: TestWeir, options: tls.ConnectionOptions): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect(
      { host: weir.host, port: weir.port, servername: 'localhost', ...trusting, ...options },
      () => resolve(socket),
    );
    socket.on('error', reject);
  });
}

/** The first bytes that come, and what follows at once. */
async function firstBytes(socket: tls.TLSSocket): Promise<Buffer> {
  return new Promise((resolve) => socket.once('data', resolve));
}

t.test('TLS may begin at once, if it says which protocol follows', async (t) => {
  const weir = await start(t, { ...towardsClients, client_tls_sslmode: 'require', auth_type: 'trust' });
  const socket = await connectDirectly(weir, { ALPNProtocols: ['postgresql'] });
  t.equal(socket.alpnProtocol, 'postgresql');
  socket.write(startup({ user: 'bob' }));
  const answer = await firstBytes(socket);
  t.equal(answer.toString('latin1', 0, 1), 'R', 'the login goes on');
  socket.destroy();

  const silent = await connectDirectly(weir, {});
  silent.write(startup({ user: 'bob' }));
  const refused = await firstBytes(silent);
  t.equal(refused.toString('latin1', 0, 1), 'E');
  t.equal(
    readFields(refused.subarray(5))['M'],
    'received direct SSL connection request without ALPN protocol negotiation',
  );
  silent.destroy();

  const off = await start(t, { client_tls_sslmode: 'disable', auth_type: 'trust' });
  await t.rejects(connectDirectly(off, { ALPNProtocols: ['postgresql'] }), 'where TLS is off there is no handshake');
});

t.test('bytes behind an SSLRequest are not taken for the first bytes of the session', async (t) => {
  const weir = await start(t, { ...towardsClients, client_tls_sslmode: 'prefer', auth_type: 'trust' });
  const client = await RawClient.open(weir);
  client.write(Buffer.from('0000000804d2162f', 'hex'), startup({ user: 'bob' }));
  t.match(await client.fatal(), { C: '08P01', M: 'received unencrypted data after SSL request' });
});

t.test('only the versions of TLS that are allowed are spoken', async (t) => {
  const weir = await start(t, { ...towardsClients, client_tls_sslmode: 'require', client_tls_protocols: ['tlsv1.3'] });
  t.equal(await outcome(weir, { ...trusting, minVersion: 'TLSv1.3' }), 'ok');
  t.match(
    await outcome(weir, { ...trusting, maxVersion: 'TLSv1.2' }),
    /alert protocol version|ECONNRESET|closed|terminated/,
  );
  const old = await start(t, { ...towardsClients, client_tls_sslmode: 'require', client_tls_protocols: ['tlsv1.2'] });
  t.equal(await outcome(old, trusting), 'ok');
});

t.test('much data goes through TLS on both sides, in both directions', async (t) => {
  const weir = await start(t, { ...towardsClients, client_tls_sslmode: 'require', server_tls_sslmode: 'require' });
  const client = newClient(weir, trusting);
  await client.connect();
  const text = 'x'.repeat(3_000_000);
  const { rows } = await client.query("select length($1::text) as given, repeat('y', 5000000) as got", [text]);
  t.equal(rows[0].given, text.length);
  t.equal(rows[0].got, 'y'.repeat(5_000_000));
  await client.end();
});

// Certificates that change

t.test('a reload puts new certificates in force and drops nobody', async (t) => {
  const directory = temporaryDirectory(t);
  const install = (name: string): void => {
    copyFileSync(pathOf(`${name}.crt`), join(directory, 'server.crt'));
    copyFileSync(pathOf(`${name}.key`), join(directory, 'server.key'));
  };
  install('server');
  const weir = await start(t, {
    client_tls_sslmode: 'require',
    client_tls_cert_file: join(directory, 'server.crt'),
    client_tls_key_file: join(directory, 'server.key'),
  });
  const otherCa = { ca: certificates.otherCa.cert };
  const early = newClient(weir, trusting);
  await early.connect();
  t.equal(await outcome(weir, trusting), 'ok');

  install('otherServer');
  t.equal(await outcome(weir, trusting), 'ok', 'nothing changes before the reload');
  await weir.pooler.reload();
  t.equal(await outcome(weir, otherCa), 'ok', 'the new certificate is shown');
  t.not(await outcome(weir, trusting), 'ok', 'and no longer the old one');
  t.strictSame((await early.query('select 1 as one')).rows, [{ one: 1 }], 'who was there before stays');

  for (const [name, text] of [
    ['server.crt', 'no certificate at all'],
    ['server.key', certificates.server.key],
  ] as const) {
    install('otherServer');
    writeFileSync(join(directory, name), text);
    await t.rejects(weir.pooler.reload(), { name: 'PoolerError', sqlstate: 'F0000' }, `a bad ${name} is an error`);
    t.equal(await outcome(weir, otherCa), 'ok', 'and nothing has changed');
  }
  install('otherServer');
  await weir.pooler.reload();
  t.strictSame((await early.query('select 1 as one')).rows, [{ one: 1 }]);
  await early.end();
});

t.test('a reload puts a new authority for servers in force', async (t) => {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'ca.crt');
  copyFileSync(pathOf('ca.crt'), file);
  const weir = await start(t, { server_tls_sslmode: 'verify-full', server_tls_ca_file: file, server_login_retry: 0 });
  t.equal(await outcome(weir, false), 'ok');
  copyFileSync(pathOf('otherCa.crt'), file);
  await weir.pooler.reload();
  weir.pooler.reconnect(undefined);
  t.match(await outcome(weir, false), /TLS handshake with server "127\.0\.0\.1" failed|no answer/);
  copyFileSync(pathOf('ca.crt'), file);
  await weir.pooler.reload();
  t.equal(await eventually(async () => (await outcome(weir, false)) === 'ok'), true);
});

t.test('a weir whose certificates cannot be used does not start', async (t) => {
  for (const [weir, message] of [
    [{ client_tls_sslmode: 'require' }, /client_tls_cert_file/],
    [{ client_tls_sslmode: 'verify-ca', ...towardsClients, client_tls_ca_file: '' }, /client_tls_ca_file/],
    [{ client_tls_sslmode: 'require', ...towardsClients, client_tls_key_file: pathOf('otherServer.key') }, /key/],
    [{ client_tls_sslmode: 'require', ...towardsClients, client_tls_cert_file: pathOf('absent.crt') }, /absent\.crt/],
    [{ server_tls_sslmode: 'verify-ca', server_tls_ca_file: pathOf('absent.crt') }, /absent\.crt/],
  ] as const) {
    await t.rejects(start(t, weir), { name: 'PoolerError', message }, String(message));
  }
});
