// Clients waiting for a server: the users among them take turns by their weights, and within a user the first to come is the first served.

import { Ring } from '../util/index.js';

/** Whom a client waits for. */
export interface Party {
  readonly user: string;
  /** Clients of this user that are served for one of a user of weight 1. */
  readonly weight: number;
}

export interface Ticket<T, R = never> {
  readonly client: T;
  /** What it waits for can share a server. */
  readonly read: R | undefined;
  readonly sinceMs: number;
  readonly queue: Queue<T, R>;
  /** Left: served, timed out, cancelled or gone. */
  left: boolean;
  /** Has been told that it waits. */
  notified: boolean;
}

/** The clients of one user. */
interface Queue<T, R> {
  readonly user: string;
  readonly tickets: Tickets<T, R>;
  weight: number;
  /** How many more are served before it is another's turn. */
  turns: number;
}

export class Waiters<T, R = never> {
  /** In the order they came. */
  readonly #all = new Tickets<T, R>();
  readonly #queues = new Map<string, Queue<T, R>>();
  /** Those with tickets; whose turn it is comes first. */
  readonly #order = new Ring<Queue<T, R>>(4);
  #reads = 0;

  get length(): number {
    return this.#all.waiting;
  }

  /** Those who need a server of their own. */
  get alone(): number {
    return this.length - this.#reads;
  }

  enter(client: T, nowMs: number, { user, weight }: Party, read?: R): Ticket<T, R> {
    let queue = this.#queues.get(user);
    if (queue === undefined) {
      queue = { user, tickets: new Tickets(), weight, turns: weight };
      this.#queues.set(user, queue);
      this.#order.push(queue);
    }
    queue.weight = weight;
    const ticket: Ticket<T, R> = { client, read, sinceMs: nowMs, queue, left: false, notified: false };
    queue.tickets.add(ticket);
    this.#all.add(ticket);
    if (read !== undefined) this.#reads++;
    return ticket;
  }

  /** It has what it waited for. */
  serve(ticket: Ticket<T, R>): void {
    ticket.queue.turns--;
    this.leave(ticket);
  }

  leave(ticket: Ticket<T, R>): void {
    if (ticket.left) return;
    ticket.left = true;
    if (ticket.read !== undefined) this.#reads--;
    this.#all.onLeft();
    ticket.queue.tickets.onLeft();
  }

  /** Who is served next. */
  next(): Ticket<T, R> | undefined {
    for (let queue = this.#order.peek(); queue !== undefined; queue = this.#order.peek()) {
      const ticket = queue.tickets.first();
      if (ticket !== undefined && queue.turns > 0) return ticket;
      this.#order.shift();
      if (ticket === undefined) {
        this.#queues.delete(queue.user);
      } else {
        queue.turns = queue.weight;
        this.#order.push(queue);
      }
    }
    return undefined;
  }

  /** Who waits longest. */
  longest(): Ticket<T, R> | undefined {
    return this.#all.first();
  }

  /** All that wait, longest first; they may leave meanwhile. */
  *all(): Iterable<Ticket<T, R>> {
    yield* this.#all.present();
  }
}

/** One that gives up leaves its place empty until the head passes it. */
class Tickets<T, R> {
  readonly #ring = new Ring<Ticket<T, R>>(16);
  waiting = 0;

  add(ticket: Ticket<T, R>): void {
    this.#ring.push(ticket);
    this.waiting++;
  }

  /** One that is marked so has left. Empty places go in bulk, so that many who give up cost as little as many who are served. */
  onLeft(): void {
    this.waiting--;
    if (this.#ring.length > 32 && this.#ring.length > this.waiting * 2) this.#ring.filter((each) => !each.left);
  }

  first(): Ticket<T, R> | undefined {
    for (let ticket = this.#ring.peek(); ticket !== undefined; ticket = this.#ring.peek()) {
      if (!ticket.left) return ticket;
      this.#ring.shift();
    }
    return undefined;
  }

  present(): Ticket<T, R>[] {
    const tickets: Ticket<T, R>[] = [];
    for (let i = 0; i < this.#ring.length; i++) {
      const ticket = this.#ring.at(i);
      if (ticket !== undefined && !ticket.left) tickets.push(ticket);
    }
    return tickets;
  }
}
