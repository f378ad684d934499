// Bytes that have brought down other poolers, at every stage of the protocol and from both sides: weir ends that connection and no other.

import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import {
  authenticationOk,
  backendKeyData,
  errorResponse,
  parameterStatus,
  readyForQuery,
  startupMessage,
  TransactionStatus,
} from '../../lib/wire/index.js';
import { eventually, startPostgres, stretched } from '../support/index.js';
import { RawClient, readFields, say } from '../support/raw-client.js';
import { startWeir, type TestWeir } from '../support/weir.js';

const postgres = await startPostgres({
  hba: 'host all all 127.0.0.1/32 trust',
  sql: ['create role app login', 'create table copied (id int)', 'grant all on copied to app'],
});
t.teardown(() => postgres.stop());

const lengths = [0, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] as const;

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function tagged(tag: string, length: number): Buffer {
  return Buffer.concat([Buffer.from(tag, 'latin1'), word(length), Buffer.from('abcdefgh')]);
}

const startup = (more: readonly (readonly [string, string])[] = []): Buffer =>
  startupMessage(0, [['user', 'app'], ['database', 'postgres'], ...more]);
const cancelRequest = Buffer.concat([word(16), word(80_877_102), word(64), word(1)]);
const untagged: Readonly<Record<string, Buffer>> = {
  StartupMessage: startup(),
  SSLRequest: Buffer.concat([word(8), word(80_877_103)]),
  GSSENCRequest: Buffer.concat([word(8), word(80_877_104)]),
  CancelRequest: cancelRequest,
};
const scramFirst = say.sendSASLInitialResponseMessage('SCRAM-SHA-256', 'n,,n=,r=0123456789abcdef');

async function start(
  t: Test,
  weir: NonNullable<Parameters<typeof startWeir>[0]['weir']>,
  port = postgres.port,
): Promise<TestWeir> {
  const started = await startWeir({
    server: { host: '127.0.0.1', port },
    users: { app: 'secret' },
    weir: { max_login_failures: 0, default_pool_size: 2, client_login_timeout: 30, server_connect_timeout: 3, ...weir },
  });
  t.teardown(() => started.stop());
  return started;
}

interface Stage {
  readonly title: string;
  readonly weir: TestWeir;
  /** What is said first, each waited for. */
  readonly before: readonly Buffer[];
}

/** Says it and waits for the end. What came, as tags of messages or one letter of an SSL answer. */
async function end(stage: Stage, bytes: Buffer): Promise<string> {
  const socket = net.connect({ host: '127.0.0.1', port: stage.weir.port });
  const chunks: Buffer[] = [];
  socket.on('error', () => {});
  await once(socket, 'connect');
  for (const message of stage.before) {
    socket.write(message);
    chunks.push((await once(socket, 'data'))[0] as Buffer);
  }
  const closed = once(socket, 'close');
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.write(bytes);
  const timer = setTimeout(() => socket.destroy(new Error('weir has not ended the connection')), 10_000);
  await closed;
  clearTimeout(timer);
  return socket.errored === null ? Buffer.concat(chunks).toString('latin1') : String(socket.errored.message);
}

t.test('packets out of place, and of lengths that are none, end the connection at once at every stage', async (t) => {
  const trusted = await start(t, { auth_type: 'trust' });
  const scram = await start(t, { auth_type: 'scram-sha-256' });
  const plain = await start(t, { auth_type: 'plain' });
  const md5 = await start(t, { auth_type: 'md5' });
  const bystander = await RawClient.connect(trusted, { user: 'app', database: 'postgres' });
  await bystander.query('begin');
  const heapBefore = process.memoryUsage().rss;
  const ssl = untagged['SSLRequest'] as Buffer;
  const first: readonly Stage[] = [
    { title: 'as the first packet', weir: trusted, before: [] },
    { title: 'behind an SSLRequest', weir: trusted, before: [ssl] },
    { title: 'behind a GSSENCRequest', weir: trusted, before: [untagged['GSSENCRequest'] as Buffer] },
  ];
  for (const stage of first) {
    for (const length of lengths) {
      const said = await end(stage, Buffer.concat([word(length), word(196_608), Buffer.from('user\0app\0\0')]));
      t.notMatch(said, /not ended|FATAL/, `a length of ${length} ${stage.title}`);
    }
  }
  const logins: readonly Stage[] = [
    { title: 'before SCRAM', weir: scram, before: [startup()] },
    { title: 'within SCRAM', weir: scram, before: [startup(), scramFirst] },
    { title: 'in place of a password', weir: plain, before: [startup()] },
    { title: 'in place of an md5 password', weir: md5, before: [startup()] },
  ];
  const session: Stage = { title: 'after the login', weir: trusted, before: [startup()] };
  const copying: Stage = {
    title: 'in a COPY',
    weir: trusted,
    before: [startup(), say.query('copy copied from stdin')],
  };
  for (const stage of [...logins, session, copying]) {
    for (const [title, packet] of Object.entries(untagged)) {
      t.match(await end(stage, packet), /FATAL/, `${title} ${stage.title}`);
    }
  }
  for (const stage of logins) {
    for (const length of lengths) t.match(await end(stage, tagged('p', length)), /FATAL/, `${length} ${stage.title}`);
    for (const tag of 'QPBDECSHFdcf') {
      t.match(await end(stage, tagged(tag, 12)), /FATAL/, `${tag} ${stage.title}`);
    }
  }
  for (const stage of [session, copying]) {
    for (const tag of 'QPBDECSHFdcfp') {
      for (const length of lengths) {
        t.match(await end(stage, tagged(tag, length)), /FATAL/, `${tag} of ${length} ${stage.title}`);
      }
    }
  }
  // SCRAM with lengths of its own within.
  for (const inner of [0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 70_000]) {
    const body = Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), word(inner), Buffer.from('n,,n=,r=abc')]);
    const message = Buffer.concat([Buffer.from('p'), word(body.length + 4), body]);
    t.match(await end(logins[0] as Stage, message), /FATAL/, `a SASL response that says it has ${inner} bytes`);
  }
  t.ok(process.memoryUsage().rss - heapBefore < 300 * 1024 * 1024, 'nothing is allocated by what a length says');
  t.equal((await bystander.query('commit')).status, 'I');
  await bystander.end();
  for (const weir of [trusted, scram, plain, md5]) await eventually(() => weir.pooler.pendingLogins === 0);
});

t.test('options that are none are refused as by PostgreSQL, or taken as by it', async (t) => {
  const weir = await start(t, { auth_type: 'trust' });
  const run = async (place: { host: string; port: number }, options: string): Promise<string> => {
    const client = await RawClient.open(place);
    try {
      await client.logIn({ user: 'app', database: 'postgres', parameters: { options } });
      return JSON.stringify(
        (await client.query("select current_setting('work_mem'), coalesce(current_setting('app.x', true), '')")).rows,
      );
    } catch {
      return 'refused';
    } finally {
      await client.vanish();
    }
  };
  const many = Array.from({ length: 600 }, (_, i) => `-c a.b${i}=1`).join(' ');
  for (const options of [
    '-c=',
    '-c =',
    '-c',
    '-c work_mem',
    '-cwork_mem=5MB',
    '-c work_mem=5MB',
    '--work-mem=6MB',
    '--=x',
    '-',
    '=',
    '-c -c -c',
    '-c app.x=a\\ b',
    '-c app.x=\\\\',
    '-c app.x=\\',
    '-c app.x=',
    '-c .=x',
    '-c a.=x',
    '-c .a=x',
    '-c app.x=\'"',
    '   ',
    '\\',
    '-c \u00e9=1',
    '-c app..x=1',
    '-c work_mem=\\',
  ])
    t.equal(await run(weir, options), await run(postgres, options), `options ${options}`);
  t.equal(await run(weir, many), 'refused', 'of which there are more than weir keeps');
  t.equal(await run(weir, `-c app.x=${'y'.repeat(20_000)}`), 'refused', 'that no packet has room for');
  t.equal(await run(weir, '-c app.x=still'), '[["4MB","still"]]');
});

/** Says these bytes to whoever logs in, and these behind its first Query. */
async function fakeServer(t: Test, login: readonly Buffer[], reply: readonly Buffer[]): Promise<number> {
  const server = net.createServer((socket) => {
    let started = false;
    socket.on('error', () => {});
    socket.on('data', () => {
      for (const bytes of started ? reply : login) socket.write(bytes);
      started = true;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

const welcome = Buffer.concat([
  authenticationOk(),
  parameterStatus('server_version', '18.0'),
  parameterStatus('client_encoding', 'UTF8'),
  backendKeyData(7, Buffer.alloc(4)),
  readyForQuery(TransactionStatus.Idle),
]);
const wrongServers: Readonly<Record<string, Buffer>> = {
  'an error without a SQLSTATE': Buffer.concat([
    Buffer.from('E'),
    word(4 + 6 + 6 + 1),
    Buffer.from('SERROR'),
    Buffer.from('Moops\0'),
    Buffer.alloc(1),
  ]).subarray(0, 18),
  'an error without a field': Buffer.concat([Buffer.from('E'), word(5), Buffer.alloc(1)]),
  'an error whose fields do not end': Buffer.concat([Buffer.from('E'), word(9), Buffer.from('Sabcd')]),
  'an empty error': Buffer.concat([Buffer.from('E'), word(4)]),
  'authentication without a method': Buffer.concat([Buffer.from('R'), word(4)]),
  'SASL without mechanisms': Buffer.concat([Buffer.from('R'), word(8), word(10)]),
  'a key without bytes': Buffer.concat([Buffer.from('K'), word(4)]),
  'a parameter without a value': Buffer.concat([Buffer.from('S'), word(8), Buffer.from('abcd')]),
  'ReadyForQuery without a status': Buffer.concat([Buffer.from('Z'), word(4)]),
  HTTP: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
};

t.test('a server that speaks nonsense costs its own connection, at its login and afterwards', async (t) => {
  const cases = new Map(Object.entries(wrongServers));
  for (const length of lengths) for (const tag of 'RSKZENTDC') cases.set(`${tag} of ${length}`, tagged(tag, length));
  const before = process.memoryUsage().rss;
  await Promise.all(
    [...cases].map(async ([title, bytes]) => {
      const atLogin = await fakeServer(t, [bytes], []);
      const later = await fakeServer(t, [welcome], [bytes]);
      for (const port of [atLogin, later]) {
        const weir = await startWeir({
          server: { host: '127.0.0.1', port },
          users: { app: 'secret' },
          weir: { auth_type: 'trust', server_connect_timeout: 2, query_timeout: 3, track_session_state: false },
        });
        const client = await RawClient.open(weir);
        client.write(startup(), say.query('select 1'));
        const timer = setTimeout(() => client.socket.destroy(), stretched(30_000));
        const errors: string[] = [];
        for (;;) {
          const message = await client.next().catch(() => undefined);
          if (message === undefined) break;
          if (message.tag === 'E') errors.push(readFields(message.body)['S'] ?? '');
          if (errors.includes('ERROR')) await client.vanish();
        }
        clearTimeout(timer);
        t.not(
          errors.length,
          0,
          `${title} ${port === atLogin ? 'at the login' : 'behind a query'}: its client is told of an error`,
        );
        await weir.stop();
      }
    }),
  );
  t.ok(process.memoryUsage().rss - before < 500 * 1024 * 1024, 'nothing is allocated by what a length says');
});

t.test('an error of a server without a SQLSTATE has one for those who are told', async (t) => {
  const error = errorResponse({ severity: 'FATAL', sqlstate: 'XXXXX', message: 'no code' });
  const at = error.indexOf('CXXXXX\0');
  const without = Buffer.concat([error.subarray(0, at), error.subarray(at + 7)]);
  without.writeUInt32BE(without.length - 1, 1);
  const port = await fakeServer(t, [without], []);
  const weir = await start(t, { auth_type: 'trust' }, port);
  const client = await RawClient.open(weir);
  client.write(startup());
  t.match(await client.fatal(), { S: 'FATAL', C: /^[0-9A-Z]{5}$/ });
});
