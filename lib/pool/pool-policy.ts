// Global settings a pool needs besides its own.

import type { LaneLimits } from './lanes.js';

/** Times in milliseconds, 0 is never. */
export interface PoolPolicy {
  readonly serverIdleMs: number;
  readonly serverCheckDelayMs: number;
  /** Empty: none; `<empty>`: an empty query. */
  readonly serverCheckQuery: string;
  readonly serverLoginRetryMs: number;
  readonly serverConnectMs: number;
  readonly serverResetQuery: string;
  readonly serverResetQueryAlways: boolean;
  readonly serverRoundRobin: boolean;
  readonly serverFastClose: boolean;
  readonly queryWaitNotifyMs: number;
  /** Whether who would wait longer than query_wait_timeout is refused at once. */
  readonly refusesEarly: boolean;
  readonly statementsMax: number;
  readonly cancelWaitMs: number;
  /** A shared server whose first read takes longer is left to it. */
  readonly laneStallMs: number;
  /** Answers that are often longer are not for shared servers. */
  readonly laneReplyBytesMax: number;
  /** Whether what may run code by being read may be read on shared servers. */
  readonly laneViews: boolean;
  readonly lane: LaneLimits;
  /** Whether a server is asked for functions that have names of PostgreSQL's, and for views. */
  readonly readsCatalog: boolean;
}
