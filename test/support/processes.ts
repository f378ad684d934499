// Lists processes by their parent, and looks at them, on Linux and macOS.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  /** `Z` for a zombie, `T` for a stopped one; the rest is of no interest here. */
  readonly state: string;
}

export function childrenOf(parent: number): number[] {
  return processes()
    .filter((row) => row.parent === parent && row.state !== 'Z')
    .map((row) => row.pid);
}

export function isRunning(pid: number): boolean {
  return processes().some((row) => row.pid === pid && row.state !== 'Z');
}

/** Signals each one that still exists. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // Gone already.
    }
  }
}

function processes(): ProcessRow[] {
  return process.platform === 'linux' ? fromProc() : fromPs();
}

function fromProc(): ProcessRow[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const [state = '', parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return [{ pid: Number(name), parent: Number(parent), state }];
    } catch {
      return [];
    }
  });
}

function fromPs(): ProcessRow[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat='], { encoding: 'latin1' }).trim().split('\n');
  return lines.map((line) => {
    const [pid, parent, state = ''] = line.trim().split(/\s+/);
    return { pid: Number(pid), parent: Number(parent), state: state.slice(0, 1) };
  });
}
