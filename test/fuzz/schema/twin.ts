// One client on each of two sides, weir and PostgreSQL itself: the same messages, and lines of what each says.

import type pg from 'pg';
import { stretched } from '../../support/index.js';
import { cellsOf, columnsOf, parametersOf, textsOf } from '../../support/message-parts.js';
import { RawClient, type RawLogin, type RawMessage, readFields, say } from '../../support/raw-client.js';

/** Names of a database's types by identifier: those of its users have another one in each database. */
export class TypeNames {
  readonly #outsider: pg.Client;
  #names = new Map<number, string>();

  /** @param outsider a connection to that database */
  constructor(outsider: pg.Client) {
    this.#outsider = outsider;
  }

  /** After a change of the schema they may be others. */
  forget(): void {
    this.#names.clear();
  }

  /** Those that are gone are told by that. */
  async name(type: number): Promise<string> {
    if (type < firstOwnType) return String(type);
    const known = this.#names.get(type);
    if (known !== undefined) return known;
    const sql =
      "select oid::int, case when typtype = 'c' then 'row of ' else '' end || typname as name from pg_type where oid >= 16384";
    const { rows } = await this.#outsider.query<{ oid: number; name: string }>(sql);
    this.#names = new Map(rows.map(({ oid, name }) => [oid, name]));
    const name = this.#names.get(type) ?? 'gone';
    this.#names.set(type, name);
    return name;
  }
}

/** Identifiers of what has been made, as in messages about what is gone. */
const ownNumbers = /\b(1[6-9]\d{3}|[2-9]\d{4}|\d{6,9})\b/g;
/** The one whose cause only the routine tells. */
const staleCode = '0A000';
const internalError = 'XX000';
const firstOwnType = 16_384;
const shownFields = ['S', 'C', 'M', 'D', 'H', 'P', 'W', 's', 't', 'c', 'd', 'n'] as const;

export class Side {
  readonly raw: RawClient;
  readonly #types: TypeNames;
  status = 'I';

  private constructor(raw: RawClient, types: TypeNames) {
    this.raw = raw;
    this.#types = types;
  }

  static async connect(place: { host: string; port: number }, login: RawLogin, types: TypeNames): Promise<Side> {
    return new Side(await RawClient.connect(place, login), types);
  }

  /** What is said up to the next ReadyForQuery. @throws when it does not come */
  async say(...messages: readonly Uint8Array[]): Promise<string[]> {
    this.raw.write(...messages);
    const lines: string[] = [];
    for (;;) {
      const message = await withinTime(this.raw.next(), lines);
      if (message.tag === 'S') continue;
      lines.push(await this.#line(message));
      if (message.tag !== 'Z') continue;
      this.status = message.body.toString('latin1');
      return lines;
    }
  }

  /** The types of a statement's parameters, which are told before anything else about it. */
  async parameters(name: string): Promise<number[]> {
    this.raw.write(say.describe({ type: 'S', name }), say.sync());
    const messages = await this.raw.until('Z');
    const told = messages.find(({ tag }) => tag === 't');
    return told === undefined ? [] : parametersOf(told.body);
  }

  async #line({ tag, body }: RawMessage): Promise<string> {
    switch (tag) {
      case 'E':
      case 'N': {
        const fields = readFields(body);
        const fieldText = (each: string): string =>
          `${each}:${each === 'M' || each === 'D' ? fields[each]?.replaceAll(ownNumbers, 'own') : fields[each]}`;
        // Where a type that is gone was missed, when the values were read or before, depends on who parsed the statement.
        const left = fields['C'] === internalError ? 'W' : '';
        const shown = shownFields.filter((each) => fields[each] !== undefined && each !== left);
        const routine = fields['C'] === staleCode ? ` R:${fields['R']}` : '';
        return `${tag} ${shown.map(fieldText).join(' ')}${routine}`;
      }
      case 'D':
        return `D ${cellsOf(body).join('|')}`;
      case 'T': {
        const texts = columnsOf(body).map(
          async ({ name, table, number, type, modifier, format }) =>
            `${name}:${table === 0 ? 'none' : 'table'}:${number}:${await this.#types.name(type)}:${modifier}:${format}`,
        );
        return `T ${(await Promise.all(texts)).join('|')}`;
      }
      case 't':
        return `t ${(await Promise.all(parametersOf(body).map((type) => this.#types.name(type)))).join(' ')}`;
      case 'C':
        return `C ${textsOf(body)[0]}`;
      default:
        return body.length === 0 ? tag : `${tag} ${body.toString('latin1')}`;
    }
  }
}

async function withinTime(next: Promise<RawMessage>, lines: readonly string[]): Promise<RawMessage> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing more came behind ${lines.join('; ')}`)), stretched(20_000));
  });
  try {
    return await Promise.race([next, late]);
  } finally {
    clearTimeout(timer);
  }
}
