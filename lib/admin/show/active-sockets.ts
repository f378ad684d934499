// SHOW ACTIVE_SOCKETS: the sockets of SHOW SOCKETS that have something to read or to write.

import { show } from '../command.js';
import { type BufferedRow, socketColumns, socketRows } from './sockets.js';

export const activeSockets = show('active_sockets', socketColumns, function* ({ pooler }): Iterable<BufferedRow> {
  for (const row of socketRows(pooler)) if (row.pkt_avail !== 0 || row.send_avail !== 0) yield row;
});
