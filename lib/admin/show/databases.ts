// SHOW DATABASES: the databases clients can ask for, those that came from `*` among them, and the console.

import { type DatabaseSettings, findDatabase } from '../../config/index.js';
import { type Pooler, takeCensus } from '../../pooler/index.js';
import { type Row, show } from '../command.js';
import { consoleDatabase } from '../databases.js';
import { summed } from '../merge.js';
import { balancing, hostList } from './hosts.js';

const columns = {
  name: 'text',
  host: 'text',
  port: 'int4',
  database: 'text',
  force_user: 'text',
  pool_size: 'int4',
  min_pool_size: 'int4',
  reserve_pool_size: 'int4',
  server_lifetime: 'int4',
  pool_mode: 'text',
  load_balance_hosts: 'text',
  max_connections: 'int4',
  current_connections: 'int4',
  max_client_connections: 'int4',
  current_client_connections: 'int4',
  paused: 'int4',
  disabled: 'int4',
} as const;

export const databases = show(
  'databases',
  columns,
  ({ pooler }) => [consoleRow(pooler), ...knownDatabases(pooler).map((database) => databaseRow(pooler, database))],
  summed({ by: ['name'], add: ['current_connections', 'current_client_connections'] }),
);

/** Those of the configuration, then those that were made from `*`. */
export function knownDatabases(pooler: Pooler): DatabaseSettings[] {
  const { config } = pooler;
  const found = new Map<string, DatabaseSettings>();
  for (const database of config.databases.values()) if (database.name !== '*') found.set(database.name, database);
  for (const pool of pooler.pools) {
    const entry = findDatabase(config, pool.database)?.database;
    if (entry !== undefined && !found.has(pool.database)) found.set(pool.database, entry);
  }
  return [...found.values()];
}

function databaseRow(pooler: Pooler, database: DatabaseSettings): Row<typeof columns> {
  const { weir } = pooler.config;
  const { name, hosts } = database;
  return {
    name,
    host: hostList(hosts),
    port: hosts[0]?.port ?? 0,
    database: database.dbname ?? name,
    force_user: database.user ?? null,
    pool_size: database.pool_size ?? weir.default_pool_size,
    min_pool_size: database.min_pool_size ?? weir.min_pool_size,
    reserve_pool_size: database.reserve_pool_size ?? weir.reserve_pool_size,
    server_lifetime: positive(database.server_lifetime) ?? weir.server_lifetime,
    pool_mode: database.pool_mode ?? null,
    load_balance_hosts: balancing(hosts, database.load_balance_hosts ?? 'round-robin'),
    max_connections: positive(database.max_db_connections) ?? weir.max_db_connections,
    current_connections: pooler.serversOf(name),
    max_client_connections: positive(database.max_db_client_connections) ?? weir.max_db_client_connections,
    current_client_connections: pooler.sessionsOf(name),
    paused: pooler.isPaused(name) ? 1 : 0,
    disabled: pooler.isDisabled(name) ? 1 : 0,
  };
}

/** In PgBouncer a 0 in an entry means that the global value holds. */
function positive(value: number | undefined): number | undefined {
  return value === undefined || value <= 0 ? undefined : value;
}

function consoleRow(pooler: Pooler): Row<typeof columns> {
  const { weir } = pooler.config;
  return {
    name: consoleDatabase,
    host: null,
    port: pooler.listening?.port ?? weir.listen_port,
    database: consoleDatabase,
    force_user: consoleDatabase,
    pool_size: 2,
    min_pool_size: 0,
    reserve_pool_size: 0,
    server_lifetime: weir.server_lifetime,
    pool_mode: 'statement',
    load_balance_hosts: null,
    max_connections: 0,
    current_connections: 0,
    max_client_connections: 0,
    current_client_connections: takeCensus(pooler).console,
    paused: 0,
    disabled: 0,
  };
}
