// Waits until something outside this process has come true, without guessing how long that takes.

import { setTimeout as sleep } from 'node:timers/promises';

const pollMs = 20;

/**
 * Calls `attempt` until it neither throws nor answers false, and gives its answer.
 * Throws the last error (or says that it stayed false) after `withinMs`.
 */
export async function eventually<T>(
  attempt: () => T | Promise<T>,
  { withinMs = 5_000 }: { withinMs?: number } = {},
): Promise<Exclude<Awaited<T>, false>> {
  const until = performance.now() + withinMs;
  for (;;) {
    let problem: unknown;
    try {
      const answer = await attempt();
      if (answer !== false) return answer as Exclude<Awaited<T>, false>;
      problem = new Error('it stayed false');
    } catch (error) {
      problem = error;
    }
    if (performance.now() >= until) throw new Error(`not so within ${withinMs} ms`, { cause: problem });
    await sleep(pollMs);
  }
}
