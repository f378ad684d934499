// A PostgreSQL on a loopback port that logs anybody in and then speaks as the model does; a test decides what goes wrong.

import net from 'node:net';
import {
  authenticationOk,
  backendKeyData,
  errorResponse,
  parameterStatus,
  parseStartupPacket,
  readyForQuery,
  startupPacketLength,
  TransactionStatus,
} from '../../lib/wire/index.js';
import { ModelServer, modelSettings } from './model-server.js';
import type { Teardown } from './temporary-directory.js';

/** What happens to who connects. */
export type LoginBehaviour = 'accept' | 'refuse' | 'hang' | 'close' | 'accept-then-nonsense';

export class FakeBackend {
  readonly pid: number;
  readonly model: ModelServer;
  readonly #socket: net.Socket;
  #held: Buffer[] | undefined;
  closed = false;
  /** What the client said, from the login on. */
  readonly #heard: Buffer[] = [];

  constructor(pid: number, socket: net.Socket) {
    this.pid = pid;
    this.#socket = socket;
    this.model = new ModelServer((bytes) => this.#say(bytes));
  }

  get heard(): string {
    return Buffer.concat(this.#heard).toString('latin1');
  }

  onData(bytes: Buffer): void {
    this.#heard.push(bytes);
    this.model.feed(bytes);
    if (this.model.dead) this.#socket.end();
  }

  #say(bytes: Buffer): void {
    if (this.#held === undefined) this.#socket.write(bytes);
    else this.#held.push(Buffer.from(bytes));
  }

  /** Keeps its replies until `release`: a slow query. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const bytes of held) this.#socket.write(bytes);
  }

  /** The query whose replies are held ends with an error instead, as after a cancel request. */
  cancel(): void {
    if (this.#held === undefined || this.#held.length === 0) return;
    this.#held = undefined;
    this.#socket.write(
      errorResponse({ severity: 'ERROR', sqlstate: '57014', message: 'canceling statement due to user request' }),
    );
    this.#socket.write(readyForQuery(this.model.status));
  }

  /** Says something it was not asked for. */
  say(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** Dies without a word. */
  kill(): void {
    this.#socket.destroy();
  }
}

export class FakeServer {
  behaviour: LoginBehaviour = 'accept';
  refusal = { sqlstate: '53300', message: 'sorry, too many clients already' };
  /** Whether a cancel request stays open until `releaseCancels`. */
  holdCancels = false;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly backends: FakeBackend[] = [];
  /** Connections that asked for a login. */
  attempts = 0;
  /** Pids that were to be cancelled. */
  readonly cancels: number[] = [];
  readonly #openCancels: net.Socket[] = [];

  private constructor(server: net.Server) {
    this.#server = server;
  }

  static async start(t: Teardown): Promise<FakeServer> {
    const server = net.createServer();
    const fake = new FakeServer(server);
    server.on('connection', (socket) => fake.#accept(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => fake.stop());
    return fake;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Connections that have logged in and not ended. */
  get live(): FakeBackend[] {
    return this.backends.filter((backend) => !backend.closed);
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  releaseCancels(): void {
    for (const socket of this.#openCancels.splice(0)) socket.end();
  }

  #accept(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    let backend: FakeBackend | undefined;
    let startup: Buffer = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      if (backend !== undefined) {
        backend.onData(bytes);
        return;
      }
      startup = Buffer.concat([startup, bytes]);
      const length = startupPacketLength(startup, 0, startup.length);
      if (length === undefined || startup.length < length) return;
      backend = this.#begin(socket, startup, length);
    });
    socket.on('close', () => {
      if (backend !== undefined) backend.closed = true;
    });
  }

  #begin(socket: net.Socket, bytes: Buffer, length: number): FakeBackend | undefined {
    const packet = parseStartupPacket(bytes, 0, length);
    if (packet.kind === 'ssl') {
      socket.end('N');
      return undefined;
    }
    if (packet.kind === 'cancel') {
      this.cancels.push(packet.pid);
      this.backends.find((backend) => backend.pid === packet.pid)?.cancel();
      if (this.holdCancels) this.#openCancels.push(socket);
      else socket.end();
      return undefined;
    }
    this.attempts++;
    switch (this.behaviour) {
      case 'refuse':
        socket.end(errorResponse({ severity: 'FATAL', ...this.refusal }));
        return undefined;
      case 'hang':
        return undefined;
      case 'close':
        socket.destroy();
        return undefined;
      case 'accept':
      case 'accept-then-nonsense': {
        const backend = new FakeBackend(this.backends.length + 1, socket);
        const frames = [authenticationOk(), backendKeyData(backend.pid, Buffer.alloc(4, backend.pid))];
        for (const [lower, name] of modelSettings.reported)
          frames.push(parameterStatus(name, modelSettings.login.get(lower) ?? ''));
        frames.push(readyForQuery(TransactionStatus.Idle));
        if (this.behaviour === 'accept-then-nonsense') frames.push(readyForQuery(TransactionStatus.Idle));
        this.backends.push(backend);
        socket.write(Buffer.concat(frames));
        return backend;
      }
      default:
        return this.behaviour satisfies never;
    }
  }
}
