// SHOW STATS_TOTALS: the totals of SHOW STATS.

import { show } from '../command.js';
import { summed } from '../merge.js';
import { statistics } from './statistics-rows.js';

const columns = {
  database: 'text',
  server_assignment_count: 'numeric',
  xact_count: 'numeric',
  query_count: 'numeric',
  bytes_received: 'numeric',
  bytes_sent: 'numeric',
  xact_time: 'numeric',
  query_time: 'numeric',
  wait_time: 'numeric',
  client_parse_count: 'numeric',
  server_parse_count: 'numeric',
  bind_count: 'numeric',
} as const;

export const statsTotals = show(
  'stats_totals',
  columns,
  (context) => statistics(context).map(({ database, totals }) => ({ database, ...totals })),
  summed({ by: ['database'], add: 'rest' }),
);
