// Weir in several processes, by its command: limits that hold over all of them, cancels, the console, metrics, and workers that die.

import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t, { type Test } from 'tap';
import { eventually, startPostgres, temporaryDirectory } from '../support/index.js';
import { isRunning } from '../support/processes.js';
import { RawClient, startup } from '../support/raw-client.js';
import { clusterConfig, freePort, startWeirCluster, type WeirCluster } from '../support/weir-cluster.js';
import { linesOf, WeirCommand } from '../support/weir-command.js';

const server = await startPostgres({
  sql: ["create role app superuser login password 'app'", 'create table numbers (n int primary key, other int)'],
});
await server.query('insert into numbers select n, n * 7 from generate_series(1, 1000) n');
t.teardown(() => server.stop());

const users = { app: 'app' };

interface Cluster extends WeirCluster {
  connect(options?: pg.ClientConfig): Promise<pg.Client>;
  console(command: string): Promise<Record<string, string | null>[]>;
}

async function start(
  t: Test,
  settings: Readonly<Record<string, unknown>> = {},
  at: { readonly host: string; readonly port: number } = server,
): Promise<Cluster> {
  const defaults = { pool_mode: 'transaction', admin_users: ['app'], auth_failure_delay: 0, server_login_retry: 0.2 };
  const weir = await startWeirCluster(t, { server: at, settings: { ...defaults, ...settings }, users });
  const connect = async (options: pg.ClientConfig = {}): Promise<pg.Client> => {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: weir.port,
      user: 'app',
      password: 'app',
      database: 'postgres',
      connectionTimeoutMillis: 15_000,
      ...options,
    });
    // Of clients whose worker is killed.
    client.on('error', () => {});
    await client.connect();
    t.teardown(() => client.end().catch(() => {}));
    return client;
  };
  return {
    ...weir,
    connect,
    console: async (command) => {
      const client = await connect({ database: 'pgbouncer' });
      try {
        return (await client.query<Record<string, string | null>>(command)).rows;
      } finally {
        await client.end();
      }
    },
  };
}

/** Ids of clients by the worker that serves them. */
async function clientsByWorker(weir: Cluster, count = 2): Promise<number[]> {
  const perWorker = new Array<number>(count).fill(0);
  for (const { id } of await weir.console('show clients')) {
    const index = (Number(id) - 1) % count;
    perWorker[index] = (perWorker[index] ?? 0) + 1;
  }
  return perWorker;
}

t.test(
  'many clients over few servers: each gets its own answers, and the size of the pool holds over all workers',
  async (t) => {
    const weir = await start(t, { default_pool_size: 3, max_client_conn: 100 });
    const clients = await Promise.all(Array.from({ length: 30 }, () => weir.connect()));
    t.ok(Math.min(...(await clientsByWorker(weir))) > 0, 'all workers have clients');
    let going = true;
    let most = 0;
    const watch = (async () => {
      while (going) {
        const [row] = await server.query<{ count: number }>(
          "select count(*)::int from pg_stat_activity where usename = 'app' and backend_type = 'client backend'",
        );
        most = Math.max(most, row?.count ?? 0);
        await sleep(5);
      }
    })();
    let wrong = 0;
    let answers = 0;
    await Promise.all(
      clients.map(async (client, c) => {
        for (let i = 0; i < 60; i++) {
          const n = ((c * 60 + i) % 1000) + 1;
          if (i % 10 === 3) await client.query('begin');
          const { rows } = await client.query<{ other: number; mine: string }>(
            `select other, '${c}/${i}' as mine from numbers where n = ${n}`,
          );
          if (i % 10 === 3) await client.query('commit');
          answers++;
          if (rows[0]?.other !== n * 7 || rows[0].mine !== `${c}/${i}`) wrong++;
        }
      }),
    );
    going = false;
    await watch;
    t.same([wrong, answers], [0, 1_800]);
    t.ok(most > 0 && most <= 3, `at most ${most} servers`);
    t.equal(await weir.metric('weir_queries_total{database="postgres",user="app"}'), 1_800 + 2 * 6 * 30);
  },
);

t.test('servers go to the worker whose clients wait, also where all are in use', async (t) => {
  const weir = await start(t, { default_pool_size: 2, defer_begin: false });
  const clients = await Promise.all(Array.from({ length: 8 }, () => weir.connect()));
  // More transactions at a time than there are servers, whoever has them.
  const done = await Promise.all(
    clients.map(async (client) => {
      for (let i = 0; i < 5; i++) {
        await client.query('begin');
        await client.query('select pg_sleep(0.01)');
        await client.query('commit');
      }
      return true;
    }),
  );
  t.equal(done.length, 8);
  // One server only: it goes round.
  const one = await start(t, { default_pool_size: 1 });
  const two = await Promise.all([one.connect(), one.connect(), one.connect(), one.connect()]);
  for (let i = 0; i < 3; i++) {
    for (const client of two) t.match((await client.query(`select ${i} as i`)).rows, [{ i }]);
  }
});

t.test('clients of a worker whose servers are all in long transactions get one of another worker', async (t) => {
  const weir = await start(t, { default_pool_size: 2, query_wait_timeout: 4, defer_begin: false });
  const clients = await Promise.all(
    Array.from({ length: 12 }, (_, i) => weir.connect({ application_name: `client ${i}` })),
  );
  const byWorker: pg.Client[][] = [[], []];
  for (const { id, application_name } of await weir.console('show clients')) {
    const client = clients[Number(/^client (\d+)$/.exec(application_name ?? '')?.[1])];
    if (client !== undefined) byWorker[(Number(id) - 1) % 2]?.push(client);
  }
  const [[holder, ...waiting] = [], busy = []] = byWorker;
  t.ok(waiting.length > 0 && busy.length > 2, 'both workers have clients');
  await holder?.query('begin; select 1');
  let going = true;
  const load = busy.map(async (client) => {
    while (going) await client.query('begin; select pg_sleep(0.02); commit').catch(() => {});
  });
  for (const client of waiting.slice(0, 2)) {
    for (let i = 0; i < 2; i++) await t.resolves(client.query('begin; select 1; commit'));
  }
  going = false;
  await Promise.all(load);
});

t.test('a limit that is raised is in force for those who wait already', async (t) => {
  const weir = await start(t, { max_db_connections: 1, query_wait_timeout: 5, defer_begin: false });
  const [first, second] = [await weir.connect(), await weir.connect()];
  await first.query('begin; select 1');
  const waiting = second.query('begin; select 2; commit');
  waiting.catch(() => {});
  t.equal(await Promise.race([waiting, sleep(500, 'waits')]), 'waits');
  await weir.console('set max_db_connections = 2');
  await waiting;
});

t.test('where connecting takes long and there are fewer servers than workers, all are served', async (t) => {
  // Answers of the server arrive late.
  const proxy = net.createServer((socket) => {
    const upstream = net.connect(server.port, server.host);
    socket.on('data', (data) => upstream.write(data));
    upstream.on('data', (data) => setTimeout(() => socket.write(data), 60));
    for (const [end, other] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      end.on('error', () => {});
      end.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.teardown(() => proxy.close());
  const far = { host: '127.0.0.1', port: (proxy.address() as net.AddressInfo).port };
  const weir = await start(t, { default_pool_size: 1, query_wait_timeout: 10 }, far);
  const clients = await Promise.all(Array.from({ length: 6 }, () => weir.connect()));
  await t.resolves(Promise.all(clients.map((client) => client.query('begin; select 1; commit'))));
});

t.test('limits on clients are exact, and places come back', async (t) => {
  const weir = await start(t, { max_client_conn: 6 });
  const tries = await Promise.allSettled(Array.from({ length: 20 }, () => weir.connect()));
  const inside = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const refused = tries.flatMap((one) => (one.status === 'rejected' ? [one.reason as pg.DatabaseError] : []));
  t.equal(inside.length, 6);
  for (const error of refused) t.match(error, { code: '53300', message: /max_client_conn/ });
  await Promise.all(inside.map((client) => client.end()));
  await eventually(async () => (await weir.metric('weir_client_connections')) === 0);
  const again = await Promise.all(Array.from({ length: 6 }, () => weir.connect()));
  t.equal(again.length, 6);
});

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
    const packet = Buffer.alloc(16);
    packet.writeInt32BE(16, 0);
    packet.writeInt32BE(80_877_102, 4);
    packet.writeInt32BE(processID, 8);
    packet.writeInt32BE(secretKey, 12);
    await new Promise<void>((resolve) => {
      const socket = net.connect(weir.port, '127.0.0.1', () => socket.end(packet));
      socket.on('close', () => resolve());
      socket.resume();
    });
    t.equal(await running, '57014');
  }
  // Nobody else's, and nobody's.
  const { processID } = clients[0] as unknown as { processID: number };
  const wrong = Buffer.alloc(16);
  wrong.writeInt32BE(16, 0);
  wrong.writeInt32BE(80_877_102, 4);
  wrong.writeInt32BE((processID & ~63) | 63, 8);
  await new Promise<void>((resolve) => {
    const socket = net.connect(weir.port, '127.0.0.1', () => socket.end(wrong));
    socket.on('close', () => resolve());
    socket.resume();
  });
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
  const before = weir.workers();
  process.kill(before[0] as number, 'SIGKILL');
  await eventually(async () => (await weir.metric('weir_workers')) === 2 && weir.workers().join() !== before.join(), {
    withinMs: 15_000,
  });
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
  const replaced = async (): Promise<void> => {
    const before = weir.workers();
    process.kill(before[0] as number, 'SIGKILL');
    await eventually(
      async () => !weir.workers().includes(before[0] as number) && (await weir.metric('weir_workers')) === 2,
      {
        withinMs: 15_000,
      },
    );
  };
  await replaced();
  // PAUSE waits for a transaction while a worker is replaced.
  const holders = await Promise.all(Array.from({ length: 6 }, () => weir.connect()));
  for (const client of holders) await client.query('begin; select 1');
  // By the signal: a console may be the killed worker's.
  weir.process.signal('SIGUSR1');
  await eventually(async () =>
    (await weir.console('show state')).some(({ key, value }) => key === 'paused' && value === 'yes'),
  );
  await replaced();
  await Promise.all(holders.map((client) => client.end().catch(() => {})));
  const late = await weir.connect({ connectionTimeoutMillis: 2_000 }).catch(() => undefined);
  t.equal(late, undefined, 'nobody gets a server');
  await weir.console('resume');
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

t.test('a worker that dies takes only its own clients with it, and is replaced', async (t) => {
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
  for (let i = 0; i < 4; i++) {
    await sleep(400);
    const workers = weir.workers();
    const victim = workers[i % workers.length] as number;
    killed.push(victim);
    process.kill(victim, 'SIGKILL');
    if (i === 2)
      await server.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app' and random() < 0.5",
      );
  }
  await eventually(async () => (await weir.metric('weir_workers')) === 4, { withinMs: 20_000 });
  await sleep(500);
  going = false;
  await Promise.all(load);
  t.same([wrong, hung], [0, 0]);
  t.ok(answers > 500, `${answers} answers, errors ${JSON.stringify([...errors])}`);
  for (const code of errors.keys())
    t.match(code, /^(ECONNRESET|ECONNREFUSED|EPIPE|57P01|08006|Connection terminated.*|Client has encountered.*)$/);
  t.equal(await weir.metric('weir_worker_restarts_total'), 4);
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
});

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
  t.match(ended.stderr, /^weir: cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE\nHINT: .*listen_port\.\n$/);
  t.throws(() => readFileSync(pidfile));
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
