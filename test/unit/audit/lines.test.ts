// Lines of JSON out of any bytes, parameters of a Bind, and the tag that says for whom a statement is run.

import fc from 'fast-check';
import t from 'tap';
import { JsonLine } from '../../../lib/audit/json-line.js';
import { writeParameters } from '../../../lib/audit/parameters.js';
import { commentTag } from '../../../lib/audit/statement-text.js';

function parsed(write: (line: JsonLine) => void): unknown {
  const line = new JsonLine(1);
  write(line);
  return JSON.parse(line.copy().toString('utf8'));
}

void t.test('any text comes back as it was', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary-ascii' }), (left, right) => {
      const text = left + right;
      return parsed((line) => line.string(text)) === text;
    }),
    { seed: Number(process.env['SEED'] ?? 1) },
  );
  t.pass('for every text');
});

void t.test('any bytes give JSON in UTF-8, and those that are no UTF-8 count as Latin-1', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const line = new JsonLine(1);
      line.text(bytes, 0, bytes.length);
      const text = new TextDecoder('utf-8', { fatal: true }).decode(line.copy());
      return typeof JSON.parse(text) === 'string' && !text.includes('\n');
    }),
    { seed: Number(process.env['SEED'] ?? 1) },
  );
  for (const [bytes, text] of [
    [[0x63, 0xe9, 0x21], 'cé!'],
    [[0xe2, 0x82, 0xac], '€'],
    [[0xe2, 0x82], 'â\x82'],
    [[0xed, 0xa0, 0x80], 'í\xa0\x80'],
    [[0xc0, 0xaf], 'À¯'],
    [[0xf0, 0x9f, 0x98, 0x80], '😀'],
    [[0xf4, 0x90, 0x80, 0x80], 'ô\x90\x80\x80'],
    [[0, 0x0a, 0x22, 0x5c, 0x7f], '\0\n"\\\x7f'],
  ] as const) {
    t.equal(
      parsed((line) => line.text(Uint8Array.from(bytes), 0, bytes.length)),
      text,
    );
  }
});

void t.test('numbers are written in full', async (t) => {
  for (const value of [0, 7, 9, 10, 99, 100, 12_345, 2 ** 32, Number.MAX_SAFE_INTEGER])
    t.equal(
      parsed((line) => line.integer(value)),
      value,
    );
});

void t.test('parameters are values, lengths, or what is known of them', async (t) => {
  const bind = (formats: readonly number[], values: readonly (Buffer | null)[]): Buffer => {
    const words = (numbers: readonly number[]): Buffer =>
      Buffer.concat(numbers.map((number) => Buffer.from([number >> 8, number & 255])));
    const lengths = values.map((value) => {
      const length = Buffer.alloc(4);
      length.writeInt32BE(value === null ? -1 : value.length);
      return Buffer.concat([length, value ?? Buffer.alloc(0)]);
    });
    return Buffer.concat([words([formats.length, ...formats, values.length]), ...lengths, words([0])]);
  };
  const read = (form: 'redacted' | 'full', bytes: Buffer, end = bytes.length): unknown =>
    parsed((line) => writeParameters(line, form, bytes, 0, end));
  const [a, b] = [Buffer.from('it"s'), Buffer.from([0, 255])];
  t.same(read('full', bind([], [a, null])), ['it"s', null]);
  t.same(read('full', bind([0, 1], [a, b])), ['it"s', '\\x00ff']);
  t.same(read('full', bind([1], [b, b])), ['\\x00ff', '\\x00ff']);
  t.same(read('redacted', bind([0, 1], [a, b])), [4, 2]);
  t.same(read('full', bind([], [Buffer.alloc(5_000, 'x'), a])), [{ bytes: 5_000 }, 'it"s'], 'a long one is its length');
  const cut = bind([], [a, Buffer.alloc(100, 'x')]);
  t.same(read('full', cut, cut.length - 50), ['it"s', { bytes: 100 }], 'one that has not all come');
  t.same(read('full', Buffer.alloc(0)), []);
});

void t.test('the tag in the comment a text ends with says for whom it is run', async (t) => {
  const tag = (text: string, name = 'user'): string | undefined => {
    const bytes = Buffer.from(text);
    return commentTag(bytes, 0, bytes.length, name);
  };
  t.equal(tag("SELECT 1 /*route='%2Fa',user='ann%20lee'*/"), 'ann lee');
  t.equal(tag("SELECT 1 /*user='o%27hara'*/ ; \n"), "o'hara");
  t.equal(tag("SELECT 1 /*user='o\\'hara'*/"), "o'hara");
  t.equal(tag("SELECT 1 /*user='%E2%82%AC'*/"), '€');
  t.equal(tag("SELECT 1 /*my%20tag='x'*/", 'my tag'), 'x');
  t.equal(tag("SELECT 1 /*user='%zz'*/"), '%zz', 'a wrong escape stands for itself');
  for (const text of [
    "SELECT 1 /*superuser='x'*/",
    "SELECT '/*user=''x''*/'",
    "/*user='x'*/ SELECT 1",
    '',
    '*/',
    '/*/',
  ])
    t.equal(tag(text), undefined, text);
});
