// The table of the console's commands.

import type { ControlCommand, ShowCommand } from './command.js';
import { disable } from './control/disable.js';
import { enable } from './control/enable.js';
import { grant } from './control/grant.js';
import { kill } from './control/kill.js';
import { killClient } from './control/kill-client.js';
import { pause } from './control/pause.js';
import { reconnect } from './control/reconnect.js';
import { reload } from './control/reload.js';
import { resume } from './control/resume.js';
import { revoke } from './control/revoke.js';
import { set } from './control/set.js';
import { shutdown } from './control/shutdown.js';
import { suspend } from './control/suspend.js';
import { waitClose } from './control/wait-close.js';
import { activeSockets } from './show/active-sockets.js';
import { audit } from './show/audit.js';
import { clients } from './show/clients.js';
import { config } from './show/config.js';
import { databases } from './show/databases.js';
import { dnsHosts } from './show/dns-hosts.js';
import { dnsZones } from './show/dns-zones.js';
import { fds } from './show/fds.js';
import { grants } from './show/grants.js';
import { hazards } from './show/hazards.js';
import { help } from './show/help.js';
import { lanes } from './show/lanes.js';
import { lists } from './show/lists.js';
import { mem } from './show/mem.js';
import { peerPools } from './show/peer-pools.js';
import { peers } from './show/peers.js';
import { pins } from './show/pins.js';
import { policy } from './show/policy.js';
import { pools } from './show/pools.js';
import { rules } from './show/rules.js';
import { servers } from './show/servers.js';
import { sockets } from './show/sockets.js';
import { state } from './show/state.js';
import { stats } from './show/stats.js';
import { statsAverages } from './show/stats-averages.js';
import { statsTotals } from './show/stats-totals.js';
import { totals } from './show/totals.js';
import { users } from './show/users.js';
import { version } from './show/version.js';

export const showCommands: ReadonlyMap<string, ShowCommand> = byName([
  help(usage),
  config,
  databases,
  pools,
  clients,
  servers,
  users,
  version,
  peers,
  peerPools,
  fds,
  sockets,
  activeSockets,
  lists,
  mem,
  state,
  dnsHosts,
  dnsZones,
  stats,
  statsTotals,
  statsAverages,
  totals,
  lanes,
  pins,
  hazards,
  audit,
  policy,
  rules,
  grants,
]);

export const controlCommands: ReadonlyMap<string, ControlCommand> = byName([
  reload,
  pause,
  resume,
  disable,
  enable,
  reconnect,
  kill,
  killClient,
  suspend,
  shutdown,
  waitClose,
]);

const namesPerLine = 6;

function usage(): string[] {
  const names = [...showCommands.keys()].filter((name) => name !== fds.name).map((name) => name.toUpperCase());
  const lines: string[] = [];
  for (let i = 0; i < names.length; i += namesPerLine) lines.push(`SHOW ${names.slice(i, i + namesPerLine).join('|')}`);
  return [...lines, ...[set, ...controlCommands.values(), grant, revoke].flatMap((command) => command.usage)];
}

function byName<T extends { readonly name: string }>(commands: readonly T[]): ReadonlyMap<string, T> {
  return new Map(commands.map((command) => [command.name, command]));
}
