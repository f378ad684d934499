// Totals per database and their averages over the last period, as SHOW STATS shows them.

import type { Pool } from '../pool/index.js';

/** Times in microseconds, as PgBouncer's. */
export interface DatabaseTotals {
  server_assignment_count: number;
  xact_count: number;
  query_count: number;
  bytes_received: number;
  bytes_sent: number;
  xact_time: number;
  query_time: number;
  wait_time: number;
  client_parse_count: number;
  server_parse_count: number;
  bind_count: number;
}

export function noTotals(): DatabaseTotals {
  return {
    server_assignment_count: 0,
    xact_count: 0,
    query_count: 0,
    bytes_received: 0,
    bytes_sent: 0,
    xact_time: 0,
    query_time: 0,
    wait_time: 0,
    client_parse_count: 0,
    server_parse_count: 0,
    bind_count: 0,
  };
}

const keys = Object.keys(noTotals()) as (keyof DatabaseTotals)[];

export function addTotals(to: DatabaseTotals, more: DatabaseTotals): void {
  for (const key of keys) to[key] += more[key];
}

function totalsOf(pool: Pool): DatabaseTotals {
  const { traffic } = pool;
  return {
    server_assignment_count: pool.assignments,
    xact_count: traffic.transactions,
    query_count: traffic.queries,
    bytes_received: traffic.bytesReceived,
    bytes_sent: traffic.bytesSent,
    xact_time: Math.round(traffic.transactionTime.sumMs * 1_000),
    query_time: Math.round(traffic.queryTime.sumMs * 1_000),
    wait_time: Math.round(pool.waitTime.sumMs * 1_000),
    client_parse_count: traffic.clientParses,
    server_parse_count: traffic.serverParses,
    bind_count: traffic.binds,
  };
}

export interface DatabaseStatistics {
  readonly database: string;
  readonly totals: DatabaseTotals;
  /** Counts and bytes per second; times per transaction, query and assignment. */
  readonly averages: DatabaseTotals;
}

export class Statistics {
  /** Totals of pools that were forgotten, so that a database's counters never run backwards. */
  readonly #forgotten = new Map<string, DatabaseTotals>();
  #before = new Map<string, DatabaseTotals>();
  #averages = new Map<string, DatabaseTotals>();
  #beforeMs: number;

  constructor(nowMs: number) {
    this.#beforeMs = nowMs;
  }

  forget(pool: Pool): void {
    const totals = this.#forgotten.get(pool.database) ?? noTotals();
    addTotals(totals, totalsOf(pool));
    this.#forgotten.set(pool.database, totals);
  }

  #totals(pools: Iterable<Pool>): Map<string, DatabaseTotals> {
    const byDatabase = new Map<string, DatabaseTotals>();
    for (const [database, totals] of this.#forgotten) byDatabase.set(database, { ...totals });
    for (const pool of pools) {
      const totals = byDatabase.get(pool.database) ?? noTotals();
      addTotals(totals, totalsOf(pool));
      byDatabase.set(pool.database, totals);
    }
    return byDatabase;
  }

  /** A period is over: its averages are taken. */
  tick(pools: Iterable<Pool>, nowMs: number): void {
    const totals = this.#totals(pools);
    const seconds = Math.max(0.001, (nowMs - this.#beforeMs) / 1_000);
    this.#averages = new Map();
    for (const [database, now] of totals) {
      const before = this.#before.get(database) ?? noTotals();
      const difference = noTotals();
      for (const key of keys) difference[key] = now[key] - before[key];
      const each = (sum: number, count: number): number => (count === 0 ? 0 : Math.round(sum / count));
      const averages = noTotals();
      for (const key of keys) averages[key] = Math.round(difference[key] / seconds);
      averages.xact_time = each(difference.xact_time, difference.xact_count);
      averages.query_time = each(difference.query_time, difference.query_count);
      averages.wait_time = each(difference.wait_time, difference.server_assignment_count);
      this.#averages.set(database, averages);
    }
    this.#before = totals;
    this.#beforeMs = nowMs;
  }

  list(pools: Iterable<Pool>): DatabaseStatistics[] {
    const rows: DatabaseStatistics[] = [];
    for (const [database, totals] of this.#totals(pools)) {
      rows.push({ database, totals, averages: this.#averages.get(database) ?? noTotals() });
    }
    return rows.sort((a, b) => (a.database < b.database ? -1 : 1));
  }
}
