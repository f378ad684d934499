// Turns samples into the tables a person reads: medians, spreads, and ratios taken within each round.

import type { Metric, Sample } from './samples.js';
import { pairByRound, type Summary, summarise } from './statistics.js';
import type { Work, WorkKind } from './works.js';

interface Column {
  readonly metric: Metric;
  readonly title: string;
  readonly digits: number;
  /** How it is set against another target of the same round. */
  readonly against: 'ratio' | 'difference' | 'nothing';
}

interface Section {
  readonly title: string;
  readonly columns: readonly Column[];
}

const poolerCpu: Column = { metric: 'poolerCpuUs', title: 'pooler CPU us', digits: 1, against: 'ratio' };
const postgresCpu: Column = { metric: 'postgresCpuUs', title: 'PostgreSQL CPU us', digits: 1, against: 'nothing' };
const p50: Column = { metric: 'p50Ms', title: 'p50 ms', digits: 2, against: 'difference' };
const p99: Column = { metric: 'p99Ms', title: 'p99 ms', digits: 2, against: 'difference' };
const p999: Column = { metric: 'p999Ms', title: 'p99.9 ms', digits: 2, against: 'difference' };
const requests: Column = { metric: 'requestsPerS', title: 'requests/s', digits: 0, against: 'ratio' };

const sections: Readonly<Record<WorkKind, Section>> = {
  throughput: {
    title: 'Throughput (as fast as it goes)',
    columns: [
      { metric: 'transactionsPerS', title: 'transactions/s', digits: 0, against: 'ratio' },
      poolerCpu,
      postgresCpu,
    ],
  },
  'fixed-rate': { title: 'Latency at a fixed rate', columns: [p50, p99, p999, poolerCpu] },
  memory: {
    title: 'Memory: per idle client; more per waiting client; more per server connection in use by a client',
    columns: [{ metric: 'heldKb', title: 'kB each', digits: 2, against: 'ratio' }],
  },
  serverless: { title: 'HTTP function, a connection per request', columns: [requests, p50, p99, poolerCpu] },
  'metrics-page': { title: 'Metrics page', columns: [requests, p50, p99, poolerCpu] },
  micro: {
    title: 'Inside one process, without sockets',
    columns: [
      { metric: 'callNs', title: 'ns/call', digits: 0, against: 'nothing' },
      { metric: 'bestCallNs', title: 'quickest slice', digits: 0, against: 'nothing' },
      { metric: 'byteNs', title: 'ns/byte', digits: 2, against: 'nothing' },
      { metric: 'messageNs', title: 'ns/message', digits: 0, against: 'nothing' },
    ],
  },
};

export interface ReportInput {
  readonly works: readonly Work[];
  /** In the order of the table. */
  readonly targets: readonly string[];
  /** Those of them that the others are set against. */
  readonly baselines: readonly string[];
  readonly samples: readonly Sample[];
}

export function report(input: ReportInput): string {
  const kinds = [...new Set(input.works.map((work) => work.kind))];
  const parts = kinds.map((kind) => {
    const section = sections[kind];
    const works = input.works.filter((work) => work.kind === kind);
    return [section.title, ...sectionLines(input, section, works)].join('\n');
  });
  const notes = noteLines(input.samples);
  if (notes.length > 0) parts.push(['Failures and what does not apply', ...notes].join('\n'));
  return `${parts.join('\n\n')}\n`;
}

function sectionLines(input: ReportInput, section: Section, works: readonly Work[]): string[] {
  const rivals = input.baselines.filter((name) => input.targets.includes(name));
  const header = ['work', 'target', ...section.columns.flatMap((column) => columnTitles(column, rivals)), 'failed'];
  const rows = works.flatMap((work) =>
    input.targets
      .filter((target) => input.samples.some((sample) => sample.work === work.name && sample.target === target))
      .map((target) => [
        work.name,
        target,
        ...section.columns.flatMap((column) => columnCells(input.samples, work.name, target, column, rivals)),
        failureCell(input.samples, work.name, target),
      ]),
  );
  return align([header, ...rows]);
}

function columnTitles(column: Column, rivals: readonly string[]): string[] {
  const sign = { ratio: '/', difference: '-', nothing: '' }[column.against];
  return [column.title, ...(sign === '' ? [] : rivals.map((rival) => `${sign} ${rival}`))];
}

function columnCells(
  samples: readonly Sample[],
  work: string,
  target: string,
  column: Column,
  rivals: readonly string[],
): string[] {
  const ours = byRound(samples, work, target, column.metric);
  const own = summaryCell(summarise([...ours.values()]), column.digits);
  if (column.against === 'nothing') return [own];
  const digits = Math.max(2, column.digits);
  const combine = column.against === 'ratio' ? quotient : difference;
  const others = rivals.map((rival) => {
    if (rival === target) return '';
    const paired = pairByRound(ours, byRound(samples, work, rival, column.metric), combine);
    return summaryCell(summarise(paired), digits);
  });
  return [own, ...others];
}

/** Figures of one metric of one work on one target, by round. */
export function byRound(
  samples: readonly Sample[],
  work: string,
  target: string,
  metric: Metric,
): ReadonlyMap<number, number> {
  const values = new Map<number, number>();
  for (const sample of samples) {
    if (sample.work !== work || sample.target !== target || sample.outcome.kind !== 'measured') continue;
    const value = sample.outcome.metrics[metric];
    if (value !== undefined) values.set(sample.round, value);
  }
  return values;
}

function quotient(our: number, their: number): number {
  return our / their;
}

function difference(our: number, their: number): number {
  return our - their;
}

/** The median and, from two rounds on, the least and the greatest. */
function summaryCell(summary: Summary | undefined, digits: number): string {
  if (summary === undefined) return '';
  const text = (value: number): string => value.toFixed(digits);
  if (summary.rounds === 1) return text(summary.median);
  return `${text(summary.median)} (${text(summary.min)}..${text(summary.max)})`;
}

function failureCell(samples: readonly Sample[], work: string, target: string): string {
  const own = samples.filter((sample) => sample.work === work && sample.target === target);
  const failures = own.filter((sample) => sample.outcome.kind === 'failed').length;
  if (failures > 0) return `${failures} of ${own.length}`;
  return own.some((sample) => sample.outcome.kind === 'not-applicable') ? 'n/a' : '';
}

/** Each different failure by itself; what does not apply gathered by target and reason. */
function noteLines(samples: readonly Sample[]): string[] {
  const failures = new Set<string>();
  const inapplicable = new Map<string, Set<string>>();
  for (const { work, target, outcome } of samples) {
    switch (outcome.kind) {
      case 'measured':
        break;
      case 'failed':
        failures.add(`  ${work} on ${target} FAILED: ${outcome.message.replaceAll('\n', '\n      ')}`);
        break;
      case 'not-applicable': {
        const reason = `${target}: ${outcome.why}`;
        const works = inapplicable.get(reason);
        if (works === undefined) inapplicable.set(reason, new Set([work]));
        else works.add(work);
        break;
      }
      default:
        outcome satisfies never;
    }
  }
  return [...failures, ...[...inapplicable].map(([reason, works]) => `  n/a on ${reason} (${[...works].join(', ')})`)];
}

/** Names to the left, figures to the right; columns without a single cell are left out. */
function align(rows: readonly (readonly string[])[]): string[] {
  const [header = [], ...body] = rows;
  const kept = header.map((_, column) => column).filter((column) => body.some((row) => (row[column] ?? '') !== ''));
  const widths = kept.map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) => {
    const cells = kept.map((column, i) => {
      const cell = row[column] ?? '';
      return column < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0);
    });
    return `  ${cells.join('  ')}`.trimEnd();
  });
}
