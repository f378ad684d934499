// Decides whether clients should be sent here now, and says why not.

import type { Pooler } from '../pooler/index.js';

export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
}

/** What one of several processes tells of itself. */
export interface ReadinessPart {
  /** What makes it unready by itself. */
  readonly reasons: readonly string[];
  /** Logins that PostgreSQL has refused: they make all unready where no process has any server. */
  readonly refused: readonly string[];
  readonly hasServers: boolean;
}

/** Pools that are named. */
const namedPoolsMax = 10;

export function readiness(pooler: Pooler): ReadinessPart {
  const reasons: string[] = [];
  if (pooler.listening === undefined) reasons.push('not listening');
  if (pooler.shutdownMode !== undefined) reasons.push('shutting down');
  if (pooler.state !== 'active') reasons.push(pooler.state);
  if (pooler.trail?.state().inForce === true) reasons.push('the audit trail cannot be written');
  const { unreachable, refused, hasServers } = lookAtPools(pooler);
  return { reasons: [...reasons, ...named(unreachable)], refused: named(refused), hasServers };
}

/** Of all processes: a client cannot choose the one it gets. */
export function mergedReadiness(parts: readonly ReadinessPart[]): Readiness {
  const unserved = parts.every(({ hasServers }) => !hasServers);
  const all = parts.flatMap(({ reasons, refused }) => (unserved ? [...reasons, ...refused] : reasons));
  const reasons = [...new Set(all)];
  return { ready: parts.length > 0 && reasons.length === 0, reasons };
}

function named(pools: readonly string[]): readonly string[] {
  if (pools.length <= namedPoolsMax) return pools;
  return [...pools.slice(0, namedPoolsMax), `and ${pools.length - namedPoolsMax} more pools`];
}

/**
 * Pools whose servers could not be had a moment ago. After a while without another attempt the error counts no more:
 * while nobody is sent here, nobody would ever find out that the server is back.
 */
function lookAtPools(pooler: Pooler): { unreachable: string[]; refused: string[]; hasServers: boolean } {
  const { server_login_retry, server_connect_timeout } = pooler.config.weir;
  const rememberedMs = (server_login_retry + server_connect_timeout) * 1_000;
  const now = pooler.clock.now();
  const unreachable: string[] = [];
  const refused: string[] = [];
  let hasServers = false;
  for (const pool of pooler.pools) {
    const { failure, failureAtMs, settings } = pool;
    if (pool.servers.size > 0) hasServers = true;
    else if (failure !== undefined && failureAtMs !== undefined && now - failureAtMs < rememberedMs) {
      const whose = `for database ${pool.database}, user ${pool.user} (SQLSTATE ${failure.sqlstate})`;
      if (!isRefusal(failure.sqlstate)) unreachable.push(`no server ${whose}`);
      else if (failure.sqlstate.startsWith('28') && !settings.fallback) {
        refused.push(`the server refuses the login ${whose}`);
      }
    }
  }
  return { unreachable, refused, hasServers };
}

/**
 * The server is there, but not for this user or database: any client could make a process unready by a wrong name. So what
 * the name of a database may cause counts never, and what else a login may be refused for while nobody is served at all.
 */
function isRefusal(sqlstate: string): boolean {
  return sqlstate.startsWith('28') || sqlstate.startsWith('3D') || sqlstate.startsWith('42');
}
