// Whose values of sequences a server's session remembers, and when they are discarded, so that nobody reads another's or an older one.

import { inert, type Placed, SequenceUse, Statement } from '../session/index.js';
import { ownBoundWithin, ownQueryMessage, statementBody } from '../wire/index.js';
import { Expect, owedRepeatable } from './owed.js';
import type { ServerChannel } from './server-channel.js';

const discard = 'DISCARD SEQUENCES';
const discardBody = statementBody(Buffer.from(discard), []);

/** The answers to the messages that discard them within a client's batch. */
const owedDiscard = [
  owedRepeatable(Expect.Bound, undefined),
  owedRepeatable(Expect.Executed, { kind: 'sequences' }),
  owedRepeatable(Expect.Closed, undefined),
] as const;

/** How long the server of a client that has named nextval is lent to others only where no other can be had. */
const namedMs = 1_000;
/** The same of one whose statement may have taken a value unseen: time enough to ask for it, as drivers do after an INSERT. */
const hiddenMs = 100;

/** What one client has taken. */
export class ClientSequences {
  /** The only server whose session may have the client's newest values. */
  at: ServerSequences | undefined;

  /** The client is gone: nobody will ask for its values. */
  leave(): void {
    this.at = undefined;
  }
}

/** The statement that discards them, which its server alone holds, and for ever. */
function held(): Statement {
  const statement = Statement.own(discardBody, inert, 'constant');
  statement.text.holders++;
  return statement;
}

/** Whoever's they are, they are not the next client's. */
const several = new ClientSequences();

export class ServerSequences {
  readonly #server: ServerChannel;
  /** Who alone has run statements that may take values since they were last discarded; undefined where nobody has. */
  #owner: ClientSequences | undefined;
  /** Whether one of them was more than a read of what the catalog calls plain tables. */
  #used = false;
  #keptMs = 0;
  /** Sent within batches and not known to have run: an error before them makes the server skip them. */
  #underWay = 0;
  #statement: Statement | undefined;
  #message: Buffer | undefined;
  /** For the statement as it stands there. */
  #placed: Placed | undefined;

  constructor(server: ServerChannel) {
    this.#server = server;
    this.begun();
  }

  /** Whether it is not known yet that what was to be discarded has been: what follows in another batch has to wait. */
  get discarding(): boolean {
    return this.#underWay > 0;
  }

  /** Whether it may remember anything. */
  get remembers(): boolean {
    return this.#owner !== undefined;
  }

  /** Whether the session has the newest values of a client that is still there. */
  get isKept(): boolean {
    return this.#keptMs > 0 && this.#owner?.at === this;
  }

  /** For how long after its lease others are to leave it to that client, where they can. */
  get keptMs(): number {
    return this.isKept ? this.#keptMs : 0;
  }

  /**
   * Whether the statement could read something that is not the client's newest value.
   * @param asks whether it names currval or lastval
   */
  mustDiscard(client: ClientSequences, use: SequenceUse, asks: boolean): boolean {
    const owner = this.#owner;
    if (owner === undefined) return false;
    if (owner === client) return this.#used && client.at !== this;
    return this.#used || asks || use > SequenceUse.Tables;
  }

  /** The statement is about to run: what it may take is the client's. */
  note(client: ClientSequences, use: SequenceUse): void {
    if (use === SequenceUse.None) return;
    if (this.#owner === undefined) this.#owner = client;
    else if (this.#owner !== client) this.#owner = several;
    if (use === SequenceUse.Tables) return;
    this.#used = true;
    // What is only read is hardly ever such a view: its server is for anybody.
    if (use === SequenceUse.Hidden) this.#keptMs = Math.max(this.#keptMs, hiddenMs);
    else if (use === SequenceUse.Named) this.#keptMs = namedMs;
    client.at = this;
  }

  /** A read of the client is about to be sent beside others', which PostgreSQL lets take no values. */
  beforeShared(client: ClientSequences): void {
    if (this.#used && this.#owner !== client) this.discardAlone();
  }

  /** In a batch of its own, between two of the client's whose transaction is known not to have failed. */
  discardAlone(): void {
    this.forgotten();
    this.#server.askForSure(ownQueryMessage(discard));
  }

  /** Within the batch of the client's statement, before it. */
  discardWithin(): void {
    const server = this.#server;
    this.forgotten();
    this.#underWay++;
    const { prefix } = server.statements;
    this.#statement ??= held();
    const placed = server.prepareConstant(this.#statement);
    if (this.#message === undefined || this.#placed !== placed) {
      this.#message = ownBoundWithin(placed.name, `${prefix}within`);
      this.#placed = placed;
    }
    for (const entry of owedDiscard) server.owe(entry);
    server.sendOwned(this.#message);
  }

  /** It has run. */
  onDiscarded(): void {
    this.#underWay--;
  }

  /** It was skipped. */
  onSkipped(): void {
    this.#underWay--;
    this.doubted();
  }

  /** The session is at its beginning, or again. */
  begun(): void {
    // What connect_query does is the operator's.
    if (this.#server.restoreQuery === undefined) this.forgotten();
    else this.doubted();
  }

  /** It remembers nothing. */
  forgotten(): void {
    this.#owner = undefined;
    this.#used = false;
    this.#keptMs = 0;
  }

  /** What the session remembers is not known. */
  doubted(): void {
    this.#owner = several;
    this.#used = true;
  }
}
