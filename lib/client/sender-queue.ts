// Keeps notifications in their order while other processes are asked whose they are; what the server says behind them waits as well.

import { readNotificationPid, writeNotificationPid } from '../wire/index.js';

/** Notifications that wait for an answer; with more, they are told as they came. */
const heldMax = 1_000;

/** Knows which clients have notified. */
export interface SenderLookUp {
  /** See `Senders.pidOf`. */
  pidOf(place: string, pid: number): number | undefined;
  /** The same of other processes, in the order of `pids`; undefined where there are none. Never rejects. */
  pidsElsewhere(place: string, pids: readonly number[]): Promise<readonly (number | null)[]> | undefined;
  /** A server is about to listen in this database. */
  onListening(database: string): void;
}

interface Held {
  readonly frame: Buffer;
  /** Of a process that is no server of this one's. */
  readonly unknown: number | undefined;
}

export class SenderQueue {
  readonly #senders: SenderLookUp;
  readonly #tell: (bytes: Buffer, start: number, end: number) => void;
  #items: (Held | (() => void))[] = [];
  /** Counts the questions: the answer to one that nobody waits for any more is of no use. */
  #round = 0;

  constructor(senders: SenderLookUp, tell: (bytes: Buffer, start: number, end: number) => void) {
    this.#senders = senders;
    this.#tell = tell;
  }

  /** @param place of the server that tells of it */
  onNotification(place: string, bytes: Buffer, start: number, end: number): void {
    const pid = readNotificationPid(bytes, start);
    const sender = this.#senders.pidOf(place, pid);
    if (sender !== undefined) writeNotificationPid(bytes, start, sender);
    if (this.#items.length >= heldMax) this.#tellAll();
    const first = this.#items.length === 0;
    const asked = first && sender === undefined ? this.#senders.pidsElsewhere(place, [pid]) : undefined;
    if (first && asked === undefined) {
      this.#tell(bytes, start, end);
      return;
    }
    this.#items.push({
      frame: Buffer.from(bytes.subarray(start, end)),
      unknown: sender === undefined ? pid : undefined,
    });
    if (asked !== undefined) this.#await(place, [pid], asked);
  }

  /** Does it when all that has come before is told. */
  behind(act: () => void): void {
    if (this.#items.length === 0) act();
    else this.#items.push(act);
  }

  /** The server is gone, or given up: what it has told of is told, and nothing else happens. */
  end(): void {
    const items = this.#items;
    this.#items = [];
    this.#round++;
    for (const item of items) if (typeof item !== 'function') this.#tell(item.frame, 0, item.frame.length);
  }

  #tellAll(): void {
    this.#round++;
    this.#settle(this.#items.length, new Map());
  }

  #await(place: string, pids: readonly number[], asked: Promise<readonly (number | null)[]>): void {
    const count = this.#items.length;
    const round = ++this.#round;
    void asked.then((found) => {
      if (round !== this.#round) return;
      this.#settle(count, new Map(pids.map((pid, i) => [pid, found[i] ?? null])));
      if (round === this.#round) this.#askAgain(place);
    });
  }

  /** What has come meanwhile is asked for anew: its server may have gone to another client. */
  #askAgain(place: string): void {
    const unknown = new Set<number>();
    for (const item of this.#items)
      if (typeof item !== 'function' && item.unknown !== undefined) unknown.add(item.unknown);
    const pids = [...unknown];
    const asked = pids.length === 0 ? undefined : this.#senders.pidsElsewhere(place, pids);
    if (asked === undefined) this.#settle(this.#items.length, new Map());
    else this.#await(place, pids, asked);
  }

  /** Tells the first of what is held. */
  #settle(count: number, found: ReadonlyMap<number, number | null>): void {
    const round = this.#round;
    for (let left = count; left > 0 && round === this.#round; left--) {
      const item = this.#items.shift();
      if (item === undefined) return;
      if (typeof item === 'function') {
        item();
        continue;
      }
      const sender = item.unknown === undefined ? undefined : found.get(item.unknown);
      if (sender !== undefined && sender !== null) writeNotificationPid(item.frame, 0, sender);
      this.#tell(item.frame, 0, item.frame.length);
    }
  }
}
