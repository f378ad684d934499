// Rows and COPY streams far larger than weir's memory pass through it. BIG=1 makes them a gigabyte (with `--limit 1800`).

import { createHash } from 'node:crypto';
import t from 'tap';
import { eventually, startPostgres } from '../support/index.js';
import { RawClient, say } from '../support/raw-client.js';
import { startWeirProcess, type WeirProcess } from '../support/weir-process.js';

const big = process.env['BIG'] === '1';
/** PostgreSQL takes no message of 1,073,741,824 bytes or more. */
const totalBytes = big ? 1_050_000_000 : 300_000_000;
const growthBytesMax = 100 * 2 ** 20;
const chunkBytes = 1_000_000;

const server = await startPostgres({
  settings: { max_wal_size: '4GB' },
  sql: ['create unlogged table sink (line text)'],
});
t.teardown(() => server.stop());
const weir = await startWeirProcess({
  server: { host: server.host, port: server.port },
  weir: { auth_type: 'trust', default_pool_size: 2 },
  users: { postgres: server.admin.password },
});
t.teardown(() => weir.stop());

/** The most that `pid` grew by while `work` ran, over what it had before. */
async function growth(of: WeirProcess, work: () => Promise<void>): Promise<number> {
  const before = of.memoryBytes();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, of.memoryBytes());
  }, 10);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return Math.max(most, of.memoryBytes()) - before;
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MB`;

/** Bytes that do not compress to nothing and differ from chunk to chunk; always the same. */
function chunkOf(index: number, length: number): Buffer {
  const chunk = Buffer.alloc(length, createHash('sha256').update(`chunk ${index}`).digest());
  chunk.writeUInt32BE(index, 0);
  return chunk;
}

function* chunks(bytes: number): Generator<Buffer> {
  for (let index = 0; index * chunkBytes < bytes; index++)
    yield chunkOf(index, Math.min(chunkBytes, bytes - index * chunkBytes));
}

function int32(...numbers: readonly number[]): Buffer {
  const buffer = Buffer.alloc(4 * numbers.length);
  for (const [i, number] of numbers.entries()) buffer.writeUInt32BE(number, 4 * i);
  return buffer;
}

/** Sends one bytea as a binary parameter and reads it back. @returns the SHA-256 of the row's body, as it should be and as it came */
async function roundTrip(
  client: RawClient,
  bytes: number,
  name: string,
): Promise<{ wanted: string; got: string | undefined }> {
  client.write(say.parse({ name, text: 'select $1', types: [17] }));
  // No portal name, the statement's, one format: binary, one value of so many bytes.
  const head = Buffer.concat([Buffer.from(`\0${name}\0`), Buffer.from([0, 1, 0, 1, 0, 1]), int32(bytes)]);
  const tail = Buffer.from([0, 1, 0, 1]);
  await client.push(Buffer.concat([Buffer.from('B'), int32(4 + head.length + bytes + tail.length), head]));
  const hash = createHash('sha256')
    .update(Buffer.from([0, 1]))
    .update(int32(bytes));
  for (const chunk of chunks(bytes)) {
    hash.update(chunk);
    await client.push(chunk);
  }
  await client.push(tail);
  client.write(say.execute({}), say.sync());
  const messages = await client.until('Z');
  const tags = messages.map(({ tag }) => tag).join('');
  if (tags !== '12DCZ') throw new Error(`the server answered ${tags}`);
  const row = messages[2];
  return {
    wanted: hash.digest('hex'),
    got:
      row?.sha256 ??
      createHash('sha256')
        .update(row?.body ?? '')
        .digest('hex'),
  };
}

t.test(`a parameter and a row of ${megabytes(totalBytes)}`, async (t) => {
  const client = await RawClient.connect(weir);
  const other = await RawClient.connect(weir);
  const warm = await roundTrip(client, 5_000_000, '');
  t.equal(warm.got, warm.wanted);
  for (const name of ['', 'named']) {
    let meanwhile = 0;
    let going = true;
    const asking = (async (): Promise<void> => {
      while (going) {
        if ((await other.value('select 1')) === '1') meanwhile++;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    const grown = await growth(weir, async () => {
      const { wanted, got } = await roundTrip(client, totalBytes, name);
      t.equal(got, wanted, 'it came back as it went');
    });
    going = false;
    await asking;
    t.ok(grown < growthBytesMax, `memory grew by ${megabytes(grown)}`);
    t.ok(meanwhile > 20, `${meanwhile} answers to somebody else meanwhile`);
  }
  await client.end();
  await other.end();
});

t.test(`COPY of ${megabytes(totalBytes)} in and out`, async (t) => {
  const client = await RawClient.connect(weir);
  const lines = Math.floor(totalBytes / 1_000);
  const line = (n: number): string => `${String(n).padStart(12, '0')}${'x'.repeat(987)}\n`;
  const wanted = createHash('sha256');
  const grownIn = await growth(weir, async () => {
    client.write(say.query('copy sink from stdin'));
    await client.until('G');
    for (let first = 0; first < lines; first += 1_000) {
      const text = Buffer.from(
        Array.from({ length: Math.min(1_000, lines - first) }, (_, i) => line(first + i)).join(''),
      );
      wanted.update(text);
      await client.push(say.copyData(text));
    }
    client.write(say.copyDone());
    t.same((await client.reply()).commands, [`COPY ${lines}`]);
  });
  t.ok(grownIn < growthBytesMax, `memory grew by ${megabytes(grownIn)} on the way in`);

  const got = createHash('sha256');
  const grownOut = await growth(weir, async () => {
    client.write(say.query('copy sink to stdout'));
    for (let tag = ''; tag !== 'Z'; ) {
      const message = await client.next();
      tag = message.tag;
      if (tag === 'd') got.update(message.body);
    }
  });
  t.equal(got.digest('hex'), wanted.digest('hex'));
  t.ok(grownOut < growthBytesMax, `memory grew by ${megabytes(grownOut)} on the way out`);
  await client.end();
});

t.test(`a result of ${megabytes(totalBytes)} that is read slowly`, async (t) => {
  const client = await RawClient.connect(weir);
  client.socket.pause();
  const grown = await growth(weir, async () => {
    client.write(say.query('select line from sink'));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    t.ok(client.bytesRead < 10_000_000);
  });
  t.ok(grown < growthBytesMax, `memory grew by ${megabytes(grown)}`);
  await client.vanish();
  const next = await RawClient.connect(weir);
  const running = "select count(*) from pg_stat_activity where query like 'select line%' and state = 'active'";
  await eventually(async () => (await next.value(running)) === '0');
  t.pass('what it had asked for is cancelled');
  await next.end();
});
