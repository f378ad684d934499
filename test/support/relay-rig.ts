// Clients and servers wired through the relay without sockets: bytes lie in pipes until a test moves them, in pieces of its choice.

import {
  ClientChannel,
  type ClientChannelLimits,
  type ClientHost,
  newTraffic,
  type Port,
  ServerChannel,
  type ServerHost,
} from '../../lib/relay/index.js';
import {
  ClientStatements,
  Effect,
  type Footprint,
  footprint,
  opaque,
  ServerStatements,
  Settings,
  StatementRegistry,
} from '../../lib/session/index.js';
import { assert } from '../../lib/util/index.js';
import { type ErrorFields, queryMessage, type ServerErrorFields } from '../../lib/wire/index.js';
import { FakeClock } from './fake-clock.js';
import { backendTexts, frontendTexts, wholeFramesEnd } from './message-texts.js';
import { ModelServer, modelSettings } from './model-server.js';

/** Bytes on their way, with everything that ever went through. */
export class Pipe implements Port {
  #waiting: Buffer = Buffer.alloc(0);
  #all: Buffer[] = [];
  closed = false;

  write(bytes: Buffer, start: number, end: number): void {
    this.writeOwned(Buffer.from(bytes.subarray(start, end)));
  }

  writeOwned(bytes: Buffer): void {
    if (this.closed) return;
    this.#waiting = Buffer.concat([this.#waiting, bytes]);
    this.#all.push(Buffer.from(bytes));
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** In memory of its own, which its reader may find changed afterwards. */
  take(most: number): Buffer {
    const taken = Buffer.from(this.#waiting.subarray(0, most));
    this.#waiting = this.#waiting.subarray(most);
    return taken;
  }

  /** All since the last call. */
  takeLog(): Buffer {
    const log = Buffer.concat(this.#all);
    this.#all = [];
    return log;
  }
}

export const rigLimits: ClientChannelLimits = {
  inspectBytesMax: 4_096,
  statementBytesMax: 4_096,
  statementsMax: 20,
  frameBytesMax: 1_000_000,
  simpleProtocol: 'allowed',
  beginMode: 'immediate',
};

/** What the rig's statements may leave behind, by their text. */
function effectsOf(text: string): number {
  return /leak /.test(text) ? Effect.Unknown : Effect.None;
}

export class ServerRig implements ServerHost {
  readonly name: string;
  readonly channel: ServerChannel;
  readonly toServer = new Pipe();
  readonly fromServer = new Pipe();
  readonly model: ModelServer;
  readonly #rig: RelayRig;
  client: ClientRig | undefined;
  /** Idle ones are lent; testing ones run a reset. */
  state: 'idle' | 'active' | 'tested' | 'closed' = 'idle';
  doubts: string[] = [];
  errors: string[] = [];
  fatal: string | undefined;

  constructor(rig: RelayRig, name: string, statementsMax: number) {
    this.#rig = rig;
    this.name = name;
    this.model = new ModelServer((bytes) => this.fromServer.writeOwned(bytes), rig.modelSettings);
    this.channel = new ServerChannel({
      toServer: this.toServer,
      host: this,
      clock: rig.clock,
      traffic: rig.traffic,
      settings: rig.serverSettings,
      statements: new ServerStatements(rig.registry, statementsMax),
    });
  }

  /** Moves bytes to the model. */
  deliver(most = Number.POSITIVE_INFINITY): void {
    this.model.feed(this.toServer.take(most));
  }

  /** Moves bytes of the model to the channel, and its end behind them. */
  answer(most = Number.POSITIVE_INFINITY): void {
    if (this.state === 'closed') return;
    const bytes = this.fromServer.take(most);
    this.channel.receive(bytes, 0, bytes.length);
    bytes.fill(0xff);
    if (this.model.dead && this.fromServer.length === 0) this.close();
  }

  /** Says something itself, in one piece. */
  say(...frames: Buffer[]): void {
    const bytes = Buffer.concat(frames);
    this.channel.receive(bytes, 0, bytes.length);
  }

  /** What was written to it since the last call. */
  written(): string[] {
    return frontendTexts(this.toServer.takeLog());
  }

  lend(client: ClientRig): void {
    assert(this.state === 'idle', 'only an idle server is lent');
    this.channel.attach(client.channel);
    client.channel.server = this.channel;
    client.server = this;
    this.client = client;
    this.state = 'active';
    this.#rig.leases++;
    client.lent.push(this.name);
  }

  #takeBack(): void {
    assert(this.state === 'active' && this.client !== undefined, 'what is taken back was lent');
    this.client.channel.server = undefined;
    this.client.server = undefined;
    this.client = undefined;
    this.channel.detach();
    this.#rig.leases--;
    this.state = 'tested';
  }

  /** Ends the lease of a quiet server; resets it as a pool does. */
  release(): void {
    this.#takeBack();
    this.#clean();
  }

  /** The client left: as a pool does, what it asked is read away and its transaction rolled back, or the server goes. */
  abandon(midMessage: boolean): void {
    if (midMessage || this.channel.copyIn || !this.channel.complete) {
      this.close();
      return;
    }
    this.#takeBack();
    if (this.channel.owedCount === 0) this.#drained();
  }

  #drained(): void {
    if (this.channel.quiet) {
      this.#clean();
      return;
    }
    this.channel.ask(queryMessage('ROLLBACK'), (error) => {
      if (this.state === 'closed') return;
      if (error === undefined) this.#clean();
      else this.close();
    });
  }

  #clean(): void {
    // As a pool: what half a message will be is not known.
    if (this.channel.midMessage) {
      this.close();
      return;
    }
    if (this.channel.ladder.plan() === 'nothing') {
      this.state = 'idle';
      this.#rig.serveWaiting();
    } else {
      this.channel.ask(queryMessage('DISCARD ALL'), (error) => {
        if (this.state === 'closed') return;
        assert(error === undefined, 'a server can be reset');
        this.channel.forgetSession();
        this.state = 'idle';
        this.#rig.serveWaiting();
      });
    }
  }

  /** The connection is over. */
  close(): void {
    if (this.state === 'closed') return;
    const { client } = this;
    if (this.state === 'active') this.#rig.leases--;
    this.state = 'closed';
    this.toServer.closed = true;
    if (client !== undefined) {
      client.channel.server = undefined;
      client.server = undefined;
    }
    this.client = undefined;
    this.channel.close();
    client?.close('server lost');
    this.#rig.serverClosed(this);
  }

  onBatchEnd(): void {
    if (this.state === 'tested') this.#drained();
    else this.client?.onBatchEnd();
  }

  onError(fields: ServerErrorFields, own: boolean): void {
    this.errors.push(`${own ? 'own ' : ''}${fields.sqlstate}`);
  }

  onFatal(fields: ServerErrorFields): void {
    this.fatal = fields.sqlstate;
  }

  onLeak(): void {}
  onSettingsAltered(): void {}

  onReadRun(): void {}

  onReadEnd(): void {}

  onSharedChanged(): void {}

  onDoubt(reason: string): void {
    this.doubts.push(reason);
    this.close();
  }
}

export class ClientRig implements ClientHost {
  readonly name: string;
  readonly channel: ClientChannel;
  /** What the client has been sent. */
  readonly received = new Pipe();
  readonly #rig: RelayRig;
  server: ServerRig | undefined;
  waiting = false;
  closed: string | undefined;
  violation: ErrorFields | undefined;
  /** Names of the servers it was lent, in order. */
  readonly lent: string[] = [];
  #held: Buffer = Buffer.alloc(0);
  #unread: Buffer = Buffer.alloc(0);

  constructor(rig: RelayRig, name: string, settings: Settings, limits: ClientChannelLimits, transparent: boolean) {
    this.#rig = rig;
    this.name = name;
    this.channel = new ClientChannel({
      toClient: this.received,
      host: this,
      limits,
      registry: rig.registry,
      traffic: rig.traffic,
      statements: new ClientStatements(rig.registry),
      settings,
      transparent,
    });
  }

  /** Says something, in one piece. */
  say(...frames: Buffer[]): void {
    if (this.closed !== undefined) return;
    const bytes = Buffer.concat([this.#held, ...frames]);
    this.#held = Buffer.alloc(0);
    if (this.waiting) this.#held = bytes;
    else this.#feed(bytes);
  }

  /** The messages it was sent since the last call; one that has not ended is kept for the next. */
  read(): string[] {
    const bytes = Buffer.concat([this.#unread, this.received.takeLog()]);
    const end = wholeFramesEnd(bytes);
    this.#unread = bytes.subarray(end);
    return backendTexts(bytes.subarray(0, end));
  }

  #feed(bytes: Buffer): void {
    const scratch = Buffer.from(bytes);
    const taken = this.channel.feed(scratch, 0, scratch.length);
    if (this.closed !== undefined) return;
    if (this.waiting || taken < scratch.length) this.#held = Buffer.concat([scratch.subarray(taken), this.#held]);
    else if (this.server?.channel.quiet === true) this.onBatchEnd();
  }

  lease(): ServerChannel | undefined {
    if (this.closed !== undefined || this.waiting) return undefined;
    const server = this.#rig.idleFor(this);
    if (server === undefined) {
      this.waiting = true;
      this.#rig.waiting.push(this);
      return undefined;
    }
    server.lend(this);
    return server.channel;
  }

  leaseFree(): void {
    if (this.closed === undefined && !this.waiting && this.#rig.waiting.length === 0)
      this.#rig.idleFor(this)?.lend(this);
  }

  goOn(): void {
    if (!this.waiting && (this.#held.length > 0 || this.channel.stopped)) this.#feedHeld();
  }

  serve(server: ServerRig): void {
    this.waiting = false;
    server.lend(this);
    this.#feedHeld();
  }

  #feedHeld(): void {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    this.#feed(held);
  }

  onBatchEnd(): void {
    const { server } = this;
    if (server === undefined || !server.channel.quiet || this.channel.midFrame) return;
    if (this.#rig.keepsLeases) return;
    server.release();
    this.#rig.serveWaiting();
    if (this.#held.length > 0 && !this.waiting) this.#feedHeld();
  }

  readonly unread = opaque;

  inspect(bytes: Buffer, start: number, end: number): Footprint {
    const text = bytes.toString('latin1', start, end);
    return footprint({ effects: effectsOf(text), transaction: /^begin( |$)/.test(text) ? 'BEGIN' : undefined });
  }

  onTerminate(): void {
    this.close('terminate');
  }

  onViolation(error: ErrorFields): void {
    this.violation = error;
    this.close('violation');
  }

  /** Leaves, also in the middle of anything. */
  close(reason: string): void {
    if (this.closed !== undefined) return;
    this.closed = reason;
    this.#held = Buffer.alloc(0);
    const { server } = this;
    // As the pool does with a server whose client left: it is used again only when it is quiet.
    if (server !== undefined) {
      if (server.channel.quiet && !this.channel.midMessage) server.release();
      else server.abandon(this.channel.midMessage);
    }
    if (this.waiting) this.#rig.waiting.splice(this.#rig.waiting.indexOf(this), 1);
    this.channel.close();
    this.#rig.serveWaiting();
  }
}

export interface RelayRigOptions {
  readonly servers?: number;
  /** Statements kept on each server. */
  readonly statementsMax?: number;
  readonly limits?: Partial<ClientChannelLimits>;
  /** As with session pooling. */
  readonly transparent?: boolean;
  /** Picks one of the idle servers; the one that was idle longest unless told. */
  readonly choose?: (count: number) => number;
}

export class RelayRig {
  readonly clock = new FakeClock();
  readonly traffic = newTraffic();
  readonly registry = new StatementRegistry('weir_');
  readonly modelSettings = modelSettings;
  readonly serverSettings = new Settings(modelSettings.login);
  readonly servers: ServerRig[] = [];
  readonly clients: ClientRig[] = [];
  readonly waiting: ClientRig[] = [];
  leases = 0;
  readonly #options: RelayRigOptions;
  /** Idle ones, in the order in which they became so. */
  #made = 0;
  #turn = 0;

  constructor(options: RelayRigOptions = {}) {
    this.#options = options;
    for (let i = 0; i < (options.servers ?? 1); i++) this.addServer();
  }

  get keepsLeases(): boolean {
    return this.#options.transparent === true;
  }

  addServer(): ServerRig {
    const server = new ServerRig(this, `s${++this.#made}`, this.#options.statementsMax ?? 10);
    this.servers.push(server);
    return server;
  }

  get server(): ServerRig {
    const [server] = this.servers;
    assert(server !== undefined, 'the rig has a server');
    return server;
  }

  addClient(settings: Settings = this.serverSettings): ClientRig {
    const client = new ClientRig(
      this,
      `c${this.clients.length + 1}`,
      settings,
      { ...rigLimits, ...this.#options.limits },
      this.#options.transparent === true,
    );
    this.clients.push(client);
    return client;
  }

  /** A dead server is replaced. */
  serverClosed(server: ServerRig): void {
    this.servers.splice(this.servers.indexOf(server), 1);
    this.addServer();
    this.serveWaiting();
  }

  idleFor(client: ClientRig): ServerRig | undefined {
    if (this.waiting.length > 0 && this.waiting[0] !== client) return undefined;
    return this.#idle();
  }

  #idle(): ServerRig | undefined {
    const idle = this.servers.filter((server) => server.state === 'idle' && !server.channel.midMessage);
    if (idle.length === 0) return undefined;
    const index = this.#options.choose?.(idle.length) ?? this.#turn++ % idle.length;
    return idle[index];
  }

  serveWaiting(): void {
    for (;;) {
      const [client] = this.waiting;
      if (client === undefined) return;
      const server = this.#idle();
      if (server === undefined) return;
      this.waiting.shift();
      client.serve(server);
    }
  }

  /** Moves everything until nothing is left to move. */
  settle(): void {
    for (let busy = true; busy; ) {
      busy = false;
      for (const server of [...this.servers]) {
        if (
          server.toServer.length > 0 ||
          server.fromServer.length > 0 ||
          (server.model.dead && server.state !== 'closed')
        ) {
          busy = true;
          server.deliver();
          server.answer();
        }
      }
    }
  }
}
