// One process of weir, composed: what the console, the HTTP server and the command line look at and act on. Never reads or
// writes a protocol message, and never decides which client gets which server.

export { type Census, idleWord, type PoolCensus, takeCensus } from './census.js';
export { ClientCounts, type ClientLimits } from './client-limits.js';
export type { GrantOrder } from './grant-order.js';
export type { Grant, Revocation } from './grants.js';
export { type HazardFinding, type Outcome, outcomes } from './hazard-log.js';
export { type Listening, tryListening } from './listeners.js';
export { type Loaded, Pooler, type PoolerOptions, type PoolerState, type ShutdownMode } from './pooler.js';
export { verdicts } from './rule-tally.js';
export { readSchema } from './schema-keeper.js';
export type { Siblings } from './siblings.js';
export { addTotals, type DatabaseStatistics, type DatabaseTotals, noTotals } from './statistics.js';
export type { VacancyOrder } from './vacancy.js';
