// The `weir policy` commands: their options, and what they print.

import { writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { StatementReader } from '../sql/index.js';
import { PoolerError } from '../util/index.js';
import { type Case, type ReportFormat, renderCases, reportFormats } from './case-report.js';
import { policyAt } from './load.js';
import { checkScript } from './policy-check.js';
import { explain, explanationText } from './policy-explain.js';
import { learn } from './policy-learn.js';
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

interface LearnFlags extends SchemaFlags {
  readonly user?: string;
  readonly output?: string;
  readonly config: string;
}

interface CheckFlags extends SubjectFlags, SchemaFlags, ReportFlags {
  readonly policy: string;
}

export function addPolicyCommands(program: Command): void {
  const policy = program.command('policy').description('ask what a policy makes of statements, without running them');
  addExplain(policy);
  addTest(policy);
  addCheck(policy);
  addLearn(policy);
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

function addLearn(policy: Command): void {
  const command = policy
    .command('learn')
    .description(
      'write a policy that allows just what an audit trail has; the exit code is 1 where no rule can allow it',
    )
    .argument('<segment...>', 'files of an audit trail, written with audit_sql = full or normalised')
    .option('--user <name>', 'only what this database user did')
    .option('--config <file>', 'the configuration that --connect asks for hosts', configDefault)
    .option('--output <file>', 'where the policy is written to, in place of standard output');
  withSchema(command).action(async (segments: string[], flags: LearnFlags) => {
    const reader = await StatementReader.create();
    const user = flags.user ?? 'postgres';
    const names = await namesOf(flags, { user, database: user, wallMs: Date.now() }, reader, flags.config);
    const learnt = await learn(segments, flags.user, names, reader);
    write(learnt.policy, flags.output);
    for (const note of learnt.notes) console.error(note);
    process.exitCode = learnt.isComplete ? 0 : 1;
  });
}

function withReport(command: Command): Command {
  return command
    .addOption(new Option('--format <format>', 'how the report is written').choices(reportFormats).default('text'))
    .option('--output <file>', 'where it is written to, in place of standard output');
}

function report(what: string, cases: readonly Case[], { format, output }: ReportFlags): void {
  write(renderCases(format, what, cases), output);
  process.exitCode = cases.some(({ failure }) => failure !== undefined) ? 1 : 0;
}

function write(text: string, output: string | undefined): void {
  if (output === undefined) process.stdout.write(text);
  else writeFileSync(output, text);
}

function readScript(file: string): string {
  return readText(file === '-' ? '/dev/stdin' : file);
}
