// What `weir audit verify` notices: each way to change a trail that somebody might think of.

import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { beginGroup, noSeal, parseHeader, parseSeal, sealLine } from '../../../lib/audit/chain.js';
import { readSealKey, verifySegments } from '../../../lib/audit/index.js';
import { expired } from '../../../lib/audit/segments.js';
import { auditVerify, verifyText } from '../../../lib/cli/audit-verify.js';
import { type PoolerError, Secret } from '../../../lib/util/index.js';
import { eventually, FakeClock, temporaryDirectory } from '../../support/index.js';
import { MemoryDirectory, note, rig } from './rig.js';

/** Three segments of four groups with three records each. */
async function written(key?: Secret): Promise<MemoryDirectory> {
  const limits = { segmentBytes: 1_700, segmentAgeMs: 0, keeping: { segments: 0, days: 0 } };
  const { directory, trail } = await rig({ limits }, new MemoryDirectory(), new FakeClock(1_700_000_000_000), key);
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

const key = new Secret('0123456789abcdef0123456789abcdef');

function linesOf(directory: MemoryDirectory, name: string): string[] {
  return (directory.files.get(name) as Buffer).toString().split('\n').slice(0, -1);
}

function put(directory: MemoryDirectory, name: string, lines: readonly string[]): void {
  directory.files.set(name, Buffer.from(lines.map((line) => `${line}\n`).join('')));
}

/** All seals anew, as somebody would who has no key. */
function sealedAnew(directory: MemoryDirectory): void {
  let seal = noSeal;
  for (const name of [...directory.files.keys()].sort()) {
    const made: string[] = [];
    let group: string[] = [];
    for (const line of linesOf(directory, name)) {
      const before = parseHeader(line)?.previous?.seal;
      const found = parseSeal(line);
      if (found === undefined) group.push(before === undefined ? line : line.replace(before, seal));
      else {
        seal = beginGroup(seal)
          .update(group.map((each) => `${each}\n`).join(''))
          .digest('hex');
        made.push(...group, sealLine(seal, found.records).trimEnd());
        group = [];
      }
    }
    put(directory, name, made);
  }
}

function lastSeal(directory: MemoryDirectory): string {
  const all = directory
    .text()
    .split('\n')
    .flatMap((line) => parseSeal(line)?.hash ?? []);
  return all.at(-1) as string;
}

async function verdict(directory: MemoryDirectory, options: Parameters<typeof verifySegments>[2]): Promise<boolean> {
  return (await verifySegments(directory, directory.files.keys(), options)).intact;
}

void t.test('a trail that was cut at a seal, by some lines or by its last file', async (t) => {
  for (const cut of ['lines', 'file'] as const) {
    const directory = await written();
    const expected = [lastSeal(directory)];
    t.ok(await verdict(directory, { expected }));
    const last = [...directory.files.keys()].sort().at(-1) as string;
    const lines = linesOf(directory, last);
    const seals = lines.flatMap((line, index) => (parseSeal(line) === undefined ? [] : [index]));
    if (cut === 'file') directory.files.delete(last);
    else put(directory, last, lines.slice(0, (seals.at(-2) as number) + 1));
    t.notOk(await verdict(directory, {}), 'it has no end');
    t.ok(await verdict(directory, { running: true }), 'as one that is being written has none');
    t.notOk(await verdict(directory, { running: true, expected }), 'but a seal that was told is gone');
    t.notOk(await verdict(directory, { running: true, expected: [(expected[0] as string).slice(0, 12)] }));
  }
});

void t.test('an older copy, whole in itself', async (t) => {
  const { directory, trail } = await rig();
  note(trail, 'one');
  await trail.close();
  const copy = new Map(directory.files);
  const { trail: next } = await rig({}, directory, new FakeClock(1_700_000_100_000));
  note(next, 'two');
  await next.close();
  const expected = [next.state().seal];
  t.ok(await verdict(directory, { expected }));
  directory.files.clear();
  for (const [name, bytes] of copy) directory.files.set(name, bytes);
  t.ok(await verdict(directory, {}), 'by itself it is sound');
  const report = await verifySegments(directory, directory.files.keys(), { expected });
  t.same(report.missing, expected);
  t.match(verifyText(report).join('\n'), /is not here.*older copy/);
});

void t.test('a trail whose seals were all computed anew', async (t) => {
  for (const secret of [undefined, key]) {
    const directory = await written(secret);
    t.ok(await verdict(directory, { key: secret }));
    const expected = [lastSeal(directory)];
    const name = [...directory.files.keys()].sort()[0] as string;
    put(
      directory,
      name,
      linesOf(directory, name).map((line) => line.replace('record 5', 'record X').replace('hmac-sha256', 'sha256')),
    );
    sealedAnew(directory);
    t.notOk(await verdict(directory, { key: secret, expected }), 'a seal told elsewhere shows it');
    if (secret === undefined) t.ok(await verdict(directory, {}), 'without a key nothing else does');
    else t.notOk(await verdict(directory, { key: secret }), 'so does the key');
  }
});

void t.test('seals with a key', async (t) => {
  const directory = await written(key);
  t.notMatch(directory.text(), /0123456789abcdef0123456789abcdef/);
  t.notOk(await verdict(directory, {}), 'cannot be checked without it');
  t.notOk(await verdict(directory, { key: new Secret('f'.repeat(32)) }), 'nor with another');
  const [name] = [...directory.files.keys()] as [string];
  put(
    directory,
    name,
    linesOf(directory, name).map((line) => line.replace('record 5', 'record X')),
  );
  t.notOk(await verdict(directory, { key }));
});

void t.test(
  'what was written before there was a key is protected by what is behind it, and nothing without one is',
  async (t) => {
    const directory = new MemoryDirectory();
    for (const [index, secret] of [undefined, key].entries()) {
      const { trail } = await rig({}, directory, new FakeClock(1_700_000_000_000 + index * 1_000), secret);
      note(trail, 'a note');
      await trail.close();
      t.equal(await verdict(directory, { key }), secret === key);
    }
    const { trail } = await rig({}, directory, new FakeClock(1_700_000_009_000));
    note(trail, 'a note');
    await trail.close();
    t.notOk(await verdict(directory, { key }));
  },
);

void t.test('the latest seal is told when a minute has gone by, and at the end', async (t) => {
  const { trail, clock, seals } = await rig();
  for (let i = 1; i <= 3; i++) {
    note(trail, 'a note');
    await eventually(() => trail.durable === i);
  }
  t.equal(seals.length, 1);
  clock.advance(60_000);
  note(trail, 'a note');
  await eventually(() => trail.durable === 4);
  t.equal(seals.length, 2);
  t.equal(seals[1], trail.state().seal);
  await trail.close();
  t.equal(seals.at(-1), trail.state().seal);
  t.equal(new Set(seals).size, 3);
});

void t.test('a key is read from a file that nobody else may read', async (t) => {
  const file = join(temporaryDirectory(t), 'key');
  writeFileSync(file, `${key.reveal()}\n`, { mode: 0o600 });
  t.equal(readSealKey(file).reveal(), key.reveal());
  const refusal = (path: string): unknown => {
    try {
      return readSealKey(path);
    } catch (error) {
      const { message, detail, hint } = error as PoolerError;
      return [message, detail, hint].join('; ');
    }
  };
  for (const mode of [0o644, 0o660, 0o602]) {
    chmodSync(file, mode);
    t.match(refusal(file), /its mode is \d+; chmod 600/);
  }
  chmodSync(file, 0o600);
  writeFileSync(file, 'x'.repeat(31));
  t.match(refusal(file), /the key in it has 31 bytes; .*openssl/);
  writeFileSync(file, 'x'.repeat(32));
  t.equal(readSealKey(file).reveal().length, 32);
  t.match(refusal(`${file}.none`), /ENOENT/);
});

void t.test('a seal that is none is refused', async (t) => {
  for (const seal of ['', 'abc', 'x'.repeat(64), '0'.repeat(65), '0123456789a'])
    await t.rejects(
      auditVerify(['.'], { expect: [seal] }, () => {}),
      { message: /is no seal/ },
    );
});
