// Random bytes for many small secrets, asked of the system for many at a time: a call for each would cost more than the login's own work.

import { randomFillSync } from 'node:crypto';

const poolBytes = 8_192;

export class RandomPool {
  readonly #bytes = Buffer.alloc(poolBytes);
  #used = poolBytes;

  /** Bytes that were never given out and never will be again. @param length at most 8 kB */
  next(length: number): Buffer {
    if (this.#used + length > poolBytes) {
      randomFillSync(this.#bytes);
      this.#used = 0;
    }
    const secret = Buffer.from(this.#bytes.subarray(this.#used, this.#used + length));
    this.#bytes.fill(0, this.#used, this.#used + length);
    this.#used += length;
    return secret;
  }
}
