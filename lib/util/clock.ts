// Time as a parameter: everything that waits or measures is given a Clock, so tests can move it by hand.

export interface Clock {
  /** Monotonic milliseconds with fractions; only differences mean anything. */
  now(): number;
  /** Milliseconds since the Unix epoch, for people. */
  wallMs(): number;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
};
