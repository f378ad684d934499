// The cells of the tables in the reference: what type a key has, and its default.

import type { AnyValue, ValueType } from './schema.js';
import { printValue } from './values.js';

export function typeCell(type: ValueType): string {
  switch (type.kind) {
    case 'bool':
      return 'flag';
    case 'int':
      if (type.leastWord !== undefined) return `\`${type.leastWord}\`, or number, ${type.min + 1} to ${type.max}`;
      return `${type.unit ?? 'number'}, ${type.min} to ${type.max}`;
    case 'seconds':
      return `seconds, ${type.min} to ${type.max}`;
    case 'mode':
      return 'octal';
    case 'enum':
      return type.values.map((value) => `\`${value}\``).join(', ');
    case 'text':
      return 'text';
    case 'list':
      return type.members === null ? 'list' : `list of ${type.members.map((member) => `\`${member}\``).join(', ')}`;
    case 'secret':
      return 'secret text';
    case 'endpoint':
      return 'host:port';
    default:
      return type satisfies never;
  }
}

export function defaultCell(type: ValueType, value: AnyValue): string {
  if (typeof value === 'boolean') return `\`${String(value)}\``;
  const printed = printValue(type, value);
  return printed === '' ? 'empty' : `\`${printed}\``;
}

/** A bar would end the cell. */
export function tableRow(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
