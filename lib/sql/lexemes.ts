// Where the lexemes of PostgreSQL's scan.l end: comments, operators, quoted identifiers, digits. Offsets in, offsets out.

import { classDigit, classOf, classOperator, keepsTrailingSign } from './char-classes.js';

const dash = 45;

/** Behind the operator: before a comment, and before signs that PostgreSQL leaves to the next token. */
export function operatorEnd(source: Uint8Array, at: number, end: number): number {
  let i = at + 1;
  while (i < end && classOf[source[i]!] === classOperator) {
    const byte = source[i]!;
    if (i + 1 < end && ((byte === dash && source[i + 1] === dash) || (byte === 47 && source[i + 1] === 42))) break;
    i++;
  }
  if (i - at === 1 || !isSign(source[i - 1]!)) return i;
  for (let j = at; j < i - 1; j++) if (keepsTrailingSign[source[j]!] !== 0) return i;
  while (i - at > 1 && isSign(source[i - 1]!)) i--;
  return i;
}

function isSign(byte: number): boolean {
  return byte === 43 || byte === dash;
}

/** Behind the comment, which may hold others; -1 when it does not end. */
export function blockCommentEnd(source: Uint8Array, at: number, end: number): number {
  let i = at + 2;
  let depth = 1;
  while (i < end) {
    const byte = source[i]!;
    const next = i + 1 < end ? source[i + 1]! : 0;
    if (byte === 0) return -1;
    if (byte === 42 && next === 47) {
      i += 2;
      depth--;
      if (depth === 0) return i;
    } else if (byte === 47 && next === 42) {
      i += 2;
      depth++;
    } else {
      i++;
    }
  }
  return -1;
}

/** Behind the closing quote; -1 when there is none or nothing between the quotes. */
export function quotedIdentifierEnd(source: Uint8Array, at: number, end: number): number {
  let i = at + 1;
  while (i < end) {
    const byte = source[i++]!;
    if (byte === 0) return -1;
    if (byte !== 34) continue;
    if (i >= end || source[i] !== 34) return i - at === 2 ? -1 : i;
    i++;
  }
  return -1;
}

export function lineEnd(source: Uint8Array, from: number, end: number): number {
  let i = from;
  // At a NUL the scanner goes on and refuses it.
  while (i < end && source[i] !== 10 && source[i] !== 13 && source[i] !== 0) i++;
  return i;
}

export function digitsEnd(source: Uint8Array, from: number, end: number): number {
  let i = from;
  while (i < end) {
    if (source[i] === 95 && i > from && i + 1 < end && classOf[source[i + 1]!] === classDigit) i++;
    if (classOf[source[i]!] !== classDigit) break;
    i++;
  }
  return i;
}

export function digitOf(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const letter = byte | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : 99;
}
