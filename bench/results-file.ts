// Writes one run as JSON: the machine, the versions, the commit, the settings and every raw figure.

import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../test/support/index.js';
import { complaint, type Fleet } from './processes.js';
import type { Sample } from './samples.js';
import type { Work } from './works.js';

export interface RunRecord {
  readonly startedAt: Date;
  /** See `currentCommit`. */
  readonly commit: string;
  readonly interrupted: boolean;
  readonly versions: Readonly<Record<string, string>>;
  readonly missing: Readonly<Record<string, string>>;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly works: readonly Work[];
  readonly samples: readonly Sample[];
}

/** Returns the path written to. @param directory undefined for bench/results of the project */
export async function writeResults(directory: string | undefined, run: RunRecord): Promise<string> {
  const target = directory ?? join(projectRoot, 'bench', 'results');
  await mkdir(target, { recursive: true });
  const path = join(target, `${fileStamp(run.startedAt)}-${run.commit}.json`);
  const { startedAt, commit, ...rest } = run;
  const record = { format: 1, commit, startedAt: startedAt.toISOString(), machine: machine(), ...rest };
  await writeFile(path, `${JSON.stringify(record, undefined, 1)}\n`);
  return path;
}

/** Short hash of what is being measured, with `-changed` when files differ from it. */
export async function currentCommit(fleet: Fleet): Promise<string> {
  const git = (args: readonly string[]) =>
    fleet.run({ name: 'git', command: 'git', args: ['-C', projectRoot, ...args] }, 10_000);
  const head = await git(['rev-parse', '--short=10', 'HEAD']);
  if (complaint('git', head) !== undefined) return 'nocommit';
  const status = await git(['status', '--porcelain']);
  return status.stdout.trim() === '' ? head.stdout.trim() : `${head.stdout.trim()}-changed`;
}

function machine(): Record<string, unknown> {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
  };
}

/** `20260131T174500`, so that names sort by time. */
function fileStamp(date: Date): string {
  return date.toISOString().replaceAll(/[-:]/g, '').slice(0, 15);
}
