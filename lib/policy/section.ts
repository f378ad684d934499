// One table of a policy: its keys held against the table of keys, its values typed, each problem at its place.

import {
  decodeValue,
  type Environment,
  expandEnvironment,
  nearest,
  type Place,
  type PolicyKeys,
  type Problem,
  type ProblemDetails,
  problemAt,
  type RawPolicy,
  type RawTable,
  refusedValue,
  shown,
  type ValueOf,
} from '../config/index.js';
import type { Parsed } from './parsed.js';

/** What all sections of one file share. */
export interface Reading {
  readonly raw: RawPolicy;
  readonly env: Environment;
  readonly problems: Problem[];
}

export interface SectionNames {
  /** Below `policy`. */
  readonly path: readonly string[];
  /** What the name of a key is put behind in problems, such as `policy.rules[2] "no-ddl": `. */
  readonly title: string;
  /** Keys that are no values. */
  readonly tables?: readonly string[];
}

/** A key, and the number of the item where it is a list. */
type ListPath = readonly [key: string, index: string];
type Path = readonly [key: string] | ListPath;

const itemsMax = 1_000;
const itemCharsMax = 1_024;

export class Section<K extends PolicyKeys> {
  readonly place: Place;
  readonly #reading: Reading;
  readonly #keys: K;
  readonly #table: RawTable;
  readonly #names: SectionNames;

  constructor(reading: Reading, keys: K, table: RawTable, names: SectionNames) {
    this.#reading = reading;
    this.#keys = keys;
    this.#table = table;
    this.#names = names;
    this.place = reading.raw.place(names.path);
    this.#checkKeys();
  }

  #checkKeys(): void {
    const known = [...Object.keys(this.#keys), ...(this.#names.tables ?? [])];
    for (const key of Object.keys(this.#table)) {
      if (!known.includes(key)) this.refuse(key, 'unknown key', { nearest: nearest(key, known) });
    }
    for (const [key, { required }] of Object.entries(this.#keys)) {
      if (required && !this.has(key)) this.refuse(key, 'missing');
    }
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#table, key);
  }

  /** The key's default where it is absent or refused. */
  value<P extends keyof K & string>(key: P): ValueOf<K[P]['type']> | K[P]['default'] {
    const { type, default: preset } = this.#keys[key]!;
    if (!this.has(key)) return preset;
    const written = this.#table[key];
    const value = this.#expand(written, key);
    if (value === undefined) return preset;
    const decoded = decodeValue(type, value);
    if (decoded.ok) return decoded.value;
    const entry = { value, written, place: this.#placeOf([key]) };
    this.#reading.problems.push(refusedValue(type, this.#names.title + key, entry, decoded.refusal));
    return preset;
  }

  /** A text with something in it; undefined where it is absent or refused. */
  words(key: keyof K & string): string | undefined {
    const value: unknown = this.value(key);
    if (typeof value === 'string' && value.trim() !== '') return value;
    if (value !== undefined) this.refuse(key, 'empty');
    return undefined;
  }

  /** What a text stands for; undefined where it is absent or refused. */
  parsed<T>(key: keyof K & string, parse: (text: string) => Parsed<T>): T | undefined {
    const value: unknown = this.value(key);
    return typeof value === 'string' ? this.#take([key], value, this.#table[key], parse) : undefined;
  }

  /** What each text of a list stands for; none where the key is absent. */
  list<T>(key: keyof K & string, parse: (text: string) => Parsed<T>): readonly T[] {
    if (!this.has(key)) return [];
    const written = this.#table[key];
    const items: unknown = typeof written === 'string' ? this.#expand(written, key)?.split(',') : written;
    if (items === undefined) return [];
    if (!Array.isArray(items)) this.refuse(key, 'not a list', { received: shown(written) });
    else if (items.length === 0) this.refuse(key, 'an empty list; without the key nothing is asked');
    else if (items.length > itemsMax) {
      this.refuse(key, 'too many items', { allowed: `at most ${itemsMax}` });
    } else return items.flatMap((item: unknown, index) => this.#item([key, String(index)], item, written, parse));
    return [];
  }

  refuse(key: string, message: string, details: ProblemDetails = {}): void {
    this.#refuseAt([key], message, details);
  }

  /** @param list as written: where it is one text, a problem shows all of it */
  #item<T>(path: ListPath, item: unknown, list: unknown, parse: (text: string) => Parsed<T>): readonly T[] {
    const written = Array.isArray(list) ? item : list;
    const text = Array.isArray(list) ? this.#expand(item, path[0]) : item;
    if (typeof text === 'string' && text.trim() !== '' && text.length <= itemCharsMax) {
      const value = this.#take(path, text.trim(), written, parse);
      return value === undefined ? [] : [value];
    }
    if (text !== undefined) {
      const allowed = `texts that are not empty, of at most ${itemCharsMax} characters`;
      this.#refuseAt(path, 'not an item of a list', { received: shown(written), allowed });
    }
    return [];
  }

  /** @param written what a problem shows: the value may come from the environment */
  #take<T>(path: Path, text: string, written: unknown, parse: (text: string) => Parsed<T>): T | undefined {
    const parsed = parse(text);
    if (parsed.ok) return parsed.value;
    this.#refuseAt(path, parsed.message, { received: shown(written), ...parsed.details });
    return undefined;
  }

  /** With `${ENV}` replaced where it is a text; undefined after a problem. */
  #expand<T>(written: T, key: string): T | undefined {
    if (typeof written !== 'string') return written;
    const expanded = expandEnvironment(written, this.#reading.env);
    if (expanded.ok) return expanded.text as T;
    this.refuse(key, expanded.message);
    return undefined;
  }

  #refuseAt(path: Path, message: string, details: ProblemDetails): void {
    this.#reading.problems.push(problemAt(this.#placeOf(path), this.#names.title + path[0], message, details));
  }

  #placeOf(path: readonly string[]): Place {
    return this.#reading.raw.place([...this.#names.path, ...path]);
  }
}
