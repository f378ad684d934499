// Statistics per database for SHOW STATS and its kin: those of the pools, and those of the console.

import { type DatabaseStatistics, noTotals } from '../../pooler/index.js';
import type { Context } from '../command.js';
import { consoleDatabase } from '../databases.js';

/** PgBouncer counts each console command as a query and a transaction of its console. */
export function statistics({ pooler, commands }: Context): DatabaseStatistics[] {
  const totals = { ...noTotals(), xact_count: commands, query_count: commands };
  return [{ database: consoleDatabase, totals, averages: noTotals() }, ...pooler.statistics()];
}
