// Chooses the operating system account that PostgreSQL runs as: ourselves, or somebody unprivileged when weir runs as root.

import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { PoolerError } from '../util/index.js';

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

// initdb looks its own user up by number, so an unused numeric uid would not do: it must be a name the system knows.
const unprivilegedNames = ['postgres', '_postgres', 'nobody', 'daemon'] as const;

const run = promisify(execFile);

/** Undefined when PostgreSQL can run as the user we already are. Throws PoolerError when root finds nobody to become. */
export async function unprivilegedAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of unprivilegedNames) {
    const account = await lookUp(name);
    if (account !== undefined && account.uid !== 0) return account;
  }
  throw new PoolerError('PostgreSQL cannot run as root and there is no other user to run it as', {
    sqlstate: '58000',
    detail: `None of the users ${unprivilegedNames.join(', ')} exists.`,
    hint: 'Start weir as an ordinary user, or give it a config file.',
  });
}

async function lookUp(name: string): Promise<Account | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

/** Whether the account may pass every directory down to `path` and read (and enter or execute) `path` itself. */
export async function canRead(path: string, account: Account | undefined): Promise<boolean> {
  if (account === undefined) return true;
  let real: string;
  try {
    real = await realpath(path);
  } catch {
    return false;
  }
  if (!(await permits(real, account, constants.S_IROTH | constants.S_IXOTH))) return false;
  for (let at = real; dirname(at) !== at; ) {
    at = dirname(at);
    if (!(await permits(at, account, constants.S_IXOTH))) return false;
  }
  return true;
}

/** Whether the account may pass every directory above `path`, whatever `path` itself allows. */
export async function canReach(path: string, account: Account | undefined): Promise<boolean> {
  if (account === undefined) return true;
  let at = await realpath(path);
  while (dirname(at) !== at) {
    at = dirname(at);
    if (!(await permits(at, account, constants.S_IXOTH))) return false;
  }
  return true;
}

/** @param bits of the "others" class; shifted to the class the account falls into */
async function permits(path: string, account: Account, bits: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path);
  const wanted = uid === account.uid ? bits << 6 : gid === account.gid ? bits << 3 : bits;
  return (mode & wanted) === wanted;
}
