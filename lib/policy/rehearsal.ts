// One session under a policy without a server: what would become of its statements, one after the other, and why.

import type { Hazard, ParsedFacts } from '../sql/index.js';
import { type Condition, type Decision, decide, type Finding, type Names } from './decide.js';
import { conditionText, type DenialText, denialText, ruleNameOf } from './denial.js';
import type { PolicyDocument } from './document.js';
import { maskText } from './mask.js';
import { Ruleset } from './ruleset.js';
import { Schema, schemasOf } from './schema.js';
import { rolesOf, type Subject } from './subject.js';

/** What is known of the database, and what is assumed of the rest. */
export interface RehearsedNames extends Pick<Names, 'schema' | 'assumes'> {
  /** Who `"$user"` is, where the schema was read as somebody else. */
  readonly sessionUser?: string;
}

export interface RehearsalOptions {
  readonly document: PolicyDocument;
  readonly subject: Subject;
  readonly wallMs: number;
  /** In place of those the subject has. */
  readonly roles?: readonly string[];
  readonly names: RehearsedNames;
}

export interface Outcome {
  readonly verdict: 'allow' | 'deny' | 'masked';
  /** The rule that decided, or why there was none, such as `(default)`. */
  readonly rule: string | undefined;
  /** What the client would be told. */
  readonly denial: DenialText | undefined;
  readonly findings: readonly Finding[];
  readonly tables: readonly string[];
  /** Rules on trial that match. */
  readonly observed: readonly string[];
  /** What only a run can tell. */
  readonly conditions: readonly Condition[];
  /** The text with its masked tables replaced; undefined where none are, and where their columns are not known. */
  readonly rewritten: string | undefined;
}

/** Names of tables it has made that are looked up. */
const ownTablesMax = 1_000;

/** Nothing is known, and everything may be there. */
export function assumedNames(user: string): RehearsedNames {
  return { schema: Schema.of({ user }), assumes: 'all' };
}

export class Rehearsal {
  readonly roles: readonly string[];
  readonly #ruleset: Ruleset;
  readonly #names: RehearsedNames;
  readonly #prepared = new Set<string>();
  #ownTables: ReadonlySet<string> = new Set();
  #searchPath: string | undefined;
  #role: string | undefined;
  #inTransaction = false;
  /** Names may mean other things until the transaction is over. */
  #inDoubt = false;

  constructor({ document, subject, wallMs, roles, names }: RehearsalOptions) {
    this.roles = roles ?? rolesOf(document, subject, new Set(), wallMs);
    // Rewritten texts are shown: none has the key.
    this.#ruleset = new Ruleset({ ...document, maskKey: undefined }, this.roles, subject.database);
    this.#names = names;
  }

  /** @param facts with deeds, of this text's own parse; undefined where it cannot be parsed */
  judge(text: string, facts: ParsedFacts | undefined): Outcome {
    if (facts?.deeds === undefined) return this.#unread();
    const { schema, assumes, sessionUser = schema.sessionUser } = this.#names;
    const path = this.#inDoubt
      ? undefined
      : schemasOf(this.#searchPath ?? schema.searchPath, this.#role ?? sessionUser);
    const known = assumes === undefined ? { schema } : { schema, assumes };
    const names: Names = { ...known, path, ownTables: this.#ownTables };
    const findings: Finding[] = [];
    const decision = decide(facts.deeds, this.#ruleset, names, findings);
    const broken = this.#broken(decision);
    const isMasked = decision.masked && broken === undefined;
    // Columns are known of none of the tables that are assumed.
    const isKnown = isMasked && assumes !== 'all';
    const rewritten = isKnown ? maskText(Buffer.from(text, 'utf8'), facts.deeds, this.#ruleset, names) : undefined;
    this.#goOn(decision, facts.hazards);
    return {
      verdict: broken !== undefined ? 'deny' : isMasked ? 'masked' : 'allow',
      rule: broken?.rule ?? ruleNameOf(decision),
      denial: broken?.text,
      findings,
      tables: decision.tables,
      observed: decision.observed.map(({ name }) => name),
      conditions: decision.conditions,
      rewritten: rewritten?.toString('utf8'),
    };
  }

  #unread(): Outcome {
    const isAllowed = this.#ruleset.document.unknown === 'allow' && !this.#ruleset.isRestricted;
    const what = 'the statement is not understood';
    return {
      verdict: isAllowed ? 'allow' : 'deny',
      rule: '(unknown)',
      denial: isAllowed ? undefined : denialText({ reason: 'unknown', rule: undefined, what }),
      findings: [],
      tables: [],
      observed: [],
      conditions: [],
      rewritten: undefined,
    };
  }

  /** Why it may not run now. */
  #broken(decision: Decision): { readonly text: DenialText; readonly rule: string } | undefined {
    const { denial, executes, conditions } = decision;
    if (denial !== undefined) return { text: denialText(denial), rule: ruleNameOf(decision) ?? '' };
    const unknown = executes.find((name) => !this.#prepared.has(name));
    if (unknown !== undefined && this.#ruleset.isRestricted) {
      const what = `the prepared statement ${unknown}`;
      return { text: denialText({ reason: 'unknown', rule: undefined, what }), rule: '(unknown)' };
    }
    const outside = conditions.find(({ kind, rule }) => kind === 'transaction' && rule.verdict === 'deny');
    if (outside === undefined || this.#inTransaction) return undefined;
    return { text: conditionText(outside.rule, 'it may only run inside a transaction'), rule: outside.rule.name };
  }

  /** Takes the session to where it is behind the statement, also behind one that is denied: the next is judged for itself. */
  #goOn(decision: Decision, hazards: readonly Hazard[]): void {
    for (const hazard of hazards) this.#apply(hazard);
    this.#inDoubt = this.#inTransaction && (this.#inDoubt || decision.changesNames);
    if (decision.makes.length > 0) this.#ownTables = withTables(this.#ownTables, decision.makes);
  }

  #apply(hazard: Hazard): void {
    switch (hazard.kind) {
      case 'set':
        if (hazard.name === 'search_path' && !hazard.local) this.#searchPath = pathText(hazard.values);
        return;
      case 'set_config':
        if (literalOf(hazard.name)?.toLowerCase() === 'search_path' && literalOf(hazard.local) !== 'true') {
          this.#searchPath = literalOf(hazard.value) ?? this.#searchPath;
        }
        return;
      case 'reset':
        if (hazard.name === 'search_path') this.#searchPath = undefined;
        return;
      case 'reset_all':
        this.#searchPath = undefined;
        return;
      case 'set_role':
      case 'session_authorization':
        if (!hazard.local) this.#role = hazard.role === 'none' ? undefined : (hazard.role ?? undefined);
        return;
      case 'transaction':
        this.#transaction(hazard.operation, hazard.chain);
        return;
      case 'prepare':
        this.#prepared.add(hazard.name);
        return;
      case 'deallocate':
        if (hazard.name === null) this.#prepared.clear();
        else this.#prepared.delete(hazard.name);
        return;
      default:
    }
  }

  #transaction(operation: string, chain: boolean): void {
    if (operation === 'begin' || operation === 'start') this.#inTransaction = true;
    else if (operation === 'commit' || operation === 'rollback' || operation === 'prepare') this.#inTransaction = chain;
  }
}

type SetHazard = Extract<Hazard, { kind: 'set' }>;
type Argument = Extract<Hazard, { kind: 'set_config' }>['value'];

function literalOf(argument: Argument): string | undefined {
  return argument.kind === 'literal' ? (argument.value ?? undefined) : undefined;
}

/** As `current_setting` would show it; undefined for the default. */
function pathText(values: SetHazard['values']): string | undefined {
  return values?.map((value) => `"${(literalOf(value) ?? '').replaceAll('"', '""')}"`).join(', ');
}

/** Remembers the tables a session makes; none beyond the limit, which are then unknown. */
function withTables(known: ReadonlySet<string>, made: readonly string[]): ReadonlySet<string> {
  const added = made.filter((name) => !known.has(name));
  if (added.length === 0 || known.size + added.length > ownTablesMax) return known;
  return new Set([...known, ...added]);
}
