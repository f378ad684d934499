// How often each rule of the policy has decided what.

/** Rules that are counted apart. */
const rulesMax = 1_000;
const otherRules = 'other';

/** What may come of a statement. */
export const verdicts = ['allow', 'deny', 'observe'] as const;
export type Outcomes = Record<(typeof verdicts)[number], number>;

export class RuleTally {
  readonly #byRule = new Map<string, Outcomes>();

  add(rule: string, verdict: keyof Outcomes): void {
    this.#of(rule)[verdict]++;
  }

  /** Undefined where it has decided nothing. */
  of(rule: string): Readonly<Outcomes> | undefined {
    return this.#byRule.get(rule);
  }

  entries(): Iterable<readonly [string, Readonly<Outcomes>]> {
    return this.#byRule;
  }

  #of(rule: string): Outcomes {
    const known = this.#byRule.get(rule);
    if (known !== undefined) return known;
    if (this.#byRule.size >= rulesMax && rule !== otherRules) return this.#of(otherRules);
    const made = { allow: 0, deny: 0, observe: 0 };
    this.#byRule.set(rule, made);
    return made;
  }
}
