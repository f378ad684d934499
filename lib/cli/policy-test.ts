// `weir policy test`: examples in TOML, each a statement, who runs it, and what the policy is expected to make of it.

import { dirname, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { isTable, nearest, type Problem, problemAt, type RawTable, readPolicyFile, shown } from '../config/index.js';
import { assumedNames, type Outcome, type PolicyDocument, type RehearsedNames } from '../policy/index.js';
import type { StatementReader } from '../sql/index.js';
import { type Case, caseName } from './case-report.js';
import { BadConfiguration, decodedPolicy, policyAt } from './load.js';
import { type Circumstances, readText, rehearsalOf, schemaAt, timeOf } from './policy-setup.js';

interface Example {
  readonly name: string;
  readonly sql: string;
  readonly circumstances: Circumstances;
  readonly expect: Expectation;
  readonly rule: string | undefined;
  readonly tables: readonly string[] | undefined;
  readonly line: number;
}

const expectations = ['allow', 'deny', 'masked'] as const;
type Expectation = (typeof expectations)[number];

/** Every example is the first statement of a session of its own. @throws PoolerError, BadConfiguration */
export async function testFile(file: string, reader: StatementReader): Promise<Case[]> {
  const source = readText(file);
  const { document, schema, examples } = readExamples(file, source);
  const cases: Case[] = [];
  for (const example of examples) {
    const { user } = example.circumstances;
    const names: RehearsedNames =
      schema === undefined ? assumedNames(user) : { schema: await schemaAt(schema, reader, user), assumes: 'catalog' };
    const reading = await reader.read(example.sql);
    const rehearsal = rehearsalOf(document, example.circumstances, names);
    const outcome = rehearsal.judge(example.sql, reading.kind === 'read' ? reading.facts : undefined);
    cases.push(caseOf(example, outcome, file));
  }
  return cases;
}

function caseOf({ name, expect, rule, tables, line, sql }: Example, outcome: Outcome, file: string): Case {
  const wrong: string[] = [];
  if (outcome.verdict !== expect) wrong.push(`expected ${expect}, got ${outcome.verdict}`);
  if (rule !== undefined && outcome.rule !== rule)
    wrong.push(`expected the rule ${rule}, got ${outcome.rule ?? 'none'}`);
  if (tables !== undefined && [...tables].sort().join() !== [...outcome.tables].sort().join())
    wrong.push(`expected the tables ${tables.join(', ')}, got ${outcome.tables.join(', ') || 'none'}`);
  if (wrong.length === 0) return { name, file, line, failure: undefined };
  const hint = outcome.denial === undefined ? caseName(sql) : `${outcome.denial.message}: ${caseName(sql)}`;
  return { name, file, line, failure: { rule: outcome.rule ?? '(none)', message: wrong.join('; '), hint } };
}

interface Examples {
  readonly document: PolicyDocument;
  readonly schema: string | undefined;
  readonly examples: readonly Example[];
}

function readExamples(file: string, source: string): Examples {
  const decoder = new ExampleDecoder(file, source);
  const table = decoder.table();
  decoder.known([], table, ['policy', 'schema', 'tests']);
  const schema = decoder.text([], table, 'schema');
  const tests = table['tests'];
  if (!Array.isArray(tests) || tests.length === 0 || !tests.every(isTable)) {
    decoder.refuse([], 'tests', 'missing: a list of tables, [[tests]]');
  }
  const examples = Array.isArray(tests) ? tests.filter(isTable).map((one, index) => decoder.example(one, index)) : [];
  if (decoder.problems.length > 0) throw new BadConfiguration(decoder.problems);
  return {
    document: policyOf(file, source, table['policy']),
    schema: schema === undefined ? undefined : beside(file, schema),
    examples,
  };
}

/** A path, or the policy itself. */
function policyOf(file: string, source: string, written: unknown): PolicyDocument {
  if (typeof written === 'string') return policyAt(beside(file, written));
  const { policy, problems } = readPolicyFile(file, source, ['schema', 'tests']);
  if (policy === null || problems.length > 0) throw new BadConfiguration(problems);
  return decodedPolicy(policy);
}

/** Paths are relative to the file that names them. */
function beside(file: string, path: string): string {
  return resolve(dirname(file), path);
}

const exampleKeys = [
  'name',
  'sql',
  'user',
  'role',
  'database',
  'application',
  'address',
  'certificate',
  'at',
  'expect',
  'rule',
  'tables',
];

class ExampleDecoder {
  readonly problems: Problem[] = [];
  readonly #file: string;
  readonly #source: string;
  readonly #lines: readonly number[];

  constructor(file: string, source: string) {
    this.#file = file;
    this.#source = source;
    const lines = source.split('\n');
    this.#lines = lines.flatMap((line, index) => (/^\s*\[\[\s*tests\s*\]\]/.test(line) ? [index + 1] : []));
  }

  /** @throws BadConfiguration */
  table(): RawTable {
    try {
      return parse(this.#source);
    } catch (error) {
      const line = error instanceof TomlError ? error.line : null;
      const [message] = (error instanceof Error ? error.message : String(error)).split('\n');
      throw new BadConfiguration([problemAt({ file: this.#file, line }, '', message ?? '')]);
    }
  }

  example(table: RawTable, index: number): Example {
    const at = [index];
    this.known(at, table, exampleKeys);
    const sql = this.text(at, table, 'sql') ?? '';
    if (table['sql'] === undefined) this.refuse(at, 'sql', 'missing');
    const role = this.text(at, table, 'role');
    const user = this.text(at, table, 'user') ?? role ?? '';
    if (user === '') this.refuse(at, 'user', 'missing: `user` or `role`');
    const expect = expectations.find((one) => one === table['expect']);
    if (expect === undefined) this.refuse(at, 'expect', `one of ${expectations.join(', ')}`);
    return {
      name: this.text(at, table, 'name') ?? caseName(sql),
      sql,
      circumstances: {
        user,
        role,
        database: this.text(at, table, 'database') ?? user,
        application: this.text(at, table, 'application'),
        address: this.text(at, table, 'address'),
        certificate: this.text(at, table, 'certificate'),
        wallMs: timeOf(this.text(at, table, 'at')),
      },
      expect: expect ?? 'allow',
      rule: this.text(at, table, 'rule'),
      tables: this.#texts(at, table, 'tables'),
      line: this.#lines[index] ?? 1,
    };
  }

  known(at: readonly number[], table: RawTable, keys: readonly string[]): void {
    for (const key of Object.keys(table)) {
      if (!keys.includes(key))
        this.refuse(at, key, `unknown key; did you mean ${nearest(key, keys) ?? keys.join(', ')}`);
    }
  }

  text(at: readonly number[], table: RawTable, key: string): string | undefined {
    const value = table[key];
    if (typeof value === 'string') return value;
    // A date without quotes is one in TOML.
    if (value instanceof Date) return value.toISOString();
    if (value !== undefined) this.refuse(at, key, `not a text: ${shown(value)}`);
    return undefined;
  }

  #texts(at: readonly number[], table: RawTable, key: string): readonly string[] | undefined {
    const value = table[key];
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    this.refuse(at, key, 'not a list of texts');
    return undefined;
  }

  refuse(at: readonly number[], key: string, message: string): void {
    const [index] = at;
    const line = index === undefined ? null : (this.#lines[index] ?? null);
    const title = index === undefined ? key : `tests[${index}].${key}`;
    this.problems.push(problemAt({ file: this.#file, line }, title, message));
  }
}
