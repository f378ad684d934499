// Who logs in to a pool before it has had any server waits for the first one: only a server tells what a client is to be greeted with.

import type { PoolerError } from '../util/index.js';

interface Waiting {
  readonly sinceMs: number;
  readonly resolve: () => void;
  readonly reject: (error: PoolerError) => void;
}

export class Greeting {
  /** Parameters as servers report them to a new client, by their own names; undefined before the first login. */
  parameters: ReadonlyMap<string, string> | undefined;
  readonly #waiting = new Set<Waiting>();

  get waiting(): number {
    return this.#waiting.size;
  }

  /** How long the one who waits longest has waited, in milliseconds. */
  maxWaitMs(nowMs: number): number {
    for (const { sinceMs } of this.#waiting) return nowMs - sinceMs;
    return 0;
  }

  /** Resolves when `parameters` are known. @throws PoolerError */
  wait(nowMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.add({ sinceMs: nowMs, resolve, reject });
    });
  }

  /** A server has logged in. */
  known(parameters: ReadonlyMap<string, string>): void {
    this.parameters = parameters;
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
