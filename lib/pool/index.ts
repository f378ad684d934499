// Pools of server connections: leases, waiters, limits, time-outs. One pool per database and user; never reads a client's bytes.

export {
  type FullLimit,
  type PlaceAnswer,
  PlaceCounts,
  type PlaceLimits,
  type PlaceNeed,
  type PlaceSeeker,
  type PlaceUse,
  type ServerPlaces,
} from './budget.js';
export { idleInTransaction, transactionTooLong } from './errors.js';
export type { Welcome } from './greeting.js';
export type { Lane } from './lanes.js';
export { LocalPlaces } from './local-places.js';
export type { OwnServer } from './own-server.js';
export {
  Pool,
  type PoolClient,
  type PoolContext,
  type PoolCounts,
  type PoolEvents,
  type PoolReader,
  type PoolTicket,
  type WaitingRead,
} from './pool.js';
export type { PoolPolicy } from './pool-policy.js';
export type { Party } from './waiters.js';
