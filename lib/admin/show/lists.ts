// SHOW LISTS: how many there are of each kind of thing.

import { takeCensus } from '../../pooler/index.js';
import { type Context, show } from '../command.js';
import { summed } from '../merge.js';
import { knownDatabases } from './databases.js';

/** What each process has all of, or may have. */
const common: readonly string[] = ['databases', 'users', 'pools', 'dns_names'];

export const lists = show(
  'lists',
  { list: 'text', items: 'int4' },
  rows,
  summed({
    by: ['list'],
    combined: {
      columns: ['items'],
      combine: (into, { list, items }) => {
        const [a, b] = [Number(into['items']), Number(items)];
        into['items'] = common.includes(String(list)) ? Math.max(a, b) : a + b;
      },
    },
  }),
);

function rows({ pooler }: Context) {
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
}
