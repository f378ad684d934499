// Several processes that are one weir: a primary that serves no client, and workers that share its limits, its console and its
// metrics. Nothing here runs per query: a worker and the primary speak when a pool grows, a client comes or goes, or somebody asks.

export { Primary } from './primary.js';
export { ServerLedger } from './server-ledger.js';
export { joinPrimary } from './worker.js';
