// SHOW POLICY: the policy in force, how much there is of it, and how often a decision was found ready made.

import { type Context, show } from '../command.js';
import { summed } from '../merge.js';

const columns = {
  mode: 'text',
  default: 'text',
  unknown: 'text',
  source: 'text',
  roles: 'int4',
  rules: 'int4',
  masks: 'int4',
  grants: 'int4',
  clients: 'int4',
  cache_hits: 'int8',
  cache_misses: 'int8',
} as const;

export const policy = show(
  'policy',
  columns,
  rows,
  summed({ by: ['mode', 'source'], add: ['clients', 'cache_hits', 'cache_misses'], greatest: ['grants'] }),
);

function rows({ pooler: { policing, grants, clients } }: Context) {
  const document = policing.policy?.document;
  return [
    {
      mode: document?.mode ?? 'off',
      default: document?.default ?? null,
      unknown: document?.unknown ?? null,
      source: document?.source ?? null,
      roles: document?.roles.size ?? 0,
      rules: document?.rules.length ?? 0,
      masks: document?.masks.length ?? 0,
      grants: grants.list().length,
      clients: document === undefined ? 0 : [...clients].filter(({ session }) => session !== undefined).length,
      cache_hits: policing.lookups.hits,
      cache_misses: policing.lookups.misses,
    },
  ];
}
