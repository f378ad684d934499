// Verifies segments by themselves and against each other: what was changed, removed, put elsewhere, or never finished.

import { tailUnknown } from './chain.js';
import type { AuditDirectory } from './files.js';
import { type SegmentScan, scanSegment } from './scan.js';
import { type SegmentName, segmentsAmong } from './segments.js';

export interface SegmentReport {
  readonly name: string;
  readonly records: number;
  /** What shows that somebody has changed the trail, or that a part of it is lost. */
  readonly problems: readonly string[];
  /** What is worth knowing and no sign of a change. */
  readonly notes: readonly string[];
}

export interface VerifyReport {
  readonly segments: readonly SegmentReport[];
  readonly intact: boolean;
}

interface Scanned {
  readonly segment: SegmentName;
  readonly scan: SegmentScan;
}

/** @param names files of the directory; those that are no segments are left out */
export async function verifySegments(
  directory: Pick<AuditDirectory, 'read'>,
  names: Iterable<string>,
): Promise<VerifyReport> {
  const segments = segmentsAmong(names);
  const asked = new Set<string>();
  for (const { name } of segments) {
    const seal = (await scanSegment(firstLineOf(directory.read(name)))).header?.previous?.seal;
    if (seal !== undefined) asked.add(seal);
  }
  const scanned: Scanned[] = [];
  for (const segment of segments)
    scanned.push({ segment, scan: await scanSegment(directory.read(segment.name), asked) });
  const reports = scanned.map((one) => reportOf(one, scanned));
  return { segments: reports, intact: reports.length > 0 && reports.every(({ problems }) => problems.length === 0) };
}

async function* firstLineOf(source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  for await (const chunk of source) {
    yield chunk;
    if (chunk.includes(0x0a)) return;
  }
}

function reportOf({ segment, scan }: Scanned, all: readonly Scanned[]): SegmentReport {
  const problems = [...scan.problems];
  const notes: string[] = [];
  if (scan.header !== undefined && scan.header.segment !== segment.name)
    problems.push(`it was written as ${scan.header.segment}`);
  const before = judgeBeginning({ segment, scan }, all);
  problems.push(...before.problems);
  notes.push(...before.notes);
  const { tail } = scan;
  const continued = all.some((other) => other.scan.header?.previous?.segment === segment.name);
  if (tail.bytes > 0) {
    const torn = tail.torn ? ', the last of them cut off' : '';
    const lines = tail.lines + (tail.torn ? 1 : 0);
    const guard = continued ? 'kept by the segment behind it' : 'which nothing protects';
    notes.push(`${lines} lines behind the last seal${torn}: its process died; ${guard}`);
  } else if (scan.header === undefined && scan.problems.length === 0) {
    notes.push('its process died when it was to begin');
  } else if (!continued && !scan.closed) {
    notes.push('its process has not ended it: it runs, or died');
  }
  return { name: segment.name, records: scan.records, problems, notes };
}

/** Whether what the segment goes on from is there, as it was then. */
function judgeBeginning(
  { segment, scan }: Scanned,
  all: readonly Scanned[],
): Pick<SegmentReport, 'problems' | 'notes'> {
  const previous = scan.header?.previous;
  if (scan.header === undefined) return { problems: [], notes: [] };
  if (previous == null) {
    const lost = segment.number > 1;
    return lost
      ? { problems: ['it goes on from nothing'], notes: [] }
      : { problems: [], notes: ['the trail begins here'] };
  }
  const before = all.find((other) => other.segment.name === previous.segment);
  if (before === undefined) {
    const older = all.some((other) => other.segment.process === segment.process && isBefore(other.segment, segment));
    const text = `${previous.segment}, which it goes on from, is not here`;
    return older ? { problems: [text], notes: [] } : { problems: [], notes: [text] };
  }
  if (!before.scan.found.has(previous.seal))
    return { problems: [`the end of ${previous.segment}, which it goes on from, is missing or changed`], notes: [] };
  const { tail, seal } = before.scan;
  const last = previous.seal === seal;
  if (previous.tailBytes === tailUnknown || (!last && before.segment.epoch !== segment.epoch)) {
    // Given up by its process after a failure, or written by an older process that was still ending.
    const notes = last && tail.bytes === 0 ? [] : [`${previous.segment} has more than it goes on from`];
    return { problems: [], notes };
  }
  const same = last && tail.bytes === previous.tailBytes && tail.hash === previous.tailHash;
  return { problems: same ? [] : [`what ${previous.segment} has at its end was changed later`], notes: [] };
}

function isBefore(a: SegmentName, b: SegmentName): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.number < b.number);
}
