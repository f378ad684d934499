// Weir's end of the watchdog: starts it, has it run and end one program at a time, and learns when that program is gone.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { assert, PoolerError } from '../util/index.js';
import { identify, type ProcessIdentity, signalProcess } from './process-identity.js';
import { type EndSignal, fromWatchdog, type Program, type ToWatchdog } from './watchdog-messages.js';

/** `undefined` code and signal: nobody saw the end, because the watchdog itself was killed. */
export interface ProgramExit {
  readonly code?: number | undefined;
  readonly signal?: string | undefined;
}

export interface RunningProgram {
  readonly pid: number;
  readonly exited: Promise<ProgramExit>;
}

const lineCharactersMax = 8_192;
const disconnectMsMax = 30_000;

export class Guard {
  readonly #watchdog: ChildProcess;
  readonly #gone: Promise<void>;
  #program: Waiting | undefined;

  private constructor(watchdog: ChildProcess, gone: Promise<void>) {
    this.#watchdog = watchdog;
    this.#gone = gone;
  }

  /**
   * @param directories removed by the watchdog when it ends, however weir ends
   * @param log is given every line that a program writes
   */
  static async start(directories: readonly string[], log: (line: string) => void): Promise<Guard> {
    const watchdog = fork(fileURLToPath(new URL('./watchdog.js', import.meta.url)), [...directories], {
      // Its own session: Ctrl-C in weir's terminal is weir's to answer. No NODE_OPTIONS: they are meant for weir.
      detached: true,
      cwd: '/',
      env: { PATH: searchPath },
      execArgv: ['--max-old-space-size=16', '--max-semi-space-size=1'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const gone = new Promise<void>((resolve) => watchdog.once('exit', () => resolve()));
    if (watchdog.stderr !== null) eachLine(watchdog.stderr, log);
    const guard = new Guard(watchdog, gone);
    const ready = new Promise<boolean>((resolve) => {
      watchdog.once('message', (message: unknown) => resolve(fromWatchdog(message)?.kind === 'ready'));
      watchdog.once('error', () => resolve(false));
      watchdog.once('exit', () => resolve(false));
    });
    if (!(await ready)) throw failed('the process that watches over PostgreSQL did not start');
    watchdog.on('message', (message: unknown) => guard.#hear(message));
    watchdog.on('error', () => {});
    watchdog.once('exit', () => guard.#abandoned());
    return guard;
  }

  get pid(): number {
    return this.#watchdog.pid as number;
  }

  /** Resolves when the program runs, which says nothing about what it does. */
  async launch(program: Program): Promise<RunningProgram> {
    assert(this.#program === undefined, 'the watchdog runs one program at a time');
    const waiting = new Waiting();
    this.#program = waiting;
    this.#say({ kind: 'launch', program });
    const pid = await waiting.started;
    return { pid, exited: waiting.exited };
  }

  /** Resolves when the program has ended; it is killed when it does not answer to the signal. */
  async endProgram(signal: EndSignal): Promise<void> {
    const program = this.#program;
    if (program === undefined) return;
    this.#say({ kind: 'end', signal });
    await program.exited;
  }

  /** Ends what still runs, removes the directories, ends the watchdog. */
  async end(): Promise<void> {
    if (this.#watchdog.connected) this.#watchdog.disconnect();
    const late = setTimeout(() => this.#watchdog.kill('SIGKILL'), disconnectMsMax);
    await this.#gone;
    clearTimeout(late);
  }

  /** Whether the watchdog keeps weir's event loop alive: it does while somebody waits for it. */
  hold(): void {
    this.#watchdog.ref();
    this.#watchdog.channel?.ref();
  }

  letGo(): void {
    this.#watchdog.unref();
    this.#watchdog.channel?.unref();
    const stderr = this.#watchdog.stderr;
    if (stderr !== null && 'unref' in stderr && typeof stderr.unref === 'function') stderr.unref();
  }

  #say(message: ToWatchdog): void {
    if (!this.#watchdog.connected) throw failed('the process that watches over PostgreSQL is gone');
    this.#watchdog.send(message, () => {});
  }

  #hear(received: unknown): void {
    const message = fromWatchdog(received);
    const program = this.#program;
    if (message === undefined || program === undefined) return;
    switch (message.kind) {
      case 'ready':
        return;
      case 'started':
        program.start(message.pid);
        return;
      case 'failed':
        this.#program = undefined;
        program.fail(failed(`PostgreSQL could not be started: ${message.reason}`));
        return;
      case 'exited':
        this.#program = undefined;
        // Its last words are in the pipe, and read in this same turn of the loop.
        setImmediate(() => program.exit({ code: message.code ?? undefined, signal: message.signal ?? undefined }));
        return;
      default:
        message satisfies never;
    }
  }

  /** Somebody killed the watchdog: end its program in its stead. */
  #abandoned(): void {
    const program = this.#program;
    if (program === undefined) return;
    this.#program = undefined;
    if (program.identity !== undefined) signalProcess(program.identity, 'SIGQUIT', undefined);
    program.fail(failed('the process that watches over PostgreSQL was killed'));
    program.exit({});
  }
}

/** The two moments in a program's life that somebody may wait for. */
class Waiting {
  readonly started: Promise<number>;
  readonly exited: Promise<ProgramExit>;
  identity: ProcessIdentity | undefined;
  fail!: (error: Error) => void;
  exit!: (exit: ProgramExit) => void;
  #resolveStarted!: (pid: number) => void;

  constructor() {
    this.started = new Promise((resolve, reject) => {
      this.#resolveStarted = resolve;
      this.fail = reject;
    });
    this.exited = new Promise((resolve) => {
      this.exit = resolve;
    });
  }

  start(pid: number): void {
    this.identity = identify(pid);
    this.#resolveStarted(pid);
  }
}

/** Neither weir's PATH nor its locale or PG* variables reach PostgreSQL. */
export const searchPath = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin';

function failed(message: string): PoolerError {
  return new PoolerError(message, { sqlstate: '58000' });
}

/** Calls back with each line, cut at a limit, so that a program that never ends its line costs no memory. */
function eachLine(stream: NodeJS.ReadableStream, log: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = (lines.pop() ?? '').slice(0, lineCharactersMax);
    for (const line of lines) log(line.slice(0, lineCharactersMax));
  });
  stream.on('end', () => {
    if (rest !== '') log(rest);
  });
  stream.on('error', () => {});
}
