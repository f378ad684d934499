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

/** `none`: the server has no plan to show for it, because it fails, or has none. */
export type EstimateAnswer = Estimate | 'none';

export class Estimates {
  readonly #clock: Clock;
  readonly #known = new WeakMap<
    Pool,
    WeakMap<StatementFacts, { readonly answer: EstimateAnswer; readonly atMs: number }>
  >();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(pool: Pool, facts: StatementFacts): EstimateAnswer | undefined {
    const known = this.#known.get(pool)?.get(facts);
    return known !== undefined && this.#clock.now() - known.atMs < holdsMs ? known.answer : undefined;
  }

  set(pool: Pool, facts: StatementFacts, answer: EstimateAnswer): void {
    let ofPool = this.#known.get(pool);
    if (ofPool === undefined) {
      ofPool = new WeakMap();
      this.#known.set(pool, ofPool);
    }
    ofPool.set(facts, { answer, atMs: this.#clock.now() });
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

/** @param json as EXPLAIN (FORMAT JSON) answers */
export function readEstimate(json: string): EstimateAnswer {
  const answer: unknown = JSON.parse(json);
  const [first] = Array.isArray(answer) ? (answer as readonly unknown[]) : [];
  const plan = (first as { readonly Plan?: Readonly<Record<string, unknown>> } | undefined)?.Plan;
  const [cost, rows] = [plan?.['Total Cost'], plan?.['Plan Rows']];
  return typeof cost === 'number' && typeof rows === 'number' ? { cost, rows } : 'none';
}
