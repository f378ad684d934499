// What weir knows of a text: plain data, made once per shape and read on every statement.

import type { Deeds } from './deeds.js';
import type { Hazard, SessionEffects } from './hazards.js';
import type { StatementKind } from './statement-kinds.js';

export interface TableName {
  readonly schema: string | null;
  readonly name: string;
  readonly access: 'read' | 'write';
}

/** What a prepared statement or a cursor runs. */
export interface NamedQuery {
  readonly kind: StatementKind;
  readonly tables: readonly TableName[];
  /** A cursor that outlives its transaction. */
  readonly held: boolean;
}

/** A statement of a text that gives a prepared statement or a cursor its name, or ends it. */
export interface NameChange {
  readonly of: 'statement' | 'cursor';
  /** null: all of them, which end. */
  readonly name: string | null;
  /** Which of the text's statements does it, from 0. */
  readonly statement: number;
  /** What the name stands for then; undefined where it ends. */
  readonly query: NamedQuery | undefined;
}

/** What the parse tree of one text says; several statements in it are merged, their hazards in order. */
export interface ParsedFacts {
  /** One per statement. */
  readonly kinds: readonly StatementKind[];
  /** By its parse only: no statement that writes, no locking clause, no INTO. Functions are not looked at. */
  readonly readOnly: boolean;
  readonly sessionEffects: SessionEffects;
  /** The facts hang on a literal, so they come from this text's own parse and not from its shape's. */
  readonly literalDependent: boolean;
  /** One read-only statement that leaves nothing behind and calls no volatile function but a few harmless ones. */
  readonly laneCandidate: boolean;
  readonly tables: readonly TableName[];
  /** As written: `aid`, `t.aid`, `*`, `t.*`. */
  readonly columns: readonly string[];
  /** As written and folded: `now`, `pg_catalog.set_config`. */
  readonly functions: readonly string[];
  /** Whether it names operators or types that may be the database's own, behind which may be code. */
  readonly ownCode: boolean;
  /** The highest `$n`, 0 without parameters. */
  readonly parameterCount: number;
  readonly hazards: readonly Hazard[];
  /** In their order. */
  readonly names: readonly NameChange[];
  /** Cursors that it fetches from, or moves. */
  readonly fetches: readonly string[];
  /** Some list reached its limit; a policy must treat the text as unknown. */
  readonly truncated: boolean;
  /** What a policy judges; undefined where there is none, and where nothing is known. */
  readonly deeds: Deeds | undefined;
}

/** Owned by whoever counts; the catalog only keeps the object with its shape. */
export interface ShapeCounters {
  calls: number;
  timeUs: number;
  rows: number;
}

export interface Shape {
  /** 16 hexadecimal digits, the same in one process only. */
  readonly id: string;
  /** The statement without its literals: valid SQL, safe to show. Do not write to it. */
  readonly text: Buffer;
}

export type UnknownReason = 'unscanned' | 'unparsed' | 'pending' | 'too-large' | 'busy';

export interface KnownFacts extends ParsedFacts {
  readonly known: true;
  readonly shape: Shape;
  readonly counters: ShapeCounters;
}

export interface UnknownFacts extends ParsedFacts {
  readonly known: false;
  /** It is being parsed: a moment later it may be known. */
  readonly pending: boolean;
  readonly shape: undefined;
  readonly counters: ShapeCounters;
}

export type StatementFacts = KnownFacts | UnknownFacts;

/** The one answer for every text that is not known; its counters add up all of them. */
export const UNKNOWN: UnknownFacts = Object.freeze({
  known: false,
  pending: false,
  shape: undefined,
  counters: { calls: 0, timeUs: 0, rows: 0 },
  kinds: Object.freeze(['unknown'] as const),
  readOnly: false,
  sessionEffects: 'unknown',
  literalDependent: false,
  laneCandidate: false,
  tables: Object.freeze([]),
  columns: Object.freeze([]),
  functions: Object.freeze([]),
  ownCode: true,
  parameterCount: 0,
  hazards: Object.freeze([]),
  names: Object.freeze([]),
  fetches: Object.freeze([]),
  truncated: true,
  deeds: undefined,
});

/** The same while the parser's thread has the text. */
export const PENDING: UnknownFacts = Object.freeze({ ...UNKNOWN, pending: true });
