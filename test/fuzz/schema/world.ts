// A few clients with prepared statements while the schema changes through weir and beside it; PostgreSQL itself is the oracle.

import type pg from 'pg';
import type { TestPostgres } from '../../support/index.js';
import type { Random } from '../../support/random.js';
import { say } from '../../support/raw-client.js';
import type { TestWeir } from '../../support/weir.js';
import { beginning, randomChange, randomText, type Text } from './changes.js';
import { Side, TypeNames } from './twin.js';

/** The same schema twice: one database behind weir, one for direct connections. */
export const databases = { through: 'through', beside: 'beside' } as const;

/** Of a superuser, one in each database, which weir knows nothing of. */
export type Outsiders = Readonly<Record<keyof typeof databases, pg.Client>>;

/** When a client asks for the columns: with each execution, when it prepares, or not at all. */
type Describes = 'always' | 'once' | 'never';

interface Prepared {
  readonly name: string;
  readonly text: Text;
  readonly describes: Describes;
  readonly era: number;
}

/** What is sent up to one ReadyForQuery. */
interface Batch {
  readonly shown: string;
  readonly messages: readonly Buffer[];
  /** Statements of earlier batches that it executes, and whether it asks for their columns. */
  readonly uses: readonly { readonly prepared: Prepared; readonly described: boolean }[];
  /** It begins or ends a transaction or a savepoint. */
  readonly control?: boolean;
}

interface Client {
  readonly name: string;
  readonly through: Side;
  readonly beside: Side;
  readonly prepared: Map<string, Prepared>;
  /** It holds a server, and nothing that another one waits for. */
  occupies: boolean;
}

export interface Tally {
  steps: number;
  stale: number;
  healed: number;
  errors: number;
}

export interface WorldOptions {
  readonly postgres: TestPostgres;
  readonly outsiders: Outsiders;
  readonly weir: TestWeir;
  /** Of weir's pool. */
  readonly servers: number;
  readonly random: Random;
  /** Counts on. */
  readonly tally: Tally;
}

const clientsMax = 4;
const namesOfProtocol = ['s0', 's1', 's2', ''] as const;
const namesOfSql = ['q0', 'q1'] as const;
const staleError = /^E .*\bC:0A000\b.*\bR:RevalidateCachedQuery\b/;

/**
 * A type was there when the statement was prepared and has been made anew since: that PostgreSQL overlooks until anything
 * else, a change of the path for one, makes it analyse the statement anew.
 */
const goneError = /^E .*(cache lookup failed|type with OID own does not exist)/;

export class SchemaWorld {
  readonly diary: string[] = [];
  readonly tally: Tally;
  readonly #postgres: TestPostgres;
  readonly #weir: TestWeir;
  readonly #random: Random;
  readonly #servers: number;
  readonly #outsiders: Outsiders;
  readonly #clients: Client[] = [];
  readonly #types: Readonly<Record<keyof typeof databases, TypeNames>>;
  /** How often what a text is about has been unsettled. */
  readonly #eras = { g: 0, tables: 0, pair: 0, other: 0 };
  #names = 0;
  /** In a transaction that may have locks: nobody else moves. */
  #alone: Client | undefined;

  constructor({ postgres, outsiders, weir, servers, random, tally }: WorldOptions) {
    this.#postgres = postgres;
    this.#outsiders = outsiders;
    this.#weir = weir;
    this.#servers = servers;
    this.#random = random;
    this.tally = tally;
    this.#types = {
      through: new TypeNames(outsiders.through),
      beside: new TypeNames(outsiders.beside),
    };
  }

  /** What went otherwise than on PostgreSQL, if anything did. */
  async play(steps: number): Promise<string | undefined> {
    try {
      for (const sql of beginning) await this.#changeBeside(sql);
      for (let n = 0; n < steps; n++) {
        this.tally.steps++;
        await this.#step();
      }
      return undefined;
    } catch (error) {
      return (error as Error).message;
    } finally {
      for (const client of [...this.#clients]) await this.#leave(client);
    }
  }

  async #step(): Promise<void> {
    const random = this.#random;
    if (this.#alone !== undefined) return this.#inTransaction(this.#alone);
    if (this.#clients.length < 2 || (this.#clients.length < clientsMax && random.oneIn(15))) return this.#join();
    if (random.oneIn(10)) return this.#changeBeside(this.#nextChange());
    const occupiers = this.#clients.filter((client) => client.occupies);
    const able = occupiers.length < this.#servers ? this.#clients : occupiers;
    const client = random.pick(able);
    if (client.occupies) return this.#occupied(client);
    await random.weighted<() => Promise<void>>([
      [40, () => this.#send(client, this.#execute(client))],
      [20, () => this.#send(client, this.#prepare(client))],
      [6, () => this.#send(client, this.#atOnce(client))],
      [6, () => this.#send(client, this.#sqlPrepared(client))],
      [5, () => this.#send(client, this.#describe(client))],
      [5, () => this.#send(client, query(this.#nextChange()))],
      [3, () => this.#send(client, query(this.#path()))],
      [5, () => this.#begin(client)],
      [6, () => this.#occupy(client)],
      [1, () => this.#forgetAll(client)],
      [1, () => this.#leave(client)],
    ])();
  }

  async #join(): Promise<void> {
    const name = `c${this.#names++}`;
    // What a session is to begin with is tried on a server, once.
    const isServerFree = this.#clients.filter(({ occupies }) => occupies).length < this.#servers;
    const parameters = isServerFree && this.#random.oneIn(4) ? { search_path: 'front, public' } : {};
    this.diary.push(`${name} joins ${JSON.stringify(parameters)}`);
    const of = (side: keyof typeof databases): Promise<Side> => {
      const place = side === 'through' ? this.#weir : this.#postgres;
      return Side.connect(place, { user: 'app', database: databases[side], parameters }, this.#types[side]);
    };
    const client = { through: await of('through'), beside: await of('beside') };
    this.#clients.push({ name, ...client, prepared: new Map(), occupies: false });
  }

  async #leave(client: Client): Promise<void> {
    this.diary.push(`${client.name} leaves`);
    this.#clients.splice(this.#clients.indexOf(client), 1);
    if (this.#alone === client) this.#alone = undefined;
    for (const side of [client.through, client.beside])
      await (this.#random.oneIn(2) ? side.raw.end() : side.raw.vanish());
    // A direct connection that vanished may still have its locks.
    const sql = 'select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid = $1';
    await this.#outsiders.beside.query(sql, [client.beside.raw.cancelPid]);
  }

  #nextChange(): string {
    const { sql, unsettles } = randomChange(this.#random);
    if (unsettles !== undefined) this.#eras[unsettles]++;
    return sql;
  }

  /** On both databases, by a connection that weir knows nothing of. */
  async #changeBeside(sql: string): Promise<void> {
    const said: string[] = [];
    for (const outsider of [this.#outsiders.through, this.#outsiders.beside]) {
      const outcome = outsider.query(sql).then(
        () => 'done',
        (error: unknown) => (error as Error).message,
      );
      said.push(await outcome);
    }
    this.diary.push(`beside: ${sql}`, `  ${said[0]}`);
    this.#forgetTypes();
    if (said[0] !== said[1]) throw new Error(`the two databases have become different: ${said.join(' and ')}`);
  }

  #forgetTypes(): void {
    for (const types of Object.values(this.#types)) types.forget();
  }

  #path(): string {
    return `set search_path = ${this.#random.pick(['public', 'front, public', 'public, front'])}`;
  }

  async #begin(client: Client): Promise<void> {
    this.#alone = client;
    await this.#send(client, control('begin'));
  }

  async #inTransaction(client: Client): Promise<void> {
    const random = this.#random;
    const failed = client.beside.status === 'E';
    if (failed || random.oneIn(6)) {
      if (random.oneIn(40)) return this.#leave(client);
      const end = failed && random.oneIn(2) ? 'rollback to one' : random.pick(['commit', 'rollback']);
      await this.#send(client, control(end));
      if (client.beside.status === 'I') this.#alone = undefined;
      return;
    }
    await random.weighted<() => Promise<void>>([
      [20, () => this.#send(client, this.#execute(client))],
      [8, () => this.#send(client, this.#prepare(client))],
      [3, () => this.#send(client, this.#atOnce(client))],
      [3, () => this.#send(client, this.#sqlPrepared(client))],
      [2, () => this.#send(client, this.#describe(client))],
      [8, () => this.#send(client, query(this.#nextChange()))],
      [2, () => this.#send(client, query(this.#path()))],
      [4, () => this.#send(client, control(random.pick(['savepoint one', 'savepoint one', 'rollback to one'])))],
    ])();
  }

  /** Others have to do with the servers that are left. */
  async #occupy(client: Client): Promise<void> {
    await this.#send(client, control('begin; select 1'));
    client.occupies = true;
  }

  async #occupied(client: Client): Promise<void> {
    if (!this.#random.oneIn(3)) return this.#send(client, query('select 1'));
    client.occupies = false;
    await this.#send(client, control('commit'));
  }

  async #forgetAll(client: Client): Promise<void> {
    await this.#send(client, query(this.#random.pick(['deallocate all', 'discard all'])));
    client.prepared.clear();
  }

  /** A statement is prepared, and executed in the same batch or not. */
  #prepare(client: Client): Batch {
    const random = this.#random;
    const name = random.pick(namesOfProtocol);
    const text = randomText(random);
    const describes = random.pick<Describes>(['always', 'once', 'never']);
    const messages: Buffer[] = [];
    if (name !== '' && (client.prepared.has(name) || random.oneIn(4))) messages.push(say.close({ type: 'S', name }));
    messages.push(say.parse({ name, text: text.sql, types: [...text.types] }));
    if (describes !== 'never') messages.push(say.describe({ type: 'S', name }));
    const prepared: Prepared = { name, text, describes, era: this.#eras[text.about] };
    const runs = random.oneIn(2);
    if (runs) messages.push(...executing(prepared, describes === 'always'));
    if (name === '' && runs) client.prepared.delete(name);
    else client.prepared.set(name, prepared);
    const shown = `prepare ${name || 'unnamed'} (describes ${describes}${runs ? ', runs' : ''}): ${textOf(text)}`;
    return { shown, messages: [...messages, say.sync()], uses: [] };
  }

  #atOnce(client: Client): Batch {
    const text = randomText(this.#random);
    client.prepared.delete('');
    if (text.values.length === 0 && this.#random.oneIn(2)) return query(text.sql);
    const describes = this.#random.oneIn(2);
    const prepared: Prepared = { name: '', text, describes: 'always', era: 0 };
    const messages = [say.parse({ text: text.sql, types: [...text.types] }), ...executing(prepared, describes)];
    return {
      shown: `at once${describes ? '' : ' without columns'}: ${textOf(text)}`,
      messages: [...messages, say.sync()],
      uses: [],
    };
  }

  /** One or two that were prepared before. */
  #execute(client: Client): Batch {
    const random = this.#random;
    const known = this.#settled(client).filter(({ name }) => !isOfSql(name));
    if (known.length === 0) return this.#prepare(client);
    const chosen = random.oneIn(6) ? [random.pick(known), random.pick(known)] : [random.pick(known)];
    const asksFirst = random.oneIn(12);
    const uses = chosen.map((prepared) => ({ prepared, described: asksFirst || prepared.describes === 'always' }));
    const messages = uses.flatMap(({ prepared }) => [
      ...(asksFirst ? [say.describe({ type: 'S', name: prepared.name })] : []),
      ...executing(prepared, prepared.describes === 'always'),
    ]);
    return {
      shown: `execute ${uses.map(({ prepared, described }) => `${prepared.name || 'unnamed'}${described ? ' with its columns' : ''}`).join(' and ')}`,
      messages: [...messages, say.sync()],
      uses,
    };
  }

  #describe(client: Client): Batch {
    // Of what returns nothing PostgreSQL describes the parameters without looking whether it still works.
    const known = this.#settled(client).filter(
      ({ name, text }) => !isOfSql(name) && !/^insert (?!.*returning)/.test(text.sql),
    );
    if (known.length === 0) return this.#prepare(client);
    const prepared = this.#random.pick(known);
    return {
      shown: `describe ${prepared.name || 'unnamed'}`,
      messages: [say.describe({ type: 'S', name: prepared.name }), say.sync()],
      uses: [{ prepared, described: true }],
    };
  }

  #sqlPrepared(client: Client): Batch {
    const random = this.#random;
    const name = random.pick(namesOfSql);
    const prepared = this.#settled(client).find((each) => each.name === name);
    if (prepared !== undefined && random.oneIn(8)) {
      client.prepared.delete(name);
      return query(`deallocate ${name}`);
    }
    if (prepared !== undefined) {
      const values = prepared.text.values.map((value) => (value === null ? 'null' : `'${value}'`));
      const sql = values.length === 0 ? `execute ${name}` : `execute ${name}(${values.join(', ')})`;
      return { ...query(sql), uses: [{ prepared, described: true }] };
    }
    const text = { ...randomText(random), types: [] };
    if (!/^(select|table|with|insert|update|delete)/.test(text.sql)) return query('select 1');
    const replaces = client.prepared.has(name);
    client.prepared.set(name, { name, text, describes: 'always', era: this.#eras[text.about] });
    return query(`${replaces ? `deallocate ${name}; ` : ''}prepare ${name} as ${text.sql}`);
  }

  /** Those of the client of which PostgreSQL itself could only say one thing. */
  #settled(client: Client): Prepared[] {
    return [...client.prepared.values()].filter(({ text, era }) => era === this.#eras[text.about]);
  }

  async #send(client: Client, batch: Batch): Promise<void> {
    const { through, beside } = client;
    const subject = `${client.name} ${batch.shown}`;
    this.diary.push(subject);
    const inTransaction = beside.status === 'T' && batch.control !== true;
    const found = await through.say(...batch.messages);
    if (inTransaction) await beside.say(...apart('savepoint twin'));
    let expected = await beside.say(...batch.messages);
    if (fails(expected)) this.tally.errors++;
    if (expected.some((line) => goneError.test(line))) return this.#giveUp(client, batch, inTransaction);
    const isStale = expected.some((line) => staleError.test(line));
    if (isStale) this.tally.stale++;
    // The client has not been told any columns, and so knows the old ones alone.
    const untold = isStale && fails(found) && !found.some((line) => line.startsWith('T ') || line === 'n');
    const renewed = batch.uses.filter(({ described }) => isStale && described && !untold);
    if (renewed.length > 0 && !same(found, expected)) this.tally.healed++;
    // Behind the first that was healed something has been answered: the next one may be refused.
    for (const { prepared } of renewed) {
      if (same(found, expected)) break;
      expected = await this.#anew(client, batch, prepared, inTransaction);
    }
    if (inTransaction && beside.status === 'T') await beside.say(...apart('release twin'));
    this.diary.push(...found.map((line) => `  ${line}`));
    this.#forgetTypes();
    if (same(found, expected) || areBothWrong(found, expected) || (untold && fails(found))) return;
    throw new Error(`${subject}\n  weir:\n    ${found.join('\n    ')}\n  PostgreSQL:\n    ${expected.join('\n    ')}`);
  }

  /** A type is gone: what PostgreSQL says of such a statement from now on hangs on when it looks again. It is used no more. */
  async #giveUp({ through, beside, prepared }: Client, { uses }: Batch, inTransaction: boolean): Promise<void> {
    if (inTransaction && through.status === 'T') await beside.say(...apart('rollback to twin'));
    for (const { name } of new Set(uses.map((use) => use.prepared))) {
      prepared.delete(name);
      const messages = isOfSql(name) ? [say.query(`deallocate ${name}`)] : [say.close({ type: 'S', name }), say.sync()];
      for (const side of [through, beside]) await side.say(...messages);
    }
  }

  /**
   * What PostgreSQL says to a client that prepares one anew of those it executes, with the types of parameters that it knows:
   * weir may do that for who asks for columns.
   */
  async #anew({ beside }: Client, batch: Batch, { name, text }: Prepared, inTransaction: boolean): Promise<string[]> {
    const back = inTransaction ? apart('rollback to twin') : [];
    if (back.length > 0) await beside.say(...back);
    if (isOfSql(name)) {
      await beside.say(say.query(`deallocate ${name}`));
      await beside.say(say.query(`prepare ${name} as ${text.sql}`));
    } else {
      const types = await beside.parameters(name);
      if (back.length > 0) await beside.say(...back);
      const close = name === '' ? [] : [say.close({ type: 'S', name })];
      await beside.say(...close, say.parse({ name, text: text.sql, types }), say.sync());
    }
    return beside.say(...batch.messages);
  }
}

function executing({ name, text }: Prepared, describes: boolean): Buffer[] {
  const bind = say.bind({ statement: name, values: [...text.values] });
  return [bind, ...(describes ? [say.describe({ type: 'P' })] : []), say.execute()];
}

/** Without touching the unnamed statement. */
function apart(sql: string): Buffer[] {
  const [name, portal] = ['twin', 'twin'];
  const messages = [say.parse({ name, text: sql }), say.bind({ statement: name, portal }), say.execute({ portal })];
  return [...messages, say.close({ type: 'P', name: portal }), say.close({ type: 'S', name }), say.sync()];
}

function query(sql: string): Batch {
  return { shown: sql, messages: [say.query(sql)], uses: [] };
}

function control(sql: string): Batch {
  return { ...query(sql), control: true };
}

function isOfSql(name: string): boolean {
  return (namesOfSql as readonly string[]).includes(name);
}

/**
 * Both fail, at the same point, and not for the columns: whether values are read before the statement is analysed anew,
 * and whether the columns are compared before a type that is gone is missed, depends on who parsed it.
 */
function areBothWrong(found: readonly string[], expected: readonly string[]): boolean {
  const [ours, theirs] = [compared(found), compared(expected)];
  const at = theirs.findIndex((line) => line.startsWith('E '));
  const [error = '', theirError = ''] = [ours[at], theirs[at]];
  if (at < 0 || !error.startsWith('E ') || staleError.test(theirError)) return false;
  const rest = (lines: readonly string[]): string[] => lines.filter((_, index) => index !== at);
  return (
    same(rest(ours), rest(theirs)) &&
    (!staleError.test(error) || goneError.test(theirError) || / C:22\w{3} /.test(theirError))
  );
}

function fails(lines: readonly string[]): boolean {
  return lines.some((line) => line.startsWith('E '));
}

function textOf({ sql, values, types }: Text): string {
  return `${sql}${types.length === 0 ? '' : ` of types ${types.join()}`} ${values.length === 0 ? '' : JSON.stringify(values)}`;
}

/** Without a description right before an error: a server that has to parse the statement finds the error first. */
function compared(lines: readonly string[]): string[] {
  return lines.filter((line, index) => {
    const next = line.startsWith('t') && lines[index + 1] === 'n' ? lines[index + 2] : lines[index + 1];
    return !(next?.startsWith('E ') && (line.startsWith('t') || line === 'n'));
  });
}

function same(found: readonly string[], expected: readonly string[]): boolean {
  const [ours, theirs] = [compared(found), compared(expected)];
  return ours.length === theirs.length && ours.every((line, index) => line === theirs[index]);
}
