// Brings a prepared statement to one server as its client has parsed it, and finds out where PostgreSQL would refuse it by now.

import type { Placed, ServerStatements, Statement } from '../session/index.js';
import { flushMessage, TransactionStatus } from '../wire/index.js';
import type { ServerChannel } from './server-channel.js';

/**
 * PostgreSQL analyses a statement anew when its tables have changed, with the types of parameters it found at first, and refuses
 * it where the columns of its rows have become others. A server that had the statement since its client parsed it does that
 * itself. Where it has to be parsed there first, its description is asked for and compared with what the client was told.
 */
export class Preparation {
  readonly #channel: ServerChannel;
  readonly #statements: ServerStatements;
  /** What the server has to say before the client's channel goes on. */
  #awaited: Placed[] = [];
  /** It has come to something else than its client knows: what the client does with it is answered by an error. */
  #refuted: Placed | undefined;

  constructor(channel: ServerChannel, statements: ServerStatements) {
    this.#channel = channel;
    this.#statements = statements;
  }

  /** Whether the client's next message has to wait for what the server says to a Parse. */
  get waits(): boolean {
    return this.#awaited.length > 0;
  }

  /** Whether it has waited long enough. */
  endWait(): boolean {
    if (this.#awaited.length === 0) return false;
    for (const { version, skipped } of this.#awaited) if (version === undefined && !skipped) return false;
    this.#awaited = [];
    return true;
  }

  /** The client's message goes on once this is known. */
  await(placed: Placed): void {
    this.#awaited.push(placed);
  }

  /** What is known of the client's statements holds for no batch after. */
  forget(): void {
    this.#awaited = [];
    this.#refuted = undefined;
  }

  /** What the statement has come to, if it was found to have changed by what was sent for this message. */
  takeRefuted(statement: Statement): Placed | undefined {
    const refuted = this.#refuted;
    if (refuted?.statement !== statement) return undefined;
    this.#refuted = undefined;
    return refuted;
  }

  /**
   * The statement as it stands on the server for the message that follows, which may be in the same write.
   * @returns undefined where that message has to wait
   */
  ready(statement: Statement): Placed | undefined {
    const channel = this.#channel;
    const statements = this.#statements;
    // On a server that is shared a read that has gone wrong is run again.
    const { sharing } = channel;
    const placed = statements.use(statement, sharing ? 'any' : channel.batch);
    if (placed !== undefined) return placed;
    if (statement.text.upkeep !== 'analysed') return channel.sendParse(statement, 'weir');
    if (statement.version === undefined) {
      const sent = statements.sentFirst(statement);
      if (sent === undefined) return channel.sendParse(statement, 'weir');
      if (sent.by === 'client') return sent;
      this.await(sent);
      return undefined;
    }
    if (sharing) {
      const sent = statements.sentAgain(statement) ?? channel.sendParse(statement, 'weir');
      channel.relyOn(sent);
      return sent;
    }
    if (channel.status === TransactionStatus.Failed && channel.statusStays) return channel.sendParse(statement, 'weir');
    this.await(channel.sendParse(statement, 'weir'));
    channel.sendOwned(flushMessage);
    return undefined;
  }

  /** PostgreSQL has described what was parsed. */
  learned(placed: Placed, types: Buffer, columns: string): void {
    const { statement, expected } = placed;
    const version = placed.text.version(types, columns);
    this.#statements.learned(placed, version);
    if (expected === undefined) statement.version ??= version;
    else if (placed.isExpected === true) {
      if (statement.version?.key === version.key) statement.version = version;
    } else if (!this.#channel.sharing) {
      this.#refuted = placed;
      this.#channel.onRefuted(placed);
    }
  }
}
