// What a record says of a statement's text: the text itself or what stands for it, what its parse tells, and for whom it was run.

import { createHash } from 'node:crypto';
import type { StatementFacts } from '../sql/index.js';
import { JsonLine } from './json-line.js';

/** How a statement is written down. */
export type SqlForm = 'full' | 'normalised' | 'hash';

/** Bytes of one statement's text that are written down. */
export const textBytesMax = 64 * 1024;

/** What is the same each time a shape runs: members of a record, each behind its comma. */
const members = new WeakMap<StatementFacts, Buffer>();

export function membersOf(facts: StatementFacts): Buffer {
  let known = members.get(facts);
  if (known === undefined) {
    const names = facts.tables.map(({ schema, name, access }) => ({ name: qualified(schema, name), access }));
    const written = names.filter(({ access }) => access === 'write').map(({ name }) => name);
    const line = new JsonLine(256);
    line.ascii(',"shape":');
    line.string(facts.shape?.id ?? '');
    line.ascii(`,"kinds":${JSON.stringify(facts.kinds)},"tables":`);
    writeList(line, [...new Set(names.map(({ name }) => name))]);
    if (written.length > 0) {
      line.ascii(',"writes":');
      writeList(line, [...new Set(written)]);
    }
    known = line.copy();
    members.set(facts, known);
  }
  return known;
}

function qualified(schema: string | null, name: string): string {
  return schema === null ? name : `${schema}.${name}`;
}

function writeList(line: JsonLine, texts: readonly string[]): void {
  line.ascii('[');
  for (const [index, text] of texts.entries()) {
    if (index > 0) line.ascii(',');
    line.string(text);
  }
  line.ascii(']');
}

/**
 * Writes the member `sql`, behind its comma.
 * @param total the text's real length, where `end` is not its end @param bytesMax of the text
 */
export function writeSql(
  line: JsonLine,
  form: SqlForm,
  facts: StatementFacts,
  bytes: Buffer,
  start: number,
  end: number,
  total: number,
  bytesMax: number,
): void {
  line.ascii(',"sql":');
  if (form === 'normalised') {
    const shape = facts.shape?.text;
    // Nobody knows where its literals are.
    if (shape === undefined) line.ascii('null');
    else line.text(shape, 0, Math.min(shape.length, bytesMax));
    return;
  }
  if (form === 'hash') {
    // Of what has been seen of a text that is too long to be held.
    line.ascii(`"${createHash('sha256').update(bytes.subarray(start, end)).digest('hex')}"`);
  } else {
    line.text(bytes, start, wholeCharacters(bytes, start, end, bytesMax));
  }
  if (total > Math.min(end - start, form === 'full' ? bytesMax : total)) line.ascii(`,"sql_bytes":${total}`);
}

/** Where to end so that no character is cut in two. */
function wholeCharacters(bytes: Buffer, start: number, end: number, bytesMax: number): number {
  if (end - start <= bytesMax) return end;
  let at = start + bytesMax;
  while (at > start && ((bytes[at] as number) & 0xc0) === 0x80) at--;
  return at;
}

/** Bytes at the end of a text in which a tag is looked for. */
const tagBytesMax = 1024;
/** Names are looked for only where one begins: else a long word would be tried from each of its letters. */
const tags = /(?<![^\s=,'])([^\s=,']+)='((?:[^'\\]|\\.)*)'/g;
const star = 0x2a;
const slash = 0x2f;
const semicolon = 0x3b;

/**
 * The value of a tag in the comment a text ends with, as sqlcommenter writes it: `name='value'` with percent escapes.
 */
export function commentTag(bytes: Buffer, start: number, end: number, name: string): string | undefined {
  let last = end - 1;
  while (last > start && ((bytes[last] as number) <= 0x20 || bytes[last] === semicolon)) last--;
  if (bytes[last] !== slash || bytes[last - 1] !== star || last - start < 4) return undefined;
  const from = Math.max(start, last - tagBytesMax);
  const text = bytes.toString('latin1', from, last - 1);
  const opened = text.lastIndexOf('/*');
  if (opened < 0) return undefined;
  for (const [, key, value] of text.slice(opened + 2).matchAll(tags))
    if (key !== undefined && value !== undefined && decoded(key) === name) return decoded(value.replaceAll("\\'", "'"));
  return undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(Buffer.from(text, 'latin1').toString('utf8'));
  } catch {
    return text;
  }
}
