// Tells what differs between two configurations, for the log line of a RELOAD and for what it must touch.

import type { Config, DatabaseSettings, Host, SettingKey, UserSettings } from './config.js';
import { keysIn } from './config.js';
import type { RawPolicy } from './raw-policy.js';
import type { AnyValue, Scope } from './schema.js';
import { settings } from './settings.js';
import { printValue, sameValue } from './values.js';

export interface Change {
  /** `weir.KEY`, `databases.NAME.KEY`, `users.NAME.KEY`, or without KEY for an entry that came or went; `policy`. */
  readonly key: string;
  /** Printable, secrets masked; null where there was or is nothing. */
  readonly old: string | null;
  readonly new: string | null;
  /** The running process keeps the old value until it is started again. */
  readonly restart: boolean;
}

export function diffConfig(old: Config, next: Config): readonly Change[] {
  return [
    ...changedKeys('weir', 'weir', old.weir, next.weir),
    ...changedEntries('databases', old.databases, next.databases, changedDatabase),
    ...changedEntries('users', old.users, next.users, (path, a, b) => changedKeys('user', path, a, b)),
    ...changedPolicy(old.policy, next.policy),
  ];
}

/** What a RELOAD puts in force: `next`, but with the running value of every setting that needs a restart. */
export function reloadedConfig(running: Config, next: Config): Config {
  const kept: Record<string, AnyValue> = {};
  for (const key of keysIn('weir')) {
    if (settings[key].change === 'restart') kept[key] = valueAt(running.weir, key) ?? null;
  }
  return { ...next, weir: { ...next.weir, ...kept } };
}

function changedDatabase(path: string, old: DatabaseSettings, next: DatabaseSettings): readonly Change[] {
  const changes = changedKeys('database', path, old, next);
  const [before, after] = [printHosts(old.hosts), printHosts(next.hosts)];
  if (before === after) return changes;
  return [{ key: `${path}.host`, old: before, new: after, restart: false }, ...changes];
}

/** Only that it changed: rules are read in the file. */
function changedPolicy(old: RawPolicy | null, next: RawPolicy | null): readonly Change[] {
  if (old === null ? next === null : next !== null && old.equals(next)) return [];
  return [{ key: 'policy', old: old?.file ?? null, new: next?.file ?? null, restart: false }];
}

function changedEntries<T extends DatabaseSettings | UserSettings>(
  section: string,
  old: ReadonlyMap<string, T>,
  next: ReadonlyMap<string, T>,
  compare: (path: string, old: T, next: T) => readonly Change[],
): readonly Change[] {
  const changes: Change[] = [];
  for (const name of new Set([...old.keys(), ...next.keys()])) {
    const [before, after] = [old.get(name), next.get(name)];
    const path = `${section}.${name}`;
    if (before !== undefined && after !== undefined) changes.push(...compare(path, before, after));
    else if (after !== undefined) changes.push({ key: path, old: null, new: 'added', restart: false });
    else changes.push({ key: path, old: 'removed', new: null, restart: false });
  }
  return changes;
}

/** Host and port of a database are compared as `hosts`. */
function changedKeys(scope: Scope, path: string, old: object, next: object): readonly Change[] {
  const changes: Change[] = [];
  for (const key of keysIn(scope)) {
    const [before, after] = [valueAt(old, key), valueAt(next, key)];
    if (sameValue(before, after)) continue;
    const restart = scope === 'weir' && settings[key].change === 'restart';
    changes.push({ key: `${path}.${key}`, old: print(key, before), new: print(key, after), restart });
  }
  return changes;
}

function valueAt(holder: object, key: SettingKey): AnyValue | undefined {
  return (holder as Readonly<Record<string, AnyValue | undefined>>)[key];
}

function print(key: SettingKey, value: AnyValue | undefined): string | null {
  return value === undefined ? null : printValue(settings[key].type, value);
}

/** One text for the hosts of a database, such as `db1:5432, /var/run/postgresql:5432`. */
export function printHosts(hosts: readonly Host[]): string {
  return hosts
    .map((host) => {
      if (host.kind === 'unix') return `${host.path}:${host.port}`;
      return host.host.includes(':') ? `[${host.host}]:${host.port}` : `${host.host}:${host.port}`;
    })
    .join(', ');
}
