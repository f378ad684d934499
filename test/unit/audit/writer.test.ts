// The writer on a disk that fails: nothing is lost, nothing is written twice into one place, and what it says is true.

import t from 'tap';
import { verifySegments } from '../../../lib/audit/index.js';
import { eventually } from '../../support/index.js';
import { type Fault, MemoryDirectory, note, policy, rig } from './rig.js';

async function texts(directory: MemoryDirectory): Promise<unknown[]> {
  return directory.records().map(({ text }) => text);
}

function report(directory: MemoryDirectory): ReturnType<typeof verifySegments> {
  return verifySegments(directory, directory.files.keys());
}

void t.test('records are written in their order, numbered, and verified', async (t) => {
  const { directory, trail } = await rig();
  for (let i = 0; i < 50; i++) {
    note(trail, `record ${i}`);
    if (i % 10 === 0) await eventually(() => trail.durable === i + 1);
  }
  await trail.close();
  const records = directory.records();
  t.same(
    records.map(({ seq, text }) => [seq, text]),
    Array.from({ length: 50 }, (_, i) => [i + 1, `record ${i}`]),
  );
  t.equal(records[0]?.['time'], '2023-11-14T22:13:20.000Z');
  const { intact, segments } = await report(directory);
  t.ok(intact);
  t.same(segments[0]?.notes, ['the trail begins here']);
  t.equal(directory.text().trim().split('\n').at(-2)?.includes('"close"'), true);
});

void t.test('records that come while a group is written make the next group', async (t) => {
  const { directory, trail } = await rig();
  let release = (): void => {};
  directory.beforeSync = () => new Promise((resolve) => (release = resolve));
  const before = directory.syncs;
  note(trail, 'first');
  await eventually(() => directory.text().includes('first'));
  for (let i = 0; i < 100; i++) note(trail, `later ${i}`);
  t.equal(trail.durable, 0, 'what is not synced is not durable');
  directory.beforeSync = () => Promise.resolve();
  release();
  await eventually(() => trail.durable === 101);
  t.equal(directory.syncs - before, 2, 'two groups');
  await trail.close();
});

for (const fault of ['write', 'half a write', 'sync'] satisfies Fault[]) {
  void t.test(`after a failure of a ${fault} the trail goes on, complete and intact`, async (t) => {
    const { directory, trail, troubles } = await rig();
    note(trail, 'before');
    await eventually(() => trail.durable === 1);
    directory.fault = fault;
    note(trail, 'during');
    await eventually(() => trail.failing);
    t.equal(trail.durable, 1);
    t.ok(trail.full, 'statements that begin now wait');
    note(trail, 'later');
    await new Promise((resolve) => setTimeout(resolve, 10));
    directory.fault = undefined;
    await eventually(() => trail.durable === 3);
    await trail.close();
    t.equal(troubles.length, 2, 'told once at the beginning and once at the end');
    t.equal(troubles[1], undefined);
    const found = await texts(directory);
    t.same([...new Set(found)], ['before', 'during', 'later']);
    const { intact, segments } = await report(directory);
    t.ok(intact, JSON.stringify(segments));
    if (fault !== 'sync') t.equal(found.length, 3, 'nothing twice');
  });
}

void t.test('a disk that takes nothing does not keep the process from ending', async (t) => {
  const { directory, trail } = await rig();
  directory.fault = 'write';
  note(trail, 'lost');
  await eventually(() => trail.failing);
  await trail.close();
  t.same(await texts(directory), []);
});

void t.test('a trail cannot be begun on a disk that takes nothing', async (t) => {
  const directory = new MemoryDirectory();
  directory.fault = 'create';
  await t.rejects(rig({}, directory), { message: /ENOSPC/ });
});

void t.test('segments follow each other by size, and the oldest are removed', async (t) => {
  const limits = { segmentBytes: 2_000, segmentAgeMs: 0, keeping: { segments: 3, days: 0 } };
  const { directory, trail } = await rig({ limits });
  for (let i = 0; i < 60; i++) {
    note(trail, 'x'.repeat(200));
    await eventually(() => trail.durable === i + 1);
  }
  await trail.close();
  t.equal(directory.files.size, 3);
  t.ok([...directory.files.values()].every((bytes) => bytes.length < 3_000));
  const { intact, segments } = await report(directory);
  t.ok(intact, JSON.stringify(segments));
  t.match(segments[0]?.notes[0], /goes on from, is not here/);
});

void t.test('segments follow each other by age, but not while they are empty', async (t) => {
  const limits = { segmentBytes: 1_000_000, segmentAgeMs: 1_000, keeping: { segments: 0, days: 0 } };
  const { directory, trail, clock } = await rig({ limits });
  clock.advance(5_000);
  note(trail, 'one');
  await eventually(() => trail.durable === 1);
  t.equal(directory.files.size, 1);
  clock.advance(999);
  note(trail, 'two');
  await eventually(() => trail.durable === 2);
  t.equal(directory.files.size, 2, 'the first was old');
  await trail.close();
  t.ok((await report(directory)).intact);
});

void t.test('the next process goes on where one died, and what that left is kept as it is', async (t) => {
  const { directory, trail, clock } = await rig();
  note(trail, 'sealed');
  await eventually(() => trail.durable === 1);
  const [name, bytes] = [...directory.files][0] as [string, Buffer];
  directory.files.set(name, Buffer.concat([bytes, Buffer.from('{"seq":2,"event":"st')]));
  clock.advance(10);
  const next = await rig({}, directory, clock);
  note(next.trail, 'next');
  await next.trail.close();
  t.equal(directory.files.size, 2);
  const { intact, segments } = await report(directory);
  t.ok(intact, JSON.stringify(segments));
  t.match(segments[0]?.notes, [/the trail begins here/, /1 lines behind the last seal, the last of them cut off/]);
  const torn = directory.files.get(name) as Buffer;
  directory.files.set(name, Buffer.concat([torn, Buffer.from('atement"}\n')]));
  t.notOk((await report(directory)).intact, 'nor can anybody finish it later');
});

void t.test('a process may die while it begins a segment', async (t) => {
  for (const rest of ['', '{"event":"segm']) {
    const { directory, trail, clock } = await rig();
    note(trail, 'one');
    await trail.close();
    const [name] = [...directory.files.keys()] as [string];
    directory.files.set(name.replace('.0.1.jsonl', '.0.2.jsonl'), Buffer.from(rest));
    clock.advance(10);
    const next = await rig({}, directory, clock);
    note(next.trail, 'two');
    await next.trail.close();
    const { segments, intact } = await report(directory);
    t.equal(segments.length, 3);
    t.ok(intact, JSON.stringify(segments));
  }
});

void t.test('with drop what there is no room for is counted, and the trail tells', async (t) => {
  const { directory, trail } = await rig({ onFull: 'drop', queueBytesMax: 1_000 });
  directory.fault = 'write';
  for (let i = 0; i < 40; i++) note(trail, 'x'.repeat(100));
  const { dropped } = trail.state();
  t.ok(dropped > 20);
  directory.fault = undefined;
  await eventually(() => trail.state().queuedBytes === 0);
  note(trail, 'there is room');
  await trail.close();
  const told = directory.records().filter(({ event }) => event === 'dropped');
  t.same(
    told.map(({ records }) => records),
    [dropped],
  );
  t.equal(directory.records().length, 40 - dropped + 2);
});

void t.test('what runs already cannot fill the memory', async (t) => {
  const { directory, trail } = await rig({ onFull: 'block', queueBytesMax: 1_000 });
  directory.fault = 'write';
  for (let i = 0; i < 100; i++) note(trail, 'x'.repeat(100));
  const { queuedBytes, dropped } = trail.state();
  t.ok(queuedBytes >= 2_000 && queuedBytes < 2_500, `${queuedBytes} bytes`);
  t.ok(dropped > 70);
  await trail.close();
});

void t.test('nothing is written behind the end', async (t) => {
  const { directory, trail } = await rig();
  note(trail, 'one');
  await trail.close();
  note(trail, 'too late');
  await new Promise((resolve) => setTimeout(resolve, 10));
  t.same(await texts(directory), ['one']);
  t.equal(directory.files.size, 1);
});

void t.test('another policy holds for what comes after it', async (t) => {
  const { trail } = await rig({ statements: new Set() });
  t.notOk(trail.isOn);
  trail.configure(policy);
  t.ok(trail.isOn);
  await trail.close();
});
