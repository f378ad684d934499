// The `[policy]` table as the file has it, before lib/policy reads it: values, and where each of them stands.

import { isDeepStrictEqual } from 'node:util';
import type { Place } from './problems.js';
import { type KeyLines, lineOf } from './toml-lines.js';

export type RawTable = Readonly<Record<string, unknown>>;

/** Its values are private fields, which nothing prints: `mask_key` may be written into the file. */
export class RawPolicy {
  readonly file: string;
  readonly #table: RawTable;
  readonly #lines: KeyLines;

  /** @param lines by the path from the top of the file, which begins with `policy` */
  constructor(file: string, table: RawTable, lines: KeyLines) {
    this.file = file;
    this.#table = table;
    this.#lines = lines;
  }

  /** As written: `${ENV}` is not replaced yet. */
  get table(): RawTable {
    return this.#table;
  }

  /** @param path keys below `policy`; an element of an array is its number */
  place(path: readonly string[]): Place {
    return { file: this.file, line: lineOf(this.#lines, ['policy', ...path]) };
  }

  /** It says the same, wherever it stands. */
  equals(other: RawPolicy): boolean {
    return isDeepStrictEqual(this.#table, other.#table);
  }
}
