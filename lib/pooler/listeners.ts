// The sockets weir listens on: TCP addresses and one Unix socket, whose stale file is replaced.

import { chmodSync, chownSync, lstatSync, readFileSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import type { ClientAddress } from '../client/index.js';
import type { GlobalSettings } from '../config/index.js';
import { type Accepted, acceptFrom } from '../net/index.js';
import { PoolerError } from '../util/index.js';

export type OnAccept = (accepted: Accepted, address: ClientAddress) => void;

export interface Listening {
  /** Where clients can connect, for the log. */
  readonly places: readonly string[];
  /** The TCP port in use. */
  readonly port: number | undefined;
  /** Stops accepting; `unix` too, or only TCP. */
  close(which: 'tcp' | 'all'): Promise<void>;
}

function listen(server: net.Server, options: net.ListenOptions, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new PoolerError(`cannot listen on ${what}: ${cause.code ?? cause.message}`, {
          sqlstate: '58000',
          hint:
            cause.code === 'EADDRINUSE'
              ? 'Another program listens there; change listen_port, or without a file: --port (make run PORT=...).'
              : 'Check listen_addr and unix_socket_dir.',
          cause,
        }),
      ),
    );
    server.listen(options, () => resolve());
  });
}

/** Whether somebody answers on the socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function unixPath(weir: GlobalSettings, port: number): string {
  const dir = weir.unix_socket_dir;
  return dir.startsWith('@') ? `\0${dir.slice(1)}/.s.PGSQL.${port}` : `${dir}/.s.PGSQL.${port}`;
}

function userName(uid: number): string {
  try {
    const entry = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((line) => line.split(':')[2] === String(uid));
    if (entry !== undefined) return `user ${entry.split(':')[0]}`;
  } catch {
    // The number will do.
  }
  return `the user with number ${uid}`;
}

function groupId(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${group}:`));
  const id = line?.split(':')[2];
  if (id === undefined) throw new PoolerError(`unix_socket_group: no group named ${group}`, { sqlstate: 'F0000' });
  return Number(id);
}

/** Removes a socket that a process which was killed has left. @throws PoolerError when one is in use */
async function clearUnix(path: string): Promise<void> {
  if (path.startsWith('\0')) return;
  if (await answers(path)) {
    throw new PoolerError(`cannot listen on ${path}: another program answers there`, {
      sqlstate: '58000',
      hint: 'Stop it, or change unix_socket_dir or listen_port.',
    });
  }
  try {
    unlinkSync(path);
  } catch (cause) {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return;
    const what = `a ${found.isSocket() ? 'socket file' : 'file'} of ${userName(found.uid)}`;
    throw new PoolerError(`cannot listen on ${path}: ${what} is in the way`, {
      sqlstate: '58000',
      detail: 'No program answers there, and this process may not remove the file.',
      hint: 'Remove the file, or change unix_socket_dir or listen_port (--port).',
      cause,
    });
  }
}

async function listenUnix(weir: GlobalSettings, path: string, server: net.Server): Promise<string> {
  await listen(server, { path, backlog: weir.listen_backlog }, path);
  if (!path.startsWith('\0')) {
    chmodSync(path, weir.unix_socket_mode);
    if (weir.unix_socket_group !== '') chownSync(path, -1, groupId(weir.unix_socket_group));
  }
  return path;
}

/**
 * Finds out, before several processes listen together, that they can: afterwards an address that somebody else has, or a
 * socket file left over, would not be told from a sibling's. @returns the TCP port @throws PoolerError
 */
export async function tryListening(weir: GlobalSettings): Promise<number> {
  const listening = await startListening(weir, false, (socket) => socket.destroy());
  await listening.close('all');
  return listening.port ?? weir.listen_port;
}

/**
 * @param shared with sibling processes, which have tried that they can listen there
 * @throws PoolerError that says where it failed and what to change
 */
export async function startListening(weir: GlobalSettings, shared: boolean, onAccept: OnAccept): Promise<Listening> {
  const tcp: net.Server[] = [];
  const places: string[] = [];
  let unix: net.Server | undefined;
  let port: number | undefined;
  const closeAll = (): void => {
    for (const server of tcp) server.close();
    unix?.close();
  };
  try {
    for (const address of weir.listen_addr) {
      const server = net.createServer({ pauseOnConnect: true });
      const host = address === '*' ? '::' : address;
      tcp.push(server);
      const wanted = port ?? weir.listen_port;
      try {
        await listen(server, { host, port: wanted, backlog: weir.listen_backlog }, `${address}:${wanted}`);
      } catch (error) {
        // A machine without IPv6 has no `::`.
        if (address !== '*') throw error;
        await listen(server, { host: '0.0.0.0', port: wanted, backlog: weir.listen_backlog }, `0.0.0.0:${wanted}`);
      }
      acceptFrom(server, (accepted) => {
        const from = accepted.address;
        if (from === undefined) accepted.destroy();
        else onAccept(accepted, { ...from, unix: false });
      });
      const bound = server.address() as net.AddressInfo;
      port ??= bound.port;
      places.push(bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`);
    }
    if (weir.unix_socket_dir !== '') {
      unix = net.createServer({ pauseOnConnect: true });
      const path = unixPath(weir, port ?? weir.listen_port);
      if (!shared) await clearUnix(path);
      places.push(await listenUnix(weir, path, unix));
      acceptFrom(unix, (accepted) => onAccept(accepted, { ip: 'unix', port: 0, unix: true }));
    }
  } catch (error) {
    closeAll();
    throw error;
  }
  return {
    places,
    port,
    close: async (which) => {
      const closing = tcp.splice(0);
      if (which === 'all' && unix !== undefined) closing.push(unix);
      if (which === 'all') unix = undefined;
      await Promise.all(closing.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}
