// Starts and stops the programs of a bench run, so that none outlives it however it ends.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const outputCharsMax = 1_000_000;
const stopMsMax = 5_000;

export interface Launch {
  /** How messages name it. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The operating system user to run as; the current one when absent. */
  readonly user?: SystemUser;
}

export interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface Finished {
  readonly code: number | undefined;
  readonly killedBy: string | undefined;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** A started program. */
export class Program {
  readonly name: string;
  readonly finished: Promise<Finished>;
  readonly #child: ChildProcess;
  #stdout = '';
  #stderr = '';
  #over: Finished | undefined;
  #timedOut = false;

  constructor(launch: Launch) {
    this.name = launch.name;
    // A process group of its own: a Ctrl-C at the terminal reaches the bench, which then stops each in its own way.
    this.#child = spawn(launch.command, [...launch.args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...launch.env },
      ...(launch.cwd === undefined ? {} : { cwd: launch.cwd }),
      ...(launch.user === undefined ? {} : { uid: launch.user.uid, gid: launch.user.gid }),
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-outputCharsMax);
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-outputCharsMax);
    });
    this.finished = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#stderr += error.message;
        resolve(this.#finish(undefined, undefined));
      });
      this.#child.once('close', (code, killedBy) => resolve(this.#finish(code ?? undefined, killedBy ?? undefined)));
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Defined once it has ended. */
  get over(): Finished | undefined {
    return this.#over;
  }

  /** The last lines of what it printed, for messages. */
  tail(lines = 8): string {
    return `${this.#stdout}\n${this.#stderr}`.trim().split('\n').slice(-lines).join('\n');
  }

  /** Sends each signal in turn, to the whole group, until it has ended. */
  async stop(signals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGKILL']): Promise<void> {
    for (const signal of signals) {
      if (this.#over !== undefined) return;
      this.signal(signal);
      await Promise.race([this.finished, delay(stopMsMax, undefined, { ref: false })]);
    }
  }

  signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined || this.#over !== undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // The group ended between the look and the signal.
    }
  }

  /** Waits for the end; after `msMax` kills it and says so in the result. */
  async end(msMax: number): Promise<Finished> {
    const timer = setTimeout(() => {
      this.#timedOut = true;
      this.signal('SIGKILL');
    }, msMax);
    try {
      return await this.finished;
    } finally {
      clearTimeout(timer);
    }
  }

  #finish(code: number | undefined, killedBy: string | undefined): Finished {
    this.#over ??= { code, killedBy, timedOut: this.#timedOut, stdout: this.#stdout, stderr: this.#stderr };
    return this.#over;
  }
}

/** Everything a run has started and not yet stopped. */
export class Fleet {
  readonly #programs = new Set<Program>();
  readonly #stop: AbortSignal;

  /** @param stop once aborted, nothing more is started */
  constructor(stop: AbortSignal) {
    this.#stop = stop;
    process.once('exit', () => {
      for (const program of this.#programs) program.signal('SIGKILL');
    });
  }

  start(launch: Launch): Program {
    this.#stop.throwIfAborted();
    const program = new Program(launch);
    this.#programs.add(program);
    void program.finished.then(() => this.#programs.delete(program));
    return program;
  }

  /** Everything that still runs, at once; for the end of a run. */
  async stopAll(): Promise<void> {
    await Promise.all([...this.#programs].map((program) => program.stop()));
  }

  /** Runs a program to its end; the caller judges the result. Ends early when the run is stopped. */
  async run(launch: Launch, msMax: number): Promise<Finished> {
    const program = this.start(launch);
    const kill = (): void => program.signal('SIGKILL');
    this.#stop.addEventListener('abort', kill, { once: true });
    try {
      return await program.end(msMax);
    } finally {
      this.#stop.removeEventListener('abort', kill);
    }
  }
}

/** What to say of a program that ended when it should not have, or undefined when all is well. */
export function complaint(name: string, result: Finished): string | undefined {
  if (result.timedOut) return `${name} did not end in time\n${result.stderr}`;
  if (result.killedBy !== undefined) return `${name} was ended by ${result.killedBy}\n${result.stderr}`;
  if (result.code !== 0) return `${name} ended with ${result.code ?? 'no exit code'}\n${result.stderr}`;
  return undefined;
}

/** PostgreSQL and PgBouncer refuse to run as root: the first of these users that exists. Undefined when not root. */
export function unprivilegedUser(): SystemUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const entry = users.find((fields) => fields[0] === name);
    if (entry !== undefined) return { name, uid: Number(entry[2]), gid: Number(entry[3]) };
  }
  throw new Error('running as root, and neither a user postgres nor nobody exists to run the servers as');
}
