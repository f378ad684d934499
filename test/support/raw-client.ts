// A small promise-based PostgreSQL frontend over a plain socket, for what drivers hide: single messages, broken ones, slow reading.

import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { serialize } from 'pg-protocol/dist/index.js';

/** Builders of frontend messages, by pg-protocol: `raw.write(say.query('select 1'))`. */
export const say = serialize;

export interface RawMessage {
  /** The tag as a character: `Z` is ReadyForQuery. */
  readonly tag: string;
  /** Empty for a body longer than `keptBodyBytesMax`. */
  readonly body: Buffer;
  readonly bodyBytes: number;
  /** SHA-256 in hex of a body that was not kept. */
  readonly sha256: string | undefined;
}

/** Fields of an ErrorResponse or NoticeResponse by PostgreSQL's letters: S severity, C SQLSTATE, M message, D detail, H hint. */
export type Fields = Readonly<Record<string, string>>;

export interface Reply {
  /** Texts of all rows, of all statements. */
  readonly rows: (string | null)[][];
  readonly commands: string[];
  readonly errors: Fields[];
  readonly notices: Fields[];
  /** Tags in the order they came. */
  readonly tags: string;
  /** Of the ReadyForQuery: `I`, `T` or `E`. */
  readonly status: string;
}

export interface RawLogin {
  readonly user?: string;
  readonly database?: string;
  /** Minor version of protocol 3. */
  readonly minor?: number;
  readonly parameters?: Readonly<Record<string, string>>;
}

interface Place {
  readonly host: string;
  readonly port: number;
}

const headerBytes = 5;
const keptBodyBytesMax = 16 * 1024 * 1024;
const none: Buffer = Buffer.alloc(0);

/** The body of the message being read. */
interface Partial {
  readonly tag: string;
  readonly bodyBytes: number;
  readonly parts: Buffer[];
  readonly hash: Hash | undefined;
  missing: number;
}

export class RawClient {
  readonly socket: net.Socket;
  readonly parameters = new Map<string, string>();
  cancelPid = 0;
  cancelSecret: Buffer = none;
  /** Resolves when the connection is over, however it ends. */
  readonly closed: Promise<void>;
  bytesRead = 0;
  /** Every message that has come and was not taken by `next`. */
  readonly #messages: RawMessage[] = [];
  #header: Buffer = none;
  #partial: Partial | undefined;
  #waiting: (() => void) | undefined;
  #over = false;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => this.#read(bytes));
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#over = true;
        this.#waiting?.();
        resolve();
      });
    });
  }

  /** Connected, nothing said yet. */
  static async open({ host, port }: Place): Promise<RawClient> {
    const socket = net.connect({ host, port });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** Logged in without a password. @throws when the server refuses: its message, with `code` */
  static async connect(place: Place, login: RawLogin = {}): Promise<RawClient> {
    const client = await RawClient.open(place);
    await client.logIn(login);
    return client;
  }

  async logIn(login: RawLogin = {}): Promise<void> {
    this.write(startup(login));
    const reply = await this.reply();
    const [refusal] = reply.errors;
    if (refusal !== undefined) throw refused(refusal);
  }

  get over(): boolean {
    return this.#over;
  }

  /** Messages that have come and nobody has taken. */
  get untaken(): number {
    return this.#messages.length;
  }

  write(...messages: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(messages));
  }

  /** Writes and waits until the kernel has taken it. @throws when the connection is over */
  async push(bytes: Buffer): Promise<void> {
    if (this.#over) throw new Error('the connection is over');
    if (this.socket.write(bytes)) return;
    await Promise.race([once(this.socket, 'drain'), this.closed]);
    if (this.#over) throw new Error('the connection is over');
  }

  /** @throws when the connection ends first */
  async next(): Promise<RawMessage> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (this.#over) throw new Error('the connection is over');
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
      this.#waiting = undefined;
    }
  }

  /** Everything up to and with the first message of that tag. */
  async until(tag: string): Promise<RawMessage[]> {
    const messages: RawMessage[] = [];
    for (;;) {
      const message = await this.next();
      messages.push(message);
      if (message.tag === tag) return messages;
    }
  }

  /** Everything up to ReadyForQuery, or to the end of the connection after an error. */
  async reply(): Promise<Reply> {
    const reply = { rows: [], commands: [], errors: [], notices: [], tags: '', status: '' } as {
      -readonly [K in keyof Reply]: Reply[K];
    };
    for (;;) {
      const message = await this.next().catch((error: unknown) => {
        if (reply.errors.length === 0) throw error;
        return undefined;
      });
      if (message === undefined) return reply;
      const { tag, body } = message;
      reply.tags += tag;
      if (tag === 'D') reply.rows.push(readRow(body));
      else if (tag === 'C') reply.commands.push(textAt(body, 0));
      else if (tag === 'E') reply.errors.push(readFields(body));
      else if (tag === 'N') reply.notices.push(readFields(body));
      else if (tag === 'S') this.#setParameter(body);
      else if (tag === 'K') this.#setKey(body);
      else if (tag === 'Z') {
        reply.status = body.toString('latin1');
        return reply;
      }
    }
  }

  /** One simple Query. */
  query(sql: string): Promise<Reply> {
    this.write(say.query(sql));
    return this.reply();
  }

  /** One unnamed statement by the extended protocol, with text parameters. */
  execute(sql: string, values: readonly (string | null)[] = []): Promise<Reply> {
    this.write(...extended(sql, values), say.sync());
    return this.reply();
  }

  /** The first cell of the only row. @throws on an error or any other number of rows */
  async value(sql: string): Promise<string | null> {
    const { rows, errors } = await this.query(sql);
    if (errors[0] !== undefined) throw refused(errors[0]);
    if (rows.length !== 1 || rows[0] === undefined) throw new Error(`${rows.length} rows for ${sql}`);
    return rows[0][0] ?? null;
  }

  /** The error the other side ends the connection with. @throws when there is none */
  async fatal(): Promise<Fields> {
    for (;;) {
      const message = await this.next();
      if (message.tag !== 'E') continue;
      const fields = readFields(message.body);
      await this.closed;
      return fields;
    }
  }

  /** Asks to cancel what this client runs; resolves when the other side has dealt with it. */
  cancel(place: Place): Promise<void> {
    return sendCancelRequest(place, this.cancelPid, this.cancelSecret);
  }

  /** What was read so far was no message, as the answer to SSLRequest is not: it is forgotten. */
  expectFrames(): void {
    this.#header = none;
    this.#partial = undefined;
    this.#messages.length = 0;
  }

  /** Says goodbye. */
  async end(): Promise<void> {
    if (!this.#over) this.socket.end(say.end());
    await this.closed;
  }

  /** Leaves without a word. */
  async vanish(): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }

  #setParameter(body: Buffer): void {
    const name = textAt(body, 0);
    this.parameters.set(name, textAt(body, Buffer.byteLength(name) + 1));
  }

  #setKey(body: Buffer): void {
    this.cancelPid = body.readInt32BE(0);
    this.cancelSecret = Buffer.from(body.subarray(4));
  }

  #read(bytes: Buffer): void {
    this.bytesRead += bytes.length;
    let position = 0;
    while (position < bytes.length) {
      if (this.#partial === undefined) {
        const taken = Math.min(headerBytes - this.#header.length, bytes.length - position);
        this.#header = Buffer.concat([this.#header, bytes.subarray(position, position + taken)]);
        position += taken;
        if (this.#header.length < headerBytes) return;
        this.#begin();
      }
      const partial = this.#partial;
      if (partial === undefined) continue;
      const part = bytes.subarray(position, position + partial.missing);
      position += part.length;
      partial.missing -= part.length;
      if (partial.hash === undefined) partial.parts.push(Buffer.from(part));
      else partial.hash.update(part);
      if (partial.missing === 0) this.#finish(partial);
    }
  }

  #begin(): void {
    const tag = String.fromCharCode(this.#header[0] as number);
    const bodyBytes = this.#header.readUInt32BE(1) - 4;
    this.#header = none;
    const hash = bodyBytes > keptBodyBytesMax ? createHash('sha256') : undefined;
    this.#partial = { tag, bodyBytes, parts: [], hash, missing: bodyBytes };
    if (bodyBytes === 0) this.#finish(this.#partial);
  }

  #finish({ tag, bodyBytes, parts, hash }: Partial): void {
    this.#partial = undefined;
    this.#messages.push({ tag, bodyBytes, body: Buffer.concat(parts), sha256: hash?.digest('hex') });
    this.#waiting?.();
  }
}

/** Parse, Bind, Describe and Execute of the unnamed statement, without a Sync. */
export function extended(sql: string, values: readonly (string | null)[] = []): Buffer[] {
  return [say.parse({ text: sql }), say.bind({ values: [...values] }), say.describe({ type: 'P' }), say.execute()];
}

export function startup({
  user = 'postgres',
  database = 'postgres',
  minor = 0,
  parameters = {},
}: RawLogin = {}): Buffer {
  const pairs = Object.entries({ user, database, ...parameters });
  const body = Buffer.from(`${pairs.map(([name, value]) => `${name}\0${value}\0`).join('')}\0`);
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeInt32BE((3 << 16) | minor, 4);
  return Buffer.concat([head, body]);
}

/** A message with any tag and any body. */
export function frame(tag: string, body: Buffer = none, length = body.length + 4): Buffer {
  const head = Buffer.alloc(headerBytes);
  head.write(tag, 0, 'latin1');
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, body]);
}

const cancelRequestCode = 80_877_102;

/** On a connection of its own; resolves when the other side has closed it. */
export async function sendCancelRequest(place: Place, pid: number, secret: Buffer): Promise<void> {
  const client = await RawClient.open(place);
  const head = Buffer.alloc(12);
  head.writeInt32BE(12 + secret.length, 0);
  head.writeInt32BE(cancelRequestCode, 4);
  head.writeInt32BE(pid, 8);
  client.write(head, secret);
  await client.closed;
}

export function readFields(body: Buffer): Fields {
  const fields: Record<string, string> = {};
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const end = body.indexOf(0, at);
    fields[String.fromCharCode(body[at] as number)] = body.toString('utf8', at + 1, end);
    at = end + 1;
  }
  return fields;
}

function readRow(body: Buffer): (string | null)[] {
  const count = body.length < 2 ? 0 : body.readInt16BE(0);
  const row: (string | null)[] = [];
  let at = 2;
  for (let column = 0; column < count; column++) {
    const length = body.readInt32BE(at);
    at += 4;
    row.push(length < 0 ? null : body.toString('utf8', at, at + length));
    if (length > 0) at += length;
  }
  return row;
}

function textAt(body: Buffer, start: number): string {
  return body.toString('utf8', start, body.indexOf(0, start));
}

function refused(fields: Fields): Error & { code: string } {
  return Object.assign(new Error(fields['M'] ?? 'refused without a message'), { code: fields['C'] ?? '', fields });
}
