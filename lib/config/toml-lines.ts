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

/** Those of one section and of what is in it. */
export function linesOf(lines: KeyLines, section: string): KeyLines {
  const inside = pathKey([section, '']);
  return new Map([...lines].filter(([key]) => key === section || key.startsWith(inside)));
}

/** The elements of an array have their number, from 0, as their part of the path. */
export function findKeyLines(toml: string): KeyLines {
  const finder = new KeyLineFinder(toml);
  finder.readStatements();
  return finder.lines;
}

class KeyLineFinder {
  readonly lines = new Map<string, number>();
  readonly #scanner: Scanner;
  /** How many elements each `[[array]]` has so far. */
  readonly #lengths = new Map<string, number>();

  constructor(toml: string) {
    this.#scanner = new Scanner(toml);
  }

  readStatements(): void {
    const scanner = this.#scanner;
    let table: readonly string[] = [];
    while (scanner.skipSpace()) {
      if (scanner.skip('[')) {
        const isElement = scanner.skip('[');
        table = this.#tablePath(scanner.path(), isElement);
        this.#note(table);
      } else this.#readPair(table, null);
      scanner.skipRestOfLine();
    }
  }

  /** A header means the last element so far of every array it goes through, and `[[name]]` begins one. */
  #tablePath(written: readonly string[], isElement: boolean): readonly string[] {
    const path: string[] = [];
    for (const [index, part] of written.entries()) {
      path.push(part);
      const key = pathKey(path);
      const length = this.#lengths.get(key);
      if (isElement && index === written.length - 1) {
        this.#lengths.set(key, (length ?? 0) + 1);
        path.push(String(length ?? 0));
      } else if (length !== undefined) path.push(String(length - 1));
    }
    return path;
  }

  /** @param outerLine where the inline table begins; null outside one */
  #readPair(table: readonly string[], outerLine: number | null): void {
    const path = [...table, ...this.#scanner.path()];
    const { line } = this.#scanner;
    // Where the line is that of what is around it, the beginning of the path tells it already.
    if (line !== outerLine) this.#note(path);
    this.#scanner.skip('=');
    this.#scanner.skipSpace();
    this.#readValue(path, line);
  }

  /** The parser has bounded how deep values go. */
  #readValue(path: readonly string[], line: number): void {
    if (this.#scanner.skip('[')) this.#readArray(path, line);
    else if (this.#scanner.skip('{')) this.#readInlineTable(path, line);
    else this.#scanner.skipScalar();
  }

  #readArray(path: readonly string[], line: number): void {
    for (let index = 0; this.#scanner.skipSpace() && !this.#scanner.skip(']'); index++) {
      const element = [...path, String(index)];
      const elementLine = this.#scanner.line;
      if (elementLine !== line) this.#note(element);
      this.#readValue(element, elementLine);
      this.#scanner.skipSpace();
      this.#scanner.skip(',');
    }
  }

  #readInlineTable(path: readonly string[], line: number): void {
    while (this.#scanner.skipSpace() && !this.#scanner.skip('}')) {
      this.#readPair(path, line);
      this.#scanner.skipSpace();
      this.#scanner.skip(',');
    }
  }

  #note(path: readonly string[]): void {
    for (let length = 1; length <= path.length; length++) {
      const known = pathKey(path.slice(0, length));
      if (!this.lines.has(known)) this.lines.set(known, this.#scanner.line);
    }
  }
}

class Scanner {
  readonly #text: string;
  #at = 0;
  line = 1;

  constructor(toml: string) {
    this.#text = toml;
  }

  /** Over blanks, line breaks and comments; false at the end of the text. */
  skipSpace(): boolean {
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) return false;
      if (char === '#') this.skipRestOfLine();
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

  /** A text, or whatever ends before the next comma, bracket, comment or line break; at least one character. */
  skipScalar(): void {
    const char = this.#text[this.#at];
    if (char === '"' || char === "'") this.#skipString(char);
    else {
      do this.#step();
      while (!/[,\]}#\n]/.test(this.#text[this.#at] ?? '\n'));
    }
  }

  skipRestOfLine(): void {
    const end = this.#text.indexOf('\n', this.#at);
    this.#at = end < 0 ? this.#text.length : end;
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
