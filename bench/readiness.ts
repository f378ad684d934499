// Waits until a client can log in to a program that has been started.

import { setTimeout as delay } from 'node:timers/promises';
import { logIn, type PlainAddress } from './plain-client.js';
import type { Program } from './processes.js';
import { errorText } from './samples.js';

const readyMsMax = 30_000;
const loginMsMax = 2_000;
const pauseMs = 50;

/** Throws, with the program's last words, when it ends first or takes too long. */
export async function waitUntilReady(program: Program, address: PlainAddress): Promise<void> {
  const until = performance.now() + readyMsMax;
  for (;;) {
    try {
      const socket = await logIn(address, loginMsMax);
      socket.destroy();
      return;
    } catch (error) {
      if (program.over !== undefined) throw new Error(`${program.name} ended while starting:\n${program.tail()}`);
      if (performance.now() > until) {
        throw new Error(`${program.name} took too long to start: ${errorText(error)}\n${program.tail()}`);
      }
    }
    await delay(pauseMs);
  }
}
