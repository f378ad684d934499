// Asks a server for the plans of a statement, as the operator's settings have it and not only as the client's do.

import { asciiLiteral } from '../session/index.js';
import { ownQueryMessage, type ServerErrorFields, statementBody, TransactionStatus } from '../wire/index.js';
import type { OwnRows } from './owed.js';
import type { ServerChannel } from './server-channel.js';

/** A statement that shows a plan and runs nothing else. */
export interface PlanQuestion {
  /** Of a Parse behind the name: `EXPLAIN (FORMAT JSON) ...` and the types of its parameters. */
  readonly body: Buffer;
  /** Of a Bind behind the names. */
  readonly values: Buffer;
}

/** Plans as JSON, bytes as latin1 strings, or why there are none. */
export type PlansAnswer = readonly string[] | ServerErrorFields;

/** What costs are counted in: a client that changes it gets other numbers for the same plan. */
const unitSettings =
  '^((seq|random)_page_cost|cpu_.*_cost|parallel_.*|effective_cache_size|recursive_worktable_factor' +
  '|min_parallel_.*|max_parallel_workers.*|debug_parallel_query|force_parallel_mode)$';
/** What plans are chosen by. */
const choiceSettings =
  '^(enable_.*|geqo.*|.*_collapse_limit|constraint_exclusion|cursor_tuple_fraction|plan_cache_mode|jit.*' +
  '|work_mem|hash_mem_multiplier|effective_io_concurrency)$';

const choice = new RegExp(choiceSettings);

/** Whether a client that sets it may be answered with the plan of its own choice. */
export function choosesPlans(setting: string): boolean {
  return choice.test(setting);
}

/** Any of the names may be something else in the session's search path. */
function resetQuery(pattern: string): string {
  return (
    'SELECT s.name,s.setting,pg_catalog.set_config(s.name,s.reset_val,true) FROM pg_catalog.pg_settings s' +
    ` WHERE s.setting OPERATOR(pg_catalog.<>) s.reset_val AND s.name OPERATOR(pg_catalog.~) '${pattern}'`
  );
}

const resetUnits = bodyOf(resetQuery(unitSettings));
const resetChoices = bodyOf(resetQuery(choiceSettings));
/** Of a Bind without parameters whose result is text. */
export const noValues: Buffer = Buffer.alloc(6);

function bodyOf(sql: string): Buffer {
  return statementBody(Buffer.from(sql, 'latin1'), []);
}

/** The name goes first: no plan is made of it. */
const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY';

/**
 * Asks for the plan that the client's settings choose, in the operator's units of cost, and where those settings choose at all
 * for the one that the operator's would: whichever is dearer counts. Nothing stays changed behind it. Between two batches an
 * error goes nowhere; within one it is the client's, whose statement would have met it as well.
 * @param answered not called where the batch it is asked in fails
 */
export function askForPlans(
  server: ServerChannel,
  question: PlanQuestion,
  answered: (answer: PlansAnswer) => void,
): void {
  if (server.complete) new AskBetween(server, question, answered).begin();
  else new AskWithin(server, question, answered).begin();
}

abstract class Ask {
  protected readonly server: ServerChannel;
  protected readonly plans: string[] = [];
  readonly #question: PlanQuestion;

  constructor(server: ServerChannel, question: PlanQuestion) {
    this.server = server;
    this.#question = question;
  }

  begin(): void {
    this.run(resetUnits, noValues, (rows) => this.onChanged(rows));
    this.#askPlan();
    this.run(resetChoices, noValues, (rows) => {
      this.onChanged(rows);
      if (rows.length > 0) this.#askPlan();
      this.end();
    });
  }

  #askPlan(): void {
    const { body, values } = this.#question;
    this.run(body, values, (rows) => this.plans.push(rows.map(([line]) => line ?? '').join('\n')));
  }

  protected abstract run(body: Buffer, values: Buffer, done: (rows: OwnRows) => void): void;
  /** Settings that have been put back to the operator's. */
  protected onChanged(_rows: OwnRows): void {}
  protected abstract end(): void;
}

/** In a transaction, or a part of the client's, that is rolled back. */
class AskBetween extends Ask {
  readonly #answered: (answer: PlansAnswer) => void;
  #error: ServerErrorFields | undefined;
  #ended = false;

  constructor(server: ServerChannel, question: PlanQuestion, answered: (answer: PlansAnswer) => void) {
    super(server, question);
    this.#answered = answered;
  }

  override begin(): void {
    const opens = this.server.status === TransactionStatus.Idle ? begin : 'SAVEPOINT weir_plan';
    this.#isOutside = this.server.status === TransactionStatus.Idle;
    this.server.ask(ownQueryMessage(opens), (error) => {
      this.#error ??= error;
    });
    super.begin();
  }

  #isOutside = true;

  protected run(body: Buffer, values: Buffer, done: (rows: OwnRows) => void): void {
    this.server.askBound(body, values, (error, rows) => {
      this.#error ??= error;
      if (this.#error === undefined) done(rows);
      else this.end();
    });
  }

  protected end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const closes = this.#isOutside ? 'ROLLBACK' : 'ROLLBACK TO SAVEPOINT weir_plan;RELEASE SAVEPOINT weir_plan';
    this.server.ask(ownQueryMessage(closes), (error) => {
      this.#error ??= error;
      this.#answered(this.#error ?? this.plans);
    });
  }
}

/** In the client's batch, whose transaction goes on. */
class AskWithin extends Ask {
  readonly #answered: (answer: PlansAnswer) => void;
  readonly #changed: (readonly [name: string, value: string])[] = [];

  constructor(server: ServerChannel, question: PlanQuestion, answered: (answer: PlansAnswer) => void) {
    super(server, question);
    this.#answered = answered;
  }

  protected run(body: Buffer, values: Buffer, done: (rows: OwnRows) => void): void {
    this.server.askBound(body, values, (error, rows) => {
      if (error === undefined) done(rows);
      else this.#answered(error);
    });
  }

  protected override onChanged(rows: OwnRows): void {
    for (const [name, value] of rows) this.#changed.push([name ?? '', value ?? '']);
  }

  protected end(): void {
    if (this.#changed.length === 0) {
      this.#answered(this.plans);
      return;
    }
    const calls = this.#changed.map(([name, value]) => `pg_catalog.set_config('${name}',${asciiLiteral(value)},true)`);
    this.run(bodyOf(`SELECT ${calls.join(',')}`), noValues, () => this.#answered(this.plans));
  }
}
