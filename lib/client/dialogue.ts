// The conversation with a client before its login: packets without tags, the TLS handshake, password messages.

import { FrameInbox, loginFrameBytesMax, type Peer, type PeerHandler } from '../net/index.js';
import { type ClientTls, isDirectTls, type PeerIdentity, type TlsOpening } from '../tls/index.js';
import { PoolerError } from '../util/index.js';
import { Frontend, headerBytes, parseStartupPacket, type StartupPacket, startupPacketLength } from '../wire/index.js';

/** What the TLS handshake told. */
export interface TlsFacts {
  /** Protocol and cipher, as SHOW CLIENTS shows them. */
  readonly description: string;
  readonly peer: PeerIdentity | undefined;
}

/** What may come when weir has asked for a proof. */
const answers: ReadonlySet<number> = new Set([Frontend.Password, Frontend.Terminate]);

type Waiter = { resolve(): void; reject(error: PoolerError): void };

export class ClientGone extends PoolerError {}

/** What has come is no packet of PostgreSQL's: whoever sent it would not understand an answer, and gets none. */
export class NoPacket extends PoolerError {}

export class Dialogue implements PeerHandler {
  readonly #peer: Peer;
  readonly #onGone: () => void;
  #unread: Buffer = Buffer.alloc(0);
  #waiter: Waiter | undefined;
  #error: PoolerError | undefined;
  #inbox: FrameInbox | undefined;
  #tls: TlsFacts | undefined;

  /** @param onGone called when the client has closed the connection */
  constructor(peer: Peer, onGone: () => void) {
    this.#peer = peer;
    this.#onGone = onGone;
  }

  get tls(): TlsFacts | undefined {
    return this.#tls;
  }

  /** Ends every wait with this error. */
  fail(error: PoolerError): void {
    this.#error ??= error;
    this.#waiter?.reject(this.#error);
    this.#waiter = undefined;
    this.#inbox?.fail(this.#error);
  }

  onData(bytes: Buffer, start: number, end: number): void {
    const copy = Buffer.from(bytes.subarray(start, end));
    if (this.#inbox !== undefined) {
      this.#inbox.push(copy);
      return;
    }
    this.#unread = Buffer.concat([this.#unread, copy]);
    if (this.#unread.length > loginFrameBytesMax) {
      this.fail(
        new PoolerError('bad packet', { sqlstate: '08P01', detail: 'More bytes than a startup packet may have.' }),
      );
      this.#peer.pause();
    }
    this.#wake();
  }

  onPressure(): void {}
  onRelief(): void {}

  onClose(error: Error | undefined): void {
    this.fail(new ClientGone('client closed the connection during login', { sqlstate: '08006', cause: error }));
    this.#onGone();
  }

  #wake(): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.resolve();
  }

  #moreBytes(): Promise<void> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  /**
   * The next packet without a tag; a direct TLS opening is taken on the way.
   * @throws PoolerError, ClientGone
   */
  async packet(tls: ClientTls | undefined): Promise<StartupPacket> {
    for (;;) {
      const first = this.#unread[0];
      if (first !== undefined && this.#tls === undefined && isDirectTls(first)) {
        if (tls === undefined) {
          throw new PoolerError('SSL is not enabled', {
            sqlstate: '08P01',
            hint: 'Set client_tls_sslmode, or connect with sslmode=disable.',
          });
        }
        const unread = this.#unread;
        this.#unread = Buffer.alloc(0);
        await this.#startTls(tls, 'direct', unread);
        continue;
      }
      const length = startupPacketLength(this.#unread, 0, this.#unread.length);
      if (length === -1) {
        throw new NoPacket('bad packet', {
          sqlstate: '08P01',
          detail: 'The length of the first packet is not one of PostgreSQL.',
        });
      }
      if (length !== undefined && this.#unread.length >= length) {
        const packet = parseStartupPacket(this.#unread, 0, length);
        this.#unread = this.#unread.subarray(length);
        return packet;
      }
      await this.#moreBytes();
    }
  }

  /** After a request that must be answered before the client goes on: what came with it was put there by someone else. */
  refuseUnread(request: 'SSL' | 'GSSAPI encryption'): void {
    if (this.#unread.length > 0) {
      throw new PoolerError(`received unencrypted data after ${request} request`, {
        sqlstate: '08P01',
        hint: 'A client does not send before the answer: somebody may be between you and the pooler.',
      });
    }
  }

  /** @throws PoolerError when the handshake fails, or the client is not trusted */
  async #startTls(tls: ClientTls, opening: TlsOpening, unread: Buffer | undefined): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      tls.accept(this.#peer.socketForTls(unread), opening, (outcome) => {
        if (outcome.kind === 'failed') {
          reject(outcome.error);
          return;
        }
        this.#peer.adoptTls(outcome.socket);
        const cipher = outcome.socket.getCipher();
        const peer = outcome.kind === 'secure' ? outcome.peer : undefined;
        this.#tls = { description: `${outcome.socket.getProtocol() ?? 'TLS'}/${cipher.name}`, peer };
        if (outcome.kind === 'untrusted') reject(outcome.error);
        else resolve();
      });
    });
  }

  startTls(tls: ClientTls): Promise<void> {
    return this.#startTls(tls, 'negotiated', undefined);
  }

  /** From here on every message has a tag. */
  #tagged(): FrameInbox {
    if (this.#inbox === undefined) {
      this.#inbox = new FrameInbox();
      this.#inbox.push(this.#unread);
      this.#unread = Buffer.alloc(0);
      if (this.#error !== undefined) this.#inbox.fail(this.#error);
    }
    return this.#inbox;
  }

  /** The body of the next password message. @throws PoolerError when the client sends something else */
  async passwordBody(): Promise<Buffer> {
    const frame = await this.#tagged().next(answers);
    if (frame[0] === Frontend.Terminate)
      throw new ClientGone('client closed the connection during login', { sqlstate: '08006' });
    if (frame[0] !== Frontend.Password) {
      throw new PoolerError('bad packet', {
        sqlstate: '08P01',
        detail: 'Expected the answer to an authentication request.',
      });
    }
    return frame.subarray(headerBytes);
  }

  /** What the client has sent behind its login. */
  rest(): Buffer {
    return this.#tagged().rest();
  }
}
