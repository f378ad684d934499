// LISTEN for clients that have no server of their own: one server of the pool listens for all of them, and what it is told is
// dealt out. Never answers a client's statement.

import type { Pool } from '../pool/index.js';
import { listenTo, unlistenFrom } from '../session/index.js';
import type { Clock, PoolerError } from '../util/index.js';
import { readNotification } from '../wire/index.js';
import { type BarrierDone, type ListenCommand, Listening } from './listening.js';
import { Kept, type NotificationMemory } from './notification-queue.js';
import type { Subscription } from './subscription.js';

/** How soon to try again to get a server that listens: at once, then with a wait that doubles. */
const retryMs = 250;
const retryMsMax = 10_000;
/** A server that has listened for so long was no failure. */
const steadyMs = 5_000;

/** What a hub says to the rest of the process. */
export interface HubEvents {
  /** Clients may miss notifications from now on. */
  listenerLost(pool: Pool, reason: string, listeners: number): void;
  /** What they listened on is listened on again. */
  listenerBack(pool: Pool, lostMs: number, told: number): void;
}

/** The server that listens, as the hub sees it: it says `answered` or `failed` to each text, and `onNotification`. */
export interface ListeningServer {
  /** Whether it is to be closed when nobody uses it any more. */
  readonly retires: boolean;
  /** One text at a time; a server is had with the first. */
  run(sql: string): void;
  /** Nobody listens: the server goes back. */
  rest(): void;
  /** It is given up, whatever it does. */
  stop(): void;
}

export interface HubParts {
  readonly memory: NotificationMemory;
  readonly clock: Clock;
  readonly events: HubEvents;
  /** Made once. */
  listener(hub: NotificationHub): ListeningServer;
  /** @returns what keeps it from being called */
  later(waitMs: number, go: () => void): () => void;
}

/** The one that listens, for the clients of one pool. */
export class NotificationHub {
  readonly pool: Pool;
  readonly memory: NotificationMemory;
  readonly #clock: Clock;
  readonly #events: HubEvents;
  readonly #listener: ListeningServer;
  readonly #later: HubParts['later'];
  readonly #listening = new Listening<Subscription>();
  /** Takes back the next attempt. */
  #retry: (() => void) | undefined;
  /** Losses and attempts that failed, one soon after the other. */
  #failures = 0;
  /** Since when the server listens. */
  #sinceMs: number | undefined;
  #lostMs = 0;
  #closed = false;

  /** @param pool has the one server */
  constructor(pool: Pool, parts: HubParts) {
    this.pool = pool;
    this.memory = parts.memory;
    this.#clock = parts.clock;
    this.#events = parts.events;
    this.#later = parts.later;
    this.#listener = parts.listener(this);
  }

  /** Channels that clients want. */
  get size(): number {
    return this.#listening.size;
  }

  /** Whether something may have been missed, and its listeners have not been told yet. */
  get hasGap(): boolean {
    return this.#listening.hasGap;
  }

  /** Whether a server listens and somebody may be told of something. */
  get isListening(): boolean {
    return this.#sinceMs !== undefined && !this.#listening.isEmpty;
  }

  /** Whether nobody wants anything. */
  get isIdle(): boolean {
    return this.#listening.isEmpty;
  }

  // What subscriptions ask

  /** The client wants more channels and others no more; what is more counts with the next barrier. */
  change(more: readonly string[], less: readonly string[], subscription: Subscription): void {
    for (const channel of more) this.#listening.want(channel, subscription);
    for (const channel of less) this.#listening.unwant(channel, subscription);
    if (less.length > 0) this.#goOn();
  }

  /** @param done see `Listening.barrier` */
  barrier(done: BarrierDone): void {
    this.#listening.barrier(done);
    this.#goOn();
  }

  forget(subscription: Subscription): void {
    this.#listening.forget(subscription);
  }

  // What the server says

  answered(error: PoolerError | undefined): void {
    if (error !== undefined) {
      this.#listener.stop();
      this.failed(error);
      return;
    }
    this.#sinceMs ??= this.#clock.now();
    let told = 0;
    this.#listening.answered((subscription) => {
      if (subscription.onBack()) told++;
    });
    if (told > 0) this.#events.listenerBack(this.pool, this.#clock.now() - this.#lostMs, told);
    this.#goOn();
  }

  /** The server is lost, or there is none. What is listened on is taken up again. */
  failed(error: PoolerError): void {
    const now = this.#clock.now();
    const sinceMs = this.#sinceMs;
    if (sinceMs !== undefined && now - sinceMs >= steadyMs) this.#failures = 0;
    const waitMs = this.#failures === 0 ? 0 : Math.min(retryMsMax, retryMs * 2 ** (this.#failures - 1));
    this.#failures++;
    this.#lose(error.message);
    this.#dropRetry();
    if (this.#closed || this.#listening.isEmpty) return;
    this.#retry = this.#later(waitMs, () => {
      this.#retry = undefined;
      this.#goOn();
    });
    // Who waits to listen waits on for a server that is lost, but not for one that cannot be had.
    if (sinceMs === undefined) this.#listening.fail(error);
  }

  #dropRetry(): void {
    this.#retry?.();
    this.#retry = undefined;
  }

  #lose(reason: string): void {
    if (this.#sinceMs !== undefined) this.#lostMs = this.#clock.now();
    this.#sinceMs = undefined;
    const listeners = this.#listening.lost().filter((subscription) => subscription.onLost()).length;
    if (listeners > 0) this.#events.listenerLost(this.pool, reason, listeners);
  }

  onNotification(bytes: Buffer, start: number, end: number): void {
    const notification = readNotification(bytes, start, end);
    const subscribers = notification && this.#listening.members(notification.channel);
    if (subscribers === undefined) return;
    const { channel } = notification!;
    const kept = new Kept(channel, Buffer.from(bytes.subarray(start, end)));
    for (const subscription of [...subscribers]) subscription.onNotification(channel, kept);
  }

  /** Sends what is to be sent, where nothing is under way. Who waits to listen does not wait for the time of the next attempt. */
  #goOn(): void {
    if (this.#closed || this.#listening.isRunning) return;
    if (this.#retry !== undefined) {
      if (!this.#listening.isAwaited) return;
      this.#dropRetry();
    }
    const command = this.#listening.next();
    if (command !== undefined) this.#listener.run(textOf(command));
    else if (this.#listening.isEmpty) {
      this.#sinceMs = undefined;
      this.#failures = 0;
      this.#listener.rest();
    }
  }

  // Control

  /** Called several times a second: a server that is to be closed when nobody uses it is given up, since this one is always used. */
  sweep(): void {
    this.pool.sweep();
    if (this.#listener.retires && !this.#listening.isRunning) this.#move('the server that listens is to be replaced');
  }

  /** The server goes, and another one comes as soon as it may. */
  #move(reason: string): void {
    this.#lose(reason);
    this.#listener.stop();
    this.#goOn();
  }

  /** Nothing of it stays connected. */
  pause(): void {
    this.pool.pause();
    this.#move('PAUSE');
  }

  resume(): void {
    this.pool.resume();
    this.#dropRetry();
    this.#goOn();
  }

  close(): void {
    this.#closed = true;
    this.#dropRetry();
    this.#listener.stop();
  }
}

function textOf({ listens, unlistens }: ListenCommand): string {
  const statements = unlistens.map(unlistenFrom);
  if (listens.length > 0) statements.push(listenTo(listens));
  // Any round trip ends behind what was committed before it.
  return statements.length > 0 ? statements.join(';') : 'SELECT 1';
}
