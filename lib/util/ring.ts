// A first-in first-out queue in one array: push and shift in constant time, without garbage per element.

import { assert } from './assert.js';

/** Grows by doubling to hold what is pushed; the owner enforces its limit by looking at `length`. */
export class Ring<T> {
  #slots: (T | undefined)[];
  #mask: number;
  #head = 0;
  #length = 0;

  /** @param capacity initial slots, a power of two */
  constructor(capacity = 8) {
    assert((capacity & (capacity - 1)) === 0, 'ring capacity is a power of two');
    this.#slots = new Array<T | undefined>(capacity).fill(undefined);
    this.#mask = capacity - 1;
  }

  get length(): number {
    return this.#length;
  }

  push(value: T): void {
    if (this.#length > this.#mask) this.#grow();
    this.#slots[(this.#head + this.#length) & this.#mask] = value;
    this.#length++;
  }

  peek(): T | undefined {
    return this.#slots[this.#head];
  }

  /** The element `index` places behind the head. */
  at(index: number): T | undefined {
    return index < this.#length ? this.#slots[(this.#head + index) & this.#mask] : undefined;
  }

  /** The element pushed last. */
  last(): T | undefined {
    return this.#length === 0 ? undefined : this.#slots[(this.#head + this.#length - 1) & this.#mask];
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const value = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & this.#mask;
    this.#length--;
    return value;
  }

  /** Keeps, in order, the elements for which `keep` answers true. */
  filter(keep: (value: T) => boolean): void {
    const count = this.#length;
    for (let i = 0; i < count; i++) {
      const value = this.shift() as T;
      if (keep(value)) this.push(value);
    }
  }

  clear(): void {
    this.#slots.fill(undefined);
    this.#head = 0;
    this.#length = 0;
  }

  #grow(): void {
    const slots = new Array<T | undefined>(this.#slots.length * 2).fill(undefined);
    for (let i = 0; i < this.#length; i++) slots[i] = this.#slots[(this.#head + i) & this.#mask];
    this.#slots = slots;
    this.#mask = slots.length - 1;
    this.#head = 0;
  }
}
