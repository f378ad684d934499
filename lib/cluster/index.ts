// Several processes that are one weir: a primary that serves no client, and workers that share its limits, its console and its
// metrics. Nothing here runs per query: a worker and the primary speak when a pool grows, a client comes or goes, or somebody asks.

export { Primary, type PrimaryOptions } from './primary.js';
export { ServerLedger, type ServerLedgerEvents } from './server-ledger.js';
export { joinPrimary, type WorkerPart } from './worker.js';
