// Times a small piece of code that is run over and over: warms it up, cuts the time into slices, and refuses wrong results.

import { median } from '../statistics.js';

/** One thing to time, as it stands in the table. */
export interface Exercise<Tools> {
  readonly name: string;
  prepare(tools: Tools): Promise<Prepared>;
}

export interface Prepared {
  /** What one call works through; each gives a figure of its own. */
  readonly bytes?: number;
  readonly messages?: number;
  /** Does it `calls` times. Returns a sum to which every call's result adds, so that no compiler may leave one out. */
  run(calls: number): number;
  /** What `run` must return. */
  expected(calls: number): number;
}

export interface TimingOptions {
  /** Long beside the clock's step, short beside what the neighbours on the machine do. */
  readonly sliceMs: number;
  readonly slices: number;
  readonly now: () => number;
}

export interface Timing {
  readonly callsPerSlice: number;
  /** Median over the slices. */
  readonly callNs: number;
  /** Of the quickest slice. */
  readonly bestCallNs: number;
}

/** Runs it for at least `ms`. Returns how many calls fill a slice: at least one. */
export function warmUp(prepared: Prepared, ms: number, options: Pick<TimingOptions, 'sliceMs' | 'now'>): number {
  const { sliceMs, now } = options;
  const from = now();
  for (let calls = 1; ; ) {
    const took = timed(prepared, calls, now);
    if (took >= sliceMs / 2 && now() - from >= ms) return Math.max(1, Math.round((calls * sliceMs) / took));
    // The first runs say little of the later ones: grow step by step.
    if (took < sliceMs) calls = Math.ceil(calls * Math.min(10, sliceMs / Math.max(took, sliceMs / 10)));
  }
}

export function timeSlices(prepared: Prepared, callsPerSlice: number, options: TimingOptions): Timing {
  const figures: number[] = [];
  for (let slice = 0; slice < options.slices; slice++) {
    figures.push((timed(prepared, callsPerSlice, options.now) * 1e6) / callsPerSlice);
  }
  return { callsPerSlice, callNs: median(figures), bestCallNs: Math.min(...figures) };
}

function timed(prepared: Prepared, calls: number, now: () => number): number {
  const start = now();
  const sum = prepared.run(calls);
  const took = now() - start;
  const expected = prepared.expected(calls);
  if (sum !== expected) throw new Error(`${calls} calls add up to ${sum}, not ${expected}`);
  return took;
}
