// How often rules let each user run a statement: a bucket for each, which fills as time goes by.

import type { RuleDefinition } from './document.js';

/** Buckets kept; with more, the longest unused are forgotten, which are the fullest. */
const bucketsMax = 10_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

export class RateLimits {
  readonly #buckets = new Map<string, Bucket>();

  /** Takes one of the rule's statements for the user; false where there is none left. */
  take(rule: RuleDefinition, user: string, nowMs: number): boolean {
    const { rate } = rule;
    if (rate === undefined) return true;
    const key = `${rule.name}\0${user}`;
    const bucket = this.#buckets.get(key) ?? { tokens: rate.count, atMs: nowMs };
    // The last used is the last of the map.
    this.#buckets.delete(key);
    bucket.tokens = Math.min(rate.count, bucket.tokens + ((nowMs - bucket.atMs) * rate.count) / rate.perMs);
    bucket.atMs = nowMs;
    const isWithin = bucket.tokens >= 1;
    if (isWithin) bucket.tokens--;
    this.#buckets.set(key, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > bucketsMax && oldest !== undefined) this.#buckets.delete(oldest);
    return isWithin;
  }
}
