// Names of segments: whose they are and in which order they were written; and which of them need not be kept.

import type { AuditEntry } from './files.js';

export interface SegmentName {
  readonly name: string;
  /** When its process began, in milliseconds since 1970. */
  readonly epoch: number;
  /** Which of weir's processes wrote it. */
  readonly process: number;
  /** From 1 in each process. */
  readonly number: number;
}

const pattern = /^audit\.(\d{1,15})\.(\d{1,4})\.(\d{1,9})\.jsonl$/;

export function segmentName(epoch: number, process: number, number: number): SegmentName {
  return { name: `audit.${epoch}.${process}.${number}.jsonl`, epoch, process, number };
}

/** Undefined for a file that is no segment. */
function parseSegmentName(name: string): SegmentName | undefined {
  const match = pattern.exec(name);
  if (match === null) return undefined;
  return { name, epoch: Number(match[1]), process: Number(match[2]), number: Number(match[3]) };
}

/** Process by process, in each in the order they were written. */
function inOrder(a: SegmentName, b: SegmentName): number {
  return a.process - b.process || a.epoch - b.epoch || a.number - b.number;
}

export function segmentsAmong(names: Iterable<string>): SegmentName[] {
  const found: SegmentName[] = [];
  for (const name of names) {
    const parsed = parseSegmentName(name);
    if (parsed !== undefined) found.push(parsed);
  }
  return found.sort(inOrder);
}

export interface Keeping {
  /** Segments of one process; 0 is all. */
  readonly segments: number;
  /** Days since a segment was last written; 0 is for ever. */
  readonly days: number;
}

const dayMs = 86_400_000;

/** Segments to be removed, oldest first. The newest of each process, which may be written, is not among them. */
export function expired(entries: readonly AuditEntry[], keeping: Keeping, nowMs: number): string[] {
  const modified = new Map(entries.map(({ name, modifiedMs }) => [name, modifiedMs]));
  const all = segmentsAmong(modified.keys());
  return all
    .filter((segment, index) => {
      const newer = all.findIndex(({ process }) => process > segment.process);
      const behind = (newer < 0 ? all.length : newer) - index - 1;
      if (behind === 0) return false;
      const ageMs = nowMs - (modified.get(segment.name) ?? nowMs);
      return (keeping.segments > 0 && behind >= keeping.segments) || (keeping.days > 0 && ageMs > keeping.days * dayMs);
    })
    .map(({ name }) => name);
}
