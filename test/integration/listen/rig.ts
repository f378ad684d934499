// Reads what a client is told without having asked: notifications, and notices of weir's.

import { setTimeout as sleep } from 'node:timers/promises';
import { type RawClient, type RawMessage, readFields } from '../../support/raw-client.js';

export interface Note {
  readonly pid: number;
  readonly channel: string;
  readonly payload: string;
}

export function noteOf({ body }: RawMessage): Note {
  const channelEnd = body.indexOf(0, 4);
  return {
    pid: body.readInt32BE(0),
    channel: body.toString('utf8', 4, channelEnd),
    payload: body.toString('utf8', channelEnd + 1, body.length - 1),
  };
}

/** The client waits for nothing else: everything up to the wanted number of notifications, or what came in time. */
export async function heard(client: RawClient, count: number, withinMs = 4_000): Promise<Note[]> {
  const notes: Note[] = [];
  const until = performance.now() + withinMs;
  while (notes.length < count && performance.now() < until && !(client.over && client.untaken === 0)) {
    if (client.untaken === 0) {
      await sleep(2);
      continue;
    }
    const message = await client.next();
    if (message.tag === 'A') notes.push(noteOf(message));
  }
  return notes;
}

/** The first notice that has come or comes; its fields. */
export async function noticed(
  client: RawClient,
  withinMs = 8_000,
): Promise<Readonly<Record<string, string>> | undefined> {
  const until = performance.now() + withinMs;
  while (performance.now() < until && !(client.over && client.untaken === 0)) {
    if (client.untaken === 0) {
      await sleep(2);
      continue;
    }
    const message = await client.next();
    if (message.tag === 'N') return readFields(message.body);
  }
  return undefined;
}
