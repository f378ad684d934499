// SHOW STATS_AVERAGES: the averages of SHOW STATS.

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
  avg_client_parse_count: 'numeric',
  avg_server_parse_count: 'numeric',
  avg_bind_count: 'numeric',
} as const;

export const statsAverages = show(
  'stats_averages',
  columns,
  (context) =>
    statistics(context).map(({ database, averages }) => {
      const { client_parse_count, server_parse_count, bind_count, ...same } = averages;
      return {
        database,
        ...same,
        avg_client_parse_count: client_parse_count,
        avg_server_parse_count: server_parse_count,
        avg_bind_count: bind_count,
      };
    }),
  summed({
    by: ['database'],
    means: { xact_time: 'xact_count', query_time: 'query_count', wait_time: 'server_assignment_count' },
    add: 'rest',
  }),
);
