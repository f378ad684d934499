// The metrics of the workers as their primary sees them.

import type { MetricReadings } from './metrics.js';

export interface WorkerCounts {
  readonly index: number;
  readonly clients: number;
  /** Places for server connections it has. */
  readonly servers: number;
}

/** How many a worker has, by its own metrics. */
export function clientsIn(readings: readonly MetricReadings[]): number {
  const values = readings.find(({ name }) => name === 'weir_client_connections')?.values ?? [];
  return (values as readonly { readonly value: number }[]).reduce((sum, { value }) => sum + value, 0);
}

/** @param restarts how often a worker had to be replaced */
export function workerReadings(workers: readonly WorkerCounts[], restarts: number): MetricReadings[] {
  const own = { aggregator: 'first' } as const;
  const each = (value: (counts: WorkerCounts) => number) =>
    workers.map((counts) => ({ labels: { worker: String(counts.index) }, value: value(counts) }));
  return [
    {
      ...own,
      name: 'weir_workers',
      help: 'Processes that serve clients.',
      type: 'gauge',
      values: [{ labels: {}, value: workers.length }],
    },
    {
      ...own,
      name: 'weir_worker_restarts_total',
      help: 'Workers that died and were replaced.',
      type: 'counter',
      values: [{ labels: {}, value: restarts }],
    },
    {
      ...own,
      name: 'weir_worker_clients',
      help: 'Client connections by worker.',
      type: 'gauge',
      values: each(({ clients }) => clients),
    },
    {
      ...own,
      name: 'weir_worker_servers',
      help: 'Server connections by worker, those being made and those of weir itself too.',
      type: 'gauge',
      values: each(({ servers }) => servers),
    },
  ];
}
