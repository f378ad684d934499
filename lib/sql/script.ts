// Splits a script into its statements as psql sends them: one by one, without meta-commands and without the data of COPY.

export interface ScriptStatement {
  readonly text: string;
  /** Where it begins in the script, behind blanks and comments; the first line is 1. */
  readonly line: number;
}

/** One token; what stands for itself is the last alternative. Words come with the quote of an E'string' that begins with them. */
const token =
  /\s+|--[^\n]*|[eE]'[^'\\]*(?:(?:\\[\s\S]|'')[^'\\]*)*'|'[^']*'|"[^"]*"|\$((?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?)\$[\s\S]*?\$\1\$|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|\/\*|[\s\S]/gy;
const commentEdge = /\/\*|\*\//g;
/** Where the data of a COPY ends: on a line of its own, or with the script. */
const dataEnd = /^\\\.[ \t]*\r?$/m;

export function splitScript(script: string): ScriptStatement[] {
  return new Splitter(script).split();
}

class Splitter {
  readonly #script: string;
  readonly #statements: ScriptStatement[] = [];
  #at = 0;
  /** What is sent of the statement at hand: of meta-commands nothing. */
  #pieces: string[] = [];
  /** Where its first word begins; -1 before that. */
  #start = -1;
  #line = 1;
  /** The script up to there has been counted for `#line`. */
  #lineAt = 0;
  /** In lower case. */
  #words: string[] = [];
  #parentheses = 0;
  /** BEGIN ATOMIC and CASE within the body of a function. */
  #blocks = 0;

  constructor(script: string) {
    this.#script = script;
  }

  split(): ScriptStatement[] {
    while (this.#at < this.#script.length) this.#token();
    this.#end();
    return this.#statements;
  }

  #token(): void {
    const from = this.#at;
    token.lastIndex = from;
    const text = token.exec(this.#script)?.[0] ?? '';
    this.#at = token.lastIndex;
    if (text === '/*') {
      this.#at = this.#commentEnd();
      this.#take(from);
      return;
    }
    if (text === '\\') {
      this.#metaCommand(from);
      return;
    }
    if (text === ';' && this.#parentheses <= 0 && this.#blocks === 0) {
      this.#end();
      return;
    }
    if (text === '(') this.#parentheses++;
    if (text === ')') this.#parentheses--;
    if (!/^(\s|--)/.test(text)) {
      if (this.#start < 0) this.#start = from;
      if (/^[a-z_]\w*$/i.test(text)) this.#word(text.toLowerCase());
      else this.#words.push(text);
    }
    this.#take(from);
  }

  /** Blanks and comments before the first word are not the statement's own. */
  #take(from: number): void {
    if (this.#start >= 0) this.#pieces.push(this.#script.slice(from, this.#at));
  }

  /** Comments nest. */
  #commentEnd(): number {
    let depth = 1;
    commentEdge.lastIndex = this.#at;
    for (let edge = commentEdge.exec(this.#script); edge !== null; edge = commentEdge.exec(this.#script)) {
      depth += edge[0] === '/*' ? 1 : -1;
      if (depth === 0) return commentEdge.lastIndex;
    }
    return this.#script.length;
  }

  /** As psql tells the semicolons in a function's body from the one behind it. */
  #word(word: string): void {
    this.#words.push(word);
    if (!/^create (or replace )?(function|procedure)\b/.test(this.#words.slice(0, 4).join(' '))) return;
    if (word === 'begin' || (word === 'case' && this.#blocks > 0)) this.#blocks++;
    if (word === 'end' && this.#blocks > 0) this.#blocks--;
  }

  /** Up to the end of its line; `\g` and its like send what is before them, `\;` goes on. */
  #metaCommand(from: number): void {
    const end = this.#script.indexOf('\n', from);
    const line = this.#script.slice(from, end < 0 ? undefined : end);
    if (line.startsWith('\\;')) {
      this.#at = from + 2;
      this.#pieces.push(';');
      return;
    }
    this.#at = from + line.length;
    if (/^\\(g|gx|gset|gexec|gdesc|crosstabview|watch)\b/.test(line)) this.#end();
  }

  #end(): void {
    if (this.#start >= 0) {
      this.#countLines();
      this.#statements.push({ text: this.#pieces.join('').trim(), line: this.#line });
    }
    const words = this.#words;
    this.#pieces = [];
    this.#start = -1;
    this.#words = [];
    this.#parentheses = 0;
    this.#blocks = 0;
    const source = words.indexOf('from');
    if (words[0] === 'copy' && source > 0 && words[source + 1] === 'stdin') this.#skipData();
  }

  #skipData(): void {
    const rest = this.#script.slice(this.#at);
    const end = dataEnd.exec(rest);
    this.#at = end === null ? this.#script.length : this.#at + end.index + end[0].length;
  }

  #countLines(): void {
    for (let at = this.#lineAt; at < this.#start; at++) if (this.#script.charCodeAt(at) === 0x0a) this.#line++;
    this.#lineAt = this.#start;
  }
}
