// SHOW LANES: per pool, the servers that reads of several clients share, what they have served, and what they could not.

import { rerunCauses } from '../../relay/index.js';
import { readBarriers } from '../../session/index.js';
import { show } from '../command.js';
import { summed } from '../merge.js';

const columns = {
  database: 'text',
  user: 'text',
  lanes: 'int4',
  depth: 'int4',
  depth_max: 'int4',
  reads: 'int8',
  wait_us: 'int8',
  rerun_stalled: 'int8',
  rerun_cancelled: 'int8',
  rerun_lost: 'int8',
  rerun_writes: 'int8',
  rerun_changed: 'int8',
  rerun_pressure: 'int8',
  refused_new: 'int8',
  refused_slow: 'int8',
  refused_large: 'int8',
  refused_writes: 'int8',
  refused_view: 'int8',
} as const;

export const lanes = show(
  'lanes',
  columns,
  ({ pooler }) =>
    [...pooler.pools].map((pool) => {
      const { reads, waitTime, reruns, refused } = pool.traffic.lanes;
      const depths = pool.laneDepths();
      return {
        database: pool.database,
        user: pool.user,
        lanes: depths.length,
        depth: depths.reduce((sum, depth) => sum + depth, 0),
        depth_max: Math.max(0, ...depths),
        reads,
        wait_us: Math.round(waitTime.sumMs * 1_000),
        ...named('rerun', rerunCauses, reruns),
        ...named('refused', readBarriers, refused),
      };
    }),
  summed({ by: ['database', 'user'], greatest: ['depth_max'], add: 'rest' }),
);

function named<P extends string, K extends string>(
  prefix: P,
  keys: readonly K[],
  counts: Readonly<Record<K, number>>,
): Record<`${P}_${K}`, number> {
  return Object.fromEntries(keys.map((key) => [`${prefix}_${key}`, counts[key]])) as Record<`${P}_${K}`, number>;
}
