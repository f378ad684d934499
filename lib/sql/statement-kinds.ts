// Every statement node of PostgreSQL 18's parser: what weir calls it and how much is known of its effects.

/** reads: may run in a read-only transaction; writes and ddl end with their transaction; special: seen to one by one. */
type Standing = 'reads' | 'writes' | 'ddl' | 'special' | 'unknown';

const table = {
  SelectStmt: ['select', 'reads'],
  InsertStmt: ['insert', 'writes'],
  UpdateStmt: ['update', 'writes'],
  DeleteStmt: ['delete', 'writes'],
  MergeStmt: ['merge', 'writes'],
  ExplainStmt: ['explain', 'reads'],
  VariableShowStmt: ['show', 'reads'],
  VariableSetStmt: ['set', 'special'],
  TransactionStmt: ['transaction', 'special'],
  PrepareStmt: ['prepare', 'special'],
  ExecuteStmt: ['execute', 'special'],
  DeallocateStmt: ['deallocate', 'special'],
  DiscardStmt: ['discard', 'special'],
  ListenStmt: ['listen', 'special'],
  UnlistenStmt: ['unlisten', 'special'],
  NotifyStmt: ['notify', 'special'],
  DeclareCursorStmt: ['declare', 'special'],
  ClosePortalStmt: ['close', 'special'],
  FetchStmt: ['fetch', 'special'],
  CopyStmt: ['copy', 'special'],
  LoadStmt: ['load', 'special'],
  DoStmt: ['do', 'special'],
  CallStmt: ['call', 'special'],
  LockStmt: ['lock', 'writes'],
  TruncateStmt: ['truncate', 'writes'],
  ConstraintsSetStmt: ['set_constraints', 'writes'],
  CheckPointStmt: ['checkpoint', 'writes'],
  VacuumStmt: ['vacuum', 'writes'],
  ClusterStmt: ['cluster', 'writes'],
  ReindexStmt: ['reindex', 'writes'],
  RefreshMatViewStmt: ['refresh', 'writes'],
  AlterSystemStmt: ['alter_system', 'writes'],
  DropStmt: ['drop', 'ddl'],
  CreateStmt: ['create_table', 'ddl'],
  CreateTableAsStmt: ['create_table_as', 'ddl'],
  CreateSeqStmt: ['ddl', 'ddl'],
  ViewStmt: ['ddl', 'ddl'],
  IndexStmt: ['ddl', 'ddl'],
  CreateFunctionStmt: ['ddl', 'ddl'],
  AlterFunctionStmt: ['ddl', 'ddl'],
  AlterTableStmt: ['ddl', 'ddl'],
  AlterTableMoveAllStmt: ['ddl', 'ddl'],
  AlterSeqStmt: ['ddl', 'ddl'],
  AlterDomainStmt: ['ddl', 'ddl'],
  AlterEnumStmt: ['ddl', 'ddl'],
  AlterTypeStmt: ['ddl', 'ddl'],
  AlterObjectSchemaStmt: ['ddl', 'ddl'],
  AlterObjectDependsStmt: ['ddl', 'ddl'],
  AlterOwnerStmt: ['ddl', 'ddl'],
  AlterOperatorStmt: ['ddl', 'ddl'],
  AlterOpFamilyStmt: ['ddl', 'ddl'],
  AlterPolicyStmt: ['ddl', 'ddl'],
  AlterPublicationStmt: ['ddl', 'ddl'],
  AlterRoleStmt: ['ddl', 'ddl'],
  AlterRoleSetStmt: ['ddl', 'ddl'],
  AlterDatabaseStmt: ['ddl', 'ddl'],
  AlterDatabaseSetStmt: ['ddl', 'ddl'],
  AlterDatabaseRefreshCollStmt: ['ddl', 'ddl'],
  AlterDefaultPrivilegesStmt: ['ddl', 'ddl'],
  AlterCollationStmt: ['ddl', 'ddl'],
  AlterEventTrigStmt: ['ddl', 'ddl'],
  AlterStatsStmt: ['ddl', 'ddl'],
  AlterTSConfigurationStmt: ['ddl', 'ddl'],
  AlterTSDictionaryStmt: ['ddl', 'ddl'],
  AlterTableSpaceOptionsStmt: ['ddl', 'ddl'],
  CommentStmt: ['ddl', 'ddl'],
  CompositeTypeStmt: ['ddl', 'ddl'],
  CreateCastStmt: ['ddl', 'ddl'],
  CreateConversionStmt: ['ddl', 'ddl'],
  CreateDomainStmt: ['ddl', 'ddl'],
  CreateEnumStmt: ['ddl', 'ddl'],
  CreateEventTrigStmt: ['ddl', 'ddl'],
  CreateOpClassStmt: ['ddl', 'ddl'],
  CreateOpFamilyStmt: ['ddl', 'ddl'],
  CreatePolicyStmt: ['ddl', 'ddl'],
  CreatePublicationStmt: ['ddl', 'ddl'],
  CreateRangeStmt: ['ddl', 'ddl'],
  CreateRoleStmt: ['ddl', 'ddl'],
  CreateSchemaStmt: ['ddl', 'ddl'],
  CreateStatsStmt: ['ddl', 'ddl'],
  CreateTableSpaceStmt: ['ddl', 'ddl'],
  CreateTransformStmt: ['ddl', 'ddl'],
  CreateTrigStmt: ['ddl', 'ddl'],
  CreatedbStmt: ['ddl', 'ddl'],
  DefineStmt: ['ddl', 'ddl'],
  DropOwnedStmt: ['ddl', 'ddl'],
  DropRoleStmt: ['ddl', 'ddl'],
  DropTableSpaceStmt: ['ddl', 'ddl'],
  DropdbStmt: ['ddl', 'ddl'],
  GrantRoleStmt: ['ddl', 'ddl'],
  GrantStmt: ['ddl', 'ddl'],
  ReassignOwnedStmt: ['ddl', 'ddl'],
  RenameStmt: ['ddl', 'ddl'],
  ReplicaIdentityStmt: ['ddl', 'ddl'],
  RuleStmt: ['ddl', 'ddl'],
} as const satisfies Record<string, readonly [string, Standing]>;

/** Command families, for policies, metrics and SHOW; every other DDL is `ddl`. */
export type StatementKind = (typeof table)[keyof typeof table][0] | 'other' | 'unknown';

export interface StatementClass {
  readonly kind: StatementKind;
  readonly standing: Standing;
}

const classes: ReadonlyMap<string, StatementClass> = new Map(
  Object.entries(table).map(([node, [kind, standing]]) => [node, { kind, standing }]),
);

/** Names ending like this are statements even where the table does not list them. */
const statementName = /Stmt$/;

/** What kind of statement a parse tree node is; undefined when it is no statement. */
export function statementClass(node: string): StatementClass | undefined {
  return classes.get(node) ?? (statementName.test(node) ? { kind: 'other', standing: 'unknown' } : undefined);
}

const definitions: ReadonlySet<string> = new Set(
  [...classes.values()].flatMap(({ kind, standing }) => (standing === 'ddl' ? [kind] : [])),
);

/** Whether statements of the kind define something: tables, functions, roles, rights. */
export function isDefinition(kind: StatementKind): boolean {
  return definitions.has(kind);
}
