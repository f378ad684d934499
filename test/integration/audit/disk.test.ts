// Processes that are killed under load, and disks that are full: what the trail has then, and what clients are told.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import t, { type Test } from 'tap';
import { readiness } from '../../../lib/http/readiness.js';
import { eventually, temporaryDirectory } from '../../support/index.js';
import { mainFile } from '../../support/weir-command.js';
import { startWeirProcess, type WeirProcess } from '../../support/weir-process.js';
import { joined, readTrail, server, start, verify } from './rig.js';

const rounds = 5;
const writers = 12;

/** Inserts one number after the other until the connection ends; answers those that PostgreSQL has said are there. */
async function insertUntilTheEnd(weir: WeirProcess, next: () => number, how: 'simple' | 'prepared'): Promise<number[]> {
  const client = new pg.Client({ host: weir.host, port: weir.port, user: 'postgres', database: 'postgres' });
  client.on('error', () => {});
  const told: number[] = [];
  try {
    await client.connect();
    for (;;) {
      const n = next();
      if (how === 'simple') await client.query(`insert into numbers values (${n})`);
      else await client.query({ name: 'insert', text: 'insert into numbers values ($1)', values: [n] });
      told.push(n);
    }
  } catch {
    return told;
  }
}

/** The numbers that records say were inserted. */
function numbersIn(directory: string): Set<number> {
  const found = new Set<number>();
  for (const { sql, parameters } of joined(readTrail(directory))) {
    const text = /values \((\d+)\)/.exec(String(sql))?.[1] ?? (parameters as string[] | undefined)?.[0];
    if (text !== undefined) found.add(Number(text));
  }
  return found;
}

for (const audit_mode of ['before', 'after'] as const) {
  void t.test(`${audit_mode}: weir is killed under load, again and again`, async (t) => {
    await server.query('truncate numbers');
    const directory = temporaryDirectory(t);
    let last = 0;
    const told: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const weir = await startWeirProcess({
        server: { host: server.host, port: server.port },
        weir: {
          auth_type: 'trust',
          default_pool_size: 4,
          audit_dir: directory,
          audit_mode,
          audit_parameters: 'full',
          audit_segment_bytes: 65_536,
          audit_flush_interval: 0.02,
        },
        users: { postgres: server.admin.password },
      });
      t.teardown(() => weir.stop());
      const ends = Array.from({ length: writers }, (_, i) =>
        insertUntilTheEnd(weir, () => ++last, i % 2 === 0 ? 'simple' : 'prepared'),
      );
      await eventually(() => last > (round + 1) * 200, { withinMs: 20_000 });
      process.kill(weir.pid, 'SIGKILL');
      told.push(...(await Promise.all(ends)).flat());
    }
    // What the killed weir had sent may still be running.
    await eventually(
      async () =>
        (await server.query("select 1 from pg_stat_activity where query like 'insert%' and state = 'active'"))
          .length === 0,
    );
    const rows = (await server.query<{ n: number }>('select n from numbers')).map(({ n }) => n);
    t.ok(rows.length >= told.length && told.length > rounds * 50, `${rows.length} rows, ${told.length} told`);
    const recorded = numbersIn(directory);
    const missing = rows.filter((n) => !recorded.has(n));
    if (audit_mode === 'before') t.same(missing, [], 'no statement that PostgreSQL has seen is missing');
    else t.ok(missing.length < rows.length, `${missing.length} of ${rows.length} were not written yet`);
    t.notOk((await verify(directory)).intact, 'the last of them was killed, too');
    const report = await verify(directory, { running: true });
    t.ok(report.intact, JSON.stringify(report.segments.filter(({ problems }) => problems.length > 0)));
    t.ok(report.segments.length >= rounds);
    const command = [mainFile, 'audit', 'verify', '--running', directory];
    const said = execFileSync(process.execPath, command, { encoding: 'utf8' });
    t.match(said, /records: intact\n$/);
  });
}

void t.test('weir audit verify ends with 1 where something was changed', async (t) => {
  const weir = await start(t);
  const client = await weir.client();
  await client.query('select 1');
  await weir.stop();
  const [name] = readdirSync(weir.directory) as [string];
  const file = join(weir.directory, name);
  writeFileSync(file, readFileSync(file, 'utf8').replace('select 1', 'select 2'));
  const failed = spawnSync(process.execPath, [mainFile, 'audit', 'verify', file], { encoding: 'utf8' });
  t.equal(failed.status, 1);
  t.match(failed.stdout, /problem: one of the records|problem: record/);
});

/** A file system of one megabyte; undefined where none can be mounted. */
function smallDisk(t: Test): string | undefined {
  const place = join(temporaryDirectory(t), 'disk');
  mkdirSync(place);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', place], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  t.teardown(() => execFileSync('umount', [place]));
  return place;
}

for (const audit_on_full of ['block', 'refuse', 'drop'] as const) {
  for (const audit_mode of ['after', 'before'] as const) {
    void t.test(`a full disk, ${audit_mode}, ${audit_on_full}`, async (t) => {
      const place = smallDisk(t);
      if (place === undefined) {
        t.comment('no file system can be mounted here: unit/audit has the same with files that fail');
        t.pass('left to unit/audit');
        return;
      }
      const weir = await start(t, {
        audit_dir: join(place, 'audit'),
        audit_mode,
        audit_on_full,
        audit_queue_bytes: 65_536,
      });
      const ballast = join(place, 'ballast');
      const { bsize, bavail } = statfsSync(place);
      writeFileSync(ballast, Buffer.alloc(bsize * (bavail - 16)));
      const clients = await Promise.all([weir.client(), weir.client(), weir.client()]);
      const outcomes = { done: 0, refused: 0, other: 0 };
      let stop = false;
      const text = `select 1 /* ${'x'.repeat(2_000)} */`;
      const loops = clients.map(async (client, at) => {
        while (!stop) {
          const { errors } = at === 0 ? await client.query(text) : await client.execute(text);
          if (errors.length === 0) outcomes.done++;
          else if (errors[0]?.C === '53100') outcomes.refused++;
          else outcomes.other++;
        }
      });
      const { trail } = weir.pooler;
      await eventually(() => trail?.failing === true, { withinMs: 10_000 });
      const ready = (): boolean => readiness(weir.pooler).reasons.length === 0;
      if (audit_on_full === 'drop') {
        await eventually(() => (trail?.state().dropped ?? 0) > 100);
        t.ok(ready());
      } else {
        t.match(readiness(weir.pooler).reasons, ['the audit trail cannot be written']);
        if (audit_on_full === 'refuse') await eventually(() => outcomes.refused > 10);
        // Those that had begun have ended by now.
        await new Promise((resolve) => setTimeout(resolve, 100));
        const { done } = outcomes;
        await new Promise((resolve) => setTimeout(resolve, 200));
        t.equal(outcomes.done, done, 'nothing runs without a record');
      }
      rmSync(ballast);
      const before = outcomes.done;
      await eventually(() => trail?.failing === false && outcomes.done > before + 20, { withinMs: 10_000 });
      t.ok(ready());
      stop = true;
      await Promise.all(loops);
      t.equal(outcomes.other, 0);
      t.equal(outcomes.refused > 0, audit_on_full === 'refuse');
      await eventually(() => trail?.state().queuedBytes === 0);
      const records = joined(readTrail(join(place, 'audit')));
      const ran = records.filter(({ sqlstate }) => sqlstate === undefined).length;
      if (audit_on_full === 'drop') t.ok(ran < outcomes.done);
      else t.equal(ran, outcomes.done, 'each that ran has its record');
      await weir.stop();
      t.ok((await verify(join(place, 'audit'))).intact);
    });
  }
}
