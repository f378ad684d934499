// Runs every work on every target in interleaved rounds: the order is rotated so that no target always goes first.

import { type Instruments, measure } from './measure.js';
import { errorText, failed, type Outcome, type Sample } from './samples.js';
import type { RunningTarget, Target, TargetContext } from './targets.js';
import type { MemoryWork, TargetWork } from './works.js';

export interface Contender {
  readonly target: Target;
  readonly version: string;
}

export interface Plan {
  readonly works: readonly TargetWork[];
  readonly contenders: readonly Contender[];
  readonly rounds: number;
  readonly warmupSeconds: number;
  readonly context: TargetContext;
  readonly tools: Instruments;
  /** Told of each sample as it comes. */
  readonly onSample: (sample: Sample) => void;
}

/** Ends early, with the samples it has told of, when `tools.stop` is aborted. */
export async function runRounds(plan: Plan): Promise<void> {
  const { stop } = plan.tools;
  const stable = new Stable(plan);
  try {
    for (const work of plan.works) {
      for (let round = 0; round < plan.rounds; round++) {
        for (const [place, contender] of rotate(plan.contenders, round).entries()) {
          if (stop.aborted) return;
          const startedAt = new Date().toISOString();
          const outcome = await outcomeOf(plan, stable, contender, work);
          // What a stop cut short is neither a figure nor a failure.
          if (stop.aborted) return;
          plan.onSample({ work: work.name, target: contender.target.name, round, place, startedAt, outcome });
        }
      }
    }
  } finally {
    await stable.stop();
  }
}

/** The same items, starting `by` places further on. */
export function rotate<T>(items: readonly T[], by: number): T[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

async function outcomeOf(plan: Plan, stable: Stable, contender: Contender, work: TargetWork): Promise<Outcome> {
  const why = contender.target.refusal(work, contender.version);
  if (why !== undefined) return { kind: 'not-applicable', why };
  try {
    // Memory that a process has once had it rarely gives back, so this work gets a process of its own.
    if (work.kind === 'memory') return await measureFresh(plan, contender, work);
    const running = await stable.running(contender);
    const outcome = await measure(plan.tools, running, work);
    const gone = running.gone();
    if (outcome.kind !== 'failed' || gone === undefined) return outcome;
    return failed(`${outcome.message}\n${gone}`);
  } catch (error) {
    return failed(errorText(error));
  }
}

async function measureFresh(plan: Plan, contender: Contender, work: MemoryWork): Promise<Outcome> {
  const context = work.of === 'server' ? { ...plan.context, serverConnections: work.count } : plan.context;
  const running = await contender.target.start(context, contender.version);
  try {
    return await measure(plan.tools, running, work);
  } finally {
    await running.stop();
  }
}

/** The targets that are kept running through the works; one that died is started again for its next turn. */
class Stable {
  readonly #plan: Plan;
  readonly #running = new Map<string, RunningTarget>();

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  async running(contender: Contender): Promise<RunningTarget> {
    const { name } = contender.target;
    const known = this.#running.get(name);
    if (known !== undefined && known.gone() === undefined) return known;
    this.#running.delete(name);
    const started = await contender.target.start(this.#plan.context, contender.version);
    this.#running.set(name, started);
    await this.#warmUp(started);
    return started;
  }

  async stop(): Promise<void> {
    await Promise.allSettled([...this.#running.values()].map((running) => running.stop()));
    this.#running.clear();
  }

  /** Opens the server connections and lets compilers and caches settle; a failure here shows in the measurement. */
  async #warmUp(running: RunningTarget): Promise<void> {
    const { tools, warmupSeconds } = this.#plan;
    const seconds = Math.max(1, Math.round(warmupSeconds / 3));
    for (const protocol of ['simple', 'extended'] as const) {
      for (const script of ['select-only', 'tpcb-like'] as const) {
        await tools.pgbench
          .run(running.endpoint, { script, protocol, clients: 32, seconds, connect: 'once', tls: 'disable' })
          .catch(() => undefined);
      }
    }
  }
}
