// Measures what a pooler's memory grows by for each client that is logged in and says nothing.

import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { treeResidentKb } from './cpu.js';
import { logIn, type PlainAddress } from './plain-client.js';

const loginsInFlight = 32;
const loginMsMax = 20_000;
const settleMs = 2_000;
/** Already there when counting begins, so that what a pooler allocates once is not charged to the clients. */
const earlierClients = 200;

/** kB (1024 bytes) per client. @param pid root of the pooler's process tree, freshly started */
export async function idleClientKb(address: PlainAddress, pid: number, clients: number): Promise<number> {
  const open = await openClients(address, earlierClients);
  try {
    await delay(settleMs);
    const before = residentKb(pid);
    const sockets = await openClients(address, clients);
    open.push(...sockets);
    await delay(settleMs);
    const after = residentKb(pid);
    const lost = sockets.filter((socket) => socket.destroyed || socket.readableEnded).length;
    if (lost > 0) throw new Error(`${lost} of ${clients} idle clients were disconnected`);
    return (after - before) / clients;
  } finally {
    closeAll(open);
  }
}

/** All of them or, closing those that were open, an error. */
async function openClients(address: PlainAddress, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  let asked = 0;
  const lane = async (): Promise<void> => {
    while (asked < count) {
      asked++;
      sockets.push(await logIn(address, loginMsMax));
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(loginsInFlight, count) }, lane));
  const refused = results.find((result) => result.status === 'rejected');
  if (refused === undefined) return sockets;
  closeAll(sockets);
  throw new Error(`only ${sockets.length} of ${count} clients could log in: ${String(refused.reason)}`);
}

function closeAll(sockets: readonly Socket[]): void {
  for (const socket of sockets) socket.destroy();
}

function residentKb(pid: number): number {
  const kb = treeResidentKb(pid);
  if (kb === undefined) throw new Error('the memory of the pooler cannot be read: this needs /proc');
  return kb;
}
