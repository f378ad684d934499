// One client's batch on a server that several clients share: what was asked, and how far the answer has come.

import type { Placed, ReadShape } from '../session/index.js';
import type { PoolerError } from '../util/index.js';
import type { ClientChannel } from './client-channel.js';

/** Why a read is run once more, on a server of its own. */
export const rerunCauses = ['stalled', 'cancelled', 'lost', 'writes', 'changed', 'pressure'] as const;
export type RerunCause = (typeof rerunCauses)[number];

/** Whose read it is. */
export interface Reader {
  readonly channel: ClientChannel;
  /** All of the answer has gone to the client. */
  onReadDone(): void;
  /** Nothing of it has: the read has to be sent again, and not on a shared server. */
  onReadReturned(read: SharedRead): void;
  /** A part of it has, and the server is lost. With `told` the client cannot be told why any more. */
  onReadLost(error: PoolerError, told: boolean): void;
}

export class SharedRead {
  readonly reader: Reader;
  /** What the client sent. */
  readonly request: Buffer;
  readonly shape: ReadShape;
  readonly sentMs: number;
  /** Some of the answer has gone to the client. */
  started = false;
  /** Nobody waits for the answer any more: it is read away. */
  dropped = false;
  /** It has kept its server for too long. */
  stalled = false;
  /** Set where the answer was none: the read is returned once all of it has come. */
  rerun: RerunCause | undefined;
  /** A statement parsed for it, which may turn out to be another than its client knows. */
  reliesOn: Placed | undefined;
  /** What has come and can still be taken back. */
  held: Buffer | undefined;

  constructor(reader: Reader, request: Buffer, shape: ReadShape, sentMs: number) {
    this.reader = reader;
    this.request = request;
    this.shape = shape;
    this.sentMs = sentMs;
  }

  hold(bytes: Buffer): void {
    this.held = this.held === undefined ? bytes : Buffer.concat([this.held, bytes]); // cold: a reply cut within its first messages
  }
}
