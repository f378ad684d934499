// The configuration: one table of settings, readers for TOML and pgbouncer.ini, and pure functions over the typed result.
// Reads files (the configuration, what it includes, the policy_file, the auth_file) and does no other I/O. Never logs, never watches a file,
// never applies a setting, and never shows a secret in a problem, a listing or a difference.

export type { Config, DatabaseSettings, GlobalSettings, Host, UserSettings } from './config.js';
export { consoleDatabases, defaultConfig, newDatabase, newUser } from './config.js';
export { refusedValue } from './decode.js';
export type { Change } from './diff.js';
export { diffConfig, printHosts, reloadedConfig } from './diff.js';
export { type Environment, expandEnvironment } from './env.js';
export type { LoadOptions, LoadResult, ReadFile } from './load.js';
export { listedProblems, loadConfig, loadPolicy, loadUserList } from './load.js';
export { type PolicyKeys, policyTables, requirements } from './policy-keys.js';
export type { Place, Problem, ProblemDetails } from './problems.js';
export { formatProblem, nearest, problemAt, shown } from './problems.js';
export { RawPolicy, type RawTable } from './raw-policy.js';
export { renderReference } from './reference.js';
export type { AuthQuerySettings, FoundDatabase, LogLevel, PoolSettings } from './resolve.js';
export { findDatabase, resolveAuthQuery, resolveLogLevel, resolvePool } from './resolve.js';
export type { Dialect, Endpoint, ValueOf } from './schema.js';
export { workersMax } from './settings.js';
export type { SetResult, SettingRow } from './show.js';
export { listSettings, setSetting } from './show.js';
export { isTable, readPolicyFile } from './toml-reader.js';
export type { StoredPassword, UserList, UserListResult } from './userlist.js';
export {
  classifyPassword,
  parseUserList,
  storedPasswordBytesMax,
  storedPasswords,
  userListBytesMax,
  userListEntriesMax,
  userNameBytesMax,
} from './userlist.js';
export { decodeValue } from './values.js';
