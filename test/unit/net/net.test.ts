// Login frames out of any chunks, and peers over real sockets: order, copies, pressure, pauses and last words.

import { createHash } from 'node:crypto';
import net from 'node:net';
import t, { type Test } from 'tap';
import {
  Accepted,
  acceptFrom,
  FrameInbox,
  loginFrameBytesMax,
  Peer,
  type PeerHandler,
  pressureBytes,
} from '../../../lib/net/index.js';
import { Random } from '../../support/random.js';
import { frame } from '../../support/recording-stream.js';

// FrameInbox

t.test('frames come out whole and in order, however they came in and whenever they are asked for', async (t) => {
  const frames = [frame('R', 'abcd'), frame('K', ''), frame('Z', 'I')];
  const bytes = Buffer.concat(frames);
  for (let size = 1; size <= bytes.length; size++) {
    const inbox = new FrameInbox();
    const early = inbox.next();
    for (let at = 0; at < bytes.length; at += size) inbox.push(Buffer.from(bytes.subarray(at, at + size)));
    t.same([await early, await inbox.next(), await inbox.next()], frames, `in pieces of ${size}`);
  }
});

t.test('what is left over is handed on, frames not asked for included', async (t) => {
  const inbox = new FrameInbox();
  const bytes = Buffer.concat([frame('R', 'x'), frame('Z', 'I'), frame('A', 'later').subarray(0, 7)]);
  inbox.push(bytes);
  t.same(await inbox.next(), frame('R', 'x'));
  t.same(inbox.rest(), bytes.subarray(6));
  t.same(inbox.rest(), Buffer.alloc(0));
});

t.test('a frame of the longest length is taken, one byte more or a length below four is refused', async (t) => {
  const longest = frame('p', Buffer.alloc(loginFrameBytesMax - 5));
  const inbox = new FrameInbox();
  inbox.push(longest);
  t.equal((await inbox.next()).length, loginFrameBytesMax);
  for (const bad of [
    frame('p', Buffer.alloc(loginFrameBytesMax - 4)).subarray(0, 5),
    Buffer.from('p\0\0\0\x03'),
    Buffer.from('p\xff\xff\xff\xff', 'latin1'),
  ]) {
    const refused = new FrameInbox();
    refused.push(bad);
    await t.rejects(refused.next(), { message: 'bad packet' });
  }
});

t.test('frames nobody asks for do not pile up without end', async (t) => {
  const inbox = new FrameInbox();
  for (let i = 0; i < 2_000; i++) inbox.push(frame('N', 'x'));
  let taken = 0;
  await t.rejects(async () => {
    for (;;) {
      await inbox.next();
      taken++;
    }
  });
  t.equal(taken, 1_000);
});

t.test('a failure reaches who waits and who asks later, behind the frames that had come', async (t) => {
  const inbox = new FrameInbox();
  inbox.push(frame('R', 'x'));
  inbox.fail(new Error('first'));
  inbox.fail(new Error('second'));
  await inbox.next();
  await t.rejects(inbox.next(), { message: 'first' });
  const other = new FrameInbox();
  const waiting = other.next();
  other.fail(new Error('gone'));
  await t.rejects(waiting, { message: 'gone' });
});

// Peer

class Diary implements PeerHandler {
  readonly chunks: Buffer[] = [];
  pressure = 0;
  relief = 0;
  closes: (Error | undefined)[] = [];
  readonly closed: Promise<void>;
  #close: () => void = () => {};

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.chunks.push(Buffer.from(bytes.subarray(start, end)));
  }

  onPressure(): void {
    this.pressure++;
  }

  onRelief(): void {
    this.relief++;
  }

  onClose(error: Error | undefined): void {
    this.closes.push(error);
    this.#close();
  }
}

interface Pair {
  readonly peer: Peer;
  readonly diary: Diary;
  readonly other: net.Socket;
}

/** How a peer comes to be; in the second way where Node.js has not what the first needs. */
const sides = ['accepts', 'accepts a socket', 'dials'] as const;

/** A peer, and a plain socket at its other end. */
async function pair(t: Test, side: (typeof sides)[number]): Promise<Pair> {
  const server = net.createServer({ pauseOnConnect: side !== 'dials', allowHalfOpen: side === 'dials' });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const diary = new Diary();
  let made: Pair;
  if (side !== 'dials') {
    const incoming = new Promise<Accepted>((resolve) => {
      if (side === 'accepts') acceptFrom(server, resolve);
      else server.once('connection', (socket) => resolve(new Accepted(socket)));
    });
    const other = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const accepted = await incoming;
    t.same(accepted.address, { ip: '127.0.0.1', port: other.localPort });
    made = { peer: Peer.accept(accepted, diary), diary, other };
  } else {
    const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
    const peer = await new Promise<Peer>((resolve) => {
      const dialled: Peer = Peer.connect({ port, host: '127.0.0.1' }, diary, () => resolve(dialled));
    });
    made = { peer, diary, other: await accepted };
  }
  made.other.on('error', () => {});
  t.teardown(() => {
    made.peer.destroy();
    made.other.destroy();
    server.close();
  });
  return made;
}

async function until(isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error('it never came');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function collect(socket: net.Socket): () => Buffer {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks);
}

for (const side of sides) {
  t.test(`a peer that ${side} hears what is said and knows where it is`, async (t) => {
    const { peer, diary, other } = await pair(t, side);
    other.write('hello ');
    other.write('world');
    await until(() => diary.bytes.length === 11);
    t.equal(diary.bytes.toString(), 'hello world');
    t.equal(peer.bytesRead, 11);
    t.equal(peer.remoteAddress, '127.0.0.1');
    t.equal(peer.localPort, other.remotePort);
    t.equal(peer.tlsSocket, undefined);
  });

  t.test(`a peer that ${side} says things in their order, and what it was lent may change at once`, async (t) => {
    const { peer, other } = await pair(t, side);
    const heard = collect(other);
    const lent = Buffer.alloc(100);
    const expected: Buffer[] = [];
    for (let i = 0; i < 5_000; i++) {
      const length = i % 97;
      lent.fill(i % 251);
      if (i % 3 === 0) {
        expected.push(Buffer.from(lent.subarray(1, 1 + length)));
        peer.write(lent, 1, 1 + length);
      } else {
        const own = Buffer.alloc(length, i % 241);
        expected.push(own);
        peer.writeOwned(own);
      }
    }
    lent.fill(0);
    const long = Buffer.alloc(300_000, 'z');
    peer.write(long, 0, long.length);
    expected.push(Buffer.from(long));
    long.fill(0);
    const all = Buffer.concat(expected);
    await until(() => heard().length >= all.length);
    t.ok(heard().equals(all));
    t.equal(peer.unwrittenBytes, 0);
  });

  t.test(`a peer that ${side} says its last words, also to who has much left to say`, async (t) => {
    const { peer, diary, other } = await pair(t, side);
    other.write(Buffer.alloc(200_000));
    peer.writeOwned(Buffer.from('goodbye'));
    peer.end();
    peer.writeOwned(Buffer.from('never said'));
    const heard = collect(other);
    await new Promise((resolve) => other.once('end', resolve));
    t.equal(heard().toString(), 'goodbye');
    other.end();
    await diary.closed;
    t.ok(peer.closed);
    t.same(diary.closes, [undefined]);
    t.equal(diary.bytes.length, 0, 'nobody hears what comes after the goodbye');
  });

  t.test(`a peer that ${side} tells of its end once, with its cause`, async (t) => {
    const { peer, diary, other } = await pair(t, side);
    other.end();
    await diary.closed;
    t.same(diary.closes, [undefined]);
    peer.writeOwned(Buffer.from('x'));
    peer.end();
    peer.destroy();
    peer.resume();
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(diary.closes.length, 1);

    const broken = await pair(t, side);
    broken.other.resetAndDestroy();
    await broken.diary.closed;
    t.match(broken.diary.closes, [{ code: 'ECONNRESET' }]);
  });
}

t.test('a peer leaves at once, with all it has said', async (t) => {
  for (const side of sides) {
    const { peer, diary, other } = await pair(t, side);
    const heard = collect(other);
    const ended = new Promise((resolve) => other.once('end', resolve));
    peer.writeOwned(Buffer.from('goodbye'));
    peer.leave();
    peer.writeOwned(Buffer.from('too late'));
    await diary.closed;
    await ended;
    t.same([heard().toString(), diary.closes], ['goodbye', [undefined]], side);
  }
  const { peer, diary, other } = await pair(t, 'accepts');
  other.pause();
  const long = Buffer.alloc(8 * 1024 * 1024, 'x');
  peer.writeOwned(long);
  peer.leave();
  const heard = collect(other);
  other.resume();
  await diary.closed;
  await until(() => heard().length === long.length);
  t.ok(heard().equals(long), 'what the kernel does not take at once is written first');
});

t.test('an accepted connection nobody wants is closed', async (t) => {
  const server = net.createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  acceptFrom(server, (accepted) => accepted.destroy());
  const { port } = server.address() as net.AddressInfo;
  const other = net.connect({ port, host: '127.0.0.1' }).resume();
  other.on('error', () => {});
  await new Promise((resolve) => other.once('close', resolve));
  t.equal(other.bytesRead, 0);
});

t.test('who does not read puts pressure on, and relieves it when it has read all', async (t) => {
  const { peer, diary, other } = await pair(t, 'accepts');
  other.pause();
  const chunk = Buffer.alloc(64 * 1024, 'x');
  let written = 0;
  while (!peer.pressured && written < 64 * 1024 * 1024) {
    peer.write(chunk, 0, chunk.length);
    written += chunk.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(peer.pressured);
  t.ok(peer.unwrittenBytes > pressureBytes);
  t.same([diary.pressure, diary.relief], [1, 0]);
  const heard = collect(other);
  other.resume();
  await until(() => diary.relief === 1 && heard().length === written);
  t.notOk(peer.pressured);
  t.equal(diary.pressure, 1);
});

t.test('a paused peer is not read, and goes on where it was', async (t) => {
  const { peer, diary, other } = await pair(t, 'dials');
  peer.pause();
  other.write('later');
  await new Promise((resolve) => setTimeout(resolve, 50));
  const heardWhilePaused = diary.bytes.length;
  peer.resume();
  await until(() => diary.bytes.length === 5);
  t.equal(heardWhilePaused, 0);
});

t.test('peers share one buffer to read into, and none hears another', async (t) => {
  const pairs = await Promise.all(
    Array.from({ length: 20 }, (_, i) => pair(t, sides[i % sides.length] as (typeof sides)[number])),
  );
  const rounds = 30;
  for (let round = 0; round < rounds; round++)
    for (const [i, { other }] of pairs.entries()) other.write(Buffer.alloc(1_000 + i, i + 1));
  await until(() => pairs.every(({ diary }, i) => diary.bytes.length === rounds * (1_000 + i)));
  t.same(
    pairs.filter(({ diary }, i) => !diary.bytes.equals(Buffer.alloc(rounds * (1_000 + i), i + 1))),
    [],
  );
});

t.test(
  'large payloads arrive as they were, whatever becomes of the memory they were in and of other peers',
  async (t) => {
    const random = new Random(7);
    const pairs = await Promise.all(
      Array.from({ length: 12 }, (_, i) => pair(t, sides[i % sides.length] as (typeof sides)[number])),
    );
    const wanted = pairs.map(() => createHash('sha256'));
    const heard = pairs.map(({ other }) => {
      const hash = createHash('sha256');
      other.on('data', (bytes: Buffer) => hash.update(bytes));
      return hash;
    });
    /** These read nothing for most of the time, and what they have not read is there in the end. */
    const slow = pairs.slice(0, 4);
    for (const { other } of slow) other.pause();
    /** These are cut off while much waits to be written. */
    const cut = pairs.slice(4, 6);
    for (const { other } of cut) other.pause();
    const lent = Buffer.allocUnsafe(64 * 1024);
    for (let round = 0; round < 400; round++) {
      for (const [i, { peer }] of pairs.entries()) {
        if (peer.pressured) continue;
        for (let n = random.below(3); n >= 0; n--) {
          const length = random.oneIn(3) ? 1 + random.below(1_000) : 1 + random.below(64 * 1024);
          lent.fill(random.below(256), 0, length);
          lent.writeUInt8(i, length - 1);
          wanted[i]?.update(lent.subarray(0, length));
          peer.write(lent, 0, length);
          lent.fill(0xee, 0, length);
        }
      }
      if (round === 200) for (const { peer } of cut) peer.destroy();
      if (round % 100 === 99) for (const { other } of slow) other.resume();
      if (round % 100 === 10) for (const { other } of slow) other.pause();
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const { peer, other } of pairs) {
      other.resume();
      peer.end();
    }
    for (const { other } of pairs) other.end();
    await Promise.all(pairs.map(({ diary }) => diary.closed));
    await until(() => pairs.every(({ other }) => other.readableEnded || other.destroyed));
    for (const [i, hash] of heard.entries()) {
      if (i < 4 || i >= 6) t.equal(hash.digest('hex'), wanted[i]?.digest('hex'), `peer ${i}`);
    }
  },
);

t.test('a peer that sends without end has its share of each turn and no more', async (t) => {
  for (const side of ['accepts', 'dials'] as const) {
    const { peer, diary, other } = await pair(t, side);
    // All of it is there before anything is read.
    peer.pause();
    const total = 4 * 1024 * 1024;
    other.write(Buffer.alloc(total, 'x'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    let most = 0;
    let before = 0;
    const turn = (): void => {
      most = Math.max(most, peer.bytesRead - before);
      before = peer.bytesRead;
      if (before < total) setImmediate(turn);
    };
    setImmediate(turn);
    peer.resume();
    while (before < total) await new Promise((resolve) => setTimeout(resolve, 5));
    t.equal(diary.bytes.length, total, `${side}: everything comes`);
    t.ok(most <= 64 * 1024, `${side}: at most ${most} bytes a turn`);
    // Paused while it has to give way, it stays so.
    other.write(Buffer.alloc(total, 'y'));
    diary.onData = () => peer.pause();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const held = peer.bytesRead;
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.equal(peer.bytesRead, held);
  }
});
