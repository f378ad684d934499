// What `weir audit verify` notices: each way to change a trail that somebody might think of.

import t from 'tap';
import { verifySegments } from '../../../lib/audit/index.js';
import { expired } from '../../../lib/audit/segments.js';
import { verifyText } from '../../../lib/cli/audit-verify.js';
import { eventually } from '../../support/index.js';
import { MemoryDirectory, note, rig } from './rig.js';

/** Three segments of four groups with three records each. */
async function written(): Promise<MemoryDirectory> {
  const limits = { segmentBytes: 1_700, segmentAgeMs: 0, keeping: { segments: 0, days: 0 } };
  const { directory, trail } = await rig({ limits });
  for (let i = 0; i < 12; i++) {
    for (let j = 0; j < 3; j++) note(trail, `record ${3 * i + j + 1}`);
    await eventually(() => trail.durable === 3 * i + 3);
  }
  await trail.close();
  return directory;
}

async function problemsAfter(change: (lines: string[], names: string[]) => void, index = 0): Promise<string[]> {
  const directory = await written();
  const names = [...directory.files.keys()];
  const name = names[index] as string;
  const lines = (directory.files.get(name) as Buffer).toString().split('\n');
  const before = [...names];
  change(lines, names);
  directory.files.set(name, Buffer.from(lines.join('\n')));
  for (const gone of before.filter((one) => !names.includes(one))) directory.files.delete(gone);
  const report = await verifySegments(directory, names);
  const problems = report.segments.flatMap((segment) => segment.problems);
  t.equal(report.intact, problems.length === 0);
  return problems;
}

function recordLines(lines: readonly string[]): number[] {
  return lines.flatMap((line, index) => (line.startsWith('{"seq"') ? [index] : []));
}

void t.test('a trail nobody has touched is intact', async (t) => {
  const directory = await written();
  t.ok(directory.files.size >= 3);
  const report = await verifySegments(directory, directory.files.keys());
  t.ok(report.intact);
  t.match(verifyText(report).at(-1), /files, 36 records: intact$/);
});

void t.test('a changed byte', async (t) => {
  const problems = await problemsAfter((lines) => {
    const at = recordLines(lines)[4] as number;
    lines[at] = (lines[at] as string).replace('record', 'recorD');
  });
  t.match(problems, [/^one of the records 4 to 6 has been changed/]);
});

void t.test('a record removed', async (t) => {
  const problems = await problemsAfter((lines) => lines.splice(recordLines(lines)[4] as number, 1));
  t.match(problems, [/^record 5 is missing/]);
});

void t.test('records in another order', async (t) => {
  const problems = await problemsAfter((lines) => {
    const [a, b] = recordLines(lines).slice(3, 5) as [number, number];
    [lines[a], lines[b]] = [lines[b] as string, lines[a] as string];
  });
  t.match(problems, [/^record 5 is out of its order/]);
});

void t.test('a record added', async (t) => {
  const problems = await problemsAfter((lines) => {
    const at = recordLines(lines)[4] as number;
    lines.splice(at, 0, lines[at] as string);
  });
  t.equal(problems.length, 1);
});

void t.test('a group removed with its seal', async (t) => {
  const problems = await problemsAfter((lines) => lines.splice(recordLines(lines)[3] as number, 4));
  t.equal(problems.length, 1, 'the seal behind it does not go on from the one before it');
});

void t.test('a segment removed from the middle, or its end cut off', async (t) => {
  t.match(await problemsAfter((_lines, names) => names.splice(1, 1)), [/which it goes on from, is not here/]);
  t.match(await problemsAfter((lines) => lines.splice(-5)), [/the end of .* is missing or changed/]);
});

void t.test('a segment renamed, or without its beginning', async (t) => {
  const directory = await written();
  const [name, bytes] = [...directory.files][0] as [string, Buffer];
  directory.files.delete(name);
  directory.files.set(name.replace('.1.jsonl', '.9.jsonl'), bytes);
  t.notOk((await verifySegments(directory, directory.files.keys())).intact);
  t.match(await problemsAfter((lines) => lines.splice(0, 1)), [/first line/, /./]);
  t.equal((await problemsAfter((lines) => lines.splice(0))).length >= 1, true);
});

void t.test('lines added behind the last seal of a segment that has ended', async (t) => {
  const problems = await problemsAfter((lines) => lines.splice(-1, 1, '{"seq":99,"event":"statement"}', ''));
  t.match(problems, [/has at its end was changed later/]);
});

void t.test('the first segments may be gone, and nothing at all is not intact', async (t) => {
  t.same(await problemsAfter((_lines, names) => names.splice(0, 1), 2), []);
  t.notOk((await verifySegments(new MemoryDirectory(), [])).intact);
});

void t.test('what is kept: so many of each process, so many days, and always the newest', async (t) => {
  const day = 86_400_000;
  const entries = [1, 2, 3, 4].flatMap((number) =>
    [0, 1].map((process) => ({ name: `audit.100.${process}.${number}.jsonl`, modifiedMs: number * day })),
  );
  entries.push({ name: 'other.jsonl', modifiedMs: 0 });
  const numbers = (segments: number, days: number, now: number): string[] =>
    expired(entries, { segments, days }, now * day).map((name) => name.slice(10, 13));
  t.same(numbers(0, 0, 1_000), []);
  t.same(numbers(2, 0, 5), ['0.1', '0.2', '1.1', '1.2']);
  t.same(numbers(0, 2, 4.5), ['0.1', '0.2', '1.1', '1.2']);
  t.same(numbers(0, 1, 1_000), ['0.1', '0.2', '0.3', '1.1', '1.2', '1.3'], 'the newest may be written');
  t.same(numbers(1, 0, 5).length, 6);
});
