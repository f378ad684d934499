// Who may run which statement: the policy as its file says it, and what it decides about the deeds of a statement.
// Never touches a socket or a file, never sees a row, never shows a secret; of a policy with one error there is nothing.

export {
  type Condition,
  type Decision,
  type Denial,
  decide,
  decideSettings,
  type Finding,
  type Names,
  ownNames,
  qualifiedOwn,
  type Reason,
} from './decide.js';
export { builtinRules, conditionText, type DenialText, denialText, ruleNameOf } from './denial.js';
export type {
  MaskDefinition,
  MaskMethod,
  PolicyDocument,
  Rate,
  Requirement,
  RoleDefinition,
  RuleDefinition,
  Scope,
  Verdict,
} from './document.js';
export { Learner } from './learn.js';
export { isMaskedAlike, maskedColumns, maskText } from './mask.js';
export type { Network } from './network.js';
export { Pattern, TextPattern } from './pattern.js';
export { type Context, type DecisionCounts, type Judge, Policy } from './policy.js';
export { type PolicyResult, readPolicy } from './read-policy.js';
export {
  assumedNames,
  type Outcome,
  Rehearsal,
  type RehearsalOptions,
  type RehearsedNames,
} from './rehearsal.js';
export { Ruleset } from './ruleset.js';
export type { Hours } from './schedule.js';
export {
  basesQuery,
  callsQuery,
  columnsQuery,
  functionsQuery,
  pathQuery,
  relationsQuery,
  Schema,
  type SchemaRows,
  usableQuery,
} from './schema.js';
export { type SqlSchemaResult, schemaOfSql } from './sql-schema.js';
export { isSettingKind, type StatementKind, statementGroups, statementKinds } from './statement-kinds.js';
export { mayBeGranted, rolesHoldUntil, rolesOf, type Subject } from './subject.js';
export { type TimeLimits, timeLimitsOf } from './timeouts.js';
