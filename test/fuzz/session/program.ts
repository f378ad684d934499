// Plays one random program, and when the sides differ looks for fewer steps that make them differ in the same way.

import { Random } from '../../support/random.js';
import { drawConnect, drawStep, type Memory, newMemory } from './generate.js';
import type { Kind, Scene } from './pieces.js';
import { restartPayloads } from './pieces.js';
import type { Playground } from './playground.js';
import { type Difference, Run, type Setup } from './run.js';
import { type Act, checkSql, type Message, printStep, type Step } from './steps.js';

export interface Failure {
  readonly seed: number;
  readonly program: number;
  readonly setup: Setup;
  readonly steps: readonly Step[];
  readonly difference: Difference;
  /** Whether it happens in a weir that has seen nothing before. */
  readonly alone: boolean;
}

export interface Outcome {
  readonly steps: number;
  readonly lines: number;
  readonly failure: Failure | undefined;
}

const withinMs = 4_000;
const shrinkWithinMs = 1_500;
const shrinkMs = 25_000;

export async function playProgram(
  playground: Playground,
  seed: number,
  program: number,
  wanted: ReadonlySet<Kind>,
  known: RegExp | undefined,
): Promise<Outcome> {
  const random = new Random(Math.imul(seed, 0x9e3779b1) + program);
  const setup: Setup = {
    clients: 2 + random.below(3),
    poolSize: random.oneIn(3) ? 2 : 1,
    superuser: random.oneIn(3),
    sequencesPin: random.oneIn(6) && wanted.has('sequencepin'),
    sequencesAsked: random.oneIn(4) && wanted.has('sequences'),
  };
  await playground.tidy();
  const run = new Run(setup, playground.direct(setup), await playground.target(setup), withinMs);
  const difference = (await playSteps(run, setup, random, wanted)) ?? (await run.finish(wanted));
  await run.abandon();
  const { steps, lines } = run;
  if (difference === undefined) return { steps: steps.length, lines, failure: undefined };
  if (known?.test([signature(difference), ...difference.found].join('\n')) === true) {
    await playground.renew();
    return { steps: steps.length, lines, failure: undefined };
  }
  const failure = await shrink(
    playground,
    { seed, program, setup, steps: [...steps], difference, alone: false },
    wanted,
  );
  await playground.renew();
  return { steps: steps.length, lines, failure };
}

async function playSteps(
  run: Run,
  setup: Setup,
  random: Random,
  wanted: ReadonlySet<Kind>,
): Promise<Difference | undefined> {
  restartPayloads();
  const memories: Memory[] = Array.from({ length: setup.clients }, newMemory);
  let current = 0;
  for (let left = 60 + random.below(120); left > 0; left--) {
    if (random.oneIn(2)) current = random.below(setup.clients);
    const able = memories.map((_, client) => client).filter((client) => run.able(client));
    const client = able.includes(current) ? current : random.pick(able);
    const scene: Scene = {
      random,
      client,
      incarnation: run.incarnation(client),
      superuser: setup.superuser,
      sequencesPin: setup.sequencesPin,
      status: run.status(client),
      has: (kind) => wanted.has(kind) && (kind !== 'sequences' || setup.sequencesAsked),
      believed: (memories[client] as Memory).believed,
    };
    const blocks = memories.some((_, other) => !run.able(other));
    const { believed } = memories[client] as Memory;
    const before = [...believed];
    for (const step of drawSteps(run, scene, memories[client] as Memory, blocks)) {
      const difference = await run.step(step);
      if (difference !== undefined) return difference;
    }
    if (run.failed) {
      believed.clear();
      for (const each of before) believed.add(each);
    }
  }
  return undefined;
}

/** @param blocks somebody waits for a server this client may hold */
function drawSteps(run: Run, scene: Scene, memory: Memory, blocks: boolean): Step[] {
  const { random, client, status } = scene;
  const connect = (): Step => {
    memory.believed.clear();
    return { client, act: drawConnect(scene), trace: 0 };
  };
  if (status === '') return [connect()];
  if (scene.has('reconnect') && random.oneIn(80)) return [connect()];
  if (blocks && run.holding(client) && random.oneIn(6)) {
    if (run.holdsOn(client)) return [connect()];
    const ending = random.pick(['commit', 'rollback']);
    const letGo = random.weighted([
      [3, ['discard all']],
      [
        3,
        [
          'drop table if exists pg_temp.tt1, pg_temp.tt2, pg_temp.shadowed',
          'select pg_advisory_unlock_all()',
          'close all',
        ],
      ],
      [2, []],
    ] as const);
    return [...(status === 'I' ? [] : [ending]), ...letGo, checkSql].map((sql) => ({
      client,
      act: sends(sql),
      trace: 0,
    }));
  }
  return [{ client, ...drawStep(scene, memory) }];
}

function sends(text: string): Act {
  return { kind: 'send', messages: [{ say: 'query', text }] };
}

async function replay(
  playground: Playground,
  setup: Setup,
  steps: readonly Step[],
  wanted: ReadonlySet<Kind>,
): Promise<{ difference: Difference | undefined; steps: readonly Step[] }> {
  await playground.renew();
  await playground.tidy();
  const run = new Run(setup, playground.direct(setup), await playground.target(setup), shrinkWithinMs);
  let difference: Difference | undefined;
  for (const step of steps) {
    difference = await run.step(step);
    if (difference !== undefined) break;
  }
  difference ??= await run.finish(wanted);
  await run.abandon();
  return { difference, steps: [...run.steps] };
}

/** What two differences have in common when they have one cause. */
export function signature({ expected, found }: Difference): string {
  let at = 0;
  while (expected[at] === found[at] && at < expected.length) at++;
  const shape = (text = 'nothing'): string => text.replace(/\d+/g, '0').slice(0, 60);
  return `${shape(expected[at])} / ${shape(found[at])}`;
}

/** Leaves out steps, halves first, single ones then, messages and statements last, as long as the difference stays. */
async function shrink(playground: Playground, failure: Failure, wanted: ReadonlySet<Kind>): Promise<Failure> {
  const until = performance.now() + shrinkMs;
  const kind = signature(failure.difference);
  let best = failure;
  const accepts = async (steps: readonly Step[]): Promise<boolean> => {
    if (performance.now() > until) return false;
    const { difference, steps: done } = await replay(playground, best.setup, steps, wanted);
    if (difference === undefined || signature(difference) !== kind) return false;
    best = { ...best, steps: done, difference, alone: true };
    return true;
  };
  if (!(await accepts(failure.steps))) return failure;
  for (let size = Math.ceil(best.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let end = best.steps.length; end > 0; end = Math.min(end - size, best.steps.length)) {
      const steps = best.steps.filter((_, index) => index < end - size || index >= end);
      if (steps.length > 0) await accepts(steps);
    }
  }
  for (let index = best.steps.length - 1; index >= 0; index--) {
    for (let smaller = smallerSteps(best.steps[index]); smaller.length > 0; ) {
      const step = smaller.shift() as Step;
      if (await accepts(best.steps.with(index, step))) smaller = smallerSteps(best.steps[index]);
    }
  }
  return best;
}

/** The step without one of its messages, or without one of the statements of a Query. */
function smallerSteps(step: Step | undefined): Step[] {
  if (step === undefined || step.act.kind !== 'send') return [];
  const { messages } = step.act;
  const send = (fewer: readonly Message[]): Step => ({ ...step, act: { kind: 'send', messages: fewer } });
  const without = messages.slice(0, -1).map((_, index) => send(messages.toSpliced(index, 1)));
  for (const [index, message] of messages.entries()) {
    const parts = message.say === 'query' ? message.text.split('; ') : [];
    if (message.say !== 'query' || parts.length < 2) continue;
    for (const [part] of parts.entries())
      without.push(send(messages.with(index, { ...message, text: parts.toSpliced(part, 1).join('; ') })));
  }
  return without;
}

export function printFailure({ seed, program, setup, steps, difference, alone }: Failure): string {
  return [
    `SEED=${seed}, program ${program}, ${JSON.stringify(setup)}${alone ? '' : ', not alone: depends on programs before'}`,
    signature(difference),
    ...steps.map(printStep),
    ...difference.expected.map((line, index) => `  direct   ${excerpt(line, difference.found[index])}`),
    ...difference.found.map((line, index) => `  through  ${excerpt(line, difference.expected[index])}`),
    '',
  ].join('\n');
}

/** Of a long line the part where it is not like the other. */
function excerpt(line: string, other = ''): string {
  if (line.length < 300) return line;
  let at = 0;
  while (line[at] === other[at] && at < line.length) at++;
  return `${line.slice(0, 60)} ... ${line.slice(Math.max(60, at - 60), at + 140)}`;
}
