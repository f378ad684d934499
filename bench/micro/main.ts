// The process of one micro round: warms everything up, then times each in the order it was told, a line of JSON each.

import { errorText } from '../samples.js';
import { type Prepared, timeSlices, warmUp } from './exercise.js';
import type { MicroLine, MicroRequest } from './protocol.js';
import { makeStatementTools } from './statements.js';
import { microTable } from './table.js';

const sliceMs = 10;
const now = (): number => performance.now();

const request = JSON.parse(process.argv[2] ?? '') as MicroRequest;
const tools = await makeStatementTools();
const prepared = new Map<string, Prepared>();
const failures = new Map<string, string>();

// All of them before the first is timed: the compiler then knows the mixture, as it does in a process that serves.
for (const name of request.names) {
  try {
    const exercise = microTable.find((one) => one.name === name);
    if (exercise === undefined) throw new Error('no such exercise');
    const one = await exercise.prepare(tools);
    warmUp(one, request.ms / 2, { sliceMs, now });
    prepared.set(name, one);
  } catch (error) {
    failures.set(name, errorText(error));
  }
}
for (const name of request.names) print(line(name));
await tools.close();

function line(name: string): MicroLine {
  const one = prepared.get(name);
  if (one === undefined) return { name, failure: failures.get(name) ?? 'not prepared' };
  try {
    const slices = Math.max(1, Math.round(request.ms / sliceMs));
    const calls = warmUp(one, request.ms / 10, { sliceMs, now });
    const { callNs, bestCallNs } = timeSlices(one, calls, { sliceMs, slices, now });
    const { bytes, messages } = one;
    return {
      ...{ name, callNs, bestCallNs },
      ...(bytes === undefined ? {} : { bytes }),
      ...(messages === undefined ? {} : { messages }),
    };
  } catch (error) {
    return { name, failure: errorText(error) };
  }
}

function print(value: MicroLine): void {
  console.log(JSON.stringify(value));
}
