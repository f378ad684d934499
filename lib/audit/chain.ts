// The chain that ties the lines of a trail together: a seal behind each group of lines, over them and the seal before.

import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import type { Secret } from '../util/index.js';

/** What stands for the seal before the first one. */
export const noSeal = '0'.repeat(64);

/** Of a segment that its own process gave up because the disk failed: how much of the last group is in it nobody knows. */
export const tailUnknown = -1;

/** `hmac-sha256`: with a key, so that who can only write there cannot make them. */
export const sealKinds = ['sha256', 'hmac-sha256'] as const;
export type SealKind = (typeof sealKinds)[number];

/** Where a segment goes on from. */
export interface Predecessor {
  readonly segment: string;
  /** Its last seal. */
  readonly seal: string;
  /** What it has behind that, of a process that died: how many bytes, or `tailUnknown`, and their hash. */
  readonly tailBytes: number;
  readonly tailHash: string;
}

/** The first line of a segment. */
export interface SegmentHeader {
  readonly event: 'segment';
  readonly version: 1;
  readonly segment: string;
  readonly time: string;
  /** How its seals are made. */
  readonly seals: SealKind;
  readonly previous: Predecessor | null;
}

/** The line behind a group. */
export interface Seal {
  readonly event: 'seal';
  /** Numbers of the first and last record of the group; none where it has no records. */
  readonly records: readonly [number, number] | null;
  readonly hash: string;
}

/** How every seal's line begins, and no record's does. */
export const sealPrefix = '{"event":"seal",';
/** How every record's line begins. */
export const recordPrefix = '{"seq":';

/** A hash to be fed with the lines of the group behind `seal`. */
export function beginGroup(seal: string, key?: Secret): Hash | Hmac {
  const hash = key === undefined ? createHash('sha256') : createHmac('sha256', key.reveal());
  return hash.update(seal, 'latin1');
}

/** A seal, or so much of its beginning that nobody finds another one that has it. */
export const sealPattern = /^[0-9a-f]{12,64}$/;

export function sealLine(hash: string, records: Seal['records']): string {
  return `${JSON.stringify({ event: 'seal', records, hash } satisfies Seal)}\n`;
}

export function headerLine(segment: string, time: string, seals: SealKind, previous: Predecessor | null): string {
  const header: SegmentHeader = { event: 'segment', version: 1, segment, time, seals, previous };
  return `${JSON.stringify(header)}\n`;
}

export function parseSeal(line: string): Seal | undefined {
  const found = parseObject(line);
  if (found?.['event'] !== 'seal' || typeof found['hash'] !== 'string') return undefined;
  const { records } = found;
  if (records !== null && !(Array.isArray(records) && records.length === 2 && records.every(Number.isSafeInteger)))
    return undefined;
  return { event: 'seal', records: records as Seal['records'], hash: found['hash'] };
}

export function parseHeader(line: string): SegmentHeader | undefined {
  const found = parseObject(line);
  if (found?.['event'] !== 'segment' || found['version'] !== 1) return undefined;
  const { segment, time, previous } = found;
  if (typeof segment !== 'string' || typeof time !== 'string') return undefined;
  // Those of before there were keys say nothing of it.
  const seals = sealKinds.find((kind) => kind === (found['seals'] ?? 'sha256'));
  if (seals === undefined) return undefined;
  if (previous === null) return { event: 'segment', version: 1, segment, time, seals, previous };
  const before = asObject(previous);
  const { segment: name, seal, tailBytes, tailHash } = before ?? {};
  if (typeof name !== 'string' || typeof seal !== 'string' || typeof tailHash !== 'string') return undefined;
  if (typeof tailBytes !== 'number') return undefined;
  return { event: 'segment', version: 1, segment, time, seals, previous: { segment: name, seal, tailBytes, tailHash } };
}

export function parseObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asObject(JSON.parse(line));
  } catch {
    return undefined;
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Readonly<Record<string, unknown>>) : undefined;
}
