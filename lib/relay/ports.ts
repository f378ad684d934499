// The two sides of the relay as the relay sees them: a port to write to, and listeners for what only upper layers can decide.

import { TimeHistogram } from '../metrics/index.js';
import type { ErrorFields, ServerErrorFields } from '../wire/index.js';
import type { ServerChannel } from './server-channel.js';

/** The way out to a peer. Bytes given to `write` are valid only during the call; `writeOwned` may keep its argument. */
export interface Port {
  write(bytes: Buffer, start: number, end: number): void;
  writeOwned(bytes: Buffer): void;
}

/** What a client's session decides for its channel. */
export interface ClientHost {
  /** A server for the batch that begins, already attached, or `undefined`: the channel stops until it is fed again. */
  lease(): ServerChannel | undefined;
  /** Effect bits of a statement's text, which lies in `bytes` from `start` to `end`. */
  inspect(bytes: Buffer, start: number, end: number): number;
  /** The client said Terminate. */
  onTerminate(): void;
  /** The client broke the protocol; the connection ends with this error. */
  onViolation(error: ErrorFields): void;
}

/** What a server's owner is told by its channel. */
export interface ServerHost {
  /** ReadyForQuery came for a client's batch and nothing more is owed: the lease may end. */
  onBatchEnd(): void;
  /** An error went to the client or, with `own`, answered a batch of weir's. */
  onError(fields: ServerErrorFields, own: boolean): void;
  /** The server announced its end. */
  onFatal(fields: ServerErrorFields): void;
  /** The stream makes no sense any more: both sides must be closed and the server never used again. */
  onDoubt(reason: string): void;
}

/** Counters of one pool, added to by its channels. */
export interface Traffic {
  queries: number;
  transactions: number;
  readonly queryTime: TimeHistogram;
  readonly transactionTime: TimeHistogram;
  /** Bytes from clients, and to them. */
  bytesReceived: number;
  bytesSent: number;
  clientParses: number;
  serverParses: number;
  binds: number;
  replays: number;
}

export function newTraffic(): Traffic {
  return {
    queries: 0,
    transactions: 0,
    queryTime: new TimeHistogram(),
    transactionTime: new TimeHistogram(),
    bytesReceived: 0,
    bytesSent: 0,
    clientParses: 0,
    serverParses: 0,
    binds: 0,
    replays: 0,
  };
}
