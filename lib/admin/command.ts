// What a command of the console is: its name, who may run it, and what it answers.

import type { Pooler } from '../pooler/index.js';
import { PoolerError } from '../util/index.js';
import { type Column, commandComplete, dataRow, rowDescription } from '../wire/index.js';
import { joined, type Merge } from './merge.js';

/** `stats` may look, `admin` may also act. */
export type Role = 'admin' | 'stats';

export interface Context {
  readonly pooler: Pooler;
  /** Commands the console of this process was given so far, this one included. */
  readonly commands: number;
}

/** `SHOW NAME`. */
export interface ShowCommand {
  readonly name: string;
  readonly role: Role;
  /** In order; none for what answers without rows. */
  readonly columns: Columns;
  /** What this process has to say. @throws PoolerError */
  rows(context: Context): readonly AnyRow[];
  /** Of the rows of several processes those of all. */
  merge(parts: readonly (readonly AnyRow[])[]): readonly AnyRow[];
  /** Complete messages, the CommandComplete last. */
  answer(rows: readonly AnyRow[]): readonly Buffer[];
}

/** `NAME [argument]`, which changes something. */
export interface ControlCommand {
  readonly name: string;
  readonly role: Role;
  /** What may stand behind the name, for SHOW HELP. */
  readonly usage: readonly string[];
  readonly argument: 'none' | 'optional' | 'required';
  /** @returns the command tag, or undefined when the connection is over @throws PoolerError */
  run(argument: string | undefined, context: Context): Promise<string | undefined> | string | undefined;
}

export type ColumnType = 'text' | 'int4' | 'int8' | 'numeric';
/** Types by column name, in the order of the columns. */
export type Columns = Readonly<Record<string, ColumnType>>;
export type Value = string | number | null;
export type Row<C extends Columns> = { readonly [K in keyof C]: Value };
export type AnyRow = Readonly<Record<string, Value>>;

const oids: Readonly<Record<ColumnType, { readonly typeOid: number; readonly typeSize: number }>> = {
  text: { typeOid: 25, typeSize: -1 },
  int4: { typeOid: 23, typeSize: 4 },
  int8: { typeOid: 20, typeSize: 8 },
  numeric: { typeOid: 1700, typeSize: -1 },
};

const int4Max = 2_147_483_647;

/** A command whose answer is a table; where several processes answer, one below the other unless `merge` says otherwise. */
export function show<const C extends Columns>(
  name: string,
  columns: C,
  rows: (context: Context) => Iterable<Row<C>>,
  merge: Merge<C> = joined,
): ShowCommand {
  return {
    name,
    role: 'stats',
    columns,
    rows: (context) => [...rows(context)],
    merge: (parts) => merge(parts as Row<C>[][]),
    answer: (all) => table(columns, all as Row<C>[]),
  };
}

export function table<C extends Columns>(columns: C, rows: Iterable<Row<C>>): readonly Buffer[] {
  const described: Column[] = Object.entries(columns).map(([name, type]) => ({ name, ...oids[type] }));
  const frames = [rowDescription(described)];
  const types = Object.entries<ColumnType>(columns);
  for (const row of rows) frames.push(dataRow(types.map(([name, type]) => cell(type, row[name] ?? null))));
  frames.push(commandComplete('SHOW'));
  return frames;
}

/** Numbers are whole; what does not fit into an int4 is shown as its largest value, so that no driver chokes on it. */
function cell(type: ColumnType, value: Value): string | null {
  if (typeof value !== 'number') return value;
  if (type === 'int4') return String(Math.min(int4Max, Math.trunc(value)));
  return BigInt(Math.trunc(value)).toString();
}

export interface RefusalFields {
  readonly sqlstate?: string;
  readonly detail?: string;
  readonly hint?: string;
}

/** Most of the console's errors have no better SQLSTATE than PgBouncer's. */
export function refusal(message: string, fields: RefusalFields = {}): PoolerError {
  return new PoolerError(message, { sqlstate: '08P01', ...fields });
}

/** Clips what came from outside, for an error that repeats it. */
export function clipped(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax)}...`;
}
