// GRANT ACCESS role TO user FOR duration REASON text: gives a user a role of the policy for a time.

import type { Grant } from '../../pooler/index.js';
import type { Context, Role } from '../command.js';

export const grant = {
  role: 'admin' satisfies Role,
  usage: ["GRANT ACCESS role TO user FOR '1 hour' REASON '...'"],
  /** @throws PoolerError */
  run: (given: Grant, { pooler }: Context): Promise<void> => pooler.grants.grant(given),
} as const;
