// The sockets of a script: what a peer has received and not yet been asked for, and a server that logs weir in by itself.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { stretched } from '../support/index.js';
import { decodeFirstPacket, encode } from './messages.js';

const waitMsMax = 4_000;
const lengthMax = 64 * 1024 * 1024;

export class NotReceived extends Error {}

/** One end of a connection, kept as bytes until the script looks at them. */
export class Channel {
  readonly socket: net.Socket;
  #received: Buffer = Buffer.alloc(0);
  /** Bytes received so far at the end of each read, to tell what came together. */
  readonly #chunkEnds: number[] = [];
  #taken = 0;
  #ended = false;
  #wake: (() => void) | undefined;
  /** What is answered unseen as long as it comes first. */
  #unseen: { readonly beginning: Buffer; readonly answer: Buffer } | undefined;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#chunkEnds.push(this.#taken + this.#received.length);
      this.#answerUnseen();
      this.#wake?.();
    });
    // A reset is an end like any other.
    socket.on('error', () => {});
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.#ended = true;
        this.#wake?.();
      });
    }
  }

  get unread(): Buffer {
    return this.#received;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Waits until `look` answers something. @throws NotReceived */
  async #until<T>(look: () => T | undefined, what: string): Promise<T> {
    const deadline = performance.now() + stretched(waitMsMax);
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      const leftMs = deadline - performance.now();
      if (this.#ended) throw new NotReceived(`the connection has ended before ${what}`);
      if (leftMs <= 0) throw new NotReceived(`nothing came within ${waitMsMax} ms; expected ${what}`);
      await this.arrival(leftMs);
    }
  }

  /** The next event on the socket, or the time. */
  arrival(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }

  /** Messages that begin so are answered, and no script sees them, until another one comes. */
  answerUnseen(beginning: Buffer, answer: Buffer): void {
    this.#unseen = { beginning, answer };
    this.#answerUnseen();
  }

  #answerUnseen(): void {
    while (this.#unseen !== undefined) {
      const length = this.#lengthAt(1);
      if (length === undefined || this.#received.length < length + 1) return;
      const { beginning, answer } = this.#unseen;
      if (
        this.#received[0] !== beginning[0] ||
        !this.#received
          .subarray(5)
          .subarray(0, beginning.length - 1)
          .equals(beginning.subarray(1))
      ) {
        this.#unseen = undefined;
        return;
      }
      this.#take(length + 1);
      this.socket.write(answer);
    }
  }

  #take(length: number): Buffer {
    const bytes = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    this.#taken += length;
    return bytes;
  }

  bytes(length: number, what: string): Promise<Buffer> {
    return this.#until(() => (this.#received.length >= length ? this.#take(length) : undefined), what);
  }

  /** A frame with its tag, and which read its last byte came with. */
  frame(what: string): Promise<{ frame: Buffer; chunk: number }> {
    return this.#until(() => {
      const length = this.#lengthAt(1);
      if (length === undefined || this.#received.length < length + 1) return undefined;
      const frame = this.#take(length + 1);
      return { frame, chunk: this.#chunkEnds.findIndex((end) => end >= this.#taken) };
    }, what);
  }

  packet(): Promise<Buffer> {
    return this.#until(() => {
      const length = this.#lengthAt(0);
      return length === undefined || this.#received.length < length ? undefined : this.#take(length);
    }, 'a packet');
  }

  #lengthAt(position: number): number | undefined {
    if (this.#received.length < position + 4) return undefined;
    const length = this.#received.readInt32BE(position);
    if (length < 4 || length > lengthMax) throw new NotReceived(`a message of ${length} bytes`);
    return length;
  }

  /** @throws NotReceived when bytes come first, or nothing at all */
  async end(): Promise<void> {
    await this.#until(() => (this.#received.length > 0 || this.#ended ? true : undefined), 'the end').catch(() => {});
    if (this.#received.length > 0) throw new NotReceived(`before the end came ${this.#received.toString('latin1')}`);
    if (!this.#ended) throw new NotReceived(`the connection is still open after ${waitMsMax} ms`);
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** A server connection that has logged weir in. */
export interface ServerPeer {
  readonly channel: Channel;
  readonly pid: number;
  readonly secret: Buffer;
  /** `name=value` of the startup packet. */
  readonly startup: readonly string[];
}

const reported: readonly (readonly [string, string])[] = [
  ['server_version', '18.0'],
  ['server_encoding', 'UTF8'],
  ['client_encoding', 'UTF8'],
  ['DateStyle', 'ISO, MDY'],
  ['TimeZone', 'UTC'],
  ['IntervalStyle', 'postgres'],
  ['integer_datetimes', 'on'],
  ['standard_conforming_strings', 'on'],
  ['application_name', ''],
  ['session_authorization', 'alice'],
  ['is_superuser', 'off'],
];

/** What weir asks each server that has logged in: which settings its sessions begin with. The tag, then the text. */
const settingsQuestion = Buffer.from("QSELECT 'setting',", 'latin1');

/** Listens where weir looks for PostgreSQL. */
export class ScriptedServers {
  readonly #listener: net.Server;
  readonly #reports: ReadonlyMap<string, string>;
  readonly #channels = new Set<Channel>();
  readonly #servers: ServerPeer[] = [];
  readonly #cancels: { readonly pid: number; readonly secret: Buffer; readonly channel: Channel }[] = [];
  #lastPid = 1_000;

  private constructor(reports: ReadonlyMap<string, string>) {
    this.#reports = reports;
    this.#listener = net.createServer((socket) => {
      const channel = new Channel(socket);
      this.#channels.add(channel);
      this.#greet(channel).catch(() => channel.destroy());
    });
  }

  static async start(reports: ReadonlyMap<string, string>): Promise<ScriptedServers> {
    const servers = new ScriptedServers(reports);
    servers.#listener.listen(0, '127.0.0.1');
    await once(servers.#listener, 'listening');
    return servers;
  }

  get port(): number {
    return (this.#listener.address() as net.AddressInfo).port;
  }

  get all(): readonly ServerPeer[] {
    return this.#servers;
  }

  async #greet(channel: Channel): Promise<void> {
    for (;;) {
      const packet = decodeFirstPacket(await channel.packet());
      switch (packet.kind) {
        case 'ssl':
        case 'gss':
          channel.socket.write('N');
          break;
        case 'cancel':
          this.#cancels.push({ pid: packet.pid, secret: Buffer.from(packet.secret), channel });
          return;
        case 'startup':
          this.#logIn(channel, packet.parameters);
          return;
        default:
          packet satisfies never;
      }
    }
  }

  #logIn(channel: Channel, startup: readonly string[]): void {
    const server = { channel, pid: ++this.#lastPid, secret: randomBytes(4), startup };
    const parameters = new Map([...reported, ...this.#reports]);
    channel.socket.write(
      Buffer.concat([
        encode('server', 'Authentication', ['Ok']),
        ...[...parameters].map((pair) => encode('server', 'ParameterStatus', pair)),
        encode('server', 'BackendKeyData', [String(server.pid), server.secret.toString('hex')]),
        encode('server', 'ReadyForQuery', ['I']),
      ]),
    );
    const noSettings = [encode('server', 'CommandComplete', ['SELECT 0']), encode('server', 'ReadyForQuery', ['I'])];
    channel.answerUnseen(settingsQuestion, Buffer.concat(noSettings));
    this.#servers.push(server);
  }

  /** Takes the cancel request that carries the key of this server, and lets weir know that it has been dealt with. */
  takeCancel(server: ServerPeer): boolean {
    const place = this.#cancels.findIndex(({ pid, secret }) => pid === server.pid && secret.equals(server.secret));
    const [cancel] = place < 0 ? [] : this.#cancels.splice(place, 1);
    cancel?.channel.destroy();
    return cancel !== undefined;
  }

  get cancelsLeft(): number {
    return this.#cancels.length;
  }

  async stop(): Promise<void> {
    for (const channel of this.#channels) channel.destroy();
    this.#listener.close();
    await once(this.#listener, 'close');
  }
}
