// What a setting is: its type, where it may stand, its default; and the TypeScript type of its decoded value.

import type { Secret } from '../util/index.js';

/** `weir` is the global section: `[weir]` in TOML, `[pgbouncer]` in an ini file. */
export type Scope = 'weir' | 'database' | 'user';
export type Dialect = 'toml' | 'ini';

/** A host and port to listen on. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface BoolType {
  readonly kind: 'bool';
}
/** `unit` is for people; null when the number counts something the doc sentence names. */
export interface IntType {
  readonly kind: 'int';
  readonly min: number;
  readonly max: number;
  readonly unit: string | null;
  /** What the least number is called. */
  readonly leastWord?: string;
}
export interface SecondsType {
  readonly kind: 'seconds';
  readonly min: number;
  readonly max: number;
}
/** File permission bits, written in octal. */
export interface ModeType {
  readonly kind: 'mode';
}
/** `refused` names values that exist elsewhere and says why they are not accepted here. */
export interface EnumType<V extends string> {
  readonly kind: 'enum';
  readonly values: readonly V[];
  readonly refused: Readonly<Record<string, string>>;
}
export interface TextType {
  readonly kind: 'text';
  readonly bytesMax: number;
}
export interface ListType {
  readonly kind: 'list';
  readonly itemsMax: number;
  /** Lower-case members the list may have; null when any text will do. */
  readonly members: readonly string[] | null;
}
export interface SecretType {
  readonly kind: 'secret';
  readonly bytesMax: number;
}
export interface EndpointType {
  readonly kind: 'endpoint';
}

export type ValueType =
  | BoolType
  | IntType
  | SecondsType
  | ModeType
  | EnumType<string>
  | TextType
  | ListType
  | SecretType
  | EndpointType;

export type ValueOf<T extends ValueType> = T extends BoolType
  ? boolean
  : T extends IntType | SecondsType | ModeType
    ? number
    : T extends EnumType<infer V>
      ? V
      : T extends TextType
        ? string
        : T extends ListType
          ? readonly string[]
          : T extends SecretType
            ? Secret | null
            : T extends EndpointType
              ? Endpoint | null
              : never;

export type AnyValue = boolean | number | string | readonly string[] | Secret | Endpoint | null;

export interface Setting<T extends ValueType = ValueType, S extends Scope = Scope> {
  readonly type: T;
  readonly scopes: readonly S[];
  readonly default: ValueOf<T>;
  /** PgBouncer's own default, where weir chose another: in force when the file is an ini file. */
  readonly iniDefault: ValueOf<T> | undefined;
  /** What happens to the running process when the value changes; meaningful in the `weir` scope only. */
  readonly change: 'reload' | 'restart';
  /** PgBouncer has this key; otherwise it is weir's own. */
  readonly origin: 'pgbouncer' | 'weir';
  /** One or two sentences for users. */
  readonly doc: string;
  /** Why the setting is accepted and listed but does nothing; null when it has an effect. */
  readonly noEffect: string | null;
  /** The number that means "not set" in a database or user entry. */
  readonly unsetValue: number | undefined;
}

export interface SettingOptions<T extends ValueType> {
  readonly iniDefault?: ValueOf<T>;
  readonly change?: 'restart';
  readonly origin?: 'weir';
  readonly noEffect?: string;
  readonly unsetValue?: number;
}

export function setting<T extends ValueType, const S extends Scope>(
  scopes: readonly S[],
  type: T,
  defaultValue: NoInfer<ValueOf<T>>,
  doc: string,
  options: SettingOptions<NoInfer<T>> = {},
): Setting<T, S> {
  return {
    type,
    scopes,
    default: defaultValue,
    iniDefault: options.iniDefault,
    change: options.change ?? 'reload',
    origin: options.origin ?? 'pgbouncer',
    doc,
    noEffect: options.noEffect ?? null,
    unsetValue: options.unsetValue,
  };
}

/** The default of `entry` in a file of this dialect. */
export function defaultFor(entry: Setting, dialect: Dialect): AnyValue {
  return dialect === 'ini' && entry.iniDefault !== undefined ? entry.iniDefault : entry.default;
}

export const bool: BoolType = { kind: 'bool' };
export const mode: ModeType = { kind: 'mode' };
export const text: TextType = { kind: 'text', bytesMax: 8192 };
export const secret: SecretType = { kind: 'secret', bytesMax: 65_535 };
export const endpoint: EndpointType = { kind: 'endpoint' };
export const list: ListType = { kind: 'list', itemsMax: 1000, members: null };
/** Thirty years: more would only hide a slip of the keyboard. */
export const seconds: SecondsType = { kind: 'seconds', min: 0, max: 1_000_000_000 };

export function int(min: number, max: number, unit: string | null = null): IntType {
  return { kind: 'int', min, max, unit };
}

/** A number from 1 to `max`, or `word`, which is 0. */
export function intOr(word: string, max: number): IntType {
  return { kind: 'int', min: 0, max, unit: null, leastWord: word };
}

export function oneOf<const V extends string>(
  values: readonly V[],
  refused: Readonly<Record<string, string>> = {},
): EnumType<V> {
  return { kind: 'enum', values, refused };
}

export function listOf(members: readonly string[]): ListType {
  return { kind: 'list', itemsMax: members.length, members };
}
