// Waits until something outside this process has come true, without guessing how long that takes.

import { setTimeout as sleep } from 'node:timers/promises';
import { stretched } from './stretch.js';

const pollMs = 20;

/**
 * Calls `attempt` until it neither throws nor answers false, and gives its answer.
 * Throws the last error (or says that it stayed false) after `withinMs`, and later where the machine is busy.
 */
export async function eventually<T>(
  attempt: () => T | Promise<T>,
  { withinMs = 5_000 }: { withinMs?: number } = {},
): Promise<Exclude<Awaited<T>, false>> {
  const begin = performance.now();
  for (;;) {
    let problem: unknown;
    try {
      const answer = await attempt();
      if (answer !== false) return answer as Exclude<Awaited<T>, false>;
      problem = new Error('it stayed false');
    } catch (error) {
      problem = error;
    }
    const waitedMs = performance.now() - begin;
    if (waitedMs >= stretched(withinMs)) {
      throw new Error(`not so within ${withinMs} ms (waited ${Math.round(waitedMs)} ms)`, { cause: problem });
    }
    await sleep(pollMs);
  }
}
