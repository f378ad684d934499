// Turns the facts of a statement into its footprint: what it may leave in the session, and what the operator says to that.

import {
  Effect,
  type Footprint,
  footprint,
  type HazardName,
  type HazardPolicy,
  isReadBack,
  isSettingName,
  Notifies,
  opaque,
  ReadShape,
  SequenceUse,
  type StatementUse,
  type TransactionTag,
} from '../session/index.js';
import {
  type Argument,
  createStatementCatalog,
  type DatabaseUse,
  type Hazard,
  isCatalogFunction,
  isSafeEncoding,
  type ScanMode,
  type SignalledPids,
  type StatementCatalog,
  type StatementFacts,
  type StatementKind,
  signalFunctions,
} from '../sql/index.js';

/**
 * Settings every supported server reports: a SET of them, or its ROLLBACK, is seen without asking. Not those that decide
 * how the text behind them is read: in a pipeline it is inspected before the server has reported them.
 */
const reported = new Set([
  'application_name',
  'datestyle',
  'default_transaction_read_only',
  'intervalstyle',
  'timezone',
]);

/** What decides how a text is read. */
const lexical = new Set(['client_encoding', 'standard_conforming_strings']);

/** Statements that may fill a column from its default, and so call nextval. */
const mayFillDefaults = new Set<StatementKind>(['insert', 'merge', 'other']);
/** Those that do so only with another one inside. */
const mayContain = new Set<StatementKind>(['select', 'explain']);

/** Statements that call nothing of the database's own. */
const usesNoSequence = new Set<StatementKind>([
  'transaction',
  'set',
  'show',
  'prepare',
  'deallocate',
  'listen',
  'unlisten',
  'notify',
  'close',
  'lock',
  'checkpoint',
  // What these run has been sent before, in the same transaction.
  'set_constraints',
  'fetch',
]);
/** Those that another one may precede in a batch. */
const joinsBatch = new Set<StatementKind>(['select', 'insert', 'update', 'delete', 'merge']);
/** Built-ins that read relations whose names they are given. */
const notifiesByName = /(^|\.)pg_notify$/;
const readsByName = /_to_xml/;

/** What may give a relation code that runs when it is read. */
const changesRelations = new Set([
  'ViewStmt',
  'CreateForeignTableStmt',
  'RuleStmt',
  'AlterTableStmt',
  'RenameStmt',
  'AlterObjectSchemaStmt',
  'CreateSchemaStmt',
  // Code that runs for any table, by an operator, a cast, a type.
  'DefineStmt',
  'CreateCastStmt',
  'CreateDomainStmt',
  'AlterDomainStmt',
  'CreateOpClassStmt',
  'AlterOpFamilyStmt',
]);

/** Built-ins that run a statement or cursor they are given; of the others that change a session nothing undoes what they do. */
const runsText = /_to_xml|^ts_/;

/** Which treatment each hazard gets; `auto` where none is given. */
export type HazardPolicies = Readonly<Partial<Record<HazardName, HazardPolicy>>>;

/** What changes a setting or the role, for the session or for its transaction. */
const changesSettings: ReadonlySet<Hazard['kind']> = new Set<Hazard['kind']>([
  'set',
  'reset',
  'reset_all',
  'set_role',
  'session_authorization',
  'session_characteristics',
  'set_config',
]);

/** A footprint being made. */
class Draft {
  effects: number = Effect.None;
  readonly settings = new Set<string>();
  readonly settingParameters = new Set<number>();
  readonly statements: StatementUse[] = [];
  readonly channels: Footprint['channels'][number][] = [];
  readonly databases: DatabaseUse[] = [];
  readonly hazards = new Set<HazardName>();

  add(hazard: HazardName | undefined, effects: number): void {
    this.effects |= effects;
    if (hazard !== undefined) this.hazards.add(hazard);
  }

  setting(name: string, sort: 'set' | 'reset'): void {
    const lower = name.toLowerCase();
    if (lower === 'role' || lower === 'session_authorization') {
      this.add('role', Effect.Role);
      return;
    }
    if (lower === 'seed') {
      this.add('load', Effect.Indelible);
      return;
    }
    if (!isSettingName(lower)) {
      // Nothing that could be asked for, or set again.
      this.add('setting', Effect.Unknown | Effect.Unseen);
      return;
    }
    // Those that are left describe a transaction.
    if (!isReadBack(lower)) return;
    this.hazards.add('setting');
    if (sort === 'set' && reported.has(lower)) return;
    this.settings.add(lower);
    this.effects |= Effect.Settings;
    if (sort === 'reset') this.effects |= Effect.ResetSettings;
    if (lexical.has(lower)) this.effects |= Effect.Lexical;
  }

  /** Nothing of it outlives the transaction; until then the value is the one the client's session began with. */
  #localReset(name: string): void {
    const lower = name.toLowerCase();
    if (!isSettingName(lower) || !isReadBack(lower)) return;
    this.settings.add(lower);
    this.effects |= Effect.Settings | Effect.LocalResets;
  }

  hazard(hazard: Hazard): void {
    if (changesSettings.has(hazard.kind)) this.effects |= Effect.Sets;
    switch (hazard.kind) {
      case 'set':
        if (hazard.name === 'search_path') this.#searchPath(hazard.values ?? []);
        if (!hazard.local) this.setting(hazard.name, hazard.values === null ? 'reset' : 'set');
        else if (hazard.values === null) this.#localReset(hazard.name);
        break;
      case 'reset':
        this.setting(hazard.name, 'reset');
        break;
      case 'reset_all':
        this.add('setting', Effect.AllSettings | Effect.Lexical);
        break;
      case 'set_role':
      case 'session_authorization':
        if (!hazard.local) this.add('role', Effect.Role | (hazard.role === null ? Effect.ResetsRole : 0));
        break;
      case 'session_characteristics':
        for (const { name } of hazard.settings) this.setting(name, 'set');
        break;
      case 'set_config':
        this.#setConfig(hazard);
        break;
      case 'prepare':
      case 'execute':
        this.#statement(hazard.kind, hazard.name);
        break;
      case 'deallocate':
        if (hazard.name === null) this.add('statement', Effect.ForgetsStatements);
        else this.#statement('deallocate', hazard.name);
        break;
      case 'discard':
        this.#discard(hazard.what);
        break;
      case 'listen':
        this.channels.push({ kind: 'listen', channel: latin1(hazard.channel) });
        this.add('listen', Effect.Listens);
        break;
      case 'unlisten':
        this.channels.push({ kind: 'unlisten', channel: hazard.channel === null ? null : latin1(hazard.channel) });
        this.add('listen', Effect.Unlistens);
        break;
      case 'declare_hold':
        this.add('cursor', Effect.Cursors);
        break;
      case 'advisory_lock':
        this.add('advisory_lock', Effect.Locks);
        break;
      case 'temp_object':
        if (!hazard.onCommitDrop) this.add('temp', Effect.Temp);
        break;
      case 'load':
      case 'setseed':
      case 'dblink':
        this.add('load', Effect.Indelible);
        break;
      case 'session_function':
        if (runsText.test(hazard.function)) this.add('unknown', Effect.Unknown);
        else this.add('load', Effect.Indelible);
        break;
      case 'nextval':
        this.add('sequence', Effect.Sequences);
        break;
      case 'currval':
      case 'lastval':
        this.add('sequence', Effect.ReadsSequences);
        break;
      case 'unknown_function':
      case 'do':
      case 'call':
      case 'unknown_statement':
        this.add('unknown', Effect.Unknown | Effect.Sequences | Effect.HoldsCode);
        break;
      case 'close':
      case 'drop':
      case 'advisory_unlock':
        this.effects |= Effect.Ends;
        break;
      case 'ddl':
        if (hazard.node === 'DropOwnedStmt') this.effects |= Effect.Ends;
        if (hazard.node === 'CreateFunctionStmt') this.effects |= Effect.HoldsCode;
        if (changesRelations.has(hazard.node)) this.effects |= Effect.ChangesRelations;
        break;
      case 'transaction':
        if (hazard.operation === 'commit') this.effects |= Effect.Commits;
        break;
      case 'copy':
        if (hazard.direction === 'from') this.effects |= Effect.Sequences;
        break;
      case 'vacant':
        this.databases.push(...hazard.databases);
        break;
      case 'notify':
        break;
      default:
        hazard satisfies never;
    }
  }

  #statement(kind: StatementUse['kind'], name: string): void {
    this.statements.push({ kind, name: latin1(name) });
    this.add('statement', kind === 'execute' ? Effect.None : Effect.Statements);
  }

  /** Behind a path with pg_temp in it CREATE TABLE makes a temporary one, and names may be the client's own: also when LOCAL. */
  #searchPath(values: readonly Argument[]): void {
    const plain = values.every((value) => value.kind === 'literal' && !/pg_temp|pg_catalog/i.test(value.value ?? ''));
    if (!plain) this.add('unknown', Effect.Unknown | Effect.Distrusted);
  }

  #setConfig({ name, value, local }: Hazard & { kind: 'set_config' }): void {
    if (name.kind === 'literal' && name.value?.toLowerCase() === 'search_path') this.#searchPath([value]);
    if (name.kind !== 'literal' && local.kind === 'literal' && local.value === 'true')
      this.add('setting', Effect.Unknown);
    if (local.kind === 'literal' && local.value === 'true') return;
    // NULL as the value is a RESET.
    const sort = value.kind === 'literal' && value.value === null ? 'reset' : 'set';
    if (name.kind === 'literal') {
      if (name.value !== null) this.setting(name.value, sort);
    } else if (name.kind === 'parameter') {
      this.settingParameters.add(name.number);
      this.add('setting', Effect.Settings);
    } else {
      this.add('setting', Effect.Unknown);
    }
  }

  #discard(what: 'all' | 'plans' | 'sequences' | 'temp'): void {
    if (what === 'all') {
      this.add(undefined, Effect.AllSettings | Effect.Role | Effect.Ends | Effect.ForgetsSequences | Effect.Unlistens);
      this.effects |= Effect.Lexical | Effect.ForgetsStatements | Effect.Sets;
      this.channels.push({ kind: 'unlisten', channel: null });
    } else if (what === 'sequences') {
      this.effects |= Effect.ForgetsSequences;
    } else if (what === 'temp') {
      this.effects |= Effect.Ends;
    }
  }
}

/** Identifiers and names are bytes in the terms of the relay. */
function latin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** @param effects of its hazards */
function sequenceUseOf(facts: StatementFacts, effects: number): SequenceUse {
  const { kinds, readOnly, hazards, functions, tables, ownCode } = facts;
  if (hazards.some(({ kind }) => kind === 'nextval')) return SequenceUse.Named;
  // A type of one's own is an enum mostly: its server is not worth keeping.
  if (ownCode) return readOnly ? SequenceUse.Views : SequenceUse.Hidden;
  if ((effects & (Effect.Unknown | Effect.ForgetsSequences)) !== 0) return SequenceUse.Hidden;
  if (kinds.every((kind) => usesNoSequence.has(kind) || kind === 'discard')) return SequenceUse.None;
  if (!readOnly || !kinds.every((kind) => mayContain.has(kind) || usesNoSequence.has(kind))) return SequenceUse.Hidden;
  if (functions.some((name) => readsByName.test(name))) return SequenceUse.Hidden;
  return tables.length === 0 && functions.length === 0 ? SequenceUse.None : SequenceUse.Tables;
}

/** @param sequenceUse whatever may take a value unseen may notify unseen */
function notifiesOf({ hazards, functions }: StatementFacts, sequenceUse: SequenceUse): Notifies {
  if (hazards.some(({ kind }) => kind === 'notify') || functions.some((name) => notifiesByName.test(name)))
    return Notifies.Named;
  return sequenceUse > SequenceUse.Views ? Notifies.Hidden : Notifies.Never;
}

function footprintOf(facts: StatementFacts, policies: HazardPolicies): Footprint {
  if (!facts.known || facts.truncated) return withPolicies(footprint({ ...opaque, facts }), policies);
  const draft = new Draft();
  for (const hazard of facts.hazards) draft.hazard(hazard);
  if (facts.sessionEffects === 'unknown' && (draft.effects & Effect.Indelible) === 0) {
    draft.add('unknown', Effect.Unknown | Effect.Sequences);
  }
  const fills = facts.kinds.some((kind) => mayFillDefaults.has(kind));
  const contains = facts.kinds.every((kind) => mayContain.has(kind));
  if (!facts.readOnly && (fills || contains)) draft.effects |= Effect.Sequences;
  if (facts.tables.some(({ name }) => name === 'pg_prepared_statements')) draft.effects |= Effect.ShowsStatements;
  for (const name of facts.functions) {
    if (name.endsWith('pg_prepared_statement')) draft.effects |= Effect.ShowsStatements;
    if (name.endsWith('pg_listening_channels')) draft.effects |= Effect.ShowsChannels;
  }
  const transaction = transactionOf(facts);
  const calls = facts.functions.filter((name) => isCatalogFunction(name));
  const signals = facts.functions.some((name) => signalFunctions.has(name));
  const sequenceUse = sequenceUseOf(facts, draft.effects);
  const tables = sequenceUse === SequenceUse.Tables ? facts.tables.map(({ name }) => name) : [];
  const only = facts.kinds.length === 1 ? facts.kinds[0] : undefined;
  const notifies = notifiesOf(facts, sequenceUse);
  const sequences = { sequenceUse, notifies, tables, joinsBatch: only !== undefined && joinsBatch.has(only) };
  const isPlain = draft.effects === Effect.None && draft.hazards.size === 0 && draft.statements.length === 0;
  if (isPlain && draft.databases.length === 0) {
    if (transaction !== undefined) return footprint({ transaction, facts });
    const sharable = facts.laneCandidate && !facts.tables.some(isOfServer);
    const read = sharable ? new ReadShape(facts.tables.map(({ name }) => name)) : undefined;
    return footprint({ calls, read, signals, ...sequences, facts });
  }
  if (facts.hazards.some(({ kind }) => kind === 'transaction')) draft.effects |= Effect.Transacts;
  const [first] = facts.hazards;
  if (only === 'discard' && first?.kind === 'discard' && first.what === 'all') draft.effects |= Effect.OutsideOnly;
  return withPolicies(
    footprint({
      effects: draft.effects,
      settings: [...draft.settings],
      settingParameters: [...draft.settingParameters],
      statements: draft.statements,
      channels: draft.channels,
      databases: draft.databases,
      hazards: [...draft.hazards],
      example: facts.shape.text,
      calls,
      transaction,
      signals,
      ...sequences,
      facts,
    }),
    policies,
  );
}

const transactionTags: Readonly<Record<string, TransactionTag>> = {
  begin: 'BEGIN',
  start: 'START TRANSACTION',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',
};

function transactionOf({ kinds, hazards }: StatementFacts): TransactionTag | undefined {
  const [hazard] = hazards;
  if (kinds.length !== 1 || hazards.length !== 1 || hazard?.kind !== 'transaction' || hazard.chain) return undefined;
  return transactionTags[hazard.operation];
}

/** Tables that may show the one server connection they are read on, or that differ from one to the next. */
function isOfServer({ schema, name }: StatementFacts['tables'][number]): boolean {
  return name.startsWith('pg_') || schema === 'information_schema';
}

const made = /\bfunction\s+(?:"?[\w$]+"?\s*\.\s*)?"?([\w$]+)"?\s*\(/gi;

/** Functions of PostgreSQL's names that the text seems to make or change: too many do no harm. */
export function overloadsNamedIn(text: string): string[] {
  return [...text.matchAll(made)].map((match) => (match[1] as string).toLowerCase()).filter(isCatalogFunction);
}

const relations = /\b(?:view|table|to)\s+(?:(?:if\s+(?:not\s+)?exists|only)\s+)*(?:"?[\w$]+"?\s*\.\s*)?"?([\w$]+)"?/gi;

const defines = /\b(?:create|alter)\b/i;
const anywhere = /\b(?:operator|cast|domain|type|aggregate)\b/i;

/** Whether the text seems to make or change what may run code when any table is read. */
export function changesReadingIn(text: string): boolean {
  return defines.test(text) && anywhere.test(text);
}

/** Views and tables that the text seems to make or change: too many do no harm. */
export function relationsNamedIn(text: string): string[] {
  if (!defines.test(text)) return [];
  return [...text.matchAll(relations)].flatMap(([, name]) => (name === undefined ? [] : [name, name.toLowerCase()]));
}

/** Writes that may call nextval are no hazard of their own, but they are what `sequence = pin` is about. */
function withPolicies(found: Footprint, policies: HazardPolicies): Footprint {
  const pins = found.hazards.filter((name) => policies[name] === 'pin');
  if (policies.sequence === 'pin' && (found.effects & Effect.Sequences) !== 0 && !pins.includes('sequence')) {
    pins.push('sequence');
  }
  const refused = found.hazards.find((name) => policies[name] === 'refuse');
  return pins.length === 0 && refused === undefined ? found : footprint({ ...found, pins, refused });
}

/** Bytes of a text with code that are searched for names of settings. */
const searchedBytesMax = 256 * 1024;
const namedInCode = /(?:\bset\s+(?:session\s+|local\s+)?|_config\s*\(\s*'+)([a-z_][a-z0-9_$]*\.[a-z_][a-z0-9_$.]*)/gi;

/** Settings with a dot that the text seems to set: too many do no harm, they are only asked for. */
export function settingsNamedIn(text: string): string[] {
  return [...text.matchAll(namedInCode)].map((match) => (match[1] as string).toLowerCase());
}

/** Spaces put before a statement, at most. */
const placeBytesMax = 1024;

/** A part of a text, behind spaces: errors in it tell where in the whole they are. */
function inPlace(text: Buffer, start: number, end: number): Buffer {
  if (start > placeBytesMax) return text.subarray(start, end);
  const part = Buffer.alloc(end, ' ');
  text.copy(part, start, start, end);
  return part;
}

interface NamedInCode {
  readonly settings: readonly string[];
  readonly overloads: readonly string[];
  readonly relations: readonly string[];
  readonly changesReading: boolean;
}

const entriesMax = 10_000;
const bytesMax = 32 * 1024 * 1024;

export class Inspector {
  readonly #catalog: StatementCatalog;
  readonly #mode: { standardConformingStrings: boolean; encoding: 'safe' | 'unsafe' } = {
    standardConformingStrings: true,
    encoding: 'safe',
  };
  #policies: HazardPolicies = {};
  #unread: Footprint = opaque;
  /** By the identity of the facts, which the catalog keeps with the shape. */
  #footprints = new WeakMap<StatementFacts, Footprint>();
  #overloaded = new WeakMap<Footprint, Footprint>();

  private constructor(catalog: StatementCatalog) {
    this.#catalog = catalog;
  }

  static async create(
    inspectLimitBytes: number,
    policies: HazardPolicies,
    trustedFunctions: readonly string[],
  ): Promise<Inspector> {
    const inspector = new Inspector(
      await createStatementCatalog({ maxEntries: entriesMax, maxBytes: bytesMax, inspectLimitBytes, trustedFunctions }),
    );
    inspector.policies = policies;
    return inspector;
  }

  /** Of a statement that is not read. */
  get unread(): Footprint {
    return this.#unread;
  }

  get stats(): ReturnType<StatementCatalog['stats']> {
    return this.#catalog.stats();
  }

  /** Whether facts come with what a policy judges; what is known is learnt anew when that changes. */
  set withDeeds(wanted: boolean) {
    this.#catalog.withDeeds = wanted;
  }

  /** Calls back once when a text that was pending may be known. */
  afterParse(callback: () => void): void {
    this.#catalog.afterParse(callback);
  }

  set policies(policies: HazardPolicies) {
    this.#policies = policies;
    this.#unread = withPolicies(opaque, policies);
    this.#footprints = new WeakMap();
    this.#overloaded = new WeakMap();
  }

  #facts(
    bytes: Buffer,
    start: number,
    end: number,
    standardConformingStrings: string | undefined,
    encoding: string | undefined,
  ): StatementFacts {
    return this.#catalog.lookup(bytes, start, end, this.#modeOf(standardConformingStrings, encoding));
  }

  /** Of this very text, whose places the deeds tell. */
  ownFacts(
    bytes: Buffer,
    start: number,
    end: number,
    standardConformingStrings: string | undefined,
    encoding: string | undefined,
  ): StatementFacts {
    return this.#catalog.lookupText(bytes, start, end, this.#modeOf(standardConformingStrings, encoding));
  }

  #modeOf(standardConformingStrings: string | undefined, encoding: string | undefined): ScanMode {
    this.#mode.standardConformingStrings = standardConformingStrings !== 'off';
    this.#mode.encoding = encoding === undefined || encoding === 'UTF8' || isSafeEncoding(encoding) ? 'safe' : 'unsafe';
    return this.#mode;
  }

  /** The footprint of the text from `start` to `end`, as a server with these settings would read it. */
  footprint(
    bytes: Buffer,
    start: number,
    end: number,
    standardConformingStrings: string | undefined,
    encoding: string | undefined,
  ): Footprint {
    const facts = this.#facts(bytes, start, end, standardConformingStrings, encoding);
    let found = this.#footprints.get(facts);
    if (found === undefined) {
      found = footprintOf(facts, this.#policies);
      this.#footprints.set(facts, found);
    }
    return found;
  }

  /** The pids that a text gives to functions that signal a backend. */
  signalledPids(text: Buffer): SignalledPids | undefined {
    return this.#catalog.signalledPids(text);
  }

  /** Names in the code that a text holds: of settings, and of functions and relations that it makes or changes. */
  namedIn(bytes: Buffer, start: number, end: number): NamedInCode {
    const text = bytes.toString('utf8', start, Math.min(end, start + searchedBytesMax));
    return {
      settings: settingsNamedIn(text),
      overloads: overloadsNamedIn(text),
      relations: relationsNamedIn(text),
      changesReading: changesReadingIn(text),
    };
  }

  /** The footprint where one of the functions it calls is not PostgreSQL's, or not only. */
  overloaded(found: Footprint): Footprint {
    let wider = this.#overloaded.get(found);
    if (wider === undefined) {
      const { effects, hazards } = found;
      wider = withPolicies(
        footprint({
          ...found,
          effects: effects | opaque.effects,
          hazards: [...new Set([...hazards, ...opaque.hazards])],
          read: undefined,
          sequenceUse: SequenceUse.Hidden,
          notifies: found.notifies === Notifies.Never ? Notifies.Hidden : found.notifies,
        }),
        this.#policies,
      );
      this.#overloaded.set(found, wider);
    }
    return wider;
  }

  /** Where in a text the statement lies that its PREPARE of this name prepares; undefined where it cannot be told which of them did. */
  preparedBody(text: Buffer, name: string, failed: boolean, encoding: string | undefined): Buffer | undefined {
    // Which of the two held when it was prepared is not known: the same lease may have changed it since.
    const [on, off] = ['on', 'off'].map((strings) => this.#preparedBody(text, name, failed, strings, encoding));
    if (on === undefined || off === undefined) return on ?? off;
    return on.equals(off) ? on : undefined;
  }

  #preparedBody(
    text: Buffer,
    name: string,
    failed: boolean,
    standardConformingStrings: string,
    encoding: string | undefined,
  ): Buffer | undefined {
    const facts = this.#facts(text, 0, text.length, standardConformingStrings, encoding);
    let body: Buffer | undefined;
    for (const hazard of facts.hazards) {
      // Behind the first the name is taken: another PREPARE of it fails, unless it was deallocated.
      if (hazard.kind === 'deallocate' && body !== undefined) {
        if (failed) return undefined;
        body = undefined;
      }
      if (hazard.kind !== 'prepare' || latin1(hazard.name) !== name || hazard.bodyStart < 0) continue;
      body ??= inPlace(text, hazard.bodyStart, hazard.bodyEnd);
    }
    return body;
  }

  async close(): Promise<void> {
    await this.#catalog.close();
  }
}
