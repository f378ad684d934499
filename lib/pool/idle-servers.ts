// The servers nobody has: those for anybody, last come first served, and those whose sessions have values a client may yet ask for.

import type { ClientSequences, ServerSequences } from '../relay/index.js';
import type { ServerConnection } from '../server/index.js';

export class IdleServers {
  readonly #free: ServerConnection[] = [];
  /** By what their clients know them by; the one that has been idle for longest first. */
  readonly #kept = new Map<ServerSequences, ServerConnection>();

  /** How many of them are for one client before all others. */
  get kept(): number {
    return this.#kept.size;
  }

  /** How many of them are for anybody. */
  get free(): number {
    return this.#free.length;
  }

  /** One that has been idle for longest, of those for anybody if there are any. */
  get oldest(): ServerConnection | undefined {
    if (this.#free.length > 0) return this.#free[0];
    for (const server of this.#kept.values()) return server;
    return undefined;
  }

  put(server: ServerConnection): void {
    const { sequences } = server.channel;
    if (sequences.isKept) this.#kept.set(sequences, server);
    else this.#free.push(server);
  }

  /** Takes the one that has the client's newest values. */
  takeOwn({ at }: ClientSequences): ServerConnection | undefined {
    if (at === undefined || this.#kept.size === 0) return undefined;
    const server = this.#kept.get(at);
    if (server !== undefined) this.#kept.delete(at);
    return server;
  }

  /** Takes one that is for anybody. */
  takeFree(which: 'newest' | 'oldest'): ServerConnection | undefined {
    return which === 'newest' ? this.#free.pop() : this.#free.shift();
  }

  /** Puts it back where it was taken from. */
  putBack(server: ServerConnection, which: 'newest' | 'oldest'): void {
    if (which === 'newest') this.#free.push(server);
    else this.#free.unshift(server);
  }

  /** Takes one that is kept, of those that have been idle for longer than they are kept from others, unless `any` will do. */
  takeKept(nowMs: number, which: 'any' | 'overdue'): ServerConnection | undefined {
    for (const [sequences, server] of this.#kept) {
      const { state } = server;
      const sinceMs = state.kind === 'idle' ? state.sinceMs : nowMs;
      if (which === 'overdue' && nowMs - sinceMs < sequences.keptMs) continue;
      this.#kept.delete(sequences);
      return server;
    }
    return undefined;
  }

  /** Takes the one that can best be done without. */
  takeLeast(): ServerConnection | undefined {
    return this.#free.shift() ?? this.takeKept(0, 'any');
  }

  has(server: ServerConnection): boolean {
    return this.#kept.has(server.channel.sequences) || this.#free.includes(server);
  }

  remove(server: ServerConnection): void {
    if (this.#kept.delete(server.channel.sequences)) return;
    const place = this.#free.indexOf(server);
    if (place >= 0) this.#free.splice(place, 1);
  }

  /** All of them, as they are now. */
  list(): ServerConnection[] {
    return [...this.#free, ...this.#kept.values()];
  }
}
