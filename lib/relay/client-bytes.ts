// What the bytes of a client's messages tell without a parser.

import { Frontend, headerBytes, Target } from '../wire/index.js';

/** Longest text that is looked at for being a DISCARD ALL. */
const forgettingBytesMax = 40;
const forgetting = /^\s*(discard\s+all|deallocate\s+(prepare\s+)?all)\s*;?\s*$/i;

/** Whether a Query takes all statements with it; one that hides it in comments is noticed by its answer. */
export function forgetsStatements(bytes: Buffer, start: number, end: number): boolean {
  if (end - start > forgettingBytesMax) return false;
  const first = bytes[start] as number;
  if (first > 0x20 && first !== 0x44 && first !== 0x64) return false;
  return forgetting.test(bytes.toString('latin1', start, end - 1)); // cold: short texts that begin with a d
}

/** Where the message that begins at `at` ends; -1 if not before `end`. */
export function frameEnd(bytes: Buffer, at: number, end: number): number {
  if (end - at < headerBytes) return -1;
  const next = at + 1 + bytes.readUInt32BE(at + 1);
  return next > at + 4 && next <= end ? next : -1;
}

/** Whether a batch of one statement without parameters does nothing but run it to its end. */
export function runsOnce(bytes: Buffer, start: number, end: number): boolean {
  let runs = 0;
  for (let at = start; at < end; at = frameEnd(bytes, at, end)) {
    const body = at + headerBytes;
    if (bytes[at] === Frontend.Bind) {
      const values = bytes.indexOf(0, body + 1) + 1;
      if (bytes.readUInt32BE(values) !== 0) return false;
    } else if (bytes[at] === Frontend.Describe) {
      if (bytes[body] !== Target.Portal || bytes[body + 1] !== 0) return false;
    } else if (bytes[at] === Frontend.Execute) {
      if (bytes[body] !== 0) return false;
      runs++;
    }
  }
  return runs === 1;
}

/** A statement's name as a key; latin1, so that every byte counts. Where one is prepared or closed, not where it is used. */
export function nameOf(bytes: Buffer, start: number, end: number): string {
  if (start === end) return '';
  return bytes.toString('latin1', start, end); // cold: once per Parse or Close of a named statement
}

/** A name for people. */
export function printable(name: string): string {
  return Buffer.from(name, 'latin1').toString(); // cold: error texts
}
