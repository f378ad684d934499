// `weir policy explain`: what each statement does in the terms of the policy, what each rule makes of it, and what would run.

import type { Condition, Finding, Outcome, PolicyDocument, Rehearsal } from '../policy/index.js';
import { type StatementDeeds, type StatementReader, splitScript } from '../sql/index.js';

export interface Explanation {
  readonly mode: PolicyDocument['mode'];
  readonly default: PolicyDocument['default'];
  readonly roles: readonly string[];
  readonly texts: readonly ExplainedText[];
}

/** What a client sends at once: one denied deed denies all of it. */
export interface ExplainedText {
  readonly sql: string;
  /** Why the parser has not read it. */
  readonly unread: string | undefined;
  readonly statements: readonly ExplainedStatement[];
  readonly verdict: Outcome['verdict'];
  readonly rule: string | undefined;
  readonly denial: Outcome['denial'];
  readonly tables: readonly string[];
  readonly observed: readonly string[];
  readonly conditions: readonly string[];
  readonly rewritten: string | undefined;
}

export interface ExplainedStatement {
  /** Kinds of statement that a rule may name. */
  readonly kinds: readonly string[];
  readonly columns: readonly string[];
  readonly findings: readonly ExplainedFinding[];
}

export interface ExplainedFinding {
  readonly act: string;
  readonly what: string;
  readonly verdict: Finding['verdict'];
  readonly by: string;
  readonly columns: readonly string[];
}

/** @param isScript its statements are sent one by one, as psql does */
export async function explain(
  sql: string,
  isScript: boolean,
  document: PolicyDocument,
  rehearsal: Rehearsal,
  reader: StatementReader,
): Promise<Explanation> {
  const texts: ExplainedText[] = [];
  for (const text of isScript ? splitScript(sql).map((statement) => statement.text) : [sql]) {
    const reading = await reader.read(text);
    const facts = reading.kind === 'read' ? reading.facts : undefined;
    const { findings, conditions, ...outcome } = rehearsal.judge(text, facts);
    const statements = facts?.deeds?.statements ?? [];
    texts.push({
      sql: text,
      unread: reading.kind === 'unread' ? reading.message : undefined,
      statements: statements.map((deeds, number) => explained(deeds, findings, number)),
      conditions: conditions.map(conditionLine),
      ...outcome,
    });
  }
  return { mode: document.mode, default: document.default, roles: rehearsal.roles, texts };
}

function explained(deeds: StatementDeeds, findings: readonly Finding[], number: number): ExplainedStatement {
  const columns = new Set([...deeds.columns.map(({ parts }) => parts.join('.')), ...deeds.columnNames]);
  return {
    kinds: [...deeds.kinds],
    columns: [...columns],
    findings: findings
      .filter(({ statement }) => statement === number)
      .map((finding) => ({
        act: finding.act,
        what: finding.what,
        verdict: finding.verdict,
        by: reasonOf(finding),
        columns: finding.columns,
      })),
  };
}

function reasonOf({ verdict, rule, reason }: Finding): string {
  if (rule !== undefined) return `rule "${rule.name}"`;
  if (verdict === 'mask') return 'a mask';
  return reason === undefined ? 'no rule' : `(${reason})`;
}

function conditionLine({ rule, kind }: Condition): string {
  switch (kind) {
    case 'transaction':
      return `rule "${rule.name}": only inside a transaction`;
    case 'rate':
      return `rule "${rule.name}": at most ${rule.rate?.count} in ${(rule.rate?.perMs ?? 0) / 1_000} s`;
    case 'cost': {
      const limits = [
        ...(rule.maxCost === undefined ? [] : [`a cost of ${rule.maxCost}`]),
        ...(rule.maxRows === undefined ? [] : [`${rule.maxRows} rows`]),
      ];
      return `rule "${rule.name}": at most ${limits.join(' and ')} by the planner's estimate`;
    }
    default:
      return kind satisfies never;
  }
}

export function explanationText({ mode, roles, texts, default: preset }: Explanation): string {
  const head = [
    `roles: ${roles.length === 0 ? 'none' : roles.join(', ')}`,
    `policy: mode ${mode}, default ${preset}${mode === 'enforce' ? '' : '; nothing is refused in this mode'}`,
  ];
  return [head.join('\n'), ...texts.map(textLines)].join('\n\n');
}

function textLines(text: ExplainedText): string {
  return [
    text.sql,
    ...(text.unread === undefined ? [] : [`  cannot be read: ${text.unread}`]),
    ...text.statements.flatMap((statement, index) => statementLines(statement, index, text.statements.length)),
    ...list('on trial', text.observed),
    ...text.conditions.map((condition) => `  when it runs: ${condition}`),
    `  verdict: ${text.verdict}${text.rule === undefined ? '' : ` by ${text.rule}`}`,
    ...(text.denial === undefined ? [] : denialLines(text.denial)),
    ...(text.rewritten === undefined ? [] : ['  sent instead:', `    ${text.rewritten}`]),
    ...(text.verdict === 'masked' && text.rewritten === undefined
      ? ['  sent instead: not known without the columns of its tables; give --schema or --connect']
      : []),
  ].join('\n');
}

function statementLines({ kinds, columns, findings }: ExplainedStatement, index: number, count: number): string[] {
  const number = count > 1 ? ` ${index + 1}` : '';
  return [
    `  statement${number}: ${kinds.join(', ')}`,
    ...list('columns', columns),
    ...findings.map(({ act, what, verdict, by, columns: masked }) => {
      const subject = act === what ? act : `${act} ${what}`;
      return `    ${subject}: ${verdict}, ${by}${masked.length === 0 ? '' : ` (${masked.join(', ')})`}`;
    }),
  ];
}

function denialLines({ message, detail, hint }: NonNullable<Outcome['denial']>): string[] {
  return [`  ERROR: ${message}`, ...(detail === '' ? [] : [`  DETAIL: ${detail}`]), `  HINT: ${hint}`];
}

function list(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [`    ${title}: ${items.join(', ')}`];
}
