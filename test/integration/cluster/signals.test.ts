// A client is signalled by the pid it was told, on whichever worker it is; and nobody else ever is.

import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import t from 'tap';
import { eventually, stretched } from '../../support/index.js';
import { server, start } from './rig.js';

type Client = pg.Client & { processID: number };

const canceled = '57014 canceling statement due to user request';

function outcome(query: Promise<unknown>): Promise<string> {
  return query.then(
    () => 'ok',
    (error: pg.DatabaseError) => `${error.code} ${error.message}`,
  );
}

t.test('clients of two workers cancel and end each other', async (t) => {
  const weir = await start(t, { workers: 2 });
  const by = (await weir.connect()) as Client;
  const targets: Client[] = [];
  // Both workers serve some of them.
  await eventually(async () => {
    targets.push((await weir.connect()) as Client);
    return new Set(targets.map(({ processID }) => processID & 63)).size === 2;
  });
  for (const target of targets) {
    t.ok(target.processID >= 2 ** 23);
    const ran = outcome(target.query(`select pg_sleep(60) -- ${target.processID}`));
    await eventually(
      async () =>
        (
          await server.query('select 1 from pg_stat_activity where query like $1 and pid <> pg_backend_pid()', [
            `%-- ${target.processID}`,
          ])
        ).length === 1,
    );
    t.same((await by.query('select pg_cancel_backend($1) as done', [target.processID])).rows, [{ done: true }]);
    t.equal(await ran, canceled);
    t.equal(await outcome(target.query('select 1')), 'ok');
    const ended = new Promise((resolve) => target.once('end', resolve));
    t.same((await by.query(`select pg_terminate_backend(${target.processID}) as done`)).rows, [{ done: true }]);
    await ended;
    t.same((await by.query('select pg_cancel_backend($1) as done', [target.processID])).rows, [{ done: false }]);
  }
  await eventually(
    async () =>
      (await server.query("select 1 from pg_stat_activity where query like '%repeat%pg_sleep(60)'")).length === 0,
  );
});

t.test('cancels and ends at random moments over two workers hit nobody but whom they name', async (t) => {
  const weir = await start(t, { workers: 2, default_pool_size: 4 });
  const connect = async (): Promise<Client> => (await weir.connect()) as Client;
  let going = true;
  let hits = 0;
  let ends = 0;
  const wrong: string[] = [];
  const targets = await Promise.all(Array.from({ length: 3 }, connect));
  const load = [
    ...targets.map(async (_, n) => {
      while (going) {
        const found = await outcome((targets[n] as Client).query('select pg_sleep(0.002)'));
        if (found === canceled) hits++;
        else if (found !== 'ok') {
          if (/^57P01|Connection terminated|not queryable/.test(found)) ends++;
          else wrong.push(found);
          targets[n] = await connect();
        }
      }
    }),
    ...Array.from({ length: 6 }, async (_, n) => {
      const client = await connect();
      for (let i = 0; going; i++) {
        const found = await outcome(client.query(i % 2 === 0 ? `select ${n}` : 'select pg_sleep(0.001)'));
        if (found !== 'ok') wrong.push(`another: ${found}`);
      }
    }),
  ];
  let rounds = 0;
  const until = performance.now() + 6_000;
  // On a busy machine longer, until there is something to see.
  const untilSeen = performance.now() + stretched(20_000);
  const goesOn = (): boolean =>
    performance.now() < until || ((hits <= 5 || ends === 0) && performance.now() < untilSeen);
  await Promise.all(
    Array.from({ length: 3 }, async (_, n) => {
      const by = await connect();
      while (goesOn()) {
        rounds++;
        const call = rounds % 20 === 0 ? 'pg_terminate_backend' : 'pg_cancel_backend';
        const found = await outcome(by.query(`select ${call}($1)`, [targets[(rounds + n) % 3]?.processID]));
        if (found !== 'ok') wrong.push(`canceller: ${found}`);
        await sleep(Math.random() * 3);
      }
    }),
  );
  going = false;
  await Promise.all(load);
  t.same(wrong, []);
  t.ok(hits > 5 && ends > 0, `${hits} cancelled, ${ends} ended in ${rounds} rounds`);
  t.comment(`${hits} cancelled, ${ends} ended in ${rounds} rounds`);
});
