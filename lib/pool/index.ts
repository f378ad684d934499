// Pools of server connections: leases, waiters, limits, time-outs. One pool per database and user; never reads a client's bytes.

export {
  type PlaceAnswer,
  type PlaceLimits,
  type PlaceNeed,
  type PlaceSeeker,
  ServerBudget,
  type ServerPlaces,
} from './budget.js';
export type { Lane } from './lanes.js';
export type { OwnServer } from './own-server.js';
export {
  idleInTransaction,
  Pool,
  type PoolClient,
  type PoolContext,
  type PoolCounts,
  type PoolEvents,
  type PoolPolicy,
  type PoolReader,
  type PoolTicket,
  transactionTooLong,
  type WaitingRead,
} from './pool.js';
export type { Party } from './waiters.js';
