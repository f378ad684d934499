// What one client listens on, and what it has not been told yet.

import type { PoolerError } from '../util/index.js';
import { noticeResponse } from '../wire/index.js';
import { Kept, NotificationQueue, type Overflow } from './notification-queue.js';
import type { NotificationHub } from './notifications.js';

/** Channels one client may listen on. */
export const channelsMax = 10_000;

/** Notifications kept that come while it is not known whether a function has begun to listen. */
const unaskedMax = 1_000;

/** Whoever is told. */
export interface Subscriber {
  /** There is something to tell. */
  onNotified(): void;
  /** More has come than is kept. */
  onOverflow(by: Overflow): void;
}

/** Channels are bytes as latin1 strings. */
export class Subscription {
  readonly #hub: NotificationHub;
  readonly #subscriber: Subscriber;
  readonly #queue: NotificationQueue;
  /** Those whose LISTEN is known to be committed. */
  readonly #channels = new Set<string>();
  /** Its LISTEN is on the way: whether it will count is not known. */
  readonly #undecided = new Set<string>();
  /** Channels of a LISTEN that has not been sent: what is settled meanwhile is about those before. */
  #awaited: readonly string[] = [];
  /** What the hub has been told that this client wants. */
  readonly #wanted = new Set<string>();
  /** What its own server has told it on channels that nobody has asked for, as a function may listen. */
  #unasked: Kept[] = [];
  /** Something may have been missed since the server that listens was lost. */
  #missing = false;
  #ended = false;

  constructor(hub: NotificationHub, subscriber: Subscriber) {
    this.#hub = hub;
    this.#subscriber = subscriber;
    this.#queue = new NotificationQueue(hub.memory, (by) => subscriber.onOverflow(by));
  }

  get channels(): readonly string[] {
    return [...this.#channels];
  }

  /** Whether the channels would be too many. */
  isFull(channels: readonly string[]): boolean {
    return channels.some((channel) => !this.#wanted.has(channel)) && this.#wanted.size >= channelsMax;
  }

  /** The hub is told what has changed of what this client wants. */
  #tellHub(): void {
    const wanted = new Set([...this.#channels, ...this.#undecided, ...this.#awaited]);
    const more = [...wanted].filter((channel) => !this.#wanted.has(channel));
    const less = [...this.#wanted].filter((channel) => !wanted.has(channel));
    for (const channel of more) this.#wanted.add(channel);
    for (const channel of less) this.#wanted.delete(channel);
    this.#hub.change(more, less, this);
    this.#queue.filter(({ channel }) => channel === undefined || this.#keeps(channel));
  }

  #keeps(channel: string): boolean {
    return this.#channels.has(channel) || this.#undecided.has(channel);
  }

  // What the client does

  /**
   * Keeps what comes on the channels from `ready` on; nothing that is committed later is missed then, and what was
   * committed before on the others has come.
   */
  expect(channels: readonly string[], ready: (error: PoolerError | undefined) => void): void {
    this.#awaited = channels;
    this.#tellHub();
    this.#hub.barrier((error) => {
      if (this.#ended) return;
      // Nobody may wait for it any more.
      if (this.#awaited === channels) {
        if (error === undefined) for (const channel of channels) this.#undecided.add(channel);
        else this.sent();
      }
      ready(error);
    });
  }

  /** The LISTEN that was waited for goes out, or nowhere. */
  sent(): void {
    this.#awaited = [];
    this.#tellHub();
  }

  /** What came before the transaction that listens commits is not the client's. */
  forgetUndecided(): void {
    this.#queue.filter(({ channel }) => channel === undefined || this.#channels.has(channel));
    // What was lost before is none of its, if it listens again by now.
    if (this.#channels.size > 0 || this.#hub.hasGap) return;
    this.#missing = false;
    this.#queue.filter(({ channel }) => channel !== undefined);
  }

  /** What has come so far is the client's, although an UNLISTEN is next. */
  keepBefore(): void {
    for (let left = this.#queue.length; left > 0; left--) {
      const kept = this.#queue.shift();
      if (kept === undefined) return;
      const sure = kept.channel !== undefined && this.#channels.has(kept.channel);
      this.#queue.push(sure ? new Kept(undefined, kept.frame) : kept);
    }
  }

  /** No LISTEN is on the way any more: what was expected of one that never ran is not. */
  settleUndecided(): void {
    if (this.#undecided.size + this.#unasked.length > 0) this.settle([], []);
  }

  /**
   * What the server says of the client's session. @returns the channels it listens on that were not expected: a statement
   * nobody could read has begun to, and only that server tells of them
   */
  settle(listens: readonly string[], unlistens: readonly (string | null)[]): readonly string[] {
    const unexpected = listens.filter((channel) => !this.#keeps(channel));
    for (const channel of unlistens) {
      if (channel === null) this.#channels.clear();
      else this.#channels.delete(channel);
    }
    for (const channel of listens) if (this.#undecided.has(channel)) this.#channels.add(channel);
    const awaited = this.#awaited.filter((channel) => this.#undecided.has(channel));
    this.#undecided.clear();
    for (const channel of awaited) this.#undecided.add(channel);
    this.#tellHub();
    // Nobody will say that it is heard again: it listens on nothing any more.
    if (this.#missing && this.#channels.size + this.#undecided.size === 0) {
      this.#missing = false;
      if (unlistens.length > 0) this.#queue.push(new Kept(undefined, gapNotice));
    }
    const unasked = this.#unasked;
    this.#unasked = [];
    for (const kept of unasked)
      if (unexpected.includes(kept.channel ?? '')) this.#queue.push(new Kept(undefined, kept.frame));
    return unexpected;
  }

  /** Hands over what the client can be told, oldest first, while there is room. */
  tell(hasRoom: () => boolean, tell: (frame: Buffer) => void): void {
    for (let kept = this.#queue.peek(); kept !== undefined && hasRoom(); kept = this.#queue.peek()) {
      if (kept.channel !== undefined && !this.#channels.has(kept.channel)) return;
      this.#queue.shift();
      tell(kept.frame);
    }
  }

  end(): void {
    this.#ended = true;
    this.#queue.end();
    this.#unasked = [];
    this.#channels.clear();
    this.#undecided.clear();
    this.#awaited = [];
    this.#tellHub();
    this.#hub.forget(this);
  }

  /**
   * The client's own server tells of something, on a channel it is known to listen on there (`sure`) or not.
   * @returns whether the client is to be told at once
   */
  onOwnNotification(channel: string, frame: Buffer, sure: boolean): boolean {
    // The hub tells of what it has been asked for.
    if (this.#keeps(channel)) return false;
    if (sure && this.#queue.length === 0) return true;
    const copy = Buffer.from(frame);
    if (sure) this.#queue.push(new Kept(undefined, copy));
    else if (this.#unasked.length < unaskedMax) this.#unasked.push(new Kept(channel, copy));
    else this.#subscriber.onOverflow('client');
    return false;
  }

  // What the hub says

  onNotification(channel: string, kept: Kept): void {
    if (!this.#keeps(channel)) return;
    this.#queue.push(kept);
    if (this.#channels.has(channel)) this.#subscriber.onNotified();
  }

  /** The server that listens is lost. @returns whether that concerns it, and it has not been told so before */
  onLost(): boolean {
    if (this.#missing || this.#channels.size + this.#undecided.size === 0) return false;
    this.#missing = true;
    return true;
  }

  /** All it wants is listened on again. @returns whether it has to be told */
  onBack(): boolean {
    if (!this.#missing) return false;
    this.#missing = false;
    if (this.#channels.size + this.#undecided.size === 0) return false;
    this.#queue.push(new Kept(undefined, gapNotice));
    this.#subscriber.onNotified();
    return true;
  }
}

/** Once for each loss, as soon as the client is heard again. */
const gapNotice = noticeResponse({
  severity: 'WARNING',
  sqlstate: '01000',
  message: 'notifications may have been lost',
  detail:
    'The connection that listens for this session was lost and has been made again; what was notified in between is missing.',
  hint: 'The session listens on its channels as before; read again what the notifications would have told of.',
});
