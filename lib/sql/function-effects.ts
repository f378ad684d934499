// What calling a function leaves behind in the session, by the function's name.
//
// A name of pg_catalog that is not listed here is harmless: its effects end with the transaction (large objects, transaction
// advisory locks, exported snapshots) or are not the session's at all (signals, statistics, WAL, configuration reload, NOTIFY).

import { catalogFunctions } from './catalog-functions.js';

export type FunctionEffect =
  | 'harmless'
  | 'set_config'
  | 'advisory_lock'
  | 'advisory_unlock'
  | 'nextval'
  | 'currval'
  | 'lastval'
  | 'setseed'
  | 'dblink'
  | 'session'
  | 'unknown';

const listed: ReadonlyMap<string, FunctionEffect> = new Map<string, FunctionEffect>([
  ['set_config', 'set_config'],
  ['pg_advisory_lock', 'advisory_lock'],
  ['pg_advisory_lock_shared', 'advisory_lock'],
  ['pg_try_advisory_lock', 'advisory_lock'],
  ['pg_try_advisory_lock_shared', 'advisory_lock'],
  ['pg_advisory_unlock', 'advisory_unlock'],
  ['pg_advisory_unlock_shared', 'advisory_unlock'],
  ['pg_advisory_unlock_all', 'advisory_unlock'],
  ['nextval', 'nextval'],
  // Changes what currval answers in this session.
  ['setval', 'nextval'],
  ['currval', 'currval'],
  ['lastval', 'lastval'],
  ['setseed', 'setseed'],
  // These run SQL, or a cursor, named by their arguments.
  ['query_to_xml', 'session'],
  ['query_to_xmlschema', 'session'],
  ['query_to_xml_and_xmlschema', 'session'],
  ['cursor_to_xml', 'session'],
  ['cursor_to_xmlschema', 'session'],
  ['ts_stat', 'session'],
  ['ts_rewrite', 'session'],
  // An online backup belongs to the session that started it.
  ['pg_backup_start', 'session'],
  ['pg_backup_stop', 'session'],
  ['pg_start_backup', 'session'],
  ['pg_stop_backup', 'session'],
  // The session's replication origin, and slots: temporary ones live as long as the session, acquired ones load plug-ins.
  ['pg_replication_origin_session_setup', 'session'],
  ['pg_replication_origin_session_reset', 'session'],
  ['pg_replication_origin_xact_setup', 'session'],
  ['pg_replication_origin_xact_reset', 'session'],
  ['pg_create_logical_replication_slot', 'session'],
  ['pg_create_physical_replication_slot', 'session'],
  ['pg_copy_logical_replication_slot', 'session'],
  ['pg_copy_physical_replication_slot', 'session'],
  ['pg_logical_slot_get_changes', 'session'],
  ['pg_logical_slot_get_binary_changes', 'session'],
  ['pg_logical_slot_peek_changes', 'session'],
  ['pg_logical_slot_peek_binary_changes', 'session'],
  ['pg_sync_replication_slots', 'session'],
  // Validators may load the library they check.
  ['fmgr_c_validator', 'session'],
  ['fmgr_internal_validator', 'session'],
  ['fmgr_sql_validator', 'session'],
  ['plpgsql_validator', 'session'],
  ['postgresql_fdw_validator', 'session'],
  ['plpgsql_inline_handler', 'session'],
  ['plpgsql_call_handler', 'session'],
  ['pg_extension_config_dump', 'session'],
  ['pg_nextoid', 'session'],
  ['pg_stop_making_pinned_objects', 'session'],
]);

/** Volatile built-ins that read or make up a value and nothing else. */
const harmlessOnLanes: ReadonlySet<string> = new Set([
  'clock_timestamp',
  'gen_random_uuid',
  'random',
  'random_normal',
  'timeofday',
  'timezone',
  'uuidv4',
  'uuidv7',
  'array_sample',
  'array_shuffle',
  'pg_current_wal_flush_lsn',
  'pg_current_wal_insert_lsn',
  'pg_current_wal_lsn',
  'pg_database_size',
  'pg_indexes_size',
  'pg_is_in_recovery',
  'pg_last_wal_receive_lsn',
  'pg_last_wal_replay_lsn',
  'pg_last_xact_replay_timestamp',
  'pg_lock_status',
  'pg_partition_ancestors',
  'pg_partition_tree',
  'pg_relation_size',
  'pg_table_size',
  'pg_tablespace_size',
  'pg_total_relation_size',
]);

export function functionEffect(name: string): FunctionEffect {
  const effect = listed.get(name);
  if (effect !== undefined) return effect;
  if (name.startsWith('dblink')) return 'dblink';
  if (name.startsWith('binary_upgrade_')) return 'session';
  return catalogFunctions.has(name) ? 'harmless' : 'unknown';
}

/** Whether pg_catalog has a function of this name, as one would write it without a schema. */
export function isCatalogFunction(name: string): boolean {
  return catalogFunctions.has(name);
}

/** True when a read lane may run it: it writes nothing, waits for nothing and tells nothing of the session it runs in. */
export function isLaneFunction(name: string): boolean {
  const isVolatile = catalogFunctions.get(name);
  return isVolatile === false ? !sessionReaders.has(name) : isVolatile === true && harmlessOnLanes.has(name);
}

/** Functions called stable whose answer depends on which server connection is asked, or that take a transaction id. */
const sessionReaders: ReadonlySet<string> = new Set([
  'current_setting',
  'pg_backend_pid',
  'pg_cursor',
  'pg_current_xact_id',
  'pg_listening_channels',
  'pg_my_temp_schema',
  'pg_prepared_statement',
  'pg_show_all_settings',
  'txid_current',
]);

/** Views that show the one server connection they are read on. */
export const sessionViews: ReadonlySet<string> = new Set(['pg_cursors', 'pg_prepared_statements']);
