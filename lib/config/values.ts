// Turns one raw value (TOML value or text) into the typed value of its setting, and back into text.

import { Secret } from '../util/index.js';
import type {
  AnyValue,
  BoolType,
  Endpoint,
  EnumType,
  IntType,
  ListType,
  SecondsType,
  SecretType,
  TextType,
  ValueType,
} from './schema.js';

export interface Refusal {
  readonly message: string;
  /** Word to look up among the allowed ones for a "did you mean". */
  readonly word?: string;
}

export type Decoded =
  | { readonly ok: true; readonly value: AnyValue }
  | { readonly ok: false; readonly refusal: Refusal };

/** Text counts as its number or flag, because ini files, the console and `${ENV}` have nothing else. */
export function decodeValue(type: ValueType, raw: unknown): Decoded {
  switch (type.kind) {
    case 'bool':
      return decodeBool(type, raw);
    case 'int':
      return decodeInt(type, raw);
    case 'seconds':
      return decodeSeconds(type, raw);
    case 'mode':
      return decodeMode(raw);
    case 'enum':
      return decodeEnum(type, raw);
    case 'text':
      return decodeText(type, raw);
    case 'list':
      return decodeList(type, raw);
    case 'secret':
      return decodeSecret(type, raw);
    case 'endpoint':
      return decodeEndpoint(raw);
    default:
      return type satisfies never;
  }
}

/** What a problem says is allowed. */
export function describeAllowed(type: ValueType): string {
  switch (type.kind) {
    case 'bool':
      return 'true or false (1 or 0)';
    case 'int':
      if (type.leastWord !== undefined)
        return `${type.leastWord}, or a whole number from ${type.min + 1} to ${type.max}`;
      return `a whole number from ${type.min} to ${type.max}${type.unit === null ? '' : ` (${type.unit})`}`;
    case 'seconds':
      return `seconds from ${type.min} to ${type.max}, fractions allowed`;
    case 'mode':
      return 'octal permissions from 0000 to 0777';
    case 'enum':
      return type.values.join(', ');
    case 'text':
      return `text of at most ${type.bytesMax} bytes`;
    case 'list':
      return type.members === null
        ? `a list, or text separated by commas, of at most ${type.itemsMax} items`
        : `a list of: ${type.members.join(', ')}`;
    case 'secret':
      return `text of at most ${type.bytesMax} bytes`;
    case 'endpoint':
      return 'host:port, [IPv6]:port, or nothing';
    default:
      return type satisfies never;
  }
}

/** The text of a value as PgBouncer writes it: flags as 1 and 0, lists with commas, secrets masked. */
export function printValue(type: ValueType, value: AnyValue): string {
  if (value === null) return '';
  if (value instanceof Secret) return '********';
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (type.kind === 'int' && type.leastWord !== undefined && value === type.min) return type.leastWord;
  if (typeof value === 'number') return type.kind === 'mode' ? `0${value.toString(8).padStart(3, '0')}` : String(value);
  if (typeof value === 'string') return value;
  if (isEndpoint(value))
    return value.host.includes(':') ? `[${value.host}]:${value.port}` : `${value.host}:${value.port}`;
  return value.join(', ');
}

export function sameValue(a: AnyValue | undefined, b: AnyValue | undefined): boolean {
  if (a === b) return true;
  if (a instanceof Secret && b instanceof Secret) return a.reveal() === b.reveal();
  if (a instanceof Secret || b instanceof Secret) return false;
  if (typeof a !== 'object' || typeof b !== 'object') return false;
  return JSON.stringify(a) === JSON.stringify(b);
}

function isEndpoint(value: Endpoint | readonly string[]): value is Endpoint {
  return !Array.isArray(value);
}

function good(value: AnyValue): Decoded {
  return { ok: true, value };
}

function bad(message: string, word?: string): Decoded {
  return { ok: false, refusal: word === undefined ? { message } : { message, word } };
}

const flags = new Map<string, boolean>([
  ['1', true],
  ['true', true],
  ['on', true],
  ['yes', true],
  ['0', false],
  ['false', false],
  ['off', false],
  ['no', false],
]);

function decodeBool(_type: BoolType, raw: unknown): Decoded {
  if (typeof raw === 'boolean') return good(raw);
  const flag = typeof raw === 'string' || typeof raw === 'number' ? flags.get(String(raw).toLowerCase()) : undefined;
  return flag === undefined ? bad('not a flag') : good(flag);
}

function decodeInt(type: IntType, raw: unknown): Decoded {
  if (type.leastWord !== undefined && typeof raw === 'string' && raw.toLowerCase() === type.leastWord) {
    return good(type.min);
  }
  const value = wholeNumber(raw);
  if (value === null) return bad('not a whole number');
  return inRange(type, value);
}

function wholeNumber(raw: unknown): number | null {
  if (typeof raw === 'number') return Number.isSafeInteger(raw) ? raw : null;
  // No leading zero: C would read it as octal, people do not.
  if (typeof raw !== 'string' || !/^(-?(0|[1-9]\d{0,15})|0x[0-9a-f]{1,8})$/i.test(raw)) return null;
  return Number(raw);
}

function decodeSeconds(type: SecondsType, raw: unknown): Decoded {
  if (typeof raw === 'number') return Number.isFinite(raw) ? inRange(type, raw) : bad('not a number of seconds');
  if (typeof raw !== 'string' || !/^-?(\d{1,16}(\.\d*)?|\.\d+)(e[+-]?\d{1,2})?$/i.test(raw)) {
    return bad('not a number of seconds');
  }
  return inRange(type, Number(raw));
}

function inRange(type: IntType | SecondsType, value: number): Decoded {
  return value >= type.min && value <= type.max ? good(value) : bad('out of range');
}

function decodeMode(raw: unknown): Decoded {
  const bits =
    typeof raw === 'string' && /^(0o?)?[0-7]{1,3}$/i.test(raw) ? Number.parseInt(raw.replace(/^0o/i, ''), 8) : raw;
  if (typeof bits !== 'number' || !Number.isInteger(bits)) return bad('not octal permissions');
  return bits >= 0 && bits <= 0o777 ? good(bits) : bad('out of range');
}

function decodeEnum(type: EnumType<string>, raw: unknown): Decoded {
  if (typeof raw !== 'string') return bad('not one of the allowed words');
  const word = raw.toLowerCase();
  if (type.values.includes(word)) return good(word);
  const reason = Object.hasOwn(type.refused, word) ? type.refused[word] : undefined;
  return reason === undefined ? bad('not one of the allowed words', word) : bad(`"${word}" is ${reason}`);
}

function decodeText(type: TextType, raw: unknown): Decoded {
  if (typeof raw !== 'string') return bad('not text');
  return checkText(raw, type.bytesMax) ?? good(raw);
}

function decodeSecret(type: SecretType, raw: unknown): Decoded {
  if (typeof raw !== 'string') return bad('not text');
  return checkText(raw, type.bytesMax) ?? good(new Secret(raw));
}

/** A zero byte ends a string of the protocol, so what follows it would be lost or misread. */
function checkText(value: string, bytesMax: number): Decoded | null {
  if (Buffer.byteLength(value) > bytesMax) return bad('too long');
  return value.includes('\0') ? bad('contains a zero byte') : null;
}

function decodeList(type: ListType, raw: unknown): Decoded {
  const parts: readonly unknown[] | null = typeof raw === 'string' ? raw.split(',') : Array.isArray(raw) ? raw : null;
  if (parts === null) return bad('not a list');
  const items: string[] = [];
  for (const part of parts) {
    if (typeof part !== 'string') return bad('not a list of texts');
    const trimmed = part.trim();
    const item = type.members === null ? trimmed : trimmed.toLowerCase();
    if (item === '') continue;
    if (type.members !== null && !type.members.includes(item))
      return bad(`"${item.slice(0, 40)}" is not allowed`, item);
    const refused = checkText(item, listItemBytesMax);
    if (refused !== null) return refused;
    items.push(item);
  }
  return items.length > type.itemsMax ? bad('too many items') : good(items);
}

const listItemBytesMax = 1024;

function decodeEndpoint(raw: unknown): Decoded {
  if (raw === '') return good(null);
  const match = typeof raw === 'string' ? /^(?:\[([0-9a-f:.%a-z]+)\]|([^:[\]\s]+)):(\d{1,5})$/i.exec(raw) : null;
  if (match === null) return bad('not host:port');
  const port = Number(match[3]);
  return port > 65_535 ? bad('port out of range') : good({ host: match[1] ?? match[2]!, port });
}
