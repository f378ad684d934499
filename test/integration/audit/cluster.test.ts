// A trail that several processes write: each its own files, all of them complete when weir has ended.

import { join } from 'node:path';
import t from 'tap';
import { eventually, temporaryDirectory } from '../../support/index.js';
import { RawClient } from '../../support/raw-client.js';
import { startWeirCluster } from '../../support/weir-cluster.js';
import { joined, readTrail, server, verify } from './rig.js';

void t.test('each process writes its own segments, and ends them', async (t) => {
  const directory = join(temporaryDirectory(t), 'audit');
  const weir = await startWeirCluster(t, {
    server: { host: server.host, port: server.port },
    settings: { auth_type: 'trust', audit_dir: directory, audit_mode: 'before', admin_users: ['postgres'] },
    users: { postgres: server.admin.password },
  });
  const clients = await Promise.all(Array.from({ length: 12 }, () => RawClient.connect(weir)));
  await Promise.all(clients.map((client, i) => client.query(`select ${i}`)));
  const console = await RawClient.connect(weir, { database: 'pgbouncer' });
  const { rows } = await console.query('show audit');
  t.equal(rows.length, 2, 'SHOW AUDIT has a row for each');
  await eventually(async () => ((await weir.metric('weir_audit_records_total')) ?? 0) >= 12 * 2);
  t.equal(await weir.metric('weir_audit_failing'), 0);
  await Promise.all([...clients, console].map((client) => client.end()));
  weir.process.signal('SIGTERM');
  await weir.process.ended;
  const statements = joined(readTrail(directory)).map(({ sql, rows: count }) => `${String(sql)} ${String(count)}`);
  t.same(statements.sort(), Array.from({ length: 12 }, (_, i) => `select ${i} 1`).sort());
  const report = await verify(directory);
  t.ok(report.intact, JSON.stringify(report));
  t.equal(report.segments.length, 2);
  t.ok(
    report.segments.every(({ notes }) => notes.join() === 'the trail begins here'),
    'each was ended',
  );
});
