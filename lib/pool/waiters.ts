// Clients waiting for a server, first come first served; one that gives up leaves its place empty until the head passes it.

import { Ring } from '../util/index.js';

export interface Ticket<T, R = never> {
  readonly client: T;
  /** What it waits for can share a server. */
  readonly read: R | undefined;
  readonly sinceMs: number;
  /** Left: served, timed out, cancelled or gone. */
  left: boolean;
  /** Has been told that it waits. */
  notified: boolean;
}

export class Waiters<T, R = never> {
  readonly #tickets = new Ring<Ticket<T, R>>(16);
  #length = 0;
  #reads = 0;

  get length(): number {
    return this.#length;
  }

  /** Those who need a server of their own. */
  get alone(): number {
    return this.#length - this.#reads;
  }

  enter(client: T, nowMs: number, read?: R): Ticket<T, R> {
    const ticket: Ticket<T, R> = { client, read, sinceMs: nowMs, left: false, notified: false };
    this.#tickets.push(ticket);
    this.#length++;
    if (read !== undefined) this.#reads++;
    return ticket;
  }

  leave(ticket: Ticket<T, R>): void {
    if (ticket.left) return;
    ticket.left = true;
    this.#length--;
    if (ticket.read !== undefined) this.#reads--;
    // Empty places go in bulk, so that many who give up cost as little as many who are served.
    if (this.#tickets.length > 32 && this.#tickets.length > this.#length * 2)
      this.#tickets.filter((each) => !each.left);
  }

  /** Who waits longest. */
  first(): Ticket<T, R> | undefined {
    for (let ticket = this.#tickets.peek(); ticket !== undefined; ticket = this.#tickets.peek()) {
      if (!ticket.left) return ticket;
      this.#tickets.shift();
    }
    return undefined;
  }

  /** All that wait, longest first; they may leave meanwhile. */
  *all(): Iterable<Ticket<T, R>> {
    const tickets: Ticket<T, R>[] = [];
    for (let i = 0; i < this.#tickets.length; i++) {
      const ticket = this.#tickets.at(i);
      if (ticket !== undefined && !ticket.left) tickets.push(ticket);
    }
    yield* tickets;
  }
}
