// What shows data without naming the table it comes from: functions that run texts, read files or the log, views of statistics.

import { isCatalogFunction } from '../sql/index.js';
import { keptFunctions, keptRelations, opaqueCatalogs } from './kept.js';

/** Of pg_catalog. */
export const unseenFunctions: readonly string[] = [
  ...keptFunctions,
  'currtid2',
  'current_query',
  'cursor_to_xml',
  'cursor_to_xmlschema',
  'database_to_xml',
  'database_to_xml_and_xmlschema',
  'database_to_xmlschema',
  'lo_get',
  'loread',
  'pg_get_process_memory_contexts',
  'pg_cursor',
  'pg_get_partition_constraintdef',
  'pg_mcv_list_items',
  'pg_prepared_statement',
  'pg_prepared_xact',
  'pg_show_all_settings',
  'pg_stat_get_activity',
  'pg_stat_get_backend_activity',
  'pg_stat_get_wal_receiver',
  'query_to_xml',
  'query_to_xml_and_xmlschema',
  'query_to_xmlschema',
  'schema_to_xml',
  'schema_to_xml_and_xmlschema',
  'schema_to_xmlschema',
  'table_to_xml',
  'table_to_xml_and_xmlschema',
  'table_to_xmlschema',
  'ts_rewrite',
  'ts_stat',
];
const functions: ReadonlySet<string> = new Set(unseenFunctions);
/** A regular expression to PostgreSQL as well. */
export const unseenFamilies =
  '^(pg_read_|pg_ls_|pg_logical_slot_|pg_hba_file|pg_ident_file|pg_file_settings|pg_show_all_file|binary_upgrade_|dblink|pg_get_wal_)';
const families = new RegExp(unseenFamilies);

/** Whatever their schema. */
const relations = new Set([
  // Texts of prepared statements are among the names.
  'pg_cursors',
  'pg_prepared_statements',
  'pg_stat_activity',
  'pg_stat_statements',
  'pg_stats',
  'pg_stats_ext',
  'pg_stats_ext_exprs',
]);

/** Whether a function of pg_catalog, and not one of the same name elsewhere, only computes from what it is given. */
export function isPlainFunction(name: string): boolean {
  return isCatalogFunction(name) && !functions.has(name) && !families.test(name);
}

/** Whether one of pg_catalog has this name, and shows what others keep. */
export function isUnseenFunction(name: string): boolean {
  return isCatalogFunction(name) && !isPlainFunction(name);
}

/** Values that are too long for their rows, whatever the table. */
export function isToast(schema: string): boolean {
  return schema.startsWith('pg_toast');
}

/** Whether the relation holds what others' statements and tables hold, or passwords. */
export function isTelling(schema: string, name: string): boolean {
  return isToast(schema) || keptRelations.has(`${schema}.${name}`) || relations.has(name);
}

/** The same of one that a view reads, of which nobody tells what it shows. */
export function isTellingWithin(schema: string, name: string): boolean {
  return schema === 'pg_catalog' && opaqueCatalogs.includes(name);
}

/** Statements whose effects nobody sees, that let code run later, or that reach past the tables they name. */
const acts = new Set([
  'do',
  'load',
  // What others notify, by triggers too.
  'listen',
  'function_call',
  'replication',
  'create_function',
  'create_trigger',
  'create_rule',
  'create_policy',
  'create_cast',
  'create_operator',
  'create_aggregate',
  'create_event_trigger',
  'create_extension',
  'create_server',
  'create_foreign_table',
  'create_subscription',
  'create_publication',
  'alter_function',
  'alter_extension',
  'alter_server',
  'alter_subscription',
  'alter_publication',
  'alter_system',
  // They may give later sessions another search path.
  'alter_role',
  'alter_database',
  'alter_event_trigger',
  'import_foreign_schema',
  'copy_program',
  'copy_file',
]);

export function isUnseenAct(kinds: readonly string[]): boolean {
  return kinds.some((kind) => acts.has(kind));
}
