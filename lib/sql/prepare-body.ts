// Finds where the statement inside `PREPARE name (types) AS statement` begins.

import { ShapeScanner } from './shape-scanner.js';

/** @returns a byte offset into `text`, -1 when there is none */
export function prepareBodyStart(text: Uint8Array, statementStart: number): number {
  const positions: number[] = [];
  if (!new ShapeScanner({ positions }).scan(text, statementStart, text.length, true)) return -1;
  let depth = 0;
  for (let i = 0; i + 2 < positions.length; i += 2) {
    const start = positions[i]!;
    const byte = text[start]!;
    if (byte === 40) depth++;
    else if (byte === 41) depth--;
    // AS is reserved, so a bare AS outside the list of types is the one that introduces the statement.
    else if (depth === 0 && positions[i + 1] === start + 2 && (byte | 32) === 97 && (text[start + 1]! | 32) === 115) {
      return positions[i + 2]!;
    }
  }
  return -1;
}
