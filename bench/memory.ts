// Measures what a pooler's memory grows by for each client that is logged in and says nothing, each that waits, and each server in use.

import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { treeResidentKb } from './cpu.js';
import { logIn, type PlainAddress, query, say } from './plain-client.js';
import { serverConnections } from './targets.js';
import type { MemoryWork } from './works.js';

const loginsInFlight = 32;
const answerMsMax = 20_000;
const settleMs = 2_000;
/** Already there when counting begins, so that what a pooler allocates once is not charged to the clients. */
const earlierClients = 200;
/** Neither is deferred, nor may it share a server with others. */
const holdAServer = 'BEGIN; SELECT txid_current()';

/** kB (1024 bytes) each. @param pid root of the pooler's process tree, freshly started */
export async function heldKb(address: PlainAddress, pid: number, { of, count }: MemoryWork): Promise<number> {
  const open: Socket[] = [];
  try {
    open.push(...(await openClients(address, earlierClients)));
    // What is made at the first statement is nobody's either.
    for (const socket of open) for (const sql of [holdAServer, 'COMMIT']) await query(socket, sql, answerMsMax);
    const growth = async (act: () => Promise<unknown>): Promise<number> => {
      await delay(settleMs);
      const before = residentKb(pid);
      await act();
      await delay(settleMs);
      return (residentKb(pid) - before) / count;
    };
    let sockets: Socket[] = [];
    const come = async (): Promise<void> => {
      sockets = await openClients(address, count);
      open.push(...sockets);
    };
    let each = await growth(come);
    if (of === 'server') {
      each = await growth(() => holdAll(sockets));
    } else if (of === 'waiting') {
      await holdAll(open.slice(0, serverConnections));
      each = await growth(async () => {
        for (const socket of sockets) say(socket, 'SELECT 1');
      });
    }
    const lost = sockets.filter((socket) => socket.destroyed || socket.readableEnded).length;
    if (lost > 0) throw new Error(`${lost} of ${count} clients were disconnected`);
    return each;
  } finally {
    closeAll(open);
  }
}

async function holdAll(sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) await query(socket, holdAServer, answerMsMax);
}

/** All of them or, closing those that were open, an error. */
async function openClients(address: PlainAddress, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  let asked = 0;
  const lane = async (): Promise<void> => {
    while (asked < count) {
      asked++;
      sockets.push(await logIn(address, answerMsMax));
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
