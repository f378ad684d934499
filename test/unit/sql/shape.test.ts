// The scanner against PostgreSQL's lexical rules, one by one.

import t, { type Test } from 'tap';
import { isSafeEncoding } from '../../../lib/sql/index.js';
import { ShapeScanner } from '../../../lib/sql/shape-scanner.js';

const scanner = new ShapeScanner();

function shape(text: string | Buffer, conforming = true): string | undefined {
  const bytes = Buffer.from(text);
  // A neighbourhood that would end or begin strings, to show that the scanner stays within its bounds.
  const padded = Buffer.concat([Buffer.from("'/*"), bytes, Buffer.from('\'*/"')]);
  if (!scanner.scan(padded, 3, 3 + bytes.length, conforming)) return undefined;
  return Buffer.from(scanner.output.subarray(0, scanner.length)).toString();
}

function table(
  t: Pick<Test, 'equal'>,
  cases: readonly (readonly [string, string | undefined])[],
  conforming = true,
): void {
  for (const [text, expected] of cases) t.equal(shape(text, conforming), expected, JSON.stringify(text));
}

void t.test('white space, comments, case of words and closing semicolons do not make another shape', async (t) => {
  const wanted = 'select a, b from t where a = 1';
  for (const text of [
    'select a, b from t where a = 1',
    'SELECT a,b\n\tFROM t WHERE a=2;',
    '/* hint */ Select a /* x /* y */ z */ , b from t -- to the end\n where a= 3 ; ;\n',
    ';;select a,b from t where a\f=\r\n4',
  ]) {
    t.equal(shape(text), wanted, JSON.stringify(text));
  }
});

void t.test('literals give way to placeholders that keep their kind', async (t) => {
  table(t, [
    ['select 1, 2147483647, 2147483648, 1.5, .5, 1., 1e5, 1.5E-3', 'select 1, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0'],
    ['select 0x1F, 0b11, 0o17, 1_000, 0xFFFFFFFF', 'select 1, 1, 1, 1, 1.0'],
    ["select 'a', E'a\\'b', 'it''s', $$x$$, $t$ $$ ' $t$", "select '?', '?', '?', '?', '?'"],
    ["select b'01', X'1F', N'n', U&'\\0041'", "select b'?', x'?', n'?', u&''"],
    ["select 'a'\n'b', 'c' -- and\n\t'd', 'e' 'f'", "select '?', '?', '?' '?'"],
    ['select $1, $12::int', 'select $1, $12 :: int'],
    ['select -1, - 1, 2-1', 'select - 1, - 1, 1 - 1'],
    ['select t1.a2, x$1, _1, été, "Q""i"', 'select t1.a2, x$1, _1, été, "Q""i"'],
    ["select date '2024-01-01', interval '1' year", "select date '?', interval '?' year"],
    ['select a[1:2], b.c', 'select a[1 : 1], b.c'],
    ['', ''],
    [' ; -- nothing', ''],
  ]);
});

void t.test('a list of literals is one literal of each run of a kind, other lists stay', async (t) => {
  table(t, [
    ['select 1 where a in (1, 2,3)', 'select 1 where a in(1)'],
    ["select 1 where a not in ('a','b', 1, 2)", "select 1 where a not in('?', 1)"],
    ['select 1 where a in (-1, - 2)', 'select 1 where a in(- 1)'],
    ['select array[1,2,3], array [1.5, 2]', 'select array[1], array[1.0, 1]'],
    ['select 1 where a in (1, 2 + 3, 4)', 'select 1 where a in(1, 1 + 1, 1)'],
    ['select 1 where a in ($1, $2)', 'select 1 where a in($1, $2)'],
    ['select f(1, 2), (1, 2)', 'select f(1, 1),(1, 1)'],
    ['select s.in(1, 2)', 'select s.in(1, 1)'],
    ["select position('a' in ('b', 'c'))", "select position('?' in('?', '?'))"],
  ]);
});

void t.test('operators end where PostgreSQL ends them', async (t) => {
  table(t, [
    ['select a+-b', 'select a + - b'],
    ['select a@-b', 'select a @- b'],
    ['select a+--c\nb', 'select a + b'],
    ['select a*/* c */b', 'select a * b'],
    ['select a->>b, c?|d, e<=>f', 'select a ->> b, c ?| d, e <=> f'],
    ['select f(a=>1)', 'select f(a => 1)'],
    ['select a:: int, b := 1', 'select a :: int, b := 1'],
  ]);
});

void t.test('without standard_conforming_strings a backslash escapes in every string', async (t) => {
  table(
    t,
    [
      ["select 'a\\'b', 1", "select '?', 1"],
      ["select N'\\'', 1", "select n'?', 1"],
      ["select U&'a'", undefined],
    ],
    false,
  );
  t.ok(
    shape("select 'a\\''", false) !== undefined && scanner.parserDisagrees,
    'and the parser would read it otherwise',
  );
  t.equal(shape("select 'a\\', 1"), "select '?', 1");
  t.equal(scanner.parserDisagrees, false);
  t.ok(shape("select 'a' -- c\n'b'") !== undefined && scanner.parserDisagrees, 'a comment within a string, too');
});

void t.test('what is irregular is refused', async (t) => {
  for (const text of [
    "select 'a",
    'select "a',
    'select $$a',
    'select $a$ $b$',
    'select /* /* */',
    "select E'a\\'",
    "select b'1",
    'select ""',
    'select 1a',
    'select 0x1$$ a $$',
    'select 0x',
    'select 1_',
    'select 1__0',
    'select 1e',
    'select 1..2',
    'select a..b',
    'select $1a',
    'select $',
    'select $a',
    'select \\',
    'select {',
    'select U&"a"',
    'select a\vb',
    "select '\0'",
    'select \0',
    '-- \0',
    '/* \0 */',
    'select "\0"',
    '$$\0$$',
    "select 'a'\n--\0\n'b'",
  ]) {
    t.equal(shape(text), undefined, JSON.stringify(text));
  }
});

void t.test('encodings whose later bytes look like ASCII are told apart', async (t) => {
  for (const name of ['SJIS', 'Shift_JIS_2004', 'BIG5', 'GBK', 'UHC', 'GB18030', 'JOHAB', 'win-936', 'mskanji']) {
    t.equal(isSafeEncoding(name), false, name);
  }
  for (const name of ['UTF8', 'unicode', 'LATIN1', 'EUC_JP', 'SQL_ASCII', 'WIN1252'])
    t.equal(isSafeEncoding(name), true, name);
});

void t.test('a text of a megabyte is scanned, and a shape twice as long as its text fits', async (t) => {
  const dense = '(1),'.repeat(100_000);
  t.equal(shape(dense)?.length, dense.length, 'brackets and commas');
  const holders = "''''".slice(0, 2).concat(',').repeat(100_000);
  t.ok(shape(holders)!.length > holders.length);
});
