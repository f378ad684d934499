// What a record says of the parameters of a Bind: nothing, how long they are, or their values.

import type { JsonLine } from './json-line.js';

export type ParameterForm = 'none' | 'redacted' | 'full';

/** Bytes of one parameter, and of all of a Bind, that are written down. */
const valueBytesMax = 4 * 1024;
const valuesBytesMax = 32 * 1024;

/**
 * Writes them as an array: values in text format as strings, binary ones in hexadecimal, NULL as null; redacted only the length of
 * each. A value that is too long, or has not come yet, is its length in an object.
 * @param from behind the statement's name in a Bind @param end of what is here of it
 */
export function writeParameters(line: JsonLine, form: ParameterForm, bytes: Buffer, from: number, end: number): void {
  line.ascii('[');
  let room = valuesBytesMax;
  if (from + 2 <= end) {
    const formats = bytes.readUInt16BE(from);
    let at = from + 2 + 2 * formats;
    const count = at + 2 <= end ? bytes.readUInt16BE(at) : 0;
    at += 2;
    for (let index = 0; index < count && at + 4 <= end; index++) {
      if (index > 0) line.ascii(',');
      const length = bytes.readInt32BE(at);
      at += 4;
      if (length < 0) {
        line.ascii('null');
        continue;
      }
      const next = at + length;
      if (form === 'redacted') line.integer(length);
      else if (next > end || length > Math.min(valueBytesMax, room)) line.ascii(`{"bytes":${length}}`);
      else if (isBinary(bytes, from, formats, index)) line.hex(bytes, at, next);
      else line.text(bytes, at, next);
      if (next <= end) room -= length;
      at = next;
    }
  }
  line.ascii(']');
}

function isBinary(bytes: Buffer, from: number, formats: number, index: number): boolean {
  if (formats === 0) return false;
  return bytes.readUInt16BE(from + 2 + (formats === 1 ? 0 : 2 * Math.min(index, formats - 1))) === 1;
}
