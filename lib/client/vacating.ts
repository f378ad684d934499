// Databases that a client's statements need for themselves: weir's idle servers leave them before, and stay away until the statements are answered.

import type { DatabaseUse } from '../sql/index.js';

/**
 * Resolves with what lets servers in again, when those that serve nobody have left; never rejects.
 * It is told whether a database has been dropped.
 */
export type Vacate = (databases: readonly DatabaseUse[]) => Promise<(dropped: boolean) => void>;

export class Vacating {
  readonly #vacate: Vacate;
  readonly #goOn: () => void;
  /** Whether they have been left already. */
  readonly #databases = new Map<string, 'asked' | 'vacant'>();
  #releases: ((dropped: boolean) => void)[] = [];
  #dropped = false;
  /** Counts the statements: what is asked for one is of no use to the next. */
  #round = 0;

  /** @param goOn they are vacant: the statement is to be shown again */
  constructor(vacate: Vacate, goOn: () => void) {
    this.#vacate = vacate;
    this.#goOn = goOn;
  }

  /** Whether all of them have been left; where not, they will be, and `goOn` is called. */
  isReady(databases: readonly DatabaseUse[]): boolean {
    const missing = databases.filter(({ name }) => !this.#databases.has(name));
    if (missing.length > 0) this.#ask(missing);
    return databases.every(({ name }) => this.#databases.get(name) === 'vacant');
  }

  #ask(databases: readonly DatabaseUse[]): void {
    const round = this.#round;
    for (const { name } of databases) this.#databases.set(name, 'asked');
    void this.#vacate(databases).then((release) => {
      if (round !== this.#round) {
        release(false);
        return;
      }
      this.#releases.push(release);
      for (const { name } of databases) this.#databases.set(name, 'vacant');
      this.#goOn();
    });
  }

  /** The statement has dropped its database. */
  onDropped(): void {
    this.#dropped = true;
  }

  /** The statements are answered, or will never be. */
  end(): void {
    const dropped = this.#dropped;
    this.#dropped = false;
    if (this.#databases.size === 0) return;
    this.#round++;
    this.#databases.clear();
    for (const release of this.#releases.splice(0)) release(dropped);
  }
}
