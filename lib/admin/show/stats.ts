// SHOW STATS: totals per database since the start, and averages of the last period.

import { show } from '../command.js';
import { summed } from '../merge.js';
import { statistics } from './statistics-rows.js';

const columns = {
  database: 'text',
  total_server_assignment_count: 'numeric',
  total_xact_count: 'numeric',
  total_query_count: 'numeric',
  total_received: 'numeric',
  total_sent: 'numeric',
  total_xact_time: 'numeric',
  total_query_time: 'numeric',
  total_wait_time: 'numeric',
  total_client_parse_count: 'numeric',
  total_server_parse_count: 'numeric',
  total_bind_count: 'numeric',
  avg_server_assignment_count: 'numeric',
  avg_xact_count: 'numeric',
  avg_query_count: 'numeric',
  avg_recv: 'numeric',
  avg_sent: 'numeric',
  avg_xact_time: 'numeric',
  avg_query_time: 'numeric',
  avg_wait_time: 'numeric',
  avg_client_parse_count: 'numeric',
  avg_server_parse_count: 'numeric',
  avg_bind_count: 'numeric',
} as const;

export const stats = show(
  'stats',
  columns,
  (context) =>
    statistics(context).map(({ database, totals, averages }) => ({
      database,
      total_server_assignment_count: totals.server_assignment_count,
      total_xact_count: totals.xact_count,
      total_query_count: totals.query_count,
      total_received: totals.bytes_received,
      total_sent: totals.bytes_sent,
      total_xact_time: totals.xact_time,
      total_query_time: totals.query_time,
      total_wait_time: totals.wait_time,
      total_client_parse_count: totals.client_parse_count,
      total_server_parse_count: totals.server_parse_count,
      total_bind_count: totals.bind_count,
      avg_server_assignment_count: averages.server_assignment_count,
      avg_xact_count: averages.xact_count,
      avg_query_count: averages.query_count,
      avg_recv: averages.bytes_received,
      avg_sent: averages.bytes_sent,
      avg_xact_time: averages.xact_time,
      avg_query_time: averages.query_time,
      avg_wait_time: averages.wait_time,
      avg_client_parse_count: averages.client_parse_count,
      avg_server_parse_count: averages.server_parse_count,
      avg_bind_count: averages.bind_count,
    })),
  summed({
    by: ['database'],
    means: {
      avg_xact_time: 'avg_xact_count',
      avg_query_time: 'avg_query_count',
      avg_wait_time: 'avg_server_assignment_count',
    },
    add: 'rest',
  }),
);
