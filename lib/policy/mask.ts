// Puts a sub-select with masked columns in the place of every masked table of a text, which stays as it is but for that.

import { createHmac } from 'node:crypto';
import { type Deeds, type RelationDeed, type StatementDeeds, TokenMap } from '../sql/index.js';
import type { Secret } from '../util/index.js';
import type { Names } from './decide.js';
import type { MaskDefinition, MaskMethod } from './document.js';
import type { Ruleset } from './ruleset.js';
import { type Column, isSystemSchema, type Relation } from './schema.js';

interface Splice {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Who sees a text, and what its names mean. */
interface Reader {
  readonly ruleset: Ruleset;
  readonly names: Names | undefined;
}

/**
 * @param deeds of this text's own parse
 * @returns undefined where some table in it cannot be replaced
 */
export function maskText(text: Buffer, deeds: Deeds, ruleset: Ruleset, names: Names): Buffer | undefined {
  const tokens = TokenMap.of(text);
  if (tokens === undefined) return undefined;
  const splices = new Map<number, Splice>();
  for (const statement of deeds.statements) {
    const replaced: RelationDeed[] = [];
    for (const deed of statement.relations) {
      const table = maskedTable(deed, { ruleset, names });
      if (table === undefined) continue;
      const span = tokens.relation(deed.location);
      if (span === undefined || table === 'unknown') return undefined;
      const query = maskedQuery(table, span.only, ruleset.document.maskKey, systemColumns(statement, table));
      const named = deed.alias === null ? `(${query}) AS ${quoted(table.relation.name)}` : `(${query})`;
      splices.set(span.start, {
        start: span.start,
        end: span.end,
        text: span.table ? `SELECT * FROM ${named}` : named,
      });
      replaced.push(deed);
    }
    for (const { parts, location } of statement.columns) {
      // `public.people.email`: the sub-select has no schema.
      const isOfReplaced = ({ schema, name, alias }: RelationDeed): boolean =>
        alias === null && schema !== null && parts.at(-2) === name && parts.at(-3) === schema;
      if (parts.length < 3 || location < 0 || !replaced.some(isOfReplaced)) continue;
      const end = tokens.partOfName(location, parts.length - 2);
      if (end === undefined) return undefined;
      splices.set(location, { start: location, end, text: '' });
    }
  }
  return spliced(text, [...splices.values()]);
}

/** `schema.table.column` of each column that `maskText` hides. */
export function maskedColumns(deeds: Deeds, ruleset: Ruleset, names: Names): string[] {
  const found = new Set<string>();
  for (const deed of deeds.statements.flatMap(({ relations }) => relations)) {
    const table = maskedTable(deed, { ruleset, names });
    if (table === undefined || table === 'unknown') continue;
    const { schema, name } = table.relation;
    for (const column of table.masks.keys()) found.add(`${schema}.${name}.${column}`);
  }
  return [...found];
}

/** Whether the tables of a text that are masked are replaced by the same for both. */
export function isMaskedAlike(deeds: Deeds, left: Reader, right: Reader): boolean {
  const relations = deeds.statements.flatMap((statement) => statement.relations);
  return relations.every((deed) => replacement(deed, left) === replacement(deed, right));
}

function replacement(deed: RelationDeed, reader: Reader): string | undefined {
  const table = maskedTable(deed, reader);
  if (table === undefined || table === 'unknown') return undefined;
  return maskedQuery(table, false, reader.ruleset.document.maskKey);
}

interface MaskedTable {
  readonly relation: Relation;
  readonly columns: readonly Column[];
  readonly masks: ReadonlyMap<string, MaskDefinition>;
}

/** What a sub-select has to take the place of; undefined where nothing is masked, `unknown` where nobody knows with what. */
function maskedTable(deed: RelationDeed, { ruleset, names }: Reader): MaskedTable | 'unknown' | undefined {
  if (!deed.replaceable || deed.name === null || names === undefined) return undefined;
  const candidates = names.schema.candidates(deed.schema, deed.name, names.path);
  const [relation] = candidates;
  if (relation === undefined || candidates.length > 1) return undefined;
  const masks = ruleset.masksOf(relation, names.schema);
  if (masks === undefined) return undefined;
  const { columns } = relation;
  return masks === 'unknown' || columns === undefined ? 'unknown' : { relation, columns, masks };
}

function spliced(text: Buffer, splices: Splice[]): Buffer {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const { start, end, text: inserted } of splices.sort((left, right) => left.start - right.start)) {
    pieces.push(text.subarray(at, start), Buffer.from(inserted));
    at = end;
  }
  pieces.push(text.subarray(at));
  return Buffer.concat(pieces);
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Of a catalog, those the statement speaks of: tools ask for them. */
function systemColumns(statement: StatementDeeds, { relation }: MaskedTable): readonly string[] {
  if (!isSystemSchema(relation.schema) || relation.isView) return [];
  const spoken = new Set([...statement.columnNames, ...statement.columns.map(({ parts }) => parts.at(-1))]);
  return ['tableoid', 'ctid', 'xmin', 'xmax', 'cmin', 'cmax'].filter((name) => spoken.has(name));
}

function maskedQuery(
  { relation, columns, masks }: MaskedTable,
  only: boolean,
  key: Secret | undefined,
  more: readonly string[] = [],
): string {
  const shown = columns.map((column) => {
    const mask = masks.get(column.name);
    if (mask === undefined) return quoted(column.name);
    const ownKey = key === undefined ? hiddenKey : columnKey(key, relation, column);
    return `${maskedValue(column, mask.method, ownKey)} AS ${quoted(column.name)}`;
  });
  return `SELECT ${[...more, ...shown].join(', ')} FROM ${only ? 'ONLY ' : ''}${quoted(relation.schema)}.${quoted(relation.name)}`;
}

/** In texts that are shown, whose document has no key. */
const hiddenKey = '***';

/** What is found out about one column's key tells nothing of another's. */
function columnKey(key: Secret, relation: Relation, column: Column): string {
  const path = `${relation.schema}\0${relation.name}\0${column.name}`;
  return createHmac('sha256', key.reveal()).update(path).digest('hex');
}

// Of no array.
const texts = /^(text|character varying|character|bpchar|name|"char")(\(\d+\))?$/;
const numbers = /^(smallint|integer|bigint|numeric|real|double precision)(\([-\d,]+\))?$/;
const dates = /^(date|timestamp(\(\d\))? without time zone)$/;
const instants = /^timestamp(\(\d\))? with time zone$/;

/** Every name in it is qualified: the client's search path has no say. A type a mask is not made for becomes null. */
function maskedValue(column: Column, method: MaskMethod, key: string): string {
  const name = quoted(column.name);
  const { type } = column;
  const asText = `CAST(${name} AS pg_catalog.text)`;
  switch (method.kind) {
    case 'null':
      return nothing(type);
    case 'constant':
      return `CAST(${literal(method.value)} AS ${type})`;
    case 'hash':
      return hashed(asText, type, key);
    case 'partial': {
      if (!texts.test(type)) return nothing(type);
      const { keepFirst, keepLast, fill } = method;
      const long = `pg_catalog.length(${asText}) OPERATOR(pg_catalog.>) ${keepFirst + keepLast}`;
      const first = `pg_catalog.left(${asText}, ${keepFirst})`;
      const last = keepLast === 0 ? "''" : `pg_catalog.right(${asText}, ${keepLast})`;
      const whole = joined(joined(first, literal(fill)), last);
      return `CAST(CASE WHEN ${name} IS NULL THEN NULL WHEN ${long} THEN ${whole} ELSE ${literal(fill)} END AS ${type})`;
    }
    case 'email': {
      if (!texts.test(type)) return nothing(type);
      const first = `pg_catalog.left(${asText}, 1)`;
      const domain = `pg_catalog.split_part(${asText}, '@', 2)`;
      // A list of addresses, or one with words around it, has more behind the first @ than a domain.
      const isOne = `${asText} OPERATOR(pg_catalog.~) '^[^@]+@[[:alnum:].-]+$'`;
      const whole = joined(joined(first, literal('***@')), domain);
      return `CAST(CASE WHEN ${name} IS NULL THEN NULL WHEN ${isOne} THEN ${whole} ELSE '***' END AS ${type})`;
    }
    case 'number': {
      if (!numbers.test(type)) return nothing(type);
      const step = `CAST(${literal(String(method.step))} AS pg_catalog.numeric)`;
      // Towards zero: what is further away may be out of the type's range.
      const steps = `pg_catalog.trunc(CAST(${name} AS pg_catalog.numeric) OPERATOR(pg_catalog./) ${step})`;
      return `CAST(${steps} OPERATOR(pg_catalog.*) ${step} AS ${type})`;
    }
    case 'date': {
      const cut = (time: string): string => `pg_catalog.date_trunc(${literal(method.unit)}, ${time})`;
      // By the session's TimeZone it would be cut at any moment the client likes, which finds out the rest.
      const inUtc = (time: string): string => `pg_catalog.timezone('UTC', ${time})`;
      if (instants.test(type)) return `CAST(${inUtc(cut(inUtc(name)))} AS ${type})`;
      if (!dates.test(type)) return nothing(type);
      return `CAST(${cut(`CAST(${name} AS pg_catalog.timestamp)`)} AS ${type})`;
    }
    case 'sql':
      return `CAST((${method.expression.replaceAll('{column}', () => name)}) AS ${type})`;
    default:
      return method satisfies never;
  }
}

function nothing(type: string): string {
  return `CAST(NULL AS ${type})`;
}

function joined(left: string, right: string): string {
  return `${left} OPERATOR(pg_catalog.||) ${right}`;
}

/** Equal values stay equal. */
function hashed(asText: string, type: string, key: string): string {
  const keyed = `pg_catalog.convert_to(${joined(literal(key), asText)}, 'UTF8')`;
  const hex = `pg_catalog.encode(pg_catalog.sha256(${keyed}), 'hex')`;
  if (texts.test(type)) return `CAST(${hex} AS ${type})`;
  if (type === 'uuid') return `CAST(pg_catalog.left(${hex}, 32) AS pg_catalog.uuid)`;
  if (type !== 'integer' && type !== 'bigint') return nothing(type);
  const digits = type === 'integer' ? 7 : 15;
  const bits = `CAST(${joined("'x'", `pg_catalog.left(${hex}, ${digits})`)} AS pg_catalog.bit(${digits * 4}))`;
  return `CAST(${bits} AS ${type})`;
}

/** Read alike whatever standard_conforming_strings says. */
function literal(text: string): string {
  const doubled = text.replaceAll("'", "''");
  return text.includes('\\') ? ` E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
}
