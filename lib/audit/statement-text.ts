// What a record says of a statement's text: the text itself or what stands for it, what its parse tells, and for whom it was run.

import { createHash } from 'node:crypto';
import type { StatementFacts, TableName } from '../sql/index.js';
import { JsonLine } from './json-line.js';

/** How a statement is written down. */
export type SqlForm = 'full' | 'normalised' | 'hash';

/** Bytes of a statement that are written down; a longer one is refused. */
export const textBytesMax = 16 * 1024 * 1024;
/** The same of one that is refused for its length. */
const beginningBytesMax = 8 * 1024;
/** No line of a trail is longer: each byte of a text may have become six. */
export const lineBytesMax = 6 * textBytesMax + 2 * 1024 * 1024;

/** What is the same each time a shape runs: members of a record, each behind its comma. */
const members = new WeakMap<StatementFacts, Buffer>();

export function membersOf(facts: StatementFacts): Buffer {
  let known = members.get(facts);
  if (known === undefined) {
    const named = facts.names.flatMap(({ query }) => (query === undefined ? [] : [query]));
    const kinds = [...facts.kinds, ...named.map(({ kind }) => kind)];
    // What is only prepared writes nothing yet.
    const tables = [...facts.tables, ...named.flatMap(({ tables }) => tables.map(asRead))];
    const line = new JsonLine(256);
    writeFacts(line, facts, kinds, tables);
    known = line.copy();
    members.set(facts, known);
  }
  return known;
}

function asRead(table: TableName): TableName {
  return { ...table, access: 'read' };
}

/** Something that is run by its name. */
export interface Run {
  readonly kinds: readonly string[];
  readonly tables: readonly TableName[];
  /** Columns that it reads masked. */
  readonly masked: readonly string[] | undefined;
}

/** The same members of a statement that runs others, which is the first of them where it does something itself. */
export function writeRuns(line: JsonLine, facts: StatementFacts, runs: readonly Omit<Run, 'masked'>[]): void {
  const kinds = runs.flatMap(({ kinds }) => kinds);
  writeFacts(
    line,
    facts,
    [...new Set(kinds)],
    runs.flatMap(({ tables }) => tables),
  );
}

function writeFacts(
  line: JsonLine,
  { shape }: StatementFacts,
  kinds: readonly string[],
  tables: readonly TableName[],
): void {
  const names = tables.map(({ schema, name, access }) => ({ name: qualified(schema, name), access }));
  const written = names.filter(({ access }) => access === 'write').map(({ name }) => name);
  line.ascii(',"shape":');
  line.string(shape?.id ?? '');
  line.ascii(`,"kinds":${JSON.stringify(kinds)},"tables":`);
  writeList(line, [...new Set(names.map(({ name }) => name))]);
  if (written.length > 0) {
    line.ascii(',"writes":');
    writeList(line, [...new Set(written)]);
  }
}

/** Lists that are the same for many records: roles, masked columns. */
const lists = new WeakMap<readonly string[], Buffer>();

/** A member that is a list of texts, behind its comma. @param name always the same for one list */
export function listMember(name: string, texts: readonly string[]): Buffer {
  let known = lists.get(texts);
  if (known === undefined) {
    const line = new JsonLine(128);
    line.ascii(`,"${name}":`);
    writeList(line, texts);
    known = line.copy();
    lists.set(texts, known);
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
 * @param total the text's real length; where that is not all here, its beginning is written, and how long it is
 */
export function writeSql(
  line: JsonLine,
  form: SqlForm,
  facts: StatementFacts,
  bytes: Buffer,
  start: number,
  end: number,
  total: number,
): void {
  line.ascii(',"sql":');
  if (form === 'normalised') {
    const shape = facts.shape?.text;
    // Nobody knows where its literals are.
    if (shape === undefined) line.ascii('null');
    else line.text(shape, 0, shape.length);
    return;
  }
  const isWhole = end - start >= total;
  const shown = isWhole ? end : wholeCharacters(bytes, start, end, beginningBytesMax);
  if (form === 'full') line.text(bytes, start, shown);
  else line.ascii(`"${createHash('sha256').update(bytes.subarray(start, shown)).digest('hex')}"`);
  if (!isWhole) line.ascii(`,"sql_bytes":${total}`);
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
