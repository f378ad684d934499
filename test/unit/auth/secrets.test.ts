// Everything in auth that is not SCRAM's exchange: stored secrets, md5, clear passwords, tables, certificates, throttle.

import { createHash, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import {
  type AuthType,
  addressThrottleRate,
  buildScramVerifier,
  chooseMechanism,
  chooseServerAnswer,
  deriveScramKeys,
  LoginThrottle,
  matchCertificate,
  md5Hash,
  md5Response,
  parseStoredSecret,
  passwordBytesMax,
  preparePassword,
  ScramKeyCache,
  type ServerCredential,
  type StoredSecret,
  scramIterationsMax,
  userThrottleRate,
  verifyMd5Response,
  verifyPassword,
} from '../../../lib/auth/index.js';
import { type Clock, Secret } from '../../../lib/util/index.js';

const salt = Buffer.from('0123456789abcdef');
const verifier = await buildScramVerifier('pencil', 100, salt);
const keyCache = new ScramKeyCache({ secret: randomBytes(32) });
const secrets = {
  plain: parseStoredSecret('pencil'),
  md5: parseStoredSecret(md5Hash('alice', new Secret('pencil')).reveal()),
  scram: parseStoredSecret(verifier.reveal()),
  none: parseStoredSecret(null),
  unknown: undefined,
} satisfies Record<string, StoredSecret | undefined>;

void t.test('a stored secret is read as PostgreSQL and PgBouncer read it', (t) => {
  const kindOf = (text: string | null): string => parseStoredSecret(text).kind;
  t.equal(kindOf('pencil'), 'plain');
  t.equal(kindOf('md5'), 'plain');
  t.equal(kindOf(`md5${'0'.repeat(32)}`), 'md5');
  t.equal(kindOf(`md5${'0'.repeat(31)}`), 'plain');
  t.equal(kindOf(`md5${'G'.repeat(32)}`), 'plain');
  t.equal(kindOf(verifier.reveal()), 'scram');
  t.equal(kindOf(null), 'none');
  t.equal(kindOf(''), 'none');
  t.end();
});

void t.test('a damaged or excessive SCRAM secret is nobody’s password', (t) => {
  const good = verifier.reveal();
  const over = good.replace('$100:', `$${scramIterationsMax + 1}:`);
  const limit = good.replace('$100:', `$${scramIterationsMax}:`);
  t.equal(parseStoredSecret(limit).kind, 'scram');
  for (const bad of [over, good.replace('$100:', '$0:'), good.slice(0, -4), good.replace(/\$/g, ':'), `${good}x`]) {
    const parsed = parseStoredSecret(bad);
    t.equal(parsed.kind, bad.startsWith('SCRAM-SHA-256$') ? 'none' : 'plain', bad);
  }
  t.end();
});

void t.test('no printed form of a secret shows it', async (t) => {
  const keys = await deriveScramKeys('pencil', verifier);
  const all = [secrets, keys, verifier, keyCache];
  const printed = JSON.stringify(all) + inspect(all, { depth: 9, showHidden: true });
  t.notMatch(printed, /pencil/);
  for (const key of [keys.clientKey(), keys.serverKey(), verifier.storedKey()]) {
    t.notOk(printed.includes(key.toString('base64')));
    t.notOk(printed.includes(key.toString('hex').match(/../g)?.slice(0, 8).join(' ') ?? '-'));
  }
});

void t.test('md5 gives what PostgreSQL gives', (t) => {
  t.equal(md5Hash('md5_user', new Secret('secret')).reveal(), `md5${md5Of('secretmd5_user')}`);
  const hash = md5Hash('alice', new Secret('pencil'));
  const challenge = Buffer.from([1, 2, 3, 0xff]);
  const inner = Buffer.concat([Buffer.from(hash.reveal().slice(3)), challenge]);
  t.equal(md5Response(hash, challenge), `md5${md5Of(inner)}`);
  t.end();
});

void t.test('an md5 answer is accepted for plain and md5 secrets, and for nothing else', (t) => {
  const challenge = randomBytes(4);
  const answer = Buffer.from(md5Response(md5Hash('alice', new Secret('pencil')), challenge));
  t.equal(verifyMd5Response(secrets.plain, 'alice', challenge, answer), undefined);
  t.equal(verifyMd5Response(secrets.md5, 'alice', challenge, answer), undefined);
  for (const [name, secret] of Object.entries(secrets)) {
    const wrong = verifyMd5Response(secret, 'alice', challenge, Buffer.from(`md5${'0'.repeat(32)}`));
    t.equal(wrong?.error.message, 'password authentication failed', name);
    t.equal(wrong?.error.sqlstate, '28P01', name);
    t.ok(verifyMd5Response(secret, 'alice', challenge, Buffer.alloc(0)), `${name}, empty`);
    t.ok(verifyMd5Response(secret, 'alice', randomBytes(4), answer), `${name}, another salt`);
    t.ok(verifyMd5Response(secret, 'bob', challenge, Buffer.concat([answer, answer])), `${name}, too long`);
  }
  for (const secret of [secrets.scram, secrets.none, secrets.unknown]) {
    t.ok(verifyMd5Response(secret, 'alice', challenge, answer), 'no hash to check against');
  }
  const mock = Buffer.from(md5Response(md5Hash('x', Buffer.from('no such user')), challenge));
  t.ok(verifyMd5Response(undefined, 'x', challenge, mock), 'the mock’s own password opens nothing');
  t.end();
});

void t.test('a clear password is checked against each kind of stored secret', async (t) => {
  for (const [name, secret] of Object.entries(secrets)) {
    const right = await verifyPassword(secret, 'alice', Buffer.from('pencil'), keyCache);
    const known = name !== 'none' && name !== 'unknown';
    t.equal(right.kind, known ? 'accepted' : 'rejected', name);
    for (const text of [
      'pencil ',
      'penci',
      '',
      'Pencil',
      verifier.reveal(),
      md5Hash('alice', Buffer.from('pencil')).reveal(),
    ]) {
      const wrong = await verifyPassword(secret, 'alice', Buffer.from(text), keyCache);
      t.equal(wrong.kind, 'rejected', `${name}: ${text}`);
      if (wrong.kind === 'rejected') t.equal(wrong.failure.error.message, 'password authentication failed');
    }
  }
  const md5ForBob = await verifyPassword(secrets.md5, 'bob', Buffer.from('pencil'), keyCache);
  t.equal(md5ForBob.kind, 'rejected', 'the user name is in the hash');
});

void t.test('a right clear password yields keys for the server, is remembered, and wrong ones are not', async (t) => {
  const cache = new ScramKeyCache({ secret: randomBytes(32) });
  await verifyPassword(secrets.scram, 'alice', Buffer.from('guess'), cache);
  t.equal(cache.size, 0);
  const first = await verifyPassword(secrets.scram, 'alice', Buffer.from('pencil'), cache);
  const second = await verifyPassword(secrets.scram, 'alice', Buffer.from('pencil'), cache);
  if (first.kind !== 'accepted' || second.kind !== 'accepted') throw new Error('rejected');
  t.ok(first.keys !== undefined && verifier.matches(first.keys));
  t.equal(second.keys, first.keys, 'the second time nothing is derived');
});

void t.test('a password may be as long as the limit and not a byte longer', async (t) => {
  const long = 'x'.repeat(passwordBytesMax);
  const fits = await verifyPassword(parseStoredSecret(long), 'alice', Buffer.from(long), keyCache);
  t.equal(fits.kind, 'accepted');
  const over = await verifyPassword(parseStoredSecret(`${long}x`), 'alice', Buffer.from(`${long}x`), keyCache);
  if (over.kind !== 'rejected') throw new Error('accepted');
  t.equal(over.failure.error.message, 'password too long');
});

void t.test('passwords are prepared by SASLprep, and left as they are where it refuses them', (t) => {
  const prepared = (text: string): string => preparePassword(text).toString('utf8');
  t.equal(prepared('I\u00adX'), 'IX', 'RFC 4013: soft hyphen is mapped to nothing');
  t.equal(prepared('\u00aa'), 'a', 'RFC 4013: NFKC');
  t.equal(prepared('\u2168'), 'IX', 'RFC 4013: NFKC');
  t.equal(prepared('a\u00a0b'), 'a b', 'non-ASCII space');
  t.equal(prepared('\u0007'), '\u0007', 'prohibited: kept');
  t.equal(prepared('\u00fc\u0007'), '\u00fc\u0007', 'prohibited after mapping: kept');
  t.equal(prepared('\u0627\u0031'), '\u0627\u0031', 'bidirectional check fails: kept');
  t.equal(prepared('\u00ad'), '\u00ad', 'nothing would be left: kept');
  const invalid = Buffer.from([0xff, 0xfe, 0x41]);
  t.same(preparePassword(invalid), invalid, 'not UTF-8: the bytes as they are');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => preparePassword(Buffer.from(bytes)).length >= 0),
    { seed: 4013 },
  );
  t.end();
});

void t.test('which mechanism a client meets follows auth_type and stored secret', (t) => {
  const expected: Record<AuthType, string> = {
    trust: 'open open open open refused',
    any: 'open open open open open',
    plain: 'password password password password! password!',
    md5: 'md5 md5 scram md5! md5!',
    'scram-sha-256': 'scram scram! scram scram! scram!',
    'scram-sha-256-plus': 'scram scram! scram scram! scram!',
    cert: 'certificate certificate certificate certificate certificate!',
    reject: 'refused refused refused refused refused',
  };
  for (const [authType, row] of Object.entries(expected) as [AuthType, string][]) {
    const got = Object.values(secrets).map((secret) => {
      const mechanism = chooseMechanism(authType, secret, { tls: 'bindable' });
      return mechanism.kind + ('mockReason' in mechanism && mechanism.mockReason !== undefined ? '!' : '');
    });
    t.equal(got.join(' '), row, authType);
  }
  t.end();
});

void t.test('what is offered follows the channel', (t) => {
  const offer = (authType: AuthType, tls: 'off' | 'unbindable' | 'bindable'): string => {
    const mechanism = chooseMechanism(authType, secrets.plain, { tls });
    if (mechanism.kind === 'refused') return mechanism.failure.error.message;
    return mechanism.kind === 'scram' ? mechanism.offer.join(' ') : mechanism.kind;
  };
  t.equal(offer('scram-sha-256', 'off'), 'SCRAM-SHA-256');
  t.equal(offer('scram-sha-256', 'unbindable'), 'SCRAM-SHA-256');
  t.equal(offer('scram-sha-256', 'bindable'), 'SCRAM-SHA-256-PLUS SCRAM-SHA-256');
  t.equal(offer('scram-sha-256-plus', 'off'), 'SSL required');
  t.equal(offer('scram-sha-256-plus', 'unbindable'), 'SASL authentication failed');
  t.equal(offer('scram-sha-256-plus', 'bindable'), 'SCRAM-SHA-256-PLUS');
  t.equal(offer('cert', 'off'), 'certificate authentication failed');
  t.equal(offer('cert', 'unbindable'), 'certificate');
  const unknown = chooseMechanism('md5', undefined, { tls: 'off', unknownAs: 'scram' });
  t.equal(unknown.kind, 'scram', 'an unknown user looks like the known ones');
  const none = chooseMechanism('trust', undefined, { tls: 'off' });
  if (none.kind !== 'refused') throw new Error(none.kind);
  t.equal(none.failure.error.message, 'no such user');
  t.end();
});

void t.test('how a server is answered follows what weir has', async (t) => {
  const keys = await deriveScramKeys('pencil', verifier);
  const credentials: [ServerCredential, string][] = [
    [{ kind: 'plain', password: new Secret('x') }, 'send-password send-md5 start-scram'],
    [{ kind: 'md5', hash: new Secret('md5x') }, 'refused send-md5 refused'],
    [{ kind: 'scram-keys', keys }, 'refused refused start-scram'],
    [{ kind: 'scram-verifier' }, 'refused refused refused'],
    [{ kind: 'none' }, 'refused refused refused'],
  ];
  for (const [credential, expected] of credentials) {
    const got = (['cleartext', 'md5', 'sasl'] as const).map((request) => {
      const answer = chooseServerAnswer(request, credential);
      if (answer.kind === 'refused') t.ok(answer.failure.error.hint, `${credential.kind}, ${request}`);
      return answer.kind;
    });
    t.equal(got.join(' '), expected, credential.kind);
  }
});

void t.test('a certificate is its user’s only if its one name is exactly the user name', (t) => {
  t.equal(matchCertificate('alice', 'alice'), undefined);
  t.equal(matchCertificate('Ünïcode', 'Ünïcode'), undefined);
  const long = 'a'.repeat(64);
  t.equal(matchCertificate(long, long), undefined);
  t.ok(matchCertificate(`${long}a`, `${long}a`));
  for (const name of [
    undefined,
    '',
    'Alice',
    'alice ',
    ' alice',
    'alice\0',
    'alice\0.evil',
    '*',
    'bob',
    'ali\u200bce',
  ]) {
    const failure = matchCertificate(name, 'alice');
    t.equal(failure?.error.message, 'certificate authentication failed', String(name));
    t.equal(failure?.error.sqlstate, '28000');
  }
  for (const odd of ['', 'a\0b', 'a\nb', 'a\u202eb', 'a\u007fb']) t.ok(matchCertificate(odd, odd), 'odd even if equal');
  t.end();
});

class HandClock implements Clock {
  ms = 1_000_000;
  now(): number {
    return this.ms;
  }
  wallMs(): number {
    return this.ms;
  }
}

void t.test('failed logins are slowed down, doubling up to a limit, and forgotten', (t) => {
  const clock = new HandClock();
  const throttle = new LoginThrottle({ clock });
  const delays: number[] = [];
  for (let i = 0; i < 14; i++) {
    throttle.failed('10.0.0.1', 'alice');
    delays.push(throttle.delayMs('10.0.0.1', 'alice'));
  }
  t.same(delays, [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000]);
  clock.ms += 9_999;
  t.equal(throttle.delayMs('10.0.0.1', 'alice'), 1);
  clock.ms += 1;
  t.equal(throttle.delayMs('10.0.0.1', 'alice'), 0);
  throttle.failed('10.0.0.1', 'alice');
  t.equal(throttle.delayMs('10.0.0.1', 'alice'), 10_000, 'waiting does not forgive');
  t.equal(throttle.delayMs('10.0.0.2', 'alice'), 0, 'another address is not held back');
  t.equal(throttle.delayMs('10.0.0.1', 'bob'), 0, 'nor another user');
  clock.ms += userThrottleRate.forgetMs + 1;
  throttle.failed('10.0.0.1', 'alice');
  t.equal(throttle.delayMs('10.0.0.1', 'alice'), 0, 'forgotten');
  t.end();
});

void t.test('one address that tries many users is slowed down for all of them', (t) => {
  const throttle = new LoginThrottle({ clock: new HandClock() });
  for (let i = 0; i < addressThrottleRate.freeFailures; i++) throttle.failed('10.0.0.1', `user${i}`);
  t.equal(throttle.delayMs('10.0.0.1', 'new'), 0);
  throttle.failed('10.0.0.1', 'one more');
  t.equal(throttle.delayMs('10.0.0.1', 'new'), addressThrottleRate.delayMsFirst);
  for (let i = 0; i < 1000; i++) throttle.failed('10.0.0.1', `user${i}`);
  t.equal(throttle.delayMs('10.0.0.1', 'new'), addressThrottleRate.delayMsMax);
  throttle.succeeded('10.0.0.1', 'own account');
  t.equal(throttle.delayMs('10.0.0.1', 'new'), addressThrottleRate.delayMsMax, 'one good login washes nobody clean');
  t.end();
});

void t.test('a good login clears its own user', (t) => {
  const throttle = new LoginThrottle({ clock: new HandClock() });
  for (let i = 0; i < 8; i++) throttle.failed('10.0.0.1', 'alice');
  t.ok(throttle.delayMs('10.0.0.1', 'alice') > 0);
  throttle.succeeded('10.0.0.1', 'alice');
  t.equal(throttle.delayMs('10.0.0.1', 'alice'), 0);
  t.end();
});

void t.test('addresses that are one place count as one, and memory keeps to its limit', (t) => {
  const throttle = new LoginThrottle({ clock: new HandClock(), entriesMax: 100 });
  for (let i = 0; i < 5; i++) throttle.failed(`2001:db8:0:1::${i + 1}`, 'alice');
  t.ok(throttle.delayMs('2001:DB8:0:1:ffff::9', 'alice') > 0, 'the same /64');
  t.equal(throttle.delayMs('2001:db8:0:2::1', 'alice'), 0, 'another /64');
  for (let i = 0; i < 5; i++) throttle.failed('::ffff:10.0.0.7', 'alice');
  t.ok(throttle.delayMs('10.0.0.7', 'alice') > 0, 'IPv4 written as IPv6');
  for (let i = 0; i < 5000; i++) throttle.failed(`10.1.${i >> 8}.${i & 255}`, 'x'.repeat(i % 9000));
  t.equal(throttle.entries, 200);
  fc.assert(
    fc.property(fc.string(), fc.string(), (address, user) => {
      throttle.failed(address, user);
      return throttle.delayMs(address, user) >= 0;
    }),
    { seed: 1 },
  );
  t.end();
});

function md5Of(bytes: string | Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}
