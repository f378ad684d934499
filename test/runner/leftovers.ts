// Finds and ends what a test file has started: its process group, and on Linux whatever still carries its mark or works in its directory.

import { readdirSync, readFileSync } from 'node:fs';

/** The environment variable that children inherit. PostgreSQL's watchdog has an empty environment, and ends with who started it. */
export const markName = 'WEIR_TEST_MARK';

export interface Leftover {
  readonly pid: number;
  readonly command: string;
}

/** @param leader of a process group that was made by `detached` */
export function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // All have gone.
  }
}

export function kill(leftovers: readonly Leftover[]): void {
  for (const { pid } of leftovers) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has gone, or is not ours.
    }
  }
}

/** Processes whose mark begins so; none where the system does not tell. */
export function marked(mark: string): Leftover[] {
  const wanted = `\0${markName}=${mark}`;
  return processes((directory) => `\0${readFileSync(`${directory}/environ`, 'latin1')}`.includes(wanted));
}

/** Processes that were started with a path in the directory: servers of PostgreSQL. */
export function workingIn(directory: string): Leftover[] {
  return processes((_, command) => command.includes(`${directory}/`));
}

function processes(isWanted: (directory: string, command: string) => boolean): Leftover[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      // A zombie has no command line any more.
      return command !== '' && isWanted(`/proc/${name}`, command) ? [{ pid, command }] : [];
    } catch {
      return [];
    }
  });
}
