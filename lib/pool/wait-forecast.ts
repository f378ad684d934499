// How long who joins the queue now would wait, from how many were served of late; known only while the queue has not been empty for a while.

/** Without so long a look back there is no forecast, in milliseconds. */
const lookBackMs = 2_000;
/** Nor with fewer served than this: a few long transactions say little. */
const servedMin = 20;

export class WaitForecast {
  #sinceMs: number | undefined;
  #served = 0;
  /** Of the time before: the newest figures count, but not those of a moment. */
  #before: { readonly served: number; readonly ms: number } | undefined;

  /** One who waited has been served. */
  onServed(): void {
    this.#served++;
  }

  /** Called several times a second. @param waiting how many there are */
  tick(nowMs: number, waiting: number): void {
    if (waiting === 0) {
      this.#sinceMs = undefined;
      this.#before = undefined;
      this.#served = 0;
      return;
    }
    if (this.#sinceMs === undefined) {
      this.#sinceMs = nowMs;
      this.#served = 0;
      return;
    }
    const ms = nowMs - this.#sinceMs;
    if (ms < lookBackMs) return;
    this.#before = { served: this.#served, ms };
    this.#served = 0;
    this.#sinceMs = nowMs;
  }

  /** Milliseconds for the last of so many; undefined: nobody knows. */
  msFor(waiting: number): number | undefined {
    const before = this.#before;
    if (before === undefined || before.served < servedMin) return undefined;
    return (waiting * before.ms) / before.served;
  }
}
