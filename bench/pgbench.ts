// Runs pgbench against one endpoint and reads what it prints and logs.

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { complaint, type Fleet } from './processes.js';
import { scriptTexts, scriptVariables } from './scripts.js';
import { percentile } from './statistics.js';
import type { Endpoint } from './targets.js';
import type { BuiltinScript, Protocol, Script } from './works.js';

/** Beyond the asked duration: connecting, the last transactions, disconnecting. */
const graceMsMax = 45_000;

export interface PgbenchRun {
  readonly script: Script;
  readonly protocol: Protocol;
  readonly clients: number;
  readonly seconds: number;
  readonly connect: 'once' | 'per-transaction';
  readonly tls: 'disable' | 'require';
  /** Open loop at this many transactions a second, each one's latency logged; as fast as possible when absent. */
  readonly perSecond?: number;
}

export interface PgbenchSummary {
  readonly transactions: number;
  readonly failedTransactions: number;
  readonly transactionsPerS: number;
  readonly latencyMs: number;
  /** Average time to connect; only when every transaction connected anew. */
  readonly connectMs: number | undefined;
}

export interface Latencies {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

export interface PgbenchResult extends PgbenchSummary {
  /** With `perSecond` only: from the scheduled start of each transaction to its end. */
  readonly latencies: Latencies | undefined;
}

export class Pgbench {
  readonly #fleet: Fleet;
  readonly #path: string;
  readonly #directory: string;

  /** @param directory for the script and the logs of single runs, which are removed after each */
  constructor(fleet: Fleet, path: string, directory: string) {
    this.#fleet = fleet;
    this.#path = path;
    this.#directory = directory;
  }

  async version(): Promise<string> {
    const result = await this.#fleet.run({ name: 'pgbench', command: this.#path, args: ['--version'] }, 10_000);
    const problem = complaint('pgbench --version', result);
    if (problem !== undefined) throw new Error(`${problem}\npgbench comes with PostgreSQL (Debian: postgresql-client)`);
    return result.stdout.trim();
  }

  /** Makes and fills the four pgbench tables. */
  async initialise(endpoint: Endpoint, scale: number): Promise<void> {
    const args = ['--initialize', '--quiet', `--scale=${scale}`];
    const msMax = 120_000 + scale * 5_000;
    const result = await this.#fleet.run(
      { name: 'pgbench --initialize', command: this.#path, args, env: libpqEnvironment(endpoint, 'disable') },
      msMax,
    );
    const problem = complaint('pgbench --initialize', result);
    if (problem !== undefined) throw new Error(problem);
  }

  /** Throws an error with pgbench's own words when anything at all went wrong. */
  async run(endpoint: Endpoint, run: PgbenchRun): Promise<PgbenchResult> {
    const directory = await mkdtemp(join(this.#directory, 'pgbench-'));
    const logDirectory = join(directory, 'logs');
    try {
      await mkdir(logDirectory);
      const scriptPath = join(directory, 'script.sql');
      const { script } = run;
      if (!isBuiltin(script)) await writeFile(scriptPath, scriptTexts[script]);
      const launch = {
        name: 'pgbench',
        command: this.#path,
        args: pgbenchArguments(run, { logPrefix: join(logDirectory, 'log'), scriptPath }),
        env: libpqEnvironment(endpoint, run.tls),
      };
      const result = await this.#fleet.run(launch, run.seconds * 1_000 + graceMsMax);
      const problem = complaint('pgbench', result);
      if (problem !== undefined) throw new Error(problem);
      const summary = parseSummary(result.stdout);
      const trouble = summaryProblem(summary, result.stderr);
      if (trouble !== undefined) throw new Error(trouble);
      const latencies = run.perSecond === undefined ? undefined : await readLatencies(logDirectory);
      return { ...summary, latencies };
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
}

export interface PgbenchPaths {
  readonly logPrefix: string;
  /** Where the script is, if it is not one of pgbench's own. */
  readonly scriptPath: string;
}

export function pgbenchArguments(run: PgbenchRun, { logPrefix, scriptPath }: PgbenchPaths): string[] {
  const variables = Object.entries(scriptVariables).map(([name, value]) => `--define=${name}=${value}`);
  const threads = Math.min(run.clients, availableParallelism());
  return [
    '--no-vacuum',
    ...(isBuiltin(run.script) ? [`--builtin=${run.script}`] : [`--file=${scriptPath}`, ...variables]),
    `--protocol=${run.protocol}`,
    `--client=${run.clients}`,
    `--jobs=${threads}`,
    `--time=${run.seconds}`,
    ...(run.connect === 'per-transaction' ? ['--connect'] : []),
    ...(run.perSecond === undefined ? [] : [`--rate=${run.perSecond}`, '--log', `--log-prefix=${logPrefix}`]),
  ];
}

/** Reads the closing summary of pgbench 14 and later; throws when it is not one. */
export function parseSummary(stdout: string): PgbenchSummary {
  const transactions = figure(stdout, /^number of transactions actually processed: (\d+)/m);
  if (transactions === 0) throw new Error('pgbench completed no transaction in its time, which includes connecting');
  const transactionsPerS = figure(
    stdout,
    /^tps = ([\d.]+) \((?:without initial connection time|including reconnection times)\)/m,
  );
  const latencyMs = figure(stdout, /^latency average = ([\d.]+) ms/m);
  if (transactions === undefined || transactionsPerS === undefined || latencyMs === undefined) {
    throw new Error(`pgbench printed no summary of the kind version 14 and later print:\n${stdout.trim()}`);
  }
  return {
    transactions,
    transactionsPerS,
    latencyMs,
    failedTransactions: figure(stdout, /^number of failed transactions: (\d+)/m) ?? 0,
    connectMs: figure(stdout, /^average connection time = ([\d.]+) ms/m),
  };
}

/** pgbench may end with 0 although transactions failed. */
export function summaryProblem(summary: PgbenchSummary, stderr: string): string | undefined {
  if (summary.failedTransactions > 0) return `${summary.failedTransactions} transactions failed\n${stderr}`;
  const errors = stderr.split('\n').filter((line) => /\b(?:error|fatal|panic)\b/i.test(line));
  return errors.length > 0 ? errors.slice(0, 10).join('\n') : undefined;
}

/** Latencies in microseconds: the third column of the lines of a per-transaction log. */
export function parseLog(text: string): number[] {
  const latencies: number[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    // client, transaction, latency, script, seconds, microseconds, schedule lag; `skipped` or `failed` for a latency.
    const latency = Number(line.split(' ')[2]);
    if (Number.isFinite(latency)) latencies.push(latency);
  }
  return latencies;
}

export function latencyPercentiles(microseconds: readonly number[]): Latencies {
  if (microseconds.length === 0) throw new Error('pgbench logged no transaction');
  const sorted = Float64Array.from(microseconds).sort();
  const at = (share: number): number => percentile(sorted, share) / 1_000;
  return { p50Ms: at(0.5), p99Ms: at(0.99), p999Ms: at(0.999) };
}

async function readLatencies(directory: string): Promise<Latencies> {
  const all: number[] = [];
  // One file per pgbench thread.
  for (const name of await readdir(directory)) {
    for (const latency of parseLog(await readFile(join(directory, name), 'utf8'))) all.push(latency);
  }
  return latencyPercentiles(all);
}

function isBuiltin(script: Script): script is BuiltinScript {
  return !(script in scriptTexts);
}

function figure(text: string, pattern: RegExp): number | undefined {
  const match = pattern.exec(text);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

function libpqEnvironment(endpoint: Endpoint, tls: 'disable' | 'require'): Record<string, string> {
  return {
    PGHOST: endpoint.host,
    PGPORT: String(endpoint.port),
    PGUSER: endpoint.user,
    PGDATABASE: endpoint.database,
    PGPASSWORD: endpoint.password.reveal(),
    PGSSLMODE: tls,
    PGGSSENCMODE: 'disable',
    PGCONNECT_TIMEOUT: '10',
    LC_ALL: 'C',
  };
}
