// `make bench`: measures the targets of a comparison in turn, prints the tables and writes the results file.

import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CertificateFiles, makeCertificate } from './certificates.js';
import { type Comparison, comparisons } from './comparisons.js';
import { drawHistory } from './history.js';
import type { Instruments } from './measure.js';
import { microMs, microTarget, runMicroRounds } from './micro-rounds.js';
import { type Options, parseOptions } from './options.js';
import { Pgbench } from './pgbench.js';
import { type Postgres, postgresSettings, startBenchPostgres } from './postgres.js';
import { Fleet, unprivilegedUser } from './processes.js';
import { report } from './report.js';
import { currentCommit, writeResults } from './results-file.js';
import { errorText, type Sample } from './samples.js';
import { type Contender, runRounds } from './schedule.js';
import { serverConnections, type Target, type TargetContext, targetTable, weirArrangements } from './targets.js';
import type { MicroWork, TargetWork, Work } from './works.js';

/** Compiled along with the bench. */
const builtWeir = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));

interface FoundTargets {
  readonly targets: readonly string[];
  readonly versions: Readonly<Record<string, string>>;
  readonly missing: Readonly<Record<string, string>>;
}

const noTargets: FoundTargets = { targets: [], versions: {}, missing: {} };

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  const options = parseOptions(argv);
  const comparison = comparisons[options.comparison];
  const works = comparison.works(options).filter((work) => options.only?.test(work.name) ?? true);
  const wanted = options.targets ?? comparison.targets;
  const targets = targetTable(options.arrangements)
    .filter((target) => wanted.includes(target.name))
    .sort((a, b) => wanted.indexOf(a.name) - wanted.indexOf(b.name));
  if (options.list) {
    console.log(['targets:', ...targets.map(nameOf), '', 'works:', ...works.map(nameOf)].join('\n'));
    return 0;
  }
  if (works.length === 0 || targets.length === 0) {
    console.error('nothing to measure: --list shows the names of works and targets');
    return 2;
  }

  const stopper = new AbortController();
  // A second signal ends the bench at once; what it started is killed on exit.
  const stop = (): void => (stopper.signal.aborted ? process.exit(130) : stopper.abort(new Error('stopped')));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  const fleet = new Fleet(stopper.signal);
  const user = unprivilegedUser();
  const directory = await mkdtemp(join(tmpdir(), 'weir-bench-'));
  try {
    if (user !== undefined) await chown(directory, user.uid, user.gid);
    return await bench({ options, comparison, works, targets, fleet, user, directory, stop: stopper.signal });
  } catch (error) {
    if (stopper.signal.aborted) return 130;
    console.error(errorText(error));
    return 1;
  } finally {
    await fleet.stopAll();
    await rm(directory, { recursive: true, force: true });
  }
}

interface Bench {
  readonly options: Options;
  readonly comparison: Comparison;
  readonly works: readonly Work[];
  readonly targets: readonly Target[];
  readonly fleet: Fleet;
  readonly user: ReturnType<typeof unprivilegedUser>;
  readonly directory: string;
  readonly stop: AbortSignal;
}

/** Returns the exit code: 1 when any measurement failed. */
async function bench(run: Bench): Promise<number> {
  const { options, works, fleet } = run;
  const startedAt = new Date();
  const commit = await currentCommit(fleet);
  const samples: Sample[] = [];
  const micros = works.filter(isMicro);
  // First, while nothing else of this run is there to disturb them.
  await measureMicros(run, micros, samples);
  const others = works.filter((work) => !isMicro(work));
  const found = others.length === 0 || run.stop.aborted ? noTargets : await measureTargets(run, others, samples);

  const targets = [...found.targets, ...(micros.length === 0 ? [] : [microTarget])];
  console.log(`\n${report({ works, targets, baselines: run.comparison.baselines, samples })}`);
  if (samples.length > 0) {
    const versions = { node: process.version, ...found.versions };
    const { missing } = found;
    const path = await writeResults(options.resultsDirectory, {
      ...{ startedAt, commit, interrupted: run.stop.aborted, versions, missing, works, samples },
      settings: settingsRecord(options),
    });
    console.log(`raw figures: ${path}`);
    console.log(`all runs there: ${await drawHistory(dirname(path))}`);
  }
  if (run.stop.aborted) return 130;
  return samples.some((sample) => sample.outcome.kind === 'failed') ? 1 : 0;
}

/** Keeps each sample and prints it with its number among `total`. */
function recorder(samples: Sample[], total: number): (sample: Sample) => void {
  let number = 0;
  return (sample) => {
    samples.push(sample);
    console.log(progressLine(sample, ++number, total));
  };
}

async function measureMicros(run: Bench, works: readonly MicroWork[], samples: Sample[]): Promise<void> {
  const { options, fleet, stop } = run;
  const { rounds, seconds } = options;
  const ms = microMs(seconds);
  if (works.length > 0)
    console.log(`${works.length} micro works x ${rounds} rounds, ${ms} ms each and as much to warm up`);
  const onSample = recorder(samples, works.length * rounds);
  await runMicroRounds({ ...{ works, rounds, ms, fleet, stop }, onSample });
}

async function measureTargets(run: Bench, works: readonly TargetWork[], samples: Sample[]): Promise<FoundTargets> {
  const { options, fleet, directory, user } = run;
  const pgbench = new Pgbench(fleet, options.pgbench, directory);
  const pgbenchVersion = await pgbench.version();
  const tls = await certificate(fleet, directory, user);
  const postgres = await startBenchPostgres(tls.files);
  try {
    const context = contextOf(run, postgres, tls.files);
    const { contenders, missing } = await findTargets(run.targets, context);
    for (const [name, how] of Object.entries(missing)) console.log(`without ${name}: ${how}`);
    console.log(`${postgres.version}; ${pgbenchVersion}; ${contenders.map((one) => one.version).join('; ')}`);
    await fill(pgbench, postgres, options.scale);

    const tools = instrumentsOf(run, pgbench, postgres, tls.instrument);
    console.log(sizeLine(works.length, contenders.length, options));
    const { rounds, warmupSeconds } = options;
    const onSample = recorder(samples, works.length * rounds * contenders.length);
    await runRounds({ works, contenders, rounds, warmupSeconds, context, tools, onSample });
    return {
      targets: contenders.map((one) => one.target.name),
      versions: {
        postgres: postgres.version,
        pgbench: pgbenchVersion,
        ...Object.fromEntries(contenders.map((one) => [one.target.name, one.version])),
      },
      missing,
    };
  } finally {
    await postgres.stop();
  }
}

function isMicro(work: Work): work is MicroWork {
  return work.kind === 'micro';
}

interface Tls {
  readonly files: CertificateFiles | undefined;
  readonly instrument: Instruments['tls'];
}

async function certificate(fleet: Fleet, directory: string, user: Bench['user']): Promise<Tls> {
  try {
    return { files: await makeCertificate(fleet, directory, user), instrument: { kind: 'on' } };
  } catch (error) {
    return {
      files: undefined,
      instrument: { kind: 'off', why: `no certificate: ${errorText(error).replaceAll('\n', ': ')}` },
    };
  }
}

function contextOf(run: Bench, postgres: Postgres, files: CertificateFiles | undefined): TargetContext {
  const { options, fleet, directory, user } = run;
  const roomForClients = 1_000;
  return {
    ...{ fleet, postgres, directory, user, certificate: files },
    clientsMax: options.idleClients + roomForClients,
    serverConnections,
    pgbouncerPath: options.pgbouncer,
    beforeCommand: options.before,
    weirCommand: options.weir ?? [process.execPath, builtWeir],
  };
}

async function findTargets(targets: readonly Target[], context: TargetContext) {
  const contenders: Contender[] = [];
  const missing: Record<string, string> = {};
  for (const target of targets) {
    const found = await target.find(context);
    if (found.kind === 'found') contenders.push({ target, version: found.version });
    else missing[target.name] = found.how;
  }
  return { contenders, missing };
}

async function fill(pgbench: Pgbench, postgres: Postgres, scale: number): Promise<void> {
  await pgbench.initialise(postgres, scale);
  await postgres.execute(['CHECKPOINT']);
}

function instrumentsOf(run: Bench, pgbench: Pgbench, postgres: Postgres, tls: Instruments['tls']): Instruments {
  const { fleet, stop } = run;
  const { seconds, scale } = run.options;
  // The small tables that every TPC-B transaction updates; pgbench would do the same, but through the pooler.
  const statements = ['VACUUM pgbench_branches', 'VACUUM pgbench_tellers', 'TRUNCATE pgbench_history'];
  const vacuum = (): Promise<void> => postgres.execute(statements);
  return { fleet, pgbench, stop, seconds, scale, tls, vacuum, postgresPid: postgres.pid };
}

function sizeLine(works: number, targets: number, { rounds, seconds }: Options): string {
  // Connecting, vacuuming and starting programs add about a second to each.
  const minutes = Math.ceil((works * rounds * targets * (seconds + 1)) / 60);
  return `${works} works x ${rounds} rounds x ${targets} targets, ${seconds} s each: about ${minutes} minutes`;
}

function progressLine(sample: Sample, number: number, total: number): string {
  const { outcome } = sample;
  const head = `[${number}/${total}] ${sample.work} round ${sample.round + 1} ${sample.target}`;
  switch (outcome.kind) {
    case 'measured': {
      const figures = Object.entries(outcome.metrics).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`);
      return `${head}: ${figures.join(', ')}`;
    }
    case 'failed':
      return `${head}: FAILED: ${outcome.message.split('\n')[0] ?? ''}`;
    case 'not-applicable':
      return `${head}: n/a, ${outcome.why}`;
    default:
      return outcome satisfies never;
  }
}

/** What decides the figures, without paths of the machine. */
function settingsRecord(options: Options): Record<string, unknown> {
  const { comparison, rounds, seconds, warmupSeconds, scale, idleClients, arrangements } = options;
  return {
    ...{ comparison, rounds, seconds, warmupSeconds, scale, idleClients, serverConnections },
    postgres: postgresSettings,
    weir: { ...weirArrangements, ...Object.fromEntries(arrangements) },
  };
}

function nameOf(one: { readonly name: string }): string {
  return one.name;
}
