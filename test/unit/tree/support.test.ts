// Tests what the tests stand on: the counting of results, waiting, the clock moved by hand, temporary directories.

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { eventually, FakeClock, temporaryDirectory } from '../../support/index.js';
import { TapResults } from '../../support/tap-results.js';

const sample = `TAP version 14
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
# Subtest: breaks
    not ok 1 - equal
      ---
      diff: |
        -2
        +1
      ...
    1..1
not ok 4 - breaks
# Subtest: asserts nothing
    1..0
ok 5 - asserts nothing
1..5
`;

void t.test('results are counted by assertion, and a subtest without any is a failure', async (t) => {
  for (const pieceLength of [1, 7, sample.length]) {
    const { passed, failed, skipped, skips, failures } = read(sample, pieceLength).end();
    t.same({ passed, failed, skipped }, { passed: 3, failed: 2, skipped: 2 });
    t.match(skips, [/without psql: no psql/, /later/]);
    t.match(failures[0], { name: /breaks > equal/, diagnostics: { diff: '-2\n+1\n' } });
    t.match(failures[1], { name: /asserts nothing/, diagnostics: { reason: 'it asserts nothing' } });
  }
});

void t.test('a stream that stops short is not complete', async (t) => {
  const complete = [
    '1..2\nok 1 - fine\n',
    '# Subtest: a\n    ok 1 - fine\n',
    'ok 1 - fine\n1..1\n',
    'not ok 1\n1..1\n',
  ];
  t.same(
    complete.map((tap) => read(tap).end().complete),
    [false, false, true, true],
  );
  const { passed, failed, skipped } = read('', 1).end();
  t.same({ passed, failed, skipped }, { passed: 0, failed: 0, skipped: 0 });
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
  await t.rejects(vain, { message: /^not so within 30 ms/, cause: { message: 'never' } });
  await t.rejects(
    eventually(() => false, { withinMs: 1 }),
    { message: /^not so within 1 ms/ },
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

function read(tap: string, pieceLength = 100): TapResults {
  const results = new TapResults(() => {});
  for (let at = 0; at < tap.length; at += pieceLength) results.write(tap.slice(at, at + pieceLength));
  return results;
}
