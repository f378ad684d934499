// REVOKE ACCESS role FROM user: ends what GRANT ACCESS has given, before its time.

import type { Revocation } from '../../pooler/index.js';
import type { Context, Role } from '../command.js';

export const revoke = {
  role: 'admin' satisfies Role,
  usage: ['REVOKE ACCESS role FROM user'],
  /** @throws PoolerError */
  run: (revocation: Revocation, { pooler }: Context): void => pooler.grants.revoke(revocation),
} as const;
