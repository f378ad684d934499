// A client inside weir: runs weir's own look-ups on the servers of a pool, with none of any client's settings.

import type { Pool, PoolClient, Ticket } from '../pool/index.js';
import { ClientChannel, type ClientHost, newTraffic, type Port, type ServerChannel } from '../relay/index.js';
import type { ServerConnection } from '../server/index.js';
import { ClientStatements, Effect, Settings } from '../session/index.js';
import { assert, PoolerError } from '../util/index.js';
import { decodeBackendFrames, type ErrorFields, ownParameterisedQuery } from '../wire/index.js';

/** Bytes of an answer to a look-up; a longer one is an error. */
const answerBytesMax = 1024 * 1024;

export type Row = readonly (string | null)[];

/** Runs one statement with text parameters; answers its rows as text. @throws PoolerError */
export function lookUp(pool: Pool, sql: string, values: readonly string[]): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    new InternalClient(pool, resolve, reject).run(ownParameterisedQuery(sql, values));
  });
}

class InternalClient implements PoolClient, ClientHost, Port {
  readonly kind = 'internal';
  readonly channel: ClientChannel;
  readonly #pool: Pool;
  readonly #resolve: (rows: Row[]) => void;
  readonly #reject: (error: PoolerError) => void;
  readonly #answer: Buffer[] = [];
  #answerBytes = 0;
  #message: Buffer = Buffer.alloc(0);
  #server: ServerConnection | undefined;
  #ticket: Ticket<PoolClient> | undefined;
  #over = false;

  constructor(pool: Pool, resolve: (rows: Row[]) => void, reject: (error: PoolerError) => void) {
    this.#pool = pool;
    this.#resolve = resolve;
    this.#reject = reject;
    this.channel = new ClientChannel({
      toClient: this,
      host: this,
      limits: {
        inspectBytesMax: answerBytesMax,
        statementBytesMax: answerBytesMax,
        statementsMax: 1,
        frameBytesMax: answerBytesMax,
        simpleProtocol: 'allowed',
      },
      registry: pool.registry,
      traffic: newTraffic(),
      statements: new ClientStatements(pool.registry),
      settings: Settings.empty,
      transparent: false,
    });
  }

  run(message: Buffer): void {
    this.#message = message;
    this.channel.feed(message, 0, message.length);
  }

  // Its own client

  lease(): ServerChannel | undefined {
    const answer = this.#pool.lease(this);
    if (answer instanceof PoolerError) {
      queueMicrotask(() => this.#fail(answer));
      return undefined;
    }
    if ('left' in answer) {
      this.#ticket = answer;
      return undefined;
    }
    this.#begin(answer);
    return answer.channel;
  }

  #begin(server: ServerConnection): void {
    this.#server = server;
    // The settings of the server's login, whoever had it before.
    this.channel.settings = server.loginSettings;
  }

  onLease(server: ServerConnection): void {
    this.#begin(server);
    this.channel.feed(this.#message, 0, this.#message.length);
  }

  onWaitFailed(error: PoolerError): void {
    this.#fail(error);
  }

  onWaitNotice(): void {}
  onServerPressure(): void {}
  onServerRead(): void {}

  onTimedOut(error: PoolerError): void {
    this.#fail(error);
  }

  onServerLost(error: PoolerError): void {
    this.#server = undefined;
    this.#fail(error);
  }

  onBatchEnd(): void {
    const server = this.#server;
    assert(server !== undefined, 'a batch ends on the server it ran on');
    this.#server = undefined;
    this.#pool.release(server);
    this.#over = true;
    this.#resolveAnswer();
  }

  #resolveAnswer(): void {
    const rows: Row[] = [];
    for (const message of decodeBackendFrames(Buffer.concat(this.#answer))) {
      if (message.name === 'dataRow') rows.push((message as unknown as { fields: (string | null)[] }).fields);
      if (message.name === 'error') {
        const { code, message: text } = message as unknown as { code?: string; message: string };
        this.#reject(new PoolerError(text, { sqlstate: code ?? 'XX000' }));
        return;
      }
    }
    this.#resolve(rows);
  }

  #fail(error: PoolerError): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#ticket !== undefined) this.#pool.leaveQueue(this.#ticket);
    const server = this.#server;
    this.#server = undefined;
    if (server !== undefined) this.#pool.abandon(server);
    this.#reject(error);
  }

  // What the channel asks

  inspect(): number {
    // An operator's auth_query may call anything.
    return Effect.Unknown;
  }

  onTerminate(): void {}

  onViolation(error: ErrorFields): void {
    this.#fail(new PoolerError(error.message, { sqlstate: error.sqlstate }));
  }

  write(bytes: Buffer, start: number, end: number): void {
    this.writeOwned(Buffer.from(bytes.subarray(start, end)));
  }

  writeOwned(bytes: Buffer): void {
    this.#answerBytes += bytes.length;
    if (this.#answerBytes > answerBytesMax) {
      this.#fail(new PoolerError('the answer to a look-up is too long', { sqlstate: '54000' }));
      return;
    }
    this.#answer.push(bytes);
  }
}
