// Reads what a process and all its descendants have used so far from /proc: processor time and memory.

import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessStat {
  readonly pid: number;
  readonly parentPid: number;
  /** User and system time of all its threads and of the children it has waited for, in clock ticks. */
  readonly ticks: number;
}

/** USER_HZ: what /proc counts in, 100 on every Linux that Node runs on. */
const ticksPerS = 100;

/** Undefined where there is no /proc or the process is gone. */
export function treeCpuMs(root: number): number | undefined {
  const tree = processTree(root);
  if (tree.length === 0) return undefined;
  return tree.reduce((sum, stat) => sum + stat.ticks, 0) * (1_000 / ticksPerS);
}

/** Resident memory in kB (1024 bytes), shared pages counted once per process; undefined where there is no /proc or the process is gone. */
export function treeResidentKb(root: number): number | undefined {
  const tree = processTree(root);
  if (tree.length === 0) return undefined;
  return tree.reduce((sum, stat) => sum + (residentKb(readOrEmpty(`/proc/${stat.pid}/status`)) ?? 0), 0);
}

/** The text of /proc/PID/stat; the program's name may hold spaces and brackets. Undefined when it is not one. */
export function parseStat(text: string): ProcessStat | undefined {
  const nameEnd = text.lastIndexOf(')');
  if (nameEnd === -1) return undefined;
  const pid = Number.parseInt(text, 10);
  // proc_pid_stat(5): after the name come state (3), ppid (4), ... utime (14), stime (15), cutime (16), cstime (17).
  const fields = text.slice(nameEnd + 2).split(' ');
  const parentPid = Number(fields[1]);
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return Number.isInteger(pid) && Number.isInteger(parentPid) && Number.isFinite(ticks) && fields.length > 14
    ? { pid, parentPid, ticks }
    : undefined;
}

/** The text of /proc/PID/status. */
export function residentKb(text: string): number | undefined {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(text);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

function processTree(root: number): ProcessStat[] {
  const children = new Map<number, ProcessStat[]>();
  let rootStat: ProcessStat | undefined;
  for (const stat of everyProcess()) {
    if (stat.pid === root) rootStat = stat;
    const siblings = children.get(stat.parentPid);
    if (siblings === undefined) children.set(stat.parentPid, [stat]);
    else siblings.push(stat);
  }
  const tree: ProcessStat[] = rootStat === undefined ? [] : [rootStat];
  for (let i = 0; i < tree.length; i++) tree.push(...(children.get(tree[i]?.pid ?? -1) ?? []));
  return tree;
}

function everyProcess(): ProcessStat[] {
  let names: string[];
  try {
    names = readdirSync('/proc');
  } catch {
    return [];
  }
  return names
    .filter((name) => /^\d+$/.test(name))
    .map((name) => parseStat(readOrEmpty(`/proc/${name}/stat`)))
    .filter((stat) => stat !== undefined);
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
