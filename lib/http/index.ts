// HTTP: /metrics for Prometheus, /healthz and /readyz for probes, /hazards for `weir report`; /grants for who has the token, and
// nothing else that changes anything. Never shows a secret, a statement's literals or a stack trace, and counts nothing itself.

export { type HazardReport, type HazardRow, hazardReport, mergedHazards, readHazardReport } from './hazard-report.js';
export { type MetricReadings, mergedCounts, mergedText } from './metrics.js';
export { type OwnSource, ownSource } from './own-source.js';
export { labelledPoolsMax } from './pool-groups.js';
export { mergedReadiness, type Readiness, type ReadinessPart } from './readiness.js';
export { type HttpServer, type HttpSource, startHttp } from './server.js';
export { clientsIn, workerReadings } from './worker-metrics.js';
