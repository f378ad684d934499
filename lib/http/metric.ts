// A metric whose values are looked up when it is asked for: for numbers that others count, in typed arrays and plain fields.

import type { Metric } from 'prom-client';
import { type TimeHistogram, timeBucketsMs } from '../metrics/index.js';

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  /** Those many samples have in common: prom-client writes the text of one such object only once. */
  readonly sharedLabels: Labels;
  readonly value: number;
  /** Where it is not the metric's own. */
  readonly metricName?: string;
}

/** What the values of several processes are together. */
export type Aggregator = 'sum' | 'max' | 'first';

export type MetricType = 'counter' | 'gauge' | 'histogram';

export interface Answer {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly aggregator: Aggregator;
  readonly values: readonly Sample[];
}

export const noLabels: Labels = {};

/** Has of prom-client's metrics what its registry uses. */
export class LiveMetric {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly aggregator: Aggregator;
  readonly #samples: () => Sample[];

  /** A counter's name ends in `_total`, a name with a unit in the unit. */
  constructor(type: MetricType, name: string, help: string, samples: () => Sample[], aggregator: Aggregator = 'sum') {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#samples = samples;
    this.aggregator = aggregator;
  }

  /** As prom-client's own metrics answer: for JSON, each sample with all its labels. */
  get(): Answer {
    const answer = this.getForPromString();
    const values = answer.values.map(({ labels, sharedLabels, ...rest }) => ({
      ...rest,
      sharedLabels: {},
      labels: { ...sharedLabels, ...labels },
    }));
    return { ...answer, values };
  }

  /** As prom-client's histograms answer when text is wanted. */
  getForPromString(): Answer {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator, values: this.#samples() };
  }

  /** For `registerMetric`, whose type names only prom-client's own classes. */
  asMetric(): Metric {
    return this as unknown as Metric;
  }
}

/** A metric of the process with one series. */
export function one(
  type: MetricType,
  name: string,
  help: string,
  value: () => number,
  labels: Labels = noLabels,
  aggregator: Aggregator = 'sum',
): LiveMetric {
  return new LiveMetric(type, name, help, () => [{ labels, sharedLabels: noLabels, value: value() }], aggregator);
}

/** A gauge of what is the same in each of several processes. */
export function common(name: string, help: string, value: () => number): LiveMetric {
  return one('gauge', name, help, value, noLabels, 'max');
}

/** A counter of the process with a series for each value of one label. */
export function counted(
  name: string,
  help: string,
  label: string,
  entries: () => Iterable<readonly [string, number]>,
): LiveMetric {
  return new LiveMetric('counter', name, help, () =>
    [...entries()].map(([key, value]) => ({ labels: { [label]: key }, sharedLabels: noLabels, value })),
  );
}

const bucketLabels: readonly Labels[] = [...timeBucketsMs.map((ms) => String(ms / 1_000)), '+Inf'].map((le) => ({
  le,
}));

/** The series of one histogram in seconds: buckets that include the smaller ones, sum and count. */
export function histogramSamples(name: string, sharedLabels: Labels, times: TimeHistogram): Sample[] {
  const samples: Sample[] = [];
  const bucketName = `${name}_bucket`;
  let count = 0;
  for (const [i, labels] of bucketLabels.entries()) {
    count += times.counts[i] ?? 0;
    samples.push({ metricName: bucketName, labels, sharedLabels, value: count });
  }
  samples.push({ metricName: `${name}_sum`, labels: noLabels, sharedLabels, value: times.sumMs / 1_000 });
  samples.push({ metricName: `${name}_count`, labels: noLabels, sharedLabels, value: times.count });
  return samples;
}
