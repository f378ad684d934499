// A PostgreSQL with a table of numbers, and weir in several processes in front of it.

import pg from 'pg';
import t, { type Test } from 'tap';
import { eventually, startPostgres } from '../../support/index.js';
import { startWeirCluster, type WeirCluster } from '../../support/weir-cluster.js';

export const server = await startPostgres({
  sql: ["create role app superuser login password 'app'", 'create table numbers (n int primary key, other int)'],
});
await server.query('insert into numbers select n, n * 7 from generate_series(1, 1000) n');
t.teardown(() => server.stop());

export const users = { app: 'app' };

export interface Cluster extends WeirCluster {
  connect(options?: pg.ClientConfig): Promise<pg.Client>;
  console(command: string): Promise<Record<string, string | null>[]>;
}

export async function start(
  t: Test,
  settings: Readonly<Record<string, unknown>> = {},
  at: { readonly host: string; readonly port: number } = server,
): Promise<Cluster> {
  const defaults = { pool_mode: 'transaction', admin_users: ['app'], auth_failure_delay: 0, server_login_retry: 0.2 };
  const weir = await startWeirCluster(t, { server: at, settings: { ...defaults, ...settings }, users });
  const connect = async (options: pg.ClientConfig = {}): Promise<pg.Client> => {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: weir.port,
      user: 'app',
      password: 'app',
      database: 'postgres',
      connectionTimeoutMillis: 15_000,
      ...options,
    });
    // Of clients whose worker is killed.
    client.on('error', () => {});
    await client.connect();
    t.teardown(() => client.end().catch(() => {}));
    return client;
  };
  return {
    ...weir,
    connect,
    console: async (command) => {
      const client = await connect({ database: 'pgbouncer' });
      try {
        return (await client.query<Record<string, string | null>>(command)).rows;
      } finally {
        await client.end();
      }
    },
  };
}

/** Kills the worker with the least process id, and waits for another one in its place. */
export async function replaceWorker(weir: Cluster): Promise<void> {
  const serving = weir.workers().length;
  const restarts = (await weir.metric('weir_worker_restarts_total')) ?? 0;
  process.kill(weir.workers()[0] as number, 'SIGKILL');
  // Until the primary has seen its end, the one that is gone counts as serving.
  await eventually(
    async () =>
      (await weir.metric('weir_worker_restarts_total')) === restarts + 1 &&
      (await weir.metric('weir_workers')) === serving,
    { withinMs: 15_000 },
  );
}

/**
 * Clients by the worker that serves them. Which it is, the kernel decides, as it likes: more are connected until each of two
 * workers has `atLeast`.
 */
export async function connectToBoth(
  weir: Cluster,
  first: number,
  atLeast: number,
): Promise<[pg.Client[], pg.Client[]]> {
  const clients: pg.Client[] = [];
  for (;;) {
    const before = clients.length;
    const names = Array.from({ length: before === 0 ? first : 10 }, (_, i) => `client ${before + i}`);
    clients.push(...(await Promise.all(names.map((application_name) => weir.connect({ application_name })))));
    const byWorker: [pg.Client[], pg.Client[]] = [[], []];
    for (const { id, application_name } of await weir.console('show clients')) {
      const client = clients[Number(/^client (\d+)$/.exec(application_name ?? '')?.[1])];
      if (client !== undefined) byWorker[Number(id) % 2 === 1 ? 0 : 1].push(client);
    }
    if (Math.min(byWorker[0].length, byWorker[1].length) >= atLeast) return byWorker;
    if (clients.length >= 80) throw new Error(`one worker takes them all: ${byWorker.map(({ length }) => length)}`);
  }
}
