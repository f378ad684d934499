// A policy in force: rulesets by roles, decisions by shape, and what has come of both.

import type { StatementFacts } from '../sql/index.js';
import { type Decision, decide, type Names } from './decide.js';
import type { PolicyDocument, RuleDefinition } from './document.js';
import { RateLimits } from './rates.js';
import { Ruleset, tablesWithColumns } from './ruleset.js';
import { type Schema, schemasOf } from './schema.js';

/** Combinations of roles and database, and for one schema of those with search paths, whose decisions are kept. */
const judgesMax = 1_000;

/** What decisions hang on beside the text. */
export interface Context {
  readonly ruleset: Ruleset;
  readonly schema: Schema | undefined;
  /** Of the session as it is now; undefined: the one of the login. */
  readonly searchPath: string | undefined;
  /** The role the session acts as; undefined: the one that logged in. */
  readonly role: string | undefined;
  /** The two above may have changed unseen. */
  readonly inDoubt: boolean;
  readonly ownTables: ReadonlySet<string>;
}

/** Decides in one context. Two texts of one shape are decided once. */
export class Judge {
  readonly ruleset: Ruleset;
  readonly names: Names | undefined;
  readonly #decisions = new WeakMap<StatementFacts, Decision>();
  readonly #counts: DecisionCounts;

  constructor(ruleset: Ruleset, names: Names | undefined, counts: DecisionCounts) {
    this.ruleset = ruleset;
    this.names = names;
    this.#counts = counts;
  }

  /** @param facts known ones, with deeds */
  decide(facts: StatementFacts): Decision {
    let decision = this.#decisions.get(facts);
    if (decision !== undefined) {
      this.#counts.hits++;
      return decision;
    }
    this.#counts.misses++;
    decision = decide(facts.deeds ?? nothingKnown, this.ruleset, this.names);
    this.#decisions.set(facts, decision);
    return decision;
  }
}

const nothingKnown = { statements: [], unknown: true };

/** Of the decision cache. */
export interface DecisionCounts {
  hits: number;
  misses: number;
}

export class Policy {
  readonly document: PolicyDocument;
  /** Tables whose columns have to be read from the database; undefined: of all tables. */
  readonly tablesWithColumns: readonly string[] | undefined;
  readonly rates: RateLimits;
  readonly counts: DecisionCounts;
  readonly #rulesets = new Map<string, Ruleset>();
  /** By schema, or by the session's own tables where it has some: those of one that has been read anew go with it. */
  readonly #judges = new WeakMap<object, { readonly schema: Schema; readonly judges: Map<string, Judge> }>();
  /** Those that need no schema. */
  readonly #plainJudges = new Map<string, Judge>();
  /** Rulesets get numbers, so that a judge has a short name. */
  readonly #numbers = new WeakMap<Ruleset, number>();
  #lastNumber = 0;

  /** @param counts go on through several policies */
  constructor(document: PolicyDocument, counts: DecisionCounts = { hits: 0, misses: 0 }) {
    this.document = document;
    this.tablesWithColumns = tablesWithColumns(document);
    this.counts = counts;
    this.rates = new RateLimits();
  }

  ruleset(roles: readonly string[], database: string): Ruleset {
    const key = JSON.stringify([database, roles]);
    let ruleset = this.#rulesets.get(key);
    if (ruleset === undefined) {
      ruleset = new Ruleset(this.document, roles, database);
      forgetOldest(this.#rulesets);
      this.#rulesets.set(key, ruleset);
    }
    return ruleset;
  }

  judge(context: Context): Judge {
    const { ruleset, schema } = context;
    if (!ruleset.needsSchema || schema === undefined) return this.#shared(this.#plainJudges, ruleset, undefined);
    const { ownTables } = context;
    const names: Names = { schema, path: pathOf(context, schema), ownTables };
    const holder = ownTables.size > 0 ? ownTables : schema;
    let kept = this.#judges.get(holder);
    if (kept?.schema !== schema) {
      kept = { schema, judges: new Map() };
      this.#judges.set(holder, kept);
    }
    return this.#shared(kept.judges, ruleset, names);
  }

  #shared(judges: Map<string, Judge>, ruleset: Ruleset, names: Names | undefined): Judge {
    // No schema of whatever name makes a path like one that is not known.
    const name = `${this.#numberOf(ruleset)} ${JSON.stringify(names?.path)}`;
    let judge = judges.get(name);
    if (judge === undefined) {
      judge = new Judge(ruleset, names, this.counts);
      forgetOldest(judges);
      judges.set(name, judge);
    }
    return judge;
  }

  #numberOf(ruleset: Ruleset): number {
    let number = this.#numbers.get(ruleset);
    if (number === undefined) {
      number = ++this.#lastNumber;
      this.#numbers.set(ruleset, number);
    }
    return number;
  }

  /** Whether the rule's rate is kept when the user runs one more statement now. */
  withinRate(rule: RuleDefinition, user: string, nowMs: number): boolean {
    return this.rates.take(rule, user, nowMs);
  }
}

function pathOf({ searchPath, role, inDoubt }: Context, schema: Schema): readonly string[] | undefined {
  if (inDoubt) return undefined;
  const user = role ?? schema.sessionUser;
  return schema.searched(schemasOf(searchPath ?? schema.searchPath, user), user);
}

function forgetOldest<V>(map: Map<string, V>): void {
  if (map.size < judgesMax) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
