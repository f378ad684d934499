// The policy in force in one process: what it knows of databases, who has been granted what, and a gate for every client.

import type { Logger } from 'pino';
import {
  type DecisionCounts,
  decideSettings,
  denialText,
  Policy,
  type PolicyDocument,
  rolesOf,
  ruleNameOf,
  type Subject,
  type TimeLimits,
  timeLimitsOf,
  type Verdict,
} from '../policy/index.js';
import type { Pool } from '../pool/index.js';
import type { ClientChannel } from '../relay/index.js';
import type { StatementFacts } from '../sql/index.js';
import { type Clock, PoolerError } from '../util/index.js';
import { Estimates } from './estimates.js';
import { type GateHouse, Gatekeeper, judgeReplication } from './gate.js';
import { Grants } from './grants.js';
import type { Inspector } from './inspect.js';
import { RuleTally } from './rule-tally.js';
import { SchemaKeeper } from './schema-keeper.js';

/** Lines of the log about denials in one second; those beyond are counted only. */
const loggedPerSecondMax = 10;
/** Characters of a statement in the log: without its literals. */
const loggedTextMax = 500;

/** What is counted where no rule has said anything. */
const byDefault = '(default)';
const noLimits: TimeLimits = new Map();

/** A client as its gate sees it. */
export interface Policed {
  readonly subject: Subject;
  readonly channel: ClientChannel;
  readonly pool: Pool;
  /** Feeds it again. */
  readonly goOn: () => void;
  inspect(bytes: Buffer, start: number, end: number): ReturnType<GateHouse['inspect']>;
}

export class Policing {
  policy: Policy | undefined;
  readonly grants: Grants;
  readonly decisions = new RuleTally();
  /** Of the caches of all policies so far. */
  readonly lookups: DecisionCounts = { hits: 0, misses: 0 };
  /** Messages that had to wait for a parse or a schema. */
  waits = 0;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #inspector: Inspector;
  readonly #schemas: SchemaKeeper;
  readonly #estimates: Estimates;
  #logged = 0;
  #loggedSecond = 0;

  constructor(clock: Clock, log: Logger, inspector: Inspector) {
    this.#clock = clock;
    this.#log = log;
    this.#inspector = inspector;
    this.#schemas = new SchemaKeeper(clock, log);
    this.#estimates = new Estimates(clock);
    this.grants = new Grants(clock);
  }

  /** Puts a policy in force, or none: what was decided, known of databases and left of rates is forgotten. */
  use(document: PolicyDocument | undefined): void {
    const isOn = document !== undefined && document.mode !== 'off';
    this.#inspector.withDeeds = isOn;
    this.policy = isOn ? new Policy(document, this.lookups) : undefined;
    this.#schemas.clear();
  }

  /** How old the oldest knowledge of a database is; 0 where there is none. */
  get schemaAgeMs(): number {
    return this.#schemas.ageMs;
  }

  /** What the session of somebody who logs in now is to begin with. */
  timeLimits(subject: Subject): TimeLimits {
    const document = this.policy?.document;
    if (document?.mode !== 'enforce') return noLimits;
    return timeLimitsOf(document, this.#rolesNow(document, subject));
  }

  #rolesNow(document: PolicyDocument, subject: Subject): readonly string[] {
    return rolesOf(document, subject, this.grants.of(subject.user), this.#clock.wallMs());
  }

  /** For a client whose session begins, or goes on under a policy; undefined where there is none. */
  gateFor(client: Policed): Gatekeeper | undefined {
    if (this.policy === undefined) return undefined;
    return new Gatekeeper(this.#houseFor(client), client.subject, client.channel, client.goOn);
  }

  /**
   * Why a session may not begin, if so: for its settings, or because it replicates, which shows everything that is written.
   * @param settings of the startup packet
   */
  loginDenied(subject: Subject, replicates: boolean, settings: ReadonlyMap<string, string>): PoolerError | undefined {
    const { policy } = this;
    if (policy === undefined) return undefined;
    const roles = this.#rolesNow(policy.document, subject);
    const ruleset = policy.ruleset(roles, subject.database);
    const settingDenial = decideSettings(ruleset, settings);
    const decision = replicates ? judgeReplication(ruleset) : undefined;
    const denial = settingDenial ?? decision?.denial;
    const verdict = denial === undefined ? 'allow' : policy.document.mode === 'enforce' ? 'deny' : 'observe';
    const rule = denial === undefined ? decision?.allowedBy?.name : ruleNameOf({ denial, allowedBy: undefined });
    if (replicates || denial !== undefined) this.#count(verdict, rule ?? '', subject, undefined);
    if (denial === undefined || verdict !== 'deny') return undefined;
    const { message, ...fields } = denialText(denial);
    return new PoolerError(message, fields);
  }

  /** The pool is gone. */
  forget(pool: Pool): void {
    this.#schemas.forget(pool);
  }

  #houseFor({ subject, channel, pool, inspect }: Policed): GateHouse {
    const schemas = this.#schemas;
    const inspector = this.#inspector;
    const policing = this;
    const tables = (): readonly string[] | undefined =>
      this.policy === undefined ? [] : this.policy.tablesWithColumns;
    return {
      clock: this.#clock,
      get policy() {
        return policing.policy;
      },
      grantsOf: (user) => this.grants.of(user),
      schema: () => schemas.current(pool, tables()),
      get schemaError() {
        return schemas.errorOf(pool)?.message;
      },
      isSchemaNewer: (ms) => schemas.isNewer(pool, ms),
      awaitSchema: (callback) => schemas.wait(pool, tables(), callback),
      onDefinition: () => schemas.changed(subject.database, tables),
      ownFacts(bytes, start, end) {
        const { values } = channel.settings;
        return inspector.ownFacts(
          bytes,
          start,
          end,
          values.get('standard_conforming_strings'),
          values.get('client_encoding'),
        );
      },
      inspect,
      afterParse: (callback) => inspector.afterParse(callback),
      estimates: {
        find: (asked, limits) => this.#estimates.find(pool, channel.server?.version, asked, limits),
        keep: (asked, estimate) => this.#estimates.keep(pool, channel.server?.version, asked, estimate),
      },
      onWait: () => {
        this.waits++;
      },
      onDecision: (verdict, rule, facts) => this.#count(verdict, rule, subject, facts),
    };
  }

  #count(verdict: Verdict, rule: string, subject: Subject, facts: StatementFacts | undefined): void {
    this.decisions.add(rule === '' ? byDefault : rule, verdict);
    if (verdict === 'allow') return;
    const second = Math.floor(this.#clock.now() / 1_000);
    if (second !== this.#loggedSecond) {
      this.#loggedSecond = second;
      this.#logged = 0;
    }
    if (this.#logged++ >= loggedPerSecondMax) return;
    const { user, database, application } = subject;
    const statement = facts?.shape?.text.toString('utf8', 0, loggedTextMax);
    this.#log.info({ verdict, rule, user, database, application, statement }, 'policy decision');
  }
}
