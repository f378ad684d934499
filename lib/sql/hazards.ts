// What a statement may leave behind in its session, one typed value each.

/** An argument as far as the text tells. */
export type Argument =
  | { readonly kind: 'literal'; readonly value: string | null }
  | { readonly kind: 'parameter'; readonly number: number }
  | { readonly kind: 'expression' };

export type TransactionOperation =
  | 'begin'
  | 'start'
  | 'commit'
  | 'rollback'
  | 'savepoint'
  | 'release'
  | 'rollback_to'
  | 'prepare'
  | 'commit_prepared'
  | 'rollback_prepared';

/**
 * `certain` is true when the call happens exactly once if its statement succeeds: a bare SELECT without FROM, WHERE and the
 * like. Names are folded as PostgreSQL folds them, without quotes.
 */
export type Hazard =
  /** `SET x = ...`; `values` null for DEFAULT, an expression where only the server can compute it. */
  | {
      readonly kind: 'set';
      readonly name: string;
      readonly local: boolean;
      readonly values: readonly Argument[] | null;
    }
  | { readonly kind: 'reset'; readonly name: string }
  | { readonly kind: 'reset_all' }
  /** SET [LOCAL] ROLE and RESET ROLE; `role` null for DEFAULT and RESET, `none` for NONE. */
  | { readonly kind: 'set_role'; readonly local: boolean; readonly role: string | null }
  /** `role` null for DEFAULT and RESET. */
  | { readonly kind: 'session_authorization'; readonly local: boolean; readonly role: string | null }
  /** Settings as `default_transaction_*` would be set. */
  | { readonly kind: 'session_characteristics'; readonly settings: readonly { name: string; value: string }[] }
  | {
      readonly kind: 'set_config';
      readonly name: Argument;
      readonly value: Argument;
      readonly local: Argument;
      readonly certain: boolean;
    }
  /** Byte offsets of the prepared statement in the text, -1 when not found. */
  | { readonly kind: 'prepare'; readonly name: string; readonly bodyStart: number; readonly bodyEnd: number }
  | { readonly kind: 'execute'; readonly name: string; readonly arguments: readonly Argument[] }
  /** `name` null for ALL. */
  | { readonly kind: 'deallocate'; readonly name: string | null }
  | { readonly kind: 'discard'; readonly what: 'all' | 'plans' | 'sequences' | 'temp' }
  | { readonly kind: 'listen'; readonly channel: string }
  /** `channel` null for `*`. */
  | { readonly kind: 'unlisten'; readonly channel: string | null }
  | { readonly kind: 'notify'; readonly channel: string }
  | { readonly kind: 'declare_hold'; readonly name: string }
  /** `name` null for ALL. */
  | { readonly kind: 'close'; readonly name: string | null }
  | {
      readonly kind: 'advisory_lock';
      readonly function: string;
      readonly arguments: readonly Argument[];
      readonly certain: boolean;
    }
  /** `function` is pg_advisory_unlock, pg_advisory_unlock_shared or pg_advisory_unlock_all. */
  | {
      readonly kind: 'advisory_unlock';
      readonly function: string;
      readonly arguments: readonly Argument[];
      readonly certain: boolean;
    }
  | { readonly kind: 'temp_object'; readonly name: string; readonly onCommitDrop: boolean }
  | { readonly kind: 'drop'; readonly object: string; readonly names: readonly string[] }
  | { readonly kind: 'load' }
  | { readonly kind: 'nextval'; readonly function: 'nextval' | 'setval' }
  | { readonly kind: 'currval' }
  | { readonly kind: 'lastval' }
  | { readonly kind: 'setseed' }
  /** Opens or uses a connection of its own: dblink, foreign-data wrappers. */
  | { readonly kind: 'dblink'; readonly function: string }
  /** A built-in whose effects outlive its transaction in a way nobody tracks, or that runs SQL given as text. */
  | { readonly kind: 'session_function'; readonly function: string }
  | { readonly kind: 'unknown_function'; readonly function: string }
  | { readonly kind: 'do' }
  | { readonly kind: 'call'; readonly procedure: string }
  | {
      readonly kind: 'copy';
      readonly direction: 'from' | 'to';
      readonly target: 'stdin' | 'stdout' | 'file' | 'program';
    }
  | {
      readonly kind: 'transaction';
      readonly operation: TransactionOperation;
      readonly chain: boolean;
      readonly savepoint: string | null;
    }
  | { readonly kind: 'ddl'; readonly node: string }
  | { readonly kind: 'vacant'; readonly databases: readonly DatabaseUse[] }
  /** A statement whose effects on the session are not known: CREATE EXTENSION, CREATE SUBSCRIPTION... */
  | { readonly kind: 'unknown_statement'; readonly node: string };

/** What a statement wants of a database, by name. */
export interface DatabaseUse {
  readonly name: string;
  /** alone: it fails while another session is there; forced: it ends them; name: it gives the name, which others may know. */
  readonly use: 'alone' | 'forced' | 'name';
}

/** none: nothing outlives the transaction; tracked: the hazards tell all of it; unknown: only a probe or a full reset helps. */
export type SessionEffects = 'none' | 'tracked' | 'unknown';

export function effectOf(hazard: Hazard): SessionEffects {
  switch (hazard.kind) {
    case 'set':
    case 'set_role':
    case 'session_authorization':
      return hazard.local ? 'none' : 'tracked';
    case 'set_config':
      return hazard.local.kind === 'literal' && hazard.local.value === 'true' ? 'none' : 'tracked';
    case 'temp_object':
      return hazard.onCommitDrop ? 'none' : 'tracked';
    case 'reset':
    case 'reset_all':
    case 'session_characteristics':
    case 'prepare':
    case 'execute':
    case 'deallocate':
    case 'discard':
    case 'listen':
    case 'unlisten':
    case 'declare_hold':
    case 'close':
    case 'advisory_lock':
    case 'advisory_unlock':
    case 'load':
    case 'nextval':
    case 'currval':
    case 'lastval':
    case 'setseed':
      return 'tracked';
    case 'notify':
    case 'drop':
    case 'copy':
    case 'transaction':
    case 'ddl':
    case 'vacant':
      return 'none';
    case 'dblink':
    case 'session_function':
    case 'unknown_function':
    case 'do':
    case 'call':
    case 'unknown_statement':
      return 'unknown';
    default:
      return hazard satisfies never;
  }
}
