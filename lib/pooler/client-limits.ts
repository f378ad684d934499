// The limits on how many clients there may be, and what is said to the one that is too many.

import { PoolerError } from '../util/index.js';

/** Of the process and of its siblings together; 0 is none, but for `all`. */
export interface ClientLimits {
  readonly all: number;
  readonly database: number;
  readonly user: number;
}

/** Clients there are, under each of the limits. */
export type ClientCounts = ClientLimits;

/** Why there is no place for one more. */
export function overLimit(limits: ClientLimits, counts: ClientCounts): PoolerError | undefined {
  if (counts.all >= limits.all) {
    return tooMany('no more connections allowed (max_client_conn)', 'max_client_conn', limits.all);
  }
  if (limits.database > 0 && counts.database >= limits.database) {
    return tooMany(
      'client connections exceeded (max_db_client_connections)',
      'max_db_client_connections',
      limits.database,
    );
  }
  if (limits.user > 0 && counts.user >= limits.user) {
    return tooMany(
      'client connections exceeded (max_user_client_connections)',
      'max_user_client_connections',
      limits.user,
    );
  }
  return undefined;
}

export function tooMany(message: string, key: string, limit: number): PoolerError {
  return new PoolerError(message, {
    sqlstate: '53300',
    hint: `The limit is ${limit}; raise ${key}, or close connections.`,
  });
}
