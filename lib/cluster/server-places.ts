// A worker's places for servers: asked of the primary, which has the account, and told to the pools that wait for them.

import {
  type FullLimit,
  type PlaceAnswer,
  PlaceCounts,
  type PlaceLimits,
  type PlaceNeed,
  type PlaceSeeker,
  type ServerPlaces,
} from '../pool/index.js';
import type { PoolName, WorkerNotice } from './messages.js';

/** The primary. */
interface Notified {
  notify(notice: WorkerNotice): void;
}

interface Asked {
  readonly limits: PlaceLimits;
  readonly need: PlaceNeed;
}

interface Seeking {
  readonly name: PoolName;
  held: number;
  asked: Asked | undefined;
}

function same(a: PlaceLimits, b: PlaceLimits): boolean {
  return a.poolMax === b.poolMax && a.databaseMax === b.databaseMax && a.userMax === b.userMax;
}

export class CommonPlaces implements ServerPlaces {
  readonly #link: Notified;
  readonly #own = new PlaceCounts();
  readonly #seeking = new Map<PlaceSeeker, Seeking>();
  readonly #byId = new Map<number, PlaceSeeker>();
  #lastId = 0;
  /** The one to whom a place has just been granted. */
  #granted: PlaceSeeker | undefined;

  constructor(link: Notified) {
    this.#link = link;
  }

  seeker(id: number): PlaceSeeker | undefined {
    return this.#byId.get(id);
  }

  take(seeker: PlaceSeeker, limits: PlaceLimits, wanted: PlaceNeed): PlaceAnswer {
    const seeking = this.#seekingOf(seeker);
    if (this.#granted === seeker) {
      this.#granted = undefined;
      seeking.held++;
      this.#own.add(seeker);
      return 'taken';
    }
    const { asked, name } = seeking;
    // Clients that have begun to wait do so until it is withdrawn.
    const need = wanted === 'minimum' && asked !== undefined && asked.need !== 'minimum' ? 'waiting' : wanted;
    // Asked again only for what the last time did not say.
    if (asked === undefined || asked.need !== need || !same(asked.limits, limits)) {
      seeking.asked = { limits, need };
      this.#link.notify({ kind: 'want', pool: name, limits, need });
    }
    return 'asked';
  }

  granted(id: number): void {
    const seeker = this.#byId.get(id);
    const seeking = seeker && this.#seeking.get(seeker);
    if (seeker === undefined || seeking === undefined) {
      // Withdrawn meanwhile, and forgotten.
      this.#link.notify({ kind: 'gone', pool: id });
      return;
    }
    seeking.asked = undefined;
    this.#granted = seeker;
    seeker.onPlace();
    if (this.#granted !== seeker) return;
    this.#granted = undefined;
    this.#link.notify({ kind: 'gone', pool: seeking.name.id });
    this.#forgetIfEmpty(seeker, seeking);
  }

  /** There is none to be had, as things are. */
  refused(id: number, full: FullLimit): void {
    const seeker = this.#byId.get(id);
    const seeking = seeker && this.#seeking.get(seeker);
    if (seeker === undefined || seeking?.asked === undefined) return;
    seeking.asked = undefined;
    this.#forgetIfEmpty(seeker, seeking);
    seeker.onPlaceRefused(full);
  }

  /** The primary knows who waits, and asks for it. */
  onSpare(): void {}

  give(seeker: PlaceSeeker): void {
    const seeking = this.#seekingOf(seeker);
    seeking.held--;
    this.#own.add(seeker, -1);
    this.#link.notify({ kind: 'gone', pool: seeking.name.id });
    this.#forgetIfEmpty(seeker, seeking);
  }

  withdraw(seeker: PlaceSeeker): void {
    const seeking = this.#seeking.get(seeker);
    if (seeking?.asked === undefined) return;
    seeking.asked = undefined;
    this.#link.notify({ kind: 'withdraw', pool: seeking.name.id });
    this.#forgetIfEmpty(seeker, seeking);
  }

  ofDatabase(database: string): number {
    return this.#own.ofDatabase(database);
  }

  ofUser(user: string): number {
    return this.#own.ofUser(user);
  }

  #seekingOf(seeker: PlaceSeeker): Seeking {
    let seeking = this.#seeking.get(seeker);
    if (seeking === undefined) {
      const { database, user, use } = seeker;
      seeking = { name: { id: ++this.#lastId, database, user, use }, held: 0, asked: undefined };
      this.#seeking.set(seeker, seeking);
      this.#byId.set(seeking.name.id, seeker);
    }
    return seeking;
  }

  #forgetIfEmpty(seeker: PlaceSeeker, { name, held, asked }: Seeking): void {
    if (held > 0 || asked !== undefined || this.#granted === seeker) return;
    this.#seeking.delete(seeker);
    this.#byId.delete(name.id);
  }
}
