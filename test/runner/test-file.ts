// Runs one compiled test file to its end, which a limit may bring about: what it asserts, how long it took, and what it left running.

import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { projectRoot } from '../support/project-root.js';
import { stretch, stretched } from '../support/stretch.js';
import { type Failure, type FileCounts, TapResults } from '../support/tap-results.js';
import { kill, killGroup, type Leftover, marked, markName } from './leftovers.js';
import type { RunPlace } from './run-place.js';

export interface FileResult extends FileCounts {
  readonly ms: number;
}

export interface FileOptions {
  readonly place: RunPlace;
  /** Of the file among all that run. */
  readonly number: number;
  /** On an idle machine; longer on a busy one. */
  readonly limitSeconds: number;
  readonly environment: Readonly<Record<string, string>>;
  readonly text: (line: string) => void;
}

const host = fileURLToPath(new URL('./host.js', import.meta.url));
const checkMs = 500;
/** For processes that are about to end by themselves. */
const graceMs = 3_000;
const tapVariable = /^_?TAP(_|$)/;

export class TestFile {
  readonly #options: FileOptions;
  readonly #begin = performance.now();
  readonly #child: ChildProcess;
  readonly #results: TapResults;
  readonly #mark: string;
  readonly #scratch: string;
  #running: readonly string[] = [];
  /** What it has used of its limit: seconds, as far as the machine had time for it. */
  #usedSeconds = 0;

  constructor(path: string, options: FileOptions) {
    this.#options = options;
    this.#mark = `${options.place.mark}-${options.number}-`;
    this.#results = new TapResults(options.text);
    const inherited = Object.entries(process.env).filter(([name]) => !tapVariable.test(name));
    this.#scratch = options.place.scratchOf(options.number);
    const own = options.place.environment(this.#scratch);
    this.#child = spawn(process.execPath, [host, path], {
      // tap's own limits are off: its answer to them is a page of handles.
      env: {
        ...Object.fromEntries(inherited),
        ...own,
        ...options.environment,
        TAP: '1',
        TAP_TIMEOUT: '0',
        [markName]: this.#mark,
      },
      cwd: projectRoot,
      stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
      // A process group of its own, so that all of it can be ended.
      detached: true,
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => this.#results.write(chunk));
    createInterface(this.#child.stdio[3] as Readable).on('line', (line) => {
      this.#running = JSON.parse(line) as string[];
    });
  }

  get seconds(): number {
    return (performance.now() - this.#begin) / 1_000;
  }

  /** The test that runs; empty between two. */
  get running(): string {
    return this.#running.join(' > ');
  }

  /** Ends it and all that it has started. */
  kill(): void {
    if (this.#child.pid !== undefined) killGroup(this.#child.pid);
    kill(marked(this.#mark));
  }

  async finish(): Promise<FileResult> {
    const { place, limitSeconds } = this.#options;
    const leader = this.#child.pid;
    if (leader !== undefined) place.tell({ kind: 'began', leader });
    let late: Failure | undefined;
    const watch = setInterval(() => {
      this.#usedSeconds += checkMs / 1_000 / stretch();
      if (late !== undefined || this.#usedSeconds <= limitSeconds) return;
      late = this.#late();
      this.kill();
    }, checkMs);
    const [how, left] = await Promise.all([ended(this.#child), this.#leftovers()]);
    clearInterval(watch);
    this.kill();
    if (leader !== undefined) place.tell({ kind: 'ended', leader });
    rmSync(this.#scratch, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    const counts = this.#results.end();
    const failures =
      late === undefined ? [...counts.failures, ...complaints(how, counts, left)] : [...counts.failures, late];
    return { ...counts, failures, failed: failures.length, ms: this.seconds * 1_000 };
  }

  /** What runs when the file has ended, and goes on running. */
  async #leftovers(): Promise<readonly Leftover[]> {
    await new Promise((resolve) => {
      this.#child.once('exit', resolve);
      this.#child.once('error', resolve);
    });
    const until = performance.now() + stretched(graceMs);
    let left = marked(this.#mark);
    while (left.length > 0 && performance.now() < until) {
      await sleep(50);
      left = marked(this.#mark);
    }
    // The pipe of standard output is theirs too, and would never close.
    this.kill();
    return left;
  }

  #late(): Failure {
    const { limitSeconds } = this.#options;
    const name = this.running === '' ? 'all tests that have begun are over, but the file does not end' : this.running;
    const limit = `the limit is ${limitSeconds} s of a machine that has nothing else to do`;
    return { name, diagnostics: { reason: `still running after ${this.seconds.toFixed(0)} s; ${limit}` } };
  }
}

type End = { readonly code: number | null; readonly signal: string | null; readonly error?: Error };

function ended(child: ChildProcess): Promise<End> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, error }));
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
}

/** What no assertion says. */
function complaints({ code, signal, error }: End, counts: FileCounts, left: readonly Leftover[]): Failure[] {
  const found: Failure[] = [];
  const say = (reason: string): unknown => found.push({ name: '', diagnostics: { reason } });
  if (error !== undefined) say(`it did not start: ${error.message}`);
  else if (signal !== null) say(`it was ended by ${signal}`);
  else if (counts.passed + counts.failed + counts.skipped === 0) say('it asserts nothing');
  else if (!counts.complete) say('it stopped in the middle');
  else if (code !== 0 && counts.failed === 0) say(`it ended with ${code} although no assertion failed`);
  for (const { pid, command } of left) say(`process ${pid} was left running: ${command}`);
  return found;
}
