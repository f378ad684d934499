// Judges the statements of one client: brings the policy together with what the session is now, and remembers what it has let pass.

import {
  conditionText,
  type Decision,
  type Denial,
  type DenialText,
  decide,
  denialText,
  isMaskedAlike,
  type Judge,
  maskedColumns,
  maskText,
  type Policy,
  type RuleDefinition,
  type Ruleset,
  rolesHoldUntil,
  rolesOf,
  ruleNameOf,
  type Schema,
  type Subject,
} from '../policy/index.js';
import {
  type BoundValues,
  type ClientChannel,
  choosesPlans,
  type Estimation,
  type Gate,
  type Moment,
  noValues,
  type Ruling,
  type ServerChannel,
} from '../relay/index.js';
import { Effect, type Footprint, type Settings, type Statement } from '../session/index.js';
import {
  type Deeds,
  isPlainText,
  opaquePlan,
  type StatementDeeds,
  type StatementFacts,
  UNKNOWN,
} from '../sql/index.js';
import type { Clock } from '../util/index.js';
import {
  bindValuesEnd,
  type ErrorFields,
  type ServerErrorFields,
  statementBody,
  TransactionStatus,
} from '../wire/index.js';
import { type Asked, type CostLimits, digestOf, type Estimate, planQuestion, readEstimate } from './estimates.js';
import { keepsPlans } from './keeps-plans.js';
import { ownTablesQuery, readOwnTables } from './own-tables.js';

/** What a gate needs of the process. */
export interface GateHouse {
  readonly clock: Clock;
  /** Undefined where there is none any more: everything passes. */
  readonly policy: Policy | undefined;
  /** Roles the user has for a time; another object when they change. */
  grantsOf(user: string): ReadonlySet<string>;
  /** What the client's database has; undefined before it is known. */
  schema(): Schema | undefined;
  /** Why it is not known. */
  readonly schemaError: string | undefined;
  /** Whether what is known was asked for after that time. */
  isSchemaNewer(ms: number): boolean;
  /** Reads it again and calls back. */
  awaitSchema(callback: () => void): void;
  /** A statement that may change it is sent. */
  onDefinition(): void;
  /** The text as the server will read it: its own facts, with places in it. */
  ownFacts(bytes: Buffer, start: number, end: number): StatementFacts;
  /** What a kept statement may leave behind, looked at anew. */
  inspect(bytes: Buffer, start: number, end: number): Footprint;
  /** Calls back when a text that was pending may be known. */
  afterParse(callback: () => void): void;
  readonly estimates: {
    find(asked: Asked, limits: CostLimits): Estimate | undefined;
    keep(asked: Asked, estimate: Estimate): void;
  };
  /** A message waits for one of the above. */
  onWait(): void;
  /** A statement has been decided on. */
  onDecision(verdict: 'allow' | 'deny' | 'observe', rule: string, facts: StatementFacts | undefined): void;
}

/** Names of prepared statements of one client that weir does not keep elsewhere. */
const preparedMax = 10_000;
/** What one of them may stand for: as many texts as were prepared under it, whether or not the server took them. */
const meaningsMax = 100;
/** Of all their texts, which are kept where a plan of them may have to be asked for. */
const preparedBytesMax = 4 * 1024 * 1024;

/** configuration_limit_exceeded */
const tooMuch = '53400';

/** What a message has run, as it is sent. */
interface Sent {
  /** Of a Parse behind the name; undefined where it is not known any more. */
  readonly body: Buffer | undefined;
  /** Of a Bind behind the names, up to the formats of the result; undefined where there are none, or too long ones. */
  readonly values: Buffer | undefined;
  /** Masked tables have been replaced in it: its shape is not that of the client's text. */
  readonly isRewritten: boolean;
  /** `by name`: one that weir does not keep; what SQL has prepared under it runs now. */
  readonly how: 'query' | 'bound' | 'by name';
}

const noneSent: Sent = { body: undefined, values: undefined, isRewritten: false, how: 'query' };

/** Why, and by which rule. */
interface Denied {
  readonly text: DenialText;
  readonly rule: string;
}

/** An estimate that is not known yet. */
interface Wanted {
  readonly rule: RuleDefinition;
  readonly asked: Asked;
  /** Whether others' statements may be judged by it. */
  readonly isShared: boolean;
  readonly body: Buffer;
  readonly values: Buffer | undefined;
  readonly parameterCount: number;
}

/** The server has to be asked what the session has made. */
const ownTablesWanted = { kind: 'own tables' } as const;

const ownTablesBody = statementBody(Buffer.from(ownTablesQuery), []);

const noTables: ReadonlySet<string> = new Set();

/** Why there is no estimate of a statement: the server's error, or that its transaction has failed. */
type NoEstimate = ServerErrorFields | 'failed transaction';

function denied(text: DenialText): Ruling {
  return { kind: 'deny', error: { severity: 'ERROR', ...text } };
}

const forward: Ruling = { kind: 'forward' };
const wait: Ruling = { kind: 'wait' };

/** Of a statement that weir knows only by what it is. */
function bareDeeds(kind: string): StatementDeeds {
  return {
    acts: [[kind]],
    kinds: new Set([kind]),
    relations: [],
    functions: [],
    operators: [],
    columns: [],
    columnNames: new Set(),
    anyColumn: false,
    attributes: new Set(),
    executes: [],
    shows: new Set(),
    hasWhere: true,
    hasLimit: false,
    begun: undefined,
    planned: opaquePlan,
  };
}

/** FunctionCall names a function by its number. */
const functionCall: StatementFacts = {
  ...UNKNOWN,
  deeds: { statements: [bareDeeds('function_call')], unknown: false },
};

/** A replication connection is judged as a statement of its own kind. */
export function judgeReplication(ruleset: Ruleset): Decision {
  return decide({ statements: [bareDeeds('replication')], unknown: false }, ruleset, undefined);
}

/** What was decided when a statement was prepared. */
interface Prepared {
  readonly facts: StatementFacts;
  /** Who rewrote it; undefined where it went as it was. */
  readonly maskedBy: Judge | undefined;
  /** Of its Parse behind the name, where a plan of it may have to be asked for and weir does not keep it elsewhere. */
  readonly body: Buffer | undefined;
}

type AuditDecision = NonNullable<Gate['decision']>;

export class Gatekeeper implements Gate {
  decision: AuditDecision | undefined;
  readonly #house: GateHouse;
  readonly #subject: Subject;
  readonly #channel: ClientChannel;
  readonly #goOn: () => void;

  // What the judge was chosen by.
  #policy: Policy | undefined;
  #grants: ReadonlySet<string> | undefined;
  #rolesUntilMs = 0;
  #ruleset: Ruleset | undefined;
  #schema: Schema | undefined;
  #settings: Settings | undefined;
  #judgedInDoubt = false;
  #judgedTables: ReadonlySet<string> | undefined;
  #judgeInForce: Judge | undefined;

  /** The search path may have changed unseen since the client's settings were last read back. */
  #inDoubt = false;
  /** A statement has been sent behind which the session is without its time-outs, until it has been answered. */
  #hasLostLimits = false;
  /** What has become of the client's transaction since its server last told, as far as statements not yet answered show. */
  #turn: 'begun' | 'ended' | undefined;
  /** What its server has last said of the session's temporary schema; `#knowsOwn`: nothing that may change it has been sent since. */
  #ownTables: ReadonlySet<string> = noTables;
  #knowsOwn = false;
  /** What a message waits for: nothing else of the client is taken. */
  #awaited: object | undefined;
  /** When a relation was met that is not known. */
  #unknownSinceMs: number | undefined;

  /** What has been asked about the message at hand, by digest. */
  readonly #answers = new Map<string, Estimate | NoEstimate>();
  /** Something has been sent, since the session was last like any other, that may give statements other plans in it. */
  #hasOwnPlans: boolean;
  /** What was judged last, and whether its cost counts. */
  #last: Prepared | undefined;
  #lastCosts = false;
  readonly #prepared = new Map<string, readonly Prepared[]>();
  #preparedBytes = 0;
  /** What has been prepared by Parse in the batch that is open: where that has failed, what is behind it is skipped. */
  readonly #parsed = new Map<string, Prepared>();
  #parsedOn: ServerChannel | undefined;
  #parsedIn = 0;
  /** Statements that are not what their facts say, by who rewrote them. */
  readonly #maskedBy = new WeakMap<Statement, Judge>();

  constructor(house: GateHouse, subject: Subject, channel: ClientChannel, goOn: () => void) {
    this.#house = house;
    this.#subject = subject;
    this.#channel = channel;
    this.#goOn = goOn;
    // What a session has done before there was a policy is not known.
    this.#hasOwnPlans = channel.server !== undefined;
  }

  /** Roles the client has now. */
  get roles(): readonly string[] {
    return this.#rulesetNow(this.#house.policy)?.roles ?? [];
  }

  get hidesColumns(): boolean {
    const { policy } = this.#house;
    return policy?.document.mode === 'enforce' && this.#rulesetNow(policy)?.hidesColumns === true;
  }

  // Judging

  judge(footprint: Footprint, bytes: Buffer, start: number, end: number, moment: Moment): Ruling {
    const { facts } = footprint;
    if (facts?.known === false && facts.pending) {
      if (moment !== 'ahead') this.#wait((goOn) => this.#house.afterParse(goOn));
      return wait;
    }
    if (facts === undefined || !facts.known || !this.#isReadAlike(facts, bytes, start, end)) {
      return this.#unknown(facts, moment);
    }
    const ruling = this.#settled(this.#pass(facts, moment) ?? this.#judge(facts, bytes, start, end, moment));
    if (moment === 'run' && !footprint.isInert && (ruling.kind === 'forward' || ruling.kind === 'rewrite')) {
      if (this.#runsAlone(facts)) this.#forget(footprint);
      this.#onPrepares(footprint);
    }
    return ruling;
  }

  #judge(facts: StatementFacts, bytes: Buffer, start: number, end: number, moment: Moment): Ruling {
    const sent = (rewritten: Buffer | undefined): Sent => ({
      ...noneSent,
      body: statementBody(rewritten ?? bytes.subarray(start, end), []),
      isRewritten: rewritten !== undefined,
    });
    return this.#decide(facts, moment, sent, (judge) => this.#rewritten(judge, bytes, start, end));
  }

  /** What was asked about a message is of no use behind its ruling. */
  #settled(ruling: Ruling): Ruling {
    if (ruling.kind !== 'estimate' && ruling.kind !== 'wait') this.#answers.clear();
    return ruling;
  }

  /** The way of most statements. @returns undefined where more has to be looked at */
  #pass(facts: StatementFacts, moment: Moment): Ruling | undefined {
    const { policy } = this.#house;
    const decision = policy === undefined ? undefined : this.#judgeNow(policy)?.decide(facts);
    if (decision?.passes !== true || this.#isWithoutLimits()) return undefined;
    this.#unknownSinceMs = undefined;
    if (moment !== 'ahead') this.#remember(facts, undefined, false);
    if (moment === 'run') this.#noteChange(facts);
    return this.#note(decision, facts, moment);
  }

  /** PREPAREs are about to run: what they prepare is what was judged last. */
  #onPrepares({ statements }: Footprint): void {
    for (const { kind, name } of statements) if (kind === 'prepare') this.onPrepared(undefined, name, undefined);
  }

  /** Whether it is the only statement of its text, and nothing before it can keep it from being run. */
  #runsAlone({ kinds }: StatementFacts): boolean {
    const { server } = this.#channel;
    const isFree = server === undefined || (server.settled && server.status !== TransactionStatus.Failed);
    return kinds.length === 1 && isFree && !this.#channel.inDeferredTransaction;
  }

  /** DEALLOCATE and DISCARD ALL: the names mean nothing any more. */
  #forget({ effects, statements }: Footprint): void {
    if ((effects & Effect.ForgetsStatements) !== 0) {
      this.#prepared.clear();
      this.#preparedBytes = 0;
    }
    for (const { kind, name } of statements) if (kind === 'deallocate') this.#drop(name);
  }

  #drop(name: string): void {
    for (const { body } of this.#prepared.get(name) ?? []) this.#preparedBytes -= body?.length ?? 0;
    this.#prepared.delete(name);
  }

  #remember(facts: StatementFacts, maskedBy: Judge | undefined, costs: boolean): void {
    this.#last = { facts, maskedBy, body: undefined };
    this.#lastCosts = costs;
  }

  judgeUnread(what: 'a statement over inspect_limit' | 'a function call by its number'): Ruling {
    return what === 'a function call by its number'
      ? this.#settled(
          this.#decide(
            functionCall,
            'run',
            () => noneSent,
            () => forward,
          ),
        )
      : this.#unknown(undefined, 'run');
  }

  judgeBound(statement: Statement | undefined, name: string, moment: Moment, values: BoundValues | undefined): Ruling {
    const found = statement === undefined ? this.#meaningsOf(name) : this.#factsOf(statement);
    if (found !== undefined) {
      let ruling = forward;
      for (const { facts, maskedBy, body } of found) {
        const alike = (judge: Judge): Ruling => (isStillMasked(facts, maskedBy, judge) ? forward : changed);
        const sent = (): Sent => ({
          body: statement?.body ?? body,
          values: valuesOf(values),
          isRewritten: maskedBy !== undefined,
          how: statement === undefined ? 'by name' : 'bound',
        });
        const passed = maskedBy === undefined ? this.#pass(facts, moment) : undefined;
        ruling = passed ?? this.#decide(facts, moment, sent, alike, maskedBy !== undefined);
        if (ruling.kind !== 'forward') return this.#settled(ruling);
      }
      this.#last = found[0];
      if (moment === 'run' && statement !== undefined) this.#onPrepares(statement.footprint);
      return this.#settled(ruling);
    }
    // Of any other name weir says itself that there is none.
    const mayBeThere = this.#channel.transparent || this.#channel.server?.ladder.namesUnsettled === true;
    return mayBeThere || statement !== undefined ? this.#unknown(undefined, moment) : forward;
  }

  /** What a name that weir does not keep may stand for in the batch that is open. */
  #meaningsOf(name: string): readonly Prepared[] | undefined {
    const parsed = this.#isParsing ? this.#parsed.get(name) : undefined;
    return parsed === undefined ? this.#prepared.get(name) : [parsed];
  }

  get #isParsing(): boolean {
    const { server } = this.#channel;
    return server !== undefined && server === this.#parsedOn && server.batch === this.#parsedIn;
  }

  #noteParsed(name: string, prepared: Prepared, isByParse: boolean): void {
    const { server } = this.#channel;
    if (!this.#isParsing) this.#parsed.clear();
    this.#parsedOn = server;
    this.#parsedIn = server?.batch ?? 0;
    if (isByParse && this.#parsed.size < preparedMax) this.#parsed.set(name, prepared);
    else this.#parsed.delete(name);
  }

  onPrepared(statement: Statement | undefined, name: string, body: Buffer | undefined): void {
    const last = this.#last;
    if (last === undefined) return;
    if (statement !== undefined) {
      if (last.maskedBy !== undefined) this.#maskedBy.set(statement, last.maskedBy);
      return;
    }
    const { server } = this.#channel;
    // A text that nothing comes before does take the place of the statement without a name.
    const isSure = name === '' && server?.settled === true;
    const before = isSure ? [] : (this.#prepared.get(name) ?? []);
    this.#drop(name);
    let bytes = 0;
    for (const each of before) bytes += each.body?.length ?? 0;
    const hasRoom = body !== undefined && this.#preparedBytes + bytes + body.length <= preparedBytesMax;
    const made = { ...last, body: hasRoom && this.#lastCosts ? Buffer.from(body) : undefined };
    const kept = withMeaning(before, made);
    this.#noteParsed(name, made, body !== undefined);
    for (const each of kept) this.#preparedBytes += each.body?.length ?? 0;
    this.#prepared.set(name, kept);
    const [oldest] = this.#prepared.keys();
    if (this.#prepared.size > preparedMax && oldest !== undefined) this.#drop(oldest);
  }

  onCarried(name: string, statement: Statement): void {
    const [first, ...others] = this.#prepared.get(name) ?? [];
    if (others.length > 0) this.#drop(name);
    else if (first?.maskedBy !== undefined) this.#maskedBy.set(statement, first.maskedBy);
  }

  /** @returns undefined for one that was never read */
  #factsOf(statement: Statement): readonly Prepared[] | undefined {
    const maskedBy = this.#maskedBy.get(statement);
    let { facts } = statement.footprint;
    if (facts?.known !== true) return undefined;
    // Prepared before there was a policy.
    if (facts.deeds === undefined) facts = this.#house.inspect(statement.body, 0, statement.body.indexOf(0)).facts;
    return facts?.known === true ? [{ facts, maskedBy, body: undefined }] : undefined;
  }

  /** Whether the parser and the server agree on what the text says. */
  #isReadAlike(facts: StatementFacts, bytes: Buffer, start: number, end: number): boolean {
    const encoding = this.#channel.settings.values.get('client_encoding');
    if (encoding !== undefined && encoding !== 'UTF8' && facts.shape !== undefined) {
      if (!isPlainText(facts.shape.text, 0, facts.shape.text.length)) return false;
    }
    // Code whose effects are not known yet may have changed how strings are read.
    const pending = this.#channel.server?.ladder.pending ?? Effect.None;
    return (pending & Effect.Unknown) === 0 || isPlainText(bytes, start, end);
  }

  /**
   * @param sent what is sent, of the client's text or of one that stands for it
   * @param masked asked where masks have to do with it: now, or when it was prepared (`wasMasked`)
   */
  #decide(
    facts: StatementFacts,
    moment: Moment,
    sent: (rewritten: Buffer | undefined) => Sent,
    masked: (judge: Judge) => Ruling,
    wasMasked = false,
  ): Ruling {
    const policy = this.#house.policy;
    if (policy === undefined) return forward;
    const judge = this.#judgeNow(policy);
    if (judge === undefined) return this.#awaitSchema(moment);
    const decision = judge.decide(facts);
    if (moment === 'ahead') return wait;
    const enforces = policy.document.mode === 'enforce';
    let ruling: Ruling | undefined;
    // A plan is that of what the server is sent: that of the client's text would tell of values that are masked.
    const rulingOnMasks = (): Ruling => {
      ruling ??= enforces && (decision.masked || wasMasked) ? masked(judge) : forward;
      return ruling;
    };
    const sentText = (): Sent | undefined => {
      const { kind, ...more } = rulingOnMasks();
      if (kind === 'wait' || kind === 'deny') return undefined;
      return sent('text' in more ? more.text : undefined);
    };
    const denial = this.#denialOf(decision, judge, policy, facts, moment, sentText);
    if (denial === 'wait') return wait;
    if (denial === ownTablesWanted) return { kind: 'estimate', estimation: this.#askingForOwn() };
    if (denial !== undefined && 'text' in denial && enforces) {
      this.#decided('deny', facts, denial.rule);
      return denied(denial.text);
    }
    const onMasks = denial === undefined || !('text' in denial) ? rulingOnMasks() : forward;
    if (onMasks.kind === 'wait') return onMasks;
    if (onMasks.kind === 'deny') {
      this.#decided('deny', facts, '(mask)');
      return onMasks;
    }
    if (denial !== undefined && 'asked' in denial) return { kind: 'estimate', estimation: this.#estimation(denial) };
    const hidden = enforces ? this.#columnsMasked(decision, judge, facts) : undefined;
    if (denial === undefined) this.#note(decision, facts, moment, hidden);
    else if ('text' in denial) this.#decided('observe', facts, denial.rule, hidden);
    if (decision.movesTables) this.#knowsOwn = false;
    const costs = decision.conditions.some(({ kind }) => kind === 'cost');
    this.#remember(facts, onMasks.kind === 'rewrite' ? judge : undefined, costs);
    if (moment === 'run') this.#noteChange(facts);
    if (decision.changesNames) this.#inDoubt = true;
    if (decision.losesLimits && moment === 'run') this.#hasLostLimits = true;
    if (decision.defines) this.#house.onDefinition();
    return onMasks;
  }

  /** Why the decision is no, now. */
  #denialOf(
    decision: Decision,
    judge: Judge,
    policy: Policy,
    facts: StatementFacts,
    moment: Moment,
    sent: () => Sent | undefined,
  ): Denied | Wanted | typeof ownTablesWanted | 'wait' | undefined {
    const { denial } = decision;
    if (denial !== undefined) {
      const more = this.#moreAbout(denial);
      if (more !== undefined) return more;
      this.#unknownSinceMs = undefined;
      return { text: denialText(denial), rule: ruleNameOf(decision) ?? '' };
    }
    this.#unknownSinceMs = undefined;
    if (this.#isWithoutLimits()) return { text: limitsLostText, rule: '(timeout)' };
    if (decision.executes.length > 0 && decision.explains && decision.masked && judge.ruleset.hashes) {
      return {
        text: denialText({ reason: 'mask', rule: undefined, what: 'the plan of what it prepares' }),
        rule: '(mask)',
      };
    }
    for (const name of decision.executes) {
      const known = this.#preparedAs(name);
      // On a server of its own the client may have prepared it before there was this policy.
      const mayHide = this.#channel.transparent || judge.ruleset.isRestricted;
      if (known.length === 0 && mayHide && !facts.kinds.includes('prepare')) {
        const what = `the prepared statement ${name}`;
        return { text: denialText({ reason: 'unknown', rule: undefined, what }), rule: '(unknown)' };
      }
      for (const prepared of known) {
        const inner = judge.decide(prepared.facts);
        const more = inner.denial && this.#moreAbout(inner.denial);
        if (more !== undefined) return more;
        if (inner.denial !== undefined) return { text: denialText(inner.denial), rule: ruleNameOf(inner) ?? '' };
        const isMasked = inner.masked || prepared.maskedBy !== undefined;
        if (isMasked && !isStillMasked(prepared.facts, prepared.maskedBy, judge))
          return { text: changedText, rule: '(mask)' };
        if (inner.masked && decision.explains && judge.ruleset.hashes) {
          const what = `the plan of the prepared statement ${name}`;
          return { text: denialText({ reason: 'mask', rule: undefined, what }), rule: '(mask)' };
        }
        if (inner.changesNames && moment === 'run') this.#inDoubt = true;
        const broken = this.#brokenOf(inner, policy, facts, moment, sent, name);
        if (broken !== undefined) return broken;
      }
    }
    // What is prepared only runs later, and counts then.
    if (facts.kinds.length === 1 && facts.kinds[0] === 'prepare' && sent()?.how !== 'by name') return undefined;
    return this.#brokenOf(decision, policy, facts, moment, sent, undefined);
  }

  #isWithoutLimits(): boolean {
    const { server } = this.#channel;
    this.#hasLostLimits &&= server?.quiet === false;
    return this.#hasLostLimits;
  }

  /** @param executed the prepared statement whose conditions they are, where it is not the text itself */
  #brokenOf(
    decision: Decision,
    policy: Policy,
    facts: StatementFacts,
    moment: Moment,
    sent: () => Sent | undefined,
    executed: string | undefined,
  ): Denied | Wanted | 'wait' | undefined {
    // They count when the statement runs.
    if (moment !== 'run') return undefined;
    // One that has to wait for a plan takes nothing of a rate before.
    const conditions = [...decision.conditions].sort((a, b) => Number(b.kind === 'cost') - Number(a.kind === 'cost'));
    for (const { rule, kind } of conditions) {
      const broken = kind === 'cost' ? this.#tooCostly(rule, facts, sent, executed) : this.#broken(rule, kind, policy);
      if (broken === undefined) continue;
      if (broken === 'wait' || 'asked' in broken) return broken;
      if (rule.verdict === 'observe') this.#decided('observe', facts, rule.name);
      else return { text: broken, rule: rule.name };
    }
    return undefined;
  }

  /** What has to be found out before a relation is taken for one that is not there. */
  #moreAbout({ reason }: Denial): typeof ownTablesWanted | 'wait' | undefined {
    if (reason !== 'unknown_relation') return undefined;
    if (this.#channel.server !== undefined) return this.#knowsOwn ? undefined : ownTablesWanted;
    if (!this.#mayBeNew()) return undefined;
    this.#wait((goOn) => this.#house.awaitSchema(goOn));
    return 'wait';
  }

  #askingForOwn(): Estimation {
    const know = (tables: ReadonlySet<string>): void => {
      this.#knowsOwn = true;
      // What has been decided by the same tables holds.
      if (!isSame(tables, this.#ownTables)) this.#ownTables = tables;
    };
    return {
      unasked: denied(unaskedText),
      question: () => ({ body: ownTablesBody, values: noValues }),
      without: () => know(noTables),
      answered: (answer) => {
        know('sqlstate' in answer ? noTables : readOwnTables(answer[0] ?? ''));
        queueMicrotask(this.#goOn);
      },
    };
  }

  /** A relation that is not known may have been made since: the schema is read again once, if no server is kept for it. */
  #mayBeNew(): boolean {
    if (this.#channel.server !== undefined) return false;
    this.#unknownSinceMs ??= this.#house.clock.now();
    return !this.#house.isSchemaNewer(this.#unknownSinceMs) && this.#house.schemaError === undefined;
  }

  /** What an EXECUTE may run: it is judged anew, by what holds now. */
  #preparedAs(name: string): Prepared[] {
    const key = Buffer.from(name, 'utf8').toString('latin1');
    const kept = this.#channel.statements.get(key);
    return [...(this.#prepared.get(key) ?? []), ...(kept === undefined ? [] : (this.#factsOf(kept) ?? []))];
  }

  #broken(rule: RuleDefinition, kind: 'transaction' | 'rate', policy: Policy): DenialText | undefined {
    switch (kind) {
      case 'transaction': {
        this.#followTransaction();
        const isIn = this.#channel.server?.inTransaction === true;
        if (this.#turn === 'begun' || (isIn && this.#turn === undefined)) return undefined;
        return conditionText(rule, 'it may only run inside a transaction');
      }
      case 'rate': {
        if (policy.withinRate(rule, this.#subject.user, this.#house.clock.now())) return undefined;
        return conditionText(rule, `more than ${rule.rate?.count} in the time allowed`, tooMuch);
      }
      default:
        return kind satisfies never;
    }
  }

  // What statements cost

  /** The statement is sent: those behind it may have other plans than in other sessions. */
  #noteChange(facts: StatementFacts): void {
    if (this.#ruleset?.limitsCosts === true && !keepsPlans(facts)) this.#hasOwnPlans = true;
  }

  /** Of all statements of the text that the rule speaks of. */
  #tooCostly(
    rule: RuleDefinition,
    facts: StatementFacts,
    sent: () => Sent | undefined,
    executed: string | undefined,
  ): DenialText | Wanted | 'wait' | undefined {
    const statements = facts.deeds?.statements ?? [];
    let isSteady = true;
    for (const [index, statement] of statements.entries()) {
      // What it executes is judged by its own conditions as well; but it may have been prepared in this text.
      const isMeant =
        executed === undefined
          ? statement.executes.length > 0 || speaksOf(rule, statement)
          : statement.executes.includes(executed);
      if (isMeant) {
        const broken = this.#costOf(rule, facts, index, sent, isSteady);
        if (broken !== undefined) return broken;
      }
      isSteady &&= statements.length === 1 || keepsPlans(facts, statement);
    }
    return undefined;
  }

  /** @param isSteady what stands before it in the text does not change what it means */
  #costOf(
    rule: RuleDefinition,
    facts: StatementFacts,
    index: number,
    sent: () => Sent | undefined,
    isSteady: boolean,
  ): DenialText | Wanted | 'wait' | undefined {
    const statement = facts.deeds?.statements[index];
    if (statement === undefined) return undefined;
    const { planned } = statement;
    const isPreparedBefore = statement.kinds.has('prepare') && sent()?.how === 'by name';
    if (planned.kind === 'free' && !isPreparedBefore) return undefined;
    const unknown = conditionText(rule, 'what it costs cannot be estimated', tooMuch);
    if (planned.kind !== 'plan' || !isSteady) return unknown;
    const text = sent();
    // What masks have to say comes first.
    if (text === undefined) return undefined;
    // PostgreSQL refuses parameters without values.
    const isOnly = facts.deeds?.statements.length === 1;
    if (text.how === 'query' && facts.parameterCount > 0 && isOnly) return undefined;
    const body = this.#planBody(text, facts, index);
    if (body === 'wait') return body;
    if (body === undefined) return unknown;
    const context = this.#planContext();
    const isShared = context !== undefined && statement.executes.length === 0;
    let digest: string | undefined;
    const asked: Asked = {
      statement,
      constants: text.isRewritten ? 'deciding' : planned.constants,
      context: context ?? '',
      digest: () => {
        digest ??= digestOf(body, text.values);
        return digest;
      },
    };
    const { maxCost, maxRows } = rule;
    const own = this.#answers.size > 0 ? this.#answers.get(asked.digest()) : undefined;
    const answer = own ?? (isShared ? this.#house.estimates.find(asked, rule) : undefined);
    if (answer === undefined) {
      const parameterCount = text.how === 'query' ? 0 : facts.parameterCount;
      return { rule, asked, isShared, body, values: text.values, parameterCount };
    }
    // Where it stands alone PostgreSQL says so itself.
    if (answer === 'failed transaction') return isOnly ? undefined : unknown;
    if ('sqlstate' in answer) return withoutPlanText(answer);
    const { cost, rows } = answer;
    if (maxCost !== undefined && cost > maxCost) {
      return conditionText(rule, `the planner estimates a cost of ${cost}, over ${maxCost}`, tooMuch);
    }
    if (maxRows !== undefined && rows > maxRows) {
      return conditionText(rule, `the planner estimates ${rows} rows, over ${maxRows}`, tooMuch);
    }
    return undefined;
  }

  /** The part of the text that is to be put behind EXPLAIN, as the body of a Parse. */
  #planBody({ body }: Sent, facts: StatementFacts, index: number): Buffer | 'wait' | undefined {
    const planned = facts.deeds?.statements[index]?.planned;
    if (body === undefined || planned?.kind !== 'plan') return undefined;
    if (planned.instead !== undefined) return statementBody(Buffer.from(planned.instead), []);
    if (planned.start < 0) return body;
    // Where it lies in this very text.
    const end = body.indexOf(0);
    const own = this.#house.ownFacts(body, 0, end);
    if (!own.known && own.pending) {
      this.#wait((goOn) => this.#house.afterParse(goOn));
      return 'wait';
    }
    const place = own.deeds?.statements[index]?.planned;
    if (place?.kind !== 'plan' || place.start < 0) return undefined;
    return Buffer.concat([body.subarray(place.start, place.end), body.subarray(end)]);
  }

  /** What plans hang on beside their texts, where other sessions may have the same; undefined where this one alone has it. */
  #planContext(): string | undefined {
    const { server, settings, transparent } = this.#channel;
    if (!transparent && (server === undefined || server.quiet)) this.#hasOwnPlans = false;
    if (this.#hasOwnPlans || settings.shadowsCatalog) return undefined;
    if (server !== undefined && !transparent) {
      const { ladder } = server;
      if (ladder.pins.has('temp') || (ladder.pending & ownPlans) !== 0) return undefined;
    }
    const counts = (name: string): boolean => name.includes('.') || name === 'row_security' || choosesPlans(name);
    const more = [...settings.values].filter(([name]) => counts(name));
    return `${settings.parseKey}${more.map(([name, value]) => `${name}\0${value}\0`).join('')}`;
  }

  #estimation({ rule, asked, isShared, body, values, parameterCount }: Wanted): Estimation {
    const key = asked.digest();
    return {
      unasked: denied(conditionText(rule, 'what it costs with values as long as these cannot be asked', tooMuch)),
      question: (version) => planQuestion(body, parameterCount, values, version),
      without: () => {
        this.#answers.set(key, 'failed transaction');
      },
      answered: (answer) => {
        const isError = 'sqlstate' in answer;
        const estimate = isError ? undefined : readEstimate(answer);
        if (estimate !== undefined && isShared) this.#house.estimates.keep(asked, estimate);
        this.#answers.set(key, estimate ?? (isError ? answer : notAPlan));
        queueMicrotask(this.#goOn);
      },
    };
  }

  #unknown(facts: StatementFacts | undefined, moment: Moment): Ruling {
    const policy = this.#house.policy;
    const ruleset = this.#rulesetNow(policy);
    if (policy === undefined || ruleset === undefined) return forward;
    if (moment === 'ahead') return wait;
    const isAllowed = policy.document.unknown === 'allow' && !ruleset.isRestricted;
    const verdict = isAllowed ? 'allow' : policy.document.mode === 'observe' ? 'observe' : 'deny';
    this.decision = { verdict, rule: '(unknown)', roles: ruleset.roles };
    this.#house.onDecision(verdict, '(unknown)', facts);
    this.#last = undefined;
    this.#hasOwnPlans = true;
    if (verdict === 'deny') {
      return denied(denialText({ reason: 'unknown', rule: undefined, what: 'the statement is not understood' }));
    }
    this.#inDoubt = true;
    this.#knowsOwn = false;
    return forward;
  }

  /** The text with its masked tables replaced. */
  #rewritten(judge: Judge, bytes: Buffer, start: number, end: number): Ruling {
    const own = this.#house.ownFacts(bytes, start, end);
    if (!own.known && own.pending) {
      this.#wait((goOn) => this.#house.afterParse(goOn));
      return wait;
    }
    const { names, ruleset } = judge;
    const text =
      own.deeds === undefined || names === undefined
        ? undefined
        : maskText(Buffer.from(bytes.subarray(start, end)), own.deeds, ruleset, names);
    if (text !== undefined) return { kind: 'rewrite', text };
    return denied(denialText({ reason: 'mask', rule: undefined, what: 'a masked table that cannot be replaced' }));
  }

  #note(decision: Decision, facts: StatementFacts, moment: Moment, masked?: readonly string[]): Ruling {
    const rule = ruleNameOf(decision);
    this.decision = { verdict: 'allow', rule, roles: this.#ruleset?.roles, masked };
    if (decision.movesTables) this.#knowsOwn = false;
    this.#followTransaction();
    if (moment === 'run') {
      if (decision.ends) this.#turn = 'ended';
      this.#house.onDecision('allow', rule ?? '', facts);
      for (const { name } of decision.observed) this.#decided('observe', facts, name, masked);
    }
    return forward;
  }

  #followTransaction(): void {
    const { server } = this.#channel;
    // Weir sends the BEGIN that it has answered in the batch of what is judged now.
    if (this.#channel.inDeferredTransaction) this.#turn = 'begun';
    else if (this.#turn !== undefined && server?.settled !== false) this.#turn = undefined;
  }

  #decided(verdict: 'deny' | 'observe', facts: StatementFacts, rule: string, masked?: readonly string[]): void {
    this.decision = { verdict, rule, roles: this.#ruleset?.roles, masked };
    this.#house.onDecision(verdict, rule, facts);
  }

  /** What is hidden of the tables that a text, or a statement that it executes, is rewritten for. */
  #columnsMasked(decision: Decision, judge: Judge, { deeds }: StatementFacts): readonly string[] | undefined {
    const { names, ruleset } = judge;
    if (names === undefined) return undefined;
    const all: Deeds[] = decision.masked && deeds !== undefined ? [deeds] : [];
    for (const { facts } of decision.executes.flatMap((name) => this.#preparedAs(name)))
      if (facts.deeds !== undefined && judge.decide(facts).masked) all.push(facts.deeds);
    return all.length === 0 ? undefined : all.flatMap((each) => maskedColumns(each, ruleset, names));
  }

  // Waiting

  #wait(ask: (goOn: () => void) => void): void {
    if (this.waiting) return;
    const awaited = {};
    this.#awaited = awaited;
    this.#house.onWait();
    ask(() => {
      if (this.#awaited !== awaited) return;
      this.#awaited = undefined;
      this.#goOn();
    });
  }

  get waiting(): boolean {
    return this.#awaited !== undefined;
  }

  /** The message does not wait any more. */
  stopWaiting(): void {
    this.#awaited = undefined;
  }

  #awaitSchema(moment: Moment): Ruling {
    if (moment === 'ahead') return wait;
    const { schemaError } = this.#house;
    if (schemaError === undefined) {
      this.#wait((goOn) => this.#house.awaitSchema(goOn));
      return wait;
    }
    const error: ErrorFields = {
      severity: 'ERROR',
      sqlstate: '57P03',
      message: 'the policy cannot be applied: what the database has could not be read',
      detail: schemaError,
      hint: 'See the log. The statement was not run; try again.',
    };
    return { kind: 'deny', error };
  }

  // What decisions hang on

  #rulesetNow(policy: Policy | undefined): Ruleset | undefined {
    const { clock } = this.#house;
    const grants = this.#house.grantsOf(this.#subject.user);
    const isTimed = this.#rolesUntilMs !== Number.POSITIVE_INFINITY;
    if (policy === this.#policy && grants === this.#grants && !(isTimed && clock.wallMs() >= this.#rolesUntilMs)) {
      return this.#ruleset;
    }
    this.#policy = policy;
    this.#grants = grants;
    this.#judgeInForce = undefined;
    const before = this.#ruleset;
    this.#ruleset = undefined;
    if (policy === undefined) return undefined;
    const wallMs = clock.wallMs();
    this.#rolesUntilMs = rolesHoldUntil(policy.document, wallMs);
    const roles = rolesOf(policy.document, this.#subject, grants, wallMs);
    this.#ruleset = policy.ruleset(roles, this.#subject.database);
    if (this.#ruleset !== before && this.#channel.server !== undefined) this.#hasOwnPlans = true;
    return this.#ruleset;
  }

  /** @returns undefined before the schema is known */
  #judgeNow(policy: Policy): Judge | undefined {
    const ruleset = this.#rulesetNow(policy);
    if (ruleset === undefined) return undefined;
    const channel = this.#channel;
    if (this.#inDoubt && channel.server === undefined && !this.#channel.transparent) {
      this.#inDoubt = false;
      this.#judgeInForce = undefined;
    }
    const schema = ruleset.needsSchema ? this.#house.schema() : undefined;
    if (ruleset.needsSchema && schema === undefined) return undefined;
    const { settings } = channel;
    if (
      this.#judgeInForce !== undefined &&
      schema === this.#schema &&
      settings === this.#settings &&
      !this.#isChanged
    ) {
      return this.#judgeInForce;
    }
    this.#schema = schema;
    this.#settings = settings;
    this.#judgedInDoubt = this.#inDoubt;
    this.#judgedTables = this.#own;
    this.#judgeInForce = policy.judge({
      ruleset,
      schema,
      searchPath: unicode(settings.values.get('search_path')),
      role: actingRole(settings),
      inDoubt: this.#inDoubt || settings.shadowsCatalog,
      ownTables: this.#own,
    });
    return this.#judgeInForce;
  }

  get #isChanged(): boolean {
    return this.#inDoubt !== this.#judgedInDoubt || this.#own !== this.#judgedTables;
  }

  get #own(): ReadonlySet<string> {
    return this.#knowsOwn ? this.#ownTables : noTables;
  }
}

/** Bytes as latin1 strings, as settings have them, to characters. */
function unicode(value: string | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value, 'latin1').toString('utf8');
}

function actingRole({ values }: Settings): string | undefined {
  const role = values.get('role');
  return unicode(role === undefined || role === 'none' ? values.get('session_authorization') : role);
}

function isSame(left: ReadonlySet<string>, right: ReadonlySet<string>): boolean {
  return left.size === right.size && [...left].every((name) => right.has(name));
}

/** Whether the masks that a text was rewritten with are those of now. */
function isStillMasked({ deeds }: StatementFacts, maskedBy: Judge | undefined, judge: Judge): boolean {
  if (maskedBy === undefined || deeds === undefined) return false;
  return maskedBy === judge || isMaskedAlike(deeds, maskedBy, judge);
}

/** One text more that a name may stand for; none is known any more where there are too many. */
function withMeaning(known: readonly Prepared[], added: Prepared): readonly Prepared[] {
  const isKnown = ({ facts, maskedBy, body }: Prepared): boolean =>
    facts === UNKNOWN ||
    (facts === added.facts && maskedBy === added.maskedBy && (body ?? noBytes).equals(added.body ?? noBytes));
  if (known.some(isKnown)) return known;
  return known.length < meaningsMax ? [...known, added] : [{ facts: UNKNOWN, maskedBy: undefined, body: undefined }];
}

const noBytes: Buffer = Buffer.alloc(0);

/** What may change the plans of the statements behind it, as long as it is not known what became of it. */
const ownPlans =
  Effect.Temp | Effect.Unknown | Effect.Sets | Effect.Settings | Effect.AllSettings | Effect.Role | Effect.Distrusted;

/** Whether a rule on costs is about the statement. */
function speaksOf({ statements }: RuleDefinition, { kinds }: StatementDeeds): boolean {
  return statements.size === 0 || [...kinds].some((kind) => statements.has(kind));
}

/** @returns a copy, without the formats of the result */
function valuesOf(values: BoundValues | undefined): Buffer | undefined {
  if (values === undefined) return undefined;
  const { bytes, start, end } = values;
  const to = bindValuesEnd(bytes, start, end);
  return to < 0 ? undefined : Buffer.from(bytes.subarray(start, to));
}

const notAPlan: ServerErrorFields = {
  severity: 'ERROR',
  sqlstate: tooMuch,
  message: 'denied by the policy: what it costs cannot be estimated',
  detail: 'What PostgreSQL answered to EXPLAIN is no plan.',
  hint: undefined,
  where: undefined,
};

const limitsLostText: DenialText = {
  sqlstate: '42501',
  message: 'denied by the policy: a statement sent before DISCARD was answered',
  detail: 'A role of yours has a time-out of its own, which is set again when DISCARD has been answered.',
  hint: 'Wait for the answer before sending anything else.',
};

/** The server's error as it is: what the statement itself would have met, or that it was cancelled meanwhile. */
function withoutPlanText({ sqlstate, message, detail, hint }: ServerErrorFields): DenialText {
  return {
    sqlstate,
    message,
    detail: detail ?? 'PostgreSQL has made no plan of it.',
    hint: hint ?? 'See the message.',
  };
}

const unaskedText: DenialText = {
  sqlstate: '42501',
  message: 'denied by the policy: a relation that is not known',
  detail: 'Whether it is a temporary table of yours cannot be asked in the middle of a batch.',
  hint: 'Wait for the answer to what makes the table before sending what reads it.',
};

const changedText: DenialText = {
  sqlstate: '0A000',
  message: 'the policy has changed since the statement was prepared',
  detail: 'Its masked columns may be others now.',
  hint: 'Prepare the statement again.',
};
const changed = denied(changedText);
