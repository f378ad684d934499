// Which client has notified: its servers are others' a moment later, so others' notifications wait until its own have been told.

import type { NotificationHub } from '../client/index.js';
import type { Sender, ServerChannel } from '../relay/index.js';
import type { Clock } from '../util/index.js';

/** A statement waits no longer for servers that listen. */
const waitMsMax = 1_000;
/** So long a notification is on its way, at most, when its server has been closed. */
const goneMsMax = 2_000;
/** Waits for what triggers and functions may have notified, one after the other, in vain: then nobody waits for it until one of them has. */
const vainWaitsMax = 1_000;

interface Wait {
  readonly sender: Sender;
  readonly untilMs: number;
  /** Servers that listen and have not answered. */
  owed: number;
  goOn: (() => void) | undefined;
}

export class Senders {
  readonly #clock: Clock;
  readonly #hubs: () => Iterable<NotificationHub>;
  /** By where they are. */
  readonly #servers = new Map<string, ServerChannel>();
  readonly #closed = new Map<string, { readonly server: ServerChannel; readonly atMs: number }>();
  readonly #waits = new Map<Sender, Wait>();
  #vainWaits = 0;

  constructor(clock: Clock, hubs: () => Iterable<NotificationHub>) {
    this.#clock = clock;
    this.#hubs = hubs;
  }

  opened(server: ServerChannel): void {
    this.#servers.set(server.place, server);
    this.#closed.delete(server.place);
  }

  closed(server: ServerChannel): void {
    this.#closed.set(server.place, { server, atMs: this.#clock.now() });
  }

  /**
   * The pid that the client was told which has notified.
   * @param place of the server that tells of it
   * @param pid of the server's process that ran the NOTIFY
   */
  pidOf(place: string, pid: number): number | undefined {
    const sender = this.#servers.get(`${place.slice(0, place.lastIndexOf('/') + 1)}${pid}`)?.sender;
    if (sender === undefined || sender.pid === 0) return undefined;
    if (!sender.named) this.#vainWaits = 0;
    return sender.pid;
  }

  /**
   * Whether all that the sender has notified has been told by the servers that listen in this database.
   * @param goOn called when it has, where not
   */
  isSettled(sender: Sender, database: string, goOn: () => void): boolean {
    if (sender.settled) return true;
    const running = this.#waits.get(sender);
    if (running !== undefined && sender.awaited === running) {
      running.goOn = goOn;
      return false;
    }
    if (!sender.named && this.#vainWaits >= vainWaitsMax) return true;
    const wait: Wait = { sender, untilMs: this.#clock.now() + waitMsMax, owed: 0, goOn: undefined };
    for (const hub of this.#hubs()) {
      if (hub.pool.target.dbname !== database || !hub.isListening) continue;
      wait.owed++;
      hub.barrier(() => {
        wait.owed--;
        if (wait.owed === 0) this.#end(wait);
      });
    }
    if (wait.owed === 0) return true;
    if (!sender.named) this.#vainWaits++;
    wait.goOn = goOn;
    sender.awaited = wait;
    this.#waits.set(sender, wait);
    return false;
  }

  #end(wait: Wait): void {
    const { sender } = wait;
    if (this.#waits.get(sender) !== wait) return;
    this.#waits.delete(sender);
    // Somebody may have notified since.
    if (sender.awaited !== wait) return;
    sender.awaited = undefined;
    sender.settled = true;
    wait.goOn?.();
  }

  /** Called several times a second. */
  sweep(): void {
    const now = this.#clock.now();
    for (const wait of this.#waits.values()) if (wait.untilMs <= now) this.#end(wait);
    for (const [place, { server, atMs }] of this.#closed) {
      if (atMs + goneMsMax > now) continue;
      this.#closed.delete(place);
      if (this.#servers.get(place) === server) this.#servers.delete(place);
    }
  }
}
