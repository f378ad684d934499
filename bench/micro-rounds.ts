// Runs the micro works: a process for each round, in which each is timed once, in an order that is rotated.

import { fileURLToPath } from 'node:url';
import { type MicroRequest, readMicroLines } from './micro/protocol.js';
import { complaint, type Fleet } from './processes.js';
import { errorText, failed, type Outcome, type Sample } from './samples.js';
import { rotate } from './schedule.js';
import type { MicroWork } from './works.js';

/** Compiled along with the bench. */
const program = fileURLToPath(new URL('./micro/main.js', import.meta.url));

/** What stands in the column of targets: they run in no pooler. */
export const microTarget = 'lib';

export interface MicroPlan {
  readonly works: readonly MicroWork[];
  readonly rounds: number;
  /** How long each is timed in a round. */
  readonly ms: number;
  readonly fleet: Fleet;
  readonly stop: AbortSignal;
  readonly onSample: (sample: Sample) => void;
}

/** A tenth of a measurement with sockets: there is no traffic to settle. */
export function microMs(seconds: number): number {
  return seconds * 100;
}

export async function runMicroRounds(plan: MicroPlan): Promise<void> {
  const { works, rounds, stop } = plan;
  if (works.length === 0) return;
  for (let round = 0; round < rounds; round++) {
    const order = rotate(works, Math.floor((round * works.length) / rounds));
    const startedAt = new Date().toISOString();
    const outcomeOf = await measureRound(plan, order);
    if (stop.aborted) return;
    for (const work of works) {
      const place = order.indexOf(work);
      plan.onSample({ work: work.name, target: microTarget, round, place, startedAt, outcome: outcomeOf(work) });
    }
  }
}

async function measureRound(plan: MicroPlan, order: readonly MicroWork[]): Promise<(work: MicroWork) => Outcome> {
  const request: MicroRequest = { names: order.map((work) => work.exercise), ms: plan.ms };
  const launch = { name: 'micro', command: process.execPath, args: [program, JSON.stringify(request)] };
  const graceMsMax = 60_000;
  try {
    // A warm-up comes before each timing.
    const result = await plan.fleet.run(launch, order.length * plan.ms * 4 + graceMsMax);
    const problem = complaint('micro', result);
    const outcomes = readMicroLines(result.stdout);
    return (work) => outcomes.get(work.exercise) ?? failed(problem ?? 'micro did not answer');
  } catch (error) {
    return () => failed(errorText(error));
  }
}
