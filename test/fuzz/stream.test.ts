// Any cut of any stream of frames gives the same frames shown, the same bytes emitted and the same calls, within bounded memory.

import fc from 'fast-check';
import t from 'tap';
import { prefixBytes } from '../../lib/wire/index.js';
import { frame, frameBytesMax, holdBytes, RecordingStream, reckon, type Step } from '../support/recording-stream.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 3_000);
const settings = { seed, numRuns: steps };

const bodyLengths = fc.oneof(
  { weight: 8, arbitrary: fc.nat(20) },
  { weight: 3, arbitrary: fc.integer({ min: holdBytes.w - 8, max: holdBytes.w + 8 }) },
  { weight: 1, arbitrary: fc.integer({ min: prefixBytes - 8, max: prefixBytes + 8 }) },
  { weight: 1, arbitrary: fc.integer({ min: holdBytes.W - 8, max: holdBytes.W + 8 }) },
  { weight: 1, arbitrary: fc.integer({ min: frameBytesMax - 10, max: frameBytesMax - 5 }) },
);

const step: fc.Arbitrary<Step> = fc.record({
  tag: fc.constantFrom('a', 'h', 'w', 'W'),
  body: fc.tuple(bodyLengths, fc.nat(255)).map(([length, fill]) => Buffer.alloc(length, fill)),
  verdict: fc.constantFrom('keep', 'call', 'drop', 'replace'),
  stops: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 3 }) }),
  switches: fc.oneof(
    { weight: 4, arbitrary: fc.constant('no' as const) },
    { weight: 1, arbitrary: fc.constantFrom('shown', 'after') },
  ),
});

/** Lengths of chunks. */
const cuts = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 50_000 })),
  { minLength: 1, maxLength: 12 },
);

/** Chunks of these lengths, used in turn. */
function cutUp(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    // Small lengths would cut a long frame into thousands.
    const length = Math.max(lengths[i % lengths.length] as number, i > 2_000 ? 4_096 : 1);
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return chunks;
}

t.test(`any cut gives the same outcome (SEED=${seed} STEPS=${steps})`, async (t) => {
  t.plan(1);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), cuts, (frames, lengths) => {
      const expected = reckon(frames);
      const stream = new RecordingStream(expected.steps);
      stream.feedAll(cutUp(expected.bytes, lengths));
      const { outcome } = stream;
      if (outcome.emitted !== expected.outcome.emitted) throw new Error('other bytes were emitted');
      if (outcome.shown.join('\n') !== expected.outcome.shown.join('\n')) throw new Error('other frames were shown');
      if (outcome.calls.join() !== expected.outcome.calls.join()) throw new Error('afterKept came elsewhere');
      if (stream.midFrame || stream.carriedBytes > 0) throw new Error('a whole stream leaves something behind');
      return stream.carriedBytesMax <= Math.max(prefixBytes, holdBytes.W);
    }),
    settings,
  );
  t.pass('for every run');
});

t.test('a call asked for in the middle of a frame comes at its end, once', async (t) => {
  t.plan(2);
  let asked = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), cuts, (frames, lengths) => {
      const quiet = frames.map((each) => ({ ...each, stops: 0, switches: 'no' as const }));
      const expected = reckon(quiet);
      const boundaries = new Set(quiet.map((_, i) => reckon(quiet.slice(0, i + 1)).outcome.emitted.length));
      const stream = new RecordingStream(expected.steps);
      for (const chunk of cutUp(expected.bytes, lengths)) {
        stream.feed(chunk, 0, chunk.length);
        if (stream.midFrame) {
          stream.askForCall();
          stream.askForCall();
          asked++;
        }
      }
      if (stream.outcome.emitted !== expected.outcome.emitted) throw new Error('other bytes were emitted');
      const { calls } = stream;
      if (calls.some((place) => !boundaries.has(place))) throw new Error('a call in the middle of a frame');
      if (calls.some((place, i) => i > 0 && place < (calls[i - 1] as number))) throw new Error('calls out of order');
      return calls.length <= quiet.length;
    }),
    settings,
  );
  t.pass('for every run');
  t.ok(asked > steps / 10, 'and it was asked often');
});

t.test('a frame that may not be here is found at the same place in any cut, and nothing of it goes on', async (t) => {
  t.plan(1);
  const bad = fc.constantFrom(
    Buffer.from([0x61, 0, 0, 0, 3]),
    Buffer.from([0x77, 0, 0, 0, 0]),
    Buffer.from([0x57, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0x68, 0, 1, 0x86, 0xa0]),
    Buffer.from([0x21, 0, 0, 0, 4]),
    Buffer.from([0x00, 0x80, 0, 0, 0]),
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 8 }),
      bad,
      fc.array(step, { maxLength: 2 }),
      cuts,
      (frames, wrong, more, lengths) => {
        const expected = reckon(frames);
        const stream = new RecordingStream(expected.steps);
        const rest = Buffer.concat(more.map((each) => frame(each.tag, each.body)));
        stream.feedAll(cutUp(Buffer.concat([expected.bytes, wrong, rest]), lengths));
        if (stream.outcome.emitted !== expected.outcome.emitted) throw new Error('other bytes were emitted');
        return stream.malformed.join() === `${wrong[0]} ${wrong.readUInt32BE(1)}`;
      },
    ),
    settings,
  );
  t.pass('for every run');
});
