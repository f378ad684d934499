// The decoded configuration: its types, taken from the table of settings, and configurations made without a file.

import type { RawPolicy } from './raw-policy.js';
import { type AnyValue, type Dialect, defaultFor, type Scope, type Setting, type ValueOf } from './schema.js';
import { settings } from './settings.js';

type Settings = typeof settings;
export type SettingKey = keyof Settings;

type KeysIn<S extends Scope> = {
  [K in SettingKey]: S extends Settings[K]['scopes'][number] ? K : never;
}[SettingKey];
type ValueAt<K extends SettingKey> = ValueOf<Settings[K]['type']>;

export type GlobalKey = KeysIn<'weir'>;
export type DatabaseKey = KeysIn<'database'>;
export type UserKey = KeysIn<'user'>;

/** Every global setting; keys and units as in the reference (times in seconds; an empty text means "not set"). */
export type GlobalSettings = { readonly [K in GlobalKey]: ValueAt<K> };

/** `path` is a directory, or starts with `@` for the abstract namespace; the socket is `<path>/.s.PGSQL.<port>`. */
export type Host =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string; readonly port: number };

/** What an entry overrides; undefined means it says nothing and the outer value holds. */
type Overrides<K extends SettingKey> = { readonly [P in K]: NonNullable<ValueAt<P>> | undefined };

export type DatabaseSettings = Overrides<Exclude<DatabaseKey, 'host' | 'port'>> & {
  /** The name clients ask for. */
  readonly name: string;
  /** At least one. */
  readonly hosts: readonly Host[];
};

export type UserSettings = Overrides<UserKey> & { readonly name: string };

export interface Config {
  readonly file: string | null;
  readonly dialect: Dialect;
  readonly weir: GlobalSettings;
  readonly databases: ReadonlyMap<string, DatabaseSettings>;
  readonly users: ReadonlyMap<string, UserSettings>;
  /** Of this file or of the one `policy_file` names, not yet decoded; null: everybody may do what PostgreSQL lets them. */
  readonly policy: RawPolicy | null;
}

/** Names of the console; no database may have them. */
export const consoleDatabases: readonly string[] = ['pgbouncer', 'weir'];

/** Where servers are looked for when a database names no host and `unix_socket_dir` is empty. */
export const serverSocketDirectory = '/var/run/postgresql';

const entries = Object.entries(settings) as readonly (readonly [SettingKey, Setting])[];

export function settingNamed(key: string): Setting | undefined {
  return Object.hasOwn(settings, key) ? (settings as Readonly<Record<string, Setting>>)[key] : undefined;
}

export function keysIn(scope: Scope): readonly SettingKey[] {
  return entries.filter(([, entry]) => entry.scopes.includes(scope)).map(([key]) => key);
}

export function globalDefaults(dialect: Dialect): GlobalSettings {
  const values: Record<string, AnyValue> = {};
  for (const key of keysIn('weir')) values[key] = defaultFor(settings[key], dialect);
  return values as unknown as GlobalSettings;
}

/** A database as a file would give it: what `values` leaves out is not set. */
export function newDatabase(
  name: string,
  hosts: readonly Host[],
  values: Partial<Overrides<DatabaseKey>> = {},
): DatabaseSettings {
  return { ...unset('database'), ...values, name, hosts } as unknown as DatabaseSettings;
}

export function newUser(name: string, values: Partial<Overrides<UserKey>> = {}): UserSettings {
  return { ...unset('user'), ...values, name } as unknown as UserSettings;
}

/** Every key present, so that all entries have one shape. */
function unset(scope: Scope): Record<string, undefined> {
  const values: Record<string, undefined> = {};
  for (const key of keysIn(scope)) if (key !== 'host' && key !== 'port') values[key] = undefined;
  return values;
}

/** The configuration in force without a file. It names no database: the caller adds the one it starts. */
export function defaultConfig(): Config {
  const weir = globalDefaults('toml');
  return { file: null, dialect: 'toml', weir, databases: new Map(), users: new Map(), policy: null };
}
