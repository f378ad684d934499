// SHOW USERS: the users weir knows by name, with their own settings and what they use.

import { show } from '../command.js';
import { summed } from '../merge.js';

const columns = {
  name: 'text',
  pool_size: 'text',
  reserve_pool_size: 'text',
  pool_mode: 'text',
  max_user_connections: 'int4',
  current_connections: 'int4',
  max_user_client_connections: 'int4',
  current_client_connections: 'int4',
} as const;

export const users = show(
  'users',
  columns,
  ({ pooler }) => {
    const { weir, users: entries } = pooler.config;
    return [...pooler.knownUsers].sort().map((name) => {
      const user = entries.get(name);
      return {
        name,
        // Text, and empty where it is not set, as in PgBouncer.
        pool_size: String(user?.pool_size ?? ''),
        reserve_pool_size: String(user?.reserve_pool_size ?? ''),
        pool_mode: user?.pool_mode ?? null,
        max_user_connections: user?.max_user_connections || weir.max_user_connections,
        current_connections: pooler.serversOfUser(name),
        max_user_client_connections: user?.max_user_client_connections || weir.max_user_client_connections,
        current_client_connections: pooler.sessionsOfUser(name),
      };
    });
  },
  summed({ by: ['name'], add: ['current_connections', 'current_client_connections'] }),
);
