// What weir does without a configuration: an embedded PostgreSQL, itself in front of it, and the line to try.

import { type Config, defaultConfig, type Endpoint, newDatabase, newUser } from '../config/index.js';
import { type EmbeddedPostgres, freePort, isPortTaken, startEmbedded } from '../demo/index.js';
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
const metricsHost = '127.0.0.1';
const metricsPort = 9127;

/** Resolves with the exit status. @throws PoolerError when it cannot start */
export async function tryOut(options: TryOutOptions): Promise<number> {
  let stopping = false;
  const postgres = await startEmbedded({
    dataDir: options.dataDir,
    onInitialise: () => {
      if (!options.quiet) console.log('Setting up a PostgreSQL (a few seconds) ...');
    },
    log: () => {},
  });
  try {
    const http = await metricsPlace();
    const loaded: Loaded = { config: configFor(postgres, options, http), users: new Map(), policy: undefined };
    let status = 0;
    const { pooler, finished } = await serve({
      loaded,
      reread: () => loaded,
      quiet: options.quiet,
      version: options.version,
      onReady: () => console.log(introduction(postgres, loaded.config.weir.listen_port, http, options.dataDir)),
    });
    // The terminal is gone; there is no file that could be read again.
    process.once('SIGHUP', () => pooler.shutdown('immediate'));
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

/** The usual port, or any where that is taken. */
async function metricsPlace(): Promise<Endpoint> {
  const port = (await isPortTaken(metricsHost, metricsPort)) ? await freePort(metricsHost) : metricsPort;
  return { host: metricsHost, port };
}

/** What to type, each on a line of its own. */
function introduction(postgres: EmbeddedPostgres, port: number, http: Endpoint, dataDir: string | undefined): string {
  const url = (database: string): string =>
    `postgresql://${postgres.user}:${postgres.password.reveal()}@127.0.0.1:${port}/${database}`;
  return [
    '',
    `PostgreSQL ${postgres.version} behind weir. Try it:`,
    '',
    `  psql '${url(postgres.database)}'`,
    '',
    'For an application:',
    '',
    `  DATABASE_URL=${url(postgres.database)}`,
    '',
    'The console, and the metrics:',
    '',
    `  psql '${url('pgbouncer')}' -c 'SHOW POOLS'`,
    `  curl http://${http.host}:${http.port}/metrics`,
    '',
    dataDir === undefined
      ? 'All data are lost when weir ends, unless it is started with --data-dir (make run DATA_DIR=...). Ctrl-C ends it.'
      : `The data are kept in ${dataDir}. Ctrl-C ends weir.`,
    '',
  ].join('\n');
}

function configFor(postgres: EmbeddedPostgres, options: TryOutOptions, http: Endpoint): Config {
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
      http_listen: http,
      listen_port: options.port ?? base.weir.listen_port,
    },
    databases: new Map([
      ['*', newDatabase('*', [host])],
      [database, newDatabase(database, [host])],
    ]),
    users: new Map([[user, newUser(user, { password })]]),
  };
}
