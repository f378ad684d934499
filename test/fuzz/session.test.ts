// Random sessions of several clients see through weir, over one or two servers, exactly what each sees on a connection of its own.

import { appendFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { postgresVersions, startPostgres } from '../support/index.js';
import { type Kind, kinds } from './session/pieces.js';
import { type Form, Playground, type TargetKind } from './session/playground.js';
import { playProgram, printFailure } from './session/program.js';

/**
 * Documented limits, to be asked for by name: several batches in one write, of which an early one fails; the list of
 * statements, without those that cannot be prepared any more; other encodings, which pin where the programs do not expect it.
 */
const apart: ReadonlySet<Kind> = new Set<Kind>(['syncs', 'names', 'encodings', 'constants']);

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 20_000);
/** Unless told how many steps: fewer of them on a slow machine. */
const msMax = process.env['STEPS'] === undefined ? 85_000 : Number.POSITIVE_INFINITY;
/** Classes of steps to draw from, with commas; with `-` in front all but those. */
const wanted = readKinds(process.env['KINDS'] ?? '');
/** `direct` puts PostgreSQL itself in the place of weir: shows that programs are deterministic. */
const target: TargetKind = process.env['TARGET'] === 'direct' ? 'direct' : 'weir';
const version = postgresVersions.find((each) => each === Number(process.env['PGVERSION'] ?? 18)) ?? 18;
const form: Form = {
  workers: Number(process.env['WORKERS'] ?? 1),
  lanes: process.env['LANES'] === 'off' ? 'off' : 'auto',
  base: readBase(process.env['BASE']),
};
/** The other ways weir can serve the same sessions, where none has been asked for. */
const otherForms: readonly Form[] = [
  { workers: 1, lanes: 'off', base: 'none' },
  { workers: 2, lanes: 'auto', base: 'none' },
  { workers: 2, lanes: 'off', base: 'none' },
  { workers: 4, lanes: 'auto', base: 'none' },
  { workers: 1, lanes: 'auto', base: 'settings' },
  { workers: 1, lanes: 'auto', base: 'role' },
];
const otherSteps = 2_000;
/** How many failing programs to find before giving up. */
const failuresMax = Number(process.env['FAILURES'] ?? 1);
/** Differences in whose answers this is found end a program, but are not failures: to look past what is known. */
const known = process.env['KNOWN'] === undefined ? undefined : new RegExp(process.env['KNOWN']);
/** A file the failures are appended to. */
const reportFile = process.env['REPORT'];
const selfCheckSteps = 300;

function readBase(name: string | undefined): Form['base'] {
  return name === 'settings' || name === 'role' ? name : 'none';
}

function readKinds(list: string): ReadonlySet<Kind> {
  const names = list.replace(/^-/, '').split(',').filter(Boolean);
  const unknown = names.filter((name) => !(kinds as readonly string[]).includes(name));
  if (unknown.length > 0) throw new Error(`KINDS may be ${kinds.join(', ')}; not ${unknown.join(', ')}`);
  if (names.length === 0) return new Set(kinds.filter((kind) => !apart.has(kind)));
  return new Set(kinds.filter((kind) => names.includes(kind) !== list.startsWith('-')));
}

const server = await startPostgres({ version, hba: 'host all all all trust' });
t.teardown(() => server.stop());

async function play(t: Test, kind: TargetKind, stepsMax: number, as = form): Promise<void> {
  const playground = await Playground.create(server, kind, as);
  const until = performance.now() + msMax;
  let done = 0;
  let lines = 0;
  let failures = 0;
  for (let program = 0; done < stepsMax && failures < failuresMax && performance.now() < until; program++) {
    const outcome = await playProgram(playground, seed, program, wanted, known);
    done += outcome.steps;
    lines += outcome.lines;
    if (outcome.failure !== undefined) {
      failures++;
      const text = printFailure(outcome.failure);
      if (reportFile !== undefined) appendFileSync(reportFile, `${text}\n`);
      t.fail(`program ${program} of SEED=${seed}`, { found: text });
    }
    if (program % 1_000 === 999) t.comment(`${program + 1} programs, ${done} steps, ${failures} failures`);
  }
  t.equal(failures, 0, `${done} steps looked the same`);
  t.ok(lines > done, `${lines} messages were compared`);
  await playground.stop();
  t.equal(playground.leaks, 0, 'no server had what weir did not believe it to have');
  t.comment(`${playground.reads} reads on lanes`);
}

t.test(`a program is the same each time it runs on PostgreSQL (SEED=${seed})`, (t) =>
  play(t, 'direct', selfCheckSteps),
);

t.test(`sessions through ${target} are sessions (SEED=${seed} STEPS=${steps})`, (t) => play(t, target, steps));

const asked = ['WORKERS', 'LANES', 'BASE'].some((name) => process.env[name] !== undefined);
if (target === 'weir' && !asked) {
  for (const other of otherForms)
    t.test(`also in ${other.workers} processes with lanes ${other.lanes}, base ${other.base}`, (t) =>
      play(t, target, Math.min(steps, otherSteps), other),
    );
}
