// SCRAM-SHA-256 on both sides: the RFC's own vector, each side against the other, and everything that must fail.

import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import {
  buildScramVerifier,
  deriveScramKeys,
  parseStoredSecret,
  ScramClient,
  type ScramClientOptions,
  type ScramClientStep,
  ScramKeyCache,
  ScramKeys,
  ScramServer,
  type ScramServerOptions,
  type ScramServerStep,
  type ScramVerifier,
  ScramVerifiers,
  scramClientMessageBytesMax,
  scramIterationsMax,
  scramServerMessageBytesMax,
} from '../../../lib/auth/index.js';
import { Secret } from '../../../lib/util/index.js';

const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
const pencil = await buildScramVerifier('pencil', 4096, salt);
const binding = createHash('sha256').update('a certificate').digest();
const otherBinding = createHash('sha256').update('another certificate').digest();

function newCache(): ScramKeyCache {
  return new ScramKeyCache({ secret: randomBytes(32) });
}

function server(options: Partial<ScramServerOptions> = {}): ScramServer {
  return new ScramServer({ verifier: pencil, mechanisms: ['SCRAM-SHA-256'], random: randomBytes, ...options });
}

function boundServer(options: Partial<ScramServerOptions> = {}): ScramServer {
  return server({ mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'], channelBinding: binding, ...options });
}

function client(options: Partial<ScramClientOptions> = {}): ScramClient {
  return new ScramClient({
    credentials: { kind: 'password', user: 'alice', password: new Secret('pencil') },
    offered: ['SCRAM-SHA-256'],
    bindingMode: 'prefer',
    keyCache: newCache(),
    random: randomBytes,
    ...options,
  });
}

interface Ending {
  readonly client: ScramClientStep;
  readonly server: ScramServerStep;
  readonly mechanism: string;
}

/** Lets the two talk until one of them ends; `mangle` sits between them. */
async function talk(
  c: ScramClient,
  s: ScramServer,
  mangle: (message: Buffer, turn: number) => Buffer = (message) => message,
): Promise<Ending> {
  const first = c.start();
  if (first.kind !== 'initial') throw new Error(`client did not open: ${JSON.stringify(first)}`);
  let turn = 0;
  let fromServer = s.start(first.mechanism, mangle(first.send, turn++));
  let fromClient: ScramClientStep = first;
  while (fromServer.kind !== 'failed') {
    const step: ScramClientStep = c.step(mangle(fromServer.send, turn++));
    fromClient = step.kind === 'deriving' ? await step.next : step;
    if (fromClient.kind !== 'response') break;
    fromServer = s.step(mangle(fromClient.send, turn++));
  }
  return { client: fromClient, server: fromServer, mechanism: first.mechanism };
}

function reasonOf(step: ScramServerStep | ScramClientStep): string {
  return step.kind === 'failed' ? step.failure.reason : `not a failure: ${step.kind}`;
}

/** A source of «randomness» whose base64 form is the given nonce, which base64 could not give. */
function fixedNonce(text: string): () => Buffer {
  return () => Object.assign(Buffer.alloc(1), { toString: () => text });
}

void t.test('the server gives the answers of RFC 7677 and catches the ClientKey', async (t) => {
  const s = server({ random: fixedNonce('%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0') });
  const first = s.start('SCRAM-SHA-256', Buffer.from('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'));
  if (first.kind !== 'continue') throw new Error(reasonOf(first));
  t.equal(
    first.send.toString(),
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  );
  const proof = 'p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=';
  const last = s.step(Buffer.from(`c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,${proof}`));
  if (last.kind !== 'done') throw new Error(reasonOf(last));
  t.equal(last.send.toString(), 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
  const derived = await deriveScramKeys('pencil', pencil);
  t.same(last.keys.clientKey(), derived.clientKey());
  t.same(last.keys.serverKey(), derived.serverKey());
});

void t.test('the verifier has the form and the values that PostgreSQL stores', async (t) => {
  const text = pencil.reveal();
  t.match(text, /^SCRAM-SHA-256\$4096:W22ZaJ0SNY7soEsUEjb6gQ==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/);
  const parsed = parseStoredSecret(text);
  if (parsed.kind !== 'scram') throw new Error(parsed.kind);
  t.equal(parsed.verifier.reveal(), text);
  t.equal(JSON.stringify([parsed, await deriveScramKeys('pencil', pencil)]).includes('Key'), false);
});

void t.test('client and server agree, with a password and with caught keys, plain and bound', async (t) => {
  const plain = await talk(client(), server());
  t.equal(plain.client.kind, 'verified');
  if (plain.server.kind !== 'done') throw new Error(reasonOf(plain.server));

  const keys = plain.server.keys;
  const passThrough = await talk(client({ credentials: { kind: 'keys', keys } }), server());
  t.equal(passThrough.client.kind, 'verified');
  t.equal(passThrough.server.kind, 'done');

  const offered = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'];
  const bound = await talk(client({ offered, channelBinding: binding, bindingMode: 'require' }), boundServer());
  t.equal(bound.mechanism, 'SCRAM-SHA-256-PLUS');
  t.equal(bound.client.kind, 'verified');
  t.equal(bound.server.kind, 'done');

  for (const unbound of [client({ offered }), client({ offered, channelBinding: binding, bindingMode: 'disable' })]) {
    const ending = await talk(unbound, boundServer());
    t.equal(ending.mechanism, 'SCRAM-SHA-256');
    t.equal(ending.client.kind, 'verified');
  }
});

void t.test('a client that cannot bind where the server could not either says y, and that is fine', async (t) => {
  const ending = await talk(client({ channelBinding: binding }), server());
  t.equal(ending.client.kind, 'verified');
  t.equal(ending.server.kind, 'done');
});

void t.test('an offer without -PLUS made by someone in between is noticed by the server', async (t) => {
  const ending = await talk(client({ offered: ['SCRAM-SHA-256'], channelBinding: binding }), boundServer());
  t.match(reasonOf(ending.server), /thinks the server does not/);
  if (ending.server.kind === 'failed') t.equal(ending.server.failure.error.sqlstate, '28000');
});

void t.test('two ends that see different certificates do not come together', async (t) => {
  const offered = ['SCRAM-SHA-256-PLUS'];
  const ending = await talk(client({ offered, channelBinding: otherBinding }), boundServer());
  t.match(reasonOf(ending.server), /channel binding check failed/);
});

void t.test('a wrong password fails with 28P01 and tells nothing', async (t) => {
  const wrong = { kind: 'password', user: 'alice', password: new Secret('pencill') } as const;
  const ending = await talk(client({ credentials: wrong }), server());
  if (ending.server.kind !== 'failed') throw new Error(ending.server.kind);
  t.equal(ending.server.failure.error.message, 'SASL authentication failed');
  t.equal(ending.server.failure.error.sqlstate, '28P01');
  t.equal(ending.server.failure.error.detail, undefined);
});

void t.test('an unknown user has as many steps, the same salt each time, and fails only at the proof', async (t) => {
  const verifiers = new ScramVerifiers({ secret: randomBytes(32), keyCache: newCache() });
  const salts = new Set<string>();
  for (let i = 0; i < 3; i++) {
    const verifier = verifiers.forUnknown('mallory');
    salts.add(verifier.salt.toString('base64'));
    t.equal(verifier.salt.length, 16);
    t.equal(verifier.iterations, 4096);
    const ending = await talk(client(), server({ verifier, mockReason: 'no such user' }));
    t.equal(ending.client.kind, 'response', 'the client got as far as its proof');
    t.equal(reasonOf(ending.server), 'no such user');
    if (ending.server.kind === 'failed') t.equal(ending.server.failure.error.sqlstate, '28P01');
  }
  t.equal(salts.size, 1);
  t.notSame(verifiers.forUnknown('mallory').salt, verifiers.forUnknown('trudy').salt);
  const plainVerifier = await verifiers.forPlain('mallory', new Secret('x'));
  t.same(plainVerifier.salt, verifiers.forUnknown('mallory').salt, 'the salt does not show who has a password');
});

void t.test('a mock exchange fails even against the right password', async (t) => {
  const ending = await talk(client(), server({ mockReason: 'stored as md5' }));
  t.equal(reasonOf(ending.server), 'stored as md5');
});

void t.test('keys made for another salt or iteration count are not used', async (t) => {
  const other = await deriveScramKeys('pencil', { salt: randomBytes(16), iterations: 4096 });
  const fewer = await deriveScramKeys('pencil', { salt, iterations: 4095 });
  for (const keys of [other, fewer]) {
    const ending = await talk(client({ credentials: { kind: 'keys', keys } }), server());
    t.match(reasonOf(ending.client), /not the one the server has/);
    if (ending.client.kind === 'failed') t.ok(ending.client.failure.error.hint);
  }
});

void t.test('a server that does not know the secret is found out', async (t) => {
  const real = await deriveScramKeys('pencil', pencil);
  const half = new ScramKeys(pencil, real.clientKey(), randomBytes(32)).verifier();
  const ending = await talk(client(), server({ verifier: half }));
  t.match(reasonOf(ending.client), /could not prove/);
});

void t.test('what breaks RFC 5802 in client-first is refused with its reason', async (t) => {
  const cases: [string, string, RegExp, string][] = [
    ['SCRAM-SHA-256', '', /gs2 header/, '08P01'],
    ['SCRAM-SHA-256', 'x,,n=,r=abc', /flag/, '08P01'],
    ['SCRAM-SHA-256', 'n,a=root,n=,r=abc', /authorization identities/, '0A000'],
    ['SCRAM-SHA-256', 'n,x,n=,r=abc', /"," expected/, '08P01'],
    ['SCRAM-SHA-256', 'n,,m=ext,n=,r=abc', /mandatory extensions/, '0A000'],
    ['SCRAM-SHA-256', 'n,,n=,r=abc,m=ext', /mandatory extensions/, '0A000'],
    ['SCRAM-SHA-256', 'n,,r=abc', /attribute "n"/, '08P01'],
    ['SCRAM-SHA-256', 'n,,n=', /attribute "r"/, '08P01'],
    ['SCRAM-SHA-256', 'n,,n=,r=', /nonce/, '08P01'],
    ['SCRAM-SHA-256', 'n,,n=,r=a b', /printable/, '08P01'],
    ['SCRAM-SHA-256', 'n,,n=,r=a\0b', /printable/, '08P01'],
    ['SCRAM-SHA-256', 'n,,n=a\0b,r=abc', /attribute "n"/, '08P01'],
    ['SCRAM-SHA-256', 'n,,n=,r=abc,', /attribute expected/, '08P01'],
    ['SCRAM-SHA-256', 'n,,n=,r=abc,1=x', /attribute expected/, '08P01'],
    ['SCRAM-SHA-256', 'p=tls-server-end-point,,n=,r=abc', /mechanism that has none/, '08P01'],
    ['SCRAM-SHA-256-PLUS', 'p=tls-unique,,n=,r=abc', /unsupported/, '08P01'],
    ['SCRAM-SHA-256-PLUS', 'p=,,n=,r=abc', /flag/, '08P01'],
    ['SCRAM-SHA-256-PLUS', 'n,,n=,r=abc', /without channel binding/, '08P01'],
    ['SCRAM-SHA-256-PLUS', 'y,,n=,r=abc', /without channel binding/, '08P01'],
    ['SCRAM-SHA-1', 'n,,n=,r=abc', /invalid SASL/, '08P01'],
  ];
  for (const [mechanism, message, reason, sqlstate] of cases) {
    const step = boundServer().start(mechanism, Buffer.from(message));
    t.match(reasonOf(step), reason, message);
    if (step.kind === 'failed') t.equal(step.failure.error.sqlstate, sqlstate, message);
  }
  t.equal(server().start('SCRAM-SHA-256', Buffer.from('n,,n=*,r=abc,x=ignored')).kind, 'continue');
  t.match(reasonOf(server().start('SCRAM-SHA-256-PLUS', Buffer.from('n,,n=,r=a'))), /invalid SASL/);
});

void t.test('what breaks RFC 5802 in client-final is refused with its reason', async (t) => {
  const proof = Buffer.alloc(32, 1).toString('base64');
  const nonce = 'abcSERVER';
  const cases: [string, RegExp][] = [
    ['', /attribute "c"/],
    [`r=${nonce},p=${proof}`, /attribute "c"/],
    [`c=biws,p=${proof}`, /attribute "r"/],
    [`c=biws,r=${nonce}`, /attribute "p"/],
    [`c=biws,r=${nonce},p=${proof},x=y`, /attribute "p"/],
    [`c=eSws,r=${nonce},p=${proof}`, /channel binding check/],
    [`c=biw,r=${nonce},p=${proof}`, /channel binding check/],
    [`c=biws,r=abc,p=${proof}`, /nonce does not match/],
    [`c=biws,r=${nonce}x,p=${proof}`, /nonce does not match/],
    [`c=biws,r=${nonce},p=`, /malformed proof/],
    [`c=biws,r=${nonce},p=${proof.slice(4)}`, /malformed proof/],
    [`c=biws,r=${nonce},p=${proof.replace('=', '')}`, /malformed proof/],
    [`c=biws,r=${nonce},p= ${proof}`, /malformed proof/],
    [`c=biws,r=${nonce},m=x,p=${proof}`, /mandatory extensions/],
    [`c=biws,r=${nonce},,p=${proof}`, /attribute expected/],
    [`c=biws,r=${nonce},p=${proof}`, /proof does not match/],
  ];
  for (const [message, reason] of cases) {
    const s = server({ random: fixedNonce('SERVER') });
    t.equal(s.start('SCRAM-SHA-256', Buffer.from('n,,n=,r=abc')).kind, 'continue');
    t.match(reasonOf(s.step(Buffer.from(message))), reason, message);
    t.match(reasonOf(s.step(Buffer.from(message))), /after the end/, 'nothing follows a failure');
  }
});

void t.test('a SASLInitialResponse without data is answered with an empty challenge', async (t) => {
  const s = server();
  t.same(s.start('SCRAM-SHA-256', undefined), { kind: 'continue', send: Buffer.alloc(0) });
  t.equal(s.step(Buffer.from('n,,n=,r=abc')).kind, 'continue');
  t.match(reasonOf(s.start('SCRAM-SHA-256', undefined)), /second/);
  t.match(reasonOf(server().step(Buffer.from('n,,n=,r=abc'))), /before SASLInitialResponse/);
});

void t.test('a client message may be as long as the limit and not a byte longer', async (t) => {
  const head = 'n,,n=,r=';
  const fits = Buffer.from(head + 'a'.repeat(scramClientMessageBytesMax - head.length));
  t.equal(server().start('SCRAM-SHA-256', fits).kind, 'continue');
  t.match(reasonOf(server().start('SCRAM-SHA-256', Buffer.concat([fits, Buffer.from('a')]))), /too long/);
});

void t.test('what a server must not send is refused by the client', async (t) => {
  const cases: [string, RegExp][] = [
    ['', /attribute "r"/],
    ['m=x,r=NONCEx,s=YQ==,i=1', /mandatory/],
    ['r=OTHERx,s=YQ==,i=1', /nonce/],
    ['r=NONCE,s=YQ==,i=1', /nonce/],
    ['r=NONCEx,s=,i=1', /salt/],
    ['r=NONCEx,s=YQ,i=1', /salt/],
    ['r=NONCEx,i=1', /salt/],
    ['r=NONCEx,s=YQ==', /attribute "i"/],
    ['r=NONCEx,s=YQ==,i=0', /attribute "i"/],
    ['r=NONCEx,s=YQ==,i=-1', /attribute "i"/],
    ['r=NONCEx,s=YQ==,i=1e3', /attribute "i"/],
    [`r=NONCEx,s=YQ==,i=${scramIterationsMax + 1}`, /iteration count above/],
    ['r=NONCEx,s=YQ==,i=99999999999', /attribute "i"/],
    [`r=NONCEx,s=${Buffer.alloc(1025).toString('base64')},i=1`, /salt/],
    ['r=NONCEx,s=YQ==,i=1,', /attribute expected/],
    [`r=NONCE${'x'.repeat(scramServerMessageBytesMax)},s=YQ==,i=1`, /too long/],
  ];
  for (const [message, reason] of cases) {
    const c = client({ random: fixedNonce('NONCE') });
    t.equal(c.start().kind, 'initial');
    t.match(reasonOf(c.step(Buffer.from(message))), reason, message.slice(0, 60));
  }
});

void t.test('the client believes neither an early server-final, nor an error text, nor a second message', async (t) => {
  const early = client();
  t.match(reasonOf(early.step(Buffer.from('v=x'))), /unexpected/);
  const refused = client();
  refused.start();
  const ending = await talk(client(), server(), (message, turn) =>
    turn === 3 ? Buffer.from('e=other-error\x07') : message,
  );
  t.match(reasonOf(ending.client), /the server refused: other-error\?/);

  const impatient = client();
  const opened = impatient.start();
  if (opened.kind !== 'initial') throw new Error(opened.kind);
  const challenge = server().start(opened.mechanism, opened.send);
  if (challenge.kind !== 'continue') throw new Error(challenge.kind);
  const deriving = impatient.step(challenge.send);
  t.match(reasonOf(impatient.step(challenge.send)), /unexpected/);
  if (deriving.kind !== 'deriving') throw new Error(deriving.kind);
  t.match(reasonOf(await deriving.next), /unexpected/, 'derived keys do not revive an exchange that is over');
});

void t.test(
  'a server that offers nothing known, or cannot bind where that is required, is refused with a hint',
  async (t) => {
    for (const options of [
      { offered: ['OAUTHBEARER'] },
      { offered: ['SCRAM-SHA-256-PLUS'] },
      { bindingMode: 'require' as const, offered: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'] },
      { bindingMode: 'require' as const, channelBinding: binding },
    ]) {
      const step = client(options).start();
      if (step.kind !== 'failed') throw new Error(step.kind);
      t.ok(step.failure.error.hint);
    }
  },
);

void t.test(
  'a second login with the same secret derives nothing; another password is not mistaken for it',
  async (t) => {
    const keyCache = newCache();
    const first = await talk(client({ keyCache }), server());
    t.equal(first.client.kind, 'verified');
    t.equal(keyCache.size, 1);
    const c = client({ keyCache });
    const opened = c.start();
    if (opened.kind !== 'initial') throw new Error(opened.kind);
    const challenge = server().start(opened.mechanism, opened.send);
    if (challenge.kind !== 'continue') throw new Error(challenge.kind);
    t.equal(c.step(challenge.send).kind, 'response', 'at once, without PBKDF2');
    t.equal(keyCache.find('alice', new Secret('other'), pencil), undefined);
    t.equal(keyCache.find('bob', new Secret('pencil'), pencil), undefined);
    t.ok(keyCache.find('alice', new Secret('pencil'), pencil));
  },
);

void t.test('logins that arrive together share one derivation, and the cache keeps to its limit', async (t) => {
  const keyCache = new ScramKeyCache({ secret: randomBytes(32), entriesMax: 3 });
  const parameters = { salt, iterations: 1000 };
  const all = await Promise.all(
    Array.from({ length: 20 }, () => keyCache.derive('alice', new Secret('pencil'), parameters)),
  );
  t.equal(new Set(all).size, 1, 'all twenty got the very same keys');
  for (const user of ['a', 'b', 'c', 'd']) await keyCache.derive(user, new Secret('x'), { salt, iterations: 1 });
  t.equal(keyCache.size, 3);
  t.equal(keyCache.find('alice', new Secret('pencil'), parameters), undefined);
});

void t.test('unknown users among plain passwords cost one derivation and leave nothing in the cache', async (t) => {
  const keyCache = newCache();
  const verifiers = new ScramVerifiers({ secret: randomBytes(32), keyCache });
  const users = Array.from({ length: 40 }, (_, i) => `u${i}`);
  const made = await Promise.all(users.map((user) => verifiers.forUnknownAmongPlain(user)));
  t.equal(keyCache.size, 0);
  t.same(
    made.map((verifier) => verifier.reveal()),
    users.map((user) => verifiers.forUnknown(user).reveal()),
  );
});

void t.test('no message, however mangled, throws or logs anyone in', async (t) => {
  const verifier: ScramVerifier = await buildScramVerifier('pencil', 1, salt);
  const keyCache = newCache();
  await keyCache.derive('alice', new Secret('pencil'), verifier);
  const edit = fc.oneof(
    fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), bit: fc.integer({ min: 0, max: 7 }) }),
    fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
    fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), bytes: fc.uint8Array({ minLength: 1 }) }),
    fc.record({ kind: fc.constant('replace' as const), bytes: fc.uint8Array({ maxLength: 200 }) }),
    fc.record({
      kind: fc.constant('text' as const),
      text: fc.string({ unit: fc.constantFrom(...'nypcrsivem=,aA1+/ ') }),
    }),
  );
  let mangledCount = 0;
  await fc.assert(
    fc.asyncProperty(edit, fc.nat(3), fc.boolean(), async (how, turnToMangle, bound) => {
      let changed = false;
      const options = { verifier, random: randomBytes };
      const offered = bound ? ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'] : ['SCRAM-SHA-256'];
      const c = client({ keyCache, offered, ...(bound ? { channelBinding: binding } : {}) });
      const ending = await talk(c, bound ? boundServer(options) : server(options), (message, turn) => {
        if (turn !== turnToMangle) return message;
        const mangled = applyEdit(message, how);
        changed = !mangled.equals(message);
        return mangled;
      });
      if (!changed) return;
      mangledCount++;
      if (turnToMangle < 3 && ending.server.kind === 'done') throw new Error('the server logged in a mangled exchange');
      if (ending.client.kind === 'verified') throw new Error('the client believed a mangled exchange');
    }),
    { numRuns: 2000, seed: 7677 },
  );
  t.ok(mangledCount > 1000, `${mangledCount} exchanges were mangled`);
});

void t.test('no sequence of arbitrary messages throws, and none ends in done', (t) => {
  const property = (): void =>
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 1100 }), { maxLength: 5 }),
        fc.string(),
        (messages, mechanism) => {
          const s = boundServer();
          const c = client();
          const steps: (ScramServerStep | ScramClientStep)[] = [s.start(mechanism, undefined), c.start()];
          for (const message of messages) steps.push(s.step(Buffer.from(message)), c.step(Buffer.from(message)));
          return steps.every((step) => step.kind !== 'done' && step.kind !== 'verified');
        },
      ),
      { numRuns: 500, seed: 5802 },
    );
  t.doesNotThrow(property);
  t.end();
});

type Edit =
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'cut'; at: number }
  | { kind: 'insert'; at: number; bytes: Uint8Array }
  | { kind: 'replace'; bytes: Uint8Array }
  | { kind: 'text'; text: string };

function applyEdit(message: Buffer, edit: Edit): Buffer {
  const at = 'at' in edit && message.length > 0 ? edit.at % message.length : 0;
  const copy = Buffer.from(message);
  switch (edit.kind) {
    case 'flip':
      copy[at] = (copy[at] ?? 0) ^ (1 << edit.bit);
      return copy;
    case 'cut':
      return copy.subarray(0, at);
    case 'insert':
      return Buffer.concat([copy.subarray(0, at), edit.bytes, copy.subarray(at)]);
    case 'replace':
      return Buffer.from(edit.bytes);
    case 'text':
      return Buffer.from(edit.text);
    default:
      return edit satisfies never;
  }
}
