// Notifications kept until their client can be told: of one client in order, and of all together within a limit.

import { Ring } from '../util/index.js';

/** What one that is kept takes beside its bytes, for the first client and for each further one. */
const keptBytes = 128;
const sharedBytes = 16;

/** One notification, shared by all who are to be told of it; `undefined` as channel: for whoever listens on anything. */
export class Kept {
  readonly channel: string | undefined;
  readonly frame: Buffer;
  /** In how many queues it is. */
  holders = 0;

  constructor(channel: string | undefined, frame: Buffer) {
    this.channel = channel;
    this.frame = frame;
  }

  get bytes(): number {
    return this.frame.length + keptBytes;
  }
}

/** Which limit a queue has gone beyond. */
export type Overflow = 'client' | 'process';

/** What all clients of the process have kept. */
export class NotificationMemory {
  /** Bytes for one client, and for all together. */
  clientBytesMax: number;
  bytesMax: number;
  bytes = 0;
  readonly #queues = new Set<NotificationQueue>();

  constructor(clientBytesMax: number, bytesMax: number) {
    this.clientBytesMax = clientBytesMax;
    this.bytesMax = bytesMax;
  }

  add(queue: NotificationQueue, kept: Kept): void {
    this.#queues.add(queue);
    this.bytes += kept.holders++ === 0 ? kept.bytes : sharedBytes;
  }

  remove(queue: NotificationQueue, kept: Kept): void {
    this.bytes -= --kept.holders === 0 ? kept.bytes : sharedBytes;
    if (queue.length === 0) this.#queues.delete(queue);
  }

  /** The longest queues give up theirs until there is room. */
  makeRoom(): void {
    while (this.bytes > this.bytesMax) {
      let longest: NotificationQueue | undefined;
      for (const queue of this.#queues) if (longest === undefined || queue.bytes > longest.bytes) longest = queue;
      if (longest === undefined) return;
      longest.overflow('process');
    }
  }
}

/** Of one client, oldest first. */
export class NotificationQueue {
  readonly #memory: NotificationMemory;
  readonly #kept = new Ring<Kept>();
  readonly #onOverflow: (by: Overflow) => void;
  bytes = 0;
  #over = false;

  /** @param onOverflow a limit has been passed: nothing is kept any more */
  constructor(memory: NotificationMemory, onOverflow: (by: Overflow) => void) {
    this.#memory = memory;
    this.#onOverflow = onOverflow;
  }

  get length(): number {
    return this.#kept.length;
  }

  push(kept: Kept): void {
    if (this.#over) return;
    this.#kept.push(kept);
    this.bytes += kept.bytes;
    this.#memory.add(this, kept);
    if (this.bytes > this.#memory.clientBytesMax) this.overflow('client');
    else this.#memory.makeRoom();
  }

  peek(): Kept | undefined {
    return this.#kept.peek();
  }

  shift(): Kept | undefined {
    const kept = this.#kept.shift();
    if (kept !== undefined) this.#release(kept);
    return kept;
  }

  filter(keep: (kept: Kept) => boolean): void {
    if (this.#kept.length === 0) return;
    const dropped: Kept[] = [];
    this.#kept.filter((kept) => {
      const stays = keep(kept);
      if (!stays) dropped.push(kept);
      return stays;
    });
    for (const kept of dropped) this.#release(kept);
  }

  #release(kept: Kept): void {
    this.bytes -= kept.bytes;
    this.#memory.remove(this, kept);
  }

  overflow(by: Overflow): void {
    this.end();
    this.#onOverflow(by);
  }

  /** Nobody will be told of what there is, nor of what comes. */
  end(): void {
    this.#over = true;
    this.filter(() => false);
  }
}
