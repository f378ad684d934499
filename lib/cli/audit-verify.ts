// `weir audit verify`: reads an audit trail, says of each of its files what is wrong with it, and whether all is as it was written.

import { statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { diskDirectory, readSealKey, sealPattern, type VerifyReport, verifySegments } from '../audit/index.js';
import { PoolerError } from '../util/index.js';

export interface VerifyFlags {
  readonly expect?: readonly string[];
  readonly keyFile?: string;
  readonly running?: boolean;
}

/**
 * @param paths directories, or files of one directory
 * @returns whether everything is intact @throws PoolerError when there is nothing to read, or a flag makes no sense
 */
export async function auditVerify(
  paths: readonly string[],
  { expect = [], keyFile, running = false }: VerifyFlags,
  print: (line: string) => void,
): Promise<boolean> {
  const expected = expect.map(readSeal);
  const options = { expected, running, key: keyFile === undefined ? undefined : readSealKey(keyFile) };
  let intact = true;
  for (const [directory, names] of await byDirectory(paths)) {
    const report = await verifySegments(diskDirectory(directory), names, options).catch((cause: unknown) => {
      throw unreadable(directory, cause);
    });
    if (report.segments.length === 0) {
      throw new PoolerError(`${directory} has no audit trail`, {
        sqlstate: '58P01',
        hint: 'Give the directory that audit_dir names, or files in it that are called audit.*.jsonl.',
      });
    }
    for (const line of verifyText(report)) print(line);
    intact &&= report.intact;
  }
  return intact;
}

function readSeal(text: string): string {
  const seal = text.toLowerCase();
  if (sealPattern.test(seal)) return seal;
  throw new PoolerError(`"${text}" is no seal`, {
    sqlstate: '22023',
    hint: 'Give one from the log or SHOW AUDIT, or its first 12 hexadecimal digits: of the metric, printf %012x VALUE.',
  });
}

/** One line a file, and behind it one for each thing worth knowing. */
export function verifyText({ segments, missing, intact }: VerifyReport): string[] {
  const lines = segments.flatMap(({ name, records, problems, notes }) => [
    `${name}: ${records} records, ${problems.length === 0 ? 'intact' : 'NOT INTACT'}`,
    ...problems.map((text) => `  problem: ${text}`),
    ...notes.map((text) => `  note: ${text}`),
  ]);
  const total = segments.reduce((sum, { records }) => sum + records, 0);
  for (const seal of missing) {
    lines.push(`seal ${seal} is not here: the trail has been cut off before it, is an older copy, or was written anew`);
  }
  return [...lines, `${segments.length} files, ${total} records: ${intact ? 'intact' : 'NOT INTACT'}`];
}

async function byDirectory(paths: readonly string[]): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const path of paths) {
    try {
      if (statSync(path).isDirectory()) {
        found.set(
          path,
          (await diskDirectory(path).list()).map(({ name }) => name),
        );
      } else {
        found.set(dirname(path), [...(found.get(dirname(path)) ?? []), basename(path)]);
      }
    } catch (cause) {
      throw unreadable(path, cause);
    }
  }
  return found;
}

function unreadable(path: string, cause: unknown): PoolerError {
  return new PoolerError(`cannot read ${path}`, {
    sqlstate: '58030',
    detail: cause instanceof Error ? cause.message : String(cause),
    hint: 'Run it as a user who may read the files of the audit trail.',
    cause,
  });
}
