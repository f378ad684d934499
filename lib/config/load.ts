// Reads a configuration file from disk, in the dialect its name tells, and answers a checked Config or its problems.

import { readFileSync } from 'node:fs';
import { checkConfig } from './check.js';
import type { Config } from './config.js';
import { decodeConfig } from './decode.js';
import type { Environment } from './env.js';
import { readIni } from './ini-reader.js';
import { nowhere, type Place, type Problem, problemAt } from './problems.js';
import { fileBytesMax, problemsMax, type Reading } from './raw.js';
import { readToml } from './toml-reader.js';
import { parseUserList, type UserListResult, userListBytesMax } from './userlist.js';

/** Answers the text of a file, or throws as `fs` does. */
export type ReadFile = (path: string) => string;

export interface LoadOptions {
  readonly env: Environment;
  readonly readFile?: ReadFile;
}

export type LoadResult =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] };

/** `.ini` is PgBouncer's format, everything else TOML. Relative paths are relative to the working directory. */
export function loadConfig(path: string, options: LoadOptions): LoadResult {
  const files = new Files(options.readFile ?? readUtf8);
  const source = files.read(path, nowhere, fileBytesMax);
  if (source === null) return refuse(files.problems, []);
  const reading = path.toLowerCase().endsWith('.ini')
    ? readIni(path, source, (name, place) => files.read(name, place, fileBytesMax), files.problems)
    : readToml(path, source, options.env);
  return finish(reading);
}

/** Reads the file named by `auth_file`. */
export function loadUserList(path: string, readFile: ReadFile = readUtf8): UserListResult {
  const files = new Files(readFile);
  const source = files.read(path, nowhere, userListBytesMax);
  return source === null ? { ok: false, problems: files.problems } : parseUserList(source, path);
}

function finish(reading: Reading): LoadResult {
  const decoded = decodeConfig(reading.raw);
  const faults = [...reading.problems, ...decoded.problems];
  // Checks across settings would only repeat what is already known to be wrong.
  const checked = faults.length > 0 ? { problems: faults, warnings: [] } : checkConfig(decoded.config, reading.raw);
  const warnings = inOrder([...decoded.warnings, ...checked.warnings]);
  if (checked.problems.length > 0) return refuse(checked.problems, warnings);
  return { ok: true, config: decoded.config, warnings };
}

function refuse(problems: readonly Problem[], warnings: readonly Problem[]): LoadResult {
  return { ok: false, problems: inOrder(problems), warnings };
}

function inOrder(problems: readonly Problem[]): readonly Problem[] {
  const sorted = [...problems].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  if (sorted.length <= problemsMax) return sorted;
  const more = problemAt(nowhere, '', `and ${sorted.length - problemsMax} more`);
  return [...sorted.slice(0, problemsMax), more];
}

function readUtf8(path: string): string {
  return readFileSync(path, 'utf8');
}

/** Turns what can go wrong with a file into problems. */
class Files {
  readonly problems: Problem[] = [];
  readonly #readFile: ReadFile;

  constructor(readFile: ReadFile) {
    this.#readFile = readFile;
  }

  read(path: string, askedAt: Place, bytesMax: number): string | null {
    let source: string;
    try {
      source = this.#readFile(path);
    } catch (error) {
      return this.#refuse(askedAt, path, `cannot be read: ${reasonOf(error)}`);
    }
    if (Buffer.byteLength(source) > bytesMax) {
      return this.#refuse(askedAt, path, `larger than ${bytesMax} bytes`);
    }
    return source.startsWith('\uFEFF') ? source.slice(1) : source;
  }

  #refuse(askedAt: Place, path: string, message: string): null {
    const place = askedAt.file === null ? { file: path, line: null } : askedAt;
    this.problems.push(problemAt(place, askedAt.file === null ? '' : `%include ${path}`, message));
    return null;
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
};

function reasonOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== 'string') return 'unknown error';
  return Object.hasOwn(reasons, code) ? reasons[code]! : code;
}
