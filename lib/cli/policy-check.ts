// `weir policy check`: every statement of SQL files as one user would run them, those that would be denied as findings.

import type { Outcome, Rehearsal } from '../policy/index.js';
import { type StatementReader, splitScript } from '../sql/index.js';
import { type Case, caseName, type Failure } from './case-report.js';

/** @param rehearsal of a new session */
export async function checkScript(
  file: string,
  script: string,
  rehearsal: Rehearsal,
  reader: StatementReader,
): Promise<Case[]> {
  const cases: Case[] = [];
  for (const { text, line } of splitScript(script)) {
    const reading = await reader.read(text);
    const failure =
      reading.kind === 'unread' ? unreadFailure(reading.message) : failureOf(rehearsal.judge(text, reading.facts));
    cases.push({ name: caseName(text), file, line, failure });
  }
  return cases;
}

/** Whatever the policy says of unknown statements: nobody can review it. */
function unreadFailure(message: string): Failure {
  return { rule: '(unknown)', message: `cannot be parsed: ${message}`, hint: 'Correct the statement.' };
}

function failureOf({ denial, rule = '' }: Outcome): Failure | undefined {
  return denial === undefined ? undefined : { rule, message: denial.message, hint: denial.hint };
}
