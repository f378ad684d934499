// SHOW SOCKETS: clients and servers, those that are logging in too, with how much waits to be read and written.

import type { Pooler } from '../../pooler/index.js';
import { type Row, show } from '../command.js';
import { bufferColumns, clientRows, columns, type SocketRow, serverRows } from './socket-rows.js';

export const socketColumns = { ...columns, ...bufferColumns } as const;

export type BufferedRow = Row<typeof socketColumns>;

export const sockets = show('sockets', socketColumns, ({ pooler }) => socketRows(pooler));

export function* socketRows(pooler: Pooler): Iterable<BufferedRow> {
  for (const { client, row, socketState } of clientRows(pooler)) {
    yield buffered(row, socketState, client.heldBytes, client.peer.unwrittenBytes);
  }
  for (const { server, row, socketState } of serverRows(pooler)) {
    yield buffered(row, socketState, 0, server.peer.unwrittenBytes);
  }
}

/** One read buffer serves all sockets, so there are no positions in it to show. */
function buffered(row: SocketRow, state: string, unreadBytes: number, unwrittenBytes: number): BufferedRow {
  return {
    ...row,
    state,
    recv_pos: 0,
    pkt_pos: 0,
    pkt_remain: 0,
    send_pos: 0,
    send_remain: 0,
    pkt_avail: unreadBytes,
    send_avail: unwrittenBytes,
  };
}
