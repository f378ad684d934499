// The run-time settings of a session as one immutable value, and the statement that turns one such value into another.

import { queryMessage } from '../wire/index.js';

/** Reported by servers, but nothing a session can set or weir may replay. */
const notReplayed = new Set([
  'server_version',
  'server_encoding',
  'integer_datetimes',
  'in_hot_standby',
  'is_superuser',
  'session_authorization',
  'server_version_num',
]);

/** Whether a reported parameter belongs to the state of a session that weir carries from server to server. */
export function isReplayed(name: string): boolean {
  return !notReplayed.has(name.toLowerCase());
}

/** Settings whose value is a list of names: `SET x = 'a, b'` would make it one name. */
const nameLists = new Set(['search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries']);

/** An extension's setting has a dot; every part is an identifier. */
const settingName = /^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)*$/i;

export function isSettingName(name: string): boolean {
  return settingName.test(name) && name.length <= 255;
}

/** An E'' literal: read alike whatever standard_conforming_strings says. */
function literal(value: string): string {
  return `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function assignment(name: string, value: string): string {
  if (nameLists.has(name)) return `SELECT pg_catalog.set_config('${name}', ${literal(value)}, false)`;
  return `SET ${name} = ${literal(value)}`;
}

/**
 * Values by lower-case setting name; bytes as latin1 strings. A setting that is not here has the value the server gave
 * it at login. Two equal values have equal `key`s.
 */
export class Settings {
  static readonly empty = new Settings(new Map());

  readonly values: ReadonlyMap<string, string>;
  readonly key: string;
  /** The last difference asked for: clients that share a server alternate between few values. */
  #lastFrom: Settings | undefined;
  #lastMessage: Buffer | undefined;

  constructor(values: ReadonlyMap<string, string>) {
    this.values = values;
    this.key = [...values]
      .map(([name, value]) => `${name}\0${value}\0`)
      .sort()
      .join('');
  }

  equals(other: Settings): boolean {
    return this === other || this.key === other.key;
  }

  get(name: string): string | undefined {
    return this.values.get(name.toLowerCase());
  }

  with(name: string, value: string): Settings {
    const lower = name.toLowerCase();
    if (this.values.get(lower) === value) return this;
    return new Settings(new Map(this.values).set(lower, value));
  }

  withAll(values: Iterable<readonly [string, string]>): Settings {
    const merged = new Map(this.values);
    for (const [name, value] of values) merged.set(name.toLowerCase(), value);
    return new Settings(merged);
  }

  /** One Query message that brings a server from `from` to these settings; `undefined` when nothing differs. */
  replayMessage(from: Settings): Buffer | undefined {
    if (this.#lastFrom === from) return this.#lastMessage;
    this.#lastMessage = this.#difference(from);
    this.#lastFrom = from;
    return this.#lastMessage;
  }

  #difference(from: Settings): Buffer | undefined {
    if (this.equals(from)) return undefined;
    const parts: string[] = [];
    // The encoding first: PostgreSQL reads the values after it in that encoding.
    for (const [name, value] of this.values) {
      if (from.values.get(name) === value) continue;
      if (name === 'client_encoding') parts.unshift(assignment(name, value));
      else parts.push(assignment(name, value));
    }
    for (const name of from.values.keys()) if (!this.values.has(name)) parts.push(`RESET ${name}`);
    return parts.length === 0 ? undefined : queryMessage(parts.join(';'));
  }
}
