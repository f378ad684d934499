// Where in a text the name of a relation begins and ends, with what belongs to it: `ONLY`, its schema, `*`.

import { ShapeScanner } from './shape-scanner.js';

export interface RelationSpan {
  readonly start: number;
  readonly end: number;
  /** `ONLY` stood before the name. */
  readonly only: boolean;
  /** `TABLE` stood before it, in the place of `SELECT * FROM`. */
  readonly table: boolean;
}

/** The tokens of one text, to look for names in. */
export class TokenMap {
  readonly #text: Buffer;
  /** Pairs of start and end. */
  readonly #positions: readonly number[];
  readonly #indexes = new Map<number, number>();

  private constructor(text: Buffer, positions: readonly number[]) {
    this.#text = text;
    this.#positions = positions;
    for (let i = 0; i < positions.length; i += 2) this.#indexes.set(positions[i] as number, i);
  }

  /** @returns undefined where the text cannot be scanned */
  static of(text: Buffer): TokenMap | undefined {
    const positions: number[] = [];
    if (!new ShapeScanner({ positions }).scan(text, 0, text.length, true)) return undefined;
    return new TokenMap(text, positions);
  }

  /** Where each begins and ends. */
  get tokens(): { readonly start: number; readonly end: number }[] {
    const tokens: { start: number; end: number }[] = [];
    for (let i = 0; i < this.#positions.length; i += 2) {
      tokens.push({ start: this.#positions[i] as number, end: this.#positions[i + 1] as number });
    }
    return tokens;
  }

  /** @param location of the first part of the name. @returns undefined where the name is not written plainly */
  relation(location: number): RelationSpan | undefined {
    const first = this.#indexes.get(location);
    if (first === undefined || /^[uU]&/.test(this.#text.toString('latin1', location, location + 2))) return undefined;
    let last = this.#endOfName(first);
    let before = first - 2;
    let only = false;
    if (this.#word(before) === 'only') {
      only = true;
      before -= 2;
    } else if (this.#word(before) === '(' && this.#word(before - 2) === 'only' && this.#word(last + 2) === ')') {
      only = true;
      before -= 4;
      last += 2;
    } else if (this.#word(last + 2) === '*') last += 2;
    const table = this.#word(before) === 'table';
    const start = this.#positions[table ? before : before + 2] as number;
    return { start, end: this.#positions[last + 1] as number, only, table };
  }

  /** Where the last of so many parts of a dotted name begins. */
  partOfName(location: number, part: number): number | undefined {
    const first = this.#indexes.get(location);
    return first === undefined ? undefined : this.#positions[first + 4 * part];
  }

  #endOfName(first: number): number {
    let last = first;
    while (this.#word(last + 2) === '.') last += 4;
    return last;
  }

  #word(index: number): string | undefined {
    const start = this.#positions[index];
    return start === undefined
      ? undefined
      : this.#text.toString('latin1', start, this.#positions[index + 1]).toLowerCase();
  }
}
