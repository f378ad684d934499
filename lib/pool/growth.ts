// When a pool makes a new server, and what it counts on instead: connections being made, and servers that will be free in a moment.

import { createPool, type Pool as GenericPool } from 'generic-pool';
import type { PoolSettings } from '../config/index.js';
import {
  type BaseMemory,
  type Dialled,
  type Dialler,
  dial,
  ServerConnection,
  type ServerTarget,
} from '../server/index.js';
import { assert, type Clock, PoolerError } from '../util/index.js';
import type { PlaceNeed, PlaceSeeker, ServerPlaces } from './budget.js';
import type { PoolPolicy } from './pool-policy.js';

/** How soon to try again at a server that is restarting. */
const restartRetryMs = 500;
/** Server connections a pool has being made at the same time. */
const connectsInFlightMax = 4;
/** A check, a reset or a cancel request that takes longer than this is not waited for any more: a new server is made. */
const comesBackMsMax = 500;
/** Clients of a pool that has served none of them for so long are not to wait until its own servers are free. */
const starvingMs = 500;

/** The pool that grows. */
export interface Growing extends PlaceSeeker {
  readonly settings: PoolSettings;
  readonly policy: PoolPolicy;
  readonly target: ServerTarget;
  readonly bases: BaseMemory;
  readonly servers: ReadonlySet<ServerConnection>;
  /** Whether it may make servers at all. */
  readonly mayGrow: boolean;
  readonly waiting: number;
  /** Logins that wait for the first server. */
  readonly greeting: number;
  /** Most servers it may have now, and the least number it is to have. */
  readonly sizeMax: number;
  readonly sizeMin: number;
  /** Servers that are neither lent nor idle. */
  readonly inBetween: number;
  /** For how long nobody has been served who waits, in milliseconds. */
  unservedMs(): number;
  /** A server of its own from a connection that has logged in. */
  adopt(login: Dialled, generation: number): Promise<ServerConnection>;
  readonly generation: number;
  onMade(server: ServerConnection): void;
  /** The server it made has ended meanwhile. */
  onMadeInVain(): void;
  onConnectFailed(error: PoolerError): void;
}

/** What generic-pool is handed when no connection could be made: it knows its resources by identity, so each is an object. */
interface NotMade {
  readonly server: undefined;
}
type Made = ServerConnection | NotMade;

/** A connection being made. */
interface Attempt {
  readonly sinceMs: number;
  readonly abort: AbortController;
}

export class Growth {
  readonly #pool: Growing;
  readonly #clock: Clock;
  readonly #places: ServerPlaces;
  readonly #dialler: Dialler;
  readonly #lifecycle: GenericPool<Made>;
  /** In the order they began. */
  readonly #attempts = new Set<Attempt>();
  /** Those generic-pool has not been heard of yet: it hands out what is made first to who has asked first. */
  readonly #unbegun: Attempt[] = [];
  readonly #attemptOf = new WeakMap<Made, Attempt>();
  #failure: { readonly error: PoolerError; readonly atMs: number } | undefined;
  /** How many have been dialled, for taking hosts in turn. */
  #turn = 0;

  constructor(pool: Growing, clock: Clock, places: ServerPlaces, dialler: Dialler) {
    this.#pool = pool;
    this.#clock = clock;
    this.#places = places;
    this.#dialler = dialler;
    this.#lifecycle = createPool<Made>(
      {
        create: () => this.#make(),
        destroy: async (made) => {
          if (made instanceof ServerConnection) made.close();
        },
        validate: async (made) => made instanceof ServerConnection && made.state.kind !== 'closed',
      },
      // How many there may be is decided below, by limits generic-pool does not know.
      { max: Number.MAX_SAFE_INTEGER, min: 0, autostart: false },
    );
  }

  /** Connections being made. */
  get connecting(): number {
    return this.#attempts.size;
  }

  /** The error of the last attempt, while it stands. */
  get failure(): PoolerError | undefined {
    return this.#failure?.error;
  }

  get failureAtMs(): number | undefined {
    return this.#failure?.atMs;
  }

  /** Whether the last attempt failed so recently that the next one is not due. */
  get isHeldOff(): boolean {
    return this.heldOffMs > 0;
  }

  /** How long it is until then; 0 when one may be made. */
  get heldOffMs(): number {
    const failure = this.#failure;
    if (failure === undefined) return 0;
    return Math.max(0, failure.atMs + this.#retryMs(failure.error) - this.#clock.now());
  }

  noteFailure(error: PoolerError): void {
    this.#failure = { error, atMs: this.#clock.now() };
  }

  forgetFailure(): void {
    this.#failure = undefined;
  }

  /** Makes as many servers as are needed and may be had. @param wanted servers that would be of use beside those waited for */
  grow(wanted = 0): void {
    const pool = this.#pool;
    if (!pool.mayGrow || this.isHeldOff) return;
    const inFlightMax = this.#failure === undefined ? connectsInFlightMax : 1;
    while (
      this.connecting < inFlightMax &&
      (pool.waiting + wanted > this.connecting + this.soonFree() ||
        this.#belowMinimum() ||
        pool.greeting > this.connecting) &&
      pool.servers.size + this.connecting < pool.sizeMax
    ) {
      const { max_db_connections, max_user_connections } = pool.settings;
      const limits = { poolMax: pool.sizeMax, databaseMax: max_db_connections, userMax: max_user_connections };
      if (this.#places.take(pool, limits, this.#needOf(wanted)) !== 'taken') return;
      this.#begin();
    }
  }

  /**
   * Servers being checked or reset, or about to be reached by a cancel request: they come back sooner than a new one is made.
   * Where one check takes too long, none is counted on: the others may go to a dead machine as well.
   */
  soonFree(): number {
    if (this.#pool.inBetween === 0) return 0;
    const now = this.#clock.now();
    let checks = 0;
    let others = 0;
    let late = false;
    for (const { state } of this.#pool.servers) {
      if (state.kind !== 'being_canceled' && (state.kind !== 'tested' || state.what === 'drain')) continue;
      const isCheck = state.kind === 'tested' && state.what === 'check';
      const inTime = now - state.sinceMs < comesBackMsMax;
      if (!isCheck) others += inTime ? 1 : 0;
      else if (inTime) checks++;
      else late = true;
    }
    return others + (late ? 0 : checks);
  }

  /** Since when a connection is being made that nobody needs any more. */
  spareSinceMs(): number | undefined {
    const { waiting, greeting } = this.#pool;
    if (this.connecting <= waiting + greeting) return undefined;
    for (const { sinceMs } of this.#attempts) return sinceMs;
    return undefined;
  }

  /** Gives up such a connection. Its place is free when this returns. */
  giveWay(): boolean {
    if (this.spareSinceMs() === undefined) return false;
    const last = [...this.#attempts].at(-1);
    if (last === undefined) return false;
    this.#end(last);
    last.abort.abort();
    return true;
  }

  /** A server has been closed. */
  destroy(made: Made): void {
    this.#lifecycle.destroy(made).catch((cause: unknown) => this.#dialler.warn('server could not be destroyed', cause));
  }

  /** A server that says it is starting or shutting down is a restart, over in a moment. */
  #retryMs(error: PoolerError): number {
    const { serverLoginRetryMs } = this.#pool.policy;
    return error.sqlstate === '57P03' ? Math.min(restartRetryMs, serverLoginRetryMs) : serverLoginRetryMs;
  }

  /** @param wanted see `grow` */
  #needOf(wanted: number): PlaceNeed {
    if (this.#pool.waiting + this.#pool.greeting + wanted === 0) return 'minimum';
    return this.#pool.unservedMs() >= starvingMs ? 'starving' : 'waiting';
  }

  #belowMinimum(): boolean {
    return this.#pool.servers.size + this.connecting < this.#pool.sizeMin;
  }

  #begin(): void {
    const attempt: Attempt = { sinceMs: this.#clock.now(), abort: new AbortController() };
    this.#attempts.add(attempt);
    this.#unbegun.push(attempt);
    this.#lifecycle.acquire().then(
      (made) => this.#made(made),
      (error: unknown) => this.#dialler.warn('a server connection could not be made', error),
    );
  }

  /** Its place is free again. */
  #end(attempt: Attempt): void {
    if (this.#attempts.delete(attempt)) this.#places.give(this.#pool);
  }

  async #make(): Promise<Made> {
    const attempt = this.#unbegun.shift();
    assert(attempt !== undefined, 'a connection is made only when one has been begun');
    const made = (await this.#dial(attempt.abort.signal)) ?? { server: undefined };
    this.#attemptOf.set(made, attempt);
    return made;
  }

  /** Tries once to make a connection. It never rejects: generic-pool would try again without a pause. */
  async #dial(signal: AbortSignal): Promise<ServerConnection | undefined> {
    const pool = this.#pool;
    if (!pool.mayGrow || signal.aborted) return undefined;
    const { generation } = pool;
    try {
      const login = await dial(pool.target, this.#dialler, this.#turn++, signal, pool.bases);
      return await pool.adopt(login, generation);
    } catch (cause) {
      if (signal.aborted) return undefined;
      pool.onConnectFailed(
        cause instanceof PoolerError
          ? cause
          : new PoolerError('a server connection could not be made', { sqlstate: '08006', cause }),
      );
      return undefined;
    }
  }

  #made(made: Made): void {
    const attempt = this.#attemptOf.get(made);
    assert(attempt !== undefined, 'what has been made was begun');
    if (!this.#attempts.has(attempt)) {
      // It was given up when it had just been made.
      if (made instanceof ServerConnection) made.close();
      this.destroy(made);
    } else if (!(made instanceof ServerConnection)) {
      // Its place is free for others until it is time for the next attempt.
      this.#end(attempt);
      this.destroy(made);
    } else if (made.state.kind === 'closed') {
      // It ended while it was handed over.
      this.#end(attempt);
      this.destroy(made);
      this.#pool.onMadeInVain();
    } else {
      this.#attempts.delete(attempt);
      this.#failure = undefined;
      this.#pool.onMade(made);
    }
  }
}
