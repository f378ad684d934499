// LISTEN for clients that have no server of their own: one server of the pool listens for all of them, and what it is told is
// dealt out. Never answers a client's statement.

import type { Pool } from '../pool/index.js';
import { listenTo, unlistenFrom, unseen } from '../session/index.js';
import { PoolerError } from '../util/index.js';
import { queryMessage, readNotification } from '../wire/index.js';
import { errorIn, InternalClient } from './internal-client.js';

/** Bytes of notifications kept for one client that is busy, or does not read. */
const queueBytesMax = 1024 * 1024;
/** How soon to try again to get a server that listens. */
const retryMs = 1_000;

interface Kept {
  readonly channel: string;
  readonly frame: Buffer;
}

/** What one client listens on, and what it has not been told yet. Channels are bytes as latin1 strings. */
export class Subscription {
  readonly #hub: NotificationHub;
  readonly #channels = new Set<string>();
  /** Its LISTEN is on the way: whether it will count is not known. */
  readonly #tentative = new Set<string>();
  /** Channels of a LISTEN that has not been sent: what is settled meanwhile is about those before. */
  #awaited: readonly string[] = [];
  #queue: Kept[] = [];
  #bytes = 0;
  readonly #onQueued: () => void;

  /** @param onQueued there is something to tell */
  constructor(hub: NotificationHub, onQueued: () => void) {
    this.#hub = hub;
    this.#onQueued = onQueued;
  }

  get channels(): readonly string[] {
    return [...this.#channels];
  }

  /** Whether more waits than is kept: the client does not read, or stays in one transaction. */
  get overflowed(): boolean {
    return this.#bytes > queueBytesMax;
  }

  get waiting(): boolean {
    return this.#queue.some(({ channel }) => this.#channels.has(channel));
  }

  /** No LISTEN is on the way any more: what was expected of one that never ran is not. */
  settleTentative(): void {
    if (this.#tentative.size > 0) this.settle([], []);
  }

  /** Keeps what comes on the channels from now on; `ready` when none that is committed later can be missed. */
  expect(channels: readonly string[], ready: (error: PoolerError | undefined) => void): void {
    this.#awaited = channels;
    this.#hub.listen(channels, (error) => {
      if (error === undefined) {
        for (const channel of channels) {
          this.#hub.join(channel, this);
          // Nobody may wait for it any more.
          if (this.#awaited === channels) this.#tentative.add(channel);
          else if (!this.#channels.has(channel) && !this.#tentative.has(channel)) this.#hub.leave(channel, this);
        }
      }
      ready(error);
    });
  }

  /** The LISTEN that was waited for goes out, or nowhere. */
  sent(): void {
    this.#awaited = [];
  }

  /** What came before the transaction that listens commits is not the client's. */
  forgetTentative(): void {
    this.#keep((channel) => this.#channels.has(channel));
  }

  /** What the server says of the client's session. */
  settle(listens: readonly string[], unlistens: readonly (string | null)[]): void {
    const before = new Set([...this.#channels, ...this.#tentative]);
    for (const channel of unlistens) {
      if (channel === null) this.#channels.clear();
      else this.#channels.delete(channel);
    }
    const late = listens.filter((channel) => !before.has(channel));
    for (const channel of listens) this.#channels.add(channel);
    const awaited = this.#awaited.filter((channel) => this.#tentative.has(channel));
    this.#tentative.clear();
    for (const channel of awaited) this.#tentative.add(channel);
    for (const channel of before) {
      if (!this.#channels.has(channel) && !this.#tentative.has(channel)) this.#hub.leave(channel, this);
    }
    this.#keep((channel) => this.#channels.has(channel));
    if (late.length === 0) return;
    // A statement nobody could read has begun to listen.
    for (const channel of late) this.#hub.join(channel, this);
    this.#hub.listen(late, () => {});
  }

  #keep(wanted: (channel: string) => boolean): void {
    this.#queue = this.#queue.filter(({ channel }) => wanted(channel));
    this.#bytes = this.#queue.reduce((sum, { frame }) => sum + frame.length, 0);
  }

  push(channel: string, frame: Buffer): void {
    this.#queue.push({ channel, frame });
    this.#bytes += frame.length;
    if (!this.#tentative.has(channel) || this.overflowed) this.#onQueued();
  }

  /** What is kept for sure, which it is now up to the caller to tell. */
  take(): Buffer[] {
    const frames = this.#queue.flatMap(({ channel, frame }) => (this.#channels.has(channel) ? [frame] : []));
    this.#keep((channel) => !this.#channels.has(channel));
    return frames;
  }

  end(): void {
    for (const channel of new Set([...this.#channels, ...this.#tentative])) this.#hub.leave(channel, this);
    this.#channels.clear();
    this.#tentative.clear();
  }
}

interface Job {
  readonly sql: string;
  readonly done: (error: PoolerError | undefined) => void;
}

/** The one that listens, for the clients of one pool. */
export class NotificationHub {
  readonly #pool: Pool;
  readonly #listener: Listener;
  readonly #subscribers = new Map<string, Set<Subscription>>();
  readonly #jobs: Job[] = [];
  #running: Job | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#listener = new Listener(pool, this);
  }

  get pool(): Pool {
    return this.#pool;
  }

  /** Channels listened on. */
  get size(): number {
    return this.#subscribers.size;
  }

  join(channel: string, subscription: Subscription): void {
    const subscribers = this.#subscribers.get(channel);
    if (subscribers === undefined) this.#subscribers.set(channel, new Set([subscription]));
    else subscribers.add(subscription);
  }

  leave(channel: string, subscription: Subscription): void {
    const subscribers = this.#subscribers.get(channel);
    if (subscribers?.delete(subscription) !== true || subscribers.size > 0) return;
    this.#subscribers.delete(channel);
    this.#add({ sql: unlistenFrom(channel), done: () => {} });
  }

  /** Listens, also where it does already: what was committed before is told before the answer comes. */
  listen(channels: readonly string[], done: (error: PoolerError | undefined) => void): void {
    this.#add({ sql: listenTo(channels), done });
  }

  #add(job: Job): void {
    if (this.#closed) return;
    this.#jobs.push(job);
    this.#next();
  }

  #next(): void {
    if (this.#running !== undefined || this.#retry !== undefined) return;
    const job = this.#jobs.shift();
    if (job !== undefined) {
      this.#running = job;
      this.#listener.run(queryMessage(job.sql));
    } else if (this.#subscribers.size === 0) {
      this.#listener.rest();
    }
  }

  answered(error: PoolerError | undefined): void {
    const job = this.#running;
    this.#running = undefined;
    job?.done(error);
    this.#next();
  }

  /** The server is lost, or there is none. Who waits to listen is told; what is listened on is taken up again. */
  failed(error: PoolerError): void {
    const waiting = [...(this.#running === undefined ? [] : [this.#running]), ...this.#jobs.splice(0)];
    this.#running = undefined;
    for (const job of waiting) job.done(error);
    if (this.#closed || this.#subscribers.size === 0 || this.#retry !== undefined) return;
    this.#retry = setTimeout(
      () => {
        this.#retry = undefined;
        this.#jobs.unshift({ sql: listenTo([...this.#subscribers.keys()]), done: () => {} });
        this.#next();
      },
      this.#listener.heldBefore ? 0 : retryMs,
    );
    this.#retry.unref();
  }

  onNotification(bytes: Buffer, start: number, end: number): void {
    const notification = readNotification(bytes, start, end);
    const subscribers = notification && this.#subscribers.get(notification.channel);
    if (subscribers === undefined) return;
    const frame = Buffer.from(bytes.subarray(start, end));
    for (const subscription of [...subscribers]) subscription.push(notification!.channel, frame);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#listener.stop();
  }
}

/** The client inside weir that holds the listening server. */
class Listener extends InternalClient {
  readonly #hub: NotificationHub;
  /** Whether it had a server that answered, the last time it asked. */
  heldBefore = false;

  constructor(pool: Pool, hub: NotificationHub) {
    super(pool, unseen);
    this.#hub = hub;
    this.channel.onNotification = (bytes, start, end) => hub.onNotification(bytes, start, end);
  }

  protected onAnswer(answer: Buffer): void {
    this.heldBefore = true;
    this.#hub.answered(errorIn(answer));
  }

  protected onFailure(error: PoolerError): void {
    this.#hub.failed(error);
    this.heldBefore = false;
  }

  /** Nobody listens: the server goes back. */
  rest(): void {
    this.release();
  }

  stop(): void {
    this.drop();
  }
}

/** Why a client is cut off that has not taken its notifications. */
export function overflow(): PoolerError {
  return new PoolerError('too many notifications wait for the client', {
    sqlstate: '53400',
    detail: `More than ${queueBytesMax} bytes of notifications came while it was in a transaction or did not read.`,
    hint: 'Read notifications as they come, and keep transactions of sessions that listen short.',
  });
}
