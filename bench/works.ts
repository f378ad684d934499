// The work tables: what is measured, one row each. `measure.ts` and `micro-rounds.ts` know how.

import { type Company, companies } from './company.js';
import { microTable } from './micro/table.js';
import type { FileScript } from './scripts.js';

export type Protocol = 'simple' | 'extended' | 'prepared';
/** One that pgbench brings, or one of `scripts.ts`. */
export type BuiltinScript = 'select-only' | 'tpcb-like';
export type Script = BuiltinScript | FileScript;

export interface ThroughputWork {
  readonly kind: 'throughput';
  readonly name: string;
  readonly script: Script;
  readonly protocol: Protocol;
  readonly clients: number;
  readonly connect: 'once' | 'per-transaction';
  readonly tls: 'disable' | 'require';
}

export interface FixedRateWork {
  readonly kind: 'fixed-rate';
  readonly name: string;
  readonly script: Script;
  readonly protocol: Protocol;
  readonly clients: number;
  readonly perSecond: number;
  /** What goes on meanwhile. */
  readonly beside: Company | undefined;
}

/** What a pooler needs memory for: a client that says nothing, one that waits for a server, a server connection that is in use. */
export type Holder = 'idle' | 'waiting' | 'server';

export interface MemoryWork {
  readonly kind: 'memory';
  readonly name: string;
  readonly of: Holder;
  readonly count: number;
}

export interface ServerlessWork {
  readonly kind: 'serverless';
  readonly name: string;
  readonly connections: number;
}

export interface MetricsPageWork {
  readonly kind: 'metrics-page';
  readonly name: string;
  readonly connections: number;
}

/** Needs no target: it runs in a process of its own, without sockets. */
export interface MicroWork {
  readonly kind: 'micro';
  readonly name: string;
  /** As `micro/table.ts` names it. */
  readonly exercise: string;
}

/** What is measured on a running target. */
export type TargetWork = ThroughputWork | FixedRateWork | MemoryWork | ServerlessWork | MetricsPageWork;
export type Work = TargetWork | MicroWork;
export type WorkKind = Work['kind'];

export interface WorkSizes {
  readonly clientCounts: readonly number[];
  readonly idleClients: number;
}

/** PostgreSQL has room for more. */
const memoryServers = 300;

export const usualClientCounts: readonly number[] = [1, 16, 128];
export const longClientCounts: readonly number[] = [...usualClientCounts, 500];

export function workTable(sizes: WorkSizes): readonly Work[] {
  return [
    ...grid('select-only', sizes.clientCounts),
    ...grid('tpcb-like', sizes.clientCounts),
    throughput('tpcb-like', 'simple', 32),
    throughput('select-only', 'simple', 16, { connect: 'per-transaction' }),
    throughput('select-only', 'simple', 128, { tls: 'require' }),
    throughput('select-only', 'simple', 16, { connect: 'per-transaction', tls: 'require' }),
    fixedRate(1_000, 32),
    fixedRate(5_000, 32),
    ...companies.map((company) => fixedRate(1_000, 32, company)),
    memory('idle', sizes.idleClients),
    memory('waiting', sizes.idleClients),
    memory('server', memoryServers),
    { kind: 'serverless', name: 'serverless/32', connections: 32 },
    { kind: 'metrics-page', name: 'metrics-page/8', connections: 8 },
    ...microTable.map(({ name }): MicroWork => ({ kind: 'micro', name: `micro/${name}`, exercise: name })),
  ];
}

/** What knowing the session's state costs: where nothing has to be done for it, then where something has. */
export function ladderTable(sizes: WorkSizes): readonly Work[] {
  const scripts: readonly FileScript[] = ['set-local', 'set-once', 'set-each'];
  return [
    ...grid('select-only', sizes.clientCounts),
    ...grid('tpcb-like', sizes.clientCounts),
    // A SET takes no parameters, which is what the other protocols would make of a variable.
    ...scripts.flatMap((script) => sizes.clientCounts.map((clients) => throughput(script, 'simple', clients))),
  ];
}

/** What a change of weir costs or gains: the common works, and a write that is not in a transaction of its client. */
export function changeTable(sizes: WorkSizes): readonly Work[] {
  return [
    ...grid('select-only', sizes.clientCounts),
    ...grid('insert', sizes.clientCounts),
    ...grid('tpcb-like', sizes.clientCounts),
  ];
}

/** What a decision on each statement, and a record of it, costs. */
export function auditTable(sizes: WorkSizes): readonly Work[] {
  return [...grid('select-only', sizes.clientCounts), ...grid('tpcb-like', sizes.clientCounts)];
}

function grid(script: Script, clientCounts: readonly number[]): Work[] {
  const protocols: readonly Protocol[] = ['simple', 'extended', 'prepared'];
  return protocols.flatMap((protocol) => clientCounts.map((clients) => throughput(script, protocol, clients)));
}

function throughput(
  script: Script,
  protocol: Protocol,
  clients: number,
  variant: Partial<Pick<ThroughputWork, 'connect' | 'tls'>> = {},
): ThroughputWork {
  const { connect = 'once', tls = 'disable' } = variant;
  const words = [shortName(script), protocol, String(clients)];
  if (connect === 'per-transaction') words.unshift('connect');
  if (tls === 'require') words.unshift('tls');
  return { kind: 'throughput', name: words.join('/'), script, protocol, clients, connect, tls };
}

function fixedRate(perSecond: number, clients: number, beside?: Company): FixedRateWork {
  const words = [`rate-${perSecond}/select/simple/${clients}`];
  if (beside !== undefined) words.push(`beside ${beside}`);
  const name = words.join('/').replaceAll(' ', '-');
  return { kind: 'fixed-rate', name, script: 'select-only', protocol: 'simple', clients, perSecond, beside };
}

function memory(of: Holder, count: number): MemoryWork {
  return { kind: 'memory', name: `memory/${of}/${count}`, of, count };
}

function shortName(script: Script): string {
  const short: Partial<Record<Script, string>> = { 'select-only': 'select', 'tpcb-like': 'tpcb' };
  return short[script] ?? script;
}
