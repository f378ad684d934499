// One rich stream cut at every byte, limits at their edges, memory while long frames pass, and streams that are no streams.

import t from 'tap';
import { Action, FrameStream, frameTable, headerBytes, prefixBytes, Verdict } from '../../../lib/wire/index.js';
import {
  frame,
  frameBytesMax,
  holdBytes,
  marker,
  RecordingStream,
  reckon,
  type Step,
} from '../../support/recording-stream.js';

function step(tag: string, length: number, more: Partial<Step> = {}): Step {
  return { tag, body: Buffer.alloc(length, tag), verdict: 'keep', stops: 0, switches: 'no', ...more };
}

const rich: readonly Step[] = [
  step('a', 0),
  step('a', 3),
  step('h', 7, { verdict: 'call' }),
  step('w', 9),
  step('w', 9, { verdict: 'replace' }),
  step('h', 4, { verdict: 'replace', stops: 1 }),
  step('h', 0, { verdict: 'drop' }),
  step('a', 11),
  step('w', 80, { verdict: 'drop' }),
  step('w', 100, { verdict: 'call', stops: 2 }),
  step('h', 5, { switches: 'shown' }),
  step('a', 6, { verdict: 'drop', stops: 1 }),
  step('w', 1, { verdict: 'call', switches: 'after' }),
  step('W', 40, { verdict: 'replace' }),
  step('h', 0, { verdict: 'call', stops: 1 }),
  step('w', 0),
];

t.test('a rich stream gives the same outcome cut in two at any byte, in three, and byte by byte', async (t) => {
  const { steps, bytes, outcome } = reckon(rich);
  const differing: string[] = [];
  const check = (name: string, chunks: Buffer[]): void => {
    const stream = new RecordingStream(steps);
    stream.feedAll(chunks);
    if (JSON.stringify(stream.outcome) !== JSON.stringify(outcome)) differing.push(name);
    if (stream.midFrame || stream.carriedBytes !== 0) differing.push(`${name} leaves something`);
  };
  for (let i = 0; i <= bytes.length; i++) {
    check(`cut at ${i}`, [bytes.subarray(0, i), bytes.subarray(i)]);
    for (const j of [i + 1, i + 5, i + 64]) {
      check(`cut at ${i} and ${j}`, [bytes.subarray(0, i), bytes.subarray(i, j), bytes.subarray(j)]);
    }
  }
  check(
    'byte by byte',
    [...bytes].map((byte) => Buffer.from([byte])),
  );
  t.same(differing, []);
  t.equal(outcome.calls.length, rich.filter((each) => each.verdict === 'call').length, 'every call was reckoned');
  t.ok(outcome.emitted.split(marker.toString()).length > 4, 'the owner said something of its own');
});

t.test('a chunk is not kept: its bytes may change after the call', async (t) => {
  const { steps, bytes, outcome } = reckon(rich);
  const stream = new RecordingStream(steps);
  const scratch = Buffer.alloc(7);
  let held: Buffer = Buffer.alloc(0);
  for (let at = 0; at < bytes.length || held.length > 0; ) {
    const length = Math.max(0, Math.min(7 - held.length, bytes.length - at));
    held.copy(scratch, 0);
    bytes.copy(scratch, held.length, at, at + length);
    at += length;
    const given = held.length + length;
    const taken = stream.feed(scratch, 0, given);
    held = Buffer.from(scratch.subarray(taken, given));
    scratch.fill(0xff);
  }
  stream.feed(scratch, 0, 0);
  t.same(stream.outcome, outcome);
});

t.test('a frame is held up to its limit and shown by its prefix beyond it', async (t) => {
  for (const [tag, limit] of Object.entries(holdBytes)) {
    for (const total of [limit, limit + 1]) {
      const { steps, bytes, outcome } = reckon([step(tag, total - headerBytes)]);
      const stream = new RecordingStream(steps);
      stream.feed(bytes, 0, bytes.length - 1);
      const whole = total <= limit;
      t.equal(stream.shown.length, whole ? 0 : total > prefixBytes ? 1 : 0, `${tag} ${total} before its last byte`);
      stream.feed(bytes, bytes.length - 1, bytes.length);
      t.same(stream.outcome, outcome, `${tag} ${total}`);
      t.match(stream.shown[0], whole ? /^whole/ : /^large/);
    }
  }
});

t.test('the longest frame passes, one byte more is malformed', async (t) => {
  const good = new RecordingStream([]);
  const bytes = frame('a', Buffer.alloc(frameBytesMax - headerBytes));
  t.equal(good.feed(bytes, 0, bytes.length), bytes.length);
  t.equal(good.emittedBytes, frameBytesMax);
  for (const tag of ['a', 'h', 'w', 'W']) {
    const bad = new RecordingStream([]);
    const header = frame(tag, Buffer.alloc(frameBytesMax - headerBytes + 1)).subarray(0, headerBytes);
    bad.feed(header, 0, header.length);
    t.same(bad.malformed, [`${tag.charCodeAt(0)} ${frameBytesMax}`]);
    t.equal(bad.emittedBytes, 0);
  }
});

t.test('lengths below four are malformed in every state and at every cut', async (t) => {
  const before = reckon([step('w', 4), step('a', 2)]);
  const outcomes = new Set<string>();
  let runs = 0;
  for (const tag of ['a', 'h', 'w', 'W', '?']) {
    for (const length of tag === '?' ? [4, 100] : [0, 1, 2, 3, 0x8000_0000, 0xffff_ffff]) {
      const bad = Buffer.from(`${tag}....behind`, 'latin1');
      bad.writeUInt32BE(length, 1);
      const bytes = Buffer.concat([before.bytes, bad]);
      for (let i = 0; i <= bytes.length; i++) {
        const stream = new RecordingStream(before.steps);
        stream.feedAll([bytes.subarray(0, i), bytes.subarray(i)]);
        if (stream.malformed.join() !== `${tag.charCodeAt(0)} ${length}`) outcomes.add(`${tag} ${length} at ${i}`);
        if (stream.outcome.emitted !== before.outcome.emitted) outcomes.add(`${tag} ${length} at ${i} emitted`);
        runs++;
      }
    }
  }
  t.same([...outcomes], []);
  t.ok(runs > 500);
});

/** Emits nothing to memory: for frames longer than a test wants to hold. */
class CountingStream extends FrameStream {
  bytes = 0;
  shown = 0;
  calls = 0;
  verdict: Verdict = Verdict.Keep;
  protected onHeader(): Verdict {
    this.shown++;
    return this.verdict;
  }
  protected onWhole(): Verdict {
    this.shown++;
    return this.verdict;
  }
  protected onLarge(): Verdict {
    this.shown++;
    return this.verdict;
  }
  protected afterKept(): void {
    this.calls++;
  }
  protected onMalformed(): void {
    throw new Error('malformed');
  }
  protected emit(_bytes: Buffer, start: number, end: number): void {
    this.bytes += end - start;
  }
}

t.test('a frame of two gigabytes passes with nothing kept of it', async (t) => {
  const total = 0x7fff_ffff;
  const table = frameTable([
    { tag: 0x61, action: Action.Forward },
    { tag: 0x68, action: Action.Header },
    { tag: 0x77, action: Action.Whole, holdBytesMax: 1_000_000 },
  ]);
  const chunk = Buffer.alloc(1024 * 1024);
  for (const [tag, verdict, emitted] of [
    ['a', Verdict.Keep, total],
    ['h', Verdict.KeepThenCall, total],
    ['h', Verdict.Drop, 0],
    ['w', Verdict.KeepThenCall, total],
    ['w', Verdict.Drop, 0],
  ] as const) {
    const stream = new CountingStream(table, total);
    stream.verdict = verdict;
    const header = Buffer.alloc(headerBytes);
    header.write(tag, 'latin1');
    header.writeUInt32BE(total - 1, 1);
    stream.feed(header, 0, headerBytes);
    let carried = stream.carriedBytes;
    for (let sent = headerBytes; sent < total; sent += chunk.length) {
      stream.feed(chunk, 0, Math.min(chunk.length, total - sent));
      carried = Math.max(carried, stream.carriedBytes);
    }
    t.equal(stream.bytes, emitted, `${tag} ${verdict}`);
    t.ok(carried <= headerBytes, `${carried} bytes were carried`);
    t.equal(stream.calls, verdict === Verdict.KeepThenCall ? 1 : 0);
    t.equal(stream.shown, tag === 'a' ? 0 : 1);
    t.notOk(stream.midFrame);
  }
});

t.test('of a long frame that trickles in, no more than the prefix is kept', async (t) => {
  const { steps, bytes, outcome } = reckon([step('W', 50_000, { verdict: 'replace' }), step('a', 1)]);
  const stream = new RecordingStream(steps);
  let most = 0;
  for (let at = 0; at < bytes.length; at += 10) {
    stream.feed(bytes, at, Math.min(at + 10, bytes.length));
    most = Math.max(most, stream.carriedBytes);
  }
  t.ok(most > prefixBytes - 10 && most < prefixBytes, `${most} bytes were kept`);
  t.same(stream.outcome, outcome);
});
