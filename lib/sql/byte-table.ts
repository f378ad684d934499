// A bounded hash table keyed by bytes: the keyed hash finds, the stored bytes decide, second chance evicts.

import { chainLengthMax } from './limits.js';

export interface ByteEntry<V> {
  readonly hashLow: number;
  readonly hashHigh: number;
  readonly length: number;
  readonly words: Int32Array;
  value: V;
  /** Of the key and of what it holds. */
  bytes: number;
  /** Looked up since the clock's hand passed last. */
  referenced: boolean;
  alive: boolean;
  next: ByteEntry<V> | undefined;
}

export interface ByteTableLimits {
  readonly maxEntries: number;
  /** Of the stored keys and what they hold. */
  readonly maxBytes: number;
  /** Two secret odd or even numbers; texts that collide cannot be found without them. */
  readonly hashKey: HashKey;
}

export interface HashKey {
  readonly low: number;
  readonly high: number;
}

/** What an entry costs beside its key. */
const entryOverheadBytes = 128;

export class ByteTable<V> {
  readonly #chains: (ByteEntry<V> | undefined)[];
  readonly #mask: number;
  readonly #limits: ByteTableLimits;
  readonly #multiplierLow: number;
  readonly #multiplierHigh: number;
  readonly #clock: ByteEntry<V>[] = [];
  #hand = 0;
  #bytes = 0;
  evictions = 0;
  hashLow = 0;
  hashHigh = 0;

  constructor(limits: ByteTableLimits) {
    this.#limits = limits;
    const size = 2 ** Math.ceil(Math.log2(Math.max(16, limits.maxEntries * 2)));
    this.#chains = new Array<ByteEntry<V> | undefined>(size).fill(undefined);
    this.#mask = size - 1;
    this.#multiplierLow = (limits.hashKey.low & ~7) | 5;
    this.#multiplierHigh = (limits.hashKey.high & ~7) | 3;
  }

  get size(): number {
    return this.#clock.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Leaves the hash of the key in `hashLow` and `hashHigh` for the `insert` that may follow. */
  find(words: Int32Array, length: number): ByteEntry<V> | undefined {
    const count = (length + 3) >> 2;
    const multiplierLow = this.#multiplierLow;
    const multiplierHigh = this.#multiplierHigh;
    let low = this.#limits.hashKey.high ^ length;
    let high = this.#limits.hashKey.low ^ length;
    for (let i = 0; i < count; i++) {
      const word = words[i]!;
      low = Math.imul(low ^ word, multiplierLow);
      low ^= low >>> 15;
      high = Math.imul(high + word, multiplierHigh);
      high ^= high >>> 13;
    }
    low = Math.imul(low ^ (low >>> 16), 0x85ebca6b);
    low ^= low >>> 13;
    this.hashLow = low;
    this.hashHigh = high;
    let entry = this.#chains[low & this.#mask];
    while (entry !== undefined) {
      if (entry.hashLow === low && entry.hashHigh === high && entry.length === length) {
        const stored = entry.words;
        let i = 0;
        while (i < count && stored[i] === words[i]) i++;
        if (i === count) {
          entry.referenced = true;
          return entry;
        }
      }
      entry = entry.next;
    }
    return undefined;
  }

  /** Stores a copy of the key that `find` has just missed. */
  insert(words: Int32Array, length: number, value: V): ByteEntry<V> {
    const at = this.hashLow & this.#mask;
    const entry: ByteEntry<V> = {
      hashLow: this.hashLow,
      hashHigh: this.hashHigh,
      length,
      words: words.slice(0, (length + 3) >> 2),
      value,
      bytes: entryOverheadBytes,
      referenced: false,
      alive: true,
      next: this.#chains[at],
    };
    this.#chains[at] = entry;
    this.#bytes += entry.bytes;
    this.#clock.push(entry);
    this.#shortenChain(entry);
    this.weigh(entry, 0);
    return entry;
  }

  /** The entry's value has become so large: others make room for it. @param bytes beside the key */
  weigh(entry: ByteEntry<V>, bytes: number): void {
    if (!entry.alive) return;
    const before = entry.bytes;
    entry.bytes = entry.words.byteLength + entryOverheadBytes + bytes;
    this.#bytes += entry.bytes - before;
    while (this.#clock.length > this.#limits.maxEntries || this.#bytes > this.#limits.maxBytes) {
      if (!this.#evictOne(entry)) break;
    }
  }

  /** Takes back an `insert`, as if it had never been. */
  forget(entry: ByteEntry<V>): void {
    if (!entry.alive) return;
    this.#remove(entry, this.#clock.lastIndexOf(entry));
    this.evictions--;
  }

  #shortenChain(head: ByteEntry<V>): void {
    let last = head;
    let length = 1;
    while (last.next !== undefined) {
      last = last.next;
      length++;
    }
    if (length > chainLengthMax) this.#remove(last, this.#clock.indexOf(last));
  }

  #evictOne(spared: ByteEntry<V>): boolean {
    const clock = this.#clock;
    if (clock.length <= 1) return false;
    for (;;) {
      if (this.#hand >= clock.length) this.#hand = 0;
      const entry = clock[this.#hand]!;
      if (entry !== spared && !entry.referenced) {
        this.#remove(entry, this.#hand);
        return true;
      }
      // The newest entry is passed over, so one further lap always finds another.
      entry.referenced = false;
      this.#hand++;
    }
  }

  #remove(entry: ByteEntry<V>, clockIndex: number): void {
    const at = entry.hashLow & this.#mask;
    let link = this.#chains[at];
    if (link === entry) {
      this.#chains[at] = entry.next;
    } else {
      while (link !== undefined && link.next !== entry) link = link.next;
      if (link !== undefined) link.next = entry.next;
    }
    const last = this.#clock.pop()!;
    if (last !== entry) this.#clock[clockIndex] = last;
    this.#bytes -= entry.bytes;
    entry.alive = false;
    entry.next = undefined;
    this.evictions++;
  }
}

/** The key as bytes, for people and for the parser. */
export function entryBytes(entry: { words: Int32Array; length: number }): Buffer {
  return Buffer.from(entry.words.buffer, entry.words.byteOffset, entry.length);
}
