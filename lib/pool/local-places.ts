// Grants places to the pools of one process that shares its limits with nobody: where none is free, a server that serves nobody gives way.

import {
  type FullLimit,
  type PlaceAnswer,
  PlaceCounts,
  type PlaceLimits,
  type PlaceName,
  type PlaceNeed,
  type PlaceSeeker,
  type ServerPlaces,
} from './budget.js';

export class LocalPlaces implements ServerPlaces {
  readonly #counts = new PlaceCounts();
  /** How many places each has. */
  readonly #held = new Map<PlaceSeeker, number>();
  /** Those for whom clients wait, in the order they came. */
  readonly #waiting = new Set<PlaceSeeker>();
  /** Room is being made for one of them: nobody else is to take it. */
  #making = false;

  take(seeker: PlaceSeeker, limits: PlaceLimits, need: PlaceNeed): PlaceAnswer {
    const refusal = this.#counts.refusalFor(seeker, limits);
    if (refusal !== undefined) {
      this.#waiting.delete(seeker);
      seeker.onPlaceRefused(refusal);
      return 'refused';
    }
    let made = false;
    for (;;) {
      const full = this.#counts.fullFor(seeker, limits);
      if (full === undefined) {
        this.#waiting.delete(seeker);
        this.#add(seeker, 1);
        return 'taken';
      }
      // A pool that is to be filled asks again with the next sweep: nobody waits for it.
      if (need === 'minimum') return 'asked';
      if (this.#makeRoom(seeker, full)) {
        made = true;
        continue;
      }
      this.#waiting.add(seeker);
      // There was one limit more than could be met: what has been given up is for others.
      if (made) this.#wake(seeker);
      return 'asked';
    }
  }

  give(seeker: PlaceSeeker): void {
    this.#add(seeker, -1);
    this.#wake(seeker);
  }

  withdraw(seeker: PlaceSeeker): void {
    this.#waiting.delete(seeker);
  }

  onSpare(seeker: PlaceSeeker): void {
    if (this.#waiting.size > 0) this.#wake(seeker);
  }

  ofDatabase(database: string): number {
    return this.#counts.ofDatabase(database);
  }

  ofUser(user: string): number {
    return this.#counts.ofUser(user);
  }

  #add(seeker: PlaceSeeker, difference: number): void {
    this.#counts.add(seeker, difference);
    const held = (this.#held.get(seeker) ?? 0) + difference;
    if (held === 0) this.#held.delete(seeker);
    else this.#held.set(seeker, held);
  }

  /** Of the servers that serve nobody the one goes that has done so longest; last, those a pool is to have anyway. */
  #makeRoom(seeker: PlaceSeeker, full: FullLimit): boolean {
    for (const which of ['surplus', 'any'] as const) {
      let chosen: PlaceSeeker | undefined;
      let sinceMs = Number.POSITIVE_INFINITY;
      for (const other of this.#held.keys()) {
        if (other === seeker || other[full] !== seeker[full]) continue;
        const spareSinceMs = other.spareSinceMs(which);
        if (spareSinceMs === undefined || spareSinceMs >= sinceMs) continue;
        chosen = other;
        sinceMs = spareSinceMs;
      }
      if (chosen !== undefined && this.#takeFrom(chosen)) return true;
    }
    return false;
  }

  #takeFrom(other: PlaceSeeker): boolean {
    const before = this.#making;
    this.#making = true;
    try {
      return other.giveWay();
    } finally {
      this.#making = before;
    }
  }

  /** A place of this name is free, or could be: those who wait under one of its limits ask again. */
  #wake({ database, user }: PlaceName): void {
    if (this.#making || this.#waiting.size === 0) return;
    for (const waiting of [...this.#waiting]) {
      if (waiting.database === database || waiting.user === user) waiting.reconsider();
    }
  }
}
