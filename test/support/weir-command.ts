// The weir command as a process of its own, with its output and its end.

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.js';
import type { Teardown } from './temporary-directory.js';

export const mainFile = fileURLToPath(new URL('../../lib/cli/main.js', import.meta.url));

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A weir that runs; killed, should the test end first. */
export class WeirCommand {
  stdout = '';
  stderr = '';
  readonly ended: Promise<Ended>;
  over = false;
  readonly #child: ChildProcess;

  constructor(t: Teardown, args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
    const env = { ...process.env, ...options.env };
    const child = spawn(process.execPath, [mainFile, ...args], {
      cwd: options.cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.on('data', (bytes: Buffer) => (this.stdout += bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => (this.stderr += bytes.toString()));
    this.#child = child;
    // Also where the test is cut off.
    const kill = (): unknown => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('close', () => process.off('exit', kill));
    this.ended = new Promise((resolve) => {
      child.once('close', (status, signal) => {
        this.over = true;
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
    t.teardown(async () => {
      if (this.over) return;
      child.kill('SIGKILL');
      await this.ended;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The TCP port, from the line that says that weir is ready; `readyMessage` is what several processes say together. */
  port(log: () => string = () => this.stdout, readyMessage = 'weir is ready'): Promise<number> {
    const listening = eventually(
      () => {
        const ready = linesOf(log()).find(({ msg }) => msg === readyMessage);
        const places = (ready?.['listen'] ?? []) as string[];
        const port = places.map((place) => /:(\d+)$/.exec(place)?.[1]).find((found) => found !== undefined);
        return port === undefined ? false : Number(port);
      },
      { withinMs: 20_000 },
    );
    return Promise.race([listening, this.failure()]);
  }

  /** Rejects when the process ends. */
  async failure(): Promise<never> {
    const { status, stderr } = await this.ended;
    throw new Error(`weir has ended with ${status}: ${stderr}`);
  }
}

export interface LogLine {
  readonly msg?: string;
  readonly [key: string]: unknown;
}

export function linesOf(log: string): LogLine[] {
  return log
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as LogLine);
}
