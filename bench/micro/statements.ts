// What it costs to know a statement: the scanner alone, a look-up that hits, one that misses, and PostgreSQL's parser alone.

import { setTimeout as delay } from 'node:timers/promises';
import { createStatementCatalog, type ScanMode, type StatementCatalog } from '../../lib/sql/index.js';
import { compileParser, ParserInstance } from '../../lib/sql/parser-instance.js';
import { ShapeScanner } from '../../lib/sql/shape-scanner.js';
import type { Exercise } from './exercise.js';
import {
  inList,
  insertValues,
  join,
  joinShapeOf,
  pointQuery,
  pointQueryWithParameter,
  setText,
  shapeOf,
  type TextOf,
} from './texts.js';

export interface StatementTools {
  /** Never full: what was looked up once is a hit from then on. */
  readonly seen: StatementCatalog;
  /** So small that it is full at once: a miss pays for what it drives out. */
  readonly small: StatementCatalog;
  readonly scanner: ShapeScanner;
  readonly parser: ParserInstance;
  close(): Promise<void>;
}

export async function makeStatementTools(): Promise<StatementTools> {
  const limits = { maxBytes: 32 << 20, inspectLimitBytes: 1 << 20 };
  const seen = await createStatementCatalog({ ...limits, maxEntries: 10_000 });
  const small = await createStatementCatalog({ ...limits, maxEntries: 500 });
  return {
    ...{ seen, small },
    scanner: new ShapeScanner(),
    parser: await ParserInstance.create(await compileParser()),
    close: async () => {
      await seen.close();
      await small.close();
    },
  };
}

export const scanMode: ScanMode = { standardConformingStrings: true, encoding: 'safe' };
const firstNumber = 1_000_000;

export const statementExercises: readonly Exercise<StatementTools>[] = [
  loopItself(),
  scan('point-query', pointQuery, 512),
  scan('join-200', join, 512),
  scan('in-list-4k', inList, 64),
  scan('insert-100k', insertValues, 4),
  hit('same-text', pointQuery, 1),
  hit('same-text-no-literal', () => pointQueryWithParameter, 1),
  hit('other-literals', pointQuery, 512),
  hit('join-200', join, 512),
  hit('in-list-4k', inList, 64),
  hit('insert-100k', insertValues, 4),
  hit('thousand-shapes', shapeOf, 1_000),
  hit('literal-decides', setText, 16),
  miss('point-query', shapeOf),
  miss('join-200', joinShapeOf),
  miss('literal-decides', setText),
  parse('point-query', pointQuery),
  parse('join-200', join),
];

/** What all others contain, and none can be below. */
function loopItself(): Exercise<StatementTools> {
  return {
    name: 'loop-itself',
    prepare: async () => {
      const next = cycle(buffersOf(pointQuery, 512));
      return {
        run: (calls) => {
          let sum = 0;
          for (let i = 0; i < calls; i++) sum += next().length;
          return sum;
        },
        expected: (calls) => calls * pointQuery(firstNumber).length,
      };
    },
  };
}

function scan(name: string, text: TextOf, variants: number): Exercise<StatementTools> {
  return {
    name: `scan/${name}`,
    prepare: async ({ scanner }) => {
      const buffers = buffersOf(text, variants);
      const next = cycle(buffers);
      const shapeBytes = same(buffers.map((buffer) => scanned(scanner, buffer)));
      return {
        bytes: same(buffers.map((buffer) => buffer.length)),
        run: (calls) => {
          let sum = 0;
          for (let i = 0; i < calls; i++) {
            const buffer = next();
            if (scanner.scan(buffer, 0, buffer.length, true)) sum += scanner.length;
          }
          return sum;
        },
        expected: (calls) => calls * shapeBytes,
      };
    },
  };
}

function hit(name: string, text: TextOf, variants: number): Exercise<StatementTools> {
  return {
    name: `hit/${name}`,
    prepare: async ({ seen }) => {
      const buffers = buffersOf(text, variants);
      for (const buffer of buffers) await learn(seen, buffer);
      const next = cycle(buffers);
      return {
        bytes: same(buffers.map((buffer) => buffer.length)),
        run: (calls) => {
          const before = seen.stats().hits;
          let known = 0;
          for (let i = 0; i < calls; i++) {
            const buffer = next();
            if (seen.lookup(buffer, 0, buffer.length, scanMode).known) known++;
          }
          return known + seen.stats().hits - before;
        },
        expected: (calls) => calls * 2,
      };
    },
  };
}

function miss(name: string, text: TextOf): Exercise<StatementTools> {
  return {
    name: `miss/${name}`,
    prepare: async ({ small }) => {
      const buffer = Buffer.from(text(firstNumber));
      const digits = buffer.indexOf(String(firstNumber));
      let number = firstNumber;
      return {
        bytes: buffer.length,
        run: (calls) => {
          const before = small.stats().misses;
          let known = 0;
          for (let i = 0; i < calls; i++) {
            writeDigits(buffer, digits, ++number);
            if (small.lookup(buffer, 0, buffer.length, scanMode).known) known++;
          }
          // The first text whose literal decides misses twice: its shape is new as well.
          return known + Math.min(calls, small.stats().misses - before);
        },
        expected: (calls) => calls * 2,
      };
    },
  };
}

/** The part of a miss that is not weir's: the tree as JSON, and JSON parsed. */
function parse(name: string, text: TextOf): Exercise<StatementTools> {
  return {
    name: `parse/${name}`,
    prepare: async ({ parser }) => {
      const next = cycle(buffersOf(text, 16));
      return {
        bytes: text(firstNumber).length,
        run: (calls) => {
          let trees = 0;
          for (let i = 0; i < calls; i++) if (parser.parse(next()).kind === 'tree') trees++;
          return trees;
        },
        expected: (calls) => calls,
      };
    },
  };
}

function buffersOf(text: TextOf, variants: number): Buffer[] {
  return Array.from({ length: variants }, (_, i) => Buffer.from(text(firstNumber + i * 7)));
}

/** Gives them in turn, and goes on from one slice to the next where it was. */
function cycle(buffers: readonly Buffer[]): () => Buffer {
  let at = 0;
  return () => {
    at = at + 1 < buffers.length ? at + 1 : 0;
    return buffers[at]!;
  };
}

/** The length of the shape, or NaN, which is the same as nothing. */
function scanned(scanner: ShapeScanner, buffer: Buffer): number {
  return scanner.scan(buffer, 0, buffer.length, true) ? scanner.length : Number.NaN;
}

/** The value all of them have. */
function same(values: readonly number[]): number {
  const [first = Number.NaN] = values;
  if (values.some((value) => value !== first)) throw new Error('the texts are not of one kind');
  return first;
}

/** Waits until its facts are there: long shapes are parsed in a thread. */
async function learn(catalog: StatementCatalog, buffer: Buffer): Promise<void> {
  const waitMsMax = 10_000;
  const until = performance.now() + waitMsMax;
  while (!catalog.lookup(buffer, 0, buffer.length, scanMode).known) {
    if (performance.now() > until) throw new Error(`stays unknown: ${buffer.toString('utf8', 0, 60)}`);
    await delay(5);
  }
}

/** In place: cheap beside a miss, and no garbage of the bench's own. */
function writeDigits(buffer: Buffer, at: number, number: number): void {
  let rest = number;
  for (let i = at + 6; i >= at; i--) {
    buffer[i] = 48 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}
