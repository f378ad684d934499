// What PostgreSQL itself keeps from ordinary users, of PostgreSQL 14 to 18: a superuser behind a policy shall not see it either.
//
// Generated from the default grants of freshly initialised servers: test/integration/policy/kept.test.ts asks each version and says
// what is missing here.

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** Relations of which an ordinary user may read no column. */
export const keptRelations: ReadonlySet<string> = new Set(
  words(`
information_schema._pg_foreign_data_wrappers information_schema._pg_foreign_servers
information_schema._pg_foreign_table_columns information_schema._pg_foreign_tables
information_schema._pg_user_mappings information_schema.sql_parts information_schema.transforms pg_catalog.pg_aios
pg_catalog.pg_authid pg_catalog.pg_backend_memory_contexts pg_catalog.pg_config pg_catalog.pg_file_settings
pg_catalog.pg_hba_file_rules pg_catalog.pg_ident_file_mappings pg_catalog.pg_largeobject
pg_catalog.pg_replication_origin_status pg_catalog.pg_shadow pg_catalog.pg_shmem_allocations
pg_catalog.pg_shmem_allocations_numa pg_catalog.pg_statistic pg_catalog.pg_statistic_ext_data
pg_catalog.pg_user_mapping
`),
);

/** Functions of pg_catalog that an ordinary user may not call. */
export const keptFunctions: readonly string[] = words(`
lo_export lo_import pg_backup_start pg_backup_stop pg_config pg_create_restore_point pg_current_logfile pg_get_aios
pg_get_backend_memory_contexts pg_get_shmem_allocations pg_get_shmem_allocations_numa pg_hba_file_rules
pg_ident_file_mappings pg_log_backend_memory_contexts pg_log_standby_snapshot pg_ls_archive_statusdir pg_ls_dir
pg_ls_logdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir
pg_promote pg_read_binary_file pg_read_file pg_reload_conf pg_replication_origin_advance pg_replication_origin_create
pg_replication_origin_drop pg_replication_origin_oid pg_replication_origin_progress
pg_replication_origin_session_is_setup pg_replication_origin_session_progress pg_replication_origin_session_reset
pg_replication_origin_session_setup pg_replication_origin_xact_reset pg_replication_origin_xact_setup
pg_rotate_logfile pg_show_all_file_settings pg_show_replication_origin_status pg_start_backup pg_stat_file
pg_stat_have_stats pg_stat_reset pg_stat_reset_backend_stats pg_stat_reset_replication_slot pg_stat_reset_shared
pg_stat_reset_single_function_counters pg_stat_reset_single_table_counters pg_stat_reset_slru
pg_stat_reset_subscription_stats pg_stop_backup pg_switch_wal pg_wal_replay_pause pg_wal_replay_resume
`);

/** Settings whose values an ordinary user may not see. */
export const keptSettings: readonly string[] = words(`
config_file data_directory dynamic_library_path extension_control_path external_pid_file hba_file ident_file
jit_provider krb_server_keyfile log_directory log_filename oauth_validator_libraries primary_conninfo
session_preload_libraries shared_preload_libraries ssl_ciphers ssl_dh_params_file ssl_ecdh_curve ssl_groups
ssl_max_protocol_version ssl_min_protocol_version ssl_passphrase_command ssl_tls13_ciphers stats_temp_directory
unix_socket_directories
`);

/** Settings that everybody may see, but are commands with the passwords and addresses that they need. */
const commandSettings: readonly string[] = [
  'archive_cleanup_command',
  'archive_command',
  'recovery_end_command',
  'restore_command',
];

/** Settings whose values restricted roles do not see. */
export const hiddenSettings: ReadonlySet<string> = new Set([...keptSettings, ...commandSettings]);

/**
 * What keeps a value from restricted roles: `nobody` sees it; who may not read the `table`, of which this SQL expression is the
 * oid, does not; it is one of a kept `setting`, whose name this column has.
 */
export type Keeper =
  | { readonly kind: 'nobody' }
  | { readonly kind: 'table'; readonly oid: string }
  | { readonly kind: 'setting'; readonly column: string };

const nobody: Keeper = { kind: 'nobody' };
const setting: Keeper = { kind: 'setting', column: 'name' };

function ofTable(oid: string): Keeper {
  return { kind: 'table', oid };
}

const named = "pg_catalog.to_regclass(pg_catalog.format('%I.%I', table_schema, table_name))::pg_catalog.oid";

/**
 * Columns of relations that may be read, but hold passwords, or values of tables: the first stands in `test/integration/policy/kept.test.ts`
 * by PostgreSQL's own grants; views show the others to who may see them, which a superuser may.
 */
export const keptColumns: ReadonlyMap<string, ReadonlyMap<string, Keeper>> = new Map(
  Object.entries({
    'pg_catalog.pg_subscription': { subconninfo: nobody },
    'pg_catalog.pg_user_mappings': { umoptions: nobody },
    'pg_catalog.pg_foreign_server': { srvoptions: nobody },
    'pg_catalog.pg_db_role_setting': { setconfig: nobody },
    'pg_catalog.pg_roles': { rolconfig: nobody },
    'pg_catalog.pg_user': { useconfig: nobody },
    'pg_catalog.pg_stat_wal_receiver': { conninfo: nobody },
    'pg_catalog.pg_settings': { setting, reset_val: setting, boot_val: setting, sourcefile: nobody },
    'pg_catalog.pg_attribute': { attmissingval: ofTable('attrelid') },
    'pg_catalog.pg_attrdef': { adbin: ofTable('adrelid') },
    'pg_catalog.pg_class': { relpartbound: ofTable('oid') },
    'pg_catalog.pg_constraint': { conbin: ofTable('conrelid') },
    'pg_catalog.pg_index': { indexprs: ofTable('indrelid'), indpred: ofTable('indrelid') },
    'pg_catalog.pg_partitioned_table': { partexprs: ofTable('partrelid') },
    'pg_catalog.pg_statistic_ext': { stxexprs: ofTable('stxrelid') },
    'information_schema.columns': { column_default: ofTable(named), generation_expression: ofTable(named) },
    'information_schema.foreign_server_options': { option_value: nobody },
    'information_schema.user_mapping_options': { option_value: nobody },
  }).map(([relation, columns]) => [relation, new Map(Object.entries(columns))]),
);

/**
 * Relations of pg_catalog with something to hide: that a view of somebody's reads one of the tables is not in pg_depend. Views of
 * pg_class, pg_attribute and their like are too common to be taken for telling.
 */
export const opaqueCatalogs: readonly string[] = [
  ...[...keptRelations].flatMap((name) => (name.startsWith('pg_catalog.') ? [name.slice('pg_catalog.'.length)] : [])),
  'pg_attrdef',
  'pg_db_role_setting',
  'pg_foreign_server',
  'pg_settings',
  'pg_stat_wal_receiver',
  'pg_subscription',
  'pg_user_mappings',
];
