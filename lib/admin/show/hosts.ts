// How the hosts of a database are shown: PgBouncer has one column for them and one for their port.

import type { Host } from '../../config/index.js';

/** Names, addresses and socket directories, separated by commas. */
export function hostList(hosts: readonly Host[]): string {
  return hosts.map((host) => (host.kind === 'tcp' ? host.host : host.path)).join(',');
}

/** Shown only where there is something to balance. */
export function balancing(hosts: readonly Host[], mode: string): string | null {
  return hosts.length > 1 ? mode : null;
}
