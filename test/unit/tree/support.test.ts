// Tests what the tests stand on: the counting of results, waiting, the clock moved by hand, temporary directories.

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { eventually, FakeClock, temporaryDirectory } from '../../support/index.js';
import { type Counts, type FileResult, TapResults } from '../../support/tap-results.js';

const sample = `TAP version 14
1..2
# Subtest: unit/a.test.js
    # Subtest: adds up
        ok 1 - one
        ok 2 - two
        # Subtest: deeper
            ok 1 - three
            1..1
        ok 3 - deeper
        1..3
    ok 1 - adds up
    ok 2 - without psql # SKIP no psql
    not ok 3 - later # TODO
    1..3
ok 1 - unit/a.test.js # time=40ms

# Subtest: unit/b.test.js
    # Subtest: breaks
        not ok 1 - equal
          ---
          diff: |
            -2
            +1
          ...
        1..1
    not ok 1 - breaks
    # Subtest: asserts nothing
        1..0
    ok 2 - asserts nothing
    1..2
not ok 2 - unit/b.test.js # time=30ms
`;

void t.test('results are counted by assertion, and a subtest without any is a failure', async (t) => {
  for (const pieceLength of [1, 7, sample.length]) {
    const { counts, files } = read(sample, pieceLength);
    t.same(counts, { passed: 3, failed: 2, skipped: 2 });
    t.same(
      files.map(({ file, passed, failed, skipped, ms }) => ({ file, passed, failed, skipped, ms })),
      [
        { file: 'unit/a.test.js', passed: 3, failed: 0, skipped: 2, ms: 40 },
        { file: 'unit/b.test.js', passed: 0, failed: 2, skipped: 0, ms: 30 },
      ],
    );
    t.match(files[1]?.failures[0], { name: /breaks > equal/, diagnostics: { diff: '-2\n+1\n' } });
    t.match(files[1]?.failures[1], { name: /asserts nothing/, diagnostics: { reason: 'it asserts nothing' } });
  }
});

void t.test('a file that breaks outside its assertions, and a stream that stops short, are failures', async (t) => {
  const broken =
    '1..1\n# Subtest: c.test.js\n    ok 1 - fine\n    1..1\nnot ok 1 - c.test.js\n  ---\n  exitCode: 3\n  ...\n';
  t.same(read(broken, 100).counts, { passed: 1, failed: 1, skipped: 0 });
  t.same(read('1..2\n# Subtest: c.test.js\n    ok 1 - fine\n    1..1\nok 1 - c.test.js\n', 100).counts.failed, 1);
  t.same(read('1..1\n# Subtest: c.test.js\n    ok 1 - fine\n', 100).counts.failed, 1);
  t.same(read('', 1).counts, { passed: 0, failed: 0, skipped: 0 });
});

void t.test('eventually gives what it waited for, and the last reason when it waited in vain', async (t) => {
  let calls = 0;
  const answer = await eventually(() => {
    calls++;
    if (calls === 1) throw new Error('not yet');
    return calls > 2 && 'there';
  });
  t.equal(answer, 'there');
  t.equal(calls, 3);
  const vain = eventually(() => Promise.reject(new Error('never')), { withinMs: 30 });
  await t.rejects(vain, { message: 'not so within 30 ms', cause: { message: 'never' } });
  await t.rejects(
    eventually(() => false, { withinMs: 1 }),
    { message: 'not so within 1 ms' },
  );
});

void t.test('a fake clock moves only when it is told, and only forward', async (t) => {
  const clock = new FakeClock(1_000);
  t.same([clock.now(), clock.wallMs()], [0, 1_000]);
  clock.advance(2.5);
  t.same([clock.now(), clock.wallMs()], [2.5, 1_002]);
  t.throws(() => clock.advance(-1), RangeError);
  t.throws(() => clock.advance(Number.NaN), RangeError);
});

void t.test('a temporary directory lasts as long as its test', async (t) => {
  let path = '';
  await t.test('within', async (t) => {
    path = temporaryDirectory(t);
    writeFileSync(join(path, 'file'), 'text');
    t.ok(existsSync(path));
  });
  t.notOk(existsSync(path));
});

function read(tap: string, pieceLength: number): { counts: Counts; files: FileResult[] } {
  const files: FileResult[] = [];
  const results = new TapResults({ file: (result) => files.push(result), text: () => {} });
  for (let at = 0; at < tap.length; at += pieceLength) results.write(tap.slice(at, at + pieceLength));
  return { counts: results.end(), files };
}
