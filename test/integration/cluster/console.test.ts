// Several processes answer as one: cancels, the console, metrics, the count of wrong passwords, a Unix socket.

import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import t from 'tap';
import { eventually, freePort, temporaryDirectory } from '../../support/index.js';
import { isRunning } from '../../support/processes.js';
import { RawClient, sendCancelRequest, startup } from '../../support/raw-client.js';
import { replaceWorker, server, start } from './rig.js';

t.test('a cancel request reaches its client whichever worker it arrives at', async (t) => {
  const weir = await start(t);
  for (let i = 0; i < 8; i++) {
    const client = await RawClient.open(weir);
    client.write(startup({ user: 'app' }));
    await client.until('R').catch(() => {});
    await client.vanish();
  }
  const clients = await Promise.all(Array.from({ length: 6 }, () => weir.connect()));
  for (const client of clients) {
    const running = client.query('select pg_sleep(30)').then(
      () => 'done',
      (error: pg.DatabaseError) => error.code,
    );
    await eventually(async () => {
      const rows = await server.query(
        "select 1 from pg_stat_activity where query like '%pg_sleep(30)' and state = 'active' and pid <> pg_backend_pid()",
      );
      return rows.length > 0;
    });
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const secret = Buffer.alloc(4);
    secret.writeInt32BE(secretKey);
    await sendCancelRequest(weir, processID, secret);
    t.equal(await running, '57014');
  }
  // Nobody else's, and nobody's.
  const { processID } = clients[0] as unknown as { processID: number };
  await sendCancelRequest(weir, (processID & ~63) | 63, Buffer.alloc(4));
  t.match((await clients[0]?.query('select 1 as one'))?.rows, [{ one: 1 }]);
});

t.test('the console speaks for all workers', async (t) => {
  const weir = await start(t, { default_pool_size: 4 });
  const clients = await Promise.all(Array.from({ length: 6 }, () => weir.connect({ application_name: 'mine' })));
  await Promise.all(clients.map((client) => client.query('select 1')));
  const rows = (await weir.console('show clients')).filter(({ application_name }) => application_name === 'mine');
  t.equal(rows.length, 6);
  t.equal(new Set(rows.map(({ id }) => id)).size, 6, 'ids are apart');
  const pools = await weir.console('show pools');
  t.match(
    pools.find(({ database }) => database === 'postgres'),
    { cl_active: 6 },
  );
  t.equal(pools.length, 2, 'one row a pool');
  const totals = await weir.console('show totals');
  t.ok(Number(totals.find(({ name }) => name === 'total_query_count')?.['value']) >= 6);

  for (const [i, { id }] of rows.entries()) {
    if (i < 2) await weir.console(`kill_client ${id}`);
  }
  await t.rejects(weir.console('kill_client 4000000'), { message: /client not found/ });
  await eventually(async () => {
    const left = await weir.console('show clients');
    return left.filter(({ application_name }) => application_name === 'mine').length === 4;
  });

  await weir.console('pause');
  t.same(
    await weir.console('show state'),
    [
      { key: 'active', value: 'no' },
      { key: 'paused', value: 'yes' },
      { key: 'suspended', value: 'no' },
    ],
    'all of them',
  );
  await t.rejects(weir.console('pause'), { message: /already/ });
  const waiting = Promise.all(clients.slice(2).map((client) => client.query('select 2 as two').catch(() => undefined)));
  t.equal(await Promise.race([waiting, sleep(300, 'waits')]), 'waits');
  await weir.console('resume');
  await waiting;

  await weir.console('set query_timeout = 77');
  await replaceWorker(weir);
  for (let i = 0; i < 4; i++) {
    const config = await weir.console('show config');
    t.match(
      config.find(({ key }) => key === 'query_timeout'),
      { value: '77' },
      'what was SET is set in the new worker too',
    );
  }

  const good = readFileSync(weir.configFile, 'utf8');
  writeFileSync(weir.configFile, `${good}\n[weird]\n`);
  await t.rejects(weir.console('reload'), { message: /RELOAD failed/ });
  writeFileSync(weir.configFile, good.replace('default_pool_size = 4', 'default_pool_size = 5'));
  await weir.console('reload');
  for (let i = 0; i < 4; i++) {
    const config = await weir.console('show config');
    t.match(
      config.find(({ key }) => key === 'default_pool_size'),
      { value: '5' },
    );
    t.match(
      config.find(({ key }) => key === 'query_timeout'),
      { value: '0' },
    );
  }
  await t.rejects(weir.console('select nonsense'), { code: '08P01' });
});

t.test('metrics and readiness are of all workers', async (t) => {
  const weir = await start(t);
  const clients = await Promise.all(Array.from({ length: 5 }, () => weir.connect()));
  for (const client of clients) await client.query('select 1');
  t.equal(await weir.metric('weir_client_connections'), 5);
  t.equal(await weir.metric('weir_client_connections_limit'), 100, 'a limit is not added up');
  t.equal(await weir.metric('weir_workers'), 2);
  t.equal(await weir.metric('weir_query_duration_seconds_count{database="postgres",user="app"}'), 5);
  const open = await fetch(`http://127.0.0.1:${weir.httpPort}/metrics`, {
    headers: { accept: 'application/openmetrics-text' },
  });
  const text = await open.text();
  t.match(text, /# TYPE weir_queries counter\nweir_queries_total\{[^}]*\} 5\n/);
  t.match(text, /# EOF\n$/);
  const ready = await fetch(`http://127.0.0.1:${weir.httpPort}/readyz`);
  t.same([ready.status, await ready.json()], [200, { status: 'ready', reasons: [] }]);
  await weir.console('pause');
  t.equal((await fetch(`http://127.0.0.1:${weir.httpPort}/readyz`)).status, 503);
});

t.test('wrong passwords count over all workers', async (t) => {
  const weir = await start(t, { max_login_failures: 4 });
  const codes: (string | undefined)[] = [];
  for (let i = 0; i < 10; i++) {
    const error = await weir.connect({ password: 'wrong' }).then(
      () => undefined,
      (cause: pg.DatabaseError) => cause,
    );
    codes.push(error?.message);
  }
  t.ok(
    codes.slice(6).every((message) => message === 'login rejected'),
    `after ${codes.filter((message) => message !== 'login rejected').length} tries`,
  );
});

t.test('a Unix socket is shared too, also where a killed process has left its file', async (t) => {
  const directory = temporaryDirectory(t);
  const port = await freePort();
  const first = await start(t, { unix_socket_dir: directory, listen_port: port });
  const over = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) {
      const client = await first.connect({ host: directory, port });
      t.match((await client.query('select 1 as one')).rows, [{ one: 1 }]);
      await client.end();
    }
  };
  await over();
  const workers = first.workers();
  first.process.signal('SIGKILL');
  await first.process.ended;
  await eventually(() => !workers.some(isRunning));
  await start(t, { unix_socket_dir: directory, listen_port: port });
  await over();
});
