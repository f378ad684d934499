// The run-time settings of a session as one immutable value, and the statement that turns one such value into another.

import { queryMessage } from '../wire/index.js';

/** Reported by servers, but nothing a session can set or weir may replay. */
const notReplayed = new Set([
  'server_version',
  'server_encoding',
  'integer_datetimes',
  'in_hot_standby',
  'is_superuser',
  'session_authorization',
  'server_version_num',
]);

/** Whether a reported parameter belongs to the state of a session that weir carries from server to server. */
export function isReplayed(name: string): boolean {
  return !notReplayed.has(name.toLowerCase());
}

/** Settings whose value is a list of names: `SET x = 'a, b'` would make it one name. */
const nameLists = new Set(['search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries']);

/** An extension's setting has a dot; every part is an identifier. */
const settingName = /^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)*$/i;

export function isSettingName(name: string): boolean {
  return settingName.test(name) && name.length <= 255;
}

/** Settings that begin or describe a transaction or a value, and cannot be taken back: no session may begin with them. */
const notAtStartup = new Set(['seed', 'transaction_read_only', 'transaction_isolation', 'transaction_deferrable']);

/** Whether a client may begin its session with the setting: weir must be able to set and to reset it on any server. */
export function isStartupSetting(name: string): boolean {
  return isSettingName(name) && !notAtStartup.has(name.toLowerCase());
}

/** Who the session acts as: replayed before and after everything else, since it decides what may be set. */
const identity = new Set(['role', 'session_authorization']);

/** Whether a setting's value is worth asking a server for: it is a session's, and can be set again. */
export function isReadBack(name: string): boolean {
  const lower = name.toLowerCase();
  return isStartupSetting(lower) && !notReplayed.has(lower) && !identity.has(lower);
}

const printableAscii = /^[\x20-\x7e]*$/;

/**
 * An E'' literal in plain ASCII: read alike whatever standard_conforming_strings says, and whatever encoding the server
 * reads the statement in, which is that of the client before.
 * @param characters the value as Unicode
 */
export function asciiLiteral(characters: string): string {
  let text = '';
  for (const character of characters) {
    const code = character.codePointAt(0) as number;
    // Not a backslash before the quote: backslash_quote may forbid it, and does in some encodings.
    if (character === '\\' || character === "'") text += character + character;
    else if (code >= 0x20 && code < 0x7f) text += character;
    else if (code > 0xffff) text += `\\U${code.toString(16).padStart(8, '0')}`;
    else text += `\\u${code.toString(16).padStart(4, '0')}`;
  }
  return `E'${text}'`;
}

/** The parts of an extension's setting may be any words; PostgreSQL's own settings need no quotes. */
function quoted(name: string): string {
  if (!name.includes('.')) return name;
  return name
    .split('.')
    .map((part) => `"${part}"`)
    .join('.');
}

function assignment(name: string, characters: string, scope: 'session' | 'transaction'): string {
  const value = asciiLiteral(characters);
  if (nameLists.has(name))
    return `SELECT pg_catalog.set_config('${name}', ${value}, ${String(scope === 'transaction')})`;
  return `SET ${scope === 'transaction' ? 'LOCAL ' : ''}${quoted(name)} = ${value}`;
}

/**
 * Settings that change neither what the text of a statement means, nor the tables and functions it names, nor its constants,
 * which are read when it is prepared, and computed with by functions that PostgreSQL calls immutable, though how some of them
 * write a value is a setting. All others count, also those nobody has thought of.
 */
const unparsed =
  /\.|^application_name$|_timeout$|^(log|debug|enable|jit|geqo|vacuum|backend|wal|parallel|track|lock|gin|hash|stats|temp|work|maintenance|logical|plan|commit|effective|cursor|recursive|from|join|constraint|min|max|random|seq|cpu|client_min|client_connection|default_t|default_statistics|default_toast|transaction|idle|tcp|synchronous|row_security|password|scram|ssl|zero|ignore|huge|trace|exit|event|createrole|local|dynamic|is_superuser|in_hot|server_|integer_)/;

/** With these a server that is put by ends by itself, or keeps weir's own statements for the next client from being run. */
export const troublesome = ['idle_session_timeout', 'transaction_timeout', 'default_transaction_deferrable'] as const;

/** A search_path by which a client's own functions or temporary tables can stand in for what a text seems to name. */
const shadowing = /pg_temp|pg_catalog/i;

/**
 * Values by lower-case setting name; bytes as latin1 strings. A setting that is not here has the value the server gave
 * it at login. Two equal values have equal `key`s.
 */
export class Settings {
  static readonly empty = new Settings(new Map());

  readonly values: ReadonlyMap<string, string>;
  readonly key: string;
  /** What a prepared statement's text depends on, as one string. */
  readonly parseKey: string;
  /** Whether names in a statement may be other things than they seem. */
  readonly shadowsCatalog: boolean;
  /** The setting whose value cannot be carried to another server, if there is one. */
  readonly unportable: string | undefined;
  /** Whether a server may have them that several clients share. */
  readonly isShareable: boolean;
  /** The last difference asked for: clients that share a server alternate between few values. */
  #lastFrom: Settings | undefined;
  #lastBegun: Settings | undefined;
  #lastMessage: Buffer | undefined;

  constructor(values: ReadonlyMap<string, string>) {
    this.values = values;
    this.key = [...values]
      .map(([name, value]) => `${name}\0${value}\0`)
      .sort()
      .join('');
    this.parseKey = [...values]
      .filter(([name]) => !unparsed.test(name))
      .map(([name, value]) => `${name}\0${value}\0`)
      .sort()
      .join('');
    this.shadowsCatalog = shadowing.test(values.get('search_path') ?? '');
    this.unportable = this.#findUnportable();
    this.isShareable =
      !this.shadowsCatalog && this.unportable === undefined && !troublesome.some((name) => values.has(name));
  }

  #findUnportable(): string | undefined {
    for (const [name, value] of this.values) {
      if (!printableAscii.test(value) && this.#characters(value) === undefined) return name;
    }
    return undefined;
  }

  /** A value's characters; its bytes are in the client's encoding. Undefined for encodings weir does not know. */
  #characters(value: string): string | undefined {
    if (printableAscii.test(value)) return value;
    switch (this.values.get('client_encoding')) {
      case undefined:
      case 'UTF8':
        return Buffer.from(value, 'latin1').toString('utf8');
      case 'LATIN1':
        return value;
      default:
        return undefined;
    }
  }

  equals(other: Settings): boolean {
    return this === other || this.key === other.key;
  }

  get(name: string): string | undefined {
    return this.values.get(name.toLowerCase());
  }

  /** A copy without the setting, which so has its value of the login. */
  without(name: string): Settings {
    const lower = name.toLowerCase();
    if (!this.values.has(lower)) return this;
    const values = new Map(this.values);
    values.delete(lower);
    return new Settings(values);
  }

  with(name: string, value: string): Settings {
    const lower = name.toLowerCase();
    if (this.values.get(lower) === value) return this;
    return new Settings(new Map(this.values).set(lower, value));
  }

  withAll(values: Iterable<readonly [string, string]>): Settings {
    const merged = new Map(this.values);
    for (const [name, value] of values) merged.set(name.toLowerCase(), value);
    return new Settings(merged);
  }

  /**
   * One Query message that brings a server from `from` to these settings; `undefined` when nothing differs.
   * @param begun what RESET goes back to there
   */
  replayMessage(from: Settings, begun: Settings = Settings.empty): Buffer | undefined {
    if (this.#lastFrom === from && this.#lastBegun === begun) return this.#lastMessage;
    const text = this.replayText(from, begun);
    this.#lastMessage = text === undefined ? undefined : queryMessage(text);
    this.#lastFrom = from;
    this.#lastBegun = begun;
    return this.#lastMessage;
  }

  /** The same as the text of it. */
  replayText(from: Settings, begun: Settings = Settings.empty): string | undefined {
    if (this.equals(from)) return undefined;
    const parts: string[] = [];
    const acting = this.#acting(begun);
    const wasActing = from.#acting(begun);
    // What is set behind it may need the rights of who logged in, whatever role the session began with.
    if (wasActing.length > 0)
      parts.push('RESET SESSION AUTHORIZATION', acting.length > 0 ? 'SET ROLE NONE' : 'RESET ROLE');
    for (const [name, value] of this.values) {
      if (identity.has(name)) continue;
      const characters = this.#characters(value);
      if (from.values.get(name) !== value && characters !== undefined)
        parts.push(assignment(name, characters, 'session'));
    }
    for (const name of from.values.keys()) {
      if (!this.values.has(name) && !identity.has(name)) parts.push(`RESET ${quoted(name)}`);
    }
    parts.push(...acting);
    return parts.length === 0 ? undefined : parts.join(';');
  }

  /** One Query message that sets all of them until the transaction ends. */
  localMessage(): Buffer | undefined {
    const parts: string[] = [];
    for (const [name, value] of this.values) {
      const characters = this.#characters(value);
      if (characters !== undefined) parts.push(assignment(name, characters, 'transaction'));
    }
    return parts.length === 0 ? undefined : queryMessage(parts.join(';'));
  }

  /** The statements that make a session act as somebody else than who logged in. */
  #acting(begun: Settings): string[] {
    const parts: string[] = [];
    const authorization = this.#characters(this.values.get('session_authorization') ?? '');
    const role = this.#characters(this.values.get('role') ?? '');
    if (authorization) parts.push(`SET SESSION AUTHORIZATION ${asciiLiteral(authorization)}`);
    // RESET may go back to a role that this authorization could not choose.
    if (authorization && role && this.values.get('role') === begun.values.get('role')) parts.push('RESET ROLE');
    else if (role) parts.push(`SET ROLE ${asciiLiteral(role)}`);
    return parts;
  }
}
