// LISTEN as one client sees it: its statement waits until nothing can be missed, and it is told between its batches.

import type { ChannelUse } from '../session/index.js';
import { PoolerError } from '../util/index.js';
import { type ErrorFields, readNotification } from '../wire/index.js';
import type { Overflow } from './notification-queue.js';
import type { NotificationHub } from './notifications.js';
import { channelsMax, Subscription } from './subscription.js';

/** What it needs of its client. */
export interface ListeningClient {
  hub(): NotificationHub;
  /** There is something to tell. */
  onNotified(): void;
  /** The statement that waited may be shown again. */
  goOn(): void;
  /** The client cannot be served any more. */
  fail(error: PoolerError): void;
}

/** The statement that waits, and what became of it. */
interface Waiting {
  outcome: 'wait' | 'ready' | PoolerError;
}

export class ClientListening {
  readonly #client: ListeningClient;
  /** Made when it first listens. */
  #subscription: Subscription | undefined;
  #waiting: Waiting | undefined;
  /** Whether the statement that waits has been shown since the client was last fed. */
  #shown = false;
  #ended = false;

  constructor(client: ListeningClient) {
    this.#client = client;
  }

  /** Channels it is told of by the server that listens for all. */
  get channels(): readonly string[] {
    return this.#subscription?.channels ?? [];
  }

  #subscribe(): Subscription {
    this.#subscription ??= new Subscription(this.#client.hub(), {
      onNotified: () => this.#client.onNotified(),
      onOverflow: (by) => this.#client.fail(overflow(by)),
    });
    return this.#subscription;
  }

  // The statement that waits

  /** The client is about to be fed. */
  beforeFeed(): void {
    this.#shown = false;
  }

  /** It was. @param taken bytes of it */
  afterFeed(taken: number): void {
    // An error before it has made its server skip it, or it was cancelled.
    if (this.#waiting !== undefined && taken > 0 && !this.#shown) this.#over();
  }

  #over(): void {
    this.#waiting = undefined;
    this.#subscription?.sent();
  }

  /** A statement with these channels is shown; it may be sent, has to wait and be shown again, or is refused. */
  ready(channels: readonly ChannelUse[]): 'ready' | 'wait' | ErrorFields {
    this.#shown = true;
    const { outcome } = this.#waiting ?? this.#wait(channels);
    if (outcome === 'wait') return outcome;
    this.#over();
    if (outcome === 'ready') return outcome;
    const { sqlstate, message, detail, hint } = outcome;
    return { severity: 'ERROR', sqlstate, message, detail, hint };
  }

  #wait(channels: readonly ChannelUse[]): Waiting {
    const subscription = this.#subscribe();
    const names = channels.flatMap(({ kind, channel }) => (kind === 'listen' && channel !== null ? [channel] : []));
    if (names.length > 0 && subscription.isFull(names)) return { outcome: tooManyChannels() };
    const waiting: Waiting = { outcome: 'wait' };
    this.#waiting = waiting;
    subscription.expect(names, (error) => {
      if (this.#waiting !== waiting || this.#ended) return;
      // Nothing has to be known for an UNLISTEN or a COMMIT.
      waiting.outcome = error === undefined || names.length === 0 ? 'ready' : error;
      this.#client.onNotified();
      if (names.length === 0 && channels.length > 0) subscription.keepBefore();
      this.#client.goOn();
    });
    return waiting;
  }

  // What is known of its session

  onCommitSent(): void {
    this.#subscription?.forgetUndecided();
  }

  /** No LISTEN is on the way any more. */
  settle(): void {
    this.#subscription?.settleUndecided();
  }

  /** @returns what its own server has to tell it of: see `Subscription.settle` */
  onChannels(listens: readonly string[], unlistens: readonly (string | null)[]): readonly string[] {
    if (this.#subscription === undefined && listens.length === 0) return [];
    return this.#subscribe().settle(listens, unlistens);
  }

  /** Its own server tells of something. @returns whether it is the client's at once */
  onOwnNotification(bytes: Buffer, start: number, end: number, keepsServer: boolean): boolean {
    const channel = readNotification(bytes, start, end)?.channel;
    if (channel === undefined) return false;
    if (keepsServer && this.#subscription === undefined) return true;
    return this.#subscribe().onOwnNotification(channel, bytes.subarray(start, end), keepsServer);
  }

  /** See `Subscription.tell`. */
  tell(hasRoom: () => boolean, tell: (frame: Buffer) => void): void {
    this.#subscription?.tell(hasRoom, tell);
  }

  end(): void {
    this.#ended = true;
    this.#subscription?.end();
  }
}

function tooManyChannels(): PoolerError {
  return new PoolerError('too many channels', {
    sqlstate: '53400',
    detail: `A session may listen on ${channelsMax} channels.`,
    hint: 'Listen on fewer channels, or use pool_mode = session.',
  });
}

/** Why a client is cut off that has not taken its notifications. */
function overflow(by: Overflow): PoolerError {
  return new PoolerError('too many notifications wait for the client', {
    sqlstate: '53400',
    detail:
      by === 'client'
        ? 'More notifications came than are kept for a client that is in a transaction, runs a statement or does not read.'
        : 'More notifications wait than are kept for all clients, and most of them for this one.',
    hint: `Read notifications as they come, keep transactions of sessions that listen short, or raise ${
      by === 'client' ? 'notification_queue_limit' : 'notification_memory_limit'
    }.`,
  });
}
