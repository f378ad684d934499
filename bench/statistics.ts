// Medians, spreads and ratios over rounds: pure arithmetic on arrays of figures.

export interface Summary {
  readonly rounds: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Median absolute deviation from the median. */
  readonly mad: number;
}

/** Undefined when there is nothing to summarise. */
export function summarise(values: readonly number[]): Summary | undefined {
  if (values.length === 0) return undefined;
  const middle = median(values);
  return {
    rounds: values.length,
    median: middle,
    min: Math.min(...values),
    max: Math.max(...values),
    mad: median(values.map((value) => Math.abs(value - middle))),
  };
}

/** NaN for an empty list. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half];
  if (upper === undefined) return Number.NaN;
  const lower = sorted[half - 1];
  return sorted.length % 2 === 1 || lower === undefined ? upper : (lower + upper) / 2;
}

/** Nearest rank: the smallest value with at least `share` (0..1) of all values at or below it. NaN for an empty list. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const rank = Math.min(sorted.length, Math.max(1, Math.ceil(share * sorted.length)));
  return sorted[rank - 1] ?? Number.NaN;
}

/**
 * Pairs two series by round, so that what slowed a whole round slows both sides of its pair.
 * Rounds that either side lacks are left out.
 */
export function pairByRound(
  ours: ReadonlyMap<number, number>,
  theirs: ReadonlyMap<number, number>,
  combine: (our: number, their: number) => number,
): number[] {
  const paired: number[] = [];
  for (const [round, our] of ours) {
    const their = theirs.get(round);
    if (their === undefined) continue;
    const value = combine(our, their);
    if (Number.isFinite(value)) paired.push(value);
  }
  return paired;
}
