// The scanner against PostgreSQL's own parser: a shape parses to the tree of its text but for constants, so equal shapes mean equal trees.

import { isUtf8 } from 'node:buffer';
import t from 'tap';
import { createStatementCatalog } from '../../lib/sql/index.js';
import { compileParser, type ParseOutcome, ParserInstance } from '../../lib/sql/parser-instance.js';
import { ShapeScanner } from '../../lib/sql/shape-scanner.js';
import { SqlGenerator } from './sql-generator.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 6_000);

const compiled = await compileParser();
let instance = await ParserInstance.create(compiled);

async function parse(bytes: Uint8Array): Promise<ParseOutcome> {
  const outcome = instance.parse(bytes);
  if (outcome.kind === 'broken') instance = await ParserInstance.create(compiled);
  return outcome;
}

const positions =
  /^(location|stmt_location|stmt_len|list_start|list_end|rexpr_list_start|rexpr_list_end|name_location)$/;

/** Literals outside constants; the parser leaves out empty ones and zeros. */
const literalFields = /^(filename|payload|comment|howMany)$/;

/** The tree without positions and without the values of constants; lists that differ in their number of constants alike. */
function skeleton(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(skeleton);
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    if (positions.test(key) || literalFields.test(key)) continue;
    if (key === 'A_Const') out[key] = constantKind(inner);
    else if (key === 'Integer' || key === 'Float') out[key] = 'constant';
    // float(n) is one of two types, by its number.
    else if (key === 'sval' && (inner === 'float4' || inner === 'float8')) out[key] = 'float';
    else if (key === 'listdatums') out[key] = folded(skeleton(inner) as unknown[]);
    else if (key === 'DefElem') out[key] = definition(inner);
    else out[key] = skeleton(inner);
  }
  fold(out, 'A_ArrayExpr', 'elements');
  const expression = out['A_Expr'] as Record<string, unknown> | undefined;
  if (expression?.['kind'] === 'AEXPR_IN') {
    const list = (expression['rexpr'] as { List?: { items: unknown[] } }).List;
    if (list !== undefined) list.items = folded(list.items);
  }
  return out;
}

/** null and booleans are words, not literals, and stay. */
function constantKind(constant: unknown): unknown {
  const kinds = Object.keys(constant as object).filter((key) => key !== 'location');
  return kinds.includes('boolval') || kinds.includes('isnull')
    ? JSON.stringify(constant).replace(/,?"location":\d+/, '')
    : kinds;
}

/** Options hold their literals as bare nodes. */
function definition(value: unknown): unknown {
  const { arg, ...rest } = skeleton(value) as Record<string, unknown>;
  return { ...rest, arg: withoutStrings(arg) };
}

function withoutStrings(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutStrings);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, key === 'String' ? 'constant' : withoutStrings(inner)]),
  );
}

function fold(out: Record<string, unknown>, node: string, list: string): void {
  const body = out[node] as Record<string, unknown> | undefined;
  if (body !== undefined && Array.isArray(body[list])) body[list] = folded(body[list]);
}

function folded(items: unknown[]): unknown[] {
  return items.filter(
    (item, i) => i === 0 || !isConstant(item) || JSON.stringify(item) !== JSON.stringify(items[i - 1]),
  );
}

/** N'...' is a constant cast to bpchar. */
function isConstant(item: unknown): boolean {
  const json = JSON.stringify(item);
  return (
    json.startsWith('{"A_Const"') || (json.startsWith('{"TypeCast":{"arg":{"A_Const"') && json.includes('"bpchar"'))
  );
}

function firstDifference(a: string, b: string): string {
  let at = 0;
  while (a[at] === b[at]) at++;
  return `${text(Buffer.from(a.slice(at - 40, at + 40)))} became ${text(Buffer.from(b.slice(at - 40, at + 40)))}`;
}

/** In plain ASCII without `#`: test output has its own idea of both. */
function text(bytes: Uint8Array): string {
  const escaped = (char: string) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
  return `"${Buffer.from(bytes)
    .toString('latin1')
    .replaceAll(/[^ !$-~]/g, escaped)}"`;
}

void t.test(
  `every scanned text and its shape have the same tree but for constants (SEED=${seed} STEPS=${steps})`,
  async (t) => {
    t.plan(3);
    const generator = new SqlGenerator(seed);
    const scanner = new ShapeScanner();
    const trees = new Map<string, string>();
    let compared = 0;
    let refused = 0;
    const differences: string[] = [];
    for (let step = 0; step < steps; step++) {
      const bytes =
        step % 3 === 0 ? generator.mutated() : Buffer.from(step % 7 === 0 ? generator.soup() : generator.statement());
      const isScanned = scanner.scan(bytes, 0, bytes.length, true);
      if (bytes.includes(0)) {
        if (isScanned) differences.push(`a NUL was scanned over: ${text(bytes)}`);
        continue;
      }
      if (!isUtf8(bytes)) continue;
      const original = await parse(bytes);
      if (original.kind !== 'tree' || scanner.parserDisagrees) continue;
      if (!isScanned) {
        refused++;
        continue;
      }
      const shape = Buffer.from(scanner.output.subarray(0, scanner.length));
      const canonical = await parse(shape);
      if (canonical.kind !== 'tree') {
        differences.push(`the shape does not parse: ${text(bytes)} => ${text(shape)}`);
        continue;
      }
      const expected = JSON.stringify(skeleton(original.tree));
      const found = JSON.stringify(skeleton(canonical.tree));
      if (expected !== found) differences.push(`${text(bytes)} => ${text(shape)}: ${firstDifference(expected, found)}`);
      const known = trees.get(shape.toString());
      if (known !== undefined && known !== expected)
        differences.push(`two trees, one shape: ${text(bytes)} => ${text(shape)}`);
      trees.set(shape.toString(), expected);
      scanner.scan(shape, 0, shape.length, true);
      const again = scanner.output.subarray(0, scanner.length);
      if (!shape.equals(again)) differences.push(`the shape has another shape: ${text(shape)}`);
      compared++;
    }
    t.comment(`${compared} compared, ${trees.size} shapes, ${refused} valid texts refused`);
    t.same(differences.slice(0, 10), []);
    t.ok(compared > steps * 0.3, 'a good part of the texts could be compared');
    t.ok(refused < steps * 0.05, 'few valid texts are refused');
  },
);

void t.test('any bytes whatever are answered without an exception, in both string modes', async (t) => {
  t.plan(2);
  const catalog = await createStatementCatalog({ maxEntries: 64, maxBytes: 16_384, inspectLimitBytes: 2_000 });
  const generator = new SqlGenerator(seed ^ 0x5bd1e995);
  let known = 0;
  for (let step = 0; step < steps; step++) {
    const bytes = step % 2 === 0 ? generator.mutated() : Buffer.from(generator.soup());
    const padded = Buffer.concat([Buffer.from('Q'), bytes, Buffer.from("\0'")]);
    const facts = catalog.lookup(padded, 1, 1 + bytes.length, {
      standardConformingStrings: step % 4 < 2,
      encoding: 'safe',
    });
    if (facts.known) known++;
  }
  const stats = catalog.stats();
  t.ok(known > 0, 'some are known');
  t.ok(
    stats.shapes <= 64 && stats.shapeBytes <= 16_384 + 2_000 && stats.texts <= 64,
    'and the catalog keeps its bounds',
  );
  await catalog.close();
});
