// Gathers what statements do, user by user, and writes the policy that allows just that.

import type { Act, FunctionDeed, RelationDeed, StatementDeeds } from '../sql/index.js';
import { harmlessActs } from './decide.js';
import type { RehearsedNames } from './rehearsal.js';
import { isSettingKind, statementKinds } from './statement-kinds.js';
import { isPlainFunction } from './unseen.js';

/** What one user was seen to do. */
interface Seen {
  /** Kinds of statement by the pattern of the table. */
  readonly tables: Map<string, Set<string>>;
  /** Kinds that were done to no table. */
  readonly kinds: Set<string>;
  /** Patterns of functions by how they are called. */
  readonly functions: Record<FunctionDeed['kind'], Set<string>>;
  /** Tables it makes without saying where. */
  readonly made: Set<string>;
}

const knownKinds = new Set<string>(statementKinds);

export class Learner {
  readonly #users = new Map<string, Seen>();
  readonly #names: RehearsedNames;

  constructor(names: RehearsedNames) {
    this.#names = names;
  }

  take(user: string, statements: readonly StatementDeeds[]): void {
    let seen = this.#users.get(user);
    if (seen === undefined) {
      const functions = { select: new Set<string>(), call: new Set<string>() };
      seen = { tables: new Map(), kinds: new Set(), functions, made: new Set() };
      this.#users.set(user, seen);
    }
    for (const statement of statements) this.#statement(seen, statement);
  }

  /** As TOML. */
  policy(): string {
    const head = ['[policy]', 'mode = "enforce"', 'default = "deny"', 'unknown = "deny"'];
    const names = new Set<string>();
    const users = [...this.#users].sort(([a], [b]) => (a < b ? -1 : 1));
    return `${[head.join('\n'), ...users.map(([user, seen]) => userText(user, roleName(user, names), seen))].join('\n\n')}\n`;
  }

  #statement(seen: Seen, { acts, relations, functions }: StatementDeeds): void {
    for (const act of acts) {
      const kind = kindOf(act);
      if (!harmlessActs.has(kind)) seen.kinds.add(kind);
    }
    for (const deed of relations) {
      const isMade = /^(create_table|create_table_as|select_into)$/.test(deed.act[0] ?? '');
      if (isMade && deed.schema === null && deed.name !== null) seen.made.add(deed.name);
    }
    for (const deed of relations) {
      for (const pattern of this.#tablesOf(deed, seen)) {
        const kinds = seen.tables.get(pattern) ?? new Set();
        seen.tables.set(pattern, kinds.add(kindOf(deed.act)));
      }
      if (deed.name === null) seen.kinds.add(kindOf(deed.act));
    }
    for (const called of functions) {
      const pattern = this.#functionOf(called);
      if (pattern !== undefined) seen.functions[called.kind].add(pattern);
    }
  }

  #tablesOf({ schema, name }: RelationDeed, { made }: Seen): readonly string[] {
    if (name === null) return [];
    if (schema !== null) return [patternText(schema, name)];
    // Where it will be made, or whether it is a temporary one, the text does not tell.
    if (made.has(name)) return [`*.${quoted(name)}`];
    const [known] = this.#names.schema.candidates(null, name, undefined);
    if (known !== undefined) return [patternText(known.schema, name)];
    return [patternText(name.startsWith('pg_') ? 'pg_catalog' : 'public', name)];
  }

  /** undefined: it needs no rule. */
  #functionOf({ schema, name, kind }: FunctionDeed): string | undefined {
    if (schema !== null) {
      return schema === 'pg_catalog' && kind === 'select' && isPlainFunction(name)
        ? undefined
        : patternText(schema, name);
    }
    const [own, ...others] = this.#names.schema.functionSchemas(name);
    if (own === undefined && isPlainFunction(name)) return undefined;
    return own !== undefined && others.length === 0 ? patternText(own, name) : `*.${quoted(name)}`;
  }
}

/** The most telling name that a rule may use. */
function kindOf(act: Act): string {
  const names = act[0] === 'set' ? [...act].reverse() : act;
  return names.find((name) => knownKinds.has(name) || isSettingKind(name)) ?? (act[0] as string);
}

// Writing

function userText(user: string, role: string, { tables, kinds, functions }: Seen): string {
  const sections = [`[policy.roles.${text(role)}]\nusers = [${text(user)}]`];
  for (const [key, patterns] of grouped(tables)) {
    sections.push(ruleText(role, `tables-${sections.length}`, { tables: patterns, statements: key.split(' ') }));
  }
  for (const [kind, patterns] of Object.entries(functions)) {
    if (patterns.size > 0) {
      sections.push(ruleText(role, `functions-${kind}`, { functions: [...patterns].sort(), statements: [kind] }));
    }
  }
  if (kinds.size > 0) {
    const rule = ruleText(role, 'statements', { statements: [...kinds].sort() });
    sections.push(kinds.has('set') ? `${anySettingNote}\n${rule}` : rule);
  }
  return sections.join('\n\n');
}

/** Above a rule that allows more than what was seen. */
const anySettingNote =
  '# "set" stands for a setting that the texts do not name, and allows all of them, SET ROLE too: learn from audit_sql = "full".';

/** Items of one list of a rule. */
const itemsMax = 500;

/** Tables with the same kinds together, no more than a rule can have. */
function grouped(tables: ReadonlyMap<string, ReadonlySet<string>>): readonly (readonly [string, readonly string[]])[] {
  const groups = new Map<string, string[][]>();
  for (const [pattern, kinds] of [...tables].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const key = [...kinds].sort().join(' ');
    const lists = groups.get(key) ?? [];
    const last = lists.at(-1);
    if (last === undefined || last.length >= itemsMax) lists.push([pattern]);
    else last.push(pattern);
    groups.set(key, lists);
  }
  return [...groups].flatMap(([key, lists]) => lists.map((list) => [key, list] as const));
}

function ruleText(role: string, name: string, lists: Readonly<Record<string, readonly string[]>>): string {
  return [
    '[[policy.rules]]',
    `name = ${text(`${role}-${name}`)}`,
    `roles = [${text(role)}]`,
    ...Object.entries(lists).map(([key, items]) => `${key} = [${items.map(text).join(', ')}]`),
    'verdict = "allow"',
  ].join('\n');
}

/** Of a role and, with what rules put behind it, of rules: these have at most 63 characters. */
const roleCharsMax = 40;

/** @param taken names of other users' roles; the name is added */
function roleName(user: string, taken: Set<string>): string {
  const base = user.replace(/[^A-Za-z0-9_.-]/g, '_').slice(0, roleCharsMax) || 'user';
  let name = base;
  for (let number = 2; taken.has(name); number++) name = `${base}-${number}`;
  taken.add(name);
  return name;
}

/** A text of TOML in which nothing is taken from the environment. */
function text(value: string): string {
  return JSON.stringify(value)
    .replaceAll('\x7f', '\\u007f')
    .replaceAll('${', () => '$${');
}

function patternText(schema: string, name: string): string {
  return `${quoted(schema)}.${quoted(name)}`;
}

function quoted(name: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
