// Empties databases of servers that serve nobody, in this process and its siblings, for statements that fail while other sessions are there.

import type { Pool } from '../pool/index.js';
import { addressText } from '../server/index.js';

/** What is to be left. */
export interface VacancyOrder {
  /** Given by whoever orders it, for ending it. */
  readonly id: string;
  readonly databases: readonly string[];
  /** Where they are: texts of hosts and addresses. */
  readonly places: readonly string[];
}

/** The other processes. */
export interface VacancySiblings {
  /** Resolves when they have obeyed; never rejects. */
  vacate(order: VacancyOrder): Promise<void>;
  endVacancy(id: string): void;
}

/** By then the statement has PostgreSQL's lock on the database, which keeps sessions out; or has been forgotten by a process that is gone. */
const keptMsMax = 10_000;

export class Vacancy {
  readonly #pools: () => Iterable<Pool>;
  readonly #siblings: VacancySiblings | undefined;
  readonly #index: number;
  /** What ends each order that is in force. */
  readonly #ends = new Map<string, () => void>();
  #lastId = 0;

  /** @param index of this process */
  constructor(pools: () => Iterable<Pool>, siblings: VacancySiblings | undefined, index: number) {
    this.#pools = pools;
    this.#siblings = siblings;
    this.#index = index;
  }

  /** For a client of `own`. @returns see `Vacate` */
  async order(own: Pool, databases: readonly string[]): Promise<() => void> {
    const id = `${this.#index}-${++this.#lastId}`;
    const order = { id, databases, places: [...placesOf(own)] };
    this.obey(order, own);
    await this.#siblings?.vacate(order);
    return () => {
      this.end(id);
      this.#siblings?.endVacancy(id);
    };
  }

  /** @param own the pool that the statement will need a server of */
  obey({ id, databases, places }: VacancyOrder, own?: Pool): void {
    const releases: (() => void)[] = [];
    for (const pool of this.#pools()) {
      if (!databases.includes(pool.target.dbname)) continue;
      if (pool === own) pool.closeIdle();
      else if ([...placesOf(pool)].some((place) => places.includes(place))) releases.push(pool.vacate());
    }
    const timer = setTimeout(() => this.end(id), keptMsMax);
    timer.unref();
    this.#ends.set(id, () => {
      clearTimeout(timer);
      for (const release of releases) release();
    });
  }

  end(id: string): void {
    this.#ends.get(id)?.();
    this.#ends.delete(id);
  }
}

/** Hosts as they are configured, and addresses that servers have: one server may be known by several. */
function* placesOf({ target, servers }: Pool): Iterable<string> {
  for (const host of target.hosts) yield `${host.kind === 'tcp' ? host.host : host.path}:${host.port}`;
  for (const { address } of servers) yield addressText(address);
}
