// Servers that reads of many clients share: which of them takes the next read, and which give way to those who need one alone.

import type { ServerConnection } from '../server/index.js';
import type { ReadShape, Settings } from '../session/index.js';

/** What PostgreSQL is told so that nothing on a shared server can write. */
const readOnly = 'default_transaction_read_only';

export interface LaneLimits {
  /** Reads one server may have been sent and not answered. */
  readonly depthMax: number;
  /** A lane with more work than this, by what its reads usually take, is passed over while another one has less. */
  readonly busyMs: number;
}

export class Lane {
  readonly server: ServerConnection;
  /** Of the clients whose reads it takes. */
  settings: Settings;
  /** The same as the server has them, read-only. */
  serverSettings: Settings;
  /** What its reads usually take, all together. */
  expectedMs = 0;
  /** Takes no more: somebody needs its server, or it is not fit to be shared now. */
  closing = false;
  usedMs: number;
  /** Its server is not read, because the client whose read it answers does not read either. */
  held = false;

  constructor(server: ServerConnection, settings: Settings, nowMs: number) {
    this.server = server;
    this.settings = settings;
    this.serverSettings = settings.with(readOnly, 'on');
    this.usedMs = nowMs;
  }

  get depth(): number {
    return this.server.channel.reads;
  }

  get empty(): boolean {
    return this.server.channel.reads === 0 && this.server.channel.quiet;
  }

  /** Reads of clients with other settings come next. */
  turnTo(settings: Settings): void {
    this.settings = settings;
    this.serverSettings = settings.with(readOnly, 'on');
  }

  add(shape: ReadShape, nowMs: number): void {
    this.expectedMs += shape.meanMs;
    this.usedMs = nowMs;
  }

  /** One read less; what is expected is not what it took, so the error goes with the last one. */
  remove(shape: ReadShape): void {
    this.expectedMs = this.depth === 0 ? 0 : Math.max(0, this.expectedMs - shape.meanMs);
  }
}

/** In the order in which they are filled: few of them carry most of the reads, the others become free. */
export class Lanes {
  readonly #lanes: Lane[] = [];
  readonly #byServer = new Map<ServerConnection, Lane>();

  get length(): number {
    return this.#lanes.length;
  }

  [Symbol.iterator](): IterableIterator<Lane> {
    return this.#lanes[Symbol.iterator]();
  }

  of(server: ServerConnection): Lane | undefined {
    return this.#byServer.get(server);
  }

  add(lane: Lane): void {
    this.#lanes.push(lane);
    this.#byServer.set(lane.server, lane);
  }

  remove(lane: Lane): void {
    this.#lanes.splice(this.#lanes.indexOf(lane), 1);
    this.#byServer.delete(lane.server);
  }

  /**
   * The first lane of these settings that has little to do.
   * @param anyway the one with least to do where all have much
   */
  choose(settings: Settings, limits: LaneLimits, anyway: boolean): Lane | undefined {
    let best: Lane | undefined;
    for (let i = 0; i < this.#lanes.length; i++) {
      const lane = this.#lanes[i] as Lane;
      if (lane.closing || lane.depth >= limits.depthMax || !lane.settings.equals(settings)) continue;
      if (lane.server.peer.pressured || !lane.server.channel.complete) continue;
      if (!lane.server.channel.settings.equals(lane.serverSettings)) continue;
      if (lane.expectedMs < limits.busyMs) return lane;
      if (anyway && (best === undefined || lane.expectedMs < best.expectedMs)) best = lane;
    }
    return best;
  }

  /** One that has nothing to do; the last, which is needed least. */
  findEmpty(): Lane | undefined {
    for (let i = this.#lanes.length - 1; i >= 0; i--) {
      const lane = this.#lanes[i] as Lane;
      if (lane.empty && !lane.closing) return lane;
    }
    return undefined;
  }

  /** Makes so many lanes take no more reads, those with least to do first. */
  close(count: number): void {
    let closing = 0;
    for (const lane of this.#lanes) if (lane.closing) closing++;
    while (closing < count) {
      let next: Lane | undefined;
      for (const lane of this.#lanes) {
        if (!lane.closing && (next === undefined || lane.depth <= next.depth)) next = lane;
      }
      if (next === undefined) return;
      next.closing = true;
      closing++;
    }
  }
}
