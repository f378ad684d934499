// Measures one work on one running target: dispatch by kind, and the processor time around it.

import { begin } from './company.js';
import { treeCpuMs } from './cpu.js';
import { type HttpResult, loadHttp } from './http-load.js';
import { heldKb } from './memory.js';
import type { Pgbench, PgbenchResult, PgbenchRun } from './pgbench.js';
import type { Fleet } from './processes.js';
import { errorText, failed, type Metrics, measured, type Outcome } from './samples.js';
import { measureServerless } from './serverless.js';
import type { RunningTarget } from './targets.js';
import type {
  FixedRateWork,
  MemoryWork,
  MetricsPageWork,
  ServerlessWork,
  TargetWork,
  ThroughputWork,
} from './works.js';

export interface Instruments {
  readonly fleet: Fleet;
  readonly pgbench: Pgbench;
  readonly stop: AbortSignal;
  readonly seconds: number;
  readonly scale: number;
  /** Root of PostgreSQL's process tree. */
  readonly postgresPid: number;
  /** Clears what earlier measurements left in the tables. */
  readonly vacuum: () => Promise<void>;
  /** Whether a certificate could be made, and if not why. */
  readonly tls: { readonly kind: 'on' } | { readonly kind: 'off'; readonly why: string };
}

export async function measure(tools: Instruments, target: RunningTarget, work: TargetWork): Promise<Outcome> {
  try {
    switch (work.kind) {
      case 'throughput':
        return await measureThroughput(tools, target, work);
      case 'fixed-rate':
        return await measureFixedRate(tools, target, work);
      case 'memory':
        return await measureMemory(target, work);
      case 'serverless':
        return await measureFunction(tools, target, work);
      case 'metrics-page':
        return await measureMetricsPage(tools, target, work);
      default:
        return work satisfies never;
    }
  } catch (error) {
    return failed(errorText(error));
  }
}

async function measureThroughput(tools: Instruments, target: RunningTarget, work: ThroughputWork): Promise<Outcome> {
  if (work.tls === 'require' && tools.tls.kind === 'off') return { kind: 'not-applicable', why: tools.tls.why };
  if (work.script === 'tpcb-like') await tools.vacuum();
  const { script, protocol, clients, connect, tls } = work;
  const result = await countedPgbench(tools, target, {
    ...{ script, protocol, clients, connect, tls },
    seconds: tools.seconds,
  });
  const { transactionsPerS, latencyMs, connectMs } = result.value;
  return measured({ transactionsPerS, latencyMs, ...(connectMs === undefined ? {} : { connectMs }), ...result.cpu });
}

async function measureFixedRate(tools: Instruments, target: RunningTarget, work: FixedRateWork): Promise<Outcome> {
  const { script, protocol, clients, perSecond } = work;
  const end = work.beside === undefined ? undefined : await begin(work.beside, target.endpoint);
  const run = {
    script,
    protocol,
    clients,
    perSecond,
    connect: 'once',
    tls: 'disable',
    seconds: tools.seconds,
  } as const;
  const result = await countedPgbench(tools, target, run).finally(() => end?.());
  return measured({ transactionsPerS: result.value.transactionsPerS, ...result.value.latencies, ...result.cpu });
}

async function measureMemory(target: RunningTarget, work: MemoryWork): Promise<Outcome> {
  const { poolerPid } = target;
  if (poolerPid === undefined) return { kind: 'not-applicable', why: 'no pooler process' };
  return measured({ heldKb: await heldKb(target.endpoint, poolerPid, work) });
}

async function measureFunction(tools: Instruments, target: RunningTarget, work: ServerlessWork): Promise<Outcome> {
  let cpu: Metrics = {};
  const run = { connections: work.connections, seconds: tools.seconds, aidMax: tools.scale * 100_000 };
  const result = await measureServerless(tools.fleet, target.endpoint, run, tools.stop, async (load) => {
    const counted = await countCpu<HttpResult>(tools, target, load, (loaded) => loaded.requests);
    cpu = counted.cpu;
    return counted.value;
  });
  return measured({ ...result.metrics, ...cpu });
}

async function measureMetricsPage(tools: Instruments, target: RunningTarget, work: MetricsPageWork): Promise<Outcome> {
  const { metricsUrl: url } = target;
  if (url === undefined) return { kind: 'not-applicable', why: 'no metrics page' };
  const load = { url, connections: work.connections, seconds: tools.seconds };
  const result = await countCpu<HttpResult>(
    tools,
    target,
    () => loadHttp(load, tools.stop),
    (loaded) => loaded.requests,
  );
  return measured({ ...result.value.metrics, ...result.cpu });
}

function countedPgbench(tools: Instruments, target: RunningTarget, run: PgbenchRun) {
  return countCpu<PgbenchResult>(
    tools,
    target,
    () => tools.pgbench.run(target.endpoint, run),
    (result) => result.transactions,
  );
}

/** Processor time of pooler and PostgreSQL over `work`, divided by the pieces it says it did. Includes connecting. */
async function countCpu<T>(
  tools: Instruments,
  target: RunningTarget,
  work: () => Promise<T>,
  pieces: (value: T) => number,
): Promise<{ value: T; cpu: Metrics }> {
  const poolerMs = cpuWatch(target.poolerPid);
  const postgresMs = cpuWatch(tools.postgresPid);
  const value = await work();
  const count = pieces(value);
  const poolerUsed = poolerMs();
  const postgresUsed = postgresMs();
  return {
    value,
    cpu: {
      ...(poolerUsed === undefined ? {} : { poolerCpuUs: (poolerUsed * 1_000) / count }),
      ...(postgresUsed === undefined ? {} : { postgresCpuUs: (postgresUsed * 1_000) / count }),
    },
  };
}

/** Call the result to learn the milliseconds used since; undefined where they cannot be known. */
function cpuWatch(pid: number | undefined): () => number | undefined {
  const before = pid === undefined ? undefined : treeCpuMs(pid);
  return () => {
    const after = pid === undefined ? undefined : treeCpuMs(pid);
    return before === undefined || after === undefined ? undefined : after - before;
  };
}
