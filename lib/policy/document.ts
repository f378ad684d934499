// A policy as its file says it, decoded and checked, before it is compiled.

import type { Place, requirements } from '../config/index.js';
import type { Secret } from '../util/index.js';
import type { Network } from './network.js';
import type { Pattern, TextPattern } from './pattern.js';
import type { Hours } from './schedule.js';

export type Verdict = 'allow' | 'deny' | 'observe';
export type Requirement = (typeof requirements)[number];

export interface PolicyDocument {
  readonly mode: 'off' | 'observe' | 'enforce';
  /** For statements that no rule decides. */
  readonly default: 'allow' | 'deny';
  /** For texts that cannot be parsed. */
  readonly unknown: 'allow' | 'deny';
  /** Present where a mask hashes. */
  readonly maskKey: Secret | undefined;
  readonly roles: ReadonlyMap<string, RoleDefinition>;
  /** In the order of the file. */
  readonly rules: readonly RuleDefinition[];
  readonly masks: readonly MaskDefinition[];
  /** The file it was read from. */
  readonly source: string;
}

/** Each list that is not empty must match; one without any matches everyone. */
export interface RoleDefinition {
  readonly name: string;
  readonly users: readonly TextPattern[];
  readonly databases: readonly TextPattern[];
  readonly applications: readonly TextPattern[];
  readonly networks: readonly Network[];
  readonly certificates: readonly TextPattern[];
  readonly hours: readonly Hours[];
  /** 0 is Sunday; empty: every day. */
  readonly days: ReadonlySet<number>;
  /** Of `hours` and `days`; one that Intl knows. */
  readonly timeZone: string;
  readonly statementTimeoutMs: number | undefined;
  readonly lockTimeoutMs: number | undefined;
  /** Nobody has it but by a temporary grant. */
  readonly grantedOnly: boolean;
}

/** Whom a rule or mask is about. */
export interface Scope {
  /** Names that `PolicyDocument.roles` has; empty: everyone. */
  readonly roles: readonly string[];
  readonly except: readonly string[];
  /** Empty: all. */
  readonly databases: readonly TextPattern[];
}

export interface RuleDefinition extends Scope {
  readonly name: string;
  /** Members of `statementKinds` and `set_NAME`, groups replaced by their members; empty: any. */
  readonly statements: ReadonlySet<string>;
  /** Of schema and table; empty: any, as with the next two. */
  readonly tables: readonly Pattern[];
  /** Of schema, table and column. */
  readonly columns: readonly Pattern[];
  /** Of schema and function. */
  readonly functions: readonly Pattern[];
  readonly require: ReadonlySet<Requirement>;
  readonly maxCost: number | undefined;
  readonly maxRows: number | undefined;
  readonly rate: Rate | undefined;
  /** `deny` or `observe` where there is something to keep to: `require`, `maxCost`, `maxRows`, `rate`. */
  readonly verdict: Verdict;
  readonly message: string | undefined;
  readonly hint: string | undefined;
  readonly place: Place;
}

export interface Rate {
  readonly count: number;
  readonly perMs: number;
}

export interface MaskDefinition extends Scope {
  readonly name: string | undefined;
  /** Of schema, table and column; at least one. */
  readonly columns: readonly Pattern[];
  readonly method: MaskMethod;
  readonly place: Place;
}

export type MaskMethod =
  | { readonly kind: 'null' | 'hash' | 'email' }
  | { readonly kind: 'constant'; readonly value: string }
  /** Characters; `fill` stands for all between, whatever its length. */
  | { readonly kind: 'partial'; readonly keepFirst: number; readonly keepLast: number; readonly fill: string }
  /** Rounded towards zero to a multiple of `step`. */
  | { readonly kind: 'number'; readonly step: number }
  | { readonly kind: 'date'; readonly unit: 'year' | 'quarter' | 'month' | 'week' | 'day' | 'hour' }
  /** `{column}` in `expression` stands for the column. */
  | { readonly kind: 'sql'; readonly expression: string };
