// Decides about one text: every deed in it meets the rules in their order, and one that is denied denies the text.

import {
  type Act,
  anySetting,
  anyShown,
  type Deeds,
  type FunctionDeed,
  type RelationDeed,
  type StatementDeeds,
  setAct,
  showsLog,
} from '../sql/index.js';
import { assumedRelation } from './assumed.js';
import { usesColumn, usesSomeColumn } from './columns.js';
import type { RuleDefinition } from './document.js';
import { hiddenSettings } from './kept.js';
import type { Masks, Ruleset } from './ruleset.js';
import { type Call, isSystemSchema, type Reached, type Relation, type Schema } from './schema.js';
import { changesLimit } from './timeouts.js';
import { isPlainFunction, isTelling, isTellingWithin, isToast, isUnseenAct, isUnseenFunction } from './unseen.js';

/** How names are read: the database, and the schemas searched, undefined where they are not known. */
export interface Names {
  readonly schema: Schema;
  readonly path: readonly string[] | undefined;
  /** Tables of the session's own schema, each by the names that mean it: see `ownNames`. */
  readonly ownTables: ReadonlySet<string>;
  /** Relations the schema does not have that are taken for plain tables: only where no database is asked. */
  readonly assumes?: 'catalog' | 'all';
}

/** Why a text is denied, or needs more than a look. */
export type Reason =
  /** A rule says so. */
  | 'rule'
  /** The policy's default. */
  | 'default'
  /** It could not be parsed, or was too long. */
  | 'unknown'
  /** Weir cannot see what it does. */
  | 'unseen'
  /** A relation nobody knows: it may be new. */
  | 'unknown_relation'
  /** A masked table, used in a way that cannot be rewritten. */
  | 'mask'
  /** A time-out that a role gives, and that is not the client's to change. */
  | 'timeout';

export interface Denial {
  readonly reason: Reason;
  readonly rule: RuleDefinition | undefined;
  /** What it is about, such as `public.secrets`. */
  readonly what: string;
}

/** A rule that decides anew each time the text is run. */
export interface Condition {
  readonly rule: RuleDefinition;
  readonly kind: 'rate' | 'cost' | 'transaction';
}

export interface Decision {
  readonly denial: Denial | undefined;
  /** The rule that allowed it, where one did: that of the last deed. */
  readonly allowedBy: RuleDefinition | undefined;
  /** Rules on trial that match. */
  readonly observed: readonly RuleDefinition[];
  readonly conditions: readonly Condition[];
  /** Tables of it are masked: it must be rewritten. */
  readonly masked: boolean;
  /** `schema.name` of every relation. */
  readonly tables: readonly string[];
  /** Behind it names may mean other things. */
  readonly changesNames: boolean;
  /** The session's time-outs are the server's own until weir has set them anew. */
  readonly losesLimits: boolean;
  /** The transaction it is run in may end with it. */
  readonly ends: boolean;
  /** What the database has may change. */
  readonly defines: boolean;
  /** Names of the tables it makes where it runs. */
  readonly makes: readonly string[];
  /** Behind it the session's temporary tables may be others. */
  readonly movesTables: boolean;
  /** Prepared statements that it runs. */
  readonly executes: readonly string[];
  /** It may show their plans. */
  readonly explains: boolean;
  /** It goes as it is, whatever the session and the time, and changes nothing that decisions hang on. */
  readonly passes: boolean;
}

/** What was found about one deed; a deed may be allowed by a rule and denied for another reason. */
export interface Finding {
  /** Its number in the text. */
  readonly statement: number;
  readonly act: string;
  /** What it is done to, or the act itself. */
  readonly what: string;
  readonly verdict: 'allow' | 'deny' | 'mask';
  /** The rule that says so. */
  readonly rule: RuleDefinition | undefined;
  /** Why it is denied. */
  readonly reason: Reason | undefined;
  /** Those that are masked. */
  readonly columns: readonly string[];
}

/**
 * @param names needed where the ruleset says so
 * @param findings what was found about each deed is added to
 */
export function decide(deeds: Deeds, ruleset: Ruleset, names: Names | undefined, findings?: Finding[]): Decision {
  return new Decider(ruleset, names, findings).decide(deeds);
}

/** Allowed unless a rule that names no relation and no function speaks of them: they read and change nothing of the database's. */
export const harmlessActs: ReadonlySet<string> = new Set([
  'select',
  'show',
  'explain',
  'explain_analyze',
  // Its procedure is judged.
  'call',
  'transaction',
  'savepoint',
  'declare',
  'fetch',
  'close',
  'prepare',
  'execute',
  'deallocate',
  'set_transaction',
  // Of a query, whose relations are judged; programs and files are acts of their own.
  'copy_to',
]);

/** Behind these a name may mean another relation, until the session's settings have been read back. */
const changesNames = new Set([
  'do',
  'call',
  'discard',
  'reset',
  'set_search_path',
  'set_role',
  'set_session_authorization',
  anySetting,
  'function_call',
]);

/** Behind these a table that the session has made may be gone. */
const unmakes = /^(transaction|savepoint|execute|rename|(drop|alter)_.*)$/;

/** What shows the client the text of its own statements as they are sent: a key of hashes is in them. */
const showsTexts = /^set_debug_print_(parse|raw_parse|rewritten|plan)$/;

/** A rule that decided, or the default. */
interface Found {
  readonly rule: RuleDefinition | undefined;
  readonly verdict: 'allow' | 'deny';
}

class Decider {
  readonly #ruleset: Ruleset;
  readonly #names: Names | undefined;
  readonly #observed = new Set<RuleDefinition>();
  readonly #conditions = new Map<string, Condition>();
  readonly #tables = new Set<string>();
  readonly #makes = new Set<string>();
  /** Temporary tables made by a statement before in the same text. */
  readonly #made = new Set<string>();
  /** What the session had made before the text may be gone. */
  #unmade = false;
  #path: readonly string[] | undefined;
  #denial: Denial | undefined;
  #allowedBy: RuleDefinition | undefined;
  #masked = false;
  #changesNames = false;
  readonly #findings: Finding[] | undefined;
  /** Which statement and which of its deeds is met. */
  #statementNumber = 0;
  #act = '';

  constructor(ruleset: Ruleset, names: Names | undefined, findings: Finding[] | undefined) {
    this.#ruleset = ruleset;
    this.#names = names;
    this.#findings = findings;
    this.#path = names?.path;
  }

  decide(deeds: Deeds): Decision {
    const executes: string[] = [];
    for (const statement of deeds.statements) {
      this.#statement(statement);
      this.#statementNumber++;
      executes.push(...statement.executes);
    }
    if (deeds.unknown && this.#ruleset.document.unknown === 'deny') this.#deny('unknown', undefined, 'statement');
    const decision = {
      denial: this.#denial,
      allowedBy: this.#allowedBy,
      observed: [...this.#observed],
      conditions: [...this.#conditions.values()],
      masked: this.#masked && this.#denial === undefined,
      tables: [...this.#tables],
      changesNames: this.#changesNames,
      losesLimits: this.#ruleset.timeLimits.size > 0 && deeds.statements.some(({ kinds }) => kinds.has('discard')),
      ends: deeds.statements.some(({ kinds }) => kinds.has('transaction')),
      defines: deeds.statements.some(({ kinds }) => kinds.has('ddl') || kinds.has('select_into') || kinds.has('do')),
      makes: [...this.#makes],
      movesTables: this.#changesNames || deeds.statements.some(({ kinds }) => [...kinds].some(movesTables)),
      executes,
      explains: deeds.statements.some(({ kinds }) => kinds.has('explain')),
    };
    return { ...decision, passes: passes(decision) };
  }

  #deny(reason: Reason, rule: RuleDefinition | undefined, what: string): void {
    this.#found('deny', what, rule, reason);
    // The first that was met is told; a rule's own words tell more than what is denied for want of knowledge.
    if (this.#denial === undefined || (rule !== undefined && this.#denial.rule === undefined)) {
      this.#denial = { reason, rule, what };
    }
  }

  #found(verdict: Finding['verdict'], what: string, rule?: RuleDefinition, reason?: Reason, columns = noColumns): void {
    this.#findings?.push({ statement: this.#statementNumber, act: this.#act, what, verdict, rule, reason, columns });
  }

  #statement(statement: StatementDeeds): void {
    for (const act of statement.acts) this.#bare(act, statement);
    for (const relation of statement.relations) this.#relation(relation, statement);
    for (const called of statement.functions) this.#function(called, statement);
    if (this.#ruleset.isRestricted) {
      for (const operator of statement.operators) this.#operator(operator);
      for (const name of statement.attributes) this.#attribute(name);
      for (const name of statement.shows) this.#shown(name, statement);
    }
    const { kinds, executes, functions } = statement;
    const opens =
      [...kinds].some((kind) => changesNames.has(kind)) || functions.some((called) => !this.#isPlain(called));
    // What a prepared statement does is looked at where it is known.
    if (opens || executes.length > 0) this.#path = undefined;
    if (opens) this.#changesNames = true;
    if (opens || [...kinds].some((kind) => unmakes.test(kind))) {
      this.#unmade = true;
      this.#made.clear();
    }
    if (!runsNow(statement)) return;
    for (const relation of statement.relations) {
      if (!isMade(relation) || relation.name === null || relation.location < 0) continue;
      const made = relation.temporary ? ownNames(relation.name) : [writtenName(relation)];
      for (const name of made) this.#makes.add(name);
      if (relation.temporary) for (const name of made) this.#made.add(name);
    }
  }

  // Acts without an object

  #bare(act: Act, statement: StatementDeeds): void {
    this.#act = act[0] as string;
    const found = this.#firstRule(act, statement, (rule) => !namesObjects(rule));
    const harmless = act.some((kind) => harmlessActs.has(kind));
    this.#settle(found ?? (harmless ? allowed : this.#default()), act[0] as string);
    // Whether it is a function that a rule denies cannot be seen.
    const isDeniedCall = act[0] === 'function_call' && this.#ruleset.deniesFunctions;
    if (isDeniedCall && !allowsByKind(found)) this.#deny('unseen', undefined, act[0] as string);
    if (changesLimit(act, this.#ruleset.timeLimits)) this.#deny('timeout', undefined, act.at(-1) as string);
    if (!this.#ruleset.isRestricted) return;
    this.#unseenAct(act, found, act[0] as string);
    if (this.#ruleset.hashes && act.some(isShowingTexts)) {
      this.#deny('mask', undefined, act.at(-1) as string);
    }
  }

  /** Nobody sees what it does: only a rule that names its kind allows it. */
  #unseenAct(act: Act, found: Found | undefined, what: string): void {
    if (this.#ruleset.isRestricted && isUnseenAct(act) && !allowsByKind(found)) this.#deny('unseen', undefined, what);
  }

  #default(): Found {
    return { rule: undefined, verdict: this.#ruleset.document.default };
  }

  #settle(found: Found, what: string): void {
    if (found.verdict === 'deny') this.#deny(found.rule === undefined ? 'default' : 'rule', found.rule, what);
    else {
      this.#allowedBy = found.rule ?? this.#allowedBy;
      this.#found('allow', what, found.rule);
    }
  }

  // Relations

  #relation(deed: RelationDeed, statement: StatementDeeds): void {
    this.#act = deed.act[0] as string;
    // To update it is to SET whatever the row says.
    if (deed.name === 'pg_settings' && deed.act[0] === 'update' && this.#ruleset.timeLimits.size > 0) {
      this.#deny('timeout', undefined, 'pg_settings');
    }
    const written = writtenName(deed);
    if (this.#names === undefined) {
      this.#tables.add(written);
      this.#settle(this.#firstRule(deed.act, statement, (rule) => !namesObjects(rule)) ?? this.#default(), written);
      return;
    }
    const { schema } = this.#names;
    if (deed.name === null) {
      this.#whole(deed, statement, schema);
      return;
    }
    const candidates = this.#candidates(deed, statement, schema);
    if (candidates.length === 0) {
      this.#unknownRelation(deed, statement, written);
      return;
    }
    this.#known(deed, statement, candidates, schema);
  }

  #candidates(deed: RelationDeed, statement: StatementDeeds, schema: Schema): readonly Relation[] {
    const { schema: written, name } = deed;
    const known = schema.candidates(written, name as string, this.#path);
    const assumes = this.#names?.assumes;
    if (known.length > 0 || assumes === undefined || isMade(deed)) return known;
    const assumed = assumedRelation(deed, statement, this.#path, this.#ruleset.masks);
    return assumes === 'all' || isSystemSchema(assumed.schema) ? [assumed] : known;
  }

  /** All relations of a schema at once: whatever guards one of them guards this. */
  #whole(deed: RelationDeed, statement: StatementDeeds, schema: Schema): void {
    const what = `${deed.schema ?? '*'}.*`;
    const found = this.#firstRule(deed.act, statement, (rule) => !namesObjects(rule));
    this.#settle(found ?? this.#default(), what);
    this.#unseenAct(deed.act, found, what);
    const guarded = schema.relationsIn(deed.schema).find((relation) => this.#ruleset.guards(relation, schema));
    if (guarded !== undefined) this.#deny('unseen', undefined, nameOf(guarded));
  }

  /** It is about to be made, or has just been, or it is not there. */
  #unknownRelation(deed: RelationDeed, statement: StatementDeeds, written: string): void {
    this.#tables.add(written);
    const [schema, name] = [deed.schema ?? '', deed.name as string];
    // A rule for `*.secrets` holds for one that is being made, too.
    const places = deed.schema === null ? (this.#path ?? ['public']) : [schema];
    const found = this.#firstRule(deed.act, statement, (rule) => {
      if (!namesObjects(rule)) return true;
      const patterns = [...rule.tables, ...rule.columns];
      if (rule.verdict === 'allow')
        return places.every((at) => patterns.some((pattern) => pattern.matches([at, name])));
      return places.some((at) => patterns.some((pattern) => pattern.matches([at, name])));
    });
    this.#settle(found ?? this.#default(), written);
    this.#unseenAct(deed.act, found, written);
    if (!this.#ruleset.isRestricted) return;
    if (isToast(schema)) this.#deny('unseen', undefined, written);
    else if (!deed.act.includes('ddl') && deed.act[0] !== 'select_into' && !this.#isOwn(deed.schema, name)) {
      this.#deny('unknown_relation', undefined, written);
    }
  }

  /** Whether the name means a table of the session's own schema, and no other, as it is when the statement runs. */
  #isOwn(schema: string | null, name: string): boolean {
    const written = schema === null ? name : `${schema}.${name}`;
    if (!this.#unmade && this.#names?.ownTables.has(written) === true) return true;
    // That schema is searched first, unless the path says where.
    const isFirst = schema !== null || (this.#path !== undefined && !this.#path.includes(ownSchema));
    return isFirst && this.#made.has(written);
  }

  #known(deed: RelationDeed, statement: StatementDeeds, candidates: readonly Relation[], schema: Schema): void {
    for (const relation of candidates) this.#tables.add(nameOf(relation));
    const what = candidates.map(nameOf).join(' or ');
    const found = this.#firstRule(deed.act, statement, (rule) => this.#matches(rule, deed, statement, candidates));
    this.#settle(found ?? this.#default(), what);
    this.#unseenAct(deed.act, found, what);
    const named = found !== undefined && candidates.every((relation) => allowsByName(found, relation));
    const when = deed.act[0] === 'select' ? 'read' : 'write';
    for (const relation of candidates) {
      const reached = schema.reached(relation, when);
      if (!named) this.#reached(deed, statement, relation, reached);
      if (!this.#ruleset.isRestricted) continue;
      if (!named) {
        const touched = [relation, ...reached.flatMap(({ relation, tie }) => (tie === 'parent' ? [] : [relation]))];
        const hides = relation.isView && reached.some((one) => isTellingWithin(one.relation.schema, one.relation.name));
        if (hides || touched.some((one) => this.#isOpaque(one, when, statement)))
          this.#deny('unseen', undefined, nameOf(relation));
        if (deed.act.includes('ddl') && this.#ruleset.guards(relation, schema)) {
          this.#deny('unseen', undefined, nameOf(relation));
        }
        if (relation.isView && reached.some((one) => this.#ruleset.isMasked(one.relation))) {
          this.#deny('mask', undefined, nameOf(relation));
        }
      }
      this.#masks(deed, statement, relation, candidates.length === 1, schema);
    }
  }

  /** What the relation touches is judged as well, and the functions that its rules call. */
  #reached(deed: RelationDeed, statement: StatementDeeds, relation: Relation, reached: readonly Reached[]): void {
    for (const { relation: other, tie } of reached) {
      // Which columns of it a view or a rule reads nobody tells; those of a part are named as the table's.
      const isRead = relation.isView || tie === 'base';
      const use = isRead ? { ...deed, allColumns: true } : deed;
      const found = this.#firstRule(
        deed.act,
        statement,
        (rule) => (tie === 'base' || namesObjects(rule)) && this.#matches(rule, use, statement, [other]),
      );
      // The rows of a part, or of a parent, are allowed with the table.
      if (tie === 'base' || found?.verdict === 'deny') this.#settle(found ?? this.#default(), nameOf(other));
    }
    for (const { relation: one } of [{ relation }, ...reached.filter(({ tie }) => tie !== 'parent')]) {
      for (const call of one.calls) {
        const found = this.#ruleOnCall(call, statement);
        if (found?.verdict === 'deny') this.#deny('rule', found.rule, `${call.name}()`);
      }
    }
  }

  /** What it shows is not what its name says, and no rule vouches for it. */
  #isOpaque(relation: Relation, when: 'read' | 'write', statement: StatementDeeds): boolean {
    if (relation.isForeign || isTelling(relation.schema, relation.name)) return true;
    return relation.calls.some(
      (call) => (call.when === 'read' || when === 'write') && this.#ruleOnCall(call, statement)?.verdict !== 'allow',
    );
  }

  #ruleOnCall({ schema, name }: Pick<Call, 'schema' | 'name'>, statement: StatementDeeds): Found | undefined {
    return this.#firstRule(callAct, statement, ({ functions }) =>
      functions.some((pattern) => pattern.matches([schema, name])),
    );
  }

  #matches(
    rule: RuleDefinition,
    deed: RelationDeed,
    statement: StatementDeeds,
    candidates: readonly Relation[],
  ): boolean {
    if (!namesObjects(rule)) return true;
    const isMatch = (relation: Relation): boolean => {
      const names = [relation.schema, relation.name];
      if (rule.tables.some((pattern) => pattern.matches(names))) return true;
      const patterns = rule.columns.filter((pattern) => pattern.matches(names));
      if (patterns.length === 0) return false;
      const isNamed = (column: string): boolean => patterns.some((pattern) => pattern.matchesPart(2, column));
      if (rule.verdict === 'allow') return !usesSomeColumn(deed, statement, relation, (column) => !isNamed(column));
      return usesSomeColumn(deed, statement, relation, isNamed);
    };
    return rule.verdict === 'allow' ? candidates.every(isMatch) : candidates.some(isMatch);
  }

  // Masks

  #masks(deed: RelationDeed, statement: StatementDeeds, relation: Relation, isSure: boolean, schema: Schema): void {
    const masks = this.#ruleset.masksOf(relation, schema);
    if (masks === undefined) return;
    // A catalog goes as it is where nothing of it has to be hidden: everybody looks at catalogs all the time.
    const isKept = masks !== 'unknown' && this.#ruleset.keptMasks(relation, schema) === masks;
    if (isKept && ![...masks.keys()].some((column) => usesColumn(deed, statement, relation, column))) return;
    const [kind] = deed.act;
    if (kind === 'copy_from' || kind === 'truncate' || kind === 'lock' || kind === 'refresh') return;
    if (kind === 'insert' && !deed.readsTarget) return;
    if (kind === 'select' || kind === 'select_for_update') {
      if (isSure && deed.replaceable && canMask(masks, statement)) {
        this.#masked = true;
        if (masks !== 'unknown') this.#found('mask', nameOf(relation), undefined, undefined, [...masks.keys()]);
      } else this.#deny('mask', undefined, nameOf(relation));
      return;
    }
    if (masks === 'unknown' || [...masks.keys()].some((column) => usesColumn(deed, statement, relation, column))) {
      this.#deny('mask', undefined, nameOf(relation));
    }
  }

  // Functions

  #function(called: FunctionDeed, statement: StatementDeeds): void {
    const act: Act = [called.kind];
    this.#act = called.kind;
    const places = this.#functionPlaces(called);
    const found = this.#firstRule(act, statement, (rule) => {
      if (rule.functions.length === 0) return false;
      const isMatch = (at: string): boolean => rule.functions.some((pattern) => pattern.matches([at, called.name]));
      return rule.verdict === 'allow' ? places.every(isMatch) : places.some(isMatch);
    });
    if (found !== undefined) {
      this.#settle(found, `${called.name}()`);
      return;
    }
    if (called.kind === 'call') {
      const byKind = this.#firstRule(act, statement, (rule) => !namesObjects(rule));
      this.#settle(byKind ?? this.#default(), `${called.name}()`);
      if (allowsByKind(byKind)) return;
    }
    if (this.#ruleset.isRestricted && !this.#isPlain(called)) this.#deny('unseen', undefined, `${called.name}()`);
    else if (called.kind === 'select') this.#settle(allowed, `${called.name}()`);
  }

  /** The schemas the function may be of. */
  #functionPlaces({ schema, name }: FunctionDeed): readonly string[] {
    if (schema !== null) return [schema];
    const places = new Set(isPlainFunction(name) ? ['pg_catalog'] : []);
    const own = this.#names?.schema.functionSchemas(name) ?? [];
    for (const at of own) if (this.#path === undefined || this.#path.includes(at)) places.add(at);
    if (places.size === 0) places.add('pg_catalog');
    return [...places];
  }

  #isPlain({ schema, name }: FunctionDeed): boolean {
    if (schema !== null) return schema === 'pg_catalog' && isPlainFunction(name);
    if (!isPlainFunction(name)) return false;
    const own = this.#names?.schema.functionSchemas(name);
    if (own === undefined || own.size === 0) return true;
    return this.#path !== undefined && !this.#path.some((at) => own.has(at));
  }

  /** `x.f` is f(x) where x has no such column. */
  #attribute(name: string): void {
    const isOwn = (this.#names?.schema.functionSchemas(name).size ?? 0) > 0;
    if (isOwn || isUnseenFunction(name) || name === 'current_setting') this.#deny('unseen', undefined, `${name}()`);
  }

  /** A rule for the function vouches for SHOW, too. */
  #shown(setting: string, statement: StatementDeeds): void {
    if (this.#ruleOnCall(currentSetting, statement)?.verdict === 'allow') return;
    if (setting === anyShown) this.#deny('unseen', undefined, 'settings that are not named');
    else if (hiddenSettings.has(setting)) this.#deny('unseen', undefined, setting);
  }

  #operator({ schema, name }: FunctionDeed): void {
    const isOther = schema !== null && schema !== 'pg_catalog';
    if (isOther || this.#names?.schema.hasOperator(name) === true) this.#deny('unseen', undefined, `operator ${name}`);
  }

  // Rules

  /** The first rule that speaks of the act and whose condition, if it has one, is not kept. */
  #firstRule(act: Act, statement: StatementDeeds, isMatch: (rule: RuleDefinition) => boolean): Found | undefined {
    for (const rule of this.#ruleset.rules) {
      if (!speaksOf(rule, act) || !isMatch(rule)) continue;
      const broken = this.#breaks(rule, act, statement);
      if (broken === 'later' || broken === false) continue;
      if (rule.verdict === 'observe') this.#observed.add(rule);
      else return { rule, verdict: rule.verdict };
    }
    return undefined;
  }

  /** Whether what the rule requires is missing; true where it requires nothing, `later` where only a run of it tells. */
  #breaks(rule: RuleDefinition, act: Act, statement: StatementDeeds): boolean | 'later' {
    const [kind] = act;
    let isLater = false;
    let requires = false;
    if (rule.require.has('where')) {
      requires = true;
      if ((kind === 'update' || kind === 'delete') && !statement.hasWhere) return true;
    }
    if (rule.require.has('limit')) {
      requires = true;
      if (kind === 'select' && !statement.hasLimit) return true;
    }
    if (rule.require.has('transaction')) {
      requires = true;
      if (statement.begun === false) return true;
      if (statement.begun === undefined) isLater = this.#condition(rule, 'transaction');
    }
    if (rule.rate !== undefined) isLater = this.#condition(rule, 'rate');
    if (rule.maxCost !== undefined || rule.maxRows !== undefined) isLater = this.#condition(rule, 'cost');
    if (isLater) return 'later';
    return !requires;
  }

  #condition(rule: RuleDefinition, kind: Condition['kind']): true {
    this.#conditions.set(`${kind} ${rule.name}`, { rule, kind });
    return true;
  }
}

function isShowingTexts(kind: string): boolean {
  return showsTexts.test(kind) || kind === showsLog || kind === anySetting;
}

/**
 * Why a session may not begin with these settings, if so. Only rules that name one of them are met: what drivers set by
 * themselves is not denied to who may set nothing.
 */
export function decideSettings(ruleset: Ruleset, settings: Iterable<readonly [string, string]>): Denial | undefined {
  for (const [name, value] of settings) {
    const act = setAct(name.toLowerCase(), value).slice(1);
    const rule = ruleset.rules.find(
      ({ statements, verdict }) => verdict !== 'observe' && act.some((kind) => statements.has(kind)),
    );
    if (rule?.verdict === 'deny') return { reason: 'rule', rule, what: act[0] as string };
    if (ruleset.hashes && act.some(isShowingTexts)) return { reason: 'mask', rule: undefined, what: act[0] as string };
  }
  return undefined;
}

function passes(decision: Omit<Decision, 'passes'>): boolean {
  const { denial, masked, conditions, executes, changesNames, losesLimits, defines } = decision;
  const asks = denial !== undefined || masked || conditions.length > 0 || executes.length > 0;
  return !asks && !changesNames && !losesLimits && !defines;
}

const currentSetting = { schema: 'pg_catalog', name: 'current_setting' };
const callAct: Act = ['select'];
const allowed: Found = { rule: undefined, verdict: 'allow' };
const noColumns: readonly string[] = [];

const ownSchema = 'pg_temp';

/** The names that mean a table of the session's own schema. */
export function ownNames(name: string): readonly string[] {
  return [name, qualifiedOwn(name)];
}

/** The name that means it whatever the search path. */
export function qualifiedOwn(name: string): string {
  return `${ownSchema}.${name}`;
}

function movesTables(kind: string): boolean {
  return unmakes.test(kind) || kind === 'ddl' || kind === 'select_into';
}

/** Not what is only prepared, or explained. */
function runsNow({ kinds }: StatementDeeds): boolean {
  return !kinds.has('prepare') && (!kinds.has('explain') || kinds.has('explain_analyze'));
}

/** It is a table that was not there before. */
function isMade({ act }: RelationDeed): boolean {
  return act.includes('create_table') || act.includes('create_table_as') || act.includes('select_into');
}

function canMask(masks: Masks, { kinds }: StatementDeeds): boolean {
  if (masks === 'unknown') return false;
  // A plan shows the key.
  return !kinds.has('explain') || ![...masks.values()].some(({ method }) => method.kind === 'hash');
}

function writtenName({ schema, name }: RelationDeed): string {
  return `${schema === null || schema === 'pg_temp' ? '' : `${schema}.`}${name ?? '*'}`;
}

function nameOf({ schema, name }: Relation): string {
  return `${schema}.${name}`;
}

function namesObjects(rule: RuleDefinition): boolean {
  return rule.tables.length > 0 || rule.columns.length > 0 || rule.functions.length > 0;
}

function speaksOf({ statements }: RuleDefinition, act: Act): boolean {
  if (statements.size === 0) return true;
  return act.some(
    (kind) =>
      statements.has(kind) || (kind === anySetting && [...statements].some((known) => known.startsWith('set_'))),
  );
}

/** A rule that names kinds of statement allows what nobody can see into. */
function allowsByKind(found: Found | undefined): boolean {
  return found?.verdict === 'allow' && (found.rule?.statements.size ?? 0) > 0;
}

/** Whether a rule allows just this relation, and not by a pattern that it happens to match. */
function allowsByName({ rule, verdict }: Found, { schema, name }: Relation): boolean {
  if (verdict !== 'allow' || rule === undefined) return false;
  return rule.tables.some((pattern) => pattern.matches([schema, name]) && pattern.exactPart(1) !== undefined);
}
