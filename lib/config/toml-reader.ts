// Reads a weir.toml: sections [weir], [databases.NAME] and [users.NAME], with ${ENV} in texts replaced, and [policy] as it is.

import { parse, TomlError } from 'smol-toml';
import { type Environment, expandEnvironment } from './env.js';
import { nearest, type Outcome, type Place, type Problem, problemAt, shown } from './problems.js';
import type { RawConfig, RawEntry, RawSection, Reading } from './raw.js';
import { RawPolicy, type RawTable } from './raw-policy.js';
import { findKeyLines, type KeyLines, lineOf, linesOf } from './toml-lines.js';

const sections = ['weir', 'databases', 'users', 'policy'];

export function readToml(file: string, toml: string, env: Environment): Reading {
  const parsed = parseToml(file, toml);
  if (!parsed.ok) return { raw: emptyToml(file), problems: [parsed.problem] };
  return new TomlReader(file, findKeyLines(toml), env).read(parsed.value);
}

export interface PolicyReading {
  readonly policy: RawPolicy | null;
  readonly problems: readonly Problem[];
}

/**
 * Reads the file that `policy_file` names: there is nothing in it but `[policy]`.
 * @param others keys of the file that somebody else reads
 */
export function readPolicyFile(file: string, toml: string, others: readonly string[] = []): PolicyReading {
  const parsed = parseToml(file, toml);
  if (!parsed.ok) return { policy: null, problems: [parsed.problem] };
  const lines = findKeyLines(toml);
  const allowed = '[policy], [policy.roles.NAME], [[policy.rules]], [[policy.masks]]';
  const strangers = Object.keys(parsed.value).filter((name) => name !== 'policy' && !others.includes(name));
  const problems = strangers.map((name) =>
    problemAt({ file, line: lineOf(lines, [name]) }, name, 'does not belong in a policy file', { allowed }),
  );
  const table = own(parsed.value, 'policy');
  if (isTable(table)) return { policy: new RawPolicy(file, table, linesOf(lines, 'policy')), problems };
  const place = { file, line: lineOf(lines, ['policy']) };
  return { policy: null, problems: [...problems, problemAt(place, 'policy', 'there is no such table', { allowed })] };
}

function parseToml(file: string, toml: string): Outcome<RawTable> {
  try {
    return { ok: true, value: parse(toml, { maxDepth: 8 }) };
  } catch (error) {
    return { ok: false, problem: syntaxProblem(file, error) };
  }
}

/** Only the parser's first line: the rest quotes the file, which may hold a password. */
function syntaxProblem(file: string, error: unknown): Problem {
  const line = error instanceof TomlError ? error.line : null;
  const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
  return problemAt({ file, line }, '', message.replace(/^Invalid TOML document: /, 'invalid TOML: '));
}

function emptyToml(file: string): RawConfig {
  const nothing: RawSection = { place: { file, line: null }, entries: new Map() };
  return { file, dialect: 'toml', weir: nothing, databases: new Map(), users: new Map(), policy: null };
}

class TomlReader {
  readonly #file: string;
  readonly #lines: KeyLines;
  readonly #env: Environment;
  readonly #problems: Problem[] = [];

  constructor(file: string, lines: KeyLines, env: Environment) {
    this.#file = file;
    this.#lines = lines;
    this.#env = env;
  }

  read(document: RawTable): Reading {
    for (const name of Object.keys(document)) {
      if (!sections.includes(name)) this.#refuseSection(name, document[name]);
    }
    const raw: RawConfig = {
      file: this.#file,
      dialect: 'toml',
      weir: this.#section(['weir'], own(document, 'weir') ?? {}),
      databases: this.#sections('databases', own(document, 'databases') ?? {}),
      users: this.#sections('users', own(document, 'users') ?? {}),
      policy: this.#policy(own(document, 'policy')),
    };
    return { raw, problems: this.#problems };
  }

  #policy(value: unknown): RawPolicy | null {
    if (value === undefined) return null;
    if (isTable(value)) return new RawPolicy(this.#file, value, linesOf(this.#lines, 'policy'));
    this.#problem(['policy'], 'not a table', { allowed: '[policy]' });
    return null;
  }

  #sections(name: string, value: unknown): ReadonlyMap<string, RawSection> {
    const found = new Map<string, RawSection>();
    if (!isTable(value)) {
      this.#problem([name], 'not a table', { allowed: `[${name}.NAME]` });
      return found;
    }
    for (const [key, inner] of Object.entries(value)) found.set(key, this.#section([name, key], inner));
    return found;
  }

  #section(path: readonly string[], value: unknown): RawSection {
    const entries = new Map<string, RawEntry>();
    const place = this.#place(path);
    if (!isTable(value)) {
      this.#problem(path, 'not a table of settings', { allowed: `[${path.join('.')}] with a line for each setting` });
      return { place, entries };
    }
    for (const [key, inner] of Object.entries(value)) {
      // `on_hazard.temp` may be written with a dot, or as a table of its own.
      if (key === 'on_hazard' && isTable(inner))
        for (const [name, item] of Object.entries(inner)) this.#entry(entries, path, [key, name], item);
      else this.#entry(entries, path, [key], inner);
    }
    return { place, entries };
  }

  #entry(entries: Map<string, RawEntry>, path: readonly string[], names: readonly string[], value: unknown): void {
    const whole = [...path, ...names];
    const expanded = this.#expand(whole, value);
    if (expanded !== undefined)
      entries.set(names.join('.'), { value: expanded, written: value, place: this.#place(whole) });
  }

  /** undefined after a problem. */
  #expand(path: readonly string[], value: unknown): unknown {
    if (Array.isArray(value)) {
      const items = value.map((item: unknown) => this.#expand(path, item));
      return items.includes(undefined) ? undefined : items;
    }
    if (typeof value !== 'string') return value;
    const expanded = expandEnvironment(value, this.#env);
    if (expanded.ok) return expanded.text;
    this.#problem(path, expanded.message);
    return undefined;
  }

  #refuseSection(name: string, value: unknown): void {
    if (name === 'peers') {
      this.#problem([name], 'peering is not supported yet');
      return;
    }
    const allowed = '[weir], [databases.NAME], [users.NAME], [policy]';
    if (!isTable(value)) {
      this.#problem([name], 'a setting outside every section', { allowed, nearest: 'weir' });
      return;
    }
    const near = name === 'pgbouncer' ? 'weir' : nearest(name, sections);
    this.#problem([name], 'unknown section', { received: shown(name), allowed, nearest: near });
  }

  #problem(path: readonly string[], message: string, details: Parameters<typeof problemAt>[3] = {}): void {
    this.#problems.push(problemAt(this.#place(path), path.join('.'), message, details));
  }

  #place(path: readonly string[]): Place {
    return { file: this.#file, line: lineOf(this.#lines, path) };
  }
}

function own(table: RawTable, key: string): unknown {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

export function isTable(value: unknown): value is RawTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
