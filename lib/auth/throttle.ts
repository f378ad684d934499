// Slows down whoever keeps failing to log in: a delay that doubles, per address and per user at an address.

import { LRUCache } from 'lru-cache';
import type { Clock } from '../util/index.js';
import { throttleEntriesMax } from './limits.js';

export interface ThrottleRate {
  /** Failures that cost nothing: people mistype. */
  readonly freeFailures: number;
  /** The delay after the first failure that costs; it doubles with each further one. */
  readonly delayMsFirst: number;
  readonly delayMsMax: number;
  /** Without a failure for so long, all is forgotten. */
  readonly forgetMs: number;
}

/** One user from one address. */
export const userThrottleRate: ThrottleRate = {
  freeFailures: 3,
  delayMsFirst: 100,
  delayMsMax: 10_000,
  forgetMs: 10 * 60_000,
};

/** Any user from one address. Looser, because one address may be a whole platform with one broken tenant. */
export const addressThrottleRate: ThrottleRate = {
  freeFailures: 50,
  delayMsFirst: 50,
  delayMsMax: 2_000,
  forgetMs: 60_000,
};

export interface LoginThrottleOptions {
  readonly clock: Clock;
  readonly entriesMax?: number;
  readonly userRate?: ThrottleRate;
  readonly addressRate?: ThrottleRate;
}

interface Entry {
  failures: number;
  lastFailureAt: number;
}

/** PostgreSQL cuts names there; longer ones make no longer keys. */
const userLengthMax = 63;

/** Never locks anyone out for good: the longest wait is `delayMsMax`. */
export class LoginThrottle {
  readonly #clock: Clock;
  readonly #byUser: Ledger;
  readonly #byAddress: Ledger;

  constructor(options: LoginThrottleOptions) {
    const entriesMax = options.entriesMax ?? throttleEntriesMax;
    this.#clock = options.clock;
    this.#byUser = new Ledger(options.userRate ?? userThrottleRate, entriesMax);
    this.#byAddress = new Ledger(options.addressRate ?? addressThrottleRate, entriesMax);
  }

  /** Milliseconds from now until this login may be tried; 0 is at once. */
  delayMs(address: string, user: string): number {
    const now = this.#clock.now();
    const place = placeOf(address);
    return Math.max(this.#byAddress.delayMs(place, now), this.#byUser.delayMs(userKey(place, user), now));
  }

  failed(address: string, user: string): void {
    const now = this.#clock.now();
    const place = placeOf(address);
    this.#byAddress.add(place, now);
    this.#byUser.add(userKey(place, user), now);
  }

  /**
   * Clears the user, but only halves the address's: one good account must not wash a guesser clean.
   * @returns whether there was anything to forgive
   */
  succeeded(address: string, user: string): boolean {
    const place = placeOf(address);
    const known = this.#byUser.forget(userKey(place, user));
    return this.#byAddress.halve(place) || known;
  }

  get entries(): number {
    return this.#byUser.size + this.#byAddress.size;
  }
}

class Ledger {
  readonly #rate: ThrottleRate;
  readonly #entries: LRUCache<string, Entry>;

  constructor(rate: ThrottleRate, entriesMax: number) {
    this.#rate = rate;
    this.#entries = new LRUCache({ max: entriesMax });
  }

  get size(): number {
    return this.#entries.size;
  }

  delayMs(key: string, now: number): number {
    const entry = this.#live(key, now);
    if (entry === undefined || entry.failures <= this.#rate.freeFailures) return 0;
    const doublings = Math.min(entry.failures - this.#rate.freeFailures - 1, 30);
    const penaltyMs = Math.min(this.#rate.delayMsFirst * 2 ** doublings, this.#rate.delayMsMax);
    return Math.max(entry.lastFailureAt + penaltyMs - now, 0);
  }

  add(key: string, now: number): void {
    const entry = this.#live(key, now);
    if (entry === undefined) {
      this.#entries.set(key, { failures: 1, lastFailureAt: now });
      return;
    }
    entry.failures++;
    entry.lastFailureAt = now;
  }

  forget(key: string): boolean {
    return this.#entries.delete(key);
  }

  halve(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.failures >>= 1;
    return entry !== undefined;
  }

  #live(key: string, now: number): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || now - entry.lastFailureAt <= this.#rate.forgetMs) return entry;
    this.#entries.delete(key);
    return undefined;
  }
}

function userKey(place: string, user: string): string {
  return `${place} ${user.slice(0, userLengthMax)}`;
}

/** IPv6 by its /64, which is what one subscriber gets; IPv4 written as IPv6 by its IPv4 form. */
function placeOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null) return mapped[1] ?? address;
  if (!address.includes(':')) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::', 2);
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(8 - front.length - back.length, 0);
  const groups = [...front, ...new Array<string>(zeros).fill('0'), ...back].slice(0, 4);
  return `${groups.join(':').toLowerCase()}::/64`;
}
