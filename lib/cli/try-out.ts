// What weir does without a configuration: an embedded PostgreSQL, itself in front of it, and the line to try.

import { type Config, defaultConfig, newDatabase, newUser } from '../config/index.js';
import { type EmbeddedPostgres, startEmbedded } from '../demo/index.js';
import type { Loaded } from '../pooler/index.js';
import { PoolerError } from '../util/index.js';
import { serve } from './serve.js';

export interface TryOutOptions {
  readonly dataDir: string | undefined;
  readonly port: number | undefined;
  readonly quiet: boolean;
  readonly version: string;
}

const failedStatus = 1;

/** Resolves with the exit status. @throws PoolerError when it cannot start */
export async function tryOut(options: TryOutOptions): Promise<number> {
  let stopping = false;
  const postgres = await startEmbedded({ dataDir: options.dataDir, log: () => {} });
  try {
    const loaded: Loaded = { config: configFor(postgres, options), users: new Map(), policy: undefined };
    let status = 0;
    const { pooler, finished } = await serve({
      loaded,
      reread: () => loaded,
      quiet: options.quiet,
      version: options.version,
      onReady: () => {
        const { port } = { port: loaded.config.weir.listen_port };
        const url = `postgresql://${postgres.user}:${postgres.password.reveal()}@127.0.0.1:${port}/${postgres.database}`;
        console.log(`\nPostgreSQL ${postgres.version} behind weir. Try it:\n\n  psql '${url}'\n`);
      },
    });
    postgres.onExit((exit) => {
      if (exit.expected || stopping) return;
      status = failedStatus;
      pooler.log.fatal({ lastLines: exit.lastLines }, 'the embedded PostgreSQL ended by itself');
      pooler.shutdown('immediate');
    });
    await finished;
    return status;
  } finally {
    stopping = true;
    await postgres.stop();
  }
}

function configFor(postgres: EmbeddedPostgres, options: TryOutOptions): Config {
  const base = defaultConfig();
  const host = { kind: 'tcp', host: postgres.host, port: postgres.port } as const;
  const { user, password, database } = postgres;
  if (options.port !== undefined && (options.port < 1 || options.port > 65_535)) {
    throw new PoolerError('--port takes a number from 1 to 65535', { sqlstate: '22023' });
  }
  return {
    ...base,
    weir: {
      ...base.weir,
      max_client_conn: 10_000,
      admin_users: [user],
      listen_port: options.port ?? base.weir.listen_port,
    },
    databases: new Map([
      ['*', newDatabase('*', [host])],
      [database, newDatabase(database, [host])],
    ]),
    users: new Map([[user, newUser(user, { password })]]),
  };
}
