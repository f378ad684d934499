// HTTP of one process: /metrics for Prometheus, /healthz and /readyz for probes, /hazards for `weir report`. Only looks: never
// changes anything, never shows a secret, a statement's literals or a stack trace, and counts nothing itself.

export { type HazardReport, type HazardRow, hazardReport, readHazardReport } from './hazard-report.js';
export { labelledPoolsMax } from './pool-groups.js';
export { type HttpServer, startHttp } from './server.js';
