// The metrics of the policy: what it has decided, by which rule, and what that took.

import { type Pooler, verdicts } from '../pooler/index.js';
import { common, LiveMetric, noLabels, one } from './metric.js';

const modes = { off: 0, observe: 1, enforce: 2 } as const;

export function policyMetrics({ policing, grants }: Pooler): LiveMetric[] {
  return [
    common('weir_policy_mode', 'The mode of the policy in force: 0 off, 1 observe, 2 enforce.', () => {
      return modes[policing.policy?.document.mode ?? 'off'];
    }),
    new LiveMetric('counter', 'weir_policy_decisions_total', 'Decisions of the policy, by verdict and rule.', () =>
      [...policing.decisions.entries()].flatMap(([rule, outcomes]) =>
        verdicts
          .filter((verdict) => outcomes[verdict] > 0)
          .map((verdict) => ({ labels: { verdict, rule }, sharedLabels: noLabels, value: outcomes[verdict] })),
      ),
    ),
    one('counter', 'weir_policy_cache_hits_total', 'Statements whose decision was known.', () => policing.lookups.hits),
    one(
      'counter',
      'weir_policy_cache_misses_total',
      'Statements whose decision had to be made.',
      () => policing.lookups.misses,
    ),
    one(
      'counter',
      'weir_policy_waits_total',
      'Messages that waited until weir knew what they do, or what their database has.',
      () => policing.waits,
    ),
    common('weir_policy_grants', 'Temporary roles in force.', () => grants.list().length),
    common(
      'weir_policy_schema_age_seconds',
      'How old the oldest of what is known of databases is.',
      () => policing.schemaAgeMs / 1_000,
    ),
  ];
}
