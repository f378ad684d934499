// Counts clients and servers by state, per pool and in PgBouncer's words, for SHOW and the metrics.

import type { Pool } from '../pool/index.js';
import type { Pooler } from './pooler.js';

export interface PoolCensus {
  readonly pool: Pool;
  /** Logged in; PgBouncer's `cl_active` is idle and active together. */
  readonly clients: { idle: number; active: number; waiting: number; canceling: number };
  /** `used`: idle for so long that it is checked before it is lent. `active_cancel`: connections that carry a cancel request. */
  readonly servers: {
    active: number;
    idle: number;
    used: number;
    tested: number;
    login: number;
    being_canceled: number;
    active_cancel: number;
  };
}

export interface Census {
  readonly pools: readonly PoolCensus[];
  /** Clients not logged in yet, but for those that wait for the first server of a pool. */
  login: number;
  console: number;
}

/** The state of an idle server in PgBouncer's words. */
export function idleWord(pool: Pool, sinceMs: number, nowMs: number): 'idle' | 'used' {
  const { serverCheckDelayMs, serverCheckQuery } = pool.policy;
  return serverCheckQuery !== '' && nowMs - sinceMs > serverCheckDelayMs ? 'used' : 'idle';
}

/** One look at everything: linear in the number of clients and servers. */
export function takeCensus(pooler: Pooler): Census {
  const byPool = new Map<Pool, PoolCensus>();
  const byName = new Map<string, PoolCensus>();
  const now = pooler.clock.now();
  for (const pool of pooler.pools) {
    const counted = countServers(pool, now);
    byPool.set(pool, counted);
    byName.set(pool.settings.forced_user ? pool.database : `${pool.database}\0${pool.user}`, counted);
  }
  const census: Census = { pools: [...byPool.values()], login: 0, console: 0 };
  for (const client of pooler.clients) {
    const { state } = client;
    switch (state.kind) {
      case 'idle':
      case 'active':
      case 'reading':
      case 'waiting': {
        const counted = byPool.get(state.session.pool);
        if (counted !== undefined) counted.clients[state.kind === 'reading' ? 'active' : state.kind]++;
        break;
      }
      case 'login': {
        const { waitingForServer, database, user } = state.progress;
        const counted = waitingForServer ? (byName.get(database) ?? byName.get(`${database}\0${user}`)) : undefined;
        if (counted === undefined) census.login++;
        else counted.clients.waiting++;
        break;
      }
      case 'replication': {
        const counted = byPool.get(state.pool);
        if (counted !== undefined) counted.clients.active++;
        break;
      }
      case 'console':
        census.console++;
        break;
      case 'closed':
        break;
      default:
        state satisfies never;
    }
  }
  return census;
}

function countServers(pool: Pool, now: number): PoolCensus {
  const { active, idle, tested, being_canceled, login } = pool.counts;
  let used = 0;
  let drained = 0;
  for (const server of pool.servers) {
    const { state } = server;
    if (state.kind === 'idle' && idleWord(pool, state.sinceMs, now) === 'used') used++;
    // Cancelled because its client is gone: nobody asked for that.
    if (state.kind === 'tested' && state.what === 'drain' && server.cancelling) drained++;
  }
  return {
    pool,
    clients: { idle: 0, active: 0, waiting: 0, canceling: Math.max(0, pool.cancelsInFlight - drained) },
    servers: { active, idle: idle - used, used, tested, login, being_canceled, active_cancel: pool.cancelsInFlight },
  };
}
