// Reads a pgbouncer.ini and the files it includes, in PgBouncer's own dialect.

import { parseConnectionString } from './connection-string.js';
import { nearest, type Place, type Problem, problemAt, shown } from './problems.js';
import { includeDepthMax, includedFilesMax, type RawEntry, type RawSection, type Reading } from './raw.js';

const sections = ['pgbouncer', 'databases', 'users'];

/** Reads an included file, named as in the directive; null after reporting why it could not. */
export type ReadIncluded = (path: string, place: Place) => string | null;

export function readIni(file: string, ini: string, readIncluded: ReadIncluded, problems: Problem[]): Reading {
  const reader = new IniReader(readIncluded, problems);
  reader.readFile(file, ini, 0);
  return reader.finish(file);
}

class IniReader {
  readonly #readIncluded: ReadIncluded;
  readonly #problems: Problem[];
  readonly #weir = new Map<string, RawEntry>();
  readonly #databases = new Map<string, RawSection>();
  readonly #users = new Map<string, RawSection>();
  /** Carried into and out of included files; null before the first section and after an unknown one. */
  #section: string | null = null;
  #sectionSeen = false;
  #included = 0;

  constructor(readIncluded: ReadIncluded, problems: Problem[]) {
    this.#readIncluded = readIncluded;
    this.#problems = problems;
  }

  finish(file: string): Reading {
    const weir = { place: { file, line: null }, entries: this.#weir };
    const raw = { file, dialect: 'ini' as const, weir, databases: this.#databases, users: this.#users, policy: null };
    return { raw, problems: this.#problems };
  }

  readFile(file: string, ini: string, depth: number): void {
    let line = 0;
    for (const written of ini.split('\n')) {
      line++;
      this.#readLine(written.trim(), { file, line }, depth);
    }
  }

  #readLine(line: string, place: Place, depth: number): void {
    // PgBouncer lets a section and a key share a line.
    let text = line;
    while (text.startsWith('[')) text = this.#readSection(text, place);
    if (text === '' || text.startsWith(';') || text.startsWith('#')) return;
    if (/^%include\s/.test(text)) this.#include(text.slice('%include'.length).trim(), place, depth);
    else this.#readKey(text, place);
  }

  /** Answers the rest of the line. */
  #readSection(text: string, place: Place): string {
    const end = text.indexOf(']');
    if (end < 0) {
      this.#problem(place, '', 'a section without its closing `]`');
      return '';
    }
    const name = text.slice(1, end);
    this.#sectionSeen = true;
    this.#section = sections.includes(name) ? name : null;
    if (this.#section === null) this.#refuseSection(name, place);
    return text.slice(end + 1).trim();
  }

  #refuseSection(name: string, place: Place): void {
    if (name === 'peers') {
      this.#problem(place, 'peers', 'peering is not supported yet');
      return;
    }
    if (name === 'policy') {
      this.#problem(place, 'policy', 'a policy is written in TOML, in a file of its own that `policy_file` names');
      return;
    }
    const near = name === 'weir' ? 'pgbouncer' : nearest(name, sections);
    const allowed = sections.map((section) => `[${section}]`).join(', ');
    this.#problem(place, name, 'unknown section', { received: shown(name), allowed, nearest: near });
  }

  #include(name: string, place: Place, depth: number): void {
    if (depth >= includeDepthMax) {
      this.#problem(place, '%include', `files include each other more than ${includeDepthMax} deep`);
      return;
    }
    if (++this.#included > includedFilesMax) {
      this.#problem(place, '%include', `more than ${includedFilesMax} files included`);
      return;
    }
    const ini = this.#readIncluded(name, place);
    if (ini !== null) this.readFile(name, ini, depth + 1);
  }

  #readKey(text: string, place: Place): void {
    const match = /^(?:"([^"]*(?:""[^"]*)*)"|([A-Za-z0-9_.*-]+))[ \t]*=[ \t]*(.*)$/s.exec(text);
    if (match === null) {
      this.#problem(place, '', 'neither a comment, a [section], %include nor `key = value`');
      return;
    }
    const key = match[1] === undefined ? match[2]! : match[1].replaceAll('""', '"');
    if (!this.#sectionSeen) {
      this.#problem(place, key, 'a setting before the first section');
      return;
    }
    const value = match[3]!;
    // The last of several lines with one key wins, also over several sections and files.
    if (this.#section === 'pgbouncer') this.#weir.set(key, { value, written: value, place });
    if (this.#section === 'databases') this.#readPairs(this.#databases, 'databases', key, value, place);
    if (this.#section === 'users') this.#readPairs(this.#users, 'users', key, value, place);
  }

  #readPairs(into: Map<string, RawSection>, section: string, name: string, text: string, place: Place): void {
    const parsed = parseConnectionString(text);
    if (!parsed.ok) {
      this.#problem(place, `${section}.${name}`, parsed.message);
      return;
    }
    const entries = new Map<string, RawEntry>();
    for (const [key, value] of parsed.pairs) entries.set(key, { value, written: value, place });
    into.set(name, { place, entries });
  }

  #problem(place: Place, key: string, message: string, details: Parameters<typeof problemAt>[3] = {}): void {
    this.#problems.push(problemAt(place, key, message, details));
  }
}
