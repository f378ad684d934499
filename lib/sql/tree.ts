// Reading the parser's JSON, which is `unknown` until looked at.

import type { Argument } from './hazards.js';

export type Node = { readonly [key: string]: unknown };

export function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function nodeAt(node: Node, key: string): Node | undefined {
  const value = node[key];
  return isNode(value) ? value : undefined;
}

export function listAt(node: Node, key: string): readonly unknown[] {
  const value = node[key];
  return Array.isArray(value) ? value : [];
}

export function textAt(node: Node, key: string): string {
  const value = node[key];
  return typeof value === 'string' ? value : '';
}

/** The text of `{ String: { sval } }`. */
export function stringOf(value: unknown): string | undefined {
  const string = isNode(value) ? nodeAt(value, 'String') : undefined;
  return string === undefined ? undefined : textAt(string, 'sval');
}

/** A dotted name given as a list of String nodes; what is not a String is left out. */
export function nameParts(value: unknown): string[] {
  if (isNode(value)) {
    const single = stringOf(value);
    if (single !== undefined) return [single];
    const list = nodeAt(value, 'List');
    if (list !== undefined) return nameParts(list['items']);
    const withArgs = nodeAt(value, 'ObjectWithArgs');
    if (withArgs !== undefined) return nameParts(withArgs['objname']);
    const type = nodeAt(value, 'TypeName');
    if (type !== undefined) return nameParts(type['names']);
    return [];
  }
  if (!Array.isArray(value)) return [];
  return value.flatMap((part) => stringOf(part) ?? []);
}

/** What a constant holds, as PostgreSQL would print it; undefined for anything else. */
export function constantOf(node: Node): string | null | undefined {
  const constant = nodeAt(node, 'A_Const');
  if (constant === undefined) return undefined;
  if (constant['isnull'] === true) return null;
  const string = nodeAt(constant, 'sval');
  if (string !== undefined) return textAt(string, 'sval');
  const integer = nodeAt(constant, 'ival');
  if (integer !== undefined) return String(integer['ival'] ?? 0);
  const float = nodeAt(constant, 'fval');
  if (float !== undefined) return textAt(float, 'fval');
  const boolean = nodeAt(constant, 'boolval');
  if (boolean !== undefined) return boolean['boolval'] === true ? 'true' : 'false';
  return undefined;
}

const transparentCasts: ReadonlySet<string> = new Set(['text', 'varchar', 'bool', 'int4', 'int8']);

/** Looks through the casts drivers put round arguments (`$1::text`); other casts may change the value. */
export function argumentOf(value: unknown): Argument {
  if (!isNode(value)) return { kind: 'expression' };
  const cast = nodeAt(value, 'TypeCast');
  if (cast !== undefined) {
    const typeName = nodeAt(cast, 'typeName');
    const type = typeName === undefined ? '' : (nameParts(typeName['names']).at(-1) ?? '');
    const isPlain =
      typeName !== undefined && typeName['typmods'] === undefined && typeName['arrayBounds'] === undefined;
    return isPlain && transparentCasts.has(type) ? castArgument(argumentOf(cast['arg']), type) : { kind: 'expression' };
  }
  const parameter = nodeAt(value, 'ParamRef');
  if (parameter !== undefined) {
    const number = parameter['number'];
    return typeof number === 'number' ? { kind: 'parameter', number } : { kind: 'expression' };
  }
  const constant = constantOf(value);
  return constant === undefined ? { kind: 'expression' } : { kind: 'literal', value: constant };
}

const trueTexts: ReadonlySet<string> = new Set(['true', 't', 'on', 'yes', 'y', '1']);
const falseTexts: ReadonlySet<string> = new Set(['false', 'f', 'off', 'no', 'n', '0']);

function castArgument(argument: Argument, type: string): Argument {
  if (type !== 'bool' || argument.kind !== 'literal' || argument.value === null) return argument;
  const text = argument.value.trim().toLowerCase();
  if (trueTexts.has(text)) return { kind: 'literal', value: 'true' };
  if (falseTexts.has(text)) return { kind: 'literal', value: 'false' };
  return { kind: 'expression' };
}
