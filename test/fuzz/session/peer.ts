// One client of one side: carries out acts and tells, as lines of text, everything its user would see.

import { stretched } from '../../support/index.js';
import { type Column, cellsOf, columnsOf, textsOf } from '../../support/message-parts.js';
import { RawClient, type RawMessage, readFields, say } from '../../support/raw-client.js';
import type { Act, Message } from './steps.js';

export interface Place {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** What a session is to begin with, as `options`: in place of a connect_query. */
  readonly base?: string | undefined;
}

/** Of errors and notices; not where in PostgreSQL's sources they were raised. */
const shownFields = ['S', 'C', 'M', 'D', 'H', 'P', 'W', 's', 't', 'c', 'd', 'n'] as const;

/** Whether a server has ever had a schema for temporary things, empty now, is its own. */
const nothingTemporary =
  /^(schema "pg_temp" does not exist|(table "(tt1|tt2|shadowed)" does not exist, skipping$|function pg_temp.tf\(\) does not exist))/;

export class Peer {
  readonly #client: RawClient;
  /** As last reported, by name. */
  readonly #parameters = new Map<string, string>();
  readonly #reported = new Map<string, string>();
  /** `channel payload`, in the order they came. */
  readonly notifications: string[] = [];
  status = 'I';

  private constructor(client: RawClient) {
    this.#client = client;
  }

  /** The lines of the login, and the peer unless it was refused. */
  static async connect(
    { host, port, user, database, base }: Place,
    parameters: Readonly<Record<string, string>>,
    withinMs: number,
  ): Promise<{ peer: Peer | undefined; lines: string[] }> {
    const client = await RawClient.open({ host, port });
    const peer = new Peer(client);
    const logIn = async (): Promise<string[]> => {
      const options = [base, parameters['options']].filter((each) => each !== undefined).join(' ');
      await client.logIn({ user, database, parameters: options === '' ? parameters : { ...parameters, options } });
      for (const [name, value] of client.parameters) peer.#parameters.set(name, value);
      return [...client.parameters].map(([name, value]) => `S ${name}=${value}`).sort();
    };
    try {
      return { peer, lines: await within(logIn(), withinMs) };
    } catch (error) {
      await client.vanish();
      const { code, message } = error as Error & { code?: string };
      return { peer: undefined, lines: [`refused ${code ?? ''} ${message}`] };
    }
  }

  /** What came in answer; a last line says so when something did not come. */
  async run(act: Exclude<Act, { kind: 'connect' }>, withinMs: number): Promise<string[]> {
    const lines: string[] = [];
    const ends = act.messages.filter((message) => message.say === 'sync' || message.say === 'query').length;
    try {
      this.#client.write(...act.messages.map(encode));
      await within(this.#read(ends, lines), withinMs);
    } catch (error) {
      lines.push(`nothing more: ${(error as Error).message}`);
      this.status = '?';
    }
    return lines;
  }

  /** Waits until that many notifications have come, and takes what else is there. Lines: what should not have come. */
  async settle(notifications: number, withinMs: number): Promise<string[]> {
    const lines: string[] = [];
    const read = async (): Promise<void> => {
      while (this.notifications.length < notifications || this.#client.untaken > 0)
        this.#take(await this.#client.next(), lines);
    };
    await within(read(), withinMs).catch((error: unknown) => {
      lines.push(`no notification: ${(error as Error).message}`);
    });
    return lines;
  }

  async leave(how: 'end' | 'vanish'): Promise<void> {
    if (how === 'vanish') await this.#client.vanish();
    else await within(this.#client.end(), 5_000).catch(() => this.#client.vanish());
  }

  async #read(ends: number, lines: string[]): Promise<void> {
    for (let left = ends; left > 0; ) {
      const message = await this.#client.next();
      if (message.tag === 'Z') {
        left--;
        this.status = message.body.toString('latin1');
        lines.push(...this.#changes(), `Z ${this.status}`);
      } else {
        this.#take(message, lines);
      }
    }
  }

  #take({ tag, body }: RawMessage, lines: string[]): void {
    if (tag === 'S') {
      const [name, value] = textsOf(body);
      this.#reported.set(name as string, value as string);
    } else if (tag === 'A') {
      const [channel, payload] = textsOf(body.subarray(4));
      this.notifications.push(`${channel} ${payload}`);
    } else {
      lines.push(line(tag, body));
    }
  }

  /** Reported parameters whose value is another than the client knew, by name: in which order they come says nothing. */
  #changes(): string[] {
    const changed = [...this.#reported].filter(([name, value]) => this.#parameters.get(name) !== value);
    this.#reported.clear();
    for (const [name, value] of changed) this.#parameters.set(name, value);
    return changed.map(([name, value]) => `S ${name}=${value}`).sort();
  }
}

export async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms`)), stretched(ms));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function encode(message: Message): Buffer {
  switch (message.say) {
    case 'query':
      return say.query(message.text);
    case 'parse':
      return say.parse({ name: message.name, text: message.text });
    case 'bind':
      return say.bind({ statement: message.name, portal: message.portal, values: [...message.values] });
    case 'describe':
      return say.describe({ type: message.of, name: message.name });
    case 'close':
      return say.close({ type: message.of, name: message.name });
    case 'execute':
      return say.execute({ portal: message.portal, rows: message.rows });
    case 'sync':
      return say.sync();
    case 'flush':
      return Buffer.from(say.flush());
    default:
      return message satisfies never;
  }
}

function line(tag: string, body: Buffer): string {
  switch (tag) {
    case 'E':
    case 'N': {
      const fields = readFields(body);
      if (nothingTemporary.test(fields['M'] ?? '')) return `${tag} nothing temporary of that name`;
      const shown = shownFields.filter((field) => fields[field] !== undefined);
      return `${tag} ${shown.map((field) => `${field}:${fields[field]}`).join(' ')}`;
    }
    case 'D':
      return `D ${cellsOf(body).join('|')}`;
    case 'T':
      return `T ${columnsOf(body).map(columnText).join('|')}`;
    case 'C':
      return `C ${textsOf(body)[0]}`;
    case 't':
      return `t ${body.toString('hex')}`;
    default:
      return body.length === 0 ? tag : `${tag} ${body.toString('latin1')}`;
  }
}

/** Without the table's identifier: temporary tables have another one each time. */
function columnText({ name, number, type, modifier, format }: Column): string {
  return `${name}:${number}:${type}:${modifier}:${format}`;
}
