#!/usr/bin/env node
// The `weir` command: starts a process, checks a configuration, reports on a running one; options as PgBouncer's where they mean the same.

import { spawn } from 'node:child_process';
import cluster from 'node:cluster';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { formatProblem, nearest } from '../config/index.js';
import { PoolerError } from '../util/index.js';
import { auditVerify, type VerifyFlags } from './audit-verify.js';
import { fetchReport } from './fetch-report.js';
import { BadConfiguration, load } from './load.js';
import { addPolicyCommands } from './policy-commands.js';
import { reportText } from './report-text.js';
import { serve } from './serve.js';
import { servePrimary, serveWorker } from './serve-cluster.js';
import { tryOut } from './try-out.js';

/** After having served. */
const outputMsMax = 1_000;
let served = false;

interface RunFlags {
  readonly daemon?: true;
  readonly reboot?: true;
  readonly quiet?: true;
  readonly verbose?: number;
  readonly user?: string;
  readonly dataDir?: string;
  readonly port?: number;
}

interface ReportFlags {
  readonly url?: string;
  readonly config?: string;
  readonly json?: true;
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  return `weir ${version}`;
}

function complain(error: unknown): void {
  if (error instanceof PoolerError) {
    console.error(`weir: ${error.message}`);
    if (error.detail !== undefined) console.error(`DETAIL: ${error.detail}`);
    if (error.hint !== undefined) console.error(`HINT: ${error.hint}`);
  } else {
    console.error(error);
  }
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new InvalidArgumentError('a number from 1 to 65535');
  return port;
}

/** Starts the same command again, detached, and waits until it serves. */
function becomeDaemon(): Promise<number> {
  const words = process.argv.slice(1).filter((word) => word !== '-d' && word !== '--daemon');
  const child = spawn(process.execPath, [...process.execArgv, ...words, '--quiet'], {
    detached: true,
    // Not inherited: whoever waits for our standard error to close would wait for the daemon's end.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  child.stderr?.pipe(process.stderr);
  return new Promise((resolve) => {
    child.once('message', () => {
      child.disconnect();
      child.unref();
      resolve(0);
    });
    child.once('close', (code) => resolve(code ?? 1));
  });
}

async function run(file: string | undefined, flags: RunFlags, version: string): Promise<number> {
  const quiet = flags.quiet === true;
  if (file === undefined) return tryOut({ dataDir: flags.dataDir, port: flags.port, quiet, version });
  const read = (): ReturnType<typeof load> => {
    const loaded = load(file);
    const verbose = Math.max(loaded.config.weir.verbose, Math.min(flags.verbose ?? 0, 3));
    const user = flags.user ?? loaded.config.weir.user;
    return { ...loaded, config: { ...loaded.config, weir: { ...loaded.config.weir, verbose, user } } };
  };
  if (cluster.isWorker) {
    await serveWorker({ read, quiet, version });
    return Number(process.exitCode ?? 0);
  }
  const loaded = read();
  for (const warning of loaded.warnings) console.error(formatProblem(warning));
  if (flags.daemon === true) {
    if (loaded.config.weir.logfile === '' || loaded.config.weir.pidfile === '') {
      throw new PoolerError('--daemon needs logfile and pidfile', {
        sqlstate: 'F0000',
        hint: 'Set both, or let a service manager run weir in the foreground.',
      });
    }
    return becomeDaemon();
  }
  const onReady = (): void => {
    if (process.send === undefined) return;
    // Who started the daemon leaves now, and nobody reads its standard error any more.
    process.stderr.on('error', () => {});
    process.send('ready');
  };
  const workers = loaded.config.weir.workers || availableParallelism();
  const { finished } =
    workers === 1
      ? await serve({ loaded, reread: read, quiet, version, onReady })
      : await servePrimary({ loaded, quiet, version, onReady }, workers);
  await finished;
  return 0;
}

function check(file: string): number {
  try {
    const { warnings, config, policy } = load(file);
    for (const warning of warnings) console.log(formatProblem(warning));
    const counts = [counted(config.databases.size, 'database'), counted(config.users.size, 'user')];
    if (policy !== undefined) {
      const { roles, rules, masks } = policy;
      counts.push(
        `a policy of ${counted(roles.size, 'role')}, ${counted(rules.length, 'rule')}, ${counted(masks.length, 'mask')}`,
      );
    }
    console.log(`${file}: good; ${counts.join(', ')}`);
    return 0;
  } catch (error) {
    if (!(error instanceof BadConfiguration)) throw error;
    for (const problem of error.problems) console.error(formatProblem(problem));
    return 1;
  }
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** What has been printed is in the pipe; not waited for where a pipe stays full. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength === 0) return Promise.resolve();
  return new Promise((resolve) => {
    stream.write('', () => resolve());
    // A pager that waits for its reader takes as long as it likes; whoever serves clients has nothing to say any more.
    if (served) setTimeout(resolve, outputMsMax);
  });
}

/** Of words that begin with no command, only a file is understood. @throws PoolerError */
function refuseNoCommand(words: readonly string[]): void {
  const [first, ...others] = words;
  if (first === undefined) return;
  const isFile = existsSync(first);
  const near = isFile
    ? null
    : nearest(
        first,
        program.commands.map((command) => command.name()),
      );
  if (near === null && others.length === 0) return;
  const message = isFile ? 'it takes one file' : `there is no ${near === null ? '' : 'file and no '}command "${first}"`;
  const meant = ['weir', near, ...others].join(' ');
  const hint = near === null ? 'See weir --help.' : `Did you mean: ${meant}`;
  throw new PoolerError(message, { sqlstate: '42601', hint });
}

const version = packageVersion();
const configurationText = 'configuration: TOML, or a pgbouncer.ini';
const increase = (_: string, before: number): number => before + 1;
const program = new Command('weir')
  .description(
    'A PostgreSQL connection pooler and gatekeeper. Without a file it starts an embedded PostgreSQL to try it with.',
  )
  .version(version, '-V, --version')
  // Not by itself where there is something to do without a command.
  .helpCommand(true)
  // A command's own --user is not this one's.
  .enablePositionalOptions()
  .argument('[file]', configurationText)
  // A command that is none is told as such, below.
  .allowExcessArguments()
  .option('-d, --daemon', 'run in the background; needs logfile and pidfile')
  .option('-R, --reboot', 'refused: use SIGTERM and start another')
  .option('-q, --quiet', 'nothing on standard output')
  .option('-v, --verbose', 'log more; may be given several times', increase, 0)
  .option('-u, --user <name>', 'run as this user')
  .option('--data-dir <directory>', 'without a file: keep the data of the embedded PostgreSQL here')
  .option('--port <number>', 'without a file: port to listen on', portNumber)
  .action(async (file: string | undefined, flags: RunFlags, { args }: Command) => {
    refuseNoCommand(args);
    if (flags.reboot === true) {
      throw new PoolerError('--reboot is not supported', {
        sqlstate: '0A000',
        hint: 'Send SIGTERM to the running process and start another; both can share a Unix socket directory by port.',
      });
    }
    served = true;
    process.exitCode = await run(file, flags, version);
  });
program
  .command('check')
  .description('read a configuration and say what is wrong with it')
  .argument('<file>', configurationText)
  .showHelpAfterError('For example: weir check weir.toml')
  .action((file: string) => {
    process.exitCode = check(file);
  });

program
  .command('report')
  .description(
    'ask a running weir what its clients did that outlives a transaction, and what transaction mode makes of it',
  )
  .option('--url <url>', 'its HTTP server, such as http://127.0.0.1:9127')
  .option('--config <file>', 'its configuration, whose http_listen says where it is')
  .option('--json', 'print the answer as it is')
  .action(async ({ url, config, json }: ReportFlags) => {
    const report = await fetchReport({ url, config });
    console.log(json === true ? JSON.stringify(report, undefined, 2) : reportText(report));
  });

program
  .command('audit')
  .description('work on an audit trail')
  .command('verify')
  .description('say whether an audit trail is as weir wrote it; the exit code is 1 where it is not')
  .argument('<path...>', 'the directory in audit_dir, or files of it')
  .option('--key-file <file>', 'the key that audit_key_file names')
  .option('--expect <seal...>', 'a seal that was told elsewhere and has to be there, or its first 12 digits')
  .option('--running', 'weir is writing it: the last file of each process has no end yet')
  .action(async (paths: string[], flags: VerifyFlags) => {
    process.exitCode = (await auditVerify(paths, flags, (line) => console.log(line))) ? 0 : 1;
  });

addPolicyCommands(program);

// Who reads our output may have left: `weir audit verify ... | head -1`.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

program.parseAsync().then(
  async () => {
    await written(process.stdout);
    process.exit();
  },
  (error: unknown) => {
    complain(error);
    process.exit(1);
  },
);
