// SHOW DNS_HOSTS: host names that were looked up, for how many seconds the answer is used, and the answer.

import { show } from '../command.js';
import { summed } from '../merge.js';

export const dnsHosts = show(
  'dns_hosts',
  { hostname: 'text', ttl: 'int8', addrs: 'text' },
  ({ pooler }) =>
    [...pooler.resolver.names()].map(({ name, ttlMs, addresses }) => ({
      hostname: name,
      ttl: Math.ceil(ttlMs / 1_000),
      addrs: addresses.join(','),
    })),
  summed({ by: ['hostname'] }),
);
