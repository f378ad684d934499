// All runs of a results directory as one picture, SVG: for each work, weir against PgBouncer over time, in transactions and in processor time.

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { byRound } from './report.js';
import type { Metric, Sample } from './samples.js';
import { pairByRound, type Summary, summarise } from './statistics.js';

/** What of a results file is drawn. */
export interface PastRun {
  /** ISO 8601. */
  readonly startedAt: string;
  readonly commit: string;
  readonly samples: readonly Sample[];
}

const [ours, theirs] = ['weir', 'pgbouncer'] as const;
const measures = [
  { metric: 'transactionsPerS', title: 'transactions/s', colour: '#1a6' },
  { metric: 'poolerCpuUs', title: 'processor time a transaction', colour: '#c50' },
] as const satisfies readonly { metric: Metric; title: string; colour: string }[];

const panel = { width: 360, height: 180, left: 40, right: 12, top: 26, bottom: 24 } as const;
const columns = 3;
const headHeight = 44;
/** The axis is logarithmic: twice and half as much are as far from 1. */
const ratioMax = 4;
const gridRatios = [0.25, 0.5, 1, 2, 4] as const;

/** Reads every `*.json` in the directory and writes `runs.svg` beside them. @returns its path */
export async function drawHistory(directory: string): Promise<string> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.json')).sort();
  const runs: PastRun[] = [];
  for (const name of names) {
    const run = readRun(await readFile(join(directory, name), 'utf8'));
    if (run !== undefined) runs.push(run);
  }
  const path = join(directory, 'runs.svg');
  await writeFile(path, historySvg(runs));
  return path;
}

/** @returns undefined for what is no results file */
export function readRun(text: string): PastRun | undefined {
  try {
    const run = JSON.parse(text) as Partial<PastRun> & { readonly format?: unknown };
    if (run.format !== 1 || typeof run.startedAt !== 'string' || !Array.isArray(run.samples)) return undefined;
    return { startedAt: run.startedAt, commit: String(run.commit ?? ''), samples: run.samples };
  } catch {
    return undefined;
  }
}

/** @param runs in the order they are drawn */
export function historySvg(runs: readonly PastRun[]): string {
  const works = [...new Set(runs.flatMap(({ samples }) => samples.map(({ work }) => work)))].filter((work) =>
    runs.some((run) => ratioOf(run, work, 'transactionsPerS') !== undefined),
  );
  const rows = Math.max(1, Math.ceil(works.length / columns));
  const [width, height] = [columns * panel.width, headHeight + rows * panel.height];
  const legend = measures.map(
    ({ title, colour }, i) =>
      `<circle cx="${20 + i * 170}" cy="32" r="4" fill="${colour}"/><text x="${30 + i * 170}" y="36">${title}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="14" y="18" font-size="14">${ours} / ${theirs}, median and spread of the rounds of each run</text>`,
    ...legend,
    ...works.flatMap((work, i) => {
      const [x, y] = [(i % columns) * panel.width, headHeight + Math.floor(i / columns) * panel.height];
      return [`<g transform="translate(${x} ${y})">`, ...panelLines(work, runs), '</g>'];
    }),
    '</svg>',
    '',
  ].join('\n');
}

function panelLines(work: string, runs: readonly PastRun[]): string[] {
  const lines = [`<text x="${panel.left}" y="16" font-weight="bold">${escapeText(work)}</text>`];
  for (const ratio of gridRatios) {
    const y = yOf(ratio);
    const stroke = ratio === 1 ? '#666' : '#ddd';
    lines.push(`<line x1="${panel.left}" x2="${panel.width - panel.right}" y1="${y}" y2="${y}" stroke="${stroke}"/>`);
    lines.push(`<text x="${panel.left - 6}" y="${y + 4}" text-anchor="end" fill="#666">${ratio}</text>`);
  }
  for (const { metric, colour } of measures) {
    for (const [i, run] of runs.entries()) {
      const ratio = ratioOf(run, work, metric);
      if (ratio === undefined) continue;
      const x = xOf(i, runs.length);
      const label = `${run.startedAt.slice(0, 16)} ${run.commit}: ${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}..${ratio.max.toFixed(2)})`;
      lines.push(
        `<line x1="${x}" x2="${x}" y1="${yOf(ratio.min)}" y2="${yOf(ratio.max)}" stroke="${colour}"/>`,
        `<circle cx="${x}" cy="${yOf(ratio.median)}" r="4" fill="${colour}"><title>${escapeText(label)}</title></circle>`,
      );
    }
  }
  return lines;
}

function ratioOf({ samples }: PastRun, work: string, metric: Metric): Summary | undefined {
  const figures = (target: string): ReadonlyMap<number, number> => byRound(samples, work, target, metric);
  return summarise(pairByRound(figures(ours), figures(theirs), (our, their) => our / their));
}

function xOf(index: number, count: number): number {
  const room = panel.width - panel.left - panel.right;
  return round(panel.left + (room * (index + 0.5)) / Math.max(1, count));
}

function yOf(ratio: number): number {
  const room = panel.height - panel.top - panel.bottom;
  const within = Math.min(ratioMax, Math.max(1 / ratioMax, ratio));
  return round(panel.top + (room * (1 - Math.log2(within) / Math.log2(ratioMax))) / 2);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
