// Turns the raw sections of a file into a typed Config, collecting every problem on the way.

import {
  type Config,
  type DatabaseSettings,
  type GlobalSettings,
  globalDefaults,
  type Host,
  keysIn,
  newDatabase,
  newUser,
  serverSocketDirectory,
  settingNamed,
  type UserSettings,
} from './config.js';
import { nearest, type Problem, problemAt, shown } from './problems.js';
import { databasesMax, type RawConfig, type RawEntry, type RawSection, usersMax } from './raw.js';
import { type AnyValue, defaultFor, type Scope, type Setting, type ValueType } from './schema.js';
import { decodeValue, describeAllowed, type Refusal, sameValue } from './values.js';

export interface DecodedConfig {
  readonly config: Config;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** PgBouncer's old names. */
const aliases: Readonly<Record<Scope, ReadonlyMap<string, string>>> = {
  weir: new Map(),
  database: new Map([['reserve_pool', 'reserve_pool_size']]),
  user: new Map(),
};

export function decodeConfig(raw: RawConfig): DecodedConfig {
  return new Decoder(raw).decode();
}

class Decoder {
  readonly #raw: RawConfig;
  readonly #problems: Problem[] = [];
  readonly #warnings: Problem[] = [];

  constructor(raw: RawConfig) {
    this.#raw = raw;
  }

  decode(): DecodedConfig {
    const { file, dialect, policy } = this.#raw;
    const weir = this.#global();
    const config: Config = {
      file,
      dialect,
      weir,
      databases: this.#databases(weir.unix_socket_dir),
      users: this.#users(),
      policy,
    };
    return { config, problems: this.#problems, warnings: this.#warnings };
  }

  #global(): GlobalSettings {
    const given = this.#section('weir', sectionName(this.#raw), this.#raw.weir);
    return { ...globalDefaults(this.#raw.dialect), ...given };
  }

  #databases(socketDirectory: string): ReadonlyMap<string, DatabaseSettings> {
    const found = new Map<string, DatabaseSettings>();
    this.#limit('databases', this.#raw.databases.size, databasesMax);
    for (const [name, section] of this.#raw.databases) {
      const { host, port, ...values } = this.#section('database', `databases.${name}`, section);
      const hosts = hostsOf(
        (host as readonly string[] | undefined) ?? [],
        (port as number | undefined) ?? 5432,
        socketDirectory,
      );
      found.set(name, newDatabase(name, hosts, values));
    }
    return found;
  }

  #users(): ReadonlyMap<string, UserSettings> {
    const found = new Map<string, UserSettings>();
    this.#limit('users', this.#raw.users.size, usersMax);
    for (const [name, section] of this.#raw.users) {
      found.set(name, newUser(name, this.#section('user', `users.${name}`, section)));
    }
    return found;
  }

  #limit(key: string, count: number, max: number): void {
    if (count <= max) return;
    this.#problems.push(
      problemAt({ file: this.#raw.file, line: null }, key, `${count} entries; at most ${max} are allowed`),
    );
  }

  /** The keys that were given and are good. */
  #section(scope: Scope, path: string, section: RawSection): Record<string, AnyValue> {
    const values: Record<string, AnyValue> = {};
    for (const [written, entry] of section.entries) {
      const key = aliases[scope].get(written) ?? written;
      const found = settingNamed(key);
      if (found?.scopes.includes(scope) !== true) {
        this.#problems.push(unknownKey(scope, path, written, entry));
        continue;
      }
      const value = this.#value(found, `${path}.${written}`, scope, entry);
      if (value !== undefined) values[key] = value;
    }
    return values;
  }

  #value(found: Setting, path: string, scope: Scope, entry: RawEntry): AnyValue | undefined {
    if (scope !== 'weir' && found.unsetValue !== undefined && Number(entry.value) === found.unsetValue)
      return undefined;
    // An empty text in a database or user entry says nothing, so that the outer value holds.
    if (scope !== 'weir' && found.type.kind === 'text' && entry.value === '') return undefined;
    const decoded = decodeValue(found.type, entry.value);
    if (!decoded.ok) {
      this.#problems.push(refusedValue(found.type, path, entry, decoded.refusal));
      return undefined;
    }
    if (found.noEffect !== null && !sameValue(decoded.value, defaultFor(found, this.#raw.dialect))) {
      this.#warnings.push(problemAt(entry.place, path, `accepted, but without effect: ${found.noEffect}`));
    }
    return decoded.value;
  }
}

export function sectionName(of: { readonly dialect: Config['dialect'] }): string {
  return of.dialect === 'ini' ? 'pgbouncer' : 'weir';
}

/** The value of an unknown key is not shown: it may be a misspelt password. */
function unknownKey(scope: Scope, path: string, key: string, entry: RawEntry): Problem {
  const near = nearest(key, keysIn(scope));
  const elsewhere = settingNamed(key);
  if (elsewhere === undefined) return problemAt(entry.place, `${path}.${key}`, 'unknown setting', { nearest: near });
  const allowed = elsewhere.scopes.map((place) => scopeNames[place]).join(', ');
  return problemAt(entry.place, `${path}.${key}`, 'this setting does not belong here', { allowed: `in ${allowed}` });
}

const scopeNames: Readonly<Record<Scope, string>> = {
  weir: 'the global section',
  database: 'a database',
  user: 'a user',
};

export function refusedValue(type: ValueType, path: string, entry: RawEntry, refusal: Refusal): Problem {
  const words = type.kind === 'enum' ? type.values : type.kind === 'list' ? (type.members ?? []) : [];
  return problemAt(entry.place, path, refusal.message, {
    received: type.kind === 'secret' ? null : shown(entry.written),
    allowed: describeAllowed(type),
    nearest: refusal.word === undefined ? null : nearest(refusal.word, words),
  });
}

function hostsOf(names: readonly string[], port: number, socketDirectory: string): readonly Host[] {
  const given = names.length > 0 ? names : [socketDirectory === '' ? serverSocketDirectory : socketDirectory];
  return given.map((name) =>
    name.startsWith('/') || name.startsWith('@')
      ? { kind: 'unix', path: name, port }
      : { kind: 'tcp', host: name, port },
  );
}
