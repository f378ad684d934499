// How much longer things may take while the machine is busy: for limits that are there so that a test ends, not because time is what it tests.

import { readFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';

const stretchMax = 10;

/** 1 on an idle machine; with as many others at work as there are cores, 2; and so on. */
export function stretch(): number {
  return Math.min(1 + busy() / availableParallelism(), stretchMax);
}

/** @param ms what is ample on an idle machine */
export function stretched(ms: number): number {
  return Math.round(ms * stretch());
}

/** Processes that run or want to: over the last minute, or now where that is more. */
function busy(): number {
  const [lastMinute = 0] = loadavg();
  return Math.max(lastMinute, runnable());
}

function runnable(): number {
  try {
    const [, , , counts = ''] = readFileSync('/proc/loadavg', 'latin1').split(' ');
    // This process is one of them.
    return Math.max(Number.parseInt(counts, 10) - 1, 0) || 0;
  } catch {
    return 0;
  }
}
