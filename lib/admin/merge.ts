// Makes one table of the tables several processes answer to the same SHOW command.

import type { Columns, Row, Value } from './command.js';

export type Merge<C extends Columns> = (parts: readonly (readonly Row<C>[])[]) => Row<C>[];

/** Rows about things only one process has. */
export function joined<C extends Columns>(parts: readonly (readonly Row<C>[])[]): Row<C>[] {
  return parts.flat();
}

/** Rows that are the same everywhere. */
export function same<C extends Columns>(parts: readonly (readonly Row<C>[])[]): Row<C>[] {
  return [...(parts[0] ?? [])];
}

type Numbers = Record<string, Value>;

export interface Sums<C extends Columns> {
  /** Rows with the same values here are about the same thing. */
  readonly by: readonly (keyof C & string)[];
  /** `rest`: all numbers but those named below. */
  readonly add?: readonly (keyof C & string)[] | 'rest';
  readonly greatest?: readonly (keyof C & string)[];
  /** Means, with the column that says of how many. */
  readonly means?: Readonly<Partial<Record<keyof C & string, keyof C & string>>>;
  /** What the above cannot say. */
  readonly combined?: {
    readonly columns: readonly (keyof C & string)[];
    readonly combine: (into: Numbers, row: Row<C>) => void;
  };
}

/** Rows about things all processes have a part of; other columns are as the first process has them. */
export function summed<const C extends Columns>(sums: Sums<C>): Merge<C> {
  return (parts) => {
    const byKey = new Map<string, Numbers>();
    for (const row of parts.flat()) {
      const key = JSON.stringify(sums.by.map((column) => row[column]));
      const into = byKey.get(key);
      if (into === undefined) byKey.set(key, { ...row });
      else addRow(into, row, sums);
    }
    return [...byKey.values()] as Row<C>[];
  };
}

function addRow<C extends Columns>(into: Numbers, row: Row<C>, sums: Sums<C>): void {
  sums.combined?.combine(into, row);
  for (const [column, counted] of Object.entries<string | undefined>(sums.means ?? {})) {
    if (counted === undefined) continue;
    into[column] = mean(number(into[column]), number(into[counted]), number(row[column]), number(row[counted]));
  }
  for (const column of added(row, sums)) into[column] = number(into[column]) + number(row[column]);
  for (const column of sums.greatest ?? []) into[column] = Math.max(number(into[column]), number(row[column]));
}

function added<C extends Columns>(row: Row<C>, { by, add, greatest, means, combined }: Sums<C>): readonly string[] {
  if (add !== 'rest') return add ?? [];
  const others = new Set<string>([
    ...by,
    ...(greatest ?? []),
    ...Object.keys(means ?? {}),
    ...(combined?.columns ?? []),
  ]);
  return Object.keys(row).filter((column) => !others.has(column) && typeof row[column] === 'number');
}

/** The mean of `countA` with mean `a` and `countB` with mean `b`. */
export function mean(a: number, countA: number, b: number, countB: number): number {
  // Less than one in two seconds is a rate of 0, but still has a time.
  if (countA + countB === 0) return Math.max(a, b);
  return Math.round((a * countA + b * countB) / (countA + countB));
}

function number(value: Value | undefined): number {
  return typeof value === 'number' ? value : 0;
}
