// What every session of a server begins with: the settings of its role and database, and what connect_query has made of them.

import { asciiLiteral, isReadBack, isReplayed, isStartupSetting, Settings, troublesome } from '../session/index.js';
import { PoolerError } from '../util/index.js';
import { TransactionStatus } from '../wire/index.js';
import { ask, askOnce } from './ask.js';
import type { LoggedIn } from './login.js';

export interface ServerBase {
  /** What the server reported at its login, before connect_query: who logged in. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Whether that is a superuser, whatever role its sessions begin with. */
  readonly superuser: boolean;
  /** What RESET goes back to. */
  readonly login: Settings;
  /** What sessions begin with. */
  readonly begun: Settings;
  /** Whether connect_query has left more than settings, which DISCARD ALL takes away. */
  readonly hasMore: boolean;
  /** What makes it again behind a reset. */
  readonly restoreQuery: string | undefined;
}

/** Settings as connect_query has left them, by name: what a login may have in its startup packet, and begin with. */
type Made = ReadonlyMap<string, string>;

const none: Made = new Map();

/** Beginnings that are kept. */
const settingsMax = 100;
/** PostgreSQL takes startup packets of 10,000 bytes. */
const startupBytesMax = 8_000;

/**
 * What connect_query makes of the servers of one pool. A login that has it in its startup packet goes back to it by itself
 * at every RESET, wherever that stands.
 */
export class BaseMemory {
  #query: string | undefined;
  #made = new Map<string, string>();
  /** Values of the same names where connect_query has not run: it is to find them whatever the login begins with. */
  readonly #originals = new Map<string, string>();
  /** Those that it makes differently from server to server, or not on all of them. */
  readonly #unsteady = new Set<string>();
  #refused = false;
  /** What the first server had where nothing is set for its role, its database or by connect_query. */
  #defaults: ReadonlyMap<string, string> | undefined;
  /** Names that some server's login had more. */
  readonly #known = new Set<string>();
  readonly #settings = new Map<string, Settings>();

  get hasDefaults(): boolean {
    return this.#defaults !== undefined;
  }

  /** @param defaults what a server tells that has been asked for them */
  keepDefaults(defaults: ReadonlyMap<string, string>): void {
    this.#defaults ??= defaults;
  }

  /** One object for equal settings: servers that begin alike are compared by identity. */
  shared(settings: Settings): Settings {
    const known = this.#settings.get(settings.key);
    if (known !== undefined) return known;
    if (this.#settings.size >= settingsMax) this.#settings.clear();
    this.#settings.set(settings.key, settings);
    return settings;
  }

  /** Settings that no server has begun with before, with the values that sessions had which began without. */
  novelties(login: Settings): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    for (const name of login.values.keys()) {
      if (this.#known.has(name)) continue;
      this.#known.add(name);
      const value = this.#defaults?.get(name) ?? (name.includes('.') ? '' : undefined);
      if (value !== undefined) found.set(name, value);
    }
    return found;
  }

  /** For the startup packet. */
  startup(query: string | undefined): Made {
    if (query !== this.#query) {
      this.#query = query;
      this.#made = new Map();
      this.#originals.clear();
      this.#unsteady.clear();
      this.#refused = false;
    }
    return this.#refused ? none : this.#made;
  }

  /** What undoes it for connect_query. */
  prelude(sent: Made): string | undefined {
    if (sent.size === 0) return undefined;
    const found = [...sent.keys()].map((name) => [name, this.#originals.get(name) ?? ''] as const);
    return new Settings(new Map(found)).replayText(new Settings(sent));
  }

  /** Reads from a server that is not to be used what it had before connect_query has run. */
  async readOriginals(login: LoggedIn, timeoutMs: number): Promise<void> {
    const names = [...this.#made.keys()].filter((name) => !this.#originals.has(name));
    if (names.length === 0) return;
    await askOnce(login, 'RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL', timeoutMs);
    const list = `ARRAY[${names.map(asciiLiteral).join(',')}]::pg_catalog.text[]`;
    const query = `SELECT n,pg_catalog.current_setting(n,true) FROM pg_catalog.unnest(${list}) n`;
    const { rows } = await ask(login, query, timeoutMs);
    for (const [name, value] of rows) this.#originals.set(name ?? '', value ?? '');
  }

  /** A server does not take it. Answers whether a login without it is worth a try. */
  refuse(sent: Made): boolean {
    if (sent.size > 0) this.#refused = true;
    return sent.size > 0;
  }

  /** Answers whether another login would begin with more of what connect_query makes than one with `sent` has. */
  learn(query: string | undefined, sent: Made, made: Made): boolean {
    if (query !== this.#query || this.#refused) return false;
    const learned = new Map(this.#made);
    for (const [name, value] of sent) if (made.get(name) !== value) this.#unsteady.add(name);
    for (const [name, value] of made) {
      const known = learned.get(name);
      if (known !== undefined && known !== value) this.#unsteady.add(name);
      else learned.set(name, value);
    }
    for (const name of this.#unsteady) learned.delete(name);
    if (bytesOf(learned) > startupBytesMax) learned.clear();
    this.#made = learned;
    return learned.size !== sent.size || [...learned].some(([name, value]) => sent.get(name) !== value);
  }
}

function bytesOf(made: Made): number {
  let bytes = 0;
  for (const [name, value] of made) bytes += name.length + value.length + 2;
  return bytes;
}

/** How the settings of a session stand. */
interface Look {
  readonly superuser: boolean;
  /** Those that nobody has set, where they were asked for. */
  readonly defaults: ReadonlyMap<string, string>;
  /** Those that a session may set, and be given back. */
  readonly settings: ReadonlyMap<string, string>;
  readonly setInSession: ReadonlyMap<string, string>;
  readonly role: string;
  readonly authorization: string;
  readonly more: boolean;
}

export interface BaseRequest {
  readonly connectQuery: string | undefined;
  readonly memory: BaseMemory;
  /** What this login had in its startup packet of what connect_query makes. */
  readonly sent: Made;
  /** What undoes that for connect_query. */
  readonly prelude: string | undefined;
  /** Whether the sessions of clients are carried from server to server. */
  readonly tracked: boolean;
  readonly timeoutMs: number;
  /** Told of errors that are ignored. */
  warn(text: string, error: unknown): void;
}

/** Runs connect_query on a server that has just logged in and reads what sessions begin with. @throws PoolerError when the server is lost */
export async function makeBase(
  login: LoggedIn,
  request: BaseRequest,
): Promise<{ readonly base: ServerBase; readonly made: Made | undefined }> {
  const { connectQuery, tracked, memory } = request;
  const parameters = new Map(login.parameters);
  const names = namesIn(connectQuery ?? '');
  const before = connectQuery !== undefined && tracked ? await look(login, names, request) : undefined;
  const hasRun = connectQuery !== undefined && (await runConnectQuery(login, connectQuery, request));
  const restoreQuery = hasRun ? [request.prelude ?? [], connectQuery].flat().join(';') : undefined;
  const after = tracked ? await look(login, names, request) : undefined;
  const superuser = (before ?? after)?.superuser ?? parameters.get('is_superuser') === 'on';
  const common = { parameters, superuser, restoreQuery };
  if (after === undefined || (connectQuery !== undefined && before === undefined)) {
    const reported = memory.shared(settingsOf(login.parameters, undefined, undefined));
    return { base: { ...common, login: reported, begun: reported, hasMore: false }, made: undefined };
  }
  if (request.sent.size === 0) memory.keepDefaults((before ?? after).defaults);
  const authorization = parameters.get('session_authorization');
  const begun = memory.shared(settingsOf(login.parameters, after, authorization));
  if (before === undefined) return { base: { ...common, login: begun, begun, hasMore: false }, made: undefined };
  const resets = memory.shared(settingsOf(parameters, before, authorization));
  const base = { ...common, login: resets, begun, hasMore: after.more };
  return { base, made: hasRun ? madeBy(before, after, request.sent) : undefined };
}

/** Answers whether it may run again on the server. */
async function runConnectQuery(login: LoggedIn, query: string, request: BaseRequest): Promise<boolean> {
  const { prelude, timeoutMs, warn } = request;
  if (prelude !== undefined) await askOnce(login, prelude, timeoutMs);
  const { refusal, status } = await ask(login, query, timeoutMs);
  if (refusal !== undefined) warn('connect_query failed', refusal);
  const isOpen = status !== TransactionStatus.Idle;
  if (isOpen) {
    const hint = 'End the transaction within connect_query.';
    const error = 'it leaves a transaction open, which is rolled back';
    warn('connect_query failed', new PoolerError(error, { sqlstate: '25001', hint }));
    await askOnce(login, 'ROLLBACK', timeoutMs);
  }
  if (refusal === undefined && !isOpen) return true;
  // What other servers begin with holds here too.
  if (prelude !== undefined) await askOnce(login, 'RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL', timeoutMs);
  return false;
}

function settingsOf(
  reported: ReadonlyMap<string, string>,
  found: Look | undefined,
  authorization: string | undefined,
): Settings {
  const values = new Map<string, string>();
  for (const [name, value] of reported) if (isReplayed(name)) values.set(name.toLowerCase(), value);
  for (const [name, value] of found?.settings ?? []) if (!values.has(name)) values.set(name, value);
  if (found !== undefined) {
    if (authorization !== undefined && found.authorization !== authorization)
      values.set('session_authorization', found.authorization);
    if (found.role !== 'none') values.set('role', found.role);
  }
  return new Settings(values);
}

/** What of it a startup packet can say. */
function madeBy(before: Look, after: Look, sent: Made): Made {
  const made = new Map<string, string>();
  for (const [name, value] of after.setInSession) {
    const isNew = !name.includes('.') || sent.has(name) || before.setInSession.get(name) !== value;
    if (isNew && isStartupSetting(name) && !value.includes('\0')) made.set(name, value);
  }
  const sameUser = after.authorization === before.authorization;
  if (sameUser && after.role !== 'none' && (sent.has('role') || after.role !== before.role))
    made.set('role', after.role);
  return made;
}

/** Words of the text that may be names of settings with a dot: no list of PostgreSQL's shows those. */
function namesIn(text: string): readonly string[] {
  const found = text.toLowerCase().matchAll(/(?:[a-z_][\w$]*|"[a-z_][\w$]*")(?:\.(?:[a-z_][\w$]*|"[a-z_][\w$]*"))+/g);
  return [...new Set([...found].map(([name]) => name.replaceAll('"', '')))].slice(0, 100);
}

/** Any of the names may be something else in the session's search path. */
const is = ' OPERATOR(pg_catalog.=) ';
const isDotted = " OPERATOR(pg_catalog.~) '^[^=]*[.]'";

function lookQuery(names: readonly string[], everything: boolean): string {
  const list = `ARRAY[${names.map(asciiLiteral).join(',')}]::pg_catalog.text[]`;
  const dotted =
    `SELECT pg_catalog.unnest(${list}) AS name UNION SELECT pg_catalog.lower(pg_catalog.split_part(c,'=',1))` +
    ` FROM pg_catalog.pg_db_role_setting d,pg_catalog.unnest(d.setconfig) c WHERE c${isDotted}`;
  return [
    "SELECT 'setting',pg_catalog.lower(s.name),pg_catalog.current_setting(s.name),s.context,s.source FROM pg_catalog.pg_settings s" +
      ` WHERE s.source${is}ANY(ARRAY[${[...isBase].map(asciiLiteral).join(',')}]::pg_catalog.text[])${everything ? ` OR s.context${is}'user'` : ''}`,
    "SELECT 'dotted',n.name,pg_catalog.current_setting(n.name,true),coalesce(s.context,'user'),'session'" +
      ` FROM (${dotted}) n LEFT JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name)${is}n.name`,
    "SELECT 'role',pg_catalog.current_setting('role'),pg_catalog.current_setting('session_authorization'),r.rolsuper::pg_catalog.text,''" +
      ` FROM pg_catalog.pg_roles r WHERE r.rolname${is}session_user`,
    "SELECT 'more','','','','' WHERE EXISTS(SELECT FROM pg_catalog.pg_prepared_statements)" +
      ' OR EXISTS(SELECT FROM pg_catalog.pg_listening_channels()) OR pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid' +
      ` OR EXISTS(SELECT FROM pg_catalog.pg_locks l WHERE l.locktype${is}'advisory' AND l.pid${is}pg_catalog.pg_backend_pid())`,
  ].join(' UNION ALL ');
}

/** Undefined where the server does not tell: then only what it reports is known. */
async function look(login: LoggedIn, names: readonly string[], request: BaseRequest): Promise<Look | undefined> {
  const query = lookQuery(names, !request.memory.hasDefaults);
  const { rows, refusal } = await ask(login, query, request.timeoutMs);
  if (refusal !== undefined) {
    request.warn('what the sessions of a server begin with could not be read', refusal);
    return undefined;
  }
  const superuser = rows.some(([what, , , context]) => what === 'role' && context === 'true');
  const settings = new Map<string, string>();
  const defaults = new Map<string, string>([['role', 'none']]);
  const setInSession = new Map<string, string>();
  let role = 'none';
  let authorization = '';
  let more = false;
  for (const [what, first, value, context, source] of rows) {
    const name = first ?? '';
    if (what === 'role') {
      role = name;
      authorization = value ?? '';
    } else if (what === 'more') {
      more = true;
    } else if (typeof value === 'string') {
      if (source === 'session') setInSession.set(name, value);
      const canSet = context === 'user' || (superuser && context === 'superuser');
      if (!canSet || !isCarried(name, value)) continue;
      if (isBase.has(source ?? '')) settings.set(name, value);
      else defaults.set(name, value);
    }
  }
  return { settings, defaults, superuser, setInSession, role, authorization, more };
}

/** Where values come from that are more than the configuration of the server. */
const isBase: ReadonlySet<string> = new Set(['database', 'user', 'database user', 'client', 'session']);

const printableAscii = /^[\x20-\x7e]*$/;

/** Whether clients begin with the setting, so that it stays theirs on servers that begin otherwise. */
function isCarried(name: string, value: string): boolean {
  return isReadBack(name) && printableAscii.test(value) && !(troublesome as readonly string[]).includes(name);
}
