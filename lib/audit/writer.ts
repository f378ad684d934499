// Writes records to disk in groups: one write and one sync for all that has come meanwhile, with a seal behind them.

import { createHash } from 'node:crypto';
import type { Clock, Secret } from '../util/index.js';
import {
  beginGroup,
  headerLine,
  noSeal,
  type Predecessor,
  recordPrefix,
  type Seal,
  sealLine,
  tailUnknown,
} from './chain.js';
import type { AuditDirectory, AuditFile } from './files.js';
import { JsonLine } from './json-line.js';
import { scanSegment } from './scan.js';
import { expired, type Keeping, segmentName, segmentsAmong } from './segments.js';

export interface WriterLimits {
  /** A segment longer than this is followed by another. */
  readonly segmentBytes: number;
  /** The same of one older than this; 0 is never. */
  readonly segmentAgeMs: number;
  readonly keeping: Keeping;
}

export interface WriterHost {
  /** The limits in force. */
  readonly limits: WriterLimits;
  /** More records survive whatever happens: see `durable`. */
  onDurable(): void;
  /** The disk does not take records, or takes them again (undefined). Told once each. */
  onTrouble(error: Error | undefined): void;
  /** A segment begins, going on from that seal: whoever keeps it elsewhere can prove what was before. */
  onSegment(name: string, seal: string): void;
  /** A group has been sealed, and is on disk. */
  onSeal(): void;
  /** Something of the trail is not as it should be; the writer goes on. */
  onWarning(text: string, error: unknown): void;
}

/** How long a disk that failed is left alone. */
const retryMs = 500;
/** The same while the process ends, and how often it is tried then. */
const closingRetryMs = 20;
const closingTriesMax = 3;
const initialBytes = 64 * 1024;
const initialLineBytes = 1024;
/** A buffer that a burst has made longer is let go. */
const keptBytesMax = 2 * 1024 * 1024;
const emptyHash = createHash('sha256').digest('hex');

/** Records that are written together: they are gathered while the group before is written. */
interface Group {
  readonly line: JsonLine;
  /** Numbers of its records. */
  first: number;
  last: number;
  /** When the first of them came. */
  sinceMs: number;
}

/** A file being written. */
interface Segment {
  readonly name: string;
  readonly file: AuditFile;
  readonly openedMs: number;
  /** Up to the last seal. */
  bytes: number;
  /** Whether it has records. */
  used: boolean;
}

export class AuditWriter {
  readonly #directory: AuditDirectory;
  readonly #clock: Clock;
  readonly #host: WriterHost;
  readonly #process: number;
  readonly #epoch: number;
  readonly #retryMs: number;
  readonly #key: Secret | undefined;
  /** Of the segment begun last. */
  #number = 0;
  /** What the first segment goes on from, or the next one after a failure. */
  #previous: Predecessor | null = null;
  #segment: Segment | undefined;
  #seal = noSeal;
  #gathering: Group = newGroup();
  #spare: Group = newGroup();
  /** The group that is on its way to the disk. */
  #writing: Group | undefined;
  #lastNumber = 0;
  #durable = 0;
  /** Where the record that is being made begins. */
  #recordStart = 0;
  #running: Promise<void> | undefined;
  #scheduled = false;
  /** Somebody waits for a group that has not begun to be written. */
  #wanted = false;
  #failure: Error | undefined;
  #closing = false;
  #wake: (() => void) | undefined;

  constructor(options: {
    readonly directory: AuditDirectory;
    readonly clock: Clock;
    readonly host: WriterHost;
    /** Which of weir's processes this is. */
    readonly process: number;
    /** Of the seals; without one they are plain hashes. */
    readonly key?: Secret | undefined;
    /** Given by tests. */
    readonly retryMs?: number;
  }) {
    this.#directory = options.directory;
    this.#clock = options.clock;
    this.#host = options.host;
    this.#process = options.process;
    this.#key = options.key;
    this.#epoch = options.clock.wallMs();
    this.#retryMs = options.retryMs ?? retryMs;
  }

  /** Finds where the trail of this process ends, and begins the first segment behind it. @throws what the disk says */
  async open(): Promise<void> {
    await this.#directory.prepare();
    await this.#findEnd();
    await this.#beginSegment(this.#previous);
    await this.#prune();
  }

  /** Names this process among all that have written here. */
  get run(): string {
    return `${this.#epoch.toString(36)}.${this.#process}`;
  }

  async #findEnd(): Promise<void> {
    const names = (await this.#directory.list()).map(({ name }) => name);
    const own = segmentsAmong(names).filter(({ process }) => process === this.#process);
    for (const { name } of own.reverse()) {
      const scan = await scanSegment(this.#directory.read(name), { key: this.#key });
      // Its process died before it was begun: it has nothing to go on from.
      if (scan.seal === noSeal) continue;
      for (const problem of scan.problems) this.#host.onWarning(`${name}: ${problem}`, undefined);
      this.#previous = { segment: name, seal: scan.seal, tailBytes: scan.tail.bytes, tailHash: scan.tail.hash };
      this.#seal = scan.seal;
      return;
    }
  }

  /** Bytes that are not yet sure to be on disk. */
  get queuedBytes(): number {
    return this.#gathering.line.length + (this.#writing?.line.length ?? 0);
  }

  /** How long the oldest record that is not durable has waited. */
  get lagMs(): number {
    const oldest = this.#writing ?? this.#gathering;
    return oldest.line.length === 0 ? 0 : this.#clock.now() - oldest.sinceMs;
  }

  /** Why the disk does not take records. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Number of the record begun last. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  /** All records up to this one are durable. */
  get durable(): number {
    return this.#durable;
  }

  /** Of what is on disk. */
  get seal(): string {
    return this.#seal;
  }

  get segment(): string {
    return this.#segment?.name ?? '';
  }

  /** Begins a record: the caller writes its members, the first of them behind a comma, and calls `endRecord`. */
  beginRecord(): JsonLine {
    const { line } = this.#gathering;
    this.#recordStart = line.length;
    line.ascii(recordPrefix);
    line.integer(this.#lastNumber + 1);
    return line;
  }

  /** @returns the record's number */
  endRecord(): number {
    const group = this.#gathering;
    if (this.#recordStart === 0) {
      group.first = this.#lastNumber + 1;
      group.sinceMs = this.#clock.now();
    }
    group.line.ascii('}\n');
    this.#lastNumber++;
    group.last = this.#lastNumber;
    return this.#lastNumber;
  }

  /** Writes what is there at the end of this turn of the loop, or as soon as the group before is written. */
  flushSoon(): void {
    this.#wanted = true;
    if (this.#scheduled || this.#running !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  /** Writes what is there and ends the segment. Resolves also when the disk takes nothing; what it did not take is queued still. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#wake?.();
    this.#wanted = true;
    await this.#running;
    if (this.#writing === undefined) {
      this.#wanted = true;
      this.#flush();
      await this.#running;
    }
    const segment = this.#segment;
    if (segment === undefined) return;
    if (this.queuedBytes === 0) {
      const line = new JsonLine(initialLineBytes);
      line.ascii(`${JSON.stringify({ event: 'close', time: this.#time() })}\n`);
      await this.#persist(line, null);
    }
    this.#segment = undefined;
    await segment.file.close().catch(() => {});
  }

  #time(): string {
    return new Date(this.#clock.wallMs()).toISOString();
  }

  #flush(): void {
    if (this.#running !== undefined) return;
    this.#running = this.#writeGroups().finally(() => {
      this.#running = undefined;
    });
  }

  /** One group after the other, as long as somebody waits for one. */
  async #writeGroups(): Promise<void> {
    while (this.#wanted && this.#gathering.line.length > 0) {
      this.#wanted = false;
      const group = this.#gathering;
      this.#writing = group;
      this.#gathering = this.#spare;
      if (!(await this.#persist(group.line, [group.first, group.last]))) return;
      this.#writing = undefined;
      this.#spare = group.line.bytes.length > keptBytesMax ? newGroup() : group;
      group.line.length = 0;
      this.#durable = group.last;
      this.#host.onDurable();
    }
  }

  /** Puts lines and their seal on disk, however often it fails. Answers false where the process ends before they are there. */
  async #persist(line: JsonLine, records: Seal['records']): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        if (records !== null) await this.#turnOver();
        await this.#append(this.#segment ?? (await this.#beginSegment(this.#previous)), line, records);
        const before = this.#failure;
        this.#failure = undefined;
        if (before !== undefined) this.#host.onTrouble(undefined);
        if (records !== null) this.#host.onSeal();
        return true;
      } catch (cause) {
        const before = this.#failure;
        this.#failure = cause instanceof Error ? cause : new Error(String(cause));
        if (before === undefined) this.#host.onTrouble(this.#failure);
        if (cause instanceof SyncFailure) await this.#giveUp();
        if (this.#closing && tries >= closingTriesMax) return false;
        await this.#pause();
      }
    }
  }

  /** What has been written of it before goes to the same place again: a file has no gap, and nothing else is written over. */
  async #append(segment: Segment, line: JsonLine, records: Seal['records']): Promise<void> {
    const { length } = line;
    const seal = beginGroup(this.#seal, this.#key).update(line.bytes.subarray(0, length)).digest('hex');
    line.ascii(sealLine(seal, records));
    const end = line.length;
    // The seal is no part of the group: another try may have another one.
    line.length = length;
    for (let at = 0; at < end; ) at += await segment.file.write(line.bytes, at, end, segment.bytes + at);
    await segment.file.sync().catch((cause: unknown) => {
      throw new SyncFailure('the audit trail could not be synced', { cause });
    });
    segment.bytes += end;
    if (records !== null) segment.used = true;
    this.#seal = seal;
  }

  /** What the system had not written by then it may take for written: the group goes to another file. */
  async #giveUp(): Promise<void> {
    const segment = this.#segment;
    if (segment === undefined) return;
    this.#previous = { segment: segment.name, seal: this.#seal, tailBytes: tailUnknown, tailHash: '' };
    this.#segment = undefined;
    await segment.file.close().catch(() => {});
  }

  /** Another segment where this one is long or old enough. */
  async #turnOver(): Promise<void> {
    const segment = this.#segment;
    if (segment?.used !== true) return;
    const { segmentBytes, segmentAgeMs } = this.#host.limits;
    const old = segmentAgeMs > 0 && this.#clock.now() - segment.openedMs >= segmentAgeMs;
    if (!old && segment.bytes < segmentBytes) return;
    await this.#beginSegment({ segment: segment.name, seal: this.#seal, tailBytes: 0, tailHash: emptyHash });
    await segment.file.close().catch(() => {});
    await this.#prune();
  }

  /** @throws what the disk says; then nothing has changed */
  async #beginSegment(previous: Predecessor | null): Promise<Segment> {
    const before = this.#seal;
    const { name } = segmentName(this.#epoch, this.#process, this.#number + 1);
    const file = await this.#directory.create(name);
    const segment: Segment = { name, file, openedMs: this.#clock.now(), bytes: 0, used: false };
    const line = new JsonLine(initialLineBytes);
    line.ascii(headerLine(name, this.#time(), this.#key === undefined ? 'sha256' : 'hmac-sha256', previous));
    try {
      await this.#append(segment, line, null);
      await this.#directory.sync();
    } catch (error) {
      this.#seal = before;
      await file.close().catch(() => {});
      await this.#directory.remove(name).catch(() => {});
      throw error;
    }
    this.#number++;
    this.#segment = segment;
    this.#host.onSegment(name, before);
    return segment;
  }

  async #prune(): Promise<void> {
    try {
      const entries = await this.#directory.list();
      for (const name of expired(entries, this.#host.limits.keeping, this.#clock.wallMs()))
        await this.#directory.remove(name);
    } catch (error) {
      this.#host.onWarning('old segments of the audit trail could not be removed', error);
    }
  }

  /** A disk that failed is left alone for a while, but not by a process that wants to end. */
  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#closing ? closingRetryMs : this.#retryMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

class SyncFailure extends Error {}

function newGroup(): Group {
  return { line: new JsonLine(initialBytes), first: 0, last: 0, sinceMs: 0 };
}
