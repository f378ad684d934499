// The table of keys of a policy: every key of `[policy]`, its roles, rules and masks, with type, default and the sentence users read.

import { bool, int, list, listOf, oneOf, seconds, secret, text, type ValueOf, type ValueType } from './schema.js';

export interface PolicyKey<T extends ValueType = ValueType, D = ValueOf<T> | undefined> {
  readonly type: T;
  /** undefined: nothing is said then. */
  readonly default: D;
  readonly required: boolean;
  /** One or two sentences for users. */
  readonly doc: string;
}

export type PolicyKeys = Readonly<Record<string, PolicyKey>>;

function key<T extends ValueType>(type: T, doc: string): PolicyKey<T, undefined> {
  return { type, default: undefined, required: false, doc };
}

function required<T extends ValueType>(type: T, doc: string): PolicyKey<T, undefined> {
  return { type, default: undefined, required: true, doc };
}

function preset<T extends ValueType>(type: T, value: NoInfer<ValueOf<T>>, doc: string): PolicyKey<T, ValueOf<T>> {
  return { type, default: value, required: false, doc };
}

/** What PostgreSQL's own time-outs, whole milliseconds in 32 bits, can hold. */
const timeoutSeconds = { ...seconds, min: 0.001, max: 2_147_483 };
const countMax = 1_000_000_000_000;
const sentence = { ...text, bytesMax: 1024 };

/** What a rule may ask of a statement. */
export const requirements = ['where', 'limit', 'transaction'] as const;

const policyKeys = {
  mode: preset(
    oneOf(['off', 'observe', 'enforce']),
    'enforce',
    '`off` reads the policy and does nothing; `observe` lets everything pass and says what would have been refused; `enforce` refuses it.',
  ),
  default: preset(oneOf(['allow', 'deny']), 'deny', 'What happens to a statement that no rule decides.'),
  unknown: preset(oneOf(['allow', 'deny']), 'deny', 'What happens to a text that weir cannot parse.'),
  mask_key: key(
    { ...secret, bytesMax: 1024 },
    'Key of the hashes that `with = "hash"` makes, at least 16 bytes, best given by an environment variable. Whoever knows it can find out by trying which value a hash stands for.',
  ),
};

const roleKeys = {
  users: key(list, 'Patterns of user names.'),
  databases: key(list, 'Patterns of database names, as clients ask for them.'),
  applications: key(list, 'Patterns of `application_name`. A client chooses its own, so this keeps nobody out.'),
  networks: key(
    list,
    'Addresses or networks the client comes from, such as `10.1.0.0/16` or `::1`; `unix` is the Unix socket.',
  ),
  certificates: key(list, 'Patterns of the name (CN) in the client certificate that was verified.'),
  hours: key(
    list,
    'Times of day such as `08:00-18:00`, the end not included. `22:00-06:00` is the first and the last hours of each of its days.',
  ),
  days: key(list, 'Days of the week such as `mon-fri` or `sun`.'),
  timezone: preset(text, 'UTC', 'Time zone of `hours` and `days`, such as `Europe/Berlin`.'),
  statement_timeout: key(
    timeoutSeconds,
    "PostgreSQL's `statement_timeout` for sessions of this role: they begin with it, unless they ask for a smaller one, and may not change it. Of several roles the smallest counts, as they are at login.",
  ),
  lock_timeout: key(timeoutSeconds, "PostgreSQL's `lock_timeout`, in the same way."),
  granted_only: preset(
    bool,
    false,
    'Nobody has the role but by a temporary grant, which `users`, where it is set, may be given. A grant of any other role stands for being one of its `users`. The other keys have to fit as well.',
  ),
};

const rolesSentence = 'Roles it holds for. Not set: everyone.';
const exceptSentence = 'Roles it does not hold for, even where `roles` names one the client has too.';
const databasesSentence = 'Patterns of databases it holds for. Not set: all.';

const ruleKeys = {
  name: required(text, 'What clients, logs and metrics call the rule; letters, digits, `_`, `.` and `-`, at most 63.'),
  roles: key(list, rolesSentence),
  except: key(list, exceptSentence),
  databases: key(list, databasesSentence),
  statements: key(list, 'Kinds of statements or groups of them, see below. Not set: any.'),
  tables: key(list, 'Patterns `schema.table` of what is read or written.'),
  columns: key(list, 'Patterns `schema.table.column` of what is read or written.'),
  functions: key(list, 'Patterns `schema.function` of what is called.'),
  require: key(
    listOf(requirements),
    'What the statement must have: a WHERE of its own, a LIMIT, a transaction block around it.',
  ),
  max_cost: key(
    int(1, countMax),
    "Most that PostgreSQL's planner may expect the statement to cost, as EXPLAIN shows it for the values it is run with, in the operator's units of cost: what a client sets for itself makes it dearer at most. EXPLAIN without ANALYZE and what has no plan, such as BEGIN, cost nothing; DO, CALL and the like are refused where `statements` names them. Values that are only compared by `=` are not asked about anew while the shape costs less than a hundredth.",
  ),
  max_rows: key(int(1, countMax), "Most rows that PostgreSQL's planner may expect, asked in the same way."),
  rate: key(
    text,
    'How often one user may run such statements: a count per `s`, `sec`, `min`, `hour` or `day`, such as `100/min`.',
  ),
  verdict: key(
    oneOf(['allow', 'deny', 'observe']),
    'What becomes of the statements the rule is about. Where it has `require`, `max_cost`, `max_rows` or `rate`, of those that break them, and then `deny` need not be said. `observe` only says so.',
  ),
  message: key(sentence, 'What the client is told instead of the usual text.'),
  hint: key(sentence, 'What the client is advised to do.'),
};

const maskKeys = {
  name: key(text, 'What logs call the mask; as the name of a rule.'),
  roles: key(list, rolesSentence),
  except: key(list, exceptSentence),
  databases: key(list, databasesSentence),
  columns: required(list, 'Patterns `schema.table.column` of what is masked.'),
  with: required(
    oneOf(['null', 'constant', 'hash', 'partial', 'email', 'number', 'date', 'sql']),
    '`null`; one `constant`; a `hash` with `mask_key`, equal for equal values; `partial` text; an `email` that keeps its first letter and its domain, and nothing where it is not one address alone; a `number` rounded towards zero; a `date` cut to its unit, by UTC where it has a time zone; an expression in `sql`.',
  ),
  value: key(text, 'With `constant`: the text every value becomes.'),
  keep_first: preset(int(0, 1_000), 0, 'With `partial`: characters kept at the beginning.'),
  keep_last: preset(int(0, 1_000), 0, 'With `partial`: characters kept at the end.'),
  fill: preset({ ...text, bytesMax: 64 }, '***', 'With `partial`: text in place of all between, whatever its length.'),
  step: key(int(1, 1_000_000_000), 'With `number`: values are rounded towards zero to a multiple of it.'),
  unit: key(oneOf(['year', 'quarter', 'month', 'week', 'day', 'hour']), 'With `date`: what is kept.'),
  sql: key(text, 'With `sql`: an SQL expression in which `{column}` stands for the column.'),
};

/** Keys by the table they stand in; the titles are those of the reference. */
export const policyTables = {
  policy: { title: '`[policy]`', keys: policyKeys },
  role: { title: '`[policy.roles.NAME]`', keys: roleKeys },
  rule: { title: '`[[policy.rules]]`', keys: ruleKeys },
  mask: { title: '`[[policy.masks]]`', keys: maskKeys },
};
