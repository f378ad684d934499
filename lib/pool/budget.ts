// Who may have how many server connections, over the limits that span several pools: per database and per user.

import { Tally } from '../util/index.js';

/** A limit of 0 is none. */
export interface PlaceLimits {
  /** Of the pool itself. */
  readonly poolMax: number;
  readonly databaseMax: number;
  readonly userMax: number;
}

/** A pool as whoever grants places to its servers sees it. */
export interface PlaceSeeker {
  readonly database: string;
  readonly user: string;
  /** Its servers are for weir itself, or for one client alone: they do not count to the size of the pool of that name. */
  readonly apart: boolean;
  /** A place it has asked for is there, to be taken at once. */
  onPlace(): void;
  /**
   * Another process has clients that wait for a place of this pool.
   * @param urgently give up a server as soon as one is free, also where clients wait here; otherwise only one nobody needs
   */
  onPlaceWanted(urgently: boolean): void;
  /** Nobody elsewhere waits any more. */
  onPlaceKept(): void;
}

/** How much a place is needed: what it is worth to take another process's server for it. */
export type PlaceNeed =
  /** The pool has fewer servers than it is to have. */
  | 'minimum'
  /** Clients wait for it. */
  | 'waiting'
  /** Clients wait for it, and none of the servers this process has comes free for them. */
  | 'starving';

export type PlaceAnswer =
  | 'taken'
  | 'database-full'
  | 'user-full'
  /** `onPlace` will tell, perhaps much later. */
  | 'asked';

/** Grants places: of one process by itself, of several by the one they have in common. */
export interface ServerPlaces {
  take(seeker: PlaceSeeker, limits: PlaceLimits, need: PlaceNeed): PlaceAnswer;
  give(seeker: PlaceSeeker): void;
  /** What was asked for is needed no more. */
  withdraw(seeker: PlaceSeeker): void;
  /** Places this process has. */
  ofDatabase(database: string): number;
  ofUser(user: string): number;
}

/** Of one process that shares its limits with nobody; how large a pool is, the pool itself knows. */
export class ServerBudget implements ServerPlaces {
  readonly #byDatabase = new Tally();
  readonly #byUser = new Tally();

  /** Takes one place, if both limits leave one. */
  take({ database, user }: Pick<PlaceSeeker, 'database' | 'user'>, limits: PlaceLimits): PlaceAnswer {
    if (limits.databaseMax > 0 && this.ofDatabase(database) >= limits.databaseMax) return 'database-full';
    if (limits.userMax > 0 && this.ofUser(user) >= limits.userMax) return 'user-full';
    this.add({ database, user });
    return 'taken';
  }

  /** Counts one place that somebody else has granted. */
  add({ database, user }: Pick<PlaceSeeker, 'database' | 'user'>): void {
    this.#byDatabase.add(database);
    this.#byUser.add(user);
  }

  give({ database, user }: Pick<PlaceSeeker, 'database' | 'user'>): void {
    this.#byDatabase.add(database, -1);
    this.#byUser.add(user, -1);
  }

  withdraw(): void {}

  ofDatabase(database: string): number {
    return this.#byDatabase.of(database);
  }

  ofUser(user: string): number {
    return this.#byUser.of(user);
  }
}
