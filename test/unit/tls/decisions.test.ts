// The parts of tls without a socket: modes as tables, protocol lists, DER, channel binding data, files.

import { createHash } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import {
  certificateBytesMax,
  clientTlsPolicy,
  firstAttempt,
  isDirectTls,
  loadClientTls,
  loadServerTls,
  onConnected,
  onFailure,
  onSslAnswer,
  parseProtocols,
  type SslMode,
  serverVerification,
  signatureHash,
  sslModes,
  type TlsMove,
  type TlsOptions,
  tlsFileBytesMax,
  tlsServerEndPoint,
} from '../../../lib/tls/index.js';
import { PoolerError } from '../../../lib/util/index.js';
import {
  makeCertificates,
  makeSelfSigned,
  type SigningAlgorithm,
  writeCertificates,
} from '../../support/certificates.js';

const answer = { S: 0x53, N: 0x4e, E: 0x45 };
const error = new PoolerError('refused', { sqlstate: '28000' });

/** A move in a few words, and the attempt it leads to. */
function say(move: TlsMove): string {
  switch (move.kind) {
    case 'send-startup':
      return `startup (retry ${move.attempt.retry})`;
    case 'reconnect':
      return `reconnect ${move.attempt.opening} (retry ${move.attempt.retry})`;
    case 'fail':
      return `fail: ${move.error.message}`;
    case 'send-ssl-request':
    case 'start-tls':
      return move.kind;
    default:
      return move satisfies never;
  }
}

void t.test('each mode opens, takes S and N, and retries as libpq does', (t) => {
  const noTls = 'fail: the server does not support TLS';
  const expected: Record<SslMode, [open: string, s: string, n: string, hba: string, handshake: string]> = {
    disable: ['startup (retry none)', 'start-tls', noTls, 'fail: refused', 'fail: refused'],
    allow: ['startup (retry tls)', 'start-tls', noTls, 'reconnect tls (retry none)', 'reconnect tls (retry none)'],
    prefer: [
      'send-ssl-request',
      'start-tls',
      'startup (retry none)',
      'reconnect plain (retry none)',
      'reconnect plain (retry none)',
    ],
    require: ['send-ssl-request', 'start-tls', noTls, 'fail: refused', 'fail: refused'],
    'verify-ca': ['send-ssl-request', 'start-tls', noTls, 'fail: refused', 'fail: refused'],
    'verify-full': ['send-ssl-request', 'start-tls', noTls, 'fail: refused', 'fail: refused'],
  };
  for (const mode of sslModes) {
    const attempt = firstAttempt(mode, 'tcp');
    const got = [
      onConnected(attempt),
      onSslAnswer(attempt, answer.S, 0),
      onSslAnswer(attempt, answer.N, 0),
      onFailure(attempt, '28000', error),
      onFailure(attempt, 'handshake', error),
    ];
    t.same(got.map(say), expected[mode], mode);
    t.equal(say(onFailure(attempt, '53300', error)), 'fail: refused', `${mode}: too many connections stay too many`);
    t.equal(say(onConnected(firstAttempt(mode, 'unix'))), 'startup (retry none)', `${mode} over a Unix socket`);
  }
  t.end();
});

void t.test(
  'every chain of attempts ends, and a mode that requires TLS never sends a startup packet in the clear',
  (t) => {
    for (const mode of sslModes) {
      for (const outcome of ['28000', 'handshake', 'N'] as const) {
        let attempt = firstAttempt(mode, 'tcp');
        let moves = 0;
        for (;;) {
          const opened = onConnected(attempt);
          const move =
            opened.kind === 'send-ssl-request' && outcome === 'N'
              ? onSslAnswer(attempt, answer.N, 0)
              : onFailure(attempt, outcome, error);
          for (const { kind } of [opened, move]) {
            if (serverVerification(mode) !== 'none' || mode === 'require') t.not(kind, 'send-startup', mode);
          }
          if (move.kind !== 'reconnect') break;
          attempt = move.attempt;
          t.ok(++moves <= 1, `${mode} tries at most twice`);
        }
      }
    }
    t.end();
  },
);

void t.test('anything but one byte S or N is refused', (t) => {
  const attempt = firstAttempt('prefer', 'tcp');
  t.match(say(onSslAnswer(attempt, answer.S, 1)), /unencrypted data after SSL response/);
  t.match(say(onSslAnswer(attempt, answer.N, 1)), /fail/);
  t.match(say(onSslAnswer(attempt, 0x52, 0)), /unexpected answer/);
  t.equal(say(onSslAnswer(attempt, answer.E, 90)), 'reconnect plain (retry none)');
  t.match(say(onSslAnswer(firstAttempt('require', 'tcp'), answer.E, 90)), /answered SSLRequest with an error/);
  t.end();
});

void t.test('what a server must show follows the mode', (t) => {
  t.same(sslModes.map(serverVerification), ['none', 'none', 'none', 'none', 'authority', 'authority and name']);
  t.end();
});

void t.test('what a client may do follows the mode', (t) => {
  const say = (mode: SslMode): string => Object.values(clientTlsPolicy(mode)).join(', ');
  t.equal(say('disable'), 'refused, allowed, not requested');
  t.equal(say('allow'), 'offered, allowed, not requested');
  t.equal(say('prefer'), 'offered, allowed, not requested');
  t.equal(say('require'), 'offered, refused, not requested');
  t.equal(say('verify-ca'), 'offered, refused, required and verified');
  t.equal(say('verify-full'), 'offered, refused, required and verified');
  t.end();
});

void t.test('a ClientHello is told from every startup packet by its first byte', (t) => {
  t.ok(isDirectTls(0x16));
  for (const first of [0x00, 0x15, 0x17, 0x70]) t.notOk(isDirectTls(first));
  t.end();
});

void t.test('protocol lists are read as PgBouncer reads them', (t) => {
  const range = (text: string): string => {
    const { minVersion, maxVersion } = parseProtocols(text, 'x');
    return `${minVersion} ${maxVersion}`;
  };
  t.equal(range('secure'), 'TLSv1.2 TLSv1.3');
  t.equal(range('all'), 'TLSv1 TLSv1.3');
  t.equal(range('legacy'), 'TLSv1 TLSv1.3');
  t.equal(range('tlsv1.2'), 'TLSv1.2 TLSv1.2');
  t.equal(range('tlsv1.3, TLSv1.2'), 'TLSv1.2 TLSv1.3');
  t.equal(range('all:!tlsv1.0:!tlsv1.1'), 'TLSv1.2 TLSv1.3');
  const holed = parseProtocols('tlsv1.1,tlsv1.3', 'x').secureOptions;
  t.equal(holed & parseProtocols('tlsv1.2', 'x').secureOptions, parseProtocols('all,!tlsv1.0', 'x').secureOptions);
  for (const bad of ['', 'sslv3', 'tlsv1.2,tlsv9', '!all']) {
    t.throws(() => parseProtocols(bad, 'client_tls_protocols'), { sqlstate: 'F0000', message: /client_tls_protocols/ });
  }
  t.end();
});

void t.test('channel binding data is the hash of the certificate by its signature’s algorithm', async (t) => {
  const cases: [SigningAlgorithm, string | undefined][] = [
    [{ name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }, 'sha256'],
    [{ name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' }, 'sha384'],
    [{ name: 'ECDSA', namedCurve: 'P-521', hash: 'SHA-512' }, 'sha512'],
    [{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-1' }, 'sha256'],
    [{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, 'sha256'],
    [{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384' }, 'sha384'],
    [{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-512' }, 'sha512'],
    [{ name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 }, 'sha256'],
    [{ name: 'RSA-PSS', hash: 'SHA-384', saltLength: 48 }, 'sha384'],
    [{ name: 'RSA-PSS', hash: 'SHA-512', saltLength: 64 }, 'sha512'],
    [{ name: 'Ed25519' }, undefined],
  ];
  for (const [algorithm, hash] of cases) {
    const { der } = await makeSelfSigned('weir', algorithm);
    const expected = hash === undefined ? undefined : createHash(hash).update(der).digest();
    t.equal(signatureHash(der), hash, JSON.stringify(algorithm));
    t.same(tlsServerEndPoint(der), expected, JSON.stringify(algorithm));
  }
});

void t.test('RSA-PSS without a hash in its parameters means SHA-1, which means SHA-256', (t) => {
  const pss = Buffer.from('06092a864886f70d01010a', 'hex');
  const element = (tag: number, ...contents: Buffer[]): Buffer => {
    const body = Buffer.concat(contents);
    return Buffer.concat([Buffer.from([tag, body.length]), body]);
  };
  const certificate = (...parameters: Buffer[]): Buffer =>
    element(0x30, element(0x30), element(0x30, pss, ...parameters));
  t.equal(signatureHash(certificate(element(0x30))), 'sha256');
  t.equal(signatureHash(certificate(element(0x30, element(0xa2, element(0x02, Buffer.from([32])))))), 'sha256');
  t.equal(signatureHash(certificate()), undefined, 'parameters are a must (RFC 4055 §3.1)');
  t.equal(signatureHash(certificate(element(0x30, element(0xa0, element(0x05))))), undefined);
  t.end();
});

void t.test('no bytes, however damaged, make the certificate reader throw', async (t) => {
  const { der } = await makeSelfSigned('weir', { name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 });
  for (let length = 0; length < der.length; length++) signatureHash(der.subarray(0, length));
  let known = 0;
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(der.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), (edits) => {
      const copy = Buffer.from(der);
      for (const [at, byte] of edits) copy[at] = byte;
      if (signatureHash(copy) !== undefined) known++;
    }),
    { numRuns: 3000, seed: 5929 },
  );
  t.ok(known > 0 && known <= 3000);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      tlsServerEndPoint(Buffer.from(bytes));
    }),
    { numRuns: 3000, seed: 5930 },
  );
  const padded = (size: number): Buffer => Buffer.concat([der, Buffer.alloc(size - der.length)]);
  t.equal(signatureHash(padded(certificateBytesMax)), 'sha256');
  t.equal(signatureHash(padded(certificateBytesMax + 1)), undefined);
});

void t.test('a bad file or setting is an error that names it', async (t) => {
  const certificates = await makeCertificates();
  const directory = await writeCertificates(t, certificates);
  const scratch = await mkdtemp(join(tmpdir(), 'weir-tls-'));
  t.teardown(() => Promise.all([directory, scratch].map((path) => rm(path, { recursive: true }))));
  const file = (name: string): string => join(directory, name);
  const good: TlsOptions = { sslmode: 'require', certFile: file('server.crt'), keyFile: file('server.key') };
  const garbage = join(scratch, 'garbage.pem');
  const half = join(scratch, 'half.crt');
  const huge = join(scratch, 'huge.crt');
  await writeFile(garbage, 'not a certificate');
  await writeFile(half, certificates.server.cert.slice(0, 200));
  await writeFile(huge, certificates.ca.cert);
  await truncate(huge, tlsFileBytesMax + 1);

  t.ok(await loadClientTls(good));
  t.equal(await loadClientTls({ sslmode: 'disable', certFile: '/nowhere' }), undefined);
  const bad: [Partial<TlsOptions>, RegExp][] = [
    [{ certFile: file('absent.crt') }, /absent\.crt": ENOENT/],
    [{ certFile: directory }, /EISDIR/],
    [{ certFile: garbage }, /no valid certificate in .*garbage\.pem/],
    [{ certFile: half }, /no valid certificate in .*half\.crt/],
    [{ keyFile: garbage }, /no valid private key in .*garbage\.pem/],
    [{ keyFile: file('client.key') }, /client\.key" does not belong to .*server\.crt/],
    [{ keyFile: '' }, /without a key file/],
    [{ certFile: '' }, /without a certificate file/],
    [{ certFile: '', keyFile: '' }, /client_tls_cert_file/],
    [{ caFile: garbage }, /no certificate in .*garbage\.pem/],
    [{ caFile: huge }, /huge\.crt" is larger than/],
    [{ sslmode: 'verify-ca' }, /client_tls_ca_file/],
    [{ protocols: 'sslv2' }, /client_tls_protocols/],
    [{ ciphers: 'NO-SUCH-CIPHER' }, /client_tls_\* settings/],
    [{ ecdhCurve: 'no-such-curve' }, /client_tls_\* settings/],
  ];
  for (const [change, message] of bad) {
    await t.rejects(loadClientTls({ ...good, ...change }), { name: 'PoolerError', sqlstate: 'F0000', message });
  }
  await truncate(huge, tlsFileBytesMax);
  t.ok(await loadClientTls({ ...good, caFile: huge }), 'a file as large as the limit');
  await t.rejects(loadServerTls({ ...good, keyFile: file('client.key') }), { message: /client\.key/ });
  await t.rejects(loadServerTls({ ...good, ciphers: 'NO-SUCH-CIPHER' }), { message: /server_tls_\* settings/ });
  t.ok(await loadServerTls({ sslmode: 'prefer' }), 'a client needs no files');
  const expired = await loadClientTls({
    ...good,
    certFile: file('expiredServer.crt'),
    keyFile: file('expiredServer.key'),
  });
  t.ok(
    expired !== undefined && expired.certificateExpiresAtMs < Date.now(),
    'expiry is told, not enforced on ourselves',
  );
});
