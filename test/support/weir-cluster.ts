// Weir by its command, in several processes, in front of a test PostgreSQL.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.js';
import { childrenOf } from './processes.js';
import type { Teardown } from './temporary-directory.js';
import { temporaryDirectory } from './temporary-directory.js';
import { WeirCommand } from './weir-command.js';

export interface ClusterOptions {
  readonly server: { readonly host: string; readonly port: number };
  /** Of the section `[weir]`, over what a test needs. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Passwords by user. */
  readonly users: Readonly<Record<string, string>>;
}

export interface WeirCluster {
  readonly host: string;
  readonly port: number;
  readonly process: WeirCommand;
  readonly configFile: string;
  readonly httpPort: number;
  /** Process ids. */
  workers(): number[];
  /** All samples whose line begins with the text, added up; undefined where there is none. */
  metric(beginning: string): Promise<number | undefined>;
}

const readyMessage = 'all workers are ready';

export async function startWeirCluster(t: Teardown, { server, settings, users }: ClusterOptions): Promise<WeirCluster> {
  const configFile = join(temporaryDirectory(t), 'weir.toml');
  const httpPort = await freePort();
  const weir = { workers: 2, listen_port: 0, unix_socket_dir: '', http_listen: `127.0.0.1:${httpPort}`, ...settings };
  writeFileSync(configFile, clusterConfig(server, weir, users));
  const process = new WeirCommand(t, [configFile]);
  const port = await process.port(undefined, readyMessage);
  return {
    host: '127.0.0.1',
    port,
    process,
    configFile,
    httpPort,
    workers: () => childrenOf(process.pid).sort((a, b) => a - b),
    metric: async (beginning) => {
      const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
      const values = text
        .split('\n')
        .filter((line) => line.startsWith(beginning) && /[ {]/.test(line[beginning.length] ?? ''))
        .map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)));
      return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0);
    },
  };
}

export function clusterConfig(
  server: ClusterOptions['server'],
  weir: Readonly<Record<string, unknown>>,
  users: Readonly<Record<string, string>>,
): string {
  return [
    '[weir]',
    ...Object.entries(weir).map(([key, value]) => `${key} = ${JSON.stringify(value)}`),
    '[databases."*"]',
    `host = "${server.host}"`,
    `port = ${server.port}`,
    ...Object.entries(users).flatMap(([user, password]) => [`[users.${user}]`, `password = "${password}"`]),
    '',
  ].join('\n');
}
