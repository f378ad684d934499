// One end of the channel between the primary and a worker: notices, questions with answers, and one message for all of a turn.

import { PoolerError } from '../util/index.js';
import type { Answers } from './messages.js';

/** What the operating system's channel can do; of a worker's `process`, or of the primary's `Worker`. */
export interface Channel {
  send(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
}

/** An error as it crosses between processes. */
export interface SentError {
  readonly message: string;
  readonly sqlstate: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
}

type Envelope =
  | { readonly kind: 'notice'; readonly body: unknown }
  | { readonly kind: 'question'; readonly id: number; readonly body: unknown }
  | { readonly kind: 'answer'; readonly id: number; readonly body: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly error: SentError };

interface Asked {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: PoolerError) => void;
  readonly timer: NodeJS.Timeout | undefined;
}

/** @template N notices this end sends @template Q its questions */
export class Link<N, Q extends { readonly kind: keyof Answers }> {
  readonly #channel: Channel;
  readonly #asked = new Map<number, Asked>();
  #lastId = 0;
  #outgoing: Envelope[] = [];
  #closed = false;

  /** @param onQuestion never throws: it rejects */
  constructor(channel: Channel, onNotice: (body: unknown) => void, onQuestion: (body: unknown) => Promise<unknown>) {
    this.#channel = channel;
    channel.onMessage((message) => {
      // The runtime sends messages of its own over the same channel.
      if (!Array.isArray(message)) return;
      // What a process that has ended still said is about places that were taken back from it.
      if (this.#closed) return;
      for (const envelope of message as Envelope[]) this.#take(envelope, onNotice, onQuestion);
    });
  }

  notify(notice: N): void {
    this.#put({ kind: 'notice', body: notice });
  }

  /** @throws PoolerError the other end's, that there is no other end any more, or that it has not answered in time */
  ask<K extends Q['kind']>(question: Q & { readonly kind: K }, msMax?: number): Promise<Answers[K]> {
    if (this.#closed) return Promise.reject(gone());
    const id = ++this.#lastId;
    const timer = msMax === undefined ? undefined : setTimeout(() => this.#settle(id)?.reject(silent()), msMax);
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve: resolve as (answer: unknown) => void, reject, timer });
      this.#put({ kind: 'question', id, body: question });
    });
  }

  /** The other end is gone. */
  close(): void {
    this.#closed = true;
    for (const { reject, timer } of this.#asked.values()) {
      clearTimeout(timer);
      reject(gone());
    }
    this.#asked.clear();
  }

  #put(envelope: Envelope): void {
    if (this.#closed) return;
    if (this.#outgoing.length === 0) setImmediate(() => this.#flush());
    this.#outgoing.push(envelope);
  }

  #flush(): void {
    const messages = this.#outgoing;
    this.#outgoing = [];
    if (!this.#closed) this.#channel.send(messages);
  }

  #take(envelope: Envelope, onNotice: (body: unknown) => void, onQuestion: (body: unknown) => Promise<unknown>): void {
    switch (envelope.kind) {
      case 'notice':
        onNotice(envelope.body);
        break;
      case 'question': {
        const { id } = envelope;
        onQuestion(envelope.body).then(
          (body) => this.#put({ kind: 'answer', id, body }),
          (error: unknown) => this.#put({ kind: 'error', id, error: sentError(error) }),
        );
        break;
      }
      case 'answer':
        this.#settle(envelope.id)?.resolve(envelope.body);
        break;
      case 'error':
        this.#settle(envelope.id)?.reject(receivedError(envelope.error));
        break;
      default:
        envelope satisfies never;
    }
  }

  #settle(id: number): Asked | undefined {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    clearTimeout(asked?.timer);
    return asked;
  }
}

/** The cause stays behind: it is for the log of the process where it happened. */
export function sentError(error: unknown): SentError {
  if (!(error instanceof PoolerError)) {
    return { message: 'internal error in the pooler', sqlstate: 'XX000', hint: 'Please report it with the log.' };
  }
  const { message, sqlstate, detail, hint } = error;
  return { message, sqlstate, detail, hint };
}

export function receivedError({ message, sqlstate, detail, hint }: SentError): PoolerError {
  return new PoolerError(message, {
    sqlstate,
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  });
}

function silent(): PoolerError {
  return new PoolerError('a process of the pooler does not answer', { sqlstate: '57P03', hint: 'Look at its log.' });
}

function gone(): PoolerError {
  return new PoolerError('a process of the pooler has ended', { sqlstate: '57P01', hint: 'Try again.' });
}
