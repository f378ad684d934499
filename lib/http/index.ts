// HTTP of one process: /metrics for Prometheus, /healthz and /readyz for probes. Only looks: never changes anything, never shows
// a secret, a statement or a stack trace, and counts nothing itself.

export { labelledPoolsMax } from './pool-groups.js';
export { type HttpServer, startHttp } from './server.js';
