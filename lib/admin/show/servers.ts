// SHOW SERVERS: every server connection that has logged in.

import { show } from '../command.js';
import { columns, type SocketRow, serverRows } from './socket-rows.js';

export const servers = show('servers', columns, function* ({ pooler }): Iterable<SocketRow> {
  for (const { row } of serverRows(pooler)) yield row;
});
