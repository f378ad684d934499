// What the planner thinks of statements, for rules with max_cost and max_rows: how it is asked, and for how long and whom it holds.

import { createHash } from 'node:crypto';
import type { Pool } from '../pool/index.js';
import { noValues, type PlanQuestion } from '../relay/index.js';
import type { Constants, StatementDeeds } from '../sql/index.js';
import type { Clock } from '../util/index.js';

/** After this it is asked again: tables grow. */
const holdsMs = 10 * 60_000;
/** Texts with their values whose estimates are kept, in each pool. */
const textsMax = 5_000;
/** Situations in which one shape's estimate is kept. */
const contextsMax = 16;
/** So many times below its limits a shape is for other values to be let pass unasked, where they are only compared. */
const farBelow = 100;

export interface Estimate {
  /** In the planner's units. */
  readonly cost: number;
  readonly rows: number;
}

export interface CostLimits {
  readonly maxCost?: number | undefined;
  readonly maxRows?: number | undefined;
}

/** One statement with its values, in one situation. */
export interface Asked {
  /** The same object for all texts of its shape. */
  readonly statement: StatementDeeds;
  readonly constants: Constants;
  /** What its plan hangs on beside its text. */
  readonly context: string;
  /** Its text and its values, hashed: only asked for where they decide. */
  digest(): string;
}

interface Kept {
  readonly estimate: Estimate;
  readonly atMs: number;
}

/** Of servers of one pool and one version. */
interface OfPool {
  readonly shapes: WeakMap<StatementDeeds, Map<string, Kept>>;
  readonly texts: Map<string, Kept>;
}

export class Estimates {
  readonly #clock: Clock;
  readonly #pools = new WeakMap<Pool, Map<number, OfPool>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * What is known of it, or of its shape where that is as good.
   * @param version of the server it is to run on, such as 160004; undefined where that is still open
   * @param limits those it is to be compared with
   */
  find(pool: Pool, version: number | undefined, asked: Asked, limits: CostLimits): Estimate | undefined {
    const versions = this.#pools.get(pool);
    const [only] = versions?.size === 1 ? versions.values() : [];
    const ofPool = version === undefined ? only : versions?.get(version);
    if (ofPool === undefined) return undefined;
    const { statement, constants, context } = asked;
    if (constants !== 'deciding') {
      const known = this.#held(ofPool.shapes.get(statement)?.get(context));
      if (known !== undefined && (constants === 'none' || isFarBelow(known, limits))) return known;
      if (constants === 'none') return undefined;
    }
    return this.#held(ofPool.texts.get(`${context}\0${asked.digest()}`));
  }

  keep(pool: Pool, version: number | undefined, asked: Asked, estimate: Estimate): void {
    if (version === undefined) return;
    const versions = this.#pools.get(pool) ?? new Map<number, OfPool>();
    this.#pools.set(pool, versions);
    let ofPool = versions.get(version);
    if (ofPool === undefined) {
      ofPool = { shapes: new WeakMap(), texts: new Map() };
      versions.set(version, ofPool);
    }
    const { statement, constants, context } = asked;
    const kept = { estimate, atMs: this.#clock.now() };
    if (constants !== 'deciding') {
      const contexts = ofPool.shapes.get(statement) ?? new Map<string, Kept>();
      ofPool.shapes.set(statement, contexts);
      keepNewest(contexts, context, kept, contextsMax);
    }
    if (constants !== 'none') keepNewest(ofPool.texts, `${context}\0${asked.digest()}`, kept, textsMax);
  }

  #held(kept: Kept | undefined): Estimate | undefined {
    return kept !== undefined && this.#clock.now() - kept.atMs < holdsMs ? kept.estimate : undefined;
  }
}

function keepNewest(map: Map<string, Kept>, key: string, kept: Kept, most: number): void {
  map.delete(key);
  map.set(key, kept);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}

function isFarBelow({ cost, rows }: Estimate, { maxCost, maxRows }: CostLimits): boolean {
  const isCheap = maxCost === undefined || cost * farBelow <= maxCost;
  return isCheap && (maxRows === undefined || rows * farBelow <= maxRows);
}

/** @param body of a Parse behind the name @param values of a Bind behind the names, up to the formats of the result */
export function digestOf(body: Buffer, values: Buffer | undefined): string {
  const hash = createHash('sha256').update(body);
  if (values !== undefined) hash.update('\0').update(values);
  return hash.digest('base64');
}

const generic = Buffer.from('EXPLAIN (FORMAT JSON, GENERIC_PLAN) ');
const explain = Buffer.from('EXPLAIN (FORMAT JSON) ');
const noTypes = Buffer.from([0, 0, 0]);
const asText = Buffer.alloc(2);

/**
 * @param body of a Parse behind the name: one statement and the types of its parameters
 * @param values of a Bind behind the names, up to the formats of the result; undefined where they are not known
 * @param version of the server, such as 160004
 * @returns undefined where a statement with parameters has no plan without their values
 */
export function planQuestion(
  body: Buffer,
  parameterCount: number,
  values: Buffer | undefined,
  version: number,
): PlanQuestion | undefined {
  if (parameterCount === 0) {
    const text = body.subarray(0, body.indexOf(0));
    return { body: Buffer.concat([explain, text, noTypes]), values: noValues };
  }
  if (values !== undefined) return { body: Buffer.concat([explain, body]), values: Buffer.concat([values, asText]) };
  if (version < 160_000) return undefined;
  return { body: Buffer.concat([generic, body.subarray(0, body.indexOf(0)), noTypes]), values: noValues };
}

/** The dearest of several plans. @param plans as EXPLAIN (FORMAT JSON) answers. @returns undefined where one is something else */
export function readEstimate(plans: readonly string[]): Estimate | undefined {
  let dearest: Estimate | undefined;
  for (const json of plans) {
    const plan = planOf(json);
    const [cost, rows] = [plan?.['Total Cost'], plan?.['Plan Rows']];
    if (typeof cost !== 'number' || typeof rows !== 'number') return undefined;
    dearest = { cost: Math.max(cost, dearest?.cost ?? 0), rows: Math.max(rows, dearest?.rows ?? 0) };
  }
  return dearest;
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
