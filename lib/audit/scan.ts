// Reads one segment from beginning to end and holds each group of lines against its seal.

import { createHash, type Hash, type Hmac } from 'node:crypto';
import type { Secret } from '../util/index.js';
import { beginGroup, noSeal, parseHeader, parseSeal, recordPrefix, type SegmentHeader, sealPrefix } from './chain.js';
import { lineBytesMax } from './statement-text.js';

export interface SegmentScan {
  /** Undefined where the first line is none. */
  readonly header: SegmentHeader | undefined;
  readonly records: number;
  /** Numbers of the first and last record. */
  readonly first: number | undefined;
  readonly last: number | undefined;
  /** The last seal; `noSeal` where there is none. */
  readonly seal: string;
  /** Of the seals asked for, those it has. */
  readonly found: ReadonlySet<string>;
  /** Of the seals expected, or their beginnings, those it has. */
  readonly met: ReadonlySet<string>;
  /** Its process said that it ends here. */
  readonly closed: boolean;
  /** What stands behind the last seal. */
  readonly tail: { readonly bytes: number; readonly hash: string; readonly lines: number; readonly torn: boolean };
  readonly problems: readonly string[];
}

/** Problems told one by one. */
const problemsMax = 20;
/** Records of one group whose numbers are compared. */
const groupRecordsMax = 1_000_000;
const newline = 0x0a;
const prefix = Buffer.from(recordPrefix, 'latin1');
const sealBytes = Buffer.from(sealPrefix, 'latin1');
const closeLine = Buffer.from('{"event":"close"', 'latin1');

export interface ScanOptions {
  /** Seals that other segments go on from. */
  readonly asked?: ReadonlySet<string>;
  /** Seals that were told elsewhere, or their beginnings. */
  readonly expected?: readonly string[];
  /** Without it seals that have a key are taken as they stand. */
  readonly key?: Secret | undefined;
}

export async function scanSegment(source: AsyncIterable<Buffer>, options: ScanOptions = {}): Promise<SegmentScan> {
  const scanner = new Scanner(options);
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, from)) {
      scanner.line(bytes.subarray(from, at + 1));
      from = at + 1;
    }
    rest = bytes.subarray(from);
    if (rest.length > lineBytesMax) break;
  }
  return scanner.end(rest);
}

class Scanner {
  readonly #options: ScanOptions;
  readonly #found = new Set<string>();
  readonly #met = new Set<string>();
  readonly #problems: string[] = [];
  #header: SegmentHeader | undefined;
  #lines = 0;
  #records = 0;
  #first: number | undefined;
  #last: number | undefined;
  #seal = noSeal;
  #closed = false;
  /** Of the group that is being read. */
  #group: Hash | Hmac = beginGroup(noSeal);
  #tail: Hash = createHash('sha256');
  #tailBytes = 0;
  #tailLines = 0;
  #numbers: number[] = [];

  constructor(options: ScanOptions) {
    this.#options = options;
  }

  /** Of the seals of this segment. */
  get #key(): Secret | undefined {
    return this.#header?.seals === 'hmac-sha256' ? this.#options.key : undefined;
  }

  get #canCheck(): boolean {
    return this.#header?.seals !== 'hmac-sha256' || this.#options.key !== undefined;
  }

  /** With its newline. */
  line(bytes: Buffer): void {
    this.#lines++;
    if (this.#lines === 1) this.#begin(bytes);
    else if (startsWith(bytes, sealBytes)) {
      this.#sealed(bytes);
      return;
    }
    this.#closed = startsWith(bytes, closeLine);
    if (startsWith(bytes, prefix)) this.#record(bytes);
    this.#add(bytes);
    this.#tailLines++;
  }

  end(rest: Buffer): SegmentScan {
    const lines = this.#tailLines;
    this.#add(rest);
    return {
      header: this.#header,
      records: this.#records,
      first: this.#first,
      last: this.#last,
      seal: this.#seal,
      found: this.#found,
      met: this.#met,
      closed: this.#closed && this.#tailBytes === 0,
      tail: { bytes: this.#tailBytes, hash: this.#tail.digest('hex'), lines, torn: rest.length > 0 },
      problems: this.#problems,
    };
  }

  #begin(bytes: Buffer): void {
    this.#header = parseHeader(bytes.toString('utf8'));
    if (this.#header === undefined) this.#complain('its first line is not the beginning of a segment');
    this.#group = beginGroup(this.#header?.previous?.seal ?? noSeal, this.#key);
  }

  #add(bytes: Buffer): void {
    this.#group.update(bytes);
    this.#tail.update(bytes);
    this.#tailBytes += bytes.length;
  }

  #record(bytes: Buffer): void {
    let number = 0;
    for (let at = prefix.length; (bytes[at] as number) >= 0x30 && (bytes[at] as number) <= 0x39; at++)
      number = number * 10 + (bytes[at] as number) - 0x30;
    this.#records++;
    this.#first ??= number;
    if (this.#numbers.length < groupRecordsMax) this.#numbers.push(number);
  }

  #sealed(bytes: Buffer): void {
    const seal = parseSeal(bytes.toString('utf8'));
    const hash = this.#group.digest('hex');
    if (seal === undefined) this.#complain(`line ${this.#lines} is a seal that cannot be read`);
    else if (seal.hash !== hash && this.#canCheck) this.#complain(this.#whatChanged(seal.records));
    // What follows is held against what the seal says: one change is told once.
    this.#seal = seal?.hash ?? hash;
    if (this.#options.asked?.has(this.#seal) === true) this.#found.add(this.#seal);
    for (const each of this.#options.expected ?? []) if (this.#seal.startsWith(each)) this.#met.add(each);
    this.#last = this.#numbers.at(-1) ?? this.#last;
    this.#group = beginGroup(this.#seal, this.#key);
    this.#tail = createHash('sha256');
    this.#tailBytes = 0;
    this.#tailLines = 0;
    this.#numbers = [];
  }

  /** As precisely as the numbers of the records allow. */
  #whatChanged(records: readonly [number, number] | null): string {
    const where = `before line ${this.#lines}`;
    if (records === null) return `lines ${where} have been changed, added or removed`;
    const [first, last] = records;
    const there = new Set(this.#numbers);
    for (let number = first; number <= last && number - first < groupRecordsMax; number++)
      if (!there.has(number)) return `record ${number} is missing, ${where}`;
    const strange = this.#numbers.find((number, index) => number !== first + index);
    if (strange !== undefined) return `record ${strange} is out of its order, ${where}`;
    return first === last
      ? `record ${first} has been changed, ${where}`
      : `one of the records ${first} to ${last} has been changed, ${where}`;
  }

  #complain(problem: string): void {
    if (this.#problems.length < problemsMax) this.#problems.push(problem);
    else if (this.#problems.length === problemsMax) this.#problems.push('and more');
  }
}

function startsWith(bytes: Buffer, beginning: Buffer): boolean {
  return bytes.length >= beginning.length && bytes.compare(beginning, 0, beginning.length, 0, beginning.length) === 0;
}
