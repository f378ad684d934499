// Tells one process from a later one with the same number, by the time it started.

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Account } from './account.js';

export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque; equal only for the same process. */
  readonly started: string;
}

/** Undefined when there is no such process, or only its zombie. */
export function identify(pid: number): ProcessIdentity | undefined {
  const started = process.platform === 'linux' ? startedByProc(pid) : startedByPs(pid);
  return started === undefined ? undefined : { pid, started };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.started === identity.started;
}

/**
 * Signals that very process; nothing happens when it is gone or not ours to signal.
 * @param account whose rights are used, so that a number read from a file of theirs cannot make root signal anybody else
 */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals, account: Account | undefined): void {
  if (!isAlive(identity)) return;
  if (account !== undefined) {
    const script = 'kill -s "$1" "$2"';
    spawnSync('/bin/sh', ['-c', script, 'sh', signal.slice('SIG'.length), String(identity.pid)], {
      uid: account.uid,
      gid: account.gid,
      cwd: '/',
      stdio: 'ignore',
    });
    return;
  }
  try {
    process.kill(identity.pid, signal);
  } catch {
    // It ended in between, or belongs to somebody else: the caller sees by isAlive.
  }
}

function startedByProc(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // proc(5): the second field is a name in parentheses that may hold anything; state is the 3rd field, starttime the 22nd.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function startedByPs(pid: number): string | undefined {
  try {
    const line = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'latin1',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
    const space = line.indexOf(' ');
    return line === '' || line.startsWith('Z') ? undefined : line.slice(space + 1).trim();
  } catch {
    return undefined;
  }
}
