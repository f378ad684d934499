// Empties databases of servers that serve nobody, in this process and its siblings, for statements that fail while other sessions are there.

import { type ClientConnection, lookUp, type Vacate } from '../client/index.js';
import type { Pool } from '../pool/index.js';
import { addressText } from '../server/index.js';
import { inert } from '../session/index.js';
import type { DatabaseUse } from '../sql/index.js';
import { PoolerError } from '../util/index.js';

/** What is to be left. */
export interface VacancyOrder {
  /** Given by whoever orders it, for ending it. */
  readonly id: string;
  readonly databases: readonly DatabaseUse[];
  /** Where they are: texts of hosts and addresses. */
  readonly places: readonly string[];
}

/** The other processes. */
export interface VacancySiblings {
  /** Resolves when they have obeyed; never rejects. */
  vacate(order: VacancyOrder): Promise<void>;
  endVacancy(order: VacancyOrder, dropped: boolean): void;
}

/** By then the statement has PostgreSQL's lock on the database, which keeps sessions out; or has been forgotten by a process that is gone. */
const keptMsMax = 10_000;

/** How often PostgreSQL, too, looks whether sessions have left. */
const lookMs = 100;

/** For a server that stands for clients who have none. */
const reachMsMax = 1_500;

export class Vacancy {
  readonly #pools: () => Iterable<Pool>;
  readonly #siblings: VacancySiblings | undefined;
  readonly #index: number;
  /** What lets servers in again, for each order that is in force. */
  readonly #ends = new Map<string, () => void>();
  #lastId = 0;

  /** @param index of this process */
  constructor(pools: () => Iterable<Pool>, siblings: VacancySiblings | undefined, index: number) {
    this.#pools = pools;
    this.#siblings = siblings;
    this.#index = index;
  }

  /** For a client of `own`. @returns see `Vacate` */
  async order(own: Pool, databases: readonly DatabaseUse[]): ReturnType<Vacate> {
    const id = `${this.#index}-${++this.#lastId}`;
    const order = { id, databases, places: [...placesOf(own)] };
    await Promise.all([this.obey(order, own), this.#siblings?.vacate(order)]);
    return (dropped) => {
      this.end(order, dropped);
      this.#siblings?.endVacancy(order, dropped);
    };
  }

  /** @param own the pool that the statement will need a server of */
  async obey(order: VacancyOrder, own?: Pool): Promise<void> {
    const { id } = order;
    const releases: (() => void)[] = [];
    const used = new Set<string>();
    const vacate = (name: string): void => {
      for (const pool of this.#poolsIn(name, order, own)) {
        if (pool === own) pool.closeIdle();
        else releases.push(pool.vacate());
      }
    };
    // Clients that were leaving when the statement came are in nobody's way: PostgreSQL waits a while for sessions that leave.
    const watch = setInterval(() => {
      for (const name of used) {
        if (usersOf(this.#poolsIn(name, order, own), own).length > 0) continue;
        used.delete(name);
        vacate(name);
      }
    }, lookMs);
    watch.unref();
    const timer = setTimeout(() => this.#release(id), keptMsMax);
    timer.unref();
    this.#ends.set(id, () => {
      clearTimeout(timer);
      clearInterval(watch);
      for (const release of releases) release();
    });
    await Promise.all(
      order.databases.map(async ({ name, use }) => {
        const stays = use !== 'name' && (await isKept(this.#poolsIn(name, order, own), own));
        // It may have been over before anybody knew.
        if (!this.#ends.has(id)) return;
        if (stays) used.add(name);
        else vacate(name);
      }),
    );
  }

  /** The statement is answered, and has `dropped` its database or not. */
  end(order: VacancyOrder, dropped: boolean): void {
    this.#release(order.id);
    if (!dropped) return;
    for (const { name, use } of order.databases) {
      if (use !== 'forced') continue;
      for (const pool of this.#poolsIn(name, order, undefined)) {
        for (const client of sharersOf(pool)) client.fail(terminated());
        pool.vacate()();
      }
    }
  }

  #release(id: string): void {
    this.#ends.get(id)?.();
    this.#ends.delete(id);
  }

  #poolsIn(database: string, { places }: VacancyOrder, own: Pool | undefined): Pool[] {
    return [...this.#pools()].filter(
      (pool) =>
        pool.target.dbname === database &&
        (pool === own || [...placesOf(pool)].some((place) => places.includes(place))),
    );
  }
}

/**
 * Whether other clients are connected to the database, which they would lose: PostgreSQL is to see a session of theirs
 * then, as it would without weir. Where they share none just now, one is made, so that all that PostgreSQL has to say of
 * the statement comes from itself.
 */
async function isKept(pools: readonly Pool[], own: Pool | undefined): Promise<boolean> {
  const users = usersOf(pools, own);
  if (users.length === 0) return false;
  if (pools.some((pool) => pool.servers.size > countOf(pool, own))) return true;
  for (const pool of users) if (pool !== own && pool.mayGrow && (await reaches(pool))) return true;
  return false;
}

/** Those of the pools that other clients share. */
function usersOf(pools: readonly Pool[], own: Pool | undefined): Pool[] {
  return pools.filter((pool) => sharersOf(pool).length > countOf(pool, own));
}

/** Clients, and servers, of the pool that are the statement's own. */
function countOf(pool: Pool, own: Pool | undefined): number {
  return pool === own ? 1 : 0;
}

/** A client of replication has a session of its own, which PostgreSQL sees. */
function sharersOf({ clients }: Pool): ClientConnection[] {
  return [...clients].map((client) => client as ClientConnection).filter(({ session }) => session !== undefined);
}

/** As PostgreSQL says it to the sessions of a database that is dropped WITH (FORCE). */
function terminated(): PoolerError {
  return new PoolerError('terminating connection due to administrator command', { sqlstate: '57P01' });
}

/** Has the pool make a server. @returns whether there is one: the database may be gone */
function reaches(pool: Pool): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), reachMsMax);
    timer.unref();
    const settle = (reached: boolean): void => {
      clearTimeout(timer);
      resolve(reached);
    };
    lookUp(pool, 'SELECT 1', [], inert).then(
      () => settle(true),
      () => settle(false),
    );
  });
}

/** Hosts as they are configured, and addresses that servers have: one server may be known by several. */
function* placesOf({ target, servers }: Pool): Iterable<string> {
  for (const host of target.hosts) yield `${host.kind === 'tcp' ? host.host : host.path}:${host.port}`;
  for (const { address } of servers) yield addressText(address);
}
