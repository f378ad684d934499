// How many clients there are, the limits on them, and what is said to the one that is too many.

import { PoolerError, Tally } from '../util/index.js';

/** Of the process and of its siblings together; 0 is none, but for `all`. */
export interface ClientLimits {
  readonly all: number;
  readonly database: number;
  readonly user: number;
}

/** Clients of one process, or of several together. */
export class ClientCounts {
  readonly #byDatabase = new Tally();
  readonly #byUser = new Tally();
  #all = 0;

  get all(): number {
    return this.#all;
  }

  ofDatabase(database: string): number {
    return this.#byDatabase.of(database);
  }

  ofUser(user: string): number {
    return this.#byUser.of(user);
  }

  /** Why there is no place for one more. */
  refusal(database: string, user: string, limits: ClientLimits): PoolerError | undefined {
    if (this.#all >= limits.all) {
      return tooMany('no more connections allowed (max_client_conn)', 'max_client_conn', limits.all);
    }
    if (limits.database > 0 && this.ofDatabase(database) >= limits.database) {
      return tooMany(
        'client connections exceeded (max_db_client_connections)',
        'max_db_client_connections',
        limits.database,
      );
    }
    if (limits.user > 0 && this.ofUser(user) >= limits.user) {
      return tooMany(
        'client connections exceeded (max_user_client_connections)',
        'max_user_client_connections',
        limits.user,
      );
    }
    return undefined;
  }

  /** @param difference may be negative */
  add(database: string, user: string, difference = 1): void {
    this.#all += difference;
    this.#byDatabase.add(database, difference);
    this.#byUser.add(user, difference);
  }
}

export function tooMany(message: string, key: string, limit: number): PoolerError {
  return new PoolerError(message, {
    sqlstate: '53300',
    hint: `The limit is ${limit}; raise ${key}, or close connections.`,
  });
}
