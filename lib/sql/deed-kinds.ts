// What policies call the statements of PostgreSQL's parser: `create_table` where a tree says CreateStmt.

import type { Act } from './deeds.js';
import { argumentOf, listAt, type Node, nodeAt, textAt } from './tree.js';

const plain: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    SelectStmt: ['select'],
    InsertStmt: ['insert'],
    UpdateStmt: ['update'],
    DeleteStmt: ['delete'],
    MergeStmt: ['merge'],
    ExplainStmt: ['explain'],
    VariableShowStmt: ['show'],
    PrepareStmt: ['prepare'],
    ExecuteStmt: ['execute'],
    DeallocateStmt: ['deallocate'],
    DiscardStmt: ['discard'],
    ListenStmt: ['listen'],
    UnlistenStmt: ['unlisten'],
    NotifyStmt: ['notify'],
    DeclareCursorStmt: ['declare'],
    ClosePortalStmt: ['close'],
    FetchStmt: ['fetch'],
    LoadStmt: ['load'],
    DoStmt: ['do'],
    CallStmt: ['call'],
    LockStmt: ['lock'],
    TruncateStmt: ['truncate'],
    ConstraintsSetStmt: ['set_constraints'],
    CheckPointStmt: ['checkpoint'],
    VacuumStmt: ['vacuum'],
    ClusterStmt: ['cluster'],
    ReindexStmt: ['reindex'],
    RefreshMatViewStmt: ['refresh'],
    AlterSystemStmt: ['alter_system'],
    // Data definition
    CreateStmt: ['create_table', 'ddl'],
    CreateForeignTableStmt: ['create_table', 'create_foreign_table', 'ddl'],
    ViewStmt: ['create_view', 'ddl'],
    IndexStmt: ['create_index', 'ddl'],
    CreateSeqStmt: ['create_sequence', 'ddl'],
    CreateFunctionStmt: ['create_function', 'ddl'],
    CreateSchemaStmt: ['create_schema', 'ddl'],
    CreateRoleStmt: ['create_role', 'ddl'],
    CreatedbStmt: ['create_database', 'ddl'],
    CreateExtensionStmt: ['create_extension', 'ddl'],
    CreateTrigStmt: ['create_trigger', 'ddl'],
    RuleStmt: ['create_rule', 'ddl'],
    CreatePolicyStmt: ['create_policy', 'ddl'],
    CompositeTypeStmt: ['create_type', 'ddl'],
    CreateEnumStmt: ['create_type', 'ddl'],
    CreateRangeStmt: ['create_type', 'ddl'],
    CreateDomainStmt: ['create_domain', 'ddl'],
    CreateForeignServerStmt: ['create_server', 'ddl'],
    CreateFdwStmt: ['create_server', 'ddl'],
    CreateUserMappingStmt: ['create_server', 'ddl'],
    CreatePublicationStmt: ['create_publication', 'ddl'],
    CreateSubscriptionStmt: ['create_subscription', 'ddl'],
    CreateEventTrigStmt: ['create_event_trigger', 'ddl'],
    CreateTableSpaceStmt: ['create_tablespace', 'ddl'],
    CreateCastStmt: ['create_cast', 'ddl'],
    CreateOpClassStmt: ['create_operator', 'ddl'],
    CreateOpFamilyStmt: ['create_operator', 'ddl'],
    CreateConversionStmt: ['create_other', 'ddl'],
    CreateTransformStmt: ['create_other', 'ddl'],
    CreateStatsStmt: ['create_other', 'ddl'],
    CreatePLangStmt: ['create_other', 'ddl'],
    CreateAmStmt: ['create_other', 'ddl'],
    AlterSeqStmt: ['alter_sequence', 'ddl'],
    AlterDomainStmt: ['alter_domain', 'ddl'],
    AlterEnumStmt: ['alter_type', 'ddl'],
    AlterTypeStmt: ['alter_type', 'ddl'],
    AlterFunctionStmt: ['alter_function', 'ddl'],
    AlterOperatorStmt: ['alter_operator', 'ddl'],
    AlterOpFamilyStmt: ['alter_operator', 'ddl'],
    AlterPolicyStmt: ['alter_policy', 'ddl'],
    AlterPublicationStmt: ['alter_publication', 'ddl'],
    AlterSubscriptionStmt: ['alter_subscription', 'ddl'],
    AlterRoleStmt: ['alter_role', 'ddl'],
    AlterRoleSetStmt: ['alter_role', 'ddl'],
    AlterDatabaseStmt: ['alter_database', 'ddl'],
    AlterDatabaseSetStmt: ['alter_database', 'ddl'],
    AlterDatabaseRefreshCollStmt: ['alter_database', 'ddl'],
    AlterExtensionStmt: ['alter_extension', 'ddl'],
    AlterExtensionContentsStmt: ['alter_extension', 'ddl'],
    AlterFdwStmt: ['alter_server', 'ddl'],
    AlterForeignServerStmt: ['alter_server', 'ddl'],
    AlterUserMappingStmt: ['alter_server', 'ddl'],
    AlterEventTrigStmt: ['alter_event_trigger', 'ddl'],
    AlterTableMoveAllStmt: ['alter_table', 'ddl'],
    AlterTableSpaceOptionsStmt: ['alter_tablespace', 'ddl'],
    AlterDefaultPrivilegesStmt: ['grant', 'ddl'],
    AlterCollationStmt: ['alter_other', 'ddl'],
    AlterStatsStmt: ['alter_other', 'ddl'],
    AlterTSConfigurationStmt: ['alter_other', 'ddl'],
    AlterTSDictionaryStmt: ['alter_other', 'ddl'],
    ReplicaIdentityStmt: ['alter_table', 'ddl'],
    DropRoleStmt: ['drop_role', 'ddl'],
    DropdbStmt: ['drop_database', 'ddl'],
    DropTableSpaceStmt: ['drop_tablespace', 'ddl'],
    DropUserMappingStmt: ['drop_server', 'ddl'],
    DropSubscriptionStmt: ['drop_subscription', 'ddl'],
    DropOwnedStmt: ['drop_owned', 'ddl'],
    ReassignOwnedStmt: ['reassign_owned', 'ddl'],
    CommentStmt: ['comment', 'ddl'],
    SecLabelStmt: ['security_label', 'ddl'],
    ImportForeignSchemaStmt: ['import_foreign_schema', 'ddl'],
  }),
);

/** What the parser calls kinds of objects, where policies have another word. */
const objectWords: ReadonlyMap<string, string> = new Map(
  Object.entries({
    TABLE: 'table',
    COLUMN: 'table',
    TABCONSTRAINT: 'table',
    FOREIGN_TABLE: 'table',
    VIEW: 'view',
    MATVIEW: 'view',
    INDEX: 'index',
    FUNCTION: 'function',
    PROCEDURE: 'function',
    ROUTINE: 'function',
    AGGREGATE: 'aggregate',
    SCHEMA: 'schema',
    ROLE: 'role',
    DATABASE: 'database',
    EXTENSION: 'extension',
    TRIGGER: 'trigger',
    RULE: 'rule',
    POLICY: 'policy',
    SEQUENCE: 'sequence',
    TYPE: 'type',
    ATTRIBUTE: 'type',
    DOMAIN: 'domain',
    DOMCONSTRAINT: 'domain',
    FOREIGN_SERVER: 'server',
    FDW: 'server',
    PUBLICATION: 'publication',
    SUBSCRIPTION: 'subscription',
    EVENT_TRIGGER: 'event_trigger',
    TABLESPACE: 'tablespace',
    CAST: 'cast',
    OPERATOR: 'operator',
    OPCLASS: 'operator',
    OPFAMILY: 'operator',
  }),
);

function objectWord(objectType: string): string {
  return objectWords.get(objectType.replace(/^OBJECT_/, '')) ?? 'other';
}

/** What a statement does, apart from what it holds; undefined where the reader does not know the statement. */
export function actsOf(node: string, body: Node): readonly Act[] | undefined {
  switch (node) {
    case 'InsertStmt': {
      const conflict = nodeAt(body, 'onConflictClause');
      return conflict?.['action'] === 'ONCONFLICT_UPDATE' ? [insert, update] : [insert];
    }
    case 'MergeStmt':
      return [['merge'], ...mergeActs(body)];
    case 'ExplainStmt':
      return runsWhatItExplains(body) ? [['explain'], ['explain_analyze']] : [['explain']];
    case 'CopyStmt':
      return copyActs(body);
    case 'VariableSetStmt':
      return [settingAct(body)];
    case 'AlterRoleSetStmt':
    case 'AlterDatabaseSetStmt':
    case 'AlterSystemStmt':
      return [[...(plain.get(node) ?? []), ...laterSetting(body)]];
    case 'TransactionStmt':
      return [/SAVEPOINT|RELEASE|ROLLBACK_TO/.test(textAt(body, 'kind')) ? ['savepoint'] : ['transaction']];
    case 'CreateTableAsStmt':
      return [[body['objtype'] === 'OBJECT_MATVIEW' ? 'create_view' : 'create_table_as', 'ddl']];
    case 'DefineStmt':
      return [[definedKind(textAt(body, 'kind')), 'ddl']];
    case 'AlterTableStmt':
      return [[`alter_${objectWord(textAt(body, 'objtype'))}`, 'ddl']];
    case 'RenameStmt': {
      // The relation's type tells more where a part of it is renamed.
      const part = textAt(body, 'renameType');
      const whole = part === 'OBJECT_COLUMN' || part === 'OBJECT_TABCONSTRAINT' ? textAt(body, 'relationType') : part;
      return [[`alter_${objectWord(whole)}`, 'rename', 'ddl']];
    }
    case 'AlterObjectSchemaStmt':
    case 'AlterObjectDependsStmt':
    case 'AlterOwnerStmt':
      return [[`alter_${objectWord(textAt(body, 'objectType'))}`, 'ddl']];
    case 'DropStmt':
      return [[`drop_${objectWord(textAt(body, 'removeType'))}`, 'ddl']];
    case 'GrantStmt':
    case 'GrantRoleStmt':
      return [[body['is_grant'] === true ? 'grant' : 'revoke', 'ddl']];
    default: {
      const act = plain.get(node);
      return act === undefined ? undefined : [act];
    }
  }
}

export const select: Act = ['select'];
export const selectForUpdate: Act = ['select_for_update'];
const insert: Act = ['insert'];
const update: Act = ['update'];

/** What the branches of a MERGE do, each once. */
function mergeActs(body: Node): Act[] {
  const found = new Set<string>();
  for (const clause of listAt(body, 'mergeWhenClauses')) {
    const when = (clause as Node)['MergeWhenClause'] as Node | undefined;
    const command = when === undefined ? '' : textAt(when, 'commandType');
    if (/^CMD_(INSERT|UPDATE|DELETE)$/.test(command)) found.add(command.slice(4).toLowerCase());
  }
  return [...found].map((kind) => [kind]);
}

/** EXPLAIN (ANALYZE false) is taken for one that runs: the literal is not looked at. */
function runsWhatItExplains(body: Node): boolean {
  return listAt(body, 'options').some((option) => {
    const element = nodeAt(option as Node, 'DefElem');
    return element?.['defname'] === 'analyze';
  });
}

function copyActs(body: Node): Act[] {
  const acts: Act[] = [[body['is_from'] === true ? 'copy_from' : 'copy_to']];
  if (body['is_program'] === true) acts.push(['copy_program']);
  else if (typeof body['filename'] === 'string') acts.push(['copy_file']);
  return acts;
}

/** Among the kinds of a change to `client_min_messages` that lets the client see what PostgreSQL logs. */
export const showsLog = 'client_min_messages_log';

/** Whether the setting, given this value, lets the client see what PostgreSQL logs; undefined: any value. */
function isShowingLog(setting: string, value: string | undefined): boolean {
  return setting === 'client_min_messages' && !/^(notice|warning|error)$/i.test(value ?? '');
}

/** The kind of a change to a setting that the text does not name, or to all of them. */
export const anySetting = 'set_*';

/** Among the settings that are shown: all of them, or one that the text does not name. */
export const anyShown = '*';

function settingAct(body: Node): Act {
  const name = textAt(body, 'name').toLowerCase();
  switch (textAt(body, 'kind')) {
    case 'VAR_RESET_ALL':
      return ['set', 'reset', anySetting];
    case 'VAR_RESET':
    case 'VAR_SET_DEFAULT':
      return ['set', 'reset', `set_${name}`];
    case 'VAR_SET_MULTI':
      return ['set', name.startsWith('session') ? 'set_session_characteristics' : 'set_transaction'];
    default: {
      const value = argumentOf(listAt(body, 'args')[0]);
      return setAct(name, value.kind === 'literal' ? (value.value ?? undefined) : undefined);
    }
  }
}

/** @param name in small letters. @param value undefined where it is not known */
export function setAct(name: string, value: string | undefined): Act {
  return ['set', `set_${name}`, ...(isShowingLog(name, value) ? [showsLog] : [])];
}

/** What sessions to come will begin with. */
function laterSetting(body: Node): Act {
  const set = nodeAt(body, 'setstmt');
  return set === undefined ? [] : settingAct(set).filter((kind) => kind.startsWith('set_'));
}

function definedKind(objectType: string): string {
  const word = objectWord(objectType);
  return word === 'operator' || word === 'aggregate' || word === 'type' ? `create_${word}` : 'create_other';
}
