// Statements of weir's own on a server that nobody uses yet: sent, answered, and the connection left as it was found.

import { FrameInbox } from '../net/index.js';
import { PoolerError } from '../util/index.js';
import {
  Backend,
  copyFailMessage,
  ownQueryMessage,
  readDataRow,
  readErrorFields,
  readParameterStatus,
  type TransactionStatus,
} from '../wire/index.js';
import type { LoggedIn } from './login.js';

/** An error the server itself sent. */
export class ServerRefusal extends PoolerError {}

/** Bytes of a row that a statement of the operator's may answer; nobody reads it. */
const rowBytesMax = 64 * 1024 * 1024;
/** Messages that one read of the socket can bring. */
const framesMax = 20_000;
/** Rows that are kept. */
const rowsMax = 10_000;

/** Columns are latin1 strings. */
type Rows = (string | null)[][];

export interface Answer {
  readonly rows: Rows;
  readonly refusal: ServerRefusal | undefined;
  /** Of the transaction, where the statement has left one open. */
  readonly status: TransactionStatus;
}

/**
 * Runs one Query to its end. What it sets in the session is noted where the server reports it.
 * @throws PoolerError when the connection is lost or no answer comes in time
 */
export async function ask(server: LoggedIn, sql: string, timeoutMs: number): Promise<Answer> {
  const inbox = new FrameInbox({ frameBytesMax: rowBytesMax, framesMax });
  server.peer.handler = {
    onData: (bytes, start, end) => inbox.push(Buffer.from(bytes.subarray(start, end))),
    onPressure: () => {},
    onRelief: () => {},
    onClose: () => inbox.fail(new PoolerError('server closed the connection', { sqlstate: '08006' })),
  };
  const timer = setTimeout(
    () => inbox.fail(new PoolerError('no answer in time (server_connect_timeout)', { sqlstate: '08006' })),
    timeoutMs > 0 ? timeoutMs : 60_000,
  );
  const rows: Rows = [];
  let refusal: ServerRefusal | undefined;
  try {
    server.peer.writeOwned(ownQueryMessage(sql));
    for (;;) {
      const frame = await inbox.next();
      switch (frame[0]) {
        case Backend.ReadyForQuery:
          return { rows, refusal, status: frame[5] as TransactionStatus };
        case Backend.ErrorResponse: {
          const fields = readErrorFields(frame, 0, frame.length);
          refusal = new ServerRefusal(fields.message, { sqlstate: fields.sqlstate });
          break;
        }
        case Backend.DataRow: {
          const row = rows.length < rowsMax ? readDataRow(frame, 0, frame.length) : undefined;
          if (row !== undefined) rows.push(row);
          break;
        }
        case Backend.CopyInResponse:
          server.peer.writeOwned(copyFailMessage('there is no data'));
          break;
        case Backend.ParameterStatus: {
          const parameter = readParameterStatus(frame, 0, frame.length);
          if (parameter !== undefined) server.parameters.set(parameter.name, parameter.value);
          break;
        }
        default:
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

/** The first column of the first row. @throws PoolerError; a ServerRefusal carries the server's own error */
export async function askOnce(server: LoggedIn, sql: string, timeoutMs: number): Promise<string | undefined> {
  const { rows, refusal } = await ask(server, sql, timeoutMs);
  if (refusal !== undefined) throw refusal;
  const value = rows[0]?.[0];
  return typeof value === 'string' ? Buffer.from(value, 'latin1').toString('utf8') : undefined;
}
