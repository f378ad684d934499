// Who logs in to a pool waits for a server where only a new one tells what a client is to be greeted with: before the first, and when that has changed.

import type { Settings } from '../session/index.js';
import type { PoolerError } from '../util/index.js';

/** What a new client begins with. */
export interface Welcome {
  /** As servers report them, by their own names. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly settings: Settings;
}

/** How long a login waits for a server that tells what sessions begin with now, where an older one has told before. */
const renewalMsMax = 1_000;

interface Waiting {
  readonly sinceMs: number;
  readonly resolve: () => void;
  readonly reject: (error: PoolerError) => void;
}

export class Greeting {
  /** Undefined before the first login. */
  #welcome: Welcome | undefined;
  /** Servers that log in now may begin otherwise. */
  #isOld = false;
  /** What servers begin with may have been altered, and no login has asked for it since. */
  isAltered = false;
  readonly #waiting = new Set<Waiting>();

  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  get isOld(): boolean {
    return this.#isOld;
  }

  /** Only servers made from now on count. */
  outdate(): void {
    this.isAltered = false;
    this.#isOld = true;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** How long the one who waits longest has waited, in milliseconds. */
  maxWaitMs(nowMs: number): number {
    for (const { sinceMs } of this.#waiting) return nowMs - sinceMs;
    return 0;
  }

  /** Resolves when a server has told, or where no other one comes in time, what is known has to do. @throws PoolerError */
  wait(nowMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting = { sinceMs: nowMs, resolve, reject };
      this.#waiting.add(waiting);
      if (this.#welcome === undefined) return;
      setTimeout(() => {
        this.#waiting.delete(waiting);
        resolve();
      }, renewalMsMax).unref();
    });
  }

  /** A server has logged in. */
  known(welcome: Welcome, server: 'new' | 'old'): void {
    this.#welcome = welcome;
    if (server === 'new') this.#isOld = false;
    this.makeDo();
  }

  /** What is known has to do for those who wait, where anything is. */
  makeDo(): void {
    if (this.#welcome === undefined) return;
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** There will be none. */
  fail(error: PoolerError): void {
    for (const { reject } of this.#waiting) reject(error);
    this.#waiting.clear();
  }

  /** Those who have waited for so long are told so. */
  expire(nowMs: number, waitMsMax: number, error: () => PoolerError): void {
    for (const waiting of this.#waiting) {
      if (nowMs - waiting.sinceMs < waitMsMax) return;
      this.#waiting.delete(waiting);
      waiting.reject(error());
    }
  }
}
