// A TCP port on loopback that nobody listens on, for a program that is to be told which.

import { createServer } from 'node:net';

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('the free port has no number'));
        else resolve(address.port);
      });
    });
  });
}
