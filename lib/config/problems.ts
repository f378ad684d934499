// What is wrong with a configuration, as a value, and the text people read about it.

export interface Problem {
  /** The file it was found in; null for values that came from elsewhere (the console, defaults). */
  readonly file: string | null;
  readonly line: number | null;
  /** Dotted path such as `databases.app.pool_size`; empty when the file as a whole is meant. */
  readonly key: string;
  readonly message: string;
  /** The value as written, quoted and clipped; null when there is none to show or it may hold a secret. */
  readonly received: string | null;
  readonly allowed: string | null;
  readonly nearest: string | null;
}

export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: Problem };

/** Where in a file something stands. */
export interface Place {
  readonly file: string | null;
  readonly line: number | null;
}

export const nowhere: Place = { file: null, line: null };

export interface ProblemDetails {
  readonly received?: string | null;
  readonly allowed?: string | null;
  readonly nearest?: string | null;
}

export function problemAt(place: Place, key: string, message: string, details: ProblemDetails = {}): Problem {
  return {
    file: place.file,
    line: place.line,
    key,
    message,
    received: details.received ?? null,
    allowed: details.allowed ?? null,
    nearest: details.nearest ?? null,
  };
}

/** One readable text of several lines, without a line break at its end. */
export function formatProblem(problem: Problem): string {
  const where = [problem.file, problem.line].filter((part) => part !== null).join(':');
  const head = [where, problem.key, problem.message].filter((part) => part !== '').join(': ');
  const lines = [head];
  if (problem.received !== null) lines.push(`  received: ${problem.received}`);
  if (problem.allowed !== null) lines.push(`  allowed:  ${problem.allowed}`);
  if (problem.nearest !== null) lines.push(`  did you mean: ${problem.nearest}`);
  return lines.join('\n');
}

const shownCharsMax = 80;

/** `value` for a problem's `received`: quoted, one line, clipped. */
export function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  return json.length <= shownCharsMax ? json : `${json.slice(0, shownCharsMax)}...`;
}

/** Upper bound on what `nearest` compares; longer words have no near neighbour among keys. */
const wordCharsMax = 64;

/** The candidate fewest edits away from `word`, if it is near enough to be a slip of the keyboard. */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  if (word.length > wordCharsMax) return null;
  const lower = word.toLowerCase();
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.min(3, Math.floor(word.length / 3))) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(lower, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Letters to replace, add, take away, or exchange with the next one; a row at a time, and the one before the last. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isExchange = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const exchanged = isExchange ? beforeLast[j - 2]! + 1 : replaced;
      row.push(Math.min(replaced, exchanged, last[j]! + 1, row[j - 1]! + 1));
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
