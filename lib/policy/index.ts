// Who may run which statement: the policy as its file says it.
// Never touches a socket or a file, never shows a secret, and never answers half a policy: one error and there is none.

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
export type { Network } from './network.js';
export { Pattern, TextPattern } from './pattern.js';
export { type PolicyResult, readPolicy } from './read-policy.js';
export type { Hours } from './schedule.js';
export { isSettingKind, type StatementKind, statementGroups, statementKinds } from './statement-kinds.js';
