// Bounds the labels: each pool has its own up to a limit, the pools beyond it share one.

import type { Pool } from '../pool/index.js';
import type { PoolCensus } from '../pooler/index.js';
import type { Labels } from './metric.js';

/** Pools with labels of their own; each is some 130 lines of text, and a third of a millisecond, at every scrape. */
export const labelledPoolsMax = 500;

export interface PoolGroup {
  readonly labels: Labels;
  readonly members: readonly PoolCensus[];
}

/** Not the name of a database by any accident. */
const others: Labels = { database: '(other)', user: '(other)' };

/** Kept, because prom-client keeps their text. */
const labelsByPool = new WeakMap<Pool, Labels>();

function labelsOf(pool: Pool): Labels {
  let labels = labelsByPool.get(pool);
  if (labels === undefined) {
    labels = { database: pool.database, user: pool.user };
    labelsByPool.set(pool, labels);
  }
  return labels;
}

export function groupPools(pools: readonly PoolCensus[], labelledMax = labelledPoolsMax): readonly PoolGroup[] {
  const groups = new Map<string, { labels: Labels; members: PoolCensus[] }>();
  for (const census of pools) {
    const labels = groups.size < labelledMax ? labelsOf(census.pool) : others;
    const key = `${labels['database']}\0${labels['user']}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { labels, members: [census] });
    else group.members.push(census);
  }
  return [...groups.values()];
}
