// The metrics of what clients' statements are and do: how they are looked up, and what outlives their transactions.

import type { Pooler } from '../pooler/index.js';
import { hazardNames } from '../session/index.js';
import { counted, type LiveMetric, one } from './metric.js';

export function statementMetrics(pooler: Pooler): LiveMetric[] {
  return [
    one(
      'gauge',
      'weir_statement_shapes',
      'Statements, without their literals, of which weir knows what they do.',
      () => pooler.statementStats.shapes,
    ),
    counted(
      'weir_statement_lookups_total',
      'Statements looked up among those known, by whether they were.',
      'result',
      () => {
        const { hits, misses } = pooler.statementStats;
        return [
          ['hit', hits],
          ['miss', misses],
        ];
      },
    ),
    counted(
      'weir_statement_unknown_total',
      'Statements of which weir could not tell what they do, by reason.',
      'reason',
      () => Object.entries(pooler.statementStats.unknown),
    ),
    counted(
      'weir_hazards_total',
      'Statements whose effect outlives the transaction, by hazard; other: no room in SHOW HAZARDS.',
      'hazard',
      () => hazardTotals(pooler.hazardLog),
    ),
  ];
}

function hazardTotals(log: Pooler['hazardLog']): Iterable<readonly [string, number]> {
  const totals = new Map<string, number>(hazardNames.map((name) => [name, 0]));
  for (const { hazard, count } of log.entries()) totals.set(hazard, (totals.get(hazard) ?? 0) + count);
  return totals.set('other', log.dropped);
}
