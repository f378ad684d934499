// Both sides of TLS over real loopback sockets: every mode, trust, names, ALPN, and peers that misbehave.

import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
  type TLSSocket,
} from 'node:tls';
import t, { type Test } from 'tap';
import {
  alpnProtocol,
  type ClientTls,
  type ClientTlsOutcome,
  isDirectTls,
  loadClientTls,
  loadServerTls,
  type ServerTlsOutcome,
  type TlsOpening,
  type TlsOptions,
  tlsServerEndPoint,
} from '../../../lib/tls/index.js';
import { makeCertificates, type TestCertificates, writeCertificates } from '../../support/certificates.js';

const certificates: TestCertificates = await makeCertificates('alice');
const directory = await writeCertificates(t, certificates);
t.teardown(() => rm(directory, { recursive: true }));

function pair(name: keyof TestCertificates): { certFile: string; keyFile: string } {
  return { certFile: join(directory, `${name}.crt`), keyFile: join(directory, `${name}.key`) };
}

const caFile = join(directory, 'ca.crt');

async function clientFacing(options: Partial<TlsOptions> = {}): Promise<ClientTls> {
  const loaded = await loadClientTls({ sslmode: 'require', ...pair('server'), ...options });
  if (loaded === undefined) throw new Error('TLS is off');
  return loaded;
}

/** A listener that hands every connection to `tls` and tells what came of it. */
async function listen(
  t: Test,
  tls: ClientTls,
  opening: TlsOpening = 'negotiated',
): Promise<{ port: number; outcome: () => Promise<ClientTlsOutcome> }> {
  const outcomes: ClientTlsOutcome[] = [];
  const waiting: ((outcome: ClientTlsOutcome) => void)[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    tls.accept(socket, opening, (outcome) => {
      if (outcome.kind !== 'failed') outcome.socket.on('error', () => undefined);
      const taker = waiting.shift();
      if (taker === undefined) outcomes.push(outcome);
      else taker(outcome);
    });
  });
  const sockets = track(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => closeAll(server, sockets));
  return {
    port: (server.address() as AddressInfo).port,
    outcome: () => {
      const ready = outcomes.shift();
      return ready === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(ready);
    },
  };
}

function track(server: Server): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  return sockets;
}

function closeAll(server: Server, sockets: Set<Socket>): void {
  for (const socket of sockets) socket.destroy();
  server.close();
}

function dial(t: Test, port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    ca: certificates.ca.cert,
    ALPNProtocols: [alpnProtocol],
    ...options,
  });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  return socket;
}

/** A connection, resumed by what an earlier one was given, if it can be. */
async function visit(t: Test, tls: ClientTls, session?: Buffer): Promise<TLSSocket> {
  const { port, outcome } = await listen(t, tls);
  const client = dial(t, port, { rejectUnauthorized: false, ...(session === undefined ? {} : { session }) });
  const [made] = await Promise.all([outcome(), once(client, 'secureConnect')]);
  if (made.kind !== 'secure') throw new Error(made.kind);
  // Tickets come with the first bytes.
  made.socket.write('x');
  client.resume();
  return client;
}

void t.test('a session is resumed by who has the same secret and certificate, and nobody else', async (t) => {
  const secret = Buffer.alloc(32, 's');
  const load = async (ticketSecret?: Buffer, name: 'server' | 'otherServer' = 'server'): Promise<ClientTls> => {
    const loaded = await loadClientTls({ sslmode: 'require', ...pair(name) }, ticketSecret);
    if (loaded === undefined) throw new Error('TLS is off');
    return loaded;
  };
  const first = await visit(t, await load(secret));
  const [session] = (await once(first, 'session')) as [Buffer];
  const isResumed = async (tls: ClientTls): Promise<boolean> => (await visit(t, tls, session)).isSessionReused();
  t.notOk(first.isSessionReused());
  t.ok(await isResumed(await load(secret)), 'another process, or after a reload');
  t.notOk(await isResumed(await load(Buffer.alloc(32, 'o'))), 'another secret');
  t.notOk(await isResumed(await load()), 'none: a secret of its own');
  t.notOk(await isResumed(await load(secret, 'otherServer')), 'another certificate');
});

void t.test('a client gets TLS, bytes flow, and both ends compute the same channel binding', async (t) => {
  const tls = await clientFacing();
  const { port, outcome } = await listen(t, tls);
  const client = dial(t, port);
  const [made] = await Promise.all([outcome(), once(client, 'secureConnect')]);
  if (made.kind !== 'secure') throw new Error(made.kind);
  t.equal(made.peer, undefined);
  t.equal(made.socket.alpnProtocol, alpnProtocol);
  t.same(tls.channelBinding, tlsServerEndPoint(client.getPeerX509Certificate()?.raw ?? Buffer.alloc(0)));
  made.socket.on('data', (chunk: Buffer) => made.socket.write(chunk.reverse()));
  client.write('abc');
  const [echo] = (await once(client, 'data')) as [Buffer];
  t.equal(echo.toString(), 'cba');
  t.equal(tls.handshakes, 0, 'nothing stays behind');
});

void t.test('a certificate names its client only after it was verified', async (t) => {
  const tls = await clientFacing({ sslmode: 'verify-full', caFile });
  const { port, outcome } = await listen(t, tls);
  const cases: [keyof TestCertificates | undefined, string][] = [
    ['client', 'secure'],
    ['expiredClient', 'CERT_HAS_EXPIRED'],
    ['otherClient', 'UNABLE_TO_'],
    [undefined, 'no client certificate'],
  ];
  for (const [name, expected] of cases) {
    const own = name === undefined ? {} : { cert: certificates[name].cert, key: certificates[name].key };
    const client = dial(t, port, own);
    const made = await outcome();
    if (made.kind === 'secure') {
      t.equal(expected, 'secure', String(name));
      t.equal(made.peer?.commonName, 'alice');
      t.match(made.peer?.issuer, 'CN=weir test ca');
      continue;
    }
    if (made.kind !== 'untrusted') throw new Error(`${String(name)}: ${made.kind}`);
    t.equal(made.error.message, 'certificate authentication failed');
    t.ok(made.error.detail?.startsWith(expected), `${String(name)}: ${made.error.detail ?? ''}`);
    made.socket.end('E: the reason');
    const [told] = (await once(client, 'data')) as [Buffer];
    t.equal(told.toString(), 'E: the reason', 'the client is told why');
  }
});

void t.test('where certificates are not verified none is asked for', async (t) => {
  const { port, outcome } = await listen(t, await clientFacing({ sslmode: 'require', caFile }));
  dial(t, port, { cert: certificates.otherClient.cert, key: certificates.otherClient.key });
  const made = await outcome();
  if (made.kind !== 'secure') throw new Error(made.kind);
  t.equal(made.peer, undefined);
});

void t.test('direct TLS: the first byte, read and put back, tells; ALPN is a must', async (t) => {
  const tls = await clientFacing();
  const results: Promise<ClientTlsOutcome>[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    results.push(
      new Promise((resolve) => {
        socket.once('data', (chunk: Buffer) => {
          socket.pause();
          if (!isDirectTls(chunk[0] ?? 0)) throw new Error('not a ClientHello');
          socket.unshift(chunk);
          tls.accept(socket, 'direct', resolve);
        });
      }),
    );
  });
  const sockets = track(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => closeAll(server, sockets));
  const { port } = server.address() as AddressInfo;
  const proper = dial(t, port);
  await once(proper, 'secureConnect');
  t.equal((await results[0])?.kind, 'secure');
  const without = dial(t, port, { ALPNProtocols: [] });
  await once(without, 'secureConnect');
  const second = await results[1];
  if (second?.kind !== 'untrusted') throw new Error(second?.kind);
  t.match(second.error.message, /without ALPN/);
  second.socket.destroy();
  const foreign = dial(t, port, { ALPNProtocols: ['http/1.1'] });
  const [alert] = (await once(foreign, 'error')) as [Error];
  t.match(alert.message, /alert/i);
  t.equal((await results[2])?.kind, 'failed');
});

void t.test('a peer that sends garbage, hangs up, or shares no version fails without trace', async (t) => {
  const tls = await clientFacing({ protocols: 'tlsv1.3' });
  const { port, outcome } = await listen(t, tls);
  const garbage = connect(port, '127.0.0.1');
  garbage.on('error', () => undefined);
  garbage.write('GET / HTTP/1.0\r\n\r\n');
  const first = await outcome();
  if (first.kind !== 'failed') throw new Error(first.kind);
  t.equal(first.error.sqlstate, '08P01');
  t.ok(first.error.detail);

  const gone = connect(port, '127.0.0.1', () => gone.destroy());
  t.equal((await outcome()).kind, 'failed');

  dial(t, port, { maxVersion: 'TLSv1.2' });
  t.equal((await outcome()).kind, 'failed');
  t.equal(tls.handshakes, 0);
});

void t.test('a caller that gives up by destroying the socket is told once', async (t) => {
  const tls = await clientFacing();
  let told = 0;
  const server = createServer((socket) => {
    tls.accept(socket, 'negotiated', () => told++);
    socket.destroy();
    socket.once('close', () => setImmediate(() => server.emit('over')));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  const silent = connect((server.address() as AddressInfo).port, '127.0.0.1');
  silent.on('error', () => undefined);
  await once(server, 'over');
  t.equal(told, 1);
  t.equal(tls.handshakes, 0);
  silent.destroy();
});

void t.test('protocols, ciphers and curves are those of the settings', async (t) => {
  const cases: [Partial<TlsOptions>, ConnectionOptions, string][] = [
    [{}, {}, 'TLSv1.3 TLS_AES_256_GCM_SHA384'],
    [{ tls13Ciphers: 'TLS_AES_128_GCM_SHA256' }, {}, 'TLSv1.3 TLS_AES_128_GCM_SHA256'],
    [{ protocols: 'tlsv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }, {}, 'TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256'],
    [{ ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }, {}, 'TLSv1.3 TLS_AES_256_GCM_SHA384'],
    [{ tls13Ciphers: 'TLS_AES_128_GCM_SHA256' }, { maxVersion: 'TLSv1.2' }, 'TLSv1.2 ECDHE-ECDSA-AES'],
    [{ ciphers: 'all', ecdhCurve: 'P-384', dheParams: 'none' }, { ecdhCurve: 'P-384' }, 'TLSv1.3'],
    [{ ecdhCurve: 'none', dheParams: 'legacy' }, {}, 'TLSv1.3'],
    [{ ecdhCurve: 'none' }, { maxVersion: 'TLSv1.2' }, 'none'],
  ];
  for (const [options, clientOptions, expected] of cases) {
    const { port, outcome } = await listen(t, await clientFacing(options));
    dial(t, port, clientOptions);
    const made = await outcome();
    const got =
      made.kind === 'secure' ? `${made.socket.getProtocol()} ${made.socket.getCipher().standardName}` : 'none';
    const name = made.kind === 'secure' ? `${made.socket.getProtocol()} ${made.socket.getCipher().name}` : 'none';
    t.ok(got.startsWith(expected) || name.startsWith(expected), `${JSON.stringify(options)}: ${got}`);
  }
});

/** A TLS listener in the server's place; what it shows is `name`, and it may ask for the client's certificate. */
async function fakeServer(t: Test, name: keyof TestCertificates): Promise<number> {
  const { cert, key } = certificates[name];
  const server = createTlsServer({
    cert,
    key,
    ca: certificates.ca.cert,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: [alpnProtocol],
  });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => undefined);
    socket.write(socket.authorized ? 'known' : 'unknown');
  });
  const sockets = track(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => closeAll(server, sockets));
  return (server.address() as AddressInfo).port;
}

async function login(t: Test, port: number, options: TlsOptions, host: string): Promise<ServerTlsOutcome> {
  const tls = await loadServerTls(options);
  if (tls === undefined) throw new Error('TLS is off');
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const outcome = await new Promise<ServerTlsOutcome>((resolve) => tls.connect(socket, host, resolve));
  t.teardown(() => socket.destroy());
  return outcome;
}

void t.test('each mode verifies as much of a server as its name says', async (t) => {
  const ports = {
    server: await fakeServer(t, 'server'),
    expiredServer: await fakeServer(t, 'expiredServer'),
    otherServer: await fakeServer(t, 'otherServer'),
  };
  const cases: [TlsOptions['sslmode'], keyof typeof ports, string, string][] = [
    ['allow', 'otherServer', 'db.example', 'secure'],
    ['prefer', 'otherServer', 'db.example', 'secure'],
    ['require', 'expiredServer', 'db.example', 'secure'],
    ['verify-ca', 'server', 'db.example', 'secure'],
    ['verify-ca', 'otherServer', 'localhost', 'server_tls_ca_file'],
    ['verify-ca', 'expiredServer', 'localhost', 'Renew'],
    ['verify-full', 'server', 'localhost', 'secure'],
    ['verify-full', 'server', '127.0.0.1', 'secure'],
    ['verify-full', 'server', 'db.example', 'verify-ca'],
    ['verify-full', 'server', '127.0.0.2', 'verify-ca'],
    ['verify-full', 'otherServer', 'localhost', 'server_tls_ca_file'],
  ];
  for (const [sslmode, name, host, expected] of cases) {
    const outcome = await login(t, ports[name], { sslmode, caFile }, host);
    const label = `${sslmode} to ${name} as ${host}`;
    if (outcome.kind === 'secure') {
      t.equal(expected, 'secure', label);
      t.same(outcome.channelBinding, tlsServerEndPoint(certificates[name].der), label);
      continue;
    }
    t.ok(outcome.error.hint?.includes(expected), `${label}: ${outcome.error.hint ?? 'no hint'}`);
    t.ok(outcome.error.message.includes(host) && outcome.error.sqlstate === '08006', label);
  }
});

void t.test('weir shows its own certificate to a server that asks', async (t) => {
  const port = await fakeServer(t, 'server');
  for (const [own, expected] of [
    [pair('client'), 'known'],
    [{}, 'unknown'],
  ] as const) {
    const outcome = await login(t, port, { sslmode: 'verify-full', caFile, ...own }, 'localhost');
    if (outcome.kind !== 'secure') throw new Error(outcome.error.message);
    const [greeting] = (await once(outcome.socket, 'data')) as [Buffer];
    t.equal(greeting.toString(), expected);
  }
});

void t.test('a server that answers S and then hangs up or talks in the clear is an error, told once', async (t) => {
  for (const say of ['', 'FATAL: not TLS at all, sorry']) {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(say);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const outcome = await login(t, (server.address() as AddressInfo).port, { sslmode: 'prefer' }, 'localhost');
    t.equal(outcome.kind, 'failed');
    if (outcome.kind === 'failed') t.ok(outcome.error.detail);
    server.close();
  }
});
