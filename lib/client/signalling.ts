// One client's statements that have PostgreSQL signal other clients: real pids for them, and answers kept until the signals have arrived.

import type { Peer } from '../net/index.js';
import type { Address, ServerConnection } from '../server/index.js';
import { isClientPid } from './pids.js';

/** A backend that stands in for a client until it is released. */
export interface HeldStandIn {
  readonly pid: number;
  /** PostgreSQL has signalled it, and what the signal asks for has been done to the client; or it was released. */
  readonly acted: Promise<void>;
  release(): void;
}

export interface SignalDesk {
  /** One for the client that was told this pid; undefined where there is none. */
  standInFor(pid: number, address: Address): Promise<HeldStandIn | undefined>;
}

/** How long an answer waits for a signal behind it: it may be that none was sent. */
const signalMsMax = 1_000;
/** Clients one statement can signal. */
const standInsMax = 16;

/** Statements that have been sent with stand-ins' pids in them. */
interface Sent {
  readonly standIns: readonly HeldStandIn[];
  readonly server: ServerConnection;
  readonly errorsBefore: number;
  /** Acted: all clients have been signalled. Answered: not all have, though all has been answered. */
  stage: 'sent' | 'acted' | 'answered';
  timer: NodeJS.Timeout | undefined;
}

interface Asked {
  readonly pids: readonly number[];
  found: ReadonlyMap<number, HeldStandIn> | undefined;
}

export class Signalling {
  readonly #desk: SignalDesk;
  readonly #peer: Peer;
  readonly #goOn: () => void;
  #asked: Asked | undefined;
  /** Their pids have been told, and the statement is about to be sent. */
  #told: HeldStandIn[] = [];
  readonly #sent = new Set<Sent>();
  #keeps = false;

  /** @param goOn the message that waited may be fed again */
  constructor(desk: SignalDesk, peer: Peer, goOn: () => void) {
    this.#desk = desk;
    this.#peer = peer;
    this.#goOn = goOn;
  }

  /** Whether a message waits for pids. */
  get waiting(): boolean {
    return this.#asked !== undefined && this.#asked.found === undefined;
  }

  /**
   * What PostgreSQL is to be sent in place of pids that clients were told. Other pids stay as they are.
   * @param own the client's own pid: its server is signalled itself
   * @returns undefined while it is being found out: ask again when fed again
   */
  realPids(pids: readonly number[], own: number, server: ServerConnection): ReadonlyMap<number, number> | undefined {
    const others = [...new Set(pids)].filter((pid) => isClientPid(pid) && pid !== own).slice(0, standInsMax);
    const real = new Map(pids.includes(own) ? [[own, server.pid]] : []);
    if (others.length === 0) return real;
    let asked = this.#asked;
    if (asked === undefined || others.length !== asked.pids.length || others.some((pid, i) => pid !== asked?.pids[i])) {
      this.#forgetAsked();
      asked = { pids: others, found: undefined };
      this.#asked = asked;
      this.#find(asked, server.address);
    }
    if (asked.found === undefined) return undefined;
    this.#asked = undefined;
    for (const [pid, standIn] of asked.found) {
      real.set(pid, standIn.pid);
      this.#told.push(standIn);
    }
    return real;
  }

  #find(asked: Asked, address: Address): void {
    const each = asked.pids.map(async (pid) => [pid, await this.#desk.standInFor(pid, address)] as const);
    Promise.all(each).then(
      (found) => {
        asked.found = new Map(found.flatMap(([pid, standIn]) => (standIn === undefined ? [] : [[pid, standIn]])));
        if (this.#asked === asked) this.#goOn();
        else for (const standIn of asked.found.values()) standIn.release();
      },
      // The process that was asked has ended, and its clients with it.
      () => {
        asked.found = new Map();
        if (this.#asked === asked) this.#goOn();
      },
    );
  }

  #forgetAsked(): void {
    for (const standIn of this.#asked?.found?.values() ?? []) standIn.release();
    this.#asked = undefined;
  }

  /** The statement is being sent: what comes of it is kept until the clients it signals have been signalled. */
  onSent(server: ServerConnection): void {
    if (this.#told.length === 0) return;
    const sent: Sent = { standIns: this.#told, server, errorsBefore: server.errors, stage: 'sent', timer: undefined };
    this.#told = [];
    this.#sent.add(sent);
    this.#keepAnswer();
    const acted = (): void => {
      if (sent.stage === 'answered') this.#end(sent);
      else sent.stage = 'acted';
      this.#keepAnswer();
    };
    Promise.all(sent.standIns.map((standIn) => standIn.acted)).then(acted, acted);
  }

  /** All has been answered. A signal may still be on its way, unless there was an error in place of it. */
  onAnswered(): void {
    for (const standIn of this.#told.splice(0)) standIn.release();
    for (const sent of this.#sent) {
      if (sent.stage === 'answered') continue;
      if (sent.stage === 'acted' || sent.server.errors > sent.errorsBefore) {
        this.#end(sent);
        continue;
      }
      sent.stage = 'answered';
      sent.timer = setTimeout(() => this.#end(sent), signalMsMax);
    }
    this.#keepAnswer();
  }

  /** The client has gone; what it has asked for is still done. */
  close(): void {
    this.#forgetAsked();
    this.onAnswered();
  }

  #end(sent: Sent): void {
    clearTimeout(sent.timer);
    this.#sent.delete(sent);
    for (const standIn of sent.standIns) standIn.release();
    this.#keepAnswer();
  }

  /** Nothing is told while a signal of it may be on its way. */
  #keepAnswer(): void {
    const keep = [...this.#sent].some(({ stage }) => stage !== 'acted');
    if (keep === this.#keeps) return;
    this.#keeps = keep;
    if (keep) this.#peer.cork();
    else this.#peer.uncork();
  }
}
