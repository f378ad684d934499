// What a client is told when its statement is denied.

import type { Decision, Denial } from './decide.js';
import type { RuleDefinition } from './document.js';

export interface DenialText {
  readonly sqlstate: string;
  readonly message: string;
  readonly detail: string;
  readonly hint: string;
}

const insufficientPrivilege = '42501';

const causes: Readonly<Record<Denial['reason'], { readonly detail: string; readonly hint: string }>> = {
  rule: { detail: '', hint: 'Ask whoever keeps the policy.' },
  default: {
    detail: 'No rule allows it, and the policy denies what no rule allows.',
    hint: 'Ask for a rule with verdict = "allow" for this.',
  },
  unknown: {
    detail: 'It cannot be parsed or is too long to be read, so no rule can be applied.',
    hint: 'Correct or shorten the statement; texts up to inspect_limit are read.',
  },
  unseen: {
    detail: 'What it reads or does cannot be seen from its text, and some tables or columns are kept from you.',
    hint: 'Ask for a rule that allows it by name.',
  },
  unknown_relation: {
    detail: 'The relation is not known to the pooler, and some tables or columns are kept from you.',
    hint: 'Check its name. If it is new, try again in a moment.',
  },
  mask: {
    detail: 'Some of its columns are masked for you, and used this way they cannot be.',
    hint: 'Read the table by its own name in a FROM clause.',
  },
  timeout: {
    detail: 'A role of yours has a time-out of its own: it is set when the session begins, and stays.',
    hint: 'Do it in smaller steps, or ask for a role with another statement_timeout or lock_timeout.',
  },
};

/** What decisions that no rule of the file has made are counted under. */
export const builtinRules: readonly string[] = Object.keys(causes)
  .filter((reason) => reason !== 'rule')
  .map((reason) => `(${reason})`);

export function denialText({ reason, rule, what }: Denial): DenialText {
  const cause = causes[reason];
  return {
    sqlstate: insufficientPrivilege,
    message: rule?.message ?? `denied by the policy: ${what}`,
    detail: rule === undefined ? cause.detail : `Rule "${rule.name}" denies it.`,
    hint: rule?.hint ?? cause.hint,
  };
}

/** A rule's condition is not kept. */
export function conditionText(rule: RuleDefinition, detail: string, sqlstate = insufficientPrivilege): DenialText {
  return {
    sqlstate,
    message: rule.message ?? `denied by the policy: ${detail}`,
    detail: `Rule "${rule.name}": ${detail}.`,
    hint: rule.hint ?? 'Ask whoever keeps the policy.',
  };
}

/** What a decision is called in the audit trail and in metrics. */
export function ruleNameOf({ denial, allowedBy }: Pick<Decision, 'denial' | 'allowedBy'>): string | undefined {
  if (denial === undefined) return allowedBy?.name;
  return denial.rule?.name ?? `(${denial.reason})`;
}
