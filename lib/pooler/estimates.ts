// What the planner thinks of statements, asked once per shape and database, for rules with max_cost and max_rows.

import type { Pool } from '../pool/index.js';
import type { StatementFacts } from '../sql/index.js';
import type { Clock } from '../util/index.js';

/** After this it is asked again: tables grow. */
const holdsMs = 10 * 60_000;

export interface Estimate {
  /** In the planner's units. */
  readonly cost: number;
  readonly rows: number;
}

interface Kept {
  readonly estimate: Estimate;
  /** What names mean hangs on it. */
  readonly context: string;
  readonly atMs: number;
}

export class Estimates {
  readonly #clock: Clock;
  readonly #known = new WeakMap<Pool, WeakMap<StatementFacts, Kept>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param context the settings by which the statement is read: with others it is another statement */
  get(pool: Pool, facts: StatementFacts, context: string): Estimate | undefined {
    const known = this.#known.get(pool)?.get(facts);
    const holds = known !== undefined && known.context === context && this.#clock.now() - known.atMs < holdsMs;
    return holds ? known.estimate : undefined;
  }

  set(pool: Pool, facts: StatementFacts, context: string, estimate: Estimate): void {
    let ofPool = this.#known.get(pool);
    if (ofPool === undefined) {
      ofPool = new WeakMap();
      this.#known.set(pool, ofPool);
    }
    ofPool.set(facts, { estimate, context, atMs: this.#clock.now() });
  }
}

/** What EXPLAIN takes, and nothing else: it would be run. */
const explained = new Set([
  'select',
  'insert',
  'update',
  'delete',
  'merge',
  'declare',
  'execute',
  'create_table_as',
  'select_into',
]);
/** These run, or keep, what is within them. */
const holders = new Set(['explain', 'prepare', 'copy', 'copy_to', 'copy_from', 'do', 'call']);

/** Whether the text is one statement that EXPLAIN can be put before. */
export function isExplainable({ deeds }: StatementFacts): boolean {
  const [only, ...more] = deeds?.statements ?? [];
  if (only === undefined || more.length > 0) return false;
  const kinds = [...only.kinds];
  return kinds.some((kind) => explained.has(kind)) && !kinds.some((kind) => holders.has(kind));
}

/**
 * @param text of one statement
 * @param version of the server, such as 160004
 * @returns undefined where a statement with parameters has no plan without their values
 */
export function explainQuery(text: string, parameterCount: number, version: number): string | undefined {
  if (parameterCount === 0) return `EXPLAIN (FORMAT JSON) ${text}`;
  return version >= 160_000 ? `EXPLAIN (FORMAT JSON, GENERIC_PLAN) ${text}` : undefined;
}

/** @param json as EXPLAIN (FORMAT JSON) answers. @returns undefined where it is something else */
export function readEstimate(json: string): Estimate | undefined {
  const plan = planOf(json);
  const [cost, rows] = [plan?.['Total Cost'], plan?.['Plan Rows']];
  return typeof cost === 'number' && typeof rows === 'number' ? { cost, rows } : undefined;
}

function planOf(json: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const answer: unknown = JSON.parse(json);
    const [first] = Array.isArray(answer) ? (answer as readonly unknown[]) : [];
    return (first as { readonly Plan?: Readonly<Record<string, unknown>> } | undefined)?.Plan;
  } catch {
    return undefined;
  }
}
