// Several processes share their limits: servers and clients are counted over all of them, and servers go where clients wait.

import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import t from 'tap';
import { eventually } from '../../support/index.js';
import { connectToBoth, server, start } from './rig.js';

t.test(
  'many clients over few servers: each gets its own answers, and the size of the pool holds over all workers',
  async (t) => {
    const weir = await start(t, { default_pool_size: 3, max_client_conn: 100 });
    const clients = (await connectToBoth(weir, 30, 3)).flat();
    let going = true;
    let most = 0;
    let overSinceMs = Number.POSITIVE_INFINITY;
    let overMs = 0;
    const watch = (async () => {
      while (going) {
        const [row] = await server.query<{ count: number }>(
          "select count(*)::int from pg_stat_activity where usename = 'app' and backend_type = 'client backend'",
        );
        const count = row?.count ?? 0;
        most = Math.max(most, count);
        // One that has been told to end may be there a moment longer.
        if (count <= 3) overSinceMs = Number.POSITIVE_INFINITY;
        else overSinceMs = Math.min(overSinceMs, performance.now());
        overMs = Math.max(overMs, performance.now() - overSinceMs);
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
    t.same([wrong, answers], [0, 60 * clients.length]);
    t.ok(most > 0 && overMs < 1_000, `at most ${most} servers, more than 3 for ${Math.round(overMs)} ms`);
    t.equal(await weir.metric('weir_queries_total{database="postgres",user="app"}'), (60 + 2 * 6) * clients.length);
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
  const [[holder, ...waiting], busy] = await connectToBoth(weir, 12, 3);
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
  // At once: a worker keeps the places of those that left for a moment, unless another one needs them.
  for (let round = 0; round < 15; round++) {
    const again = await Promise.all(Array.from({ length: 6 }, () => weir.connect()));
    await t.rejects(weir.connect(), { code: '53300' }, `six are all in round ${round}`);
    await Promise.all(again.map((client) => client.end()));
  }
});
