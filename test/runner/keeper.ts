// Outlives a test run by a moment: when the runner ends, however it ends, what the run has started ends too and its directory is removed.

import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { kill, killGroup, marked, workingIn } from './leftovers.js';

/** What the runner tells: a process group that begins, or has ended. */
export interface ToKeeper {
  readonly kind: 'began' | 'ended';
  readonly leader: number;
}

/** A watchdog whose weir is gone gives PostgreSQL no longer. */
const patienceMs = 20_000;
const pollMs = 50;

const [directory, mark] = process.argv.slice(2);
const leaders = new Set<number>();

process.title = 'weir-test-keeper';
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('message', ({ kind, leader }: ToKeeper) => {
  if (kind === 'began') leaders.add(leader);
  else leaders.delete(leader);
});
process.on('disconnect', () => void cleanUp());
process.send?.('ready');

async function cleanUp(): Promise<void> {
  if (directory === undefined || mark === undefined) return;
  for (const leader of leaders) killGroup(leader);
  kill(marked(mark));
  const until = performance.now() + patienceMs;
  while (workingIn(directory).length > 0 && performance.now() < until) await sleep(pollMs);
  kill([...marked(mark), ...workingIn(directory)]);
  // Whoever was killed this moment may still have made a file.
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: pollMs });
}
