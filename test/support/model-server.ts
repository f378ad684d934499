// A small PostgreSQL in memory: no SQL, but honest about both query protocols, errors until Sync, statements, portals, COPY and settings.

import {
  Backend,
  commandComplete,
  dataRow,
  emptyQueryMessage,
  Frontend,
  headerBytes,
  parameterStatus,
  readyForQuery,
  rowDescription,
  TransactionStatus,
} from '../../lib/wire/index.js';

/** What a statement of the model's language does. `token` is echoed, so that a reply can be told from another's. */
type Plan =
  /** `fails` behind its rows: the error's SQLSTATE. */
  | { readonly kind: 'rows'; readonly count: number; readonly token: string; readonly fails?: string | undefined }
  | { readonly kind: 'echo' }
  | { readonly kind: 'show'; readonly name: string }
  | { readonly kind: 'leaked' }
  | { readonly kind: 'leak'; readonly token: string }
  | { readonly kind: 'do'; readonly token: string }
  | { readonly kind: 'notice'; readonly token: string }
  | { readonly kind: 'fail'; readonly token: string }
  | { readonly kind: 'fatal'; readonly token: string }
  | { readonly kind: 'begin' | 'commit' | 'rollback' }
  | { readonly kind: 'set'; readonly name: string; readonly value: string; readonly rows: boolean }
  | { readonly kind: 'reset'; readonly name: string }
  | { readonly kind: 'copy-in'; readonly token: string; readonly badLine: number; readonly context: 'COPY' | 'none' }
  | { readonly kind: 'copy-out'; readonly count: number; readonly token: string }
  | { readonly kind: 'discard-all' | 'deallocate-all' };

function unquote(literal: string): string {
  return literal
    .replaceAll("''", "'")
    .replaceAll(/\\(?:u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/gs, (_, short?: string, long?: string, plain?: string) =>
      plain === undefined ? String.fromCodePoint(Number.parseInt(short ?? long ?? '', 16)) : plain,
    );
}

const patterns: readonly [RegExp, (match: RegExpExecArray) => Plan][] = [
  [/^select (\S+)$/, ([, token = '']) => ({ kind: 'rows', count: 1, token })],
  [
    /^rows (\d+) (\S+)(?: then (\w{5}))?$/,
    ([, count, token = '', fails]) => ({ kind: 'rows', count: Number(count), token, fails }),
  ],
  [/^echo \$1$/, () => ({ kind: 'echo' })],
  [/^show (\S+)$/, ([, name = '']) => ({ kind: 'show', name: name.toLowerCase() })],
  [/^leaked$/, () => ({ kind: 'leaked' })],
  [/^leak (\S+)$/, ([, token = '']) => ({ kind: 'leak', token })],
  [/^do (\S+)$/, ([, token = '']) => ({ kind: 'do', token })],
  [/^notice (\S+)$/, ([, token = '']) => ({ kind: 'notice', token })],
  [/^fail (\S+)$/, ([, token = '']) => ({ kind: 'fail', token })],
  [/^fatal (\S+)$/, ([, token = '']) => ({ kind: 'fatal', token })],
  [/^begin$/i, () => ({ kind: 'begin' })],
  [/^commit$/i, () => ({ kind: 'commit' })],
  [/^rollback$/i, () => ({ kind: 'rollback' })],
  [
    /^SET "?([^"\s]+)"? = E?'((?:[^'\\]|\\.|'')*)'$/is,
    ([, name = '', value = '']) => ({ kind: 'set', name: name.toLowerCase(), value: unquote(value), rows: false }),
  ],
  [
    /^SELECT pg_catalog\.set_config\('(\w+)', E'((?:[^'\\]|\\.|'')*)', false\)$/s,
    ([, name = '', value = '']) => ({ kind: 'set', name, value: unquote(value), rows: true }),
  ],
  [/^RESET "?([^"\s]+)"?$/i, ([, name = '']) => ({ kind: 'reset', name: name.toLowerCase() })],
  [/^copyin (\S+)$/, ([, token = '']) => ({ kind: 'copy-in', token, badLine: 0, context: 'COPY' })],
  [
    /^copybad (\d+) (\S+)$/,
    ([, line, token = '']) => ({ kind: 'copy-in', token, badLine: Number(line), context: 'COPY' }),
  ],
  [/^copytrigger (\S+)$/, ([, token = '']) => ({ kind: 'copy-in', token, badLine: -1, context: 'none' })],
  [/^copyout (\d+) (\S+)$/, ([, count, token = '']) => ({ kind: 'copy-out', count: Number(count), token })],
  [/^discard all$/i, () => ({ kind: 'discard-all' })],
  [/^deallocate all$/i, () => ({ kind: 'deallocate-all' })],
];

/** The plan of one statement, `undefined` for a text of nothing but space. */
function compile(text: string): Plan | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  for (const [pattern, plan] of patterns) {
    const match = pattern.exec(trimmed);
    if (match !== null) return plan(match);
  }
  throw new ModelError('42601', `syntax error at or near "${trimmed.split(' ')[0]}"`);
}

/** Statements of a simple query; a quoted semicolon separates nothing. */
function compileAll(text: string): Plan[] {
  const parts = text.match(/(?:[^;']|'(?:[^'\\]|\\.|'')*')+/gs) ?? [];
  return parts.map(compile).filter((plan) => plan !== undefined);
}

class ModelError extends Error {
  readonly sqlstate: string;
  readonly where: string;
  constructor(sqlstate: string, message: string, where = '') {
    super(message);
    this.sqlstate = sqlstate;
    this.where = where;
  }
}

interface Prepared {
  readonly plan: Plan | undefined;
}

interface Portal {
  readonly plan: Plan | undefined;
  readonly values: readonly (string | null)[];
  /** Rows not sent yet; undefined before the first Execute. */
  rows: (string | null)[] | undefined;
  done: boolean;
}

const emptyFrame = (tag: number): Buffer => Buffer.from([tag, 0, 0, 0, 4]);

function frame(tag: number, body: Buffer): Buffer {
  const header = Buffer.alloc(headerBytes);
  header[0] = tag;
  header.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
}

const copyResponse = Buffer.from([0, 0, 1, 0, 0]);

export interface ModelSettings {
  /** Display name by lower-case name: those the server reports. */
  readonly reported: ReadonlyMap<string, string>;
  /** Values by lower-case name after the login. */
  readonly login: ReadonlyMap<string, string>;
}

export const modelSettings: ModelSettings = {
  reported: new Map(
    ['application_name', 'TimeZone', 'DateStyle', 'client_encoding', 'search_path'].map((name) => [
      name.toLowerCase(),
      name,
    ]),
  ),
  login: new Map([
    ['application_name', ''],
    ['timezone', 'UTC'],
    ['datestyle', 'ISO'],
    ['client_encoding', 'UTF8'],
    ['search_path', 'public'],
  ]),
};

export class ModelServer {
  readonly #reply: (bytes: Buffer) => void;
  readonly #settings: ModelSettings;
  #current: Map<string, string>;
  #reportedValues: Map<string, string>;
  /** Settings at the beginning of the transaction. */
  #before: Map<string, string> | undefined;
  #leaked = '-';
  #input: Buffer = Buffer.alloc(0);
  readonly statements = new Map<string, Prepared>();
  readonly #portals = new Map<string, Portal>();
  #status: TransactionStatus = TransactionStatus.Idle;
  #ignoring = false;
  #copy: { readonly plan: Plan & { kind: 'copy-in' }; lines: number; readonly rest: Plan[] | undefined } | undefined;
  /** The connection is over. */
  dead = false;
  /** Tokens of `do` statements carried out, in order. */
  readonly done: string[] = [];

  constructor(reply: (bytes: Buffer) => void, settings: ModelSettings = modelSettings) {
    this.#reply = reply;
    this.#settings = settings;
    this.#current = new Map(settings.login);
    this.#reportedValues = new Map(settings.login);
  }

  get status(): TransactionStatus {
    return this.#status;
  }

  get ignoring(): boolean {
    return this.#ignoring;
  }

  /** Whether part of a message has come and the rest has not. */
  get midMessage(): boolean {
    return this.#input.length > 0;
  }

  get copyingIn(): boolean {
    return this.#copy !== undefined;
  }

  /** Ends the connection, as pg_terminate_backend does. */
  terminate(): void {
    if (this.dead) return;
    this.#fatal('57P01', 'terminating connection due to administrator command');
  }

  feed(bytes: Buffer): void {
    this.#input = this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes]);
    while (!this.dead && this.#input.length >= headerBytes) {
      const end = 1 + this.#input.readUInt32BE(1);
      if (this.#input.length < end) return;
      const message = this.#input.subarray(0, end);
      this.#input = this.#input.subarray(end);
      this.#onMessage(message);
    }
  }

  #onMessage(message: Buffer): void {
    const tag = message[0] as number;
    try {
      if (this.#copy !== undefined) this.#onCopyMessage(tag, message);
      else this.#onFrontend(tag, message);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      this.#fail(error, tag === Frontend.Query || tag === Frontend.FunctionCall);
    }
  }

  #fail(error: ModelError, simple: boolean): void {
    this.#copy = undefined;
    const where = error.where === '' ? '' : `W${error.where}\0`;
    this.#reply(
      frame(
        Backend.ErrorResponse,
        Buffer.from(`SERROR\0VERROR\0C${error.sqlstate}\0M${error.message}\0${where}\0`, 'latin1'),
      ),
    );
    if (this.#status === TransactionStatus.Idle) this.#endTransaction('rollback');
    else this.#status = TransactionStatus.Failed;
    if (simple) this.#ready();
    else this.#ignoring = true;
  }

  #fatal(sqlstate: string, message: string): void {
    this.#reply(frame(Backend.ErrorResponse, Buffer.from(`SFATAL\0VFATAL\0C${sqlstate}\0M${message}\0\0`, 'latin1')));
    this.dead = true;
  }

  /** Reports what changed, then ReadyForQuery. */
  #ready(): void {
    if (this.#status === TransactionStatus.Idle) this.#endTransaction('commit');
    for (const [lower, name] of this.#settings.reported) {
      const value = this.#current.get(lower) ?? '';
      if (value === this.#reportedValues.get(lower)) continue;
      this.#reportedValues.set(lower, value);
      this.#reply(parameterStatus(name, value));
    }
    this.#reply(readyForQuery(this.#status));
  }

  #endTransaction(how: 'commit' | 'rollback'): void {
    if (how === 'rollback' && this.#before !== undefined) this.#current = this.#before;
    this.#before = undefined;
    this.#status = TransactionStatus.Idle;
    this.#portals.clear();
  }

  #onFrontend(tag: number, message: Buffer): void {
    if (tag === Frontend.Sync) {
      this.#ignoring = false;
      this.#ready();
      return;
    }
    if (tag === Frontend.Terminate) {
      this.dead = true;
      return;
    }
    if (this.#ignoring) return;
    switch (tag) {
      case Frontend.Query:
        this.statements.delete('');
        this.#simple(message.toString('latin1', 5, message.length - 1));
        break;
      case Frontend.Parse:
        this.#parse(message);
        break;
      case Frontend.Bind:
        this.#bind(message);
        break;
      case Frontend.Describe:
        this.#describe(message);
        break;
      case Frontend.Execute:
        this.#execute(message);
        break;
      case Frontend.Close: {
        const name = message.toString('latin1', 6, message.length - 1);
        if (message[5] === 0x53) this.statements.delete(name);
        else this.#portals.delete(name);
        this.#reply(emptyFrame(Backend.CloseComplete));
        break;
      }
      case Frontend.FunctionCall:
        this.#refuseInFailed(undefined);
        this.#reply(frame(Backend.FunctionCallResponse, message.subarray(5)));
        this.#ready();
        break;
      case Frontend.Flush:
      case Frontend.CopyData:
      case Frontend.CopyDone:
      case Frontend.CopyFail:
        break;
      default:
        this.#fatal('08P01', `invalid frontend message type ${tag}`);
    }
  }

  #refuseInFailed(plan: Plan | undefined): void {
    if (this.#status !== TransactionStatus.Failed || plan?.kind === 'rollback' || plan?.kind === 'commit') return;
    throw new ModelError('25P02', 'current transaction is aborted, commands ignored until end of transaction block');
  }

  #simple(text: string): void {
    const plans = compileAll(text);
    if (plans.length === 0) this.#reply(emptyQueryMessage);
    this.#runSimple(plans);
  }

  #runSimple(plans: Plan[]): void {
    for (let plan = plans.shift(); plan !== undefined; plan = plans.shift()) {
      this.#refuseInFailed(plan);
      if (plan.kind === 'copy-in') {
        this.#beginCopy(plan, plans);
        return;
      }
      const name = columnOf(plan);
      if (name !== undefined) this.#reply(rowDescription([{ name, typeOid: 25, typeSize: -1 }]));
      this.#run(plan, []);
      if (this.dead) return;
    }
    this.#ready();
  }

  /** Carries it out with all its rows. */
  #run(plan: Plan, values: readonly (string | null)[]): void {
    const rows = this.#rowsOf(plan, values);
    for (const row of rows) this.#reply(dataRow([row]));
    const tag = this.#finish(plan, rows.length);
    if (!this.dead) this.#reply(commandComplete(tag));
  }

  #rowsOf(plan: Plan, values: readonly (string | null)[]): (string | null)[] {
    switch (plan.kind) {
      case 'rows':
        return Array.from({ length: plan.count }, (_, i) => `${plan.token}.${i}`);
      case 'echo':
        return [values[0] ?? null];
      case 'show':
        return [this.#current.get(plan.name) ?? ''];
      case 'leaked':
        return [this.#leaked];
      case 'set':
        this.#set(plan.name, plan.value);
        return plan.rows ? [plan.value] : [];
      case 'fail':
        throw new ModelError('22012', `division by zero ${plan.token}`);
      default:
        return [];
    }
  }

  #set(name: string, value: string): void {
    if (value === 'invalid') throw new ModelError('22023', `invalid value for parameter "${name}"`);
    this.#before ??= new Map(this.#current);
    this.#current.set(name, value);
  }

  /** What is left to do when the rows are out; answers the command tag. */
  #finish(plan: Plan, rows: number): string {
    switch (plan.kind) {
      case 'rows':
        if (plan.fails !== undefined) throw new ModelError(plan.fails, `no more of ${plan.token}`);
        return `SELECT ${rows}`;
      case 'echo':
      case 'leaked':
        return `SELECT ${rows}`;
      case 'show':
        return 'SHOW';
      case 'set':
        return plan.rows ? 'SELECT 1' : 'SET';
      case 'reset':
        this.#set(plan.name, this.#settings.login.get(plan.name) ?? '');
        return 'RESET';
      case 'leak':
        this.#leaked = plan.token;
        return 'LEAK';
      case 'do':
        this.done.push(plan.token);
        return `DO ${plan.token}`;
      case 'notice':
        this.#reply(frame(Backend.NoticeResponse, Buffer.from(`SNOTICE\0VNOTICE\0C00000\0M${plan.token}\0\0`)));
        return 'NOTICE';
      case 'fatal':
        this.#fatal('57P01', `terminating connection ${plan.token}`);
        return '';
      case 'begin':
        this.#before ??= new Map(this.#current);
        this.#status = TransactionStatus.InTransaction;
        return 'BEGIN';
      case 'commit': {
        const failed = this.#status === TransactionStatus.Failed;
        this.#endTransaction(failed ? 'rollback' : 'commit');
        return failed ? 'ROLLBACK' : 'COMMIT';
      }
      case 'rollback':
        this.#endTransaction('rollback');
        return 'ROLLBACK';
      case 'copy-out':
        this.#reply(frame(Backend.CopyOutResponse, copyResponse));
        for (let i = 0; i < plan.count; i++) this.#reply(frame(Backend.CopyData, Buffer.from(`${plan.token}.${i}\n`)));
        this.#reply(emptyFrame(Backend.CopyDone));
        return `COPY ${plan.count}`;
      case 'discard-all': {
        if (this.#status !== TransactionStatus.Idle)
          throw new ModelError('25001', 'DISCARD ALL cannot run inside a transaction block');
        this.#current = new Map(this.#settings.login);
        this.#leaked = '-';
        this.#forgetStatements();
        return 'DISCARD ALL';
      }
      case 'deallocate-all':
        this.#forgetStatements();
        return 'DEALLOCATE ALL';
      case 'fail':
      case 'copy-in':
        throw new Error('never finished');
      default:
        return plan satisfies never;
    }
  }

  /** The unnamed one is not among them. */
  #forgetStatements(): void {
    const unnamed = this.statements.get('');
    this.statements.clear();
    if (unnamed !== undefined) this.statements.set('', unnamed);
  }

  #parse(message: Buffer): void {
    const [name = '', text = ''] = message.toString('latin1', 5).split('\0');
    if (name === '') this.statements.delete('');
    const plan = compile(text);
    this.#refuseInFailed(plan);
    if (name !== '' && this.statements.has(name))
      throw new ModelError('42P05', `prepared statement "${name}" already exists`);
    this.statements.set(name, { plan });
    this.#reply(emptyFrame(Backend.ParseComplete));
  }

  #prepared(name: string): Prepared {
    const prepared = this.statements.get(name);
    if (prepared !== undefined) return prepared;
    throw new ModelError(
      '26000',
      name === '' ? 'unnamed prepared statement does not exist' : `prepared statement "${name}" does not exist`,
    );
  }

  #bind(message: Buffer): void {
    const portalEnd = message.indexOf(0, 5);
    const nameEnd = message.indexOf(0, portalEnd + 1);
    const { plan } = this.#prepared(message.toString('latin1', portalEnd + 1, nameEnd));
    this.#refuseInFailed(plan);
    let at = nameEnd + 1;
    at += 2 + 2 * message.readUInt16BE(at);
    const values: (string | null)[] = [];
    let count = message.readUInt16BE(at);
    at += 2;
    for (; count > 0; count--) {
      const length = message.readInt32BE(at);
      at += 4;
      values.push(length < 0 ? null : message.toString('utf8', at, at + length));
      at += Math.max(0, length);
    }
    const portal = message.toString('latin1', 5, portalEnd);
    if (portal !== '' && this.#portals.has(portal)) throw new ModelError('42P03', `cursor "${portal}" already exists`);
    this.#portals.set(portal, { plan, values, rows: undefined, done: false });
    this.#reply(emptyFrame(Backend.BindComplete));
  }

  #portal(name: string): Portal {
    const portal = this.#portals.get(name);
    if (portal === undefined) throw new ModelError('34000', `portal "${name}" does not exist`);
    return portal;
  }

  #describe(message: Buffer): void {
    const name = message.toString('latin1', 6, message.length - 1);
    const ofStatement = message[5] === 0x53;
    const { plan } = ofStatement ? this.#prepared(name) : this.#portal(name);
    const column = plan === undefined ? undefined : columnOf(plan);
    if (column !== undefined) this.#refuseInFailed(plan);
    if (ofStatement) this.#reply(frame(Backend.ParameterDescription, Buffer.from([0, 0])));
    this.#reply(
      column === undefined ? emptyFrame(Backend.NoData) : rowDescription([{ name: column, typeOid: 25, typeSize: -1 }]),
    );
  }

  #execute(message: Buffer): void {
    const nameEnd = message.indexOf(0, 5);
    const portal = this.#portal(message.toString('latin1', 5, nameEnd));
    const max = message.readUInt32BE(nameEnd + 1);
    const { plan } = portal;
    if (plan === undefined) {
      this.#reply(emptyQueryMessage);
      return;
    }
    this.#refuseInFailed(plan);
    if (portal.done) throw new ModelError('55000', 'portal cannot be run');
    if (plan.kind === 'copy-in') {
      portal.done = true;
      this.#beginCopy(plan, undefined);
      return;
    }
    portal.rows ??= this.#rowsOf(plan, portal.values);
    const now = max === 0 ? portal.rows.splice(0) : portal.rows.splice(0, max);
    for (const row of now) this.#reply(dataRow([row]));
    if (max > 0 && now.length === max) {
      this.#reply(emptyFrame(Backend.PortalSuspended));
      return;
    }
    portal.done = true;
    const tag = this.#finish(plan, now.length);
    if (!this.dead) this.#reply(commandComplete(tag));
  }

  #beginCopy(plan: Plan & { kind: 'copy-in' }, rest: Plan[] | undefined): void {
    this.#copy = { plan, lines: 0, rest };
    this.#reply(frame(Backend.CopyInResponse, copyResponse));
    // As a trigger before the statement: nothing of the data has been read.
    if (plan.badLine < 0)
      this.#failCopy(new ModelError('P0001', `trigger ${plan.token}`, 'PL/pgSQL function f() line 1 at RAISE'));
  }

  #failCopy(error: ModelError): void {
    this.#fail(error, this.#copy?.rest !== undefined);
  }

  #onCopyMessage(tag: number, message: Buffer): void {
    const copy = this.#copy;
    if (copy === undefined) return;
    const where = `COPY t, line ${copy.lines + 1}`;
    switch (tag) {
      case Frontend.CopyData:
        copy.lines++;
        if (copy.lines === copy.plan.badLine)
          this.#failCopy(new ModelError('22P02', `invalid input ${copy.plan.token}`, where));
        break;
      case Frontend.CopyDone: {
        this.#copy = undefined;
        this.#reply(commandComplete(`COPY ${copy.lines}`));
        if (copy.rest !== undefined) this.#finishSimple(copy.rest);
        break;
      }
      case Frontend.CopyFail:
        this.#failCopy(
          new ModelError(
            '57014',
            `COPY from stdin failed: ${message.toString('latin1', 5, message.length - 1)}`,
            where,
          ),
        );
        break;
      case Frontend.Sync:
      case Frontend.Flush:
        break;
      default:
        this.#fatal('08P01', 'terminating connection because protocol synchronization was lost');
    }
  }

  #finishSimple(rest: Plan[]): void {
    try {
      this.#runSimple(rest);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      this.#fail(error, true);
    }
  }
}

/** The name of its column, for a statement with rows. */
function columnOf(plan: Plan): string | undefined {
  switch (plan.kind) {
    case 'rows':
    case 'echo':
    case 'leaked':
      return plan.kind;
    case 'show':
      return plan.name;
    case 'set':
      return plan.rows ? 'set_config' : undefined;
    default:
      return undefined;
  }
}
