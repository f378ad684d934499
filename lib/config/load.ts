// Reads a configuration file from disk, in the dialect its name tells, and the policy file it names: a checked Config or its problems.

import { readFileSync } from 'node:fs';
import { checkConfig } from './check.js';
import type { Config } from './config.js';
import { decodeConfig, sectionName } from './decode.js';
import type { Environment } from './env.js';
import { readIni } from './ini-reader.js';
import { nowhere, type Place, type Problem, problemAt } from './problems.js';
import { fileBytesMax, problemsMax, type RawConfig, type Reading } from './raw.js';
import { type PolicyReading, readPolicyFile, readToml } from './toml-reader.js';
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
  const { readFile = readUtf8 } = options;
  const files = new Files(readFile);
  const source = files.read(path, null, fileBytesMax);
  if (source === null) return refuse(files.problems, []);
  const reading = path.toLowerCase().endsWith('.ini')
    ? readIni(
        path,
        source,
        (name, place) => files.read(name, { place, key: `%include ${name}` }, fileBytesMax),
        files.problems,
      )
    : readToml(path, source, options.env);
  return finish(reading, readFile);
}

/** Reads the policy of a configuration, or of a file that has nothing else in it. */
export function loadPolicy(path: string, options: LoadOptions): PolicyReading {
  const files = new Files(options.readFile ?? readUtf8);
  const source = files.read(path, null, fileBytesMax);
  if (source === null) return { policy: null, problems: files.problems };
  const isConfiguration = path.toLowerCase().endsWith('.ini') || /^\s*\[\s*(weir|databases|users)\b/m.test(source);
  if (!isConfiguration) return readPolicyFile(path, source);
  const loaded = loadConfig(path, options);
  return loaded.ok ? { policy: loaded.config.policy, problems: [] } : { policy: null, problems: loaded.problems };
}

/** Reads the file named by `auth_file`. */
export function loadUserList(path: string, readFile: ReadFile = readUtf8): UserListResult {
  const files = new Files(readFile);
  const source = files.read(path, null, userListBytesMax);
  return source === null ? { ok: false, problems: files.problems } : parseUserList(source, path);
}

function finish(reading: Reading, readFile: ReadFile): LoadResult {
  const decoded = decodeConfig(reading.raw);
  const found = policyOf(reading.raw, decoded.config, readFile);
  const faults = [...reading.problems, ...decoded.problems, ...found.problems];
  // Checks across settings would only repeat what is already known to be wrong.
  const checked = faults.length > 0 ? { problems: faults, warnings: [] } : checkConfig(decoded.config, reading.raw);
  const warnings = listedProblems([...decoded.warnings, ...checked.warnings]);
  if (checked.problems.length > 0) return refuse(checked.problems, warnings);
  return { ok: true, config: { ...decoded.config, policy: found.policy }, warnings };
}

/** The policy is in one place: which of two holds could only be guessed. */
function policyOf(raw: RawConfig, { weir, policy }: Config, readFile: ReadFile): PolicyReading {
  const entry = raw.weir.entries.get('policy_file');
  if (entry === undefined || weir.policy_file === '') return { policy, problems: [] };
  const key = `${sectionName(raw)}.policy_file`;
  if (policy !== null) {
    const message = 'this file has a `[policy]` of its own; keep one of the two';
    return { policy: null, problems: [problemAt(entry.place, key, message)] };
  }
  const files = new Files(readFile);
  const source = files.read(weir.policy_file, { place: entry.place, key }, fileBytesMax);
  return source === null ? { policy: null, problems: files.problems } : readPolicyFile(weir.policy_file, source);
}

function refuse(problems: readonly Problem[], warnings: readonly Problem[]): LoadResult {
  return { ok: false, problems: listedProblems(problems), warnings };
}

/** By line, and no more than people read. */
export function listedProblems(problems: readonly Problem[]): readonly Problem[] {
  const sorted = [...problems].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  if (sorted.length <= problemsMax) return sorted;
  const more = problemAt(nowhere, '', `and ${sorted.length - problemsMax} more`);
  return [...sorted.slice(0, problemsMax), more];
}

function readUtf8(path: string): string {
  return readFileSync(path, 'utf8');
}

interface Asked {
  readonly place: Place;
  readonly key: string;
}

/** Turns what can go wrong with a file into problems. */
class Files {
  readonly problems: Problem[] = [];
  readonly #readFile: ReadFile;

  constructor(readFile: ReadFile) {
    this.#readFile = readFile;
  }

  /** @param asked what names the file; null for the one that is read first */
  read(path: string, asked: Asked | null, bytesMax: number): string | null {
    let source: string;
    try {
      source = this.#readFile(path);
    } catch (error) {
      return this.#refuse(asked, path, `cannot be read: ${reasonOf(error)}`);
    }
    if (Buffer.byteLength(source) > bytesMax) {
      return this.#refuse(asked, path, `larger than ${bytesMax} bytes`);
    }
    return source.startsWith('\uFEFF') ? source.slice(1) : source;
  }

  #refuse(asked: Asked | null, path: string, message: string): null {
    this.problems.push(problemAt(asked?.place ?? { file: path, line: null }, asked?.key ?? '', message));
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
