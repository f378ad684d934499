// SHOW RULES: how often each rule of the policy, and what weir itself decides by, has let pass, refused or noted a statement.

import { builtinRules } from '../../policy/index.js';
import { type Context, show } from '../command.js';
import { summed } from '../merge.js';

const columns = { rule: 'text', verdict: 'text', allowed: 'int8', denied: 'int8', observed: 'int8' } as const;

export const rules = show(
  'rules',
  columns,
  rows,
  summed({ by: ['rule', 'verdict'], add: ['allowed', 'denied', 'observed'] }),
);

function rows({ pooler: { policing } }: Context) {
  const document = policing.policy?.document;
  if (document === undefined) return [];
  const row = (rule: string, verdict: string | null) => {
    const { allow = 0, deny = 0, observe = 0 } = policing.decisions.of(rule) ?? {};
    return { rule, verdict, allowed: allow, denied: deny, observed: observe };
  };
  return [
    ...document.rules.map(({ name, verdict }) => row(name, verdict)),
    ...builtinRules.map((name) => row(name, null)),
  ];
}
