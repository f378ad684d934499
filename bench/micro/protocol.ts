// What the bench asks of the process of a micro round, and what that answers: a line of JSON for each exercise.

import { failed, measured, type Outcome } from '../samples.js';

export interface MicroRequest {
  /** In the order in which they are timed. */
  readonly names: readonly string[];
  /** How long each is timed. */
  readonly ms: number;
}

export type MicroLine =
  | {
      readonly name: string;
      readonly callNs: number;
      readonly bestCallNs: number;
      readonly bytes?: number;
      readonly messages?: number;
    }
  | { readonly name: string; readonly failure: string };

/** Outcomes by the names of their exercises. Throws at a line that is not one. */
export function readMicroLines(stdout: string): Map<string, Outcome> {
  const outcomes = new Map<string, Outcome>();
  for (const line of stdout.split('\n')) {
    if (line === '') continue;
    const value: unknown = JSON.parse(line);
    if (!isRecord(value) || typeof value['name'] !== 'string') throw new Error(`not a figure: ${line}`);
    outcomes.set(value['name'], outcomeOf(value));
  }
  return outcomes;
}

function outcomeOf(line: Readonly<Record<string, unknown>>): Outcome {
  const { callNs, bestCallNs, bytes, messages, failure } = line;
  if (typeof failure === 'string') return failed(failure);
  if (!isPositive(callNs) || !isPositive(bestCallNs)) return failed(`no figure in ${JSON.stringify(line)}`);
  return measured({
    ...{ callNs, bestCallNs },
    ...(isPositive(bytes) ? { byteNs: callNs / bytes } : {}),
    ...(isPositive(messages) ? { messageNs: callNs / messages } : {}),
  });
}

function isPositive(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
