// pg_cancel_backend and pg_terminate_backend with the pid that weir told a client do to it what they do to a client of PostgreSQL's own.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t, { type Test } from 'tap';
import { eventually, startPostgres } from '../support/index.js';
import { RawClient, type Reply, say } from '../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';

const server = await startPostgres({
  sql: [
    "create role app login password 'app'",
    "create role stranger login password 'stranger'",
    "create role member login password 'member' in role app",
    "create role signaller login password 'signaller' in role pg_signal_backend",
    "create role root superuser login password 'root'",
  ],
});
t.teardown(() => server.stop());

const users = { app: 'app', stranger: 'stranger', member: 'member', signaller: 'signaller', root: 'root' };
type User = keyof typeof users;

function start(t: Test, weir: WeirOptions['weir'] = {}): Promise<TestWeir> {
  return startWeir({ server, weir: { pool_mode: 'transaction', default_pool_size: 4, ...weir }, users }).then(
    (made) => {
      t.teardown(() => made.stop());
      return made;
    },
  );
}

interface Place {
  readonly host: string;
  readonly port: number;
}

async function connect(t: Test, place: Place, user: User = 'app'): Promise<pg.Client & { processID: number }> {
  const client = new pg.Client({
    host: place.host,
    port: place.port,
    user,
    password: users[user],
    database: 'postgres',
  });
  client.on('error', () => {});
  await client.connect();
  t.teardown(() => client.end().catch(() => {}));
  return client as pg.Client & { processID: number };
}

/** `ok`, or the error as the client sees it. */
function outcome(query: Promise<unknown>): Promise<string> {
  return query.then(
    () => 'ok',
    (error: pg.DatabaseError) => `${error.code} ${error.message}`,
  );
}

async function running(marker: string): Promise<void> {
  await eventually(
    async () =>
      (
        await server.query(
          "select 1 from pg_stat_activity where state = 'active' and query like $1 and pid <> pg_backend_pid()",
          [`%${marker}%`],
        )
      ).length > 0,
  );
}

/** How many backends stand in for clients. */
async function standIns(): Promise<number> {
  const rows = await server.query(
    "select 1 from pg_stat_activity where query like '%pg_sleep(60)' and query like '%repeat%' and pid <> pg_backend_pid()",
  );
  return rows.length;
}

const canceled = '57014 canceling statement due to user request';
const terminated = '57P01 terminating connection due to administrator command';

type Ask = (by: pg.Client, pid: number) => Promise<pg.QueryResult>;

const ways: Readonly<Record<string, Ask>> = {
  'a parameter': (by, pid) => by.query('select pg_cancel_backend($1) as done', [pid]),
  'a parameter with a cast': (by, pid) => by.query('select pg_cancel_backend($1::int) as done', [`${pid}`]),
  'a parameter that is shown too': (by, pid) =>
    by.query(`select $1::int = ${pid} and pg_cancel_backend($1) as done`, [pid]),
  'a prepared statement': (by, pid) =>
    by.query({ name: 'cancel', text: 'select pg_cancel_backend($1) as done', values: [pid] }),
  'a literal': (by, pid) => by.query(`select pg_cancel_backend(${pid}) as done`),
  'a literal in a string': (by, pid) => by.query(`select pg_catalog.pg_cancel_backend('${pid}') as done, 1 as more`),
  'a literal in the extended protocol': (by, pid) =>
    by.query({ text: `select pg_cancel_backend(${pid}) as done where 1 = $1::int`, values: [1] }),
  'a literal in a prepared statement': (by, pid) =>
    by.query({ name: `c${pid}`, text: `select pg_cancel_backend(${pid}) as done where 1 = $1::int`, values: [1] }),
  'a condition': (by, pid) => by.query(`select case when true then pg_cancel_backend(${pid}) end as done`),
  'a transaction': async (by, pid) => {
    await by.query('begin');
    try {
      return await by.query('select pg_cancel_backend($1) as done', [pid]);
    } finally {
      await by.query('commit');
    }
  },
};

for (const pool_mode of ['transaction', 'session'] as const) {
  t.test(`${pool_mode} mode: a running statement is cancelled by its client's pid, as by a backend's`, async (t) => {
    const weir = await start(t, { pool_mode });
    for (const place of [server, weir]) {
      const target = await connect(t, place);
      const by = await connect(t, place);
      for (const [name, ask] of Object.entries(ways)) {
        const ran = outcome(target.query(`select pg_sleep(60) -- ${name}`));
        await running(`-- ${name}`);
        t.equal((await ask(by, target.processID)).rows[0]?.done, true, name);
        t.equal(await ran, canceled, name);
        // What the client says next is not hit by what was meant for the statement before.
        t.equal(await outcome(target.query('select 1')), 'ok');
      }
    }
  });

  t.test(`${pool_mode} mode: a client is ended by its pid, whatever it does, and the pool goes on`, async (t) => {
    const weir = await start(t, { pool_mode });
    for (const place of [server, weir]) {
      const by = await connect(t, place);
      for (const doing of ['select pg_sleep(60) -- ended', 'begin', undefined]) {
        const target = await connect(t, place);
        let told = '';
        target.on('error', (error: Error & { code?: string }) => {
          told ||= `${error.code} ${error.message}`;
        });
        const ended = new Promise((resolve) => target.once('end', resolve));
        const ran = doing === undefined ? undefined : outcome(target.query(doing));
        if (doing === 'begin') await ran;
        else if (ran !== undefined) await running('-- ended');
        const asked = await by.query('select pg_terminate_backend($1, 5000) as done', [target.processID]);
        t.equal(asked.rows[0]?.done, true);
        await ended;
        if (ran === undefined || doing === 'begin') t.equal(told, terminated);
        else t.equal(await ran, terminated);
        t.equal(await outcome(by.query('select 1')), 'ok');
      }
      const warnings: string[] = [];
      by.on('notice', ({ message }) => warnings.push(message ?? ''));
      const gone = await connect(t, place);
      const { processID } = gone;
      await gone.end();
      await eventually(async () => {
        warnings.length = 0;
        return (await by.query('select pg_cancel_backend($1) as done', [processID])).rows[0]?.done === false;
      });
      t.same(warnings, [`PID ${processID} is not a PostgreSQL backend process`]);
    }
  });
}

t.test('an idle client is there to be cancelled, and nothing happens to it or to what it says next', async (t) => {
  const weir = await start(t);
  for (const place of [server, weir]) {
    const target = await connect(t, place);
    const by = await connect(t, place);
    for (let i = 0; i < 20; i++) {
      t.equal((await by.query('select pg_cancel_backend($1) as done', [target.processID])).rows[0]?.done, true);
      t.equal(await outcome(target.query('select pg_sleep(0.005)')), 'ok');
    }
  }
});

t.test(
  "rights are PostgreSQL's: of a superuser, the same role, a member, pg_signal_backend and a stranger",
  async (t) => {
    const weir = await start(t);
    const seen: string[][] = [];
    for (const place of [server, weir]) {
      const of: string[] = [];
      seen.push(of);
      for (const owner of ['app', 'root'] as const) {
        for (const call of ['pg_cancel_backend', 'pg_terminate_backend']) {
          for (const user of ['app', 'stranger', 'member', 'signaller', 'root'] as const) {
            const target = await connect(t, place, owner);
            const by = await connect(t, place, user);
            const ask = by.query(`select ${call}($1) as done`, [target.processID]);
            const answer = await ask.then(
              ({ rows }) => String(rows[0]?.done),
              ({ code, message, detail }: pg.DatabaseError) => `${code} ${message}: ${detail}`,
            );
            const after =
              answer === 'true' && call === 'pg_terminate_backend' ? '' : await outcome(target.query('select 1'));
            of.push(`${user} ${call} of ${owner}: ${answer} ${after}`);
            await Promise.all([target.end().catch(() => {}), by.end()]);
          }
        }
      }
    }
    t.same(seen[1], seen[0]);
    t.match(seen[0]?.join('\n'), /stranger pg_cancel_backend of app: 42501/);
    t.match(seen[0]?.join('\n'), /signaller pg_terminate_backend of app: true/);
  },
);

t.test('a client that signals itself is signalled', async (t) => {
  const weir = await start(t);
  for (const place of [server, weir]) {
    const client = await connect(t, place);
    t.equal(await outcome(client.query('select pg_cancel_backend($1), pg_sleep(5)', [client.processID])), canceled);
    t.equal(await outcome(client.query(`select pg_terminate_backend(${client.processID}), pg_sleep(5)`)), terminated);
  }
});

t.test('several clients are signalled by one statement, or by several in one message', async (t) => {
  const weir = await start(t, { default_pool_size: 8 });
  for (const place of [server, weir]) {
    const [a, b, c] = [await connect(t, place), await connect(t, place), await connect(t, place)] as const;
    const by = await connect(t, place);
    const ran = [a, b, c].map((client, n) => outcome(client.query(`select pg_sleep(60) -- several ${n}`)));
    for (let n = 0; n < 3; n++) await running(`-- several ${n}`);
    const [first, , last] = (await by.query(
      `select pg_cancel_backend(${a.processID}) as x, pg_cancel_backend('${b.processID}') as y; select 1; select pg_terminate_backend(${c.processID}) as z`,
    )) as unknown as pg.QueryResult[];
    t.same([first?.rows, last?.rows], [[{ x: true, y: true }], [{ z: true }]]);
    t.same(await Promise.all(ran), [canceled, canceled, terminated]);
  }
});

t.test('a client that waits for a server is cancelled in the queue', async (t) => {
  const weir = await start(t, { default_pool_size: 1 });
  const holder = await connect(t, weir);
  await holder.query('begin');
  await holder.query('select 1');
  const target = await connect(t, weir);
  const ran = outcome(target.query('select 1'));
  await eventually(() => [...weir.pooler.pools].some(({ waiting }) => waiting === 1));
  const by = await connect(t, weir, 'root');
  t.equal((await by.query('select pg_cancel_backend($1) as done', [target.processID])).rows[0]?.done, true);
  t.equal(await ran, canceled);
  await holder.query('commit');
  t.equal(await outcome(target.query('select 1')), 'ok');
});

t.test('binary parameters, a portal with a name, and one that is executed in a later batch', async (t) => {
  const weir = await start(t, { auth_type: 'trust' });
  const target = await connect(t, weir);
  const by = await RawClient.connect(weir, { user: 'app' });
  t.teardown(() => by.end());
  const pid = Buffer.alloc(4);
  pid.writeInt32BE(target.processID);
  const bind = (portal: string): Uint8Array => say.bind({ portal, statement: 'cancel', values: [pid] });
  const send = (...messages: Uint8Array[]): Promise<Reply> => {
    by.write(...messages, say.sync());
    return by.reply();
  };
  await send(say.parse({ name: 'cancel', text: 'select pg_cancel_backend($1)' }));
  for (const portal of ['', 'named']) {
    const ran = outcome(target.query('select pg_sleep(60) -- binary'));
    await running('-- binary');
    const reply = await send(bind(portal), say.execute({ portal }));
    t.same(reply.rows, [['t']]);
    t.equal(await ran, canceled);
  }
  await by.query('begin');
  await send(bind('later'));
  await eventually(async () => (await standIns()) === 0);
  const ran = outcome(target.query('select pg_sleep(0.3) -- later'));
  t.same((await send(say.execute({ portal: 'later' }))).rows, [['f']], 'nobody is hit');
  t.equal(await ran, 'ok');
  await by.query('commit');
});

t.test('what signals nobody waits for nobody, and a client that leaves takes its stand-ins with it', async (t) => {
  const weir = await start(t);
  const target = await connect(t, weir);
  const by = await connect(t, weir);
  t.same((await by.query(`select pg_cancel_backend(${target.processID}) as done where false`)).rows, []);
  t.equal(await outcome(target.query('select pg_sleep(0.05)')), 'ok');
  const leaving = await connect(t, weir);
  const left = outcome(leaving.query(`select pg_sleep(50), pg_cancel_backend(${target.processID}) -- leaves`));
  await running('-- leaves');
  (leaving as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  await left;
  await eventually(async () => (await standIns()) === 0);
  t.equal(await outcome(target.query('select 1')), 'ok');
});

for (const lanes of ['auto', 'off'] as const) {
  t.test(`lanes ${lanes}: a thousand cancels at random moments hit nobody but their target`, async (t) => {
    const weir = await start(t, { default_pool_size: 3, lanes });
    const targets = await Promise.all(Array.from({ length: 2 }, () => connect(t, weir)));
    const others = await Promise.all(Array.from({ length: 4 }, () => connect(t, weir)));
    const bys = await Promise.all(Array.from({ length: 3 }, () => connect(t, weir)));
    let going = true;
    let hits = 0;
    const wrong: string[] = [];
    const load = [
      ...targets.map(async (client) => {
        while (going) {
          const found = await outcome(client.query('select pg_sleep(0.002)'));
          if (found === canceled) hits++;
          else if (found !== 'ok') wrong.push(found);
        }
      }),
      ...others.map(async (client, n) => {
        for (let i = 0; going; i++) {
          const found = await outcome(client.query(i % 2 === 0 ? `select ${n}` : 'select pg_sleep(0.001)'));
          if (found !== 'ok') wrong.push(`another: ${found}`);
        }
      }),
    ];
    let rounds = 0;
    const until = performance.now() + 5_000;
    await Promise.all(
      bys.map(async (by, n) => {
        while (rounds < 1_000 && performance.now() < until) {
          rounds++;
          const pid = targets[(rounds + n) % targets.length]?.processID as number;
          const found = await outcome(
            rounds % 2 === 0
              ? by.query('select pg_cancel_backend($1)', [pid])
              : by.query(`select pg_cancel_backend(${pid})`),
          );
          if (found !== 'ok') wrong.push(`canceller: ${found}`);
          await sleep(Math.random() * 3);
        }
      }),
    );
    going = false;
    await Promise.all(load);
    t.same(wrong, []);
    t.ok(hits > 10, `${hits} hits in ${rounds} rounds`);
    t.comment(`${hits} hits in ${rounds} rounds`);
  });
}
