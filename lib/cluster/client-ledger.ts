// The primary's account of clients: how many each worker has admitted, per database and user, against the limits on them.

import { type ClientLimits, overLimit } from '../pooler/index.js';
import { type PoolerError, Tally } from '../util/index.js';

interface Named {
  readonly database: string;
  readonly user: string;
  count: number;
}

export class ClientLedger {
  readonly #byWorker = new Map<number, Map<string, Named>>();
  readonly #byDatabase = new Tally();
  readonly #byUser = new Tally();
  #all = 0;

  /** Takes a place, or says why there is none. */
  admit(worker: number, database: string, user: string, limits: ClientLimits): PoolerError | undefined {
    const refusal = overLimit(limits, {
      all: this.#all,
      database: this.#byDatabase.of(database),
      user: this.#byUser.of(user),
    });
    if (refusal !== undefined) return refusal;
    let admitted = this.#byWorker.get(worker);
    if (admitted === undefined) {
      admitted = new Map();
      this.#byWorker.set(worker, admitted);
    }
    const key = `${database}\0${user}`;
    const named = admitted.get(key) ?? { database, user, count: 0 };
    named.count++;
    admitted.set(key, named);
    this.#add(database, user, 1);
    return undefined;
  }

  dismiss(worker: number, database: string, user: string): void {
    const admitted = this.#byWorker.get(worker);
    const key = `${database}\0${user}`;
    const named = admitted?.get(key);
    if (admitted === undefined || named === undefined) return;
    if (--named.count === 0) admitted.delete(key);
    this.#add(database, user, -1);
  }

  /** The worker is gone, and its clients. */
  lost(worker: number): void {
    for (const { database, user, count } of this.#byWorker.get(worker)?.values() ?? [])
      this.#add(database, user, -count);
    this.#byWorker.delete(worker);
  }

  of(worker: number): number {
    let sum = 0;
    for (const { count } of this.#byWorker.get(worker)?.values() ?? []) sum += count;
    return sum;
  }

  get all(): number {
    return this.#all;
  }

  #add(database: string, user: string, difference: number): void {
    this.#all += difference;
    this.#byDatabase.add(database, difference);
    this.#byUser.add(user, difference);
  }
}
