// The same with node-postgres: its settings, named statements, notifications and pools, two of them over one server.

import pg from 'pg';
import t from 'tap';
import { Ladder } from './rig.js';

const ladder = await Ladder.start(t);

/** Runs with clients of a driver, on direct connections and through weir. */
function driven(
  title: string,
  work: (where: string, connect: (more?: pg.ClientConfig) => Promise<pg.Client>, t: Tap) => Promise<void>,
): void {
  t.test(title, async (t) => {
    const weir = await ladder.weirOf();
    const places = { 'on direct connections': ladder.postgres, 'through weir': weir.weir };
    for (const [where, { host, port }] of Object.entries(places)) {
      const clients: pg.Client[] = [];
      const connect = async (more: pg.ClientConfig = {}): Promise<pg.Client> => {
        const client = new pg.Client({ host, port, user: 'app', database: 'postgres', ...more });
        client.on('error', () => {});
        await client.connect();
        clients.push(client);
        return client;
      };
      try {
        await work(where, connect, t);
      } finally {
        await Promise.all(clients.map((client) => client.end()));
      }
    }
  });
}

type Tap = {
  equal(found: unknown, wanted: unknown, message: string): unknown;
  same(found: unknown, wanted: unknown, message: string): unknown;
};

async function cell(client: pg.Client, query: string | pg.QueryConfig): Promise<unknown> {
  const { rows } = await client.query<Record<string, unknown>>(query as string);
  return Object.values(rows[0] ?? {})[0];
}

driven('settings of the connection and of statements', async (where, connect, t) => {
  const a = await connect({ options: '-c work_mem=5MB', statement_timeout: 60_000, application_name: 'a' });
  const b = await connect();
  for (let i = 0; i < 3; i++) {
    t.equal(await cell(a, 'show work_mem'), '5MB', where);
    t.equal(await cell(b, 'show work_mem'), '4MB', where);
    t.equal(await cell(a, 'show statement_timeout'), '1min', where);
    t.equal(await cell(b, 'show statement_timeout'), '0', where);
    await b.query('set enable_sort = off');
    t.equal(await cell(a, { text: 'select current_setting($1)', values: ['enable_sort'] }), 'on', where);
    t.equal(await cell(b, 'show enable_sort'), 'off', where);
  }
});

driven('named statements with one name and two texts, prepared once by each', async (where, connect, t) => {
  const a = await connect();
  const b = await connect();
  for (let i = 0; i < 5; i++) {
    t.equal(await cell(a, { name: 'q', text: 'select $1::int + 1', values: [i] }), i + 1, where);
    t.equal(await cell(b, { name: 'q', text: 'select $1::int - 1', values: [i] }), i - 1, where);
  }
  t.equal(await cell(a, 'execute q(10)'), 11, where);
  t.equal(await cell(b, 'select name from pg_prepared_statements'), 'q', where);
  await b.query('deallocate all');
  t.equal(await cell(a, { name: 'q', text: 'select $1::int + 1', values: [1] }), 2, where);
});

driven('notifications', async (where, connect, t) => {
  const a = await connect();
  const b = await connect();
  const heard: string[] = [];
  const all = new Promise<void>((resolve) => {
    a.on('notification', ({ channel, payload }) => {
      heard.push(`${channel}:${payload}`);
      if (heard.length === 3) resolve();
    });
  });
  await a.query('listen jobs');
  for (const n of ['1', '2', '3']) await b.query('select pg_notify($1, $2)', ['jobs', n]);
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 3_000))]);
  t.same(heard, ['jobs:1', 'jobs:2', 'jobs:3'], where);
});

driven(
  'many queries at once by many clients, each with its own settings, role and statements',
  async (where, connect, t) => {
    const clients = await Promise.all(
      Array.from({ length: 10 }, (_, i) => connect({ options: `-c work_mem=${i + 1}MB` })),
    );
    const problems: unknown[] = [];
    await Promise.all(
      clients.map(async (client, i) => {
        await client.query(i % 2 === 0 ? 'set role reader' : `set app.id = '${i}'`);
        await client.query(`prepare p as select ${i}`);
        for (let n = 0; n < 20; n++) {
          const seen = [
            await cell(client, 'show work_mem'),
            await cell(client, 'select current_user'),
            await cell(client, 'execute p'),
            await cell(client, { name: 'n', text: `select ${i}`, values: [] }),
            await cell(client, "select coalesce(current_setting('app.id', true), '')"),
          ];
          const wanted = [`${i + 1}MB`, i % 2 === 0 ? 'reader' : 'app', i, i, i % 2 === 0 ? '' : `${i}`];
          if (JSON.stringify(seen) !== JSON.stringify(wanted)) problems.push({ i, n, seen, wanted });
        }
      }),
    ).catch((error: unknown) => problems.push(String(error)));
    t.same(problems.slice(0, 3), [], where);
  },
);

ladder.probed();
