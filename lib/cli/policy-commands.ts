// The `weir policy` commands: their options, and what they print.

import { writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { StatementReader } from '../sql/index.js';
import { PoolerError } from '../util/index.js';
import { type Case, type ReportFormat, renderCases, reportFormats } from './case-report.js';
import { policyAt } from './load.js';
import { checkScript } from './policy-check.js';
import { explain, explanationText } from './policy-explain.js';
import {
  circumstancesOf,
  namesOf,
  readText,
  rehearsalOf,
  type SchemaFlags,
  type SubjectFlags,
  withSchema,
  withSubject,
} from './policy-setup.js';
import { testFile } from './policy-test.js';

interface ReportFlags {
  readonly format: ReportFormat;
  readonly output?: string;
}

interface ExplainFlags extends SubjectFlags, SchemaFlags {
  readonly sql?: string;
  readonly file?: string;
  readonly json?: true;
}

interface CheckFlags extends SubjectFlags, SchemaFlags, ReportFlags {
  readonly policy: string;
}

export function addPolicyCommands(program: Command): void {
  const policy = program.command('policy').description('ask what a policy makes of statements, without running them');
  addExplain(policy);
  addTest(policy);
  addCheck(policy);
}

const configDefault = 'weir.toml';

function addExplain(policy: Command): void {
  const command = policy
    .command('explain')
    .description('tell what each statement does, which rule decides about it, and what would be sent')
    .argument('[config]', 'a configuration, or a file with [policy]', configDefault)
    .option('--sql <text>', 'a text that a client sends at once')
    .option('--file <file>', 'SQL whose statements are sent one by one; `-` is standard input')
    .option('--json', 'as JSON');
  withSchema(withSubject(command)).action(async (config: string, flags: ExplainFlags) => {
    const { sql = flags.file === undefined ? undefined : readScript(flags.file) } = flags;
    if (sql === undefined || (flags.sql !== undefined && flags.file !== undefined)) {
      throw new PoolerError('what is to be explained is not said', {
        sqlstate: '22023',
        hint: 'Give one of --sql and --file.',
      });
    }
    const document = policyAt(config);
    const circumstances = circumstancesOf(flags);
    const reader = await StatementReader.create();
    const names = await namesOf(flags, circumstances, reader, config);
    const rehearsal = rehearsalOf(document, circumstances, names);
    const explanation = await explain(sql, flags.sql === undefined, document, rehearsal, reader);
    console.log(flags.json === true ? JSON.stringify(explanation, undefined, 2) : explanationText(explanation));
  });
}

function addTest(policy: Command): void {
  const command = policy
    .command('test')
    .description('run examples with expected verdicts; the exit code is 1 where one fails')
    .argument('<file...>', 'TOML with policy, schema and [[tests]]');
  withReport(command).action(async (files: string[], flags: ReportFlags) => {
    const reader = await StatementReader.create();
    const cases: Case[] = [];
    for (const file of files) cases.push(...(await testFile(file, reader)));
    report('tests', cases, flags);
  });
}

function addCheck(policy: Command): void {
  const command = policy
    .command('check')
    .description('judge every statement of SQL files; the exit code is 1 where one would be denied')
    .argument('<file...>', 'SQL, such as migrations; `-` is standard input')
    .option('--policy <file>', 'a configuration, or a file with [policy]', configDefault);
  withReport(withSchema(withSubject(command))).action(async (files: string[], flags: CheckFlags) => {
    const document = policyAt(flags.policy);
    const circumstances = circumstancesOf(flags);
    const reader = await StatementReader.create();
    const names = await namesOf(flags, circumstances, reader, flags.policy);
    const cases: Case[] = [];
    for (const file of files) {
      const rehearsal = rehearsalOf(document, circumstances, names);
      cases.push(...(await checkScript(file, readScript(file), rehearsal, reader)));
    }
    report('statements', cases, flags);
  });
}

function withReport(command: Command): Command {
  return command
    .addOption(new Option('--format <format>', 'how the report is written').choices(reportFormats).default('text'))
    .option('--output <file>', 'where it is written to, in place of standard output');
}

function report(what: string, cases: readonly Case[], { format, output }: ReportFlags): void {
  const text = renderCases(format, what, cases);
  if (output === undefined) process.stdout.write(text);
  else writeFileSync(output, text);
  process.exitCode = cases.some(({ failure }) => failure !== undefined) ? 1 : 0;
}

function readScript(file: string): string {
  return readText(file === '-' ? '/dev/stdin' : file);
}
