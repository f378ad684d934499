// Counts by a label that comes from outside, such as a SQLSTATE: beyond a limit, new labels are counted as `other`.

const otherLabel = 'other';

export class BoundedCounter {
  readonly #counts = new Map<string, number>();
  readonly #labelsMax: number;

  constructor(labelsMax: number) {
    this.#labelsMax = labelsMax;
  }

  add(label: string): void {
    const known = this.#counts.has(label) || this.#counts.size < this.#labelsMax;
    const key = known ? label : otherLabel;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  get(label: string): number {
    return this.#counts.get(label) ?? 0;
  }

  entries(): Iterable<readonly [string, number]> {
    return this.#counts;
  }
}
