// The parameters of a Bind as numbers, in whatever format they come, and the same message with others in their place.

interface Slot {
  /** Where its length stands. */
  readonly start: number;
  /** Behind its value. */
  readonly end: number;
  readonly isBinary: boolean;
}

/** Of a message that is all here. */
export class BindParameters {
  readonly #bytes: Buffer;
  readonly #slots: readonly Slot[];

  private constructor(bytes: Buffer, slots: readonly Slot[]) {
    this.#bytes = bytes;
    this.#slots = slots;
  }

  /** @param bytes of a Bind behind the statement's name; undefined where they are not all here, or make no sense */
  static read(bytes: Buffer): BindParameters | undefined {
    if (bytes.length < 2) return undefined;
    const formats = bytes.readUInt16BE(0);
    let at = 2 + 2 * formats;
    if (at + 2 > bytes.length) return undefined;
    const count = bytes.readUInt16BE(at);
    at += 2;
    const slots: Slot[] = [];
    for (let i = 0; i < count; i++) {
      if (at + 4 > bytes.length) return undefined;
      const end = at + 4 + Math.max(0, bytes.readInt32BE(at));
      if (end > bytes.length) return undefined;
      const formatAt = formats === 1 ? 0 : i;
      slots.push({ start: at, end, isBinary: formatAt < formats && bytes.readUInt16BE(2 + 2 * formatAt) === 1 });
      at = end;
    }
    return new BindParameters(bytes, slots);
  }

  /** @param number from 1; undefined where it is no integer */
  integer(number: number): number | undefined {
    const slot = this.#slots[number - 1];
    if (slot === undefined) return undefined;
    const value = this.#bytes.subarray(slot.start + 4, slot.end);
    if (slot.isBinary && value.length === 4) return value.readInt32BE(0);
    if (slot.isBinary && value.length === 8 && value[0] === 0) return Number(value.readBigInt64BE(0));
    const text = value.toString('latin1');
    return /^\s*\+?[0-9]{1,15}\s*$/.test(text) ? Number(text) : undefined;
  }

  /** The bytes with these integers in the place of those that were there, each in its own format. */
  with(integers: ReadonlyMap<number, number>): Buffer {
    const parts: Buffer[] = [];
    let from = 0;
    for (const [index, { start, end, isBinary }] of this.#slots.entries()) {
      const integer = integers.get(index + 1);
      if (integer === undefined) continue;
      const value = written(integer, this.#bytes.subarray(start + 4, end), isBinary);
      const length = Buffer.alloc(4);
      length.writeInt32BE(value.length);
      parts.push(this.#bytes.subarray(from, start), length, value);
      from = end;
    }
    parts.push(this.#bytes.subarray(from));
    return Buffer.concat(parts);
  }
}

function written(integer: number, before: Buffer, isBinary: boolean): Buffer {
  const value = Buffer.alloc(before.length);
  if (isBinary && before.length === 4) value.writeInt32BE(integer);
  else if (isBinary && before.length === 8 && before[0] === 0) value.writeBigInt64BE(BigInt(integer));
  // In binary a text is what it is in text.
  else return Buffer.from(String(integer));
  return value;
}
