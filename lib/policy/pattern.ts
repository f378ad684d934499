// Patterns with `*` for one text or for a dotted name, compared without regular expressions, in one pass over the text.

import type { ProblemDetails } from '../config/index.js';
import type { Parsed } from './parsed.js';

/** Where `*` stands for any characters, also none. Upper and lower case differ. */
export class TextPattern {
  /** What stands between the stars. */
  readonly #pieces: readonly string[];

  private constructor(pieces: readonly string[]) {
    this.#pieces = pieces;
  }

  static of(text: string): TextPattern {
    return new TextPattern(text.split('*'));
  }

  /** Stars in it are stars. */
  static exactly(text: string): TextPattern {
    return new TextPattern([text]);
  }

  /** With its stars. */
  get text(): string {
    return this.#pieces.join('*');
  }

  /** The only text it matches; undefined where there are others. */
  get exact(): string | undefined {
    return this.#pieces.length === 1 ? this.#pieces[0] : undefined;
  }

  matches(text: string): boolean {
    const pieces = this.#pieces;
    const first = pieces[0]!;
    if (pieces.length === 1) return text === first;
    const last = pieces.at(-1)!;
    const end = text.length - last.length;
    if (end < first.length || !text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    // The leftmost place of each piece leaves the most room for the next.
    for (let index = 1; index < pieces.length - 1; index++) {
      const piece = pieces[index]!;
      const found = text.indexOf(piece, at);
      if (found < 0 || found + piece.length > end) return false;
      at = found + piece.length;
    }
    return true;
  }
}

/** PostgreSQL cuts longer names. */
export const nameBytesMax = 63;

/** The parts of a name, quoted or not, with the dot before each but the first. */
const part = /(\.?)(?:"((?:[^"]|"")*)"|([\w$*\u0080-\uffff]*))/y;

/** A pattern of the name of a table, column or function as PostgreSQL knows it: `*.orders`, `public."Odd.Name"`. */
export class Pattern {
  /** As written. */
  readonly text: string;
  readonly #parts: readonly TextPattern[];

  private constructor(text: string, parts: readonly TextPattern[]) {
    this.text = text;
    this.#parts = parts;
  }

  /** @param names what the parts are, such as `schema` and `table`: there are exactly as many */
  static parse(text: string, names: readonly string[]): Parsed<Pattern> {
    const parts: TextPattern[] = [];
    part.lastIndex = 0;
    while (part.lastIndex < text.length) {
      const start = part.lastIndex;
      const [whole, dot, quoted, bare] = part.exec(text)!;
      if (whole === '' || (dot === '') !== (start === 0)) return notAName;
      if (quoted === '' || bare === '')
        return { ok: false, message: 'a part of the name is empty', details: starForAny };
      const name = quoted?.replaceAll('""', '"') ?? lowerCase(bare!);
      if (Buffer.byteLength(name.replaceAll('*', '')) > nameBytesMax)
        return { ok: false, message: `names in PostgreSQL have at most ${nameBytesMax} bytes` };
      parts.push(quoted === undefined ? TextPattern.of(name) : TextPattern.exactly(name));
    }
    if (parts.length === names.length) return { ok: true, value: new Pattern(text, parts) };
    return { ok: false, ...wrongLength(parts.length, names) };
  }

  /** @param names all parts, or as many of the first as are known */
  matches(names: readonly string[]): boolean {
    return names.every((name, index) => this.#parts[index]?.matches(name) === true);
  }

  /** Whether the part of this number matches, whatever the others. */
  matchesPart(index: number, name: string): boolean {
    return this.#parts[index]?.matches(name) === true;
  }

  /** The part of this number with its stars. */
  partText(index: number): string {
    return this.#parts[index]?.text ?? '';
  }

  /** The part of this number, where it has no star. */
  exactPart(index: number): string | undefined {
    return this.#parts[index]?.exact;
  }
}

const starForAny = { allowed: '`*` for any' };
const notAName = {
  ok: false,
  message: 'not a name',
  details: { allowed: 'letters, digits, `_`, `$` and `*`; anything else in double quotes' },
} as const;

/** As PostgreSQL does with names that are not quoted: other letters stay as they are. */
function lowerCase(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Never with the text itself: it may come from the environment. */
function wrongLength(count: number, names: readonly string[]): { message: string; details: ProblemDetails } {
  const form = names.join('.');
  if (count !== names.length - 1)
    return { message: `${form} has ${names.length} parts, this has ${count}`, details: { allowed: form } };
  const rest = names.slice(1).join('.').toUpperCase();
  return { message: 'names no schema', details: { allowed: `public.${rest}, or *.${rest}` } };
}
