// Clients waiting for a server, first come first served; one that gives up leaves its place empty until the head passes it.

import { Ring } from '../util/index.js';

export interface Ticket<T> {
  readonly client: T;
  readonly sinceMs: number;
  /** Left: served, timed out, cancelled or gone. */
  left: boolean;
  /** Has been told that it waits. */
  notified: boolean;
}

export class Waiters<T> {
  readonly #tickets = new Ring<Ticket<T>>(16);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  enter(client: T, nowMs: number): Ticket<T> {
    const ticket: Ticket<T> = { client, sinceMs: nowMs, left: false, notified: false };
    this.#tickets.push(ticket);
    this.#length++;
    return ticket;
  }

  leave(ticket: Ticket<T>): void {
    if (ticket.left) return;
    ticket.left = true;
    this.#length--;
    // Empty places go in bulk, so that many who give up cost as little as many who are served.
    if (this.#tickets.length > 32 && this.#tickets.length > this.#length * 2)
      this.#tickets.filter((each) => !each.left);
  }

  /** Who waits longest. */
  first(): Ticket<T> | undefined {
    for (let ticket = this.#tickets.peek(); ticket !== undefined; ticket = this.#tickets.peek()) {
      if (!ticket.left) return ticket;
      this.#tickets.shift();
    }
    return undefined;
  }

  /** All that wait, longest first; they may leave meanwhile. */
  *all(): Iterable<Ticket<T>> {
    const tickets: Ticket<T>[] = [];
    for (let i = 0; i < this.#tickets.length; i++) {
      const ticket = this.#tickets.at(i);
      if (ticket !== undefined && !ticket.left) tickets.push(ticket);
    }
    yield* tickets;
  }
}
