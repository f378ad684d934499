// What came of many examples or statements, as text, as JUnit's XML, or as SARIF.

import { relative, sep } from 'node:path';
import { pathToFileURL } from 'node:url';

export interface Case {
  /** A line. */
  readonly name: string;
  readonly file: string;
  readonly line: number;
  /** undefined: all is well. */
  readonly failure: Failure | undefined;
}

export interface Failure {
  /** Of the policy, or what stands for one, such as `(unknown)`. */
  readonly rule: string;
  readonly message: string;
  readonly hint: string;
}

export const reportFormats = ['text', 'junit', 'sarif'] as const;
export type ReportFormat = (typeof reportFormats)[number];

/** @param what the cases are, in the plural: `tests`, `statements` */
export function renderCases(format: ReportFormat, what: string, cases: readonly Case[]): string {
  switch (format) {
    case 'text':
      return text(what, cases);
    case 'junit':
      return junit(what, cases);
    case 'sarif':
      return `${JSON.stringify(sarif(cases), undefined, 2)}\n`;
    default:
      return format satisfies never;
  }
}

const nameCharsMax = 100;

/** A statement in one line. */
export function caseName(sql: string): string {
  const line = sql.replace(/\s+/g, ' ').trim();
  return line.length > nameCharsMax ? `${line.slice(0, nameCharsMax)}...` : line;
}

function text(what: string, cases: readonly Case[]): string {
  const failures = failed(cases);
  const lines = failures.flatMap(({ file, line, name, failure }) => [
    `${file}:${line}: ${failure.message} [${failure.rule}]`,
    `  ${name}`,
    ...(failure.hint === '' ? [] : [`  HINT: ${failure.hint}`]),
  ]);
  return `${[...lines, `${cases.length} ${what}, ${failures.length} failed`].join('\n')}\n`;
}

type FailedCase = Case & { readonly failure: Failure };

function failed(cases: readonly Case[]): FailedCase[] {
  return cases.filter((one): one is FailedCase => one.failure !== undefined);
}

// JUnit

function junit(what: string, cases: readonly Case[]): string {
  const files = new Map<string, Case[]>();
  for (const one of cases) files.set(one.file, [...(files.get(one.file) ?? []), one]);
  const counts = (some: readonly Case[]): string => `tests="${some.length}" failures="${failed(some).length}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="weir policy ${xml(what)}" ${counts(cases)}>`,
    ...[...files].flatMap(([file, some]) => [
      `  <testsuite name="${xml(file)}" ${counts(some)} errors="0">`,
      ...some.map(junitCase),
      '  </testsuite>',
    ]),
    '</testsuites>',
    '',
  ].join('\n');
}

function junitCase({ name, file, line, failure }: Case): string {
  const head = `    <testcase classname="${xml(file)}" name="${xml(name)}" file="${xml(file)}" line="${line}"`;
  if (failure === undefined) return `${head}/>`;
  const { message, rule, hint } = failure;
  const words = xml([`${file}:${line}: ${message}`, hint].filter((part) => part !== '').join('\n'));
  return `${head}>\n      <failure message="${xml(message)}" type="${xml(rule)}">${words}</failure>\n    </testcase>`;
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Characters that XML 1.0 has not become question marks. */
function xml(words: string): string {
  return words
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '?')
    .replace(/[&<>"]/g, (character) => entities[character] ?? '');
}

// SARIF 2.1.0

function sarif(cases: readonly Case[]): object {
  const failures = failed(cases);
  const rules = [...new Set(failures.map(({ failure }) => failure.rule))];
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'weir', rules: rules.map((id) => ({ id })) } },
        results: failures.map(({ name, file, line, failure: { rule, message, hint } }) => ({
          ruleId: rule,
          ruleIndex: rules.indexOf(rule),
          level: 'error',
          message: { text: [`${message}: ${name}`, hint].filter((part) => part !== '').join('\n') },
          locations: [{ physicalLocation: { artifactLocation: { uri: uriOf(file) }, region: { startLine: line } } }],
        })),
      },
    ],
  };
}

/** Relative to the working directory, where the file is below it. */
function uriOf(file: string): string {
  const path = relative(process.cwd(), file);
  if (path.startsWith('..')) return pathToFileURL(file).href;
  return path.split(sep).map(encodeURIComponent).join('/');
}
