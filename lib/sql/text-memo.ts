// The quickest way to known facts: the same literal-free text again, byte for byte, by a table indexed by its length.

import type { StatementFacts } from './facts.js';
import { memoBytesMax, memoSlots } from './limits.js';

interface MemoSlot {
  readonly bytes: Uint8Array;
  length: number;
  facts: StatementFacts | undefined;
}

/** Only for texts without literals: those mean the same whatever standard_conforming_strings is. */
export class TextMemo {
  readonly #slots: MemoSlot[] = Array.from({ length: memoSlots }, () => ({
    bytes: new Uint8Array(memoBytesMax),
    length: -1,
    facts: undefined,
  }));

  find(bytes: Uint8Array, start: number, end: number): StatementFacts | undefined {
    const length = end - start;
    const slot = this.#slots[length % memoSlots]!;
    if (slot.length !== length) return undefined;
    const kept = slot.bytes;
    // From the end: texts that begin alike are common.
    for (let i = length - 1, j = end - 1; i >= 0; i--, j--) if (kept[i] !== bytes[j]) return undefined;
    return slot.facts;
  }

  keep(bytes: Uint8Array, start: number, end: number, facts: StatementFacts): void {
    const length = end - start;
    if (length > memoBytesMax) return;
    const slot = this.#slots[length % memoSlots]!;
    slot.length = length;
    slot.facts = facts;
    for (let i = 0; i < length; i++) slot.bytes[i] = bytes[start + i]!;
  }
}
