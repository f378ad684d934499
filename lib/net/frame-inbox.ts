// Collects whole messages during a login, where everything is short and nothing is hot.

import { PoolerError } from '../util/index.js';
import { headerBytes } from '../wire/index.js';

/** No message of a login is longer: PostgreSQL takes tokens of up to 65,535 bytes. */
export const loginFrameBytesMax = 65_535 + headerBytes;
/** Messages that may pile up: a login sends a few dozen. */
const framesMax = 1_000;

/** Bytes in, frames out, in order, as promises: login is the control plane. */
export class FrameInbox {
  #bytes: Buffer = Buffer.alloc(0);
  readonly #frames: Buffer[] = [];
  #waiting: { resolve(frame: Buffer): void; reject(error: Error): void } | undefined;
  #error: Error | undefined;

  push(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    while (this.#bytes.length >= headerBytes) {
      const total = this.#bytes.readUInt32BE(1) + 1;
      if (total < headerBytes || total > loginFrameBytesMax || this.#frames.length >= framesMax) {
        this.fail(
          new PoolerError('bad packet', {
            sqlstate: '08P01',
            detail: 'A message of the login is longer than it may be.',
          }),
        );
        return;
      }
      if (this.#bytes.length < total) return;
      const frame = this.#bytes.subarray(0, total);
      this.#bytes = this.#bytes.subarray(total);
      if (this.#waiting === undefined) this.#frames.push(frame);
      else {
        const { resolve } = this.#waiting;
        this.#waiting = undefined;
        resolve(frame);
      }
    }
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#waiting?.reject(this.#error);
    this.#waiting = undefined;
  }

  next(): Promise<Buffer> {
    const frame = this.#frames.shift();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.#error !== undefined) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Bytes behind the last frame taken, for whoever reads on. */
  rest(): Buffer {
    const rest = Buffer.concat([...this.#frames, this.#bytes]);
    this.#frames.length = 0;
    this.#bytes = Buffer.alloc(0);
    return rest;
  }
}
