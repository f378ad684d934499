// Clients inside weir: what they all have in common, and the one that runs a single look-up with none of any client's settings.

import type { Party, Pool, PoolClient, PoolTicket } from '../pool/index.js';
import { ClientChannel, type ClientHost, newTraffic, type Port, type ServerChannel } from '../relay/index.js';
import type { ServerConnection } from '../server/index.js';
import { ClientStatements, type Footprint, Settings, unseen } from '../session/index.js';
import { assert, PoolerError } from '../util/index.js';
import { decodeBackendFrames, type ErrorFields, ownParameterisedQuery } from '../wire/index.js';

/** Bytes of an answer where no other limit is given. */
const answerBytesMax = 1024 * 1024;

export type Row = readonly (string | null)[];

/**
 * Runs one statement with text parameters; answers its rows as text.
 * @param footprint what the statement leaves behind
 * @param bytesMax of the answer; a longer one is an error
 * @throws PoolerError
 */
export function lookUp(
  pool: Pool,
  sql: string,
  values: readonly string[],
  footprint: Footprint = unseen,
  bytesMax = answerBytesMax,
): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    new LookUp(pool, footprint, bytesMax, resolve, reject).run(ownParameterisedQuery(sql, values));
  });
}

/** All of weir's own together. */
const ownParty: Party = { user: '', weight: 1 };

/** One message at a time on a server of the pool, which begins with the settings of its login. */
export abstract class InternalClient implements PoolClient, ClientHost, Port {
  readonly kind = 'internal';
  readonly party = ownParty;
  readonly channel: ClientChannel;
  protected readonly pool: Pool;
  protected server: ServerConnection | undefined;
  readonly #footprint: Footprint;
  readonly #answerBytesMax: number;
  #answer: Buffer[] = [];
  #answerBytes = 0;
  /** What its channel has not taken of the message; undefined where none is under way. */
  #message: Buffer | undefined;
  #ticket: PoolTicket | undefined;

  constructor(pool: Pool, footprint: Footprint, bytesMax = answerBytesMax) {
    this.pool = pool;
    this.#footprint = footprint;
    this.#answerBytesMax = bytesMax;
    this.channel = new ClientChannel({
      toClient: this,
      host: this,
      limits: {
        inspectBytesMax: answerBytesMax,
        statementBytesMax: answerBytesMax,
        statementsMax: 1,
        frameBytesMax: answerBytesMax,
        simpleProtocol: 'allowed',
        beginMode: 'immediate',
      },
      registry: pool.registry,
      traffic: newTraffic(),
      statements: new ClientStatements(pool.registry),
      settings: Settings.empty,
      transparent: false,
    });
  }

  /** The answer, the complete messages as they came. */
  protected abstract onAnswer(answer: Buffer): void;
  /** There is none; the server is gone. */
  protected abstract onFailure(error: PoolerError): void;

  /** Sends complete messages that end with what is answered by ReadyForQuery. */
  run(message: Buffer): void {
    assert(this.#message === undefined, 'an internal client sends one message at a time');
    this.#message = message;
    this.#feed(message);
  }

  #feed(bytes: Buffer): void {
    const taken = this.channel.feed(bytes, 0, bytes.length);
    if (this.#message === bytes) this.#message = bytes.subarray(taken);
  }

  protected release(): void {
    const { server } = this;
    this.server = undefined;
    if (server !== undefined) this.pool.release(server);
  }

  /** Gives up what it waits for, and its server. */
  protected drop(): void {
    this.#message = undefined;
    this.#answer = [];
    this.#answerBytes = 0;
    if (this.#ticket !== undefined) this.pool.leaveQueue(this.#ticket);
    this.#ticket = undefined;
    const { server } = this;
    this.server = undefined;
    if (server !== undefined) this.pool.abandon(server);
  }

  #fail(error: PoolerError): void {
    this.drop();
    this.onFailure(error);
  }

  leaseFree(): void {}

  goOn(): void {
    const message = this.#message;
    if (message !== undefined && message.length > 0) this.#feed(message);
  }

  lease(): ServerChannel | undefined {
    const answer = this.pool.lease(this);
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
    this.server = server;
    this.channel.settings = this.settingsOn(server);
  }

  /** The settings of the server's login, whoever had it before. */
  protected settingsOn(server: ServerConnection): Settings {
    return server.loginSettings;
  }

  onLease(server: ServerConnection): void {
    this.#ticket = undefined;
    this.#begin(server);
    this.goOn();
  }

  onWaitFailed(error: PoolerError): void {
    this.#ticket = undefined;
    this.#fail(error);
  }

  onWaitNotice(): void {}
  keepSettings(): void {}
  onServerPressure(): void {}
  onServerRead(): void {}

  onTimedOut(error: PoolerError): void {
    this.#fail(error);
  }

  onServerLost(error: PoolerError): void {
    this.server = undefined;
    this.#fail(error);
  }

  onBatchEnd(): void {
    const answer = Buffer.concat(this.#answer);
    this.#answer = [];
    this.#answerBytes = 0;
    this.#message = undefined;
    this.onAnswer(answer);
  }

  // What its channel asks

  inspect(): Footprint {
    return this.#footprint;
  }

  get unread(): Footprint {
    return this.#footprint;
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
    if (this.#answerBytes > this.#answerBytesMax) {
      this.#fail(new PoolerError('the answer to a look-up is too long', { sqlstate: '54000' }));
      return;
    }
    this.#answer.push(bytes);
  }
}

class LookUp extends InternalClient {
  readonly #resolve: (rows: Row[]) => void;
  readonly #reject: (error: PoolerError) => void;

  constructor(
    pool: Pool,
    footprint: Footprint,
    bytesMax: number,
    resolve: (rows: Row[]) => void,
    reject: (error: PoolerError) => void,
  ) {
    super(pool, footprint, bytesMax);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  protected onFailure(error: PoolerError): void {
    this.#reject(error);
  }

  protected onAnswer(answer: Buffer): void {
    this.release();
    const rows: Row[] = [];
    for (const message of decodeBackendFrames(answer)) {
      if (message.name === 'dataRow') rows.push((message as unknown as { fields: (string | null)[] }).fields);
      if (message.name === 'error') {
        this.#reject(errorOf(message));
        return;
      }
    }
    this.#resolve(rows);
  }
}

function errorOf(message: unknown): PoolerError {
  const { code, message: text } = message as { code?: string; message: string };
  return new PoolerError(text, { sqlstate: code ?? 'XX000' });
}

/** The error among the messages of an answer, if there is one. */
export function errorIn(answer: Buffer): PoolerError | undefined {
  const error = decodeBackendFrames(answer).find((message) => message.name === 'error');
  return error === undefined ? undefined : errorOf(error);
}
