// The figures of one run as plain data: what a measurement yields, and what the results file keeps.

/** Every figure the bench knows; the unit is the end of the name. */
export type Metric =
  | 'transactionsPerS'
  | 'latencyMs'
  | 'connectMs'
  | 'p50Ms'
  | 'p99Ms'
  | 'p999Ms'
  | 'poolerCpuUs'
  | 'postgresCpuUs'
  | 'requestsPerS'
  | 'heldKb'
  | 'callNs'
  | 'bestCallNs'
  | 'byteNs'
  | 'messageNs';

export type Metrics = Partial<Record<Metric, number>>;

export type Outcome =
  | { readonly kind: 'measured'; readonly metrics: Metrics }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'not-applicable'; readonly why: string };

/** One work on one target in one round. */
export interface Sample {
  readonly work: string;
  readonly target: string;
  readonly round: number;
  /** Place within its round, from 0: the order is rotated between rounds. */
  readonly place: number;
  readonly startedAt: string;
  readonly outcome: Outcome;
}

export function measured(metrics: Metrics): Outcome {
  return { kind: 'measured', metrics };
}

/** What went wrong, cut to a length that a table and a results file can hold. */
export function failed(message: string): Outcome {
  const text = message.trim();
  const failureCharsMax = 2_000;
  return { kind: 'failed', message: text.length > failureCharsMax ? `${text.slice(0, failureCharsMax)} [cut]` : text };
}

export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
