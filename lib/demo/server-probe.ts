// Asks a PostgreSQL over TCP whether it lets anybody log in yet, without logging in.

import { createServer, Socket } from 'node:net';
import { parse, serialize } from 'pg-protocol/dist/index.js';

const answerMsMax = 2_000;
/** PostgreSQL's word for "the database system is starting up". */
const cannotConnectNow = '57P03';

/** Any answer but 57P03 proves it: a request for a password, or even a refusal. */
export function acceptsLogins(host: string, port: number, user: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = new Socket();
    const settle = (accepts: boolean): void => {
      socket.destroy();
      resolve(accepts);
    };
    socket.setTimeout(answerMsMax, () => settle(false));
    socket.on('error', () => settle(false));
    socket.on('close', () => settle(false));
    socket.on('connect', () => socket.write(serialize.startup({ user, database: 'postgres' })));
    parse(socket, (message) => {
      settle(!(message.name === 'error' && 'code' in message && message.code === cannotConnectNow));
    }).catch(() => settle(false));
    socket.connect(port, host);
  });
}

/** A port that was free a moment ago: PostgreSQL cannot be told "any", so the caller tries again when somebody else was faster. */
export function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

export function isPortTaken(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(true));
    server.listen(port, host, () => server.close(() => resolve(false)));
  });
}
