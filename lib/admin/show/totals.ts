// SHOW TOTALS: the statistics of all databases together, one value a row.

import { addTotals, type DatabaseTotals, noTotals } from '../../pooler/index.js';
import { show } from '../command.js';
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

export const totals = show('totals', { name: 'text', value: 'numeric' }, (context) => {
  const sums = noTotals();
  const averages = noTotals();
  for (const database of statistics(context)) {
    addTotals(sums, database.totals);
    addAverages(averages, database.averages);
  }
  return [
    ...keys.map((key) => ({ name: `total_${names[key]}`, value: sums[key] })),
    ...keys.map((key) => ({ name: `avg_${names[key]}`, value: averages[key] })),
  ];
});

/** Rates add up; a time per transaction, query or assignment is weighted by how many there were. */
function addAverages(to: DatabaseTotals, more: DatabaseTotals): void {
  const xactTime = weighted(to.xact_time, to.xact_count, more.xact_time, more.xact_count);
  const queryTime = weighted(to.query_time, to.query_count, more.query_time, more.query_count);
  const waitTime = weighted(to.wait_time, to.server_assignment_count, more.wait_time, more.server_assignment_count);
  addTotals(to, more);
  to.wait_time = waitTime;
  to.xact_time = xactTime;
  to.query_time = queryTime;
}

function weighted(a: number, countA: number, b: number, countB: number): number {
  // Less than one in two seconds is a rate of 0, but still has a time.
  if (countA + countB === 0) return Math.max(a, b);
  return Math.round((a * countA + b * countB) / (countA + countB));
}
