// A FrameStream whose owner follows a script, and the plain reckoning of what must come out of it whatever the chunks.

import {
  Action,
  FrameStream,
  type FrameTable,
  frameTable,
  headerBytes,
  prefixBytes,
  Verdict,
} from '../../lib/wire/index.js';

/** What the owner does with one frame it is shown. */
export interface Step {
  readonly tag: string;
  readonly body: Buffer;
  readonly verdict: 'keep' | 'call' | 'drop' | 'replace';
  /** How often the stream is stopped before the frame is taken. */
  readonly stops: number;
  /** Changes the table from the next frame on: when it is shown, or in the call after it. */
  readonly switches: 'no' | 'shown' | 'after';
}

export const holdBytes = { w: 64, W: 20_000 } as const;
export const frameBytesMax = 100_000;
/** What an owner emits in place of what left the stream. */
export const marker = Buffer.from('<owner>');
/** With `replace`, so many bytes of the frame's beginning are not said again: fewer than any prefix has. */
export const replacedBytes = headerBytes;

const rules = [
  { tag: 0x77, action: Action.Whole, holdBytesMax: holdBytes.w },
  { tag: 0x57, action: Action.Whole, holdBytesMax: holdBytes.W },
];
const tables: readonly FrameTable[] = [
  frameTable([...rules, { tag: 0x61, action: Action.Forward }, { tag: 0x68, action: Action.Header }]),
  frameTable([...rules, { tag: 0x61, action: Action.Header }, { tag: 0x68, action: Action.Forward }]),
];

export function frame(tag: string, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body);
  const whole = Buffer.alloc(headerBytes + bytes.length);
  whole.write(tag, 0, 'latin1');
  whole.writeUInt32BE(4 + bytes.length, 1);
  bytes.copy(whole, headerBytes);
  return whole;
}

/** What is seen of a stream: nothing of it may hang on how the bytes were cut. */
export interface Outcome {
  readonly shown: string[];
  readonly emitted: string;
  /** Bytes emitted when `afterKept` was called. */
  readonly calls: number[];
  readonly malformed: string[];
}

function shownText(how: string, tag: number, total: number): string {
  return `${how} ${String.fromCharCode(tag)} ${total}`;
}

export class RecordingStream extends FrameStream {
  readonly #steps: readonly Step[];
  #index = 0;
  #stops = 0;
  #table = 0;
  #switchAfter = false;
  readonly #emitted: Buffer[] = [];
  #emittedBytes = 0;
  readonly shown: string[] = [];
  readonly calls: number[] = [];
  readonly malformed: string[] = [];
  carriedBytesMax = 0;

  constructor(steps: readonly Step[]) {
    super(tables[0] as FrameTable, frameBytesMax);
    this.#steps = steps;
  }

  get outcome(): Outcome {
    const { shown, calls, malformed } = this;
    return { shown, emitted: Buffer.concat(this.#emitted).toString('latin1'), calls, malformed };
  }

  get emittedBytes(): number {
    return this.#emittedBytes;
  }

  askForCall(): void {
    this.callAfterFrame();
  }

  /** Feeds everything in these chunks, again what a Stop left over, until the stream is dead or all was taken. */
  feedAll(chunks: readonly Buffer[]): void {
    let held: Buffer = Buffer.alloc(0);
    for (const chunk of chunks) {
      held = Buffer.concat([held, chunk]);
      for (;;) {
        const stopsBefore = this.#stops;
        const taken = this.feed(held, 0, held.length);
        this.carriedBytesMax = Math.max(this.carriedBytesMax, this.carriedBytes);
        if (this.malformed.length > 0) return;
        held = held.subarray(taken);
        if (this.#stops === stopsBefore) break;
      }
    }
  }

  /** Of the frames that are shown, in order. */
  #step(): Step {
    const current = this.#steps[this.#index];
    if (current === undefined) throw new Error('more frames are shown than the script has');
    return current;
  }

  #answer(bytes: Buffer | undefined, start: number, end: number): Verdict {
    const step = this.#step();
    if (this.#stops % 8 < step.stops) {
      this.#stops++;
      return Verdict.Stop;
    }
    this.#stops += 8 - (this.#stops % 8);
    this.#index++;
    if (step.switches === 'shown') this.#switch();
    switch (step.verdict) {
      case 'keep':
        return Verdict.Keep;
      case 'call':
        this.#switchAfter = step.switches === 'after';
        return Verdict.KeepThenCall;
      case 'drop':
        this.emitBefore();
        this.#own(marker);
        return Verdict.Drop;
      case 'replace':
        this.emitBefore();
        this.#own(marker);
        if (bytes !== undefined) this.#own(bytes.subarray(start + replacedBytes, end));
        return Verdict.Replace;
      default:
        return step.verdict satisfies never;
    }
  }

  #switch(): void {
    this.#table = 1 - this.#table;
    this.useTable(tables[this.#table] as FrameTable);
  }

  #own(bytes: Buffer): void {
    this.#emitted.push(Buffer.from(bytes));
    this.#emittedBytes += bytes.length;
  }

  protected onHeader(tag: number, total: number): Verdict {
    this.shown.push(shownText('header', tag, total));
    return this.#answer(undefined, 0, 0);
  }

  protected onWhole(tag: number, bytes: Buffer, start: number, end: number): Verdict {
    this.shown.push(`${shownText('whole', tag, end - start)} ${bytes.toString('latin1', start, end)}`);
    return this.#answer(bytes, start, end);
  }

  protected onLarge(tag: number, total: number, bytes: Buffer, start: number, end: number): Verdict {
    const enough = end - start >= Math.min(total, prefixBytes) && end - start <= total;
    this.shown.push(
      `${shownText(enough ? 'large' : 'too little of', tag, total)} ${bytes.toString('latin1', start, start + 64)}`,
    );
    return this.#answer(bytes, start, end);
  }

  protected afterKept(): void {
    this.calls.push(this.#emittedBytes);
    if (this.#switchAfter) {
      this.#switchAfter = false;
      this.#switch();
    }
  }

  protected onMalformed(tag: number, length: number): void {
    this.malformed.push(`${tag} ${length}`);
  }

  protected emit(bytes: Buffer, start: number, end: number): void {
    if (end <= start) throw new Error('nothing is emitted');
    this.#own(bytes.subarray(start, end));
  }
}

/** The frames that are shown and the whole outcome, reckoned frame by frame. */
export function reckon(frames: readonly Step[]): { steps: Step[]; outcome: Outcome; bytes: Buffer } {
  let table = 0;
  const steps: Step[] = [];
  const shown: string[] = [];
  const calls: number[] = [];
  const emitted: Buffer[] = [];
  let emittedBytes = 0;
  const emit = (bytes: Buffer): void => {
    emitted.push(bytes);
    emittedBytes += bytes.length;
  };
  for (const step of frames) {
    const bytes = frame(step.tag, step.body);
    const tag = step.tag.charCodeAt(0);
    const action = (tables[table] as FrameTable).actions[tag];
    if (action === Action.Forward) {
      emit(bytes);
      continue;
    }
    steps.push(step);
    const hold = (tables[table] as FrameTable).holdBytesMax[tag] as number;
    const text =
      action === Action.Header
        ? shownText('header', tag, bytes.length)
        : bytes.length <= hold
          ? `${shownText('whole', tag, bytes.length)} ${bytes.toString('latin1')}`
          : `${shownText('large', tag, bytes.length)} ${bytes.toString('latin1', 0, 64)}`;
    for (let i = 0; i <= step.stops; i++) shown.push(text);
    switch (step.verdict) {
      case 'keep':
      case 'call':
        emit(bytes);
        break;
      case 'drop':
        emit(marker);
        break;
      case 'replace':
        emit(marker);
        emit(bytes.subarray(replacedBytes));
        break;
      default:
        step.verdict satisfies never;
    }
    if (step.verdict === 'call') calls.push(emittedBytes);
    if (step.switches === 'shown' || (step.switches === 'after' && step.verdict === 'call')) table = 1 - table;
  }
  return {
    steps,
    outcome: { shown, emitted: Buffer.concat(emitted).toString('latin1'), calls, malformed: [] },
    bytes: Buffer.concat(frames.map((step) => frame(step.tag, step.body))),
  };
}
