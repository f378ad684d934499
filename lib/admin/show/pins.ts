// SHOW PINS: the clients that keep a server between transactions, why, and for how long.

import type { ClientConnection } from '../../client/index.js';
import { show } from '../command.js';
import { clientRows } from './socket-rows.js';

const columns = {
  client_id: 'int4',
  user: 'text',
  database: 'text',
  application_name: 'text',
  server_id: 'int4',
  reasons: 'text',
  age: 'int8',
  idle: 'int8',
} as const;

export const pins = show('pins', columns, ({ pooler }) => {
  const now = pooler.clock.now();
  const seconds = (sinceMs: number): number => Math.max(0, Math.floor((now - sinceMs) / 1_000));
  return [...clientRows(pooler)].flatMap(({ client, row }) => {
    const server = pinnedServer(client);
    if (server === undefined) return [];
    return {
      client_id: row.id,
      user: row.user,
      database: row.database,
      application_name: row.application_name,
      server_id: server.id,
      reasons: pinReasons(client),
      age: seconds(Math.min(...server.channel.ladder.pins.values())),
      idle: seconds(client.activeMs),
    };
  });
});

/** The hazards that keep the client's server with it, separated by commas; empty when nothing does. */
export function pinReasons(client: ClientConnection): string {
  return [...(pinnedServer(client)?.channel.ladder.pins.keys() ?? [])].sort().join(',');
}

function pinnedServer({ state }: ClientConnection) {
  return state.kind === 'active' && state.server.channel.ladder.pins.size > 0 ? state.server : undefined;
}
