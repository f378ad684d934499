// Times counted in buckets: one array write per observation, because a labelled prom-client observe costs more than a lease.

/** Upper bounds in milliseconds, fine where a pooler's own time shows and coarse where only a query's does. */
export const timeBucketsMs: readonly number[] = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000,
];

export class TimeHistogram {
  /** Observations per bucket, not cumulated; the last is for what is above every bound. */
  readonly counts = new Float64Array(timeBucketsMs.length + 1);
  sumMs = 0;
  count = 0;

  observe(ms: number): void {
    let low = 0;
    let high = timeBucketsMs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ms <= (timeBucketsMs[middle] as number)) high = middle;
      else low = middle + 1;
    }
    this.counts[low] = (this.counts[low] as number) + 1;
    this.sumMs += ms;
    this.count++;
  }
}
