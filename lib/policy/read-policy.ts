// Reads the `[policy]` of a file into a document, or says everything that is wrong with it.

import {
  type Environment,
  isTable,
  listedProblems,
  nearest,
  type Problem,
  policyTables,
  problemAt,
  type RawPolicy,
  type RawTable,
  requirements,
} from '../config/index.js';
import type { Secret } from '../util/index.js';
import type {
  MaskDefinition,
  MaskMethod,
  PolicyDocument,
  Rate,
  RoleDefinition,
  RuleDefinition,
  Scope,
  Verdict,
} from './document.js';
import { Network } from './network.js';
import type { Parsed } from './parsed.js';
import { Pattern, TextPattern } from './pattern.js';
import { parseDays, parseHours, parseTimeZone } from './schedule.js';
import { type Reading, Section } from './section.js';
import { isSettingKind, statementGroups, statementKinds } from './statement-kinds.js';

export type PolicyResult =
  | { readonly ok: true; readonly policy: PolicyDocument }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export function readPolicy(raw: RawPolicy, env: Environment): PolicyResult {
  const reader = new PolicyReader(raw, env);
  const policy = reader.read();
  return reader.problems.length === 0 ? { ok: true, policy } : { ok: false, problems: listedProblems(reader.problems) };
}

const rolesMax = 1_000;
const rulesMax = 10_000;
const masksMax = 10_000;
/** A shorter key could be found by trying. */
const maskKeyBytesMin = 16;

const keysOf = {
  policy: policyTables.policy.keys,
  role: policyTables.role.keys,
  rule: policyTables.rule.keys,
  mask: policyTables.mask.keys,
};
type RoleSection = Section<typeof keysOf.role>;
type RuleSection = Section<typeof keysOf.rule>;
type MaskSection = Section<typeof keysOf.mask>;

class PolicyReader implements Reading {
  readonly raw: RawPolicy;
  readonly env: Environment;
  readonly problems: Problem[] = [];
  readonly #roleTables: ReadonlyMap<string, RawTable>;

  constructor(raw: RawPolicy, env: Environment) {
    this.raw = raw;
    this.env = env;
    this.#roleTables = this.#tablesByName();
  }

  read(): PolicyDocument {
    const names = { path: [], title: 'policy.', tables: ['roles', 'rules', 'masks'] };
    const section = new Section(this, keysOf.policy, this.raw.table, names);
    const maskKey = section.value('mask_key') ?? undefined;
    if (maskKey !== undefined && Buffer.byteLength(maskKey.reveal()) < maskKeyBytesMin)
      section.refuse('mask_key', 'too short', { allowed: `at least ${maskKeyBytesMin} bytes` });
    return {
      mode: section.value('mode'),
      default: section.value('default'),
      unknown: section.value('unknown'),
      maskKey,
      roles: new Map([...this.#roleTables].map(([name, table]) => [name, this.#role(name, table)])),
      rules: this.#rules(),
      masks: this.#masks(maskKey),
      source: this.raw.file,
    };
  }

  #role(name: string, table: RawTable): RoleDefinition {
    const names = { path: ['roles', name], title: `policy.roles.${name}.` };
    const section: RoleSection = new Section(this, keysOf.role, table, names);
    const [hours, days] = [section.list('hours', parseHours).flat(), section.list('days', parseDays).flat()];
    const timeZone = section.parsed('timezone', parseTimeZone) ?? keysOf.role.timezone.default;
    if (section.has('timezone') && !section.has('hours') && !section.has('days'))
      section.refuse('timezone', 'without effect: there are neither `hours` nor `days`');
    return {
      name,
      users: section.list('users', parseText),
      databases: section.list('databases', parseText),
      applications: section.list('applications', parseText),
      networks: section.list('networks', Network.parse),
      certificates: section.list('certificates', parseText),
      hours,
      days: new Set(days),
      timeZone,
      statementTimeoutMs: milliseconds(section.value('statement_timeout')),
      lockTimeoutMs: milliseconds(section.value('lock_timeout')),
      grantedOnly: section.value('granted_only'),
    };
  }

  #rules(): readonly RuleDefinition[] {
    const names = new Set<string>();
    return this.#elements('rules', rulesMax).map(([table, path, title]) => {
      const section: RuleSection = new Section(this, keysOf.rule, table, { path, title });
      const name = section.parsed('name', (text) => parseName(text, names)) ?? '';
      const limits = {
        require: new Set(section.list('require', parseWord(requirements))),
        maxCost: section.value('max_cost'),
        maxRows: section.value('max_rows'),
        rate: section.parsed('rate', parseRate),
      };
      return {
        name,
        ...this.#scope(section),
        statements: statementsOf(section.list('statements', parseStatement)),
        tables: section.list('tables', (text) => Pattern.parse(text, ['schema', 'table'])),
        columns: section.list('columns', parseColumn),
        functions: section.list('functions', (text) => Pattern.parse(text, ['schema', 'function'])),
        ...limits,
        verdict: verdictOf(section),
        message: section.words('message'),
        hint: section.words('hint'),
        place: section.place,
      };
    });
  }

  #masks(maskKey: Secret | undefined): readonly MaskDefinition[] {
    const names = new Set<string>();
    return this.#elements('masks', masksMax).map(([table, path, title]) => {
      const section: MaskSection = new Section(this, keysOf.mask, table, { path, title });
      const method = methodOf(section);
      if (method.kind === 'hash' && maskKey === undefined)
        section.refuse('with', '`hash` needs `mask_key` in `[policy]`');
      return {
        name: section.parsed('name', (text) => parseName(text, names)),
        ...this.#scope(section),
        columns: section.list('columns', parseColumn),
        method,
        place: section.place,
      };
    });
  }

  #scope(section: RuleSection | MaskSection): Scope {
    const parseRole = parseWord([...this.#roleTables.keys()], 'there is no such role');
    const roles = section.list('roles', parseRole);
    const except = section.list('except', (text) =>
      roles.includes(text) ? { ok: false, message: 'in `roles` too' } : parseRole(text),
    );
    return { roles, except, databases: section.list('databases', parseText) };
  }

  #tablesByName(): ReadonlyMap<string, RawTable> {
    const { roles = {} } = this.raw.table;
    const found = new Map<string, RawTable>();
    const entries = isTable(roles) ? Object.entries(roles) : [];
    if (!isTable(roles)) this.#refuse(['roles'], 'policy.roles', 'not a table', '[policy.roles.NAME]');
    if (entries.length > rolesMax) this.#refuse(['roles'], 'policy.roles', 'too many roles', `at most ${rolesMax}`);
    for (const [name, table] of entries) {
      const key = `policy.roles.${name.slice(0, nameCharsMax)}`;
      if (!nameForm.test(name)) this.#refuse(['roles', name], key, 'not the name of a role', nameAllowed);
      else if (!isTable(table)) this.#refuse(['roles', name], key, 'not a table', '[policy.roles.NAME]');
      else found.set(name, table);
    }
    return found;
  }

  /** The tables of an array, with path and title of each. */
  #elements(name: 'rules' | 'masks', max: number): readonly (readonly [RawTable, readonly string[], string])[] {
    const { [name]: list = [] } = this.raw.table;
    const key = `policy.${name}`;
    if (!Array.isArray(list) || !list.every(isTable)) {
      this.#refuse([name], key, 'not a list of tables', `[[${key}]]`);
      return [];
    }
    if (list.length > max) this.#refuse([name], key, 'too many', `at most ${max}`);
    return list.map((table, index) => {
      const known = typeof table.name === 'string' && nameForm.test(table.name) ? ` "${table.name}"` : '';
      return [table, [name, String(index)], `${key}[${index}]${known}: `];
    });
  }

  #refuse(path: readonly string[], key: string, message: string, allowed: string): void {
    this.problems.push(problemAt(this.raw.place(path), key, message, { allowed }));
  }
}

const nameForm = /^[A-Za-z0-9_.-]{1,63}$/;
const nameCharsMax = 63;
const nameAllowed = 'letters, digits, `_`, `.` and `-`, at most 63';

/** @param known names so far; the name is added */
function parseName(text: string, known: Set<string>): Parsed<string> {
  if (!nameForm.test(text)) return { ok: false, message: 'not a name', details: { allowed: nameAllowed } };
  if (known.has(text)) return { ok: false, message: 'another one above has this name' };
  known.add(text);
  return { ok: true, value: text };
}

function parseText(text: string): Parsed<TextPattern> {
  return { ok: true, value: TextPattern.of(text) };
}

function parseColumn(text: string): Parsed<Pattern> {
  return Pattern.parse(text, ['schema', 'table', 'column']);
}

function parseWord<W extends string>(words: readonly W[], message = 'not an allowed word') {
  return (text: string): Parsed<W> => {
    const word = words.find((one) => one === text);
    if (word !== undefined) return { ok: true, value: word };
    const allowed = words.length > 0 && words.length <= wordsListedMax ? words.join(', ') : null;
    return { ok: false, message, details: { allowed, nearest: nearest(text, words) } };
  };
}

const wordsListedMax = 10;
const kindNames: readonly string[] = [...statementKinds, ...Object.keys(statementGroups)];
const knownKinds = new Set(kindNames);

/** The members of a group, or the kind alone; null: any. */
function parseStatement(text: string): Parsed<readonly string[] | null> {
  const kind = text.toLowerCase();
  if (kind === 'any' || kind === '*') return { ok: true, value: null };
  if (Object.hasOwn(statementGroups, kind))
    return { ok: true, value: statementGroups[kind as keyof typeof statementGroups] };
  if (knownKinds.has(kind) || isSettingKind(kind)) return { ok: true, value: [kind] };
  return { ok: false, message: 'unknown statement', details: { nearest: nearest(text, kindNames) } };
}

function statementsOf(lists: readonly (readonly string[] | null)[]): ReadonlySet<string> {
  return lists.includes(null) ? new Set() : new Set(lists.flatMap((list) => list ?? []));
}

const second = 1_000;
const periodsMs = new Map([
  ['s', second],
  ['sec', second],
  ['min', 60 * second],
  ['hour', 3_600 * second],
  ['day', 86_400 * second],
]);

function parseRate(text: string): Parsed<Rate> {
  const match = /^([1-9]\d{0,8}) ?\/ ?([a-z]+)$/.exec(text);
  const perMs = periodsMs.get(match?.[2] ?? '');
  if (match === null || perMs === undefined)
    return {
      ok: false,
      message: 'not a rate',
      details: { allowed: `such as 100/min; per ${[...periodsMs.keys()].join(', ')}` },
    };
  return { ok: true, value: { count: Number(match[1]), perMs } };
}

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1_000);
}

const limitKeys = ['require', 'max_cost', 'max_rows', 'rate'];

function verdictOf(section: RuleSection): Verdict {
  const verdict = section.value('verdict');
  const limits = limitKeys.filter((key) => section.has(key));
  if (!section.has('verdict') && limits.length === 0) {
    const allowed = `deny, allow or observe; without it one of ${limitKeys.join(', ')}`;
    section.refuse('verdict', 'missing', { allowed });
  }
  for (const key of [...limits, 'message', 'hint']) {
    if (verdict === 'allow' && section.has(key))
      section.refuse(key, 'not with `verdict = "allow"`: it is about what is refused');
  }
  return verdict ?? 'deny';
}

/** The keys that are about one method. */
const methodKeys = {
  value: 'constant',
  keep_first: 'partial',
  keep_last: 'partial',
  fill: 'partial',
  step: 'number',
  unit: 'date',
  sql: 'sql',
} as const satisfies Partial<Record<keyof typeof keysOf.mask, MaskMethod['kind']>>;

/** `null` after a problem: the document is thrown away then. */
function methodOf(section: MaskSection): MaskMethod {
  const kind = section.value('with');
  if (kind === undefined) return { kind: 'null' };
  for (const [key, method] of Object.entries(methodKeys)) {
    if (method !== kind && section.has(key)) section.refuse(key, `only with \`with = "${method}"\``);
  }
  switch (kind) {
    case 'null':
    case 'hash':
    case 'email':
      return { kind };
    case 'constant':
      return needed(section, 'value', section.value('value'), (value) => ({ kind, value }));
    case 'number':
      return needed(section, 'step', section.value('step'), (step) => ({ kind, step }));
    case 'date':
      return needed(section, 'unit', section.value('unit'), (unit) => ({ kind, unit }));
    case 'sql':
      return needed(section, 'sql', section.words('sql'), (expression) => ({ kind, expression }));
    case 'partial': {
      const [keepFirst, keepLast] = [section.value('keep_first'), section.value('keep_last')];
      if (keepFirst + keepLast === 0)
        section.refuse('with', 'keeps nothing', { allowed: '`keep_first` or `keep_last`' });
      return { kind, keepFirst, keepLast, fill: section.value('fill') };
    }
    default:
      return kind satisfies never;
  }
}

function needed<T>(
  section: MaskSection,
  key: keyof typeof methodKeys,
  value: T | undefined,
  method: (value: T) => MaskMethod,
): MaskMethod {
  if (value !== undefined) return method(value);
  if (!section.has(key)) section.refuse(key, `missing: \`with = "${methodKeys[key]}"\` needs it`);
  return { kind: 'null' };
}
