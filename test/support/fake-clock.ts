// A Clock that stands still until a test moves it.

import type { Clock } from '../../lib/util/index.js';

export class FakeClock implements Clock {
  #now = 0;
  readonly #epochMs: number;

  /** @param epochMs wall time at the start */
  constructor(epochMs = Date.UTC(2026, 0, 1)) {
    this.#epochMs = epochMs;
  }

  now(): number {
    return this.#now;
  }

  wallMs(): number {
    return this.#epochMs + Math.floor(this.#now);
  }

  advance(ms: number): void {
    if (!(ms >= 0)) throw new RangeError('time only goes forward');
    this.#now += ms;
  }
}
