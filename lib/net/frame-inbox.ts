// Collects whole messages during a login, where everything is short and nothing is hot.

import { PoolerError } from '../util/index.js';
import { headerBytes } from '../wire/index.js';

/** No message of a login is longer: PostgreSQL takes tokens of up to 65,535 bytes. */
export const loginFrameBytesMax = 65_535 + headerBytes;
/** How much may pile up: a login sends a few dozen messages. */
export interface InboxLimits {
  readonly frameBytesMax: number;
  readonly framesMax: number;
}
const loginLimits: InboxLimits = { frameBytesMax: loginFrameBytesMax, framesMax: 1_000 };

/** Bytes in, frames out, in order, as promises: login is the control plane. */
export class FrameInbox {
  /** Bytes without a frame of their own yet: the first `#length` of them are filled. */
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;
  readonly #frames: Buffer[] = [];
  #waiting: { resolve(frame: Buffer): void; reject(error: Error): void } | undefined;
  #error: Error | undefined;
  /** What the frame that is waited for may begin with. */
  #tags: ReadonlySet<number> | undefined;
  readonly #limits: InboxLimits;

  constructor(limits = loginLimits) {
    this.#limits = limits;
  }

  /** Takes a copy. After a failure nothing is taken any more. */
  push(bytes: Buffer): void {
    if (this.#error !== undefined) return;
    this.#append(bytes);
    const { frameBytesMax, framesMax } = this.#limits;
    if (this.#isOutOfPlace()) return;
    let start = 0;
    while (this.#length - start >= headerBytes) {
      const total = this.#bytes.readUInt32BE(start + 1) + 1;
      if (total < headerBytes || total > frameBytesMax || this.#frames.length >= framesMax) {
        this.fail(
          new PoolerError('bad packet', {
            sqlstate: '08P01',
            detail: 'A message of the login is longer than it may be.',
          }),
        );
        return;
      }
      if (this.#length - start < total) break;
      this.#take(Buffer.from(this.#bytes.subarray(start, start + total)));
      start += total;
    }
    this.#bytes.copyWithin(0, start, this.#length);
    this.#length -= start;
  }

  /** What is no answer is not waited for to its end, wherever it says that this is. */
  #isOutOfPlace(): boolean {
    const first = this.#length > 0 ? this.#bytes[0] : undefined;
    if (this.#waiting === undefined || first === undefined || this.#tags?.has(first) !== false) return false;
    this.fail(
      new PoolerError('bad packet', { sqlstate: '08P01', detail: `Message type ${first} was not expected here.` }),
    );
    return true;
  }

  #append(bytes: Buffer): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(length, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    bytes.copy(this.#bytes, this.#length);
    this.#length = length;
  }

  #take(frame: Buffer): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#frames.push(frame);
    else waiting.resolve(frame);
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#waiting?.reject(this.#error);
    this.#waiting = undefined;
  }

  /** @param tags which the frame may have; any, where none are given */
  next(tags?: ReadonlySet<number>): Promise<Buffer> {
    const frame = this.#frames.shift();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.#error !== undefined) return Promise.reject(this.#error);
    this.#tags = tags;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#isOutOfPlace();
    });
  }

  /** Bytes behind the last frame taken, for whoever reads on. */
  rest(): Buffer {
    const rest = Buffer.concat([...this.#frames, this.#bytes.subarray(0, this.#length)]);
    this.#frames.length = 0;
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
    return rest;
  }
}
