// Finds the pids that a text gives to pg_cancel_backend and pg_terminate_backend: where they stand, or which parameters they are.

import { constantOf, isNode, listAt, type Node, nameParts, nodeAt, stringOf } from './tree.js';

/** What PostgreSQL's functions that signal a backend are called. */
export const signalFunctions: ReadonlySet<string> = new Set([
  'pg_cancel_backend',
  'pg_terminate_backend',
  'pg_catalog.pg_cancel_backend',
  'pg_catalog.pg_terminate_backend',
]);

/** A place in the text, in bytes. */
export interface SignalledPlace {
  readonly start: number;
  readonly end: number;
}

export interface SignalledPids {
  readonly literals: readonly (SignalledPlace & { readonly pid: number })[];
  readonly parameters: readonly {
    /** From 1. */
    readonly number: number;
    /** Where it is given to the functions. */
    readonly places: readonly SignalledPlace[];
    /** Whether it is nothing else than such a pid: what is bound to it is seen nowhere else. */
    readonly only: boolean;
  }[];
}

/** Those that run what they contain at once, and keep nothing of it. */
const runAtOnce: ReadonlySet<string> = new Set(['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt']);

/** Casts that leave a pid what it is. */
const plainTypes: ReadonlySet<string> = new Set(['int4', 'int8', 'text', 'varchar', 'bpchar', 'numeric']);

const numberToken = /^(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*)/;
const stringToken = /^(?:[eE]?'\s*\+?[0-9]+\s*'|\$(\w*)\$\s*\+?[0-9]+\s*\$\1\$)/;
const parameterToken = /^\$[0-9]+/;
const tokenBytesMax = 64;

/** @param text what was parsed to `tree` */
export function signalledPids(tree: unknown, text: Buffer): SignalledPids {
  const search = new Search(text);
  for (const raw of isNode(tree) ? listAt(tree, 'stmts') : []) {
    const statement = isNode(raw) ? nodeAt(raw, 'stmt') : undefined;
    if (statement === undefined) continue;
    const explained = nodeAt(nodeAt(statement, 'ExplainStmt') ?? {}, 'query');
    search.statement(explained ?? statement);
  }
  return search.found();
}

interface Parameter {
  uses: number;
  readonly places: SignalledPlace[];
}

class Search {
  readonly #text: Buffer;
  readonly #literals: (SignalledPlace & { pid: number })[] = [];
  readonly #parameters = new Map<number, Parameter>();

  constructor(text: Buffer) {
    this.#text = text;
  }

  found(): SignalledPids {
    const parameters = [...this.#parameters].flatMap(([number, { uses, places }]) =>
      places.length === 0 ? [] : [{ number, places, only: uses === places.length }],
    );
    return { literals: this.#literals, parameters };
  }

  statement(statement: Node): void {
    const [node] = Object.keys(statement);
    if (node !== undefined && runAtOnce.has(node)) this.#walk(statement);
  }

  #walk(value: unknown): void {
    if (Array.isArray(value)) {
      for (const item of value) this.#walk(item);
      return;
    }
    if (!isNode(value)) return;
    const number = nodeAt(value, 'ParamRef')?.['number'];
    if (typeof number === 'number') this.#parameter(number).uses++;
    const call = nodeAt(value, 'FuncCall');
    if (call !== undefined && signalFunctions.has(nameParts(call['funcname']).join('.'))) this.#pidOf(call);
    for (const key of Object.keys(value)) this.#walk(value[key]);
  }

  #parameter(number: number): Parameter {
    let parameter = this.#parameters.get(number);
    if (parameter === undefined) {
      parameter = { uses: 0, places: [] };
      this.#parameters.set(number, parameter);
    }
    return parameter;
  }

  /** The argument named so, or the first. */
  #pidOf(call: Node): void {
    for (const [index, argument] of listAt(call, 'args').entries()) {
      if (!isNode(argument)) continue;
      const named = nodeAt(argument, 'NamedArgExpr');
      if (named === undefined ? index === 0 : named['name'] === 'pid') this.#argument(named?.['arg'] ?? argument);
    }
  }

  #argument(value: unknown): void {
    if (!isNode(value)) return;
    const cast = nodeAt(value, 'TypeCast');
    if (cast !== undefined) {
      const type = nodeAt(cast, 'typeName');
      const names = listAt(type ?? {}, 'names').map(stringOf);
      if (type !== undefined && type['arrayBounds'] === undefined && plainTypes.has(names.at(-1) ?? ''))
        this.#argument(cast['arg']);
      return;
    }
    const parameter = nodeAt(value, 'ParamRef');
    if (parameter !== undefined) {
      const place = this.#token(parameter['location'], parameterToken);
      if (place !== undefined && typeof parameter['number'] === 'number')
        this.#parameter(parameter['number']).places.push(place);
      return;
    }
    const constant = nodeAt(value, 'A_Const');
    if (constant === undefined) return;
    const pid = Number(constantOf(value));
    const token = nodeAt(constant, 'sval') === undefined ? numberToken : stringToken;
    const place = this.#token(constant['location'], token);
    if (place !== undefined && Number.isSafeInteger(pid)) this.#literals.push({ ...place, pid });
  }

  /** The token that begins there; what is not there in the form expected is left alone. */
  #token(location: unknown, form: RegExp): SignalledPlace | undefined {
    const start = typeof location === 'number' ? location : 0;
    const text = this.#text.toString('latin1', start, start + tokenBytesMax);
    const token = form.exec(text)?.[0];
    return token === undefined ? undefined : { start, end: start + token.length };
  }
}

/** Puts another pid in the place of each. What is shorter is filled up with spaces: errors name the same positions. */
export function withPids(text: Buffer, places: readonly (SignalledPlace & { readonly instead: number })[]): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (const { start, end, instead } of [...places].sort((a, b) => a.start - b.start)) {
    const quoted = text[start] !== undefined && !isDigit(text[start]);
    const token = quoted ? `'${instead}'` : String(instead);
    parts.push(text.subarray(from, start), Buffer.from(token.padEnd(end - start)));
    from = end;
  }
  parts.push(text.subarray(from));
  return Buffer.concat(parts);
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}
