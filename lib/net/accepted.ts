// A connection as it was accepted. Making a socket of it is dear, and Node.js makes one before anybody can say how it is to be read: here
// it is made once. What that needs is undocumented: only this file knows of it, and does with what is documented where it is not there.

import net from 'node:net';

/** What is below a socket. */
interface Handle {
  /** Not of a Unix socket. @returns an error's number */
  getpeername?: (known: { address?: string | undefined; port?: number | undefined }) => number;
  readStart: () => number;
  close: () => void;
}

interface ListeningHandle {
  /** @param error number of the error that there is in place of a connection */
  onconnection?: (error: number, accepted: Handle | undefined) => void;
}

/** Called with how much has come, and where; answers whether to read on. */
export type Receive = (length: number, buffer: Uint8Array) => boolean;

export class Accepted {
  readonly #handle: Handle | undefined;
  readonly #socket: net.Socket | undefined;

  /** @param from a socket nobody has read from yet, or what is below one */
  constructor(from: net.Socket | Handle) {
    if (from instanceof net.Socket) this.#socket = from;
    else this.#handle = from;
  }

  /** Where it comes from; undefined for a Unix socket, and for one that is gone already. */
  get address(): { readonly ip: string; readonly port: number } | undefined {
    const { remoteAddress, remotePort } = this.#socket ?? {};
    const known: { address?: string | undefined; port?: number | undefined } = {
      address: remoteAddress,
      port: remotePort,
    };
    if (this.#handle !== undefined && this.#handle.getpeername?.(known) !== 0) return undefined;
    return known.address === undefined ? undefined : { ip: known.address, port: known.port ?? 0 };
  }

  /** Begins to read. @param buffer to read into, of any number of sockets */
  open(buffer: Buffer, receive: Receive): net.Socket {
    const socket = this.#socket;
    if (socket === undefined) {
      // Typed without `handle` and `onread`, both of which the constructor takes.
      const options = { handle: this.#handle, onread: { buffer, callback: receive } };
      return new net.Socket(options as unknown as net.SocketConstructorOpts).resume();
    }
    const onData = (bytes: Buffer): void => {
      if (!receive(bytes.length, bytes)) socket.pause();
    };
    return socket.on('data', onData).resume();
  }

  destroy(): void {
    this.#socket?.destroy();
    this.#handle?.close();
  }
}

/** @param server made with `pauseOnConnect`, and listening */
export function acceptFrom(server: net.Server, onAccept: (accepted: Accepted) => void): void {
  // An accept that fails is that one client's misfortune.
  server.on('error', () => {});
  server.on('connection', (socket) => onAccept(new Accepted(socket)));
  const listening = (server as unknown as { _handle: ListeningHandle | null })._handle;
  const usual = listening?.onconnection;
  if (listening === null || typeof usual !== 'function') return;
  listening.onconnection = (error, handle) => {
    if (error === 0 && typeof handle?.readStart === 'function') onAccept(new Accepted(handle));
    else usual.call(listening, error, handle);
  };
}
