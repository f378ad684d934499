// Messages that are no messages: weir answers what PostgreSQL answers, goes on where it goes on, and ends where it ends.

import t, { type Test } from 'tap';
import { eventually, startPostgres } from '../support/index.js';
import { RawClient, readFields, say } from '../support/raw-client.js';
import { startWeir, type TestWeir } from '../support/weir.js';

const postgres = await startPostgres({
  hba: 'host all all 127.0.0.1/32 trust',
  sql: ['create role app login', 'create table public.copied (id int)', 'grant all on public.copied to app'],
});
t.teardown(() => postgres.stop());

/** A frame with any tag and body, and a length that may be a lie. */
function frame(tag: string, body: Buffer | string = '', length?: number): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
  const head = Buffer.alloc(5);
  head.write(tag, 0, 'latin1');
  head.writeUInt32BE(length ?? bytes.length + 4, 1);
  return Buffer.concat([head, bytes]);
}

const sync = say.sync();
const selectOne = Buffer.concat([say.parse({ text: 'select 1' }), say.bind({}), say.execute({})]);
const named = say.parse({ name: 'known', text: 'select $1::int' });

/** With a Sync behind it the session goes on. */
const whole: Readonly<Record<string, Buffer>> = {
  'Describe of neither kind': frame('D', 'Zx\0'),
  'Describe without a name': frame('D', 'S'),
  'Describe of nothing': frame('D'),
  'Describe whose name does not end': frame('D', 'Sabc'),
  'Describe with more behind its name': frame('D', 'S\0abc'),
  'Describe of a portal with more behind its name': frame('D', 'P\0abc'),
  'Close of neither kind': frame('C', 'Zx\0'),
  'Close of nothing': frame('C'),
  'Close whose name does not end': frame('C', 'Sabc'),
  'Close with more behind its name': frame('C', 'S\0abc'),
  'Close of a portal with more behind its name': frame('C', 'P\0abc'),
  'Parse of nothing': frame('P'),
  'Parse whose name does not end': frame('P', 'abc'),
  'Parse whose text does not end': frame('P', 'n\0select 1'),
  'Parse without its number of types': frame('P', 'n\0select 1\0'),
  'Parse with half its number of types': frame('P', 'n\0select 1\0\0'),
  'Parse with fewer types than it says': frame('P', 'n\0select 1\0\0\x02\0\0\0\x17'),
  'Parse with more types than it says': frame('P', 'n\0select 1\0\0\0\0\0\0\x17'),
  'Parse with as many types as can be said': frame('P', 'n\0select 1\0\xff\xff'),
  'unnamed Parse with bytes behind it': frame('P', '\0begin\0\0\0x'),
  'Bind of nothing': frame('B'),
  'Bind whose portal does not end': frame('B', 'abc'),
  'Bind whose statement does not end': frame('B', '\0known'),
  'Bind without formats': frame('B', '\0known\0'),
  'Bind with fewer formats than it says': frame('B', '\0known\0\0\x05\0\0'),
  'Bind without values': frame('B', '\0known\0\0\0'),
  'Bind with a value that is longer than the message': frame('B', '\0known\0\0\0\0\x01\0\0\0\x7fab'),
  'Bind with a value of a length below zero': frame('B', '\0known\0\0\0\0\x01\xff\xff\xff\x00'),
  'Bind with a value of 2^31-1 bytes': frame('B', '\0known\0\0\0\0\x01\x7f\xff\xff\xff'),
  'Bind with more values than it has': frame('B', '\0known\0\0\0\xff\xff'),
  'Bind with a format that is none': frame('B', '\0known\0\0\x01\0\x09\0\x01\0\0\0\x011\0\0'),
  'Bind with formats for other values': frame('B', '\0known\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\x011\0\0'),
  'Bind without result formats': frame('B', '\0known\0\0\0\0\x01\0\0\0\x011'),
  'Bind with bytes behind it': frame('B', '\0known\0\0\0\0\x01\0\0\0\x011\0\0abc'),
  'Bind of an unknown statement, cut short': frame('B', '\0nobodys\0\0'),
  'Execute of nothing': frame('E'),
  'Execute whose portal does not end': frame('E', 'abc'),
  'Execute without its limit': frame('E', '\0'),
  'Execute with half a limit': frame('E', '\0\0\0'),
  'Execute with bytes behind it': frame('E', '\0\0\0\0\0abc'),
  'Flush with a body': frame('H', 'abc'),
};

/** Answered by a ReadyForQuery of their own. */
const alone: Readonly<Record<string, Buffer>> = {
  'Query of nothing': frame('Q'),
  'Query that does not end': frame('Q', 'select 1'),
  'Query with bytes behind its end': frame('Q', 'select 1\0select 2\0'),
  'BEGIN with bytes behind its end': frame('Q', 'begin\0x\0'),
  'Sync with a body': frame('S', 'abc'),
  'FunctionCall of nothing': frame('F'),
  'FunctionCall that is cut short': frame('F', '\0\0\0\x01\0\0'),
  'FunctionCall with an argument of a length below zero': frame('F', '\0\0\x03\x46\0\0\0\x01\xff\xff\xff\0\0\0'),
  'FunctionCall of no function': frame('F', '\0\0\0\x01\0\0\0\0\0\0'),
};

/** After these there is no session. */
const fatal: Readonly<Record<string, Buffer>> = {
  'an unknown type': frame('~', 'abc'),
  'the type 0': frame('\0'),
  'the type 255': frame('\xff'),
  'a password': frame('p', 'secret\0'),
  'a server message': frame('Z', 'I'),
};

const states: Readonly<Record<string, readonly Buffer[]>> = {
  'outside of a transaction': [],
  'in a transaction': [say.query('begin'), say.query('select 1')],
  'in a transaction that has just begun': [say.query('begin')],
  'in a transaction that has failed': [say.query('begin'), say.query('select 1/0')],
};

/** What came, with the fields of errors that a driver looks at. */
async function read(client: RawClient, readies: number): Promise<string[]> {
  const lines: string[] = [];
  for (let left = readies; left > 0; ) {
    const message = await client.next().catch(() => undefined);
    if (message === undefined) return [...lines, 'closed'];
    if (message.tag === 'S' || message.tag === 'N') continue;
    if (message.tag === 'Z') left--;
    const { S = '', C = '', M = '' } = message.tag === 'E' ? readFields(message.body) : {};
    lines.push(message.tag === 'E' ? `E ${S} ${C} ${M}` : `${message.tag} ${message.body.toString('latin1')}`);
  }
  return lines;
}

async function run(
  place: { host: string; port: number },
  before: readonly Buffer[],
  bytes: Buffer,
  readies: number,
  after: Buffer,
) {
  const client = await RawClient.connect(place, { user: 'app', database: 'postgres' });
  try {
    client.write(named, sync);
    await read(client, 1);
    for (const message of before) {
      client.write(message);
      await read(client, 1);
    }
    client.write(bytes);
    const lines = await read(client, readies);
    if (lines.at(-1) === 'closed' || after.length === 0) return lines;
    client.write(after);
    return [...lines, ...(await read(client, 1))];
  } finally {
    await client.vanish();
  }
}

async function start(t: Test, weir: object = {}): Promise<TestWeir> {
  const started = await startWeir({
    server: postgres,
    users: { app: 'x' },
    weir: { auth_type: 'trust', default_pool_size: 3, ...weir },
  });
  t.teardown(() => started.stop());
  return started;
}

for (const [mode, settings] of Object.entries({
  'transaction mode': {},
  'transaction mode without lanes and put-off BEGIN': { lanes: 'off', defer_begin: false },
  'session mode': { pool_mode: 'session' },
})) {
  t.test(`what cannot be read is answered as by PostgreSQL, in ${mode}`, async (t) => {
    const weir = await start(t, settings);
    const again = say.query("select 'again'");
    for (const [state, before] of Object.entries(states)) {
      // In the other modes what differs from transaction mode is where a batch has a server from.
      if (mode !== 'transaction mode' && state !== 'outside of a transaction') continue;
      const compare = async (title: string, bytes: Buffer, readies: number): Promise<void> => {
        const direct = await run(postgres, before, bytes, readies, again);
        const through = await run(weir, before, bytes, readies, again);
        t.same(through, direct, `${title}, ${state}`);
      };
      for (const [title, message] of Object.entries(whole)) {
        await compare(title, Buffer.concat([message, sync]), 1);
        await compare(`${title}, behind a statement`, Buffer.concat([selectOne, message, selectOne, sync]), 1);
        await compare(`${title}, behind an error`, Buffer.concat([say.bind({ statement: 'none' }), message, sync]), 1);
      }
      for (const [title, message] of Object.entries(alone)) await compare(title, message, 1);
    }
    await eventually(() => [...weir.pooler.pools].every(({ counts }) => counts.active === 0));
  });
}

t.test('what ends a session ends it, and nobody else has any of it', async (t) => {
  const weir = await start(t);
  for (const [state, before] of Object.entries(states)) {
    for (const [title, message] of Object.entries(fatal)) {
      const direct = await run(postgres, before, Buffer.concat([message, sync]), 1, Buffer.alloc(0));
      const through = await run(weir, before, Buffer.concat([message, sync]), 1, Buffer.alloc(0));
      t.match(direct.join(), /E FATAL 08P01 .*closed/, `${title}, ${state}, direct`);
      t.match(through.join(), /E FATAL 08P01 .*closed/, `${title}, ${state}`);
    }
  }
  t.same(
    await run(weir, [], say.query('select 1'), 1, Buffer.alloc(0)),
    await run(postgres, [], say.query('select 1'), 1, Buffer.alloc(0)),
  );
});

t.test('what is no COPY data within a COPY ends as with PostgreSQL, in its own words', async (t) => {
  const weir = await start(t);
  for (const [title, message] of Object.entries({
    Parse: say.parse({ text: 'select 1' }),
    Bind: say.bind({}),
    Execute: say.execute({}),
    Describe: say.describe({ type: 'S', name: '' }),
    Query: say.query('select 1'),
    FunctionCall: frame('F', '\0\0\0\x01\0\0\0\0\0\0'),
  })) {
    const copy = say.query('copy copied from stdin');
    const bytes = Buffer.concat([copy, message, sync]);
    const direct = endings(await run(postgres, [], bytes, 9, Buffer.alloc(0)));
    const through = endings(await run(weir, [], bytes, 9, Buffer.alloc(0)));
    t.same(through, direct, `${title} in one write with COPY`);
    const later = await copying(postgres, message);
    t.same(await copying(weir, message), later, `${title} when COPY has begun`);
  }
});

/** Which message PostgreSQL meets first may be one that weir has put before the client's. */
function endings(lines: readonly string[]): string[] {
  return lines.filter((line) => /^E ERROR|closed/.test(line)).map((line) => line.replace(/ type 0x4[2-4] /, ' type '));
}

async function copying(place: { host: string; port: number }, message: Buffer): Promise<string[]> {
  const client = await RawClient.connect(place, { user: 'app', database: 'postgres' });
  try {
    client.write(say.query('copy copied from stdin'));
    await client.next();
    client.write(message, sync);
    return endings(await read(client, 9));
  } finally {
    await client.vanish();
  }
}
