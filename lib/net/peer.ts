// One socket, plain or TLS: shared read buffer, gathered writes, back-pressure, an end that lets the last words arrive.

import net from 'node:net';
import tls from 'node:tls';
import { assert } from '../util/index.js';
import type { Accepted, Receive } from './accepted.js';
import { allocate, borrow, chunkBytes, giveBack, slabShareBytesMax } from './memory.js';
import { flushSoon } from './outbox.js';

export interface PeerHandler {
  /** Bytes from the peer, valid only during the call. */
  onData(bytes: Buffer, start: number, end: number): void;
  /** More than `pressureBytes` wait to be written: what feeds this peer should pause. */
  onPressure(): void;
  /** All that waited has been written. */
  onRelief(): void;
  /** The connection is over; called once. */
  onClose(error: Error | undefined): void;
}

/** Bytes that may wait for a slow peer before its source is paused. */
export const pressureBytes = 128 * 1024;
/** Bytes gathered in one turn that are written without waiting for its end; what is joined for one write fits a chunk. */
const gatherBytesMax = chunkBytes;
/** How long the last words to a peer that does not read may take. */
const lingerMs = 1_000;

const readBufferBytes = 64 * 1024;
/**
 * Full buffers read from one socket before the others have their turn. libuv itself would read 32: a huge result would hold up
 * everybody for milliseconds, again and again.
 */
const fullReadsPerTurnMax = 1;
/** All plain sockets read into this one buffer: handlers copy what they keep. */
const readBuffer = Buffer.allocUnsafeSlow(readBufferBytes);

export class Peer {
  #socket: net.Socket;
  #handler: PeerHandler;
  readonly #pending: Buffer[] = [];
  #pendingBytes = 0;
  /** Chunks that bytes among the pending, or about to be written, are in. */
  #borrowed: Buffer[] = [];
  #waiting = false;
  /** What is gathered is kept. */
  #corked = false;
  #pressured = false;
  #closed = false;
  #ending = false;
  #error: Error | undefined;
  #paused = false;
  #fullReads = 0;
  /** Has had its share of this turn: it is read from again in the next. */
  #yielding = false;
  bytesRead = 0;

  private constructor(socket: net.Socket, handler: PeerHandler) {
    this.#socket = socket;
    this.#handler = handler;
  }

  /** Takes over a connection that was accepted. */
  static accept(accepted: Accepted, handler: PeerHandler): Peer {
    return Peer.#over((receive) => accepted.open(readBuffer, receive), handler);
  }

  /** Dials a TCP address or Unix socket. `onConnect` is called when the connection is there. */
  static connect(
    address: net.TcpNetConnectOpts | net.IpcNetConnectOpts,
    handler: PeerHandler,
    onConnect: () => void,
  ): Peer {
    return Peer.#over((callback) => {
      return net.connect({ ...address, onread: { buffer: readBuffer, callback } }, onConnect);
    }, handler);
  }

  static #over(open: (receive: Receive) => net.Socket, handler: PeerHandler): Peer {
    let peer: Peer | undefined;
    const socket = open((length, buffer) => peer === undefined || peer.#receive(buffer as Buffer, length));
    peer = new Peer(socket, handler);
    peer.#listen(socket);
    return peer;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get pressured(): boolean {
    return this.#pressured;
  }

  /** The TLS socket after an upgrade. */
  get tlsSocket(): tls.TLSSocket | undefined {
    return this.#socket instanceof tls.TLSSocket ? this.#socket : undefined;
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#socket.remotePort;
  }

  get localAddress(): string | undefined {
    return this.#socket.localAddress;
  }

  get localPort(): number | undefined {
    return this.#socket.localPort;
  }

  /** Bytes written that the kernel has not taken yet. */
  get unwrittenBytes(): number {
    return this.#pendingBytes + this.#socket.writableLength;
  }

  set handler(handler: PeerHandler) {
    this.#handler = handler;
  }

  setKeepAlive(options: { readonly enabled: boolean; readonly idleSeconds: number }): void {
    if (options.enabled) this.#socket.setKeepAlive(true, options.idleSeconds * 1_000);
    this.#socket.setNoDelay(true);
  }

  /** The socket beneath, for a TLS handshake on it; bytes already read go back first. Ends with `adoptTls`. */
  socketForTls(unread: Buffer | undefined): net.Socket {
    this.flush();
    if (unread !== undefined) {
      // A flowing stream would give it to its listeners, of which there are none, before the TLS socket asks for it.
      this.#socket.pause();
      this.#socket.unshift(unread);
    }
    return this.#socket;
  }

  /** Goes on over the TLS socket that was made of the one beneath. */
  adoptTls(secured: tls.TLSSocket): void {
    const inner = this.#socket;
    this.#socket = secured;
    inner.on('error', () => secured.destroy());
    this.#listen(secured);
    secured.on('data', (bytes: Buffer) => this.#receive(bytes, bytes.length));
  }

  /** Copies the bytes: they may belong to the read buffer. */
  write(bytes: Buffer, start: number, end: number): void {
    if (this.#closed || this.#ending) return;
    const length = end - start;
    const copy = length <= chunkBytes ? this.#memory(length) : Buffer.allocUnsafeSlow(length);
    bytes.copy(copy, 0, start, end);
    this.writeOwned(copy);
  }

  /** @param length at most `chunkBytes` */
  #memory(length: number): Buffer {
    if (length <= slabShareBytesMax) return allocate(length);
    const chunk = borrow();
    this.#borrowed.push(chunk);
    return chunk.subarray(0, length);
  }

  /** Keeps `bytes` until it is written: the caller never changes it again. */
  writeOwned(bytes: Buffer): void {
    if (this.#closed || this.#ending) return;
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes > gatherBytesMax) {
      this.flush();
    } else if (!this.#waiting) {
      this.#waiting = true;
      flushSoon(this);
    }
  }

  /** Keeps what is written until `uncork`, or until more waits than a slow peer may leave unread. */
  cork(): void {
    this.flush();
    this.#corked = true;
  }

  uncork(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.flush();
  }

  /** Hands what was gathered to the socket, in one write. */
  flush(): void {
    this.#waiting = false;
    if (this.#corked && this.#pendingBytes <= pressureBytes) return;
    const pending = this.#pending;
    if (pending.length === 0 || this.#closed) return;
    const socket = this.#socket;
    if (pending.length === 1) {
      socket.write(pending[0] as Buffer, this.#whenWritten());
    } else if (this.#pendingBytes <= gatherBytesMax) {
      const copied = this.#borrowed;
      this.#borrowed = [];
      const joined = this.#memory(this.#pendingBytes);
      let offset = 0;
      for (let i = 0; i < pending.length; i++) {
        const part = pending[i] as Buffer;
        part.copy(joined, offset);
        offset += part.length;
      }
      giveBack(copied);
      socket.write(joined, this.#whenWritten());
    } else {
      socket.cork();
      for (let i = 0; i < pending.length - 1; i++) socket.write(pending[i] as Buffer);
      socket.write(pending[pending.length - 1] as Buffer, this.#whenWritten());
      socket.uncork();
    }
    pending.length = 0;
    this.#pendingBytes = 0;
    if (!this.#pressured && socket.writableLength > pressureBytes) {
      this.#pressured = true;
      this.#handler.onPressure();
    }
  }

  /** For the last of what is written now: the chunks are free when the kernel has it. One that failed may still be read from, and keeps them. */
  #whenWritten(): ((error?: Error | null) => void) | undefined {
    const written = this.#borrowed;
    if (written.length === 0) return undefined;
    this.#borrowed = [];
    return (error) => {
      if (error === undefined || error === null) giveBack(written);
    };
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#closed && !this.#yielding) this.#socket.resume();
  }

  /** Writes what is gathered and says goodbye; reads on for a moment, so that closing does not destroy the last words. */
  end(): void {
    if (this.#closed || this.#ending) return;
    this.#corked = false;
    this.flush();
    this.#ending = true;
    this.#socket.end();
    this.#socket.resume();
    setTimeout(() => this.#socket.destroy(), lingerMs).unref();
  }

  /** The peer has said goodbye and listens no more: closes at once, unless something waits to be written. */
  leave(): void {
    this.#corked = false;
    this.flush();
    if (this.#closed || this.#ending) return;
    // Over TLS there are words about the end.
    if (this.tlsSocket !== undefined || this.unwrittenBytes > 0) {
      this.end();
      return;
    }
    this.#ending = true;
    this.#socket.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #listen(socket: net.Socket): void {
    socket.on('error', (error: Error) => {
      this.#error ??= error;
    });
    socket.on('end', () => {
      if (socket === this.#socket) socket.destroySoon();
    });
    socket.on('drain', () => {
      if (socket !== this.#socket || !this.#pressured) return;
      this.#pressured = false;
      this.#handler.onRelief();
    });
    socket.on('close', () => {
      if (socket !== this.#socket || this.#closed) return;
      this.#closed = true;
      this.#pending.length = 0;
      this.#pendingBytes = 0;
      this.#handler.onClose(this.#error);
    });
  }

  /** @returns whether to read on at once */
  #receive(bytes: Buffer, length: number): boolean {
    if (this.#ending || this.#closed) return true;
    assert(length >= 0, 'a read has a length');
    this.bytesRead += length;
    this.#handler.onData(bytes, 0, length);
    if (length < readBufferBytes) {
      this.#fullReads = 0;
      return true;
    }
    this.#fullReads++;
    if (this.#fullReads < fullReadsPerTurnMax || this.#paused || this.#ending) return true;
    this.#fullReads = 0;
    this.#yielding = true;
    setImmediate(() => {
      this.#yielding = false;
      if (!this.#paused && !this.#closed) this.#socket.resume();
    });
    return false;
  }
}
