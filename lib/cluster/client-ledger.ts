// The primary's account of places for clients: all of them against the limits, and by worker, so that those of one that dies can be
// taken off.

import { ClientCounts, type ClientLimits } from '../pooler/index.js';
import type { PoolerError } from '../util/index.js';

interface Named {
  readonly database: string;
  readonly user: string;
  count: number;
}

export class ClientLedger {
  readonly #counts = new ClientCounts();
  readonly #byWorker = new Map<number, Map<string, Named>>();

  /** Takes a place, or says why there is none. */
  admit(worker: number, database: string, user: string, limits: ClientLimits): PoolerError | undefined {
    const refusal = this.#counts.refusal(database, user, limits);
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
    this.#counts.add(database, user);
    return undefined;
  }

  dismiss(worker: number, database: string, user: string, count: number): void {
    const admitted = this.#byWorker.get(worker);
    const key = `${database}\0${user}`;
    const named = admitted?.get(key);
    if (admitted === undefined || named === undefined) return;
    named.count -= count;
    if (named.count === 0) admitted.delete(key);
    this.#counts.add(database, user, -count);
  }

  /** The worker is gone, and its clients. */
  lost(worker: number): void {
    for (const { database, user, count } of this.#byWorker.get(worker)?.values() ?? []) {
      this.#counts.add(database, user, -count);
    }
    this.#byWorker.delete(worker);
  }

  get all(): number {
    return this.#counts.all;
  }
}
