// SHOW CLIENTS: every client that has logged in, and those that wait for the first server of their pool.

import { type Row, show } from '../command.js';
import { pinReasons } from './pins.js';
import { clientRows, columns } from './socket-rows.js';

/** PgBouncer's, and behind them what keeps the client's server with it. */
const clientColumns = { ...columns, pin: 'text' } as const;

export const clients = show('clients', clientColumns, function* ({ pooler }): Iterable<Row<typeof clientColumns>> {
  for (const { client, row, socketState } of clientRows(pooler)) {
    if (socketState !== 'cl_login') yield { ...row, pin: pinReasons(client) };
  }
});
