// Pools of server connections: leases, waiters, limits, time-outs. One pool per database and user; never reads a client's bytes.

export { type BudgetLimits, ServerBudget } from './budget.js';
export { Pool, type PoolClient, type PoolContext, type PoolCounts, type PoolEvents, type PoolPolicy } from './pool.js';
export type { Ticket } from './waiters.js';
