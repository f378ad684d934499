// The comparisons: what is set against what, and by which works.

import { auditTable, changeTable, ladderTable, type Work, type WorkSizes, workTable } from './works.js';

export interface Comparison {
  /** Measured unless others are asked for, in this order. */
  readonly targets: readonly string[];
  /** The targets that others are set against. */
  readonly baselines: readonly string[];
  works(sizes: WorkSizes): readonly Work[];
}

export type ComparisonName = 'poolers' | 'ladder' | 'audit' | 'gate' | 'change';

export const comparisons: Readonly<Record<ComparisonName, Comparison>> = {
  poolers: { targets: ['direct', 'pgbouncer', 'weir', 'weir-2'], baselines: ['direct', 'pgbouncer'], works: workTable },
  ladder: { targets: ['weir-untracked', 'weir-control', 'weir'], baselines: ['weir-untracked'], works: ladderTable },
  gate: {
    targets: ['weir', 'weir-gate', 'weir-gate-after', 'weir-gate-before'],
    baselines: ['weir'],
    works: auditTable,
  },
  audit: { targets: ['weir', 'weir-audit-after', 'weir-audit-before'], baselines: ['weir'], works: auditTable },
  change: {
    targets: ['direct', 'pgbouncer', 'weir-before', 'weir'],
    baselines: ['weir-before', 'pgbouncer'],
    works: changeTable,
  },
};

export const comparisonNames = Object.keys(comparisons) as readonly ComparisonName[];
