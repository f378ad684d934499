// Runs the steps of one program on two sides in turn and compares what the clients see, statement by statement.

import { Peer, type Place } from './peer.js';
import type { Kind } from './pieces.js';
import { type Act, checkSql, nothingLeft, type Step, Trace } from './steps.js';

export interface Setup {
  readonly clients: number;
  /** Servers of the side under test: so many clients may hold one. */
  readonly poolSize: number;
  readonly superuser: boolean;
  readonly sequencesPin: boolean;
  /** Statements ask for values of sequences: weir then keeps the server of whoever may take one. */
  readonly sequencesAsked: boolean;
}

export interface Difference {
  readonly step: Step;
  readonly expected: readonly string[];
  readonly found: readonly string[];
}

interface Client {
  direct: Peer | undefined;
  target: Peer | undefined;
  /** May hold a server although no transaction is open, until `checkSql` shows that it cannot. */
  holds: boolean;
  holdsOn: boolean;
  tookNext: boolean;
  listens: boolean;
  notifies: boolean;
  incarnation: number;
  /** What executing a statement of that name may leave. */
  readonly names: Map<string, number>;
}

export class Run {
  readonly #setup: Setup;
  readonly #direct: Place;
  readonly #target: Place;
  readonly #withinMs: number;
  readonly #clients: Client[];
  /** Those that were carried out. */
  readonly steps: Step[] = [];
  lines = 0;
  /** The last step brought an error. */
  failed = false;

  constructor(setup: Setup, direct: Place, target: Place, withinMs: number) {
    this.#setup = setup;
    this.#direct = direct;
    this.#target = target;
    this.#withinMs = withinMs;
    this.#clients = Array.from({ length: setup.clients }, () => ({
      direct: undefined,
      target: undefined,
      holds: false,
      holdsOn: false,
      tookNext: false,
      listens: false,
      notifies: false,
      incarnation: 0,
      names: new Map(),
    }));
  }

  /** Where the client's transaction is: `I`, `T` or `E`; empty while it is not connected. */
  status(client: number): string {
    return this.#at(client).direct?.status ?? '';
  }

  incarnation(client: number): number {
    return this.#at(client).incarnation;
  }

  /** Whether the client may hold a server between its steps. */
  holding(client: number): boolean {
    return isHolding(this.#at(client));
  }

  /** Only its end lets the client's server go. */
  holdsOn(client: number): boolean {
    return this.#at(client).holdsOn;
  }

  /** Whether a server is there for the client's next step. */
  able(client: number, act?: Act): boolean {
    const own = this.#at(client);
    if (isHolding(own) && act?.kind !== 'connect') return true;
    return this.#clients.filter((each) => each !== own && isHolding(each)).length < this.#setup.poolSize;
  }

  /** Carries it out on both sides, unless it could block or has an answer of its own; what differs, if anything does. */
  async step(step: Step): Promise<Difference | undefined> {
    const client = this.#at(step.client);
    if (!this.able(step.client, step.act)) return undefined;
    if (client.tookNext && !this.#setup.sequencesPin && (step.trace & Trace.Asks) !== 0) return undefined;
    this.steps.push(step);
    if (step.act.kind === 'connect') return this.#connect(client, step, step.act);
    if (client.direct === undefined) {
      const difference = await this.#connect(client, step, { kind: 'connect', leaving: 'end', parameters: {} });
      if (difference !== undefined) return difference;
    }
    const { direct, target } = client;
    if (direct === undefined || target === undefined) throw new Error('a client is connected on both sides or on none');
    const expected = await direct.run(step.act, 20_000);
    this.failed = expected.some((line) => line.startsWith('E '));
    this.#remember(client, step, expected);
    await this.#settleDirect(client);
    const found = await target.run(step.act, this.#withinMs);
    return this.#compare(step, expected, found) ?? (await this.#compareNotifications(step));
  }

  /** What each client is asked in the end, those first who hold a server; then all leave. */
  async finish(wanted: ReadonlySet<Kind>): Promise<Difference | undefined> {
    const order = this.#clients.map((_, client) => client).filter((client) => this.#at(client).direct !== undefined);
    order.sort((a, b) => Number(this.holding(b)) - Number(this.holding(a)));
    for (const client of order) {
      for (const text of wanted.has('names') ? [...finalQueries, namesQuery] : finalQueries) {
        const act: Act = { kind: 'send', messages: [{ say: 'query', text }] };
        const difference = await this.step({ client, act, trace: 0 });
        if (difference !== undefined) return difference;
      }
      await this.#leave(this.#at(client), 'end');
    }
    return undefined;
  }

  /** Whatever state it is in. */
  async abandon(): Promise<void> {
    for (const client of this.#clients) await this.#leave(client, 'vanish');
  }

  #at(client: number): Client {
    return this.#clients[client] as Client;
  }

  async #connect(
    client: Client,
    step: Step,
    { leaving, parameters }: Act & { kind: 'connect' },
  ): Promise<Difference | undefined> {
    await this.#leave(client, leaving);
    // One that is refused comes again as is.
    for (const each of [parameters, {}]) {
      const direct = await Peer.connect(this.#direct, each, 20_000);
      const target = await Peer.connect(this.#target, each, this.#withinMs);
      client.direct = direct.peer;
      client.target = target.peer;
      const difference = this.#compare(step, direct.lines, target.lines);
      if (difference !== undefined || client.direct !== undefined) return difference;
    }
    throw new Error(`${this.#direct.database} cannot be connected to`);
  }

  async #leave(client: Client, how: 'end' | 'vanish'): Promise<void> {
    const { direct, target } = client;
    client.direct = undefined;
    client.target = undefined;
    client.holds = client.holdsOn = client.tookNext = client.listens = client.notifies = false;
    client.incarnation++;
    client.names.clear();
    await direct?.leave(how);
    await target?.leave(how);
  }

  #remember(client: Client, { act, trace, names = [], uses = [] }: Step, lines: readonly string[]): void {
    for (const [name, more] of names) client.names.set(name, (client.names.get(name) ?? 0) | more);
    let all = trace;
    for (const name of uses) all |= client.names.get(name) ?? 0;
    client.holds ||= (all & Trace.Holds) !== 0;
    const { sequencesPin, sequencesAsked } = this.#setup;
    const lasting = Trace.HoldsOn | (sequencesPin || sequencesAsked ? Trace.Unclear : 0);
    client.holdsOn ||= (all & lasting) !== 0;
    client.tookNext ||= (all & Trace.TakesNext) !== 0;
    client.listens ||= (all & Trace.Listens) !== 0;
    client.notifies ||= (all & Trace.Notifies) !== 0;
    const [message] = act.kind === 'send' ? act.messages : [];
    const checked = message?.say === 'query' && message.text === checkSql;
    if (checked && lines.includes(nothingLeft) && client.direct?.status === 'I') client.holds = false;
  }

  /**
   * PostgreSQL signals those who listen before it answers who notifies: one more round trip of each brings what there is.
   * Who is in a transaction gets it at its end.
   */
  async #settleDirect(client: Client): Promise<void> {
    if (!client.notifies) return;
    // COMMIT AND CHAIN tells them too, and leaves it in a transaction.
    if (client.direct?.status === 'I') client.notifies = false;
    for (const { direct, listens } of this.#clients) {
      if (direct === undefined || !listens || direct.status !== 'I') continue;
      await direct.run({ kind: 'send', messages: [{ say: 'sync' }] }, 20_000);
    }
  }

  #compare(step: Step, expected: readonly string[], found: readonly string[]): Difference | undefined {
    this.lines += expected.length;
    if (expected.length === found.length && expected.every((line, index) => isSame(line, found[index])))
      return undefined;
    return { step, expected, found };
  }

  /** As sequences: at what moment they come is not compared. */
  async #compareNotifications(step: Step): Promise<Difference | undefined> {
    for (const { direct, target, listens } of this.#clients) {
      if (direct === undefined || target === undefined || !listens) continue;
      const expected = direct.notifications;
      const stray = await target.settle(expected.length, this.#withinMs);
      // In a transaction they may come earlier than PostgreSQL would send them.
      const due = direct.status === 'I' ? target.notifications.length : expected.length;
      const found = [...target.notifications.slice(0, due).map((each) => `A ${each}`), ...stray];
      const difference = this.#compare(
        step,
        expected.map((each) => `A ${each}`),
        found,
      );
      if (difference !== undefined) return difference;
    }
    return undefined;
  }
}

const inFailedTransaction = / C:25P02 /;

/** In a transaction that has failed, which of two errors is told is not compared, nor is a Parse that weir answers itself. */
function isSame(expected: string, found: string | undefined): boolean {
  if (expected === found || inFailedTransaction.test(expected)) return true;
  // How a function is quoted in a context was decided by whoever called it first on the server.
  if (expected.startsWith('E ') && withoutQuoting(expected) === withoutQuoting(found ?? '')) return true;
  return expected.startsWith('E ') && found !== undefined && inFailedTransaction.test(found);
}

function withoutQuoting(line: string): string {
  return line.replaceAll('"', '').replaceAll(/(?<=PL\/pgSQL function )public\./g, '');
}

function isHolding({ direct, holds, holdsOn }: Client): boolean {
  return holds || holdsOn || (direct !== undefined && direct.status !== 'I');
}

/** Not the settings with a dot: whether a library is loaded, as by the first function in its language, is the server's own. */
const finalQueries: readonly string[] = [
  'rollback',
  'select current_user, session_user,' +
    " pg_catalog.string_agg(name || '=' || setting, ' ' order by name collate \"C\") from pg_catalog.pg_settings where name !~ '[.]'",
  "select coalesce(pg_catalog.current_setting('app.x', true), ''), coalesce(pg_catalog.current_setting('app.y', true), '')," +
    " coalesce(pg_catalog.current_setting('My.z', true), '')",
  checkSql,
];

const namesQuery = 'select name from pg_catalog.pg_prepared_statements order by name';
