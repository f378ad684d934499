// SHOW GRANTS: roles of the policy that users have for a time.

import { show } from '../command.js';
import { summed } from '../merge.js';

const columns = {
  role: 'text',
  user: 'text',
  until: 'text',
  seconds_left: 'int8',
  reason: 'text',
  granted_by: 'text',
} as const;

export const grants = show(
  'grants',
  columns,
  ({ pooler }) =>
    pooler.grants.list().map(({ role, user, untilMs, reason, grantedBy }) => ({
      role,
      user,
      until: new Date(untilMs).toISOString(),
      seconds_left: Math.ceil((untilMs - pooler.clock.wallMs()) / 1_000),
      reason,
      granted_by: grantedBy,
    })),
  summed({ by: ['role', 'user'] }),
);
