// What one process answers by HTTP about itself.

import type { Pooler } from '../pooler/index.js';
import { hazardReport } from './hazard-report.js';
import { type MetricReadings, Metrics } from './metrics.js';
import { mergedReadiness, type ReadinessPart, readiness } from './readiness.js';
import type { HttpSource } from './server.js';

export interface OwnSource extends HttpSource {
  /** For a process that merges those of several. */
  readings(): Promise<MetricReadings[]>;
  ownReadiness(): ReadinessPart;
}

export function ownSource(pooler: Pooler): OwnSource {
  const metrics = new Metrics(pooler);
  return {
    log: pooler.log,
    metrics: (format) => metrics.text(format),
    readings: () => metrics.readings(),
    readiness: async () => mergedReadiness([readiness(pooler)]),
    ownReadiness: () => readiness(pooler),
    hazards: async () => hazardReport(pooler),
    grants: async () => pooler.grants.list(),
    order: async (order) => pooler.grants.order(order),
    grant: (grant) => pooler.grants.grant(grant),
    revoke: async (revocation) => pooler.grants.revoke(revocation),
  };
}
