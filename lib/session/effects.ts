// What the statements of a lease may have left behind in the session, as bits, and what must happen before the server is lent on.

/** Bits; a lease collects those of every statement it ran. */
export const Effect = {
  None: 0,
  /** Something weir cannot name, or does not carry from server to server: only DISCARD ALL removes it. */
  Unknown: 1,
  /** A library was loaded into the server's process: no statement removes it. */
  Indelible: 2,
} as const;

export type ResetPlan = 'nothing' | 'discard' | 'destroy';

/** The least that brings a server back to a state weir knows. */
export function planReset(effects: number): ResetPlan {
  if ((effects & Effect.Indelible) !== 0) return 'destroy';
  if ((effects & Effect.Unknown) !== 0) return 'discard';
  return 'nothing';
}
