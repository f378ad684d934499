// Backends that PostgreSQL signals in the stead of this process' clients, by its own rights; then what it asked for is done to the client.

import type { ClientConnection, HeldStandIn } from '../client/index.js';
import { type Address, addressText, type Resolver, type ServerTarget, type Signal, StandIn } from '../server/index.js';
import { PoolerError } from '../util/index.js';

/** Connections at a time, which are counted under no other limit: a statement takes one for each client it signals. */
const standInsMax = 16;
/** How long a statement waits for its turn to have one. */
const turnMsMax = 5_000;

export interface StandInsHost {
  /** The client that was told this pid. */
  clientOf(pid: number): ClientConnection | undefined;
  readonly resolver: Resolver;
  warn(text: string, error: unknown): void;
}

interface Turn {
  readonly take: () => void;
}

export class StandIns {
  readonly #host: StandInsHost;
  #taken = 0;
  readonly #queue: Turn[] = [];
  /** Those lent to other processes, by a number of their own. */
  readonly #lent = new Map<number, HeldStandIn>();
  #lastId = 0;

  constructor(host: StandInsHost) {
    this.#host = host;
  }

  /**
   * One for the client of this pid, where the server at `address` is: undefined where there is no such client, its servers are
   * elsewhere, or there is no connection to be had. It has to be released.
   */
  async open(pid: number, address: Address): Promise<HeldStandIn | undefined> {
    const client = this.#host.clientOf(pid);
    const target = client?.pool?.target;
    if (client === undefined || target === undefined) return undefined;
    try {
      if (!(await this.#isAmong(target, address))) return undefined;
      await this.#turn();
    } catch (error) {
      this.#host.warn('a client cannot be signalled', error);
      return undefined;
    }
    try {
      return await this.#openFor(client, target, address);
    } catch (error) {
      this.#giveTurn();
      this.#host.warn('a client cannot be signalled', error);
      return undefined;
    }
  }

  async #openFor(client: ClientConnection, target: ServerTarget, address: Address): Promise<HeldStandIn> {
    let settle: () => void = () => {};
    const acted = new Promise<void>((resolve) => {
      settle = resolve;
    });
    let released = false;
    const act = (signal: Signal): void => {
      if (released) return;
      obey(client, signal).then(settle, (error: unknown) => {
        this.#host.warn('a cancel request failed', error);
        settle();
      });
    };
    const standIn = await StandIn.open(target, address, act);
    return {
      pid: standIn.pid,
      acted,
      release: () => {
        if (released) return;
        released = true;
        settle();
        standIn
          .close()
          .catch((error: unknown) =>
            this.#host.warn('a connection that stood in for a client could not be closed', error),
          );
        this.#giveTurn();
      },
    };
  }

  /** The same for a client of another process, which names it by the number from here on. */
  async lend(pid: number, address: Address): Promise<{ id: number; pid: number } | null> {
    const held = await this.open(pid, address);
    if (held === undefined) return null;
    const id = ++this.#lastId;
    this.#lent.set(id, held);
    return { id, pid: held.pid };
  }

  async acted(id: number): Promise<void> {
    await this.#lent.get(id)?.acted;
  }

  release(id: number): void {
    this.#lent.get(id)?.release();
    this.#lent.delete(id);
  }

  /** Whether it is the same server, by whatever name it is configured. */
  async #isAmong({ hosts }: ServerTarget, address: Address): Promise<boolean> {
    for (const host of hosts) {
      const found = await this.#host.resolver.resolve(host);
      if (found.some((one) => addressText(one) === addressText(address))) return true;
    }
    return false;
  }

  /** @throws PoolerError */
  #turn(): Promise<void> {
    if (this.#taken < standInsMax) {
      this.#taken++;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#queue.splice(this.#queue.indexOf(turn), 1);
        reject(new PoolerError('too many clients are being signalled at the same time', { sqlstate: '53400' }));
      }, turnMsMax);
      const turn: Turn = {
        take: () => {
          clearTimeout(timer);
          resolve();
        },
      };
      this.#queue.push(turn);
    });
  }

  #giveTurn(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#taken--;
    else next.take();
  }
}

async function obey(client: ClientConnection, signal: Signal): Promise<void> {
  if (signal === 'cancel') await client.cancel();
  else client.fail(new PoolerError('terminating connection due to administrator command', { sqlstate: '57P01' }));
}
