// A client that replicates has a server to itself, from its login to its end: what either says goes to the other as it is.

import type { Peer } from '../net/index.js';
import type { OwnServer } from '../pool/index.js';
import { authenticationOk, parameterStatus } from '../wire/index.js';

export class Replication {
  readonly #client: Peer;
  readonly #server: OwnServer;

  /** @param onEnd the server is gone; called once, unless `end` was */
  constructor(client: Peer, server: OwnServer, onEnd: (reason: string) => void) {
    this.#client = client;
    this.#server = server;
    const { peer, rest } = server.login;
    peer.handler = {
      onData: (bytes, start, end) => client.write(bytes, start, end),
      onPressure: () => client.pause(),
      onRelief: () => client.resume(),
      onClose: (error) => {
        server.release();
        onEnd(error === undefined ? 'the server ended the connection' : `server connection lost: ${error.message}`);
      },
    };
    if (rest.length > 0) client.writeOwned(rest);
  }

  send(bytes: Buffer, start: number, end: number): void {
    this.#server.login.peer.write(bytes, start, end);
  }

  /** The client does not take what it is sent. */
  hold(): void {
    this.#server.login.peer.pause();
  }

  goOn(): void {
    if (!this.#client.pressured) this.#server.login.peer.resume();
  }

  cancel(): Promise<void> {
    return this.#server.cancel();
  }

  /** The client is gone; what it has said last still arrives. */
  end(): void {
    this.#server.login.peer.end();
  }
}

/** AuthenticationOk and what the server has reported at its login. */
export function replicationWelcome({ login }: OwnServer): Buffer {
  const frames = [authenticationOk()];
  for (const [name, value] of login.parameters) frames.push(parameterStatus(name, value));
  return Buffer.concat(frames);
}
