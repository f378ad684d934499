// Which client has notified: its servers are others' a moment later, so others' notifications wait until its own have been told.

import type { NotificationHub } from '../client/index.js';
import type { Sender, ServerChannel } from '../relay/index.js';
import type { Clock } from '../util/index.js';

/** The other processes. What is asked of them resolves and never rejects. */
export interface SenderSiblings {
  /** Servers of this process listen in these databases. */
  listens(databases: readonly string[]): void;
  /** The clients that have notified, by the processes of their servers: see `Senders.pidOf`. */
  sendersOf(place: string, pids: readonly number[]): Promise<readonly (number | null)[]>;
  /** Resolves when their servers that listen in the database have told all that has been committed by now. */
  catchUp(database: string): Promise<void>;
}

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
  readonly #siblings: SenderSiblings | undefined;
  /** Databases in which servers of this process listen, as the others have been told. */
  #listened = new Set<string>();
  /** Those in which servers of the others do. */
  elsewhere: ReadonlySet<string> = new Set();

  constructor(clock: Clock, hubs: () => Iterable<NotificationHub>, siblings: SenderSiblings | undefined) {
    this.#clock = clock;
    this.#siblings = siblings;
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
    const done = (): void => {
      wait.owed--;
      if (wait.owed === 0) this.#end(wait);
    };
    for (const hub of this.#listenersIn(database)) {
      wait.owed++;
      hub.barrier(done);
    }
    if (this.#siblings !== undefined && this.elsewhere.has(database)) {
      wait.owed++;
      void this.#siblings.catchUp(database).then(done);
    }
    if (wait.owed === 0) return true;
    if (!sender.named) this.#vainWaits++;
    wait.goOn = goOn;
    sender.awaited = wait;
    this.#waits.set(sender, wait);
    return false;
  }

  *#listenersIn(database: string): Iterable<NotificationHub> {
    for (const hub of this.#hubs()) if (hub.isListening && hub.pool.target.dbname === database) yield hub;
  }

  // For other processes

  pidsElsewhere(place: string, pids: readonly number[]): Promise<readonly (number | null)[]> | undefined {
    return this.#siblings?.sendersOf(place, pids);
  }

  onListening(database: string): void {
    if (this.#siblings === undefined || this.#listened.has(database)) return;
    this.#listened.add(database);
    this.#siblings.listens([...this.#listened]);
  }

  /** Another one's client waits for it. */
  async catchUp(database: string): Promise<void> {
    const hubs = [...this.#listenersIn(database)];
    await Promise.all(hubs.map((hub) => new Promise<void>((resolve) => hub.barrier(() => resolve()))));
  }

  #forgetListened(): void {
    const listened = new Set<string>();
    for (const hub of this.#hubs()) if (!hub.isIdle) listened.add(hub.pool.target.dbname);
    if (listened.size === this.#listened.size) return;
    this.#listened = listened;
    this.#siblings?.listens([...listened]);
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
    if (this.#siblings !== undefined) this.#forgetListened();
    for (const wait of this.#waits.values()) if (wait.untilMs <= now) this.#end(wait);
    for (const [place, { server, atMs }] of this.#closed) {
      if (atMs + goneMsMax > now) continue;
      this.#closed.delete(place);
      if (this.#servers.get(place) === server) this.#servers.delete(place);
    }
  }
}
