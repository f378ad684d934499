// A worker's places for clients. The place of one that has left is kept a moment for the next: logins that come and go ask nobody.

import type { ClientLimits } from '../pooler/index.js';
import { assert, type Clock, type PoolerError } from '../util/index.js';

/** Who has the account of all workers' places. */
export interface PlaceOffice {
  /** Takes a place, or says why there is none. */
  admit(database: string, user: string, limits: ClientLimits): Promise<PoolerError | undefined>;
  dismiss(database: string, user: string, count: number): void;
}

/** Of one database and user. */
interface Account {
  readonly database: string;
  readonly user: string;
  /** Under which a place was granted last: while they are the same, a kept place is as good as a new one. */
  limits: ClientLimits;
  open: number;
  kept: number;
  /** The fewest kept since the last tick: so many were not needed. */
  spare: number;
}

/** For how long a worker keeps no places after they were asked back; until then nobody need ask again. */
export const recallMs = 1_000;

export class ClientPlaces {
  readonly #office: PlaceOffice;
  readonly #clock: Clock;
  readonly #accounts = new Map<string, Account>();
  #recalledMs = Number.NEGATIVE_INFINITY;

  constructor(office: PlaceOffice, clock: Clock) {
    this.#office = office;
    this.#clock = clock;
  }

  /** Takes a place, or says why there is none. */
  async admit(database: string, user: string, limits: ClientLimits): Promise<PoolerError | undefined> {
    const key = `${database}\0${user}`;
    const account = this.#accounts.get(key);
    if (account !== undefined && account.kept > 0) {
      if (same(account.limits, limits)) {
        account.kept--;
        account.spare = Math.min(account.spare, account.kept);
        account.open++;
        return undefined;
      }
      this.#giveBack(key, account, account.kept);
    }
    const refusal = await this.#office.admit(database, user, limits);
    if (refusal !== undefined) return refusal;
    const now = this.#accounts.get(key);
    if (now === undefined) this.#accounts.set(key, { database, user, limits, open: 1, kept: 0, spare: 0 });
    else {
      now.open++;
      now.limits = limits;
    }
    return undefined;
  }

  dismiss(database: string, user: string): void {
    const key = `${database}\0${user}`;
    const account = this.#accounts.get(key);
    assert(account !== undefined && account.open > 0, 'a place that is left was taken');
    account.open--;
    account.kept++;
    if (this.#clock.now() < this.#recalledMs + recallMs) this.#giveBack(key, account, 1);
  }

  /** Gives back what is kept, and keeps nothing for a while: somebody else would be refused. */
  recall(): void {
    this.#recalledMs = this.#clock.now();
    for (const [key, account] of this.#accounts) this.#giveBack(key, account, account.kept);
  }

  /** Gives back what has not been needed since the last time. */
  tick(): void {
    for (const [key, account] of this.#accounts) this.#giveBack(key, account, account.spare);
  }

  #giveBack(key: string, account: Account, count: number): void {
    if (count > 0) this.#office.dismiss(account.database, account.user, count);
    account.kept -= count;
    account.spare = account.kept;
    if (account.open === 0 && account.kept === 0) this.#accounts.delete(key);
  }
}

function same(a: ClientLimits, b: ClientLimits): boolean {
  return a.all === b.all && a.database === b.database && a.user === b.user;
}
