// The target table: what is compared, how each is found, started and told its settings.

import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Secret } from '../lib/util/index.js';
import { freePort } from '../test/support/index.js';
import type { CertificateFiles } from './certificates.js';
import { gatePolicy } from './gate-policy.js';
import { pgbouncerFiles, prepareRefusal, type TomlValue, weirToml } from './pooler-config.js';
import type { Postgres } from './postgres.js';
import { complaint, type Fleet, type Program, type SystemUser } from './processes.js';
import { waitUntilReady } from './readiness.js';
import type { TargetWork } from './works.js';

/** Where pgbench and the others connect to. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly password: Secret;
}

export interface TargetContext {
  readonly fleet: Fleet;
  readonly postgres: Postgres;
  /** Of this run; each start of a target makes its own below it. */
  readonly directory: string;
  readonly user: SystemUser | undefined;
  readonly certificate: CertificateFiles | undefined;
  readonly clientsMax: number;
  /** The size of the pool. */
  readonly serverConnections: number;
  readonly pgbouncerPath: string;
  readonly weirCommand: readonly string[];
  /** The command of the build that `weir-before` is; undefined when none was named. */
  readonly beforeCommand: readonly string[] | undefined;
}

export interface RunningTarget {
  readonly endpoint: Endpoint;
  /** The process whose tree is the pooler; undefined for PostgreSQL itself. */
  readonly poolerPid: number | undefined;
  readonly metricsUrl: string | undefined;
  /** Why it can no longer be measured, or undefined while it runs. */
  gone(): string | undefined;
  stop(): Promise<void>;
}

export type Found =
  | { readonly kind: 'found'; readonly version: string }
  | { readonly kind: 'missing'; readonly how: string };

export interface Target {
  readonly name: string;
  find(context: TargetContext): Promise<Found>;
  /** @param version as `find` told it */
  start(context: TargetContext, version: string): Promise<RunningTarget>;
  /** Why a work does not apply to it, e.g. for lack of a feature; undefined when it does. */
  refusal(work: TargetWork, version: string): string | undefined;
}

/** Keys of weir's own section beyond those every pooler gets. */
export type WeirKeys = Readonly<Record<string, TomlValue>>;

const before = 'weir-before';

/** Arrangements of weir that are compared: another one is one more row. */
export const weirArrangements: Readonly<Record<string, WeirKeys>> = {
  weir: {},
  // Another build, to see what a change costs: --before names its command.
  [before]: {},
  'weir-2': { workers: 2 },
  // As PgBouncer does: statements are not looked at, and nothing is replayed but what the server reports.
  'weir-untracked': { track_session_state: false },
  // Those that name a mode get a directory of their own.
  'weir-audit-after': { audit_mode: 'after' },
  'weir-audit-before': { audit_mode: 'before' },
  // The number of rules stands for the file that has them.
  'weir-gate': { policy_file: '200' },
  'weir-gate-after': { policy_file: '200', audit_mode: 'after' },
  'weir-gate-before': { policy_file: '200', audit_mode: 'before' },
};

/** The same as another, so that the ratio of the two shows what noise does to the ratios beside it. */
const control = { name: 'weir-control', of: 'weir-untracked' };

/** @param arrangements by target name: takes the place of the keys in `weirArrangements` */
export function targetTable(arrangements: ReadonlyMap<string, WeirKeys>): readonly Target[] {
  const weirs = [...Object.keys(weirArrangements), control.name];
  return [directTarget(), pgbouncerTarget(), ...weirs.map((name) => weirTarget(name, keysOf(name, arrangements)))];
}

export function keysOf(name: string, arrangements: ReadonlyMap<string, WeirKeys>): WeirKeys {
  const keysName = name === control.name ? control.of : name;
  return arrangements.get(keysName) ?? weirArrangements[keysName] ?? {};
}

export const serverConnections = 16;

function directTarget(): Target {
  return {
    name: 'direct',
    find: async (context) => ({ kind: 'found', version: context.postgres.version }),
    start: async (context) => ({
      endpoint: endpointOf(context, context.postgres.port),
      poolerPid: undefined,
      metricsUrl: undefined,
      gone: () => undefined,
      stop: async () => undefined,
    }),
    refusal: (work) => {
      if (work.kind === 'memory') return 'PostgreSQL has a process per client, not a pooler';
      return work.kind === 'metrics-page' ? 'no metrics page' : undefined;
    },
  };
}

function pgbouncerTarget(): Target {
  return {
    name: 'pgbouncer',
    find: async (context) => {
      const launch = { name: 'pgbouncer', command: context.pgbouncerPath, args: ['--version'] };
      const result = await context.fleet.run(launch, 10_000);
      return complaint('pgbouncer', result) === undefined
        ? { kind: 'found', version: result.stdout.split('\n')[0]?.trim() ?? '' }
        : { kind: 'missing', how: 'no pgbouncer: apt-get install pgbouncer, or name one with --pgbouncer PATH' };
    },
    start: async (context, version) => {
      const port = await freePort();
      const directory = await startDirectory(context, `pgbouncer-${port}`);
      const files = pgbouncerFiles({ ...settingsOf(context), port, directory, version });
      for (const file of files) await writeFile(join(directory, file.name), file.text, { mode: 0o644 });
      const program = context.fleet.start({
        name: 'pgbouncer',
        command: context.pgbouncerPath,
        args: [join(directory, 'pgbouncer.ini')],
        cwd: directory,
        ...(context.user === undefined ? {} : { user: context.user }),
      });
      return await poolerOf(context, program, port, undefined);
    },
    refusal: (work, version) => {
      if (work.kind === 'metrics-page') return 'no metrics page';
      const prepares = work.kind === 'throughput' && work.protocol === 'prepared';
      return prepares ? prepareRefusal(version) : undefined;
    },
  };
}

function weirTarget(name: string, keys: WeirKeys): Target {
  const commandOf = (context: TargetContext): readonly string[] =>
    name === before ? (context.beforeCommand ?? []) : context.weirCommand;
  return {
    name,
    find: async (context) => {
      const [command, ...args] = commandOf(context);
      if (command === undefined) return { kind: 'missing', how: 'no command: --before names that of another build' };
      const script = args.find((word) => word.endsWith('.js'));
      if (script !== undefined && !existsSync(script)) {
        return { kind: 'missing', how: 'weir is not built: make build, or name its command with --weir' };
      }
      const result = await context.fleet.run({ name, command, args: [...args, '--version'] }, 20_000);
      const problem = complaint(`${name} --version`, result);
      return problem === undefined
        ? { kind: 'found', version: `weir ${result.stdout.trim()}` }
        : { kind: 'missing', how: problem };
    },
    start: async (context) => {
      const [command = '', ...args] = commandOf(context);
      const port = await freePort();
      const metricsPort = await freePort();
      const directory = await startDirectory(context, `${name}-${port}`);
      const file = join(directory, 'weir.toml');
      const trail = 'audit_mode' in keys ? { audit_dir: join(directory, 'audit') } : {};
      const policy = join(directory, 'policy.toml');
      if ('policy_file' in keys) await writeFile(policy, gatePolicy(Number(keys['policy_file'])));
      const more = { ...trail, ...keys, ...('policy_file' in keys ? { policy_file: policy } : {}) };
      await writeFile(file, weirToml({ ...settingsOf(context), port, metricsPort, more }), { mode: 0o600 });
      const program = context.fleet.start({
        name,
        command,
        args: [...args, file],
        env: { NODE_ENV: 'production' },
      });
      return await poolerOf(context, program, port, `http://127.0.0.1:${metricsPort}/metrics`);
    },
    refusal: () => undefined,
  };
}

function settingsOf(context: TargetContext) {
  return {
    server: endpointOf(context, context.postgres.port),
    serverConnections: context.serverConnections,
    clientsMax: context.clientsMax,
    certificate: context.certificate,
  };
}

function endpointOf(context: TargetContext, port: number): Endpoint {
  const { host, user, password, database } = context.postgres;
  return { host, port, user, password, database };
}

async function startDirectory(context: TargetContext, name: string): Promise<string> {
  const directory = join(context.directory, name);
  await mkdir(directory, { mode: 0o755 });
  return directory;
}

async function poolerOf(
  context: TargetContext,
  program: Program,
  port: number,
  metricsUrl: string | undefined,
): Promise<RunningTarget> {
  const endpoint = endpointOf(context, port);
  try {
    await waitUntilReady(program, endpoint);
  } catch (error) {
    await program.stop();
    throw error;
  }
  return {
    endpoint,
    poolerPid: program.pid,
    metricsUrl,
    gone: () => (program.over === undefined ? undefined : `${program.name} has ended:\n${program.tail()}`),
    // SIGINT waits for clients in both; SIGTERM ends at once in PgBouncer and drains in weir: SIGQUIT is at once in both.
    stop: () => program.stop(['SIGQUIT', 'SIGTERM', 'SIGKILL']),
  };
}
