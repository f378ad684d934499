// What a place for a server connection is: who asks for one, under which limits, and how many have been given per database and per user.

import { Tally } from '../util/index.js';

/** A limit of 0 is none. */
export interface PlaceLimits {
  /** Of the pool itself. */
  readonly poolMax: number;
  readonly databaseMax: number;
  readonly userMax: number;
}

/** Whom the servers of a seeker serve. Only those for clients count to the size of the pool of that name. */
export type PlaceUse =
  /** The pool's clients. */
  | 'clients'
  /** Weir itself, for a moment each. */
  | 'look-ups'
  /** Everybody who listens, as long as anybody does. */
  | 'listening'
  /** One client alone, to its end. */
  | 'replication';

/** Whose a place is. */
export interface PlaceName {
  readonly database: string;
  readonly user: string;
  readonly use: PlaceUse;
}

/** Which limit over several pools is reached. */
export type FullLimit = 'database' | 'user';

/** A pool as whoever grants places to its servers sees it. */
export interface PlaceSeeker extends PlaceName {
  /** A place it has asked for is there, to be taken at once. */
  onPlace(): void;
  /** One may be had now, or an idle server elsewhere may give way: whoever waits asks again. */
  reconsider(): void;
  /** What it has asked for it can never have, as things are. */
  onPlaceRefused(full: FullLimit): void;
  /**
   * Another process has clients that wait for a place of this pool.
   * @param urgently give up a server as soon as one is free, also where clients wait here; otherwise only one nobody needs
   */
  onPlaceWanted(urgently: boolean): void;
  /** Nobody elsewhere waits any more. */
  onPlaceKept(): void;
  /** Since when it has a server that serves nobody: one beyond the least number it is to have, or any. */
  spareSinceMs(which: 'surplus' | 'any'): number | undefined;
  /** Closes one server that serves nobody; its place is free when this returns. Answers whether there was one. */
  giveWay(): boolean;
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
  /** `onPlace` or `reconsider` will tell, perhaps much later. */
  | 'asked'
  /** `onPlaceRefused` has been told why. */
  | 'refused';

/** Grants places: of one process by itself, of several by the one they have in common. */
export interface ServerPlaces {
  take(seeker: PlaceSeeker, limits: PlaceLimits, need: PlaceNeed): PlaceAnswer;
  give(seeker: PlaceSeeker): void;
  /** What was asked for is needed no more. */
  withdraw(seeker: PlaceSeeker): void;
  /** It has a server now that serves nobody. Called at the end of a lease. */
  onSpare(seeker: PlaceSeeker): void;
  /** Places this process has. */
  ofDatabase(database: string): number;
  ofUser(user: string): number;
}

/** Counts places under the limits that span pools; how large a pool is, the pool itself knows. */
export class PlaceCounts {
  readonly #byDatabase = new Tally();
  readonly #byUser = new Tally();
  /** Of these, those that come back only when a client wants it. */
  readonly #lastingByDatabase = new Tally();
  readonly #lastingByUser = new Tally();

  add({ database, user, use }: PlaceName, difference = 1): void {
    this.#byDatabase.add(database, difference);
    this.#byUser.add(user, difference);
    if (use !== 'listening' && use !== 'replication') return;
    this.#lastingByDatabase.add(database, difference);
    this.#lastingByUser.add(user, difference);
  }

  /** The limit that leaves no place now. */
  fullFor({ database, user }: PlaceName, { databaseMax, userMax }: PlaceLimits): FullLimit | undefined {
    if (databaseMax > 0 && this.ofDatabase(database) >= databaseMax) return 'database';
    return userMax > 0 && this.ofUser(user) >= userMax ? 'user' : undefined;
  }

  /** The limit under which a server that listens would take the last place that queries can have. */
  refusalFor({ database, user, use }: PlaceName, { databaseMax, userMax }: PlaceLimits): FullLimit | undefined {
    if (use !== 'listening') return undefined;
    if (databaseMax > 0 && this.#lastingByDatabase.of(database) >= databaseMax - 1) return 'database';
    return userMax > 0 && this.#lastingByUser.of(user) >= userMax - 1 ? 'user' : undefined;
  }

  ofDatabase(database: string): number {
    return this.#byDatabase.of(database);
  }

  ofUser(user: string): number {
    return this.#byUser.of(user);
  }
}
