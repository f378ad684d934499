// SHOW CLIENTS: every client that has logged in, and those that wait for the first server of their pool.

import { show } from '../command.js';
import { clientRows, columns, type SocketRow } from './socket-rows.js';

export const clients = show('clients', columns, function* ({ pooler }): Iterable<SocketRow> {
  for (const { row, socketState } of clientRows(pooler)) if (socketState !== 'cl_login') yield row;
});
