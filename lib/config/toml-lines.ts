// Finds the line of every key in a TOML document that is known to parse, because the parser does not tell.

/** Lines by path; the parts of a path are joined with a zero byte, which no TOML key can hold. */
export type KeyLines = ReadonlyMap<string, number>;

export function pathKey(path: readonly string[]): string {
  return path.join('\0');
}

/** The line of the longest known beginning of `path`; null when not even its first part is known. */
export function lineOf(lines: KeyLines, path: readonly string[]): number | null {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(pathKey(path.slice(0, length)));
    if (line !== undefined) return line;
  }
  return null;
}

export function findKeyLines(toml: string): KeyLines {
  const lines = new Map<string, number>();
  const scanner = new Scanner(toml);
  let table: readonly string[] = [];
  while (scanner.nextStatement()) {
    const line = scanner.line;
    const isTable = scanner.skip('[');
    if (isTable) scanner.skip('[');
    const path = isTable ? scanner.path() : [...table, ...scanner.path()];
    for (let length = 1; length <= path.length; length++) {
      const known = pathKey(path.slice(0, length));
      if (!lines.has(known)) lines.set(known, line);
    }
    if (isTable) table = path;
    scanner.skipRestOfStatement();
  }
  return lines;
}

class Scanner {
  readonly #text: string;
  #at = 0;
  line = 1;

  constructor(toml: string) {
    this.#text = toml;
  }

  /** Moves to the first character of the next key or table header. */
  nextStatement(): boolean {
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) return false;
      if (char === '#') this.#skipComment();
      else if (char === ' ' || char === '\t' || char === '\r' || char === '\n') this.#step();
      else return true;
    }
  }

  skip(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  /** The parts of a dotted key, bare or quoted. */
  path(): string[] {
    const parts: string[] = [];
    for (;;) {
      this.#skipBlanks();
      parts.push(this.#part());
      this.#skipBlanks();
      if (!this.skip('.')) return parts;
    }
  }

  /** To the end of the line, or further while a bracket or a multi-line string is open. */
  skipRestOfStatement(): void {
    let depth = 0;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || (char === '\n' && depth === 0)) return;
      if (char === '#') this.#skipComment();
      else if (char === '"' || char === "'") this.#skipString(char);
      else {
        // The bracket that closes a table header is not counted below zero.
        if (char === '[' || char === '{') depth++;
        if (char === ']' || char === '}') depth = Math.max(0, depth - 1);
        this.#step();
      }
    }
  }

  #part(): string {
    const quote = this.#text[this.#at];
    if (quote === '"' || quote === "'") {
      const start = this.#at;
      this.#skipString(quote);
      return unquote(this.#text.slice(start, this.#at));
    }
    const start = this.#at;
    while (/[A-Za-z0-9_-]/.test(this.#text[this.#at] ?? '')) this.#at++;
    return this.#text.slice(start, this.#at);
  }

  #skipString(quote: string): void {
    const long = quote.repeat(3);
    const end = this.#text.startsWith(long, this.#at) ? long : quote;
    this.#at += end.length;
    while (this.#at < this.#text.length && !this.#text.startsWith(end, this.#at)) {
      if (quote === '"' && this.#text[this.#at] === '\\') this.#step();
      this.#step();
    }
    this.#at += end.length;
    // A long string may end in up to two quotes of its own.
    if (end.length === 3) while (this.#text[this.#at] === quote) this.#at++;
  }

  #skipBlanks(): void {
    while (this.#text[this.#at] === ' ' || this.#text[this.#at] === '\t') this.#at++;
  }

  #skipComment(): void {
    const end = this.#text.indexOf('\n', this.#at);
    this.#at = end < 0 ? this.#text.length : end;
  }

  #step(): void {
    if (this.#text[this.#at] === '\n') this.line++;
    this.#at++;
  }
}

/** Escapes in keys are JSON's, save for \U and \e, which then only cost the line number. */
function unquote(quoted: string): string {
  if (quoted.startsWith("'")) return quoted.slice(1, -1);
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted.slice(1, -1);
  }
}
