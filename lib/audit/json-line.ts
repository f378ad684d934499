// A growing buffer in which lines of JSON are written byte by byte, from whatever bytes a client may have sent.

const quote = 0x22;
const backslash = 0x5c;
const hexDigits = Buffer.from('0123456789abcdef', 'latin1');
/** What stands behind the backslash of characters that have a short escape, by character code. */
const shortEscapes = new Uint8Array(256);
for (const [code, letter] of [
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
  [quote, '"'],
  [backslash, '\\'],
] as const) {
  shortEscapes[code] = letter.charCodeAt(0);
}
/** Bytes of a text that are written at a time. */
const pieceBytes = 16 * 1024;
/** Most bytes one byte of text can become: `\u00xx`. */
const escapedBytesMax = 6;

export class JsonLine {
  bytes: Buffer;
  length = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  /** Makes room for so many bytes more. */
  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.length + count, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  /** JSON that is complete as it stands, in ASCII. */
  ascii(text: string): void {
    const { length } = text;
    this.reserve(length);
    const { bytes, length: to } = this;
    // Texts are short: a call of Buffer's own would take longer than all of them.
    for (let at = 0; at < length; at++) bytes[to + at] = text.charCodeAt(at);
    this.length = to + length;
  }

  /** The same in bytes. */
  raw(source: Uint8Array): void {
    this.reserve(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /** What another one has. */
  line(other: JsonLine): void {
    this.reserve(other.length);
    this.bytes.set(other.bytes.subarray(0, other.length), this.length);
    this.length += other.length;
  }

  /** A whole number that is not negative. */
  integer(value: number): void {
    this.reserve(20);
    let digits = 1;
    for (let power = 10; power <= value; power *= 10) digits++;
    let rest = value;
    for (let at = this.length + digits - 1; at >= this.length; at--) {
      const next = Math.floor(rest / 10);
      this.bytes[at] = 0x30 + (rest - next * 10);
      rest = next;
    }
    this.length += digits;
  }

  /** A string in quotes. */
  string(text: string): void {
    const bytes = Buffer.from(text, 'utf8');
    this.text(bytes, 0, bytes.length);
  }

  /** The same of bytes as a latin1 string. */
  latin1(text: string): void {
    const bytes = Buffer.from(text, 'latin1');
    this.text(bytes, 0, bytes.length);
  }

  /**
   * Bytes as a string in quotes. They are taken for UTF-8; a byte that cannot be part of it for a character of Latin-1, so that
   * nothing is lost and the line is always JSON.
   */
  text(source: Uint8Array, start: number, end: number): void {
    this.ascii('"');
    for (let at = start; at < end; ) at = this.#piece(source, at, end);
    this.ascii('"');
  }

  /** Part of a text: the whole of a long one would take six times its memory. @returns where the next begins */
  #piece(source: Uint8Array, start: number, end: number): number {
    // A character may begin with the last byte.
    this.reserve((Math.min(end - start, pieceBytes) + 4) * escapedBytesMax);
    const target = this.bytes;
    let to = this.length;
    let at = start;
    for (const stop = Math.min(end, start + pieceBytes); at < stop; ) {
      const byte = source[at] as number;
      if (byte >= 0x80) {
        const size = sequenceLength(source, at, end);
        if (size === 0) {
          target[to++] = 0xc0 | (byte >> 6);
          target[to++] = 0x80 | (byte & 0x3f);
          at++;
        } else {
          for (const next = at + size; at < next; at++) target[to++] = source[at] as number;
        }
        continue;
      }
      at++;
      const escaped = shortEscapes[byte] as number;
      if (escaped !== 0) {
        target[to++] = backslash;
        target[to++] = escaped;
      } else if (byte >= 0x20 && byte !== 0x7f) {
        target[to++] = byte;
      } else {
        target[to++] = backslash;
        target[to++] = 0x75;
        target[to++] = 0x30;
        target[to++] = 0x30;
        target[to++] = hexDigits[byte >> 4] as number;
        target[to++] = hexDigits[byte & 15] as number;
      }
    }
    this.length = to;
    return at;
  }

  /** Bytes in hexadecimal, as a string in quotes that begins with `\x`, as PostgreSQL writes bytea. */
  hex(source: Uint8Array, start: number, end: number): void {
    this.ascii('"\\\\x');
    this.reserve(2 * (end - start) + 1);
    for (let at = start; at < end; at++) {
      const byte = source[at] as number;
      this.bytes[this.length++] = hexDigits[byte >> 4] as number;
      this.bytes[this.length++] = hexDigits[byte & 15] as number;
    }
    this.bytes[this.length++] = quote;
  }

  /** What has been written, in memory of its own. */
  copy(): Buffer {
    const made = Buffer.allocUnsafe(this.length);
    this.bytes.copy(made, 0, 0, this.length);
    return made;
  }
}

/** Writes members of an object that is open, each behind its comma; those that are undefined are left out. */
export function writeMembers(line: JsonLine, members: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(members)) {
    if (value === undefined) continue;
    line.ascii(`,"${name}":`);
    line.string(value);
  }
}

/** Bytes of the UTF-8 character that begins at `at` with a byte above 0x7f; 0 where there is none (RFC 3629). */
function sequenceLength(source: Uint8Array, at: number, end: number): number {
  const first = source[at] as number;
  const size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (size === 0 || at + size > end) return 0;
  const second = source[at + 1] as number;
  const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 0;
  for (let i = 2; i < size; i++) if (((source[at + i] as number) & 0xc0) !== 0x80) return 0;
  return size;
}
