// Looks up what a statement does: by its shape, by its text where a literal decides, by parsing it when it is new.

import { isAscii, isUtf8 } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { type ByteEntry, ByteTable, type ByteTableLimits, entryBytes, type HashKey } from './byte-table.js';
import { type ExtractOptions, extractFacts } from './extract-facts.js';
import { type ParsedFacts, PENDING, type Shape, type StatementFacts, UNKNOWN, type UnknownReason } from './facts.js';
import { bytesOfFacts } from './facts-size.js';
import { InlineParser } from './inline-parser.js';
import { inlineParseBytesMax, inspectBytesMax } from './limits.js';
import { ParseWorkerClient } from './parse-worker-client.js';
import { compileParser } from './parser-instance.js';
import { ShapeScanner } from './shape-scanner.js';
import { type SignalledPids, signalledPids } from './signal-calls.js';
import { TextMemo } from './text-memo.js';

export interface StatementCatalogOptions {
  /** Shapes kept; texts whose literals decide are kept in the same number beside them. */
  readonly maxEntries: number;
  /** Bytes of shapes kept with all that is known of them, and again of such texts. */
  readonly maxBytes: number;
  /** Longer texts are unknown; at most 1 MB. */
  readonly inspectLimitBytes: number;
  /** Random by default; given by tests. */
  readonly hashKey?: HashKey;
  /** Functions the operator vouches for, folded, as written in statements: `uuid_generate_v4`, `app.tally`. */
  readonly trustedFunctions?: readonly string[];
}

/** What decides how the server will read the bytes. */
export interface ScanMode {
  readonly standardConformingStrings: boolean;
  /** `unsafe` for client encodings whose later bytes look like ASCII: see `isSafeEncoding`. */
  readonly encoding: 'safe' | 'unsafe';
}

export interface StatementCatalogStats {
  readonly shapes: number;
  readonly shapeBytes: number;
  /** Texts kept because their literals decide. */
  readonly texts: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  readonly unknown: Readonly<Record<UnknownReason, number>>;
  readonly parsersReplaced: number;
  readonly workerCrashes: number;
  readonly workerQueued: number;
}

/** Kept for a key: facts, or why there are none. */
type Slot = { facts: StatementFacts; reason: UnknownReason };

export class StatementCatalog {
  readonly #scanner = new ShapeScanner();
  readonly #limits: ByteTableLimits;
  #shapes: ByteTable<Slot>;
  #texts: ByteTable<Slot>;
  #memo = new TextMemo();
  readonly #inspectLimitBytes: number;
  #extract: ExtractOptions;
  /** Called when the parser's thread has answered. */
  #afterParse: (() => void)[] = [];
  readonly #parser: InlineParser;
  readonly #worker: ParseWorkerClient;
  /** The statement's own bytes, aligned for the table of texts. */
  #textWords = new Int32Array(1024);
  #hits = 0;
  #misses = 0;
  readonly #unknown: Record<UnknownReason, number> = { unscanned: 0, unparsed: 0, pending: 0, 'too-large': 0, busy: 0 };

  /** Use `createStatementCatalog`. */
  constructor(options: StatementCatalogOptions, parser: InlineParser, worker: ParseWorkerClient) {
    const hashKey = options.hashKey ?? randomHashKey();
    this.#limits = { maxEntries: options.maxEntries, maxBytes: options.maxBytes, hashKey };
    this.#shapes = new ByteTable(this.#limits);
    this.#texts = new ByteTable(this.#limits);
    this.#inspectLimitBytes = Math.min(options.inspectLimitBytes, inspectBytesMax);
    this.#extract = { trustedFunctions: new Set(options.trustedFunctions), deeds: false };
    this.#parser = parser;
    this.#worker = worker;
  }

  /** Whether facts come with deeds. When that changes, all is learnt anew. */
  set withDeeds(wanted: boolean) {
    if (wanted === this.#extract.deeds) return;
    this.#extract = { ...this.#extract, deeds: wanted };
    this.#shapes = new ByteTable(this.#limits);
    this.#texts = new ByteTable(this.#limits);
    this.#memo = new TextMemo();
  }

  /** Calls back once when the parser's thread has answered for the next time: what was pending may be known then. */
  afterParse(callback: () => void): void {
    this.#afterParse.push(callback);
  }

  /** The same as `lookup`, from the text's own parse: locations in the deeds are places in it. */
  lookupText(bytes: Buffer, start: number, end: number, mode: ScanMode): StatementFacts {
    const facts = this.lookup(bytes, start, end, mode);
    if (!facts.known || facts.literalDependent) return facts;
    // The scanner has to hold this text for what follows.
    if (!this.#scanner.scan(bytes, start, end, mode.standardConformingStrings)) return this.#miss('unscanned');
    return this.#ownFacts(bytes, start, end, facts);
  }

  /**
   * Synchronous and, for a shape seen before, without garbage.
   * @param bytes the text is `bytes[start, end)`, without the protocol's closing NUL; not kept
   */
  lookup(bytes: Buffer, start: number, end: number, mode: ScanMode): StatementFacts {
    if (mode.encoding === 'unsafe' && !isAscii(bytes.subarray(start, end))) return this.#miss('unscanned');
    const remembered = this.#memo.find(bytes, start, end);
    if (remembered !== undefined) {
      this.#hits++;
      return remembered;
    }
    if (end - start > this.#inspectLimitBytes) return this.#miss('too-large');
    const scanner = this.#scanner;
    if (!scanner.scan(bytes, start, end, mode.standardConformingStrings)) return this.#miss('unscanned');
    const entry = this.#shapes.find(scanner.words, scanner.length);
    if (entry === undefined) {
      this.#misses++;
      return this.#learnShape(bytes, start, end);
    }
    const facts = entry.value.facts;
    if (facts.literalDependent) return this.#ownFacts(bytes, start, end, facts);
    if (!facts.known) return this.#answerUnknown(entry.value.reason);
    this.#hits++;
    if (scanner.literalCount === 0) this.#memo.keep(bytes, start, end, facts);
    return facts;
  }

  /** Of a text that calls functions that signal a backend: the pids it gives them. Undefined where it is too long to be parsed here. */
  signalledPids(text: Buffer): SignalledPids | undefined {
    if (text.length > inlineParseBytesMax || !isUtf8(text)) return undefined;
    const outcome = this.#parser.parse(text);
    return outcome.kind === 'tree' ? signalledPids(outcome.tree, text) : undefined;
  }

  stats(): StatementCatalogStats {
    return {
      shapes: this.#shapes.size,
      shapeBytes: this.#shapes.bytes,
      texts: this.#texts.size,
      hits: this.#hits,
      misses: this.#misses,
      evictions: this.#shapes.evictions + this.#texts.evictions,
      unknown: { ...this.#unknown },
      parsersReplaced: this.#parser.replaced,
      workerCrashes: this.#worker.crashes,
      workerQueued: this.#worker.queued,
    };
  }

  async close(): Promise<void> {
    await this.#worker.close();
  }

  #miss(reason: UnknownReason): StatementFacts {
    this.#misses++;
    return this.#answerUnknown(reason);
  }

  #answerUnknown(reason: UnknownReason): StatementFacts {
    this.#unknown[reason]++;
    return reason === 'pending' ? PENDING : UNKNOWN;
  }

  /** The shape is parsed, not the text: its facts cannot depend on the literals of whoever came first. */
  #learnShape(bytes: Buffer, start: number, end: number): StatementFacts {
    const { words, length } = this.#scanner;
    const entry = this.#shapes.insert(words, length, { facts: UNKNOWN, reason: 'pending' });
    this.#learn(this.#shapes, entry, (parsed) => withShape(parsed, shapeOf(entry)));
    const facts = entry.value.facts;
    if (facts.literalDependent) return this.#ownFacts(bytes, start, end, facts);
    return facts.known ? facts : this.#answerUnknown(entry.value.reason);
  }

  #ownFacts(bytes: Buffer, start: number, end: number, shapeFacts: StatementFacts): StatementFacts {
    if (!shapeFacts.known || this.#scanner.parserDisagrees) return this.#answerUnknown('unparsed');
    const words = this.#alignedText(bytes, start, end);
    const found = this.#texts.find(words, end - start);
    if (found !== undefined) {
      if (!found.value.facts.known) return this.#answerUnknown(found.value.reason);
      this.#hits++;
      return found.value.facts;
    }
    this.#misses++;
    const { shape, counters } = shapeFacts;
    const entry = this.#texts.insert(words, end - start, { facts: UNKNOWN, reason: 'pending' });
    this.#learn(this.#texts, entry, (parsed) => ({ ...parsed, literalDependent: true, known: true, shape, counters }));
    return entry.value.facts.known ? entry.value.facts : this.#answerUnknown(entry.value.reason);
  }

  /** Parses the entry's key, now or in the parser's thread, and fills the entry. */
  #learn(table: ByteTable<Slot>, entry: ByteEntry<Slot>, complete: (parsed: ParsedFacts) => StatementFacts): void {
    const text = entryBytes(entry);
    const slot = entry.value;
    slot.reason = 'unparsed';
    if (!isUtf8(text)) return;
    if (text.length > inlineParseBytesMax) {
      const accepted = this.#worker.submit(new Uint8Array(text), this.#extract.deeds, (parsed) => {
        slot.reason = 'unparsed';
        if (parsed !== undefined) this.#keep(table, entry, complete(parsed));
        for (const callback of this.#afterParse.splice(0)) callback();
      });
      slot.reason = accepted ? 'pending' : 'busy';
      if (!accepted) table.forget(entry);
      return;
    }
    const outcome = this.#parser.parse(text);
    if (outcome.kind === 'broken') {
      slot.reason = 'busy';
      table.forget(entry);
    } else if (outcome.kind === 'tree') {
      const parsed = this.#factsOf(outcome.tree, text);
      if (parsed !== undefined) this.#keep(table, entry, complete(parsed));
    }
  }

  #keep(table: ByteTable<Slot>, entry: ByteEntry<Slot>, facts: StatementFacts): void {
    entry.value.facts = facts;
    table.weigh(entry, bytesOfFacts(facts));
  }

  #factsOf(tree: unknown, text: Uint8Array): ParsedFacts | undefined {
    try {
      return extractFacts(tree, text, this.#extract);
    } catch (error) {
      // A tree deeper than the stack, where the caller left little of it.
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }

  #alignedText(bytes: Buffer, start: number, end: number): Int32Array {
    const length = end - start;
    if (length + 4 > this.#textWords.byteLength)
      this.#textWords = new Int32Array(2 ** Math.ceil(Math.log2(length + 4)));
    const words = this.#textWords;
    let word = 0;
    for (let i = 0; i < length; i++) {
      word |= bytes[start + i]! << ((i & 3) << 3);
      if ((i & 3) === 3 || i === length - 1) {
        words[i >> 2] = word;
        word = 0;
      }
    }
    return words;
  }
}

function shapeOf(entry: ByteEntry<Slot>): Shape {
  const id = (entry.hashHigh >>> 0).toString(16).padStart(8, '0') + (entry.hashLow >>> 0).toString(16).padStart(8, '0');
  return Object.freeze({ id, text: entryBytes(entry) });
}

function withShape(parsed: ParsedFacts, shape: Shape): StatementFacts {
  return { ...parsed, known: true, shape, counters: { calls: 0, timeUs: 0, rows: 0 } };
}

function randomHashKey(): HashKey {
  const bytes = randomBytes(8);
  return { low: bytes.readInt32LE(0), high: bytes.readInt32LE(4) };
}

/** Compiles the parser (about 0.1 s) and makes an empty catalog. One per thread. */
export async function createStatementCatalog(options: StatementCatalogOptions): Promise<StatementCatalog> {
  const compiled = await compileParser();
  const worker = new ParseWorkerClient({ compiled, trustedFunctions: options.trustedFunctions ?? [] });
  return new StatementCatalog(options, await InlineParser.create(compiled), worker);
}
