// What happens to several processes when one of them dies or hangs, when all are to end, and when they cannot begin.

import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import t from 'tap';
import { eventually, freePort, temporaryDirectory } from '../../support/index.js';
import { isRunning } from '../../support/processes.js';
import { clusterConfig } from '../../support/weir-cluster.js';
import { linesOf, WeirCommand } from '../../support/weir-command.js';
import { replaceWorker, server, start, users } from './rig.js';

t.test('a new worker knows what is in force, and serves also where that cannot be obeyed any more', async (t) => {
  const weir = await start(t);
  const base = readFileSync(weir.configFile, 'utf8');
  writeFileSync(weir.configFile, `${base}\n[databases.old]\nhost = "${server.host}"\nport = ${server.port}\n`);
  await weir.console('reload');
  await weir.console('disable old');
  // Without the database of all names, `old` is unknown.
  const without = `${base.replace('[databases."*"]', '[databases.postgres]')}`;
  writeFileSync(weir.configFile, without);
  await weir.console('reload');
  await replaceWorker(weir);
  // PAUSE waits for a transaction while a worker is replaced.
  const holders = await Promise.all(Array.from({ length: 6 }, () => weir.connect()));
  for (const client of holders) await client.query('begin; select 1');
  // By the signal: a console may be the killed worker's.
  weir.process.signal('SIGUSR1');
  await eventually(async () =>
    (await weir.console('show state')).some(({ key, value }) => key === 'paused' && value === 'yes'),
  );
  await replaceWorker(weir);
  await Promise.all(holders.map((client) => client.end().catch(() => {})));
  // One worker asks for a server at the login already.
  const late = weir.connect().then(async (client) => (await client.query('select 1')).rowCount);
  t.equal(await Promise.race([late, sleep(1_000, 'waits')]), 'waits');
  await weir.console('resume');
  t.equal(await late, 1);
  for (let i = 0; i < 6; i++) t.match((await (await weir.connect()).query('select 1 as one')).rows, [{ one: 1 }]);
});

t.test('a worker that hangs does not hang who asks about all, nor the end', async (t) => {
  const weir = await start(t);
  const hung = weir.workers()[0] as number;
  process.kill(hung, 'SIGSTOP');
  t.teardown(() => {
    if (isRunning(hung)) process.kill(hung, 'SIGKILL');
  });
  t.not((await fetch(`http://127.0.0.1:${weir.httpPort}/readyz`)).status, 200);
  weir.process.signal('SIGTERM');
  await eventually(() => linesOf(weir.process.stdout).some(({ msg }) => msg === 'shutting down'));
  weir.process.signal('SIGTERM');
  t.match(await weir.process.ended, { status: 0 });
  t.notOk(isRunning(hung));
});

t.test(
  'workers, servers of reads and PostgreSQL are killed under load: nobody gets a wrong answer, nobody hangs',
  async (t) => {
    const weir = await start(t, { workers: 4, default_pool_size: 6, max_client_conn: 60 });
    let going = true;
    let answers = 0;
    let wrong = 0;
    let hung = 0;
    const errors = new Map<string, number>();
    const load = Array.from({ length: 24 }, async (_, c) => {
      let client: pg.Client | undefined;
      for (let i = 0; going; i++) {
        try {
          client ??= await weir.connect();
          const n = ((c * 97 + i) % 1000) + 1;
          const asked = client.query<{ other: number; mine: string }>(
            `select other, '${c}.${i}' as mine from numbers where n = ${n}`,
          );
          const answer = await Promise.race([asked, sleep(15_000, undefined)]);
          if (answer === undefined) {
            hung++;
            return;
          }
          const [row] = answer.rows;
          if (row?.other !== n * 7 || row.mine !== `${c}.${i}`) wrong++;
          answers++;
        } catch (error) {
          const { code, message } = error as pg.DatabaseError;
          errors.set(code ?? message, (errors.get(code ?? message) ?? 0) + 1);
          await client?.end().catch(() => {});
          client = undefined;
          await sleep(5);
        }
      }
    });
    const killed: number[] = [];
    let asked = 0;
    for (let i = 0; i < 4; i++) {
      await sleep(400);
      const workers = weir.workers();
      const victim = workers[i % workers.length] as number;
      asked = (await weir.metric('weir_queries_total')) ?? 0;
      killed.push(victim);
      process.kill(victim, 'SIGKILL');
      if (i === 2)
        await server.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app' and random() < 0.5",
        );
    }
    await eventually(async () => (await weir.metric('weir_workers')) === 4, { withinMs: 20_000 });
    server.kill9();
    await sleep(300);
    await server.restart('immediate');
    const served = answers;
    await eventually(() => answers > served + 200, { withinMs: 20_000 });
    going = false;
    await Promise.all(load);
    t.same([wrong, hung], [0, 0]);
    t.ok(answers > 500, `${answers} answers, errors ${JSON.stringify([...errors])}`);
    for (const code of errors.keys())
      t.match(
        code,
        /^(ECONNRESET|ECONNREFUSED|EPIPE|57P0[123]|08006|Connection terminated.*|Client has encountered.*)$/,
      );
    t.equal(await weir.metric('weir_worker_restarts_total'), 4);
    const counted = (await weir.metric('weir_queries_total')) ?? 0;
    t.ok(counted >= asked, `${counted} counted of ${asked} when the last one died`);
    t.notOk(killed.some(isRunning));
    // All places are there again: as many transactions at a time as the pool is large.
    const many = await Promise.all(Array.from({ length: 12 }, () => weir.connect()));
    await Promise.all(many.map((client) => client.query('select pg_sleep(0.05)')));
    const before = await Promise.all(
      many.slice(0, 6).map(async (client) => {
        await client.query('begin');
        await client.query('select 1');
      }),
    );
    t.equal(before.length, 6, 'six transactions are open on six servers');
  },
);

t.test(
  'SIGTERM waits for clients, a second one does not; a primary that is killed takes its workers with it',
  async (t) => {
    const weir = await start(t);
    const client = await weir.connect();
    weir.process.signal('SIGTERM');
    await eventually(() => linesOf(weir.process.stdout).filter(({ msg }) => msg === 'shutting down').length === 3);
    await t.rejects(weir.connect());
    t.match((await client.query('select 1 as one')).rows, [{ one: 1 }]);
    await client.end();
    t.match(await weir.process.ended, { status: 0, stderr: '' });

    const quick = await start(t);
    const stays = await quick.connect();
    const over = new Promise((resolve) => stays.once('end', resolve));
    quick.process.signal('SIGINT');
    await stays.query('begin; select 1').catch(() => {});
    quick.process.signal('SIGINT');
    t.match(await quick.process.ended, { status: 0 });
    await over;

    const orphaned = await start(t);
    const workers = orphaned.workers();
    t.equal(workers.length, 2);
    orphaned.process.signal('SIGKILL');
    await orphaned.process.ended;
    await eventually(() => !workers.some(isRunning), { withinMs: 10_000 });
    t.pass('no worker is left');

    const told = await start(t);
    await told.console('shutdown').catch(() => {});
    t.match(await told.process.ended, { status: 0 });
  },
);

t.test('a cluster that cannot listen says so once and leaves nothing behind', async (t) => {
  const taken = await freePort();
  const blocker = net.createServer().listen(taken, '127.0.0.1');
  t.teardown(() => blocker.close());
  const directory = temporaryDirectory(t);
  const file = join(directory, 'weir.toml');
  const pidfile = join(directory, 'weir.pid');
  writeFileSync(file, clusterConfig(server, { workers: 2, listen_port: taken, unix_socket_dir: '', pidfile }, users));
  const ended = await new WeirCommand(t, [file]).ended;
  t.equal(ended.status, 1);
  t.match(ended.stderr, /^weir: cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE\nHINT: .*listen_port.*\n$/);
  t.throws(() => readFileSync(pidfile));
});
