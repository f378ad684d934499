// A trail that several processes write: each its own files, all of them complete when weir has ended.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readSealKey } from '../../../lib/audit/index.js';
import { eventually, temporaryDirectory } from '../../support/index.js';
import { RawClient } from '../../support/raw-client.js';
import { startWeirCluster } from '../../support/weir-cluster.js';
import { mainFile } from '../../support/weir-command.js';
import { joined, readTrail, server, verify } from './rig.js';

void t.test('each process writes its own segments, and ends them', async (t) => {
  const directory = join(temporaryDirectory(t), 'audit');
  const keyFile = join(temporaryDirectory(t), 'key');
  writeFileSync(keyFile, '0123456789abcdef'.repeat(4), { mode: 0o600 });
  const weir = await startWeirCluster(t, {
    server: { host: server.host, port: server.port },
    settings: {
      auth_type: 'trust',
      audit_dir: directory,
      audit_key_file: keyFile,
      audit_mode: 'before',
      admin_users: ['postgres'],
    },
    users: { postgres: server.admin.password },
  });
  const clients = await Promise.all(Array.from({ length: 12 }, () => RawClient.connect(weir)));
  await Promise.all(clients.map((client, i) => client.query(`select ${i}`)));
  const console = await RawClient.connect(weir, { database: 'pgbouncer' });
  const { rows } = await console.query('show audit');
  const seals = rows.map((row) => row.at(-1) as string);
  const text = await (await fetch(`http://127.0.0.1:${weir.httpPort}/metrics`)).text();
  const told = [...text.matchAll(/^weir_audit_seal\{.*process="\d+".*\} (\d+)$/gm)];
  t.equal(told.length, 2, 'a series for each process');
  for (const [, value] of told) seals.push(Number(value).toString(16).padStart(12, '0'));
  t.equal(rows.length, 2, 'SHOW AUDIT has a row for each');
  await eventually(async () => ((await weir.metric('weir_audit_records_total')) ?? 0) >= 12 * 2);
  t.equal(await weir.metric('weir_audit_failing'), 0);
  await Promise.all([...clients, console].map((client) => client.end()));
  weir.process.signal('SIGTERM');
  await weir.process.ended;
  const statements = joined(readTrail(directory)).map(({ sql, rows: count }) => `${String(sql)} ${String(count)}`);
  t.same(statements.sort(), Array.from({ length: 12 }, (_, i) => `select ${i} 1`).sort());
  const check = (...flags: string[]): number | null =>
    spawnSync(process.execPath, [mainFile, 'audit', 'verify', directory, ...flags]).status;
  t.equal(check('--key-file', keyFile, '--expect', ...seals), 0, 'the seals of console and metrics are there');
  t.equal(check('--key-file', keyFile, '--expect', 'f'.repeat(12)), 1);
  t.equal(check(), 1, 'without the key nobody can tell');
  const report = await verify(directory, { key: readSealKey(keyFile) });
  t.ok(report.intact, JSON.stringify(report));
  t.equal(report.segments.length, 2);
  t.ok(
    report.segments.every(({ notes }) => notes.join() === 'the trail begins here'),
    'each was ended',
  );
});
