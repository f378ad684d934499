// Decides whether clients should be sent here now, and says why not.

import type { Pooler } from '../pooler/index.js';

export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
}

/** Pools that are named. */
const namedPoolsMax = 10;

export function readiness(pooler: Pooler): Readiness {
  const reasons: string[] = [];
  if (pooler.listening === undefined) reasons.push('not listening');
  if (pooler.shutdownMode !== undefined) reasons.push('shutting down');
  if (pooler.state !== 'active') reasons.push(pooler.state);
  if (pooler.trail?.state().inForce === true) reasons.push('the audit trail cannot be written');
  const unreachable = unreachablePools(pooler);
  reasons.push(...unreachable.slice(0, namedPoolsMax));
  if (unreachable.length > namedPoolsMax) reasons.push(`and ${unreachable.length - namedPoolsMax} more pools`);
  return { ready: reasons.length === 0, reasons };
}

/** Of several processes: a client cannot choose the one it gets. */
export function mergedReadiness(parts: readonly Readiness[]): Readiness {
  const reasons = [...new Set(parts.flatMap((part) => part.reasons))];
  return { ready: parts.length > 0 && parts.every((part) => part.ready), reasons };
}

/**
 * Pools whose servers could not be reached a moment ago. After a while without another attempt the error counts no more:
 * while nobody is sent here, nobody would ever find out that the server is back.
 */
function unreachablePools(pooler: Pooler): string[] {
  const { server_login_retry, server_connect_timeout } = pooler.config.weir;
  const rememberedMs = (server_login_retry + server_connect_timeout) * 1_000;
  const now = pooler.clock.now();
  const found: string[] = [];
  for (const pool of pooler.pools) {
    const { failure, failureAtMs } = pool;
    if (failure === undefined || failureAtMs === undefined || pool.servers.size > 0) continue;
    if (now - failureAtMs >= rememberedMs || refused(failure.sqlstate)) continue;
    found.push(`no server for database ${pool.database}, user ${pool.user} (SQLSTATE ${failure.sqlstate})`);
  }
  return found;
}

/** The server is there, but not for this user or database: any client could make a process unready by a wrong name. */
function refused(sqlstate: string): boolean {
  return sqlstate.startsWith('28') || sqlstate.startsWith('3D') || sqlstate.startsWith('42');
}
