// Starts the serverless-shaped function against one target and loads it.

import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type HttpResult, loadHttp } from './http-load.js';
import type { Fleet, Program } from './processes.js';
import type { Endpoint } from './targets.js';

const listenMsMax = 15_000;
const pauseMs = 20;

export interface ServerlessRun {
  readonly connections: number;
  readonly seconds: number;
  /** Accounts in the database: 100,000 for each unit of scale. */
  readonly aidMax: number;
}

/** @param around called with the load, so that the caller can count processor time over exactly that */
export async function measureServerless(
  fleet: Fleet,
  endpoint: Endpoint,
  run: ServerlessRun,
  stop: AbortSignal,
  around: (load: () => Promise<HttpResult>) => Promise<HttpResult>,
): Promise<HttpResult> {
  const program = fleet.start({
    name: 'serverless function',
    command: process.execPath,
    args: [fileURLToPath(new URL('./serverless-function.js', import.meta.url))],
    env: {
      PGHOST: endpoint.host,
      PGPORT: String(endpoint.port),
      PGUSER: endpoint.user,
      PGDATABASE: endpoint.database,
      PGPASSWORD: endpoint.password.reveal(),
      PGSSLMODE: 'disable',
      BENCH_AID_MAX: String(run.aidMax),
      NODE_ENV: 'production',
    },
  });
  try {
    const url = `http://127.0.0.1:${await listeningPort(program)}/`;
    return await around(() => loadHttp({ url, connections: run.connections, seconds: run.seconds }, stop));
  } finally {
    await program.stop();
  }
}

async function listeningPort(program: Program): Promise<number> {
  const until = performance.now() + listenMsMax;
  while (performance.now() < until) {
    const match = /^listening (\d+)$/m.exec(program.tail());
    if (match !== null) return Number(match[1]);
    if (program.over !== undefined) break;
    await delay(pauseMs);
  }
  throw new Error(`the serverless function did not start:\n${program.tail()}`);
}
