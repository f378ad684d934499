// Why a pool gives no server, or takes one back: what clients are told.

import { ServerRefusal } from '../server/index.js';
import { PoolerError } from '../util/index.js';
import type { FullLimit, PlaceUse } from './budget.js';

const keysOf = {
  database: 'max_db_connections',
  user: 'max_user_connections',
  either: 'max_db_connections or max_user_connections',
} as const;

/** A place for a server that cannot be had. @param full which limit is reached, as far as it is known */
export function noPlace(full: FullLimit | 'either', use: PlaceUse): PoolerError {
  const key = keysOf[full];
  if (use !== 'listening') {
    return new PoolerError(`no more server connections allowed (${key})`, {
      sqlstate: '53300',
      hint: `Raise ${key}, or close connections.`,
    });
  }
  return new PoolerError(`no server connection is left to listen on (${key})`, {
    sqlstate: '53300',
    detail: 'Who listens needs a connection for as long as he does, and one must be left for queries.',
    hint: `Raise ${key} by one for each ${full === 'user' ? 'database' : 'user'} whose clients listen, and each of the workers.`,
  });
}

export function endedAtOnce(cause?: PoolerError): PoolerError {
  return new PoolerError('the server ended the connection right after the login', {
    sqlstate: '08006',
    ...(cause?.detail === undefined ? {} : { detail: cause.detail }),
    cause,
  });
}

export function closedPool(): PoolerError {
  return new PoolerError('database removed from the configuration', { sqlstate: '57P01', hint: 'Connect again.' });
}

/**
 * For who comes after an attempt that has failed, and before the next one is due: PgBouncer's words.
 * @param retryMs until then
 */
export function cached(error: PoolerError, retryMs: number): PoolerError {
  // What the server has said, and why weir could not log in, is told by its own SQLSTATE.
  const isKept = error instanceof ServerRefusal || error.sqlstate.startsWith('28');
  const again = `Weir tries again in ${Math.ceil(retryMs / 1_000)} s (server_login_retry).`;
  return new PoolerError(`server login has been failing, cached error: ${error.message} (server_login_retry)`, {
    sqlstate: isKept ? error.sqlstate : '08006',
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    hint: error.hint === undefined ? again : `${error.hint} ${again}`,
  });
}

/** Of a client that has said nothing for `idle_transaction_timeout` in a transaction. */
export function idleInTransaction(): PoolerError {
  return timedOut('idle transaction timeout', '25P03', 'End transactions sooner, or raise idle_transaction_timeout.');
}

/** Of a transaction that has lasted for `transaction_timeout`. */
export function transactionTooLong(): PoolerError {
  return timedOut('transaction timeout', '25P04', 'End transactions sooner, or raise transaction_timeout.');
}

export function timedOut(message: string, sqlstate: string, hint: string): PoolerError {
  return new PoolerError(message, { sqlstate, hint });
}
