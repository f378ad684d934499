// The primary's account of server connections: which worker has how many for which pool, who waits for one, and who should give one up.

import { type FullLimit, PlaceCounts, type PlaceLimits, type PlaceNeed } from '../pool/index.js';
import type { Clock } from '../util/index.js';
import type { PoolName } from './messages.js';

/** What becomes of it, told to workers. */
export interface ServerLedgerEvents {
  granted(worker: number, pool: number): void;
  /** See `PlaceSeeker.onPlaceRefused`. */
  refused(worker: number, pool: number, full: FullLimit): void;
  /** See `PlaceSeeker.onPlaceWanted`. */
  wanted(worker: number, pool: number, urgently: boolean): void;
  kept(worker: number, pool: number): void;
}

/** Ordered by how much it asks. */
const pressures = ['none', 'when-unneeded', 'when-free'] as const;
type Pressure = (typeof pressures)[number];

/** The places of one pool in one worker. */
interface Holding {
  readonly worker: number;
  readonly pool: PoolName;
  held: number;
  grantedMs: number;
  pressure: Pressure;
  /** When it was last asked to give up the next one that is free. */
  pressedMs: number;
}

/** All holdings that count to one pool_size. */
interface Shared {
  readonly key: string;
  readonly database: string;
  readonly user: string;
  readonly holdings: Set<Holding>;
  held: number;
}

interface Wish {
  readonly holding: Holding;
  readonly shared: Shared;
  limits: PlaceLimits;
  need: PlaceNeed;
}

/** Where there are fewer places than workers with clients, a worker keeps the one it got for so long. */
const keptMsMin = 100;

export class ServerLedger {
  readonly #events: ServerLedgerEvents;
  readonly #clock: Clock;
  readonly #holdings = new Map<string, Holding>();
  readonly #shared = new Map<string, Shared>();
  readonly #counts = new PlaceCounts();
  /** By holding, in the order they were made. */
  readonly #wishes = new Map<Holding, Wish>();

  constructor(clock: Clock, events: ServerLedgerEvents) {
    this.#clock = clock;
    this.#events = events;
  }

  /** Whether `tick` has anything to do. */
  get busy(): boolean {
    if (this.#wishes.size > 0) return true;
    for (const { pressure } of this.#holdings.values()) if (pressure !== 'none') return true;
    return false;
  }

  /** Places of all pools, by worker. */
  heldBy(worker: number): number {
    let sum = 0;
    for (const holding of this.#holdings.values()) if (holding.worker === worker) sum += holding.held;
    return sum;
  }

  want(worker: number, pool: PoolName, limits: PlaceLimits, need: PlaceNeed): void {
    const key = keyOf(worker, pool.id);
    let holding = this.#holdings.get(key);
    if (holding === undefined) {
      holding = { worker, pool, held: 0, grantedMs: 0, pressure: 'none', pressedMs: 0 };
      this.#holdings.set(key, holding);
      this.#sharedOf(holding).holdings.add(holding);
    }
    const before = this.#wishes.get(holding);
    const wish = before ?? { holding, shared: this.#sharedOf(holding), limits, need };
    wish.limits = limits;
    wish.need = need;
    if (this.#grant(wish) || this.#refuse(wish)) return;
    this.#wishes.set(holding, wish);
    this.#press(wish, new Set());
  }

  withdraw(worker: number, pool: number): void {
    const holding = this.#holdings.get(keyOf(worker, pool));
    if (holding === undefined) return;
    this.#wishes.delete(holding);
    this.#forgetIfEmpty(holding);
  }

  /** A place is free again. */
  gone(worker: number, pool: number): void {
    const holding = this.#holdings.get(keyOf(worker, pool));
    if (holding === undefined || holding.held === 0) return;
    holding.pressure = 'none';
    this.#add(holding, -1);
    this.#forgetIfEmpty(holding);
    this.#serve();
  }

  /** The worker is gone and all it had. */
  lost(worker: number): void {
    for (const holding of [...this.#holdings.values()]) {
      if (holding.worker !== worker) continue;
      this.#wishes.delete(holding);
      this.#add(holding, -holding.held);
      this.#forgetIfEmpty(holding);
    }
    this.#serve();
  }

  /** To be called now and then while `busy`. */
  tick(): void {
    this.#serve();
    const pressed = new Set<Holding>();
    for (const wish of this.#wishes.values()) this.#press(wish, pressed);
    for (const holding of this.#holdings.values()) {
      if (holding.pressure === 'none' || pressed.has(holding)) continue;
      holding.pressure = 'none';
      this.#events.kept(holding.worker, holding.pool.id);
    }
  }

  /** Those for whom clients wait come first. */
  #serve(): void {
    for (const waiting of [true, false]) {
      for (const wish of [...this.#wishes.values()]) {
        if ((wish.need !== 'minimum') !== waiting) continue;
        if (this.#grant(wish)) this.#wishes.delete(wish.holding);
        else this.#refuse(wish);
      }
    }
  }

  /** Answers whether it is one that no place can be had for, as things are. */
  #refuse({ holding, limits }: Wish): boolean {
    const full = this.#counts.refusalFor(holding.pool, limits);
    if (full === undefined) return false;
    this.#wishes.delete(holding);
    this.#events.refused(holding.worker, holding.pool.id, full);
    this.#forgetIfEmpty(holding);
    return true;
  }

  #grant({ holding, shared, limits }: Wish): boolean {
    if (this.#fullOf(holding, shared, limits) !== undefined) return false;
    if (this.#counts.refusalFor(holding.pool, limits) !== undefined) return false;
    holding.grantedMs = this.#clock.now();
    this.#add(holding, 1);
    this.#events.granted(holding.worker, holding.pool.id);
    return true;
  }

  #fullOf({ pool }: Holding, { held }: Shared, limits: PlaceLimits): 'pool' | FullLimit | undefined {
    return held >= limits.poolMax ? 'pool' : this.#counts.fullFor(pool, limits);
  }

  /** Makes those give up a place who have more than their share, or do not need what they have. */
  #press(wish: Wish, pressed: Set<Holding>): void {
    if (wish.need === 'minimum') return;
    const full = this.#fullOf(wish.holding, wish.shared, wish.limits);
    if (full === undefined) return;
    // Also under the other limits, a pool is as fair to its clients as with one process.
    this.#pressPool(wish, pressed);
    if (full === 'pool') return;
    for (const other of this.#shared.values()) {
      if (full === 'database' ? other.database !== wish.shared.database : other.user !== wish.shared.user) continue;
      for (const holding of other.holdings) if (holding !== wish.holding) this.#pressOn(holding, false, pressed);
    }
  }

  #pressPool({ holding: { worker }, shared, need }: Wish, pressed: Set<Holding>): void {
    const now = this.#clock.now();
    let mine = 0;
    let most: Holding | undefined;
    for (const holding of shared.holdings) {
      if (holding.worker === worker) mine += holding.held;
      // One that has not given up any is asked no less, but so is the next: all it has may be in long transactions.
      else if (!tried(holding, now) && holding.held > (most?.held ?? 0)) most = holding;
    }
    for (const holding of shared.holdings) {
      if (holding.worker === worker) continue;
      const needier = mine === 0 || (need === 'starving' && this.#wishes.get(holding)?.need !== 'starving');
      const unfair = holding.held > mine + 1 || (needier && now - holding.grantedMs >= keptMsMin);
      this.#pressOn(holding, holding === most && unfair, pressed);
    }
  }

  #pressOn(holding: Holding, urgently: boolean, pressed: Set<Holding>): void {
    if (holding.held === 0) return;
    pressed.add(holding);
    const pressure = urgently ? 'when-free' : 'when-unneeded';
    if (pressures.indexOf(holding.pressure) >= pressures.indexOf(pressure)) return;
    holding.pressure = pressure;
    if (urgently) holding.pressedMs = this.#clock.now();
    this.#events.wanted(holding.worker, holding.pool.id, urgently);
  }

  #sharedOf({ worker, pool: { id, database, user, use } }: Holding): Shared {
    const key = use === 'clients' ? `${database}\0${user}` : `${database}\0${user}\0${keyOf(worker, id)}`;
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      shared = { key, database, user, holdings: new Set(), held: 0 };
      this.#shared.set(key, shared);
    }
    return shared;
  }

  #add(holding: Holding, difference: number): void {
    holding.held += difference;
    this.#sharedOf(holding).held += difference;
    this.#counts.add(holding.pool, difference);
  }

  #forgetIfEmpty(holding: Holding): void {
    if (holding.held > 0 || this.#wishes.has(holding)) return;
    this.#holdings.delete(keyOf(holding.worker, holding.pool.id));
    const shared = this.#sharedOf(holding);
    shared.holdings.delete(holding);
    if (shared.holdings.size === 0) this.#shared.delete(shared.key);
  }
}

function tried({ pressure, pressedMs }: Holding, now: number): boolean {
  return pressure === 'when-free' && now - pressedMs >= keptMsMin;
}

function keyOf(worker: number, pool: number): string {
  return `${worker} ${pool}`;
}
