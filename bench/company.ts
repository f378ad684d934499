// What goes on beside a load whose latencies are measured: one huge result, a client that stops reading, a storm of connections.

import { setTimeout as sleep } from 'node:timers/promises';
import { ownQueryMessage, terminateMessage } from '../lib/wire/index.js';
import { logIn } from './plain-client.js';
import type { Endpoint } from './targets.js';

export const companies = ['a huge result', 'a client that stops reading', 'connection storms'] as const;
export type Company = (typeof companies)[number];

const loginMsMax = 10_000;
/** A gigabyte, in rows of a kilobyte. */
const hugeCopy = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT";
const stormClients = 200;
const stormEveryMs = 250;

/** Begins; what it returns ends it. */
export async function begin(company: Company, endpoint: Endpoint): Promise<() => void> {
  switch (company) {
    case 'a huge result':
      return beginCopy(endpoint, true);
    case 'a client that stops reading':
      return beginCopy(endpoint, false);
    case 'connection storms':
      return beginStorms(endpoint);
    default:
      return company satisfies never;
  }
}

async function beginCopy(endpoint: Endpoint, reads: boolean): Promise<() => void> {
  const socket = await logIn(endpoint, loginMsMax);
  socket.write(ownQueryMessage(hugeCopy));
  if (!reads) socket.pause();
  return () => socket.destroy();
}

function beginStorms(endpoint: Endpoint): () => void {
  let going = true;
  const storm = async (): Promise<void> => {
    while (going) {
      const logins = Array.from({ length: stormClients }, () => logIn(endpoint, loginMsMax));
      for (const login of await Promise.allSettled(logins))
        if (login.status === 'fulfilled') login.value.end(terminateMessage);
      await sleep(stormEveryMs);
    }
  };
  void storm();
  return () => {
    going = false;
  };
}
