// Cuts a byte stream into protocol frames: runs of uninteresting frames go on as one slice, interesting ones are shown first.

import { headerBytes } from './tags.js';

/** What the owner of a stream does with the frames of one tag. */
export const Action = {
  /** Part of a run: never shown. */
  Forward: 0,
  /** Shown by its header alone, as soon as that is here; its body may still be on the way. */
  Header: 1,
  /** Shown when all of it is here, in one piece; longer than the tag's hold limit, it is shown by its prefix. */
  Whole: 2,
  /** A tag that has no business in this stream. */
  Refuse: 3,
} as const;

/** What the owner answers to a frame it was shown. */
export const Verdict = {
  /** Stays in the stream. */
  Keep: 0,
  /** Stays in the stream, and `afterKept` is called once it has been emitted. */
  KeepThenCall: 1,
  /** Leaves the stream; what the owner wants in its place it has emitted itself. */
  Drop: 2,
  /** What was shown leaves the stream, the rest of the frame stays: the owner has emitted another beginning. */
  Replace: 4,
  /** Cannot be handled now: the stream stops before this frame until it is fed again. */
  Stop: 3,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** Bytes of a long frame that are collected before it is shown by its prefix: room for a Bind's two names. */
export const prefixBytes = 8192;

/** One table per direction: 256 actions and, for `Whole`, the longest frame (tag and length included) that is held. */
export interface FrameTable {
  readonly actions: Uint8Array;
  readonly holdBytesMax: Uint32Array;
}

export interface FrameRule {
  readonly tag: number;
  readonly action: number;
  readonly holdBytesMax?: number;
}

export function frameTable(rules: readonly FrameRule[]): FrameTable {
  const actions = new Uint8Array(256).fill(Action.Refuse);
  const holdBytesMax = new Uint32Array(256);
  for (const rule of rules) {
    actions[rule.tag] = rule.action;
    holdBytesMax[rule.tag] = rule.holdBytesMax ?? 0;
  }
  return { actions, holdBytesMax };
}

const noBytes: Buffer = Buffer.alloc(0);

/**
 * A stream of frames in one direction. The owner extends it and is shown frames through `onHeader`, `onWhole` and
 * `onLarge`; it receives what goes on through `emit`. Bytes given to `emit` are valid only during the call.
 *
 * Memory: at most one frame of its tag's hold limit, or `prefixBytes`, is kept between two feeds.
 */
export abstract class FrameStream {
  #table: FrameTable;
  /** Longest frame accepted at all. */
  readonly #frameBytesMax: number;

  /** Bytes of the frame being passed through that are still to come. */
  #remaining = 0;
  /** Whether those bytes leave the stream instead of being emitted. */
  #remainingDropped = false;
  /** Whether `afterKept` is owed once the frame being passed through has ended. */
  #callWhenDone = false;

  /** The beginning of a frame that did not end with its chunk. */
  #carry: Buffer = noBytes;
  #carryLength = 0;

  #stopped = false;

  /** The chunk being fed, and from where its bytes have not been emitted yet. */
  #chunk: Buffer = noBytes;
  #runStart = 0;
  #position = 0;
  /** Where the bytes of the chunk end. */
  #end = 0;

  constructor(table: FrameTable, frameBytesMax: number) {
    this.#table = table;
    this.#frameBytesMax = frameBytesMax;
  }

  /** A frame of action `Header`: `total` counts its tag and length too. */
  protected abstract onHeader(tag: number, total: number): Verdict;
  /** A frame of action `Whole`, from `start` to `end`, both inclusive of its header. */
  protected abstract onWhole(tag: number, bytes: Buffer, start: number, end: number): Verdict;
  /** A frame too long to hold: its first bytes. What follows is emitted (Keep) or dropped (Drop) as it arrives. */
  protected abstract onLarge(tag: number, total: number, bytes: Buffer, start: number, end: number): Verdict;
  /** Called once all of a frame answered with `KeepThenCall` has been emitted, or after `callAfterFrame`. */
  protected abstract afterKept(): void;
  /** A frame that may not be here: an unknown tag, or a length below 4 or above the limit. The stream is dead after it. */
  protected abstract onMalformed(tag: number, length: number): void;
  /** Bytes that go on. */
  protected abstract emit(bytes: Buffer, start: number, end: number): void;

  /** Changes the rules, from the next frame on. */
  protected useTable(table: FrameTable): void {
    this.#table = table;
  }

  /** Whether a frame has begun to pass and its end has not. */
  get midFrame(): boolean {
    return this.#remaining > 0;
  }

  /** Asks for one `afterKept` at the end of the frame that is passing: nothing may be emitted in its middle. */
  protected callAfterFrame(): void {
    this.#callWhenDone = true;
  }

  /** Whether the stream stopped before a frame that it keeps itself: it goes on when it is fed again, if with nothing. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Bytes kept of a frame that has not been shown. */
  get carriedBytes(): number {
    return this.#carryLength;
  }

  /** Emits what was kept so far, so that the owner can emit something of its own at this place. */
  protected emitBefore(): void {
    if (this.#position > this.#runStart) {
      const start = this.#runStart;
      this.#runStart = this.#position;
      this.emit(this.#chunk, start, this.#position);
    }
  }

  /** Whether nothing but one frame of that tag, without a body, has come behind the frame that is shown, which ends there. */
  protected isLastBefore(tag: number, end: number): boolean {
    return this.#end - end === headerBytes && this.#chunk[end] === tag;
  }

  /**
   * Takes bytes from the peer. Answers how many of them were taken: fewer than given only when the owner answered
   * `Stop` or the stream turned out malformed; the rest must be fed again after the cause is gone.
   */
  feed(bytes: Buffer, from: number, to: number): number {
    let position = from;
    if (this.#carryLength > 0) {
      position = this.#feedCarry(bytes, from, to);
      if (position < 0) return -1 - position - from;
    }
    this.#chunk = bytes;
    this.#end = to;
    this.#runStart = position;
    let { actions, holdBytesMax } = this.#table;

    while (position < to) {
      if (this.#remaining > 0) {
        const taken = Math.min(this.#remaining, to - position);
        this.#position = position;
        if (this.#remainingDropped) {
          this.emitBefore();
          position += taken;
          this.#runStart = position;
        } else {
          position += taken;
        }
        this.#remaining -= taken;
        if (this.#remaining === 0 && this.#callWhenDone) {
          this.#frameDone(position);
          ({ actions, holdBytesMax } = this.#table);
        }
        continue;
      }
      this.#position = position;
      if (to - position < headerBytes) break;
      const tag = bytes[position] as number;
      const length =
        (((bytes[position + 1] as number) << 24) |
          ((bytes[position + 2] as number) << 16) |
          ((bytes[position + 3] as number) << 8) |
          (bytes[position + 4] as number)) >>>
        0;
      const action = actions[tag] as number;
      const total = length + 1;
      if (action === Action.Forward && length >= 4 && total <= this.#frameBytesMax) {
        const end = position + total;
        if (end <= to) {
          position = end;
        } else {
          this.#remaining = end - to;
          this.#remainingDropped = false;
          position = to;
        }
        continue;
      }
      if (length < 4 || total > this.#frameBytesMax || action === Action.Refuse) {
        this.emitBefore();
        this.#forget();
        this.onMalformed(tag, length);
        return position - from;
      }

      let verdict: Verdict;
      let shown = position + total;
      if (action === Action.Header) {
        shown = position + headerBytes;
        verdict = this.onHeader(tag, total);
      } else if (total <= (holdBytesMax[tag] as number)) {
        if (shown > to) break;
        verdict = this.onWhole(tag, bytes, position, shown);
      } else {
        if (to - position < Math.min(total, prefixBytes)) break;
        shown = Math.min(shown, to);
        verdict = this.onLarge(tag, total, bytes, position, shown);
      }
      // What is allowed next may hang on what was just shown.
      ({ actions, holdBytesMax } = this.#table);
      if (verdict === Verdict.Stop) {
        this.emitBefore();
        this.#forget();
        return position - from;
      }
      const end = position + total;
      if (verdict === Verdict.Drop || verdict === Verdict.Replace) {
        this.emitBefore();
        position = verdict === Verdict.Replace ? shown : Math.min(end, to);
        this.#runStart = position;
        this.#remainingDropped = verdict === Verdict.Drop;
      } else {
        position = Math.min(end, to);
        this.#remainingDropped = false;
      }
      this.#remaining = end - position;
      if (verdict === Verdict.KeepThenCall) this.#callWhenDone = true;
      if (this.#callWhenDone && this.#remaining === 0) {
        this.#frameDone(position);
        ({ actions, holdBytesMax } = this.#table);
      }
    }

    if (this.#runStart < position) {
      this.#position = position;
      this.emitBefore();
    }
    if (position < to) this.#keep(bytes, position, to);
    this.#forget();
    return to - from;
  }

  #frameDone(position: number): void {
    this.#callWhenDone = false;
    this.#position = position;
    this.emitBefore();
    this.afterKept();
  }

  /** Drops the reference to the chunk, which belongs to the caller. */
  #forget(): void {
    this.#chunk = noBytes;
    this.#runStart = 0;
    this.#position = 0;
  }

  /** Begins a carry with the bytes of an unfinished frame. */
  #keep(bytes: Buffer, from: number, to: number): void {
    const length = to - from;
    if (this.#carry.length < length) this.#carry = Buffer.allocUnsafeSlow(Math.max(256, length));
    bytes.copy(this.#carry, 0, from, to);
    this.#carryLength = length;
  }

  /** How many bytes the carried frame must have before it can be shown. */
  #carryNeeds(): number {
    if (this.#carryLength < headerBytes) return headerBytes;
    const tag = this.#carry[0] as number;
    const length = this.#carry.readUInt32BE(1);
    const action = this.#table.actions[tag] as number;
    if (length < 4 || length + 1 > this.#frameBytesMax || action !== Action.Whole) return headerBytes;
    const total = length + 1;
    return total <= (this.#table.holdBytesMax[tag] as number) ? total : Math.min(total, prefixBytes);
  }

  /**
   * Completes the carried frame from the chunk and shows it. Answers the position in the chunk up to which bytes were
   * used, or `-1 - position` when the stream must stop there.
   */
  #feedCarry(bytes: Buffer, from: number, to: number): number {
    let position = from;
    let needs = this.#carryNeeds();
    while (this.#carryLength < needs) {
      const taken = Math.min(needs - this.#carryLength, to - position);
      if (taken === 0) return position;
      if (this.#carry.length < this.#carryLength + taken) {
        const grown = Buffer.allocUnsafeSlow(
          Math.min(needs, Math.max(this.#carry.length * 2, this.#carryLength + taken)),
        );
        this.#carry.copy(grown, 0, 0, this.#carryLength);
        this.#carry = grown;
      }
      bytes.copy(this.#carry, this.#carryLength, position, position + taken);
      this.#carryLength += taken;
      position += taken;
      needs = this.#carryNeeds();
    }

    // The carry is now a small chunk that holds one frame, or all of it that has to be seen.
    const carry = this.#carry;
    const length = this.#carryLength;
    this.#carryLength = 0;
    const taken = this.feed(carry, 0, length);
    this.#stopped = taken < length;
    if (taken < length) {
      // Stopped, or malformed: nothing of the frame was taken, so it stays carried.
      this.#carry = carry;
      this.#carryLength = length;
      return -1 - position;
    }
    if (this.#carry.length > prefixBytes) this.#carry = noBytes;
    return position;
  }
}
