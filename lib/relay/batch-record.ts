// What was sent of one batch, kept for the case that it has to be sent once more. Bounded: a longer batch is not kept.

const noBytes: Buffer = Buffer.alloc(0);
const recordBytesMax = 8 * 1024;

export class BatchRecord {
  /** Made when the first batch is recorded, and used for all of them. */
  #bytes: Buffer = noBytes;
  /** How much of it there is; -1 while nothing is recorded. */
  #length = -1;

  begin(): void {
    this.#length = 0;
    if (this.#bytes === noBytes) this.#bytes = Buffer.allocUnsafeSlow(recordBytesMax);
  }

  /** More of the batch, if one is recorded. */
  add(bytes: Buffer, start: number, end: number): void {
    if (this.#length < 0) return;
    if (this.#length + end - start > recordBytesMax) {
      this.#length = -1;
      return;
    }
    bytes.copy(this.#bytes, this.#length, start, end);
    this.#length += end - start;
  }

  /** Whether all that was sent since `begin` is here. */
  get complete(): boolean {
    return this.#length > 0;
  }

  /** A copy of the batch, which is not recorded any more. */
  take(): Buffer {
    const batch = Buffer.from(this.#bytes.subarray(0, this.#length));
    this.forget();
    return batch;
  }

  forget(): void {
    this.#length = -1;
  }
}
