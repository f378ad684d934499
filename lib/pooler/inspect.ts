// Turns the facts of a statement into the effects that decide what happens to a server between two clients.

import { Effect } from '../session/index.js';
import {
  createStatementCatalog,
  type Hazard,
  isSafeEncoding,
  type StatementCatalog,
  type StatementFacts,
} from '../sql/index.js';

/**
 * Settings every supported server reports: what a client does to them is seen, and replayed, without reading its SQL. Not
 * those that decide how the text behind them is read: in a pipeline it is inspected before the server has reported them.
 */
const reported = new Set([
  'application_name',
  'datestyle',
  'default_transaction_read_only',
  'intervalstyle',
  'timezone',
]);

function effectsOfHazard(hazard: Hazard): number {
  switch (hazard.kind) {
    case 'set':
      return hazard.local || reported.has(hazard.name.toLowerCase()) ? Effect.None : Effect.Unknown;
    case 'reset':
      return reported.has(hazard.name.toLowerCase()) ? Effect.None : Effect.Unknown;
    case 'set_role':
    case 'session_authorization':
      return hazard.local ? Effect.None : Effect.Unknown;
    case 'set_config':
      return hazard.local.kind === 'literal' && hazard.local.value === 'true' ? Effect.None : Effect.Unknown;
    case 'temp_object':
      return hazard.onCommitDrop ? Effect.None : Effect.Unknown;
    case 'load':
    case 'setseed':
    case 'dblink':
      return Effect.Indelible | Effect.Unknown;
    // Seen by their command tags, or nothing that stays.
    case 'discard':
    case 'notify':
    case 'unlisten':
    case 'close':
    case 'drop':
    case 'ddl':
    case 'copy':
    case 'transaction':
      return Effect.None;
    case 'deallocate':
      return hazard.name === null ? Effect.None : Effect.Unknown;
    case 'reset_all':
    case 'session_characteristics':
    case 'prepare':
    case 'execute':
    case 'listen':
    case 'declare_hold':
    case 'advisory_lock':
    case 'advisory_unlock':
    case 'nextval':
    case 'currval':
    case 'lastval':
    case 'session_function':
    case 'unknown_function':
    case 'do':
    case 'call':
    case 'unknown_statement':
      return Effect.Unknown;
    default:
      return hazard satisfies never;
  }
}

/** By the identity of the facts, which the catalog keeps with the shape. */
const effectsByFacts = new WeakMap<StatementFacts, number>();

function effectsOf(facts: StatementFacts): number {
  if (!facts.known || facts.truncated) return Effect.Unknown;
  if (facts.sessionEffects === 'none' && facts.hazards.length === 0) return Effect.None;
  let effects = effectsByFacts.get(facts);
  if (effects === undefined) {
    effects = facts.hazards.reduce((bits, hazard) => bits | effectsOfHazard(hazard), 0 as number);
    if (facts.sessionEffects === 'unknown') effects |= Effect.Unknown;
    effectsByFacts.set(facts, effects);
  }
  return effects;
}

const entriesMax = 10_000;
const bytesMax = 32 * 1024 * 1024;

export class Inspector {
  readonly #catalog: StatementCatalog;
  readonly #mode: { standardConformingStrings: boolean; encoding: 'safe' | 'unsafe' } = {
    standardConformingStrings: true,
    encoding: 'safe',
  };

  private constructor(catalog: StatementCatalog) {
    this.#catalog = catalog;
  }

  static async create(inspectLimitBytes: number): Promise<Inspector> {
    return new Inspector(
      await createStatementCatalog({ maxEntries: entriesMax, maxBytes: bytesMax, inspectLimitBytes }),
    );
  }

  get stats(): ReturnType<StatementCatalog['stats']> {
    return this.#catalog.stats();
  }

  /** Effect bits of the text from `start` to `end`, as a server with these settings would read it. */
  effects(
    bytes: Buffer,
    start: number,
    end: number,
    standardConformingStrings: string | undefined,
    encoding: string | undefined,
  ): number {
    this.#mode.standardConformingStrings = standardConformingStrings !== 'off';
    this.#mode.encoding = encoding === undefined || encoding === 'UTF8' || isSafeEncoding(encoding) ? 'safe' : 'unsafe';
    return effectsOf(this.#catalog.lookup(bytes, start, end, this.#mode));
  }

  async close(): Promise<void> {
    await this.#catalog.close();
  }
}
