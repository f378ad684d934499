// Verifies segments by themselves and against each other: what was changed, removed, put elsewhere, or never finished.

import type { Secret } from '../util/index.js';
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
  /** Seals that were told elsewhere and are not here: the trail was cut, put back to an older copy, or written anew. */
  readonly missing: readonly string[];
  readonly intact: boolean;
}

interface Scanned {
  readonly segment: SegmentName;
  readonly scan: SegmentScan;
}

export interface VerifyOptions {
  /** Seals that were told elsewhere, or their beginnings of at least 12 digits. */
  readonly expected?: readonly string[];
  /** That of `audit_key_file`. */
  readonly key?: Secret | undefined;
  /** Whether its processes may still be writing. */
  readonly running?: boolean;
}

/** @param names files of the directory; those that are no segments are left out */
export async function verifySegments(
  directory: Pick<AuditDirectory, 'read'>,
  names: Iterable<string>,
  { expected = [], key, running = false }: VerifyOptions = {},
): Promise<VerifyReport> {
  const segments = segmentsAmong(names);
  const asked = new Set<string>();
  for (const { name } of segments) {
    const seal = (await scanSegment(firstLineOf(directory.read(name)))).header?.previous?.seal;
    if (seal !== undefined) asked.add(seal);
  }
  const scanned: Scanned[] = [];
  for (const segment of segments)
    scanned.push({ segment, scan: await scanSegment(directory.read(segment.name), { asked, expected, key }) });
  const reports = scanned.map((one) => reportOf(one, scanned, { key, running }));
  const missing = expected.filter((seal) => !scanned.some(({ scan }) => scan.met.has(seal)));
  const sound = reports.length > 0 && reports.every(({ problems }) => problems.length === 0);
  return { segments: reports, missing, intact: sound && missing.length === 0 };
}

async function* firstLineOf(source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  for await (const chunk of source) {
    yield chunk;
    if (chunk.includes(0x0a)) return;
  }
}

function reportOf(
  { segment, scan }: Scanned,
  all: readonly Scanned[],
  { key, running }: Pick<VerifyOptions, 'key' | 'running'>,
): SegmentReport {
  const problems = [...scan.problems];
  const notes: string[] = [];
  const keyProblem = judgeKey({ segment, scan }, all, key);
  if (keyProblem !== undefined) problems.push(keyProblem);
  if (scan.header !== undefined && scan.header.segment !== segment.name)
    problems.push(`it was written as ${scan.header.segment}`);
  const before = judgeBeginning({ segment, scan }, all);
  problems.push(...before.problems);
  notes.push(...before.notes);
  const { tail } = scan;
  // What is cut off leaves a segment without its end; of one that others follow, these tell whether they still do.
  const isLast = !all.some((other) => other.segment.process === segment.process && isBefore(segment, other.segment));
  const open = isLast && running !== true ? problems : notes;
  const continued = all.some((other) => other.scan.header?.previous?.segment === segment.name);
  if (tail.bytes > 0) {
    const torn = tail.torn ? ', the last of them cut off' : '';
    const lines = tail.lines + (tail.torn ? 1 : 0);
    const guard = continued ? 'kept by the segment behind it' : 'which nothing protects';
    open.push(`${lines} lines behind the last seal${torn}: its process died; ${guard}`);
  } else if (scan.header === undefined && scan.problems.length === 0) {
    open.push('its process died when it was to begin');
  } else if (!continued && !scan.closed) {
    open.push('its process has not ended it: it runs (then say --running), died, or the end was cut off');
  }
  return { name: segment.name, records: scan.records, problems, notes };
}

/** Whether its seals have the key they must have. */
function judgeKey(
  { segment, scan: { header } }: Scanned,
  all: readonly Scanned[],
  key: Secret | undefined,
): string | undefined {
  if (header === undefined) return undefined;
  if (header.seals === 'hmac-sha256') {
    return key === undefined ? 'its seals have a key, and cannot be checked without it: say --key-file' : undefined;
  }
  if (key === undefined) return undefined;
  // What was written before there was a key is under the first seal behind it that has one.
  const behind = all.filter((other) => other.segment.process === segment.process && isBefore(segment, other.segment));
  const before = all.filter((other) => other.segment.process === segment.process && isBefore(other.segment, segment));
  const isKeyed = ({ scan }: Scanned): boolean => scan.header?.seals === 'hmac-sha256';
  return behind.some(isKeyed) && !before.some(isKeyed) ? undefined : 'its seals have no key: anybody could write them';
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
