// The kinds of statements a rule may name, and the groups of them.

const ddlObjects = [
  'table',
  'view',
  'index',
  'function',
  'schema',
  'role',
  'database',
  'extension',
  'trigger',
  'rule',
  'policy',
  'sequence',
  'type',
  'domain',
  'server',
  'publication',
  'subscription',
  'event_trigger',
  'tablespace',
  'cast',
  'operator',
  'aggregate',
  'other',
] as const;

type DdlObject = (typeof ddlObjects)[number];

function onEach<const V extends string>(verb: V): readonly `${V}_${DdlObject}`[] {
  return ddlObjects.map((object) => `${verb}_${object}` as const);
}

const copyKinds = ['copy_to', 'copy_from', 'copy_program', 'copy_file'] as const;

const ddlKinds = [
  ...onEach('create'),
  'create_table_as',
  ...onEach('alter'),
  ...onEach('drop'),
  'grant',
  'revoke',
  'comment',
  'security_label',
  'reassign_owned',
  'drop_owned',
  'rename',
  'import_foreign_schema',
] as const;

/** A setting of its own is the kind `set_` and its name; see `isSettingKind`. */
export const statementKinds = [
  'select',
  'select_into',
  'select_for_update',
  'insert',
  'update',
  'delete',
  'merge',
  'truncate',
  ...copyKinds,
  'call',
  'do',
  'explain',
  'explain_analyze',
  'lock',
  'declare',
  'fetch',
  'close',
  'prepare',
  'execute',
  'deallocate',
  'listen',
  'unlisten',
  'notify',
  'transaction',
  'savepoint',
  'set',
  'reset',
  'show',
  'discard',
  'load',
  'vacuum',
  'cluster',
  'reindex',
  'refresh',
  'checkpoint',
  'alter_system',
  'function_call',
  'replication',
  ...ddlKinds,
] as const;

export type StatementKind = (typeof statementKinds)[number];

/** What a group stands for. `any` is also written `*`, and is everything, whether it is listed here or not. */
export const statementGroups = {
  read: ['select', 'show', 'explain', 'declare', 'fetch', 'close', 'copy_to'],
  write: ['insert', 'update', 'delete', 'merge', 'truncate', 'copy_from'],
  copy: copyKinds,
  ddl: ddlKinds,
  any: statementKinds,
} as const satisfies Record<string, readonly StatementKind[]>;

const settingKind = /^set_[a-z_][a-z0-9_.]*$/;

/** `set_role`, `set_search_path`: SET, RESET or set_config of one setting. */
export function isSettingKind(kind: string): kind is `set_${string}` {
  return settingKind.test(kind);
}
