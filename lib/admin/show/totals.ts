// SHOW TOTALS: the statistics of all databases together, one value a row.

import { addTotals, type DatabaseTotals, noTotals } from '../../pooler/index.js';
import { show, type Value } from '../command.js';
import { mean } from '../merge.js';
import { statistics } from './statistics-rows.js';

/** Names of the rows, in order, by the key of the statistics. */
const names = {
  server_assignment_count: 'server_assignment_count',
  xact_count: 'xact_count',
  query_count: 'query_count',
  bytes_received: 'client_bytes',
  bytes_sent: 'server_bytes',
  xact_time: 'xact_time',
  query_time: 'query_time',
  wait_time: 'wait_time',
  client_parse_count: 'ps_client_parse_count',
  server_parse_count: 'ps_server_parse_count',
  bind_count: 'ps_bind_count',
} as const;

const keys = Object.keys(names) as (keyof typeof names)[];

export const totals = show(
  'totals',
  { name: 'text', value: 'numeric' },
  (context) => {
    const sums = noTotals();
    const averages = noTotals();
    for (const database of statistics(context)) {
      addTotals(sums, database.totals);
      addAverages(averages, database.averages);
    }
    return rowsOf(sums, averages);
  },
  (parts) => {
    const sums = noTotals();
    const averages = noTotals();
    for (const part of parts) {
      const values = new Map(part.map(({ name, value }) => [name, Number(value)]));
      addTotals(sums, totalsIn(values, 'total'));
      addAverages(averages, totalsIn(values, 'avg'));
    }
    return rowsOf(sums, averages);
  },
);

function rowsOf(sums: DatabaseTotals, averages: DatabaseTotals): { name: string; value: number }[] {
  return [
    ...keys.map((key) => ({ name: `total_${names[key]}`, value: sums[key] })),
    ...keys.map((key) => ({ name: `avg_${names[key]}`, value: averages[key] })),
  ];
}

function totalsIn(values: ReadonlyMap<Value, number>, prefix: 'total' | 'avg'): DatabaseTotals {
  const found = noTotals();
  for (const key of keys) found[key] = values.get(`${prefix}_${names[key]}`) ?? 0;
  return found;
}

/** Rates add up; a time per transaction, query or assignment is weighted by how many there were. */
function addAverages(to: DatabaseTotals, more: DatabaseTotals): void {
  const xactTime = mean(to.xact_time, to.xact_count, more.xact_time, more.xact_count);
  const queryTime = mean(to.query_time, to.query_count, more.query_time, more.query_count);
  const waitTime = mean(to.wait_time, to.server_assignment_count, more.wait_time, more.server_assignment_count);
  addTotals(to, more);
  to.wait_time = waitTime;
  to.xact_time = xactTime;
  to.query_time = queryTime;
}
