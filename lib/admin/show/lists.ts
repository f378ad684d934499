// SHOW LISTS: how many there are of each kind of thing.

import { takeCensus } from '../../pooler/index.js';
import { show } from '../command.js';
import { knownDatabases } from './databases.js';

export const lists = show('lists', { list: 'text', items: 'int4' }, ({ pooler }) => {
  const pools = [...pooler.pools];
  const items: Readonly<Record<string, number>> = {
    // The console is a database and a pool too.
    databases: knownDatabases(pooler).length + 1,
    users: pooler.knownUsers.size,
    peers: 0,
    pools: pools.length + 1,
    peer_pools: 0,
    // Nothing is kept for later clients and servers.
    free_clients: 0,
    used_clients: pooler.clients.size,
    login_clients: takeCensus(pooler).login,
    free_servers: 0,
    used_servers: pools.reduce((sum, pool) => sum + pool.servers.size + pool.counts.login, 0),
    dns_names: [...pooler.resolver.names()].length,
    dns_zones: 0,
    dns_queries: 0,
    dns_pending: 0,
  };
  return Object.entries(items).map(([list, count]) => ({ list, items: count }));
});
