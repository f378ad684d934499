// The time-outs that roles of the policy give to sessions, and the acts that would change them.

import { type Act, anySetting } from '../sql/index.js';
import type { PolicyDocument, RoleDefinition } from './document.js';

/** PostgreSQL's names, and where a role has them. */
const timeouts = {
  statement_timeout: ({ statementTimeoutMs }: RoleDefinition) => statementTimeoutMs,
  lock_timeout: ({ lockTimeoutMs }: RoleDefinition) => lockTimeoutMs,
};

/** Milliseconds by the name of PostgreSQL's setting; of several roles the smallest. */
export type TimeLimits = ReadonlyMap<string, number>;

export function timeLimitsOf(document: PolicyDocument, roles: readonly string[]): TimeLimits {
  const limits = new Map<string, number>();
  for (const [name, of] of Object.entries(timeouts)) {
    const given = roles.flatMap((role) => {
      const definition = document.roles.get(role);
      return (definition && of(definition)) ?? [];
    });
    if (given.length > 0) limits.set(name, Math.min(...given));
  }
  return limits;
}

/** Whether the act changes one of the settings, to whatever value. */
export function changesLimit(act: Act, limits: TimeLimits): boolean {
  if (limits.size === 0) return false;
  return act.some((kind) => kind === anySetting || (kind.startsWith('set_') && limits.has(kind.slice('set_'.length))));
}
