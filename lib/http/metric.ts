// A metric whose values are looked up when it is asked for: for numbers that others count, in typed arrays and plain fields.

import type { Metric } from 'prom-client';
import { type TimeHistogram, timeBucketsMs } from '../metrics/index.js';

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Where it is not the metric's own. */
  readonly metricName?: string;
}

export type MetricType = 'counter' | 'gauge' | 'histogram';

/** Has of prom-client's metrics what its registry uses. */
export class LiveMetric {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly aggregator = 'sum';
  readonly #samples: () => Sample[];

  /** A counter's name ends in `_total`, a name with a unit in the unit. */
  constructor(type: MetricType, name: string, help: string, samples: () => Sample[]) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#samples = samples;
  }

  get(): { name: string; help: string; type: MetricType; aggregator: 'sum'; values: Sample[] } {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator, values: this.#samples() };
  }

  /** For `registerMetric`, whose type names only prom-client's own classes. */
  asMetric(): Metric {
    return this as unknown as Metric;
  }
}

const bucketLabels: readonly string[] = [...timeBucketsMs.map((ms) => String(ms / 1_000)), '+Inf'];

/** The series of one histogram in seconds: buckets that include the smaller ones, sum and count. */
export function histogramSamples(name: string, labels: Labels, times: TimeHistogram): Sample[] {
  const samples: Sample[] = [];
  let count = 0;
  for (let i = 0; i < bucketLabels.length; i++) {
    count += times.counts[i] ?? 0;
    samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le: bucketLabels[i] ?? '+Inf' }, value: count });
  }
  samples.push({ metricName: `${name}_sum`, labels, value: times.sumMs / 1_000 });
  samples.push({ metricName: `${name}_count`, labels, value: times.count });
  return samples;
}
