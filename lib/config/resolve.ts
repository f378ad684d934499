// The settings in force for one client or pool: which of user, database and global value counts.

import {
  type Config,
  consoleDatabases,
  type DatabaseSettings,
  type GlobalSettings,
  newUser,
  type UserSettings,
} from './config.js';
import { settings } from './settings.js';

export interface FoundDatabase {
  readonly database: DatabaseSettings;
  /** It came from the entry `*`, and is forgotten after `autodb_idle_timeout`. */
  readonly fallback: boolean;
}

/** The entry of this name, or `*` under this name. Never answers for the console's names. */
export function findDatabase(config: Config, name: string): FoundDatabase | undefined {
  const named = name === '*' ? undefined : config.databases.get(name);
  if (named !== undefined) return { database: named, fallback: false };
  const star = config.databases.get('*');
  if (star === undefined || name === '*' || consoleDatabases.includes(name)) return undefined;
  return { database: { ...star, name }, fallback: true };
}

/** What holds for the pool of one database and user. Times in seconds, 0 as documented for each key. */
export interface PoolSettings
  extends Pick<
    GlobalSettings,
    | 'pool_mode'
    | 'min_pool_size'
    | 'reserve_pool_size'
    | 'reserve_pool_timeout'
    | 'max_db_connections'
    | 'max_db_client_connections'
    | 'max_user_connections'
    | 'max_user_client_connections'
    | 'query_wait_timeout'
    | 'query_timeout'
    | 'transaction_timeout'
    | 'idle_transaction_timeout'
    | 'client_idle_timeout'
    | 'server_lifetime'
    | 'lanes'
  > {
  readonly database: DatabaseSettings;
  /** The server's name of the database. */
  readonly dbname: string;
  /** Who logs in to the server: the database's `user`, or else the client's. The pool is named by it. */
  readonly user: string;
  readonly forced_user: boolean;
  readonly fallback: boolean;
  readonly pool_size: number;
  /** The client's own. */
  readonly weight: number;
  readonly load_balance_hosts: (typeof settings.load_balance_hosts)['default'];
  readonly target_session_attrs: (typeof settings.target_session_attrs)['default'];
}

/**
 * @param userName the user the client logged in as. Where the database forces a user, the pool's settings are those
 *   of the forced user, as in PgBouncer; only client_idle_timeout, max_user_client_connections and weight are the client's own.
 * @returns undefined when there is no such database
 */
export function resolvePool(config: Config, databaseName: string, userName: string): PoolSettings | undefined {
  const found = findDatabase(config, databaseName);
  if (found === undefined) return undefined;
  const { database, fallback } = found;
  const { weir } = config;
  const user = database.user ?? userName;
  const pool = userNamed(config, user);
  const client = userNamed(config, userName);
  const pool_size = pool.pool_size ?? database.pool_size ?? weir.default_pool_size;
  return {
    database,
    dbname: database.dbname ?? database.name,
    user,
    forced_user: database.user !== undefined,
    fallback,
    pool_mode: pool.pool_mode ?? database.pool_mode ?? weir.pool_mode,
    pool_size,
    min_pool_size: Math.min(database.min_pool_size ?? weir.min_pool_size, pool_size),
    reserve_pool_size: pool.reserve_pool_size ?? database.reserve_pool_size ?? weir.reserve_pool_size,
    reserve_pool_timeout: weir.reserve_pool_timeout,
    max_db_connections: positive(database.max_db_connections) ?? weir.max_db_connections,
    max_db_client_connections: positive(database.max_db_client_connections) ?? weir.max_db_client_connections,
    max_user_connections: positive(pool.max_user_connections) ?? weir.max_user_connections,
    max_user_client_connections: positive(client.max_user_client_connections) ?? weir.max_user_client_connections,
    weight: client.weight ?? settings.weight.default,
    query_wait_timeout: pool.query_wait_timeout ?? database.query_wait_timeout ?? weir.query_wait_timeout,
    query_timeout: positive(pool.query_timeout) ?? weir.query_timeout,
    transaction_timeout: positive(pool.transaction_timeout) ?? weir.transaction_timeout,
    idle_transaction_timeout: positive(pool.idle_transaction_timeout) ?? weir.idle_transaction_timeout,
    client_idle_timeout: positive(client.client_idle_timeout) ?? weir.client_idle_timeout,
    lanes: pool.lanes ?? database.lanes ?? weir.lanes,
    server_lifetime: positive(database.server_lifetime) ?? weir.server_lifetime,
    load_balance_hosts: database.load_balance_hosts ?? settings.load_balance_hosts.default,
    target_session_attrs: database.target_session_attrs ?? settings.target_session_attrs.default,
  };
}

/** How the password of a user who is not in the auth_file is found. */
export interface AuthQuerySettings {
  readonly auth_user: string;
  readonly auth_query: string;
  /** The entry of this configuration in which the query runs. */
  readonly auth_dbname: string;
}

/** undefined when no query is configured: an unknown user then stays unknown. */
export function resolveAuthQuery(config: Config, database: DatabaseSettings): AuthQuerySettings | undefined {
  const { weir } = config;
  const auth_user = database.auth_user ?? weir.auth_user;
  if (auth_user === '') return undefined;
  const named = database.auth_dbname ?? weir.auth_dbname;
  return {
    auth_user,
    auth_query: database.auth_query ?? weir.auth_query,
    auth_dbname: named === '' ? database.name : named,
  };
}

export type LogLevel = GlobalSettings['log_level'];

/** `log_level`, lowered by `verbose`. */
export function resolveLogLevel(weir: GlobalSettings): LogLevel {
  const levels = settings.log_level.type.values;
  const asked: LogLevel = weir.verbose === 0 ? weir.log_level : weir.verbose === 1 ? 'debug' : 'trace';
  return levels.indexOf(asked) > levels.indexOf(weir.log_level) ? asked : weir.log_level;
}

const nobody = newUser('');

function userNamed(config: Config, name: string): UserSettings {
  return config.users.get(name) ?? nobody;
}

/** In PgBouncer a 0 in these entries means that the global value holds. */
function positive(value: number | undefined): number | undefined {
  return value === undefined || value <= 0 ? undefined : value;
}
