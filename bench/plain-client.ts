// A PostgreSQL client that logs in, and at most says one thing: what readiness checks and the memory works need.

import { connect, type Socket } from 'node:net';

const replyBytesMax = 64 * 1024;

export interface PlainAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
}

/**
 * Connects, sends a startup packet and waits for ReadyForQuery. Only servers that ask for no password will do:
 * both poolers trust loopback, and a password exchange would measure hashing rather than an idle client.
 */
export function logIn(address: PlainAddress, msMax: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address.host, port: address.port, noDelay: true });
    socket.once('connect', () => socket.write(startupPacket(address.user, address.database)));
    untilReady(socket, 'log-in', msMax).then(resolve, reject);
  });
}

/** Of a client that is logged in; the answer is not looked at. */
export function say(socket: Socket, sql: string): void {
  const text = Buffer.from(`${sql}\0`);
  const head = Buffer.from('Q....');
  head.writeInt32BE(4 + text.length, 1);
  socket.write(Buffer.concat([head, text]));
}

/** Says it, and waits for the answer. Rejects on an error of PostgreSQL's. */
export function query(socket: Socket, sql: string, msMax: number): Promise<Socket> {
  say(socket, sql);
  return untilReady(socket, 'query', msMax);
}

function untilReady(socket: Socket, what: string, msMax: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    socket.removeAllListeners('error');
    let received: Buffer = Buffer.alloc(0);
    const fail = (why: string): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new Error(`${what} failed: ${why}`));
    };
    const timer = setTimeout(() => fail(`no ReadyForQuery within ${msMax} ms`), msMax);
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => fail('the connection was closed'));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const progress = readLogin(received);
      switch (progress.kind) {
        case 'more':
          if (received.length > replyBytesMax) fail('the reply is too long');
          return;
        case 'refused':
          fail(progress.why);
          return;
        case 'ready':
          clearTimeout(timer);
          socket.removeAllListeners();
          // Held open by its owner from here on; a reset only shows when the owner counts.
          socket.on('error', () => socket.destroy());
          socket.resume();
          resolve(socket);
          return;
        default:
          progress satisfies never;
      }
    });
  });
}

export type LoginProgress =
  | { readonly kind: 'more' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly why: string };

/** Looks at everything a server has sent since the startup packet, or since a query. */
export function readLogin(bytes: Buffer): LoginProgress {
  const tag = { authentication: 0x52, errorResponse: 0x45, readyForQuery: 0x5a };
  let at = 0;
  while (at + 5 <= bytes.length) {
    const end = at + 1 + bytes.readInt32BE(at + 1);
    if (end < at + 5) return { kind: 'refused', why: 'a message of impossible length' };
    if (end > bytes.length) return { kind: 'more' };
    const body = bytes.subarray(at + 5, end);
    switch (bytes[at]) {
      case tag.authentication:
        if (body.length < 4 || body.readInt32BE(0) !== 0) return { kind: 'refused', why: 'it asks for a password' };
        break;
      case tag.errorResponse:
        return { kind: 'refused', why: errorMessage(body) };
      case tag.readyForQuery:
        return { kind: 'ready' };
      default:
        break;
    }
    at = end;
  }
  return { kind: 'more' };
}

export function startupPacket(user: string, database: string): Buffer {
  const protocol30 = 196_608;
  const body = Buffer.from(`user\0${user}\0database\0${database}\0\0`);
  const head = Buffer.alloc(8);
  head.writeInt32BE(head.length + body.length, 0);
  head.writeInt32BE(protocol30, 4);
  return Buffer.concat([head, body]);
}

function errorMessage(body: Buffer): string {
  const fields = body.toString('utf8').split('\0');
  return fields.find((field) => field.startsWith('M'))?.slice(1) ?? 'an error without a message';
}
