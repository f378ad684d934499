// Counts by name; a name whose count is 0 takes no memory.

export class Tally {
  readonly #counts = new Map<string, number>();

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  /** @param difference may be negative; no count falls below 0 */
  add(name: string, difference = 1): void {
    const next = this.of(name) + difference;
    if (next > 0) this.#counts.set(name, next);
    else this.#counts.delete(name);
  }
}
