// What a test run has of its own and leaves nothing of: a directory, and a keeper that removes it and ends what is left.

import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { scratchBase } from '../support/temporary-directory.js';
import type { ToKeeper } from './keeper.js';

export class RunPlace {
  readonly mark = randomBytes(8).toString('hex');
  readonly #directory: string;
  readonly #templates: string;
  readonly #keeper: ChildProcess;
  readonly #gone: Promise<unknown>;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#templates = join(directory, 'templates');
    this.#keeper = fork(fileURLToPath(new URL('./keeper.js', import.meta.url)), [directory, this.mark], {
      // Its own session: Ctrl-C is the runner's to answer.
      detached: true,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#gone = once(this.#keeper, 'exit');
  }

  static async make(): Promise<RunPlace> {
    const directory = realpathSync(mkdtempSync(join(scratchBase(), 'weir-tests-')));
    // PostgreSQL, which root runs as somebody else, passes through.
    chmodSync(directory, 0o711);
    mkdirSync(join(directory, 'templates'), { mode: 0o711 });
    const place = new RunPlace(directory);
    await once(place.#keeper, 'message');
    return place;
  }

  /** Makes the directory of one test file. */
  scratchOf(number: number): string {
    const path = join(this.#directory, String(number));
    mkdirSync(path, { mode: 0o711 });
    return path;
  }

  /** Templates of PostgreSQL are common to all files. */
  environment(scratch: string): Record<string, string> {
    return { TMPDIR: scratch, WEIR_TEST_TEMPLATES: this.#templates };
  }

  tell(message: ToKeeper): void {
    if (this.#keeper.connected) this.#keeper.send(message, () => {});
  }

  async leave(): Promise<void> {
    if (this.#keeper.connected) this.#keeper.disconnect();
    await this.#gone;
  }
}
