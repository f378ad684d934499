// A real pool under a fake clock, in front of fake servers, with clients that keep a diary.

import type { Test } from 'tap';
import { ScramKeyCache } from '../../lib/auth/index.js';
import { defaultConfig, newDatabase, type PoolSettings, resolvePool } from '../../lib/config/index.js';
import {
  LocalPlaces,
  type PlaceUse,
  Pool,
  type PoolClient,
  type PoolEvents,
  type PoolPolicy,
  type PoolTicket,
} from '../../lib/pool/index.js';
import { ClientChannel, type ClientHost, newTraffic, type ServerChannel } from '../../lib/relay/index.js';
import { Resolver, type ServerConnection, type ServerTarget } from '../../lib/server/index.js';
import { ClientStatements, Effect, type Footprint, footprint, opaque, Settings } from '../../lib/session/index.js';
import { assert, PoolerError } from '../../lib/util/index.js';
import { FakeClock } from './fake-clock.js';
import { FakeServer } from './fake-server.js';
import { backendTexts } from './message-texts.js';
import { Pipe, rigLimits } from './relay-rig.js';
import { stretched } from './stretch.js';

const withinMs = 5_000;

/** Lets sockets do their work until it is so; time for the pool stands still meanwhile. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const begin = performance.now();
  while (!isSo()) {
    if (performance.now() - begin > withinMs && performance.now() - begin > stretched(withinMs))
      throw new Error(`it never came that ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Lets sockets do what they are about to do: for what must not happen. */
export async function aWhile(): Promise<void> {
  const deadline = performance.now() + 30;
  while (performance.now() < deadline) await new Promise((resolve) => setImmediate(resolve));
}

/** All the client has asked for has been answered, and something has come since it last read. */
export const answered = (client: TestClient) => (): boolean =>
  client.received.length > 0 && client.server === undefined && client.ticket === undefined;

export class TestClient implements PoolClient, ClientHost {
  readonly kind = 'client';
  readonly party = { user: '', weight: 1 };
  readonly name: string;
  readonly channel: ClientChannel;
  readonly received = new Pipe();
  readonly #pool: Pool;
  readonly #diary: string[];
  server: ServerConnection | undefined;
  ticket: PoolTicket | undefined;
  error: PoolerError | undefined;
  #held: Buffer = Buffer.alloc(0);

  constructor(pool: Pool, name: string, diary: string[], settings: Settings) {
    this.#pool = pool;
    this.name = name;
    this.#diary = diary;
    this.channel = new ClientChannel({
      toClient: this.received,
      host: this,
      limits: rigLimits,
      registry: pool.registry,
      traffic: newTraffic(),
      statements: new ClientStatements(pool.registry),
      settings,
      transparent: false,
    });
  }

  say(...frames: Buffer[]): void {
    this.#feed(Buffer.concat([this.#held, ...frames]));
  }

  read(): string[] {
    this.received.take(Number.POSITIVE_INFINITY);
    return backendTexts(this.received.takeLog());
  }

  #feed(bytes: Buffer): void {
    this.#held = Buffer.alloc(0);
    const taken = this.channel.feed(bytes, 0, bytes.length);
    this.#held = Buffer.from(bytes.subarray(taken));
  }

  lease(): ServerChannel | undefined {
    if (this.ticket !== undefined || this.error !== undefined) return undefined;
    const answer = this.#pool.lease(this);
    if (answer instanceof PoolerError) {
      this.error = answer;
      this.#diary.push(`${this.name} refused`);
      return undefined;
    }
    if ('left' in answer) {
      this.ticket = answer;
      return undefined;
    }
    this.server = answer;
    this.#diary.push(`${this.name} at once`);
    return answer.channel;
  }

  leaseFree(): void {
    const server = this.#pool.leaseFree(this);
    if (server !== undefined) this.server = server;
  }

  goOn(): void {}

  onLease(server: ServerConnection): void {
    assert(this.ticket !== undefined && this.server === undefined, 'who is served was waiting');
    this.ticket = undefined;
    this.server = server;
    this.#diary.push(`${this.name} served`);
    this.#feed(this.#held);
  }

  onWaitFailed(error: PoolerError): void {
    this.ticket = undefined;
    this.error = error;
    this.#diary.push(`${this.name} failed`);
  }

  keepSettings(): void {}

  onWaitNotice(seconds: number): void {
    this.#diary.push(`${this.name} told after ${seconds} s`);
  }

  onTimedOut(error: PoolerError): void {
    this.error = error;
    this.#diary.push(`${this.name} timed out`);
    this.leave();
  }

  onServerPressure(): void {}
  onServerRead(): void {}

  onServerLost(error: PoolerError, told: boolean): void {
    this.server = undefined;
    this.error = error;
    this.#diary.push(`${this.name} lost its server${told ? ', told' : ''}`);
  }

  onBatchEnd(): void {
    const { server } = this;
    if (server === undefined || !server.channel.quiet || this.channel.midFrame) return;
    this.server = undefined;
    this.#pool.release(server);
  }

  /** Gone, in the middle of whatever it does. */
  leave(): void {
    const { server } = this;
    this.server = undefined;
    if (this.ticket !== undefined) this.#pool.leaveQueue(this.ticket);
    if (server !== undefined) this.#pool.abandon(server);
    this.channel.close();
  }

  readonly unread = opaque;

  inspect(bytes: Buffer, start: number, end: number): Footprint {
    const text = bytes.toString('latin1', start, end);
    return footprint({
      effects: (/leak /.test(text) ? Effect.Unknown : 0) | (/load/.test(text) ? Effect.Indelible : 0),
    });
  }

  onTerminate(): void {}

  onViolation(): void {
    throw new Error('a test client breaks the protocol');
  }
}

/** A rig and a server for it, which both end with the test. */
export async function startRig(t: Test): Promise<{ server: FakeServer; rig: PoolRig }> {
  const server = await FakeServer.start(t);
  const rig = new PoolRig();
  t.teardown(() => rig.end());
  return { server, rig };
}

export class PoolRig {
  readonly clock = new FakeClock();
  readonly budget = new LocalPlaces();
  readonly pools: Pool[] = [];
  readonly diary: string[] = [];
  readonly warnings: string[] = [];
  readonly closed: (PoolerError | undefined)[] = [];
  #lastId = 0;
  readonly #resolver = new Resolver(this.clock, 0);

  readonly #events: PoolEvents = {
    serverConnected: () => {},
    serverClosed: (_pool, _server, error) => this.closed.push(error),
    connectFailed: (_pool, error) => this.diary.push(`connect failed: ${error.message}`),
    leak: () => {},
    settingsAltered: () => {},
    serverError: () => {},
  };

  pool(
    server: FakeServer,
    settings: Partial<PoolSettings> = {},
    policy: Partial<PoolPolicy> = {},
    name: { readonly database?: string; readonly user?: string; readonly use?: PlaceUse } = {},
  ): Pool {
    const { database = 'd', user = 'u', use } = name;
    const base = defaultConfig();
    const config = {
      ...base,
      databases: new Map([[database, newDatabase(database, [{ kind: 'tcp', host: '127.0.0.1', port: server.port }])]]),
    };
    const resolved = resolvePool(config, database, user);
    assert(resolved !== undefined, 'the database is there');
    const all: PoolSettings = { ...resolved, pool_size: 2, query_wait_timeout: 0, ...settings };
    const target: ServerTarget = {
      dbname: database,
      user,
      hosts: all.database.hosts,
      roundRobin: false,
      sessionAttrs: 'any',
      credential: () => ({ kind: 'none' }),
      credentialSource: () => 'nowhere',
      tls: undefined,
      keyCache: new ScramKeyCache({ secret: Buffer.alloc(32) }),
      parameters: [],
      connectQuery: undefined,
      tracked: false,
      connectTimeoutMs: 0,
      keepAlive: { enabled: false, idleSeconds: 0 },
    };
    const pool = new Pool(
      database,
      user,
      all,
      {
        serverIdleMs: 0,
        serverCheckDelayMs: 30_000,
        serverCheckQuery: '',
        serverLoginRetryMs: 15_000,
        serverConnectMs: 15_000,
        serverResetQuery: 'DISCARD ALL',
        serverResetQueryAlways: false,
        serverRoundRobin: false,
        serverFastClose: false,
        queryWaitNotifyMs: 0,
        refusesEarly: true,
        statementsMax: 10,
        cancelWaitMs: 0,
        laneStallMs: 20,
        laneReplyBytesMax: 16_384,
        lane: { depthMax: 8, busyMs: 1 },
        readsCatalog: false,
        laneViews: false,
        ...policy,
      },
      target,
      {
        clock: this.clock,
        places: this.budget,
        use,
        dialler: {
          resolver: this.#resolver,
          warn: (text, error) => this.warnings.push(`${text}: ${error instanceof Error ? error.message : error}`),
        },
        events: this.#events,
        nextId: () => ++this.#lastId,
      },
    );
    this.pools.push(pool);
    return pool;
  }

  client(pool: Pool, name: string): TestClient {
    return new TestClient(pool, name, this.diary, pool.welcome?.settings ?? Settings.empty);
  }

  /** Time passes, and the sweep comes once. */
  pass(ms: number): void {
    this.clock.advance(ms);
    for (const pool of this.pools) pool.sweep();
  }

  takeDiary(): string[] {
    return this.diary.splice(0);
  }

  end(): void {
    for (const pool of this.pools) {
      pool.close();
      pool.kill(new PoolerError('the test is over', { sqlstate: '57P01' }));
    }
  }
}
