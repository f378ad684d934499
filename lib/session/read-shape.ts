// What a read has shown of itself, per shape: whether it may share a server with the reads of other clients.

/** Why a shape that could share a server does not. */
export const readBarriers = ['new', 'slow', 'large', 'writes', 'view'] as const;
export type ReadBarrier = (typeof readBarriers)[number];

/** Runs of a shape before it may share a server. */
const runsMin = 5;
/** What one run that was too slow, or too large, weighs against one that was neither: one in a hundred is borne. */
const strikeWeight = 100;
const strikesMax = 2 * strikeWeight;
/** Share of the newest run in the mean. */
const meanShare = 1 / 16;

export class ReadShape {
  /** Tables it names, without their schemas. */
  readonly tables: readonly string[];
  /** Of its times, in milliseconds; the newest count most. */
  meanMs = 0;
  #runs = 0;
  #slow = 0;
  #large = 0;
  #writes = false;

  constructor(tables: readonly string[] = []) {
    this.tables = tables;
  }

  /** A run is over. */
  observe(ms: number, slow: boolean, large: boolean): void {
    this.#runs++;
    this.meanMs += (ms - this.meanMs) * (this.#runs < runsMin ? 1 / this.#runs : meanShare);
    this.#slow = weighed(this.#slow, slow);
    this.#large = weighed(this.#large, large);
  }

  /** It has kept others waiting. */
  stalled(): void {
    this.#slow = weighed(this.#slow, true);
  }

  /** PostgreSQL has refused it in a read-only transaction: it never shares again. */
  barWrites(): void {
    this.#writes = true;
  }

  /** What keeps it from sharing a server now. */
  get barrier(): ReadBarrier | undefined {
    if (this.#writes) return 'writes';
    if (this.#runs < runsMin) return 'new';
    if (this.#slow > strikesMax) return 'slow';
    return this.#large > strikesMax ? 'large' : undefined;
  }
}

/**
 * Once there are too many, every further run takes one away, whatever it was like: times taken while the process itself is
 * late prove nothing, so the shape is tried again, and after the next strike no sooner than a hundred runs later.
 */
function weighed(strikes: number, strike: boolean): number {
  if (strike && strikes <= strikesMax) return strikes + strikeWeight;
  return strikes > 0 ? strikes - 1 : 0;
}
