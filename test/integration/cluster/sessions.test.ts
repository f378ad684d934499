// What a session of PostgreSQL would know is known on whichever worker the client is.

import t from 'tap';
import { connectToBoth, server, start } from './rig.js';

t.test('who logs in after an ALTER ROLE begins with it, on whichever worker', async (t) => {
  const weir = await start(t, { workers: 2, default_pool_size: 4 });
  const both = await connectToBoth(weir, 8, 2);
  const show = async (client: (typeof both)[0][0]): Promise<unknown> =>
    (await client.query('show work_mem')).rows[0]?.work_mem;
  for (const client of both.flat()) t.equal(await show(client), '4MB');
  const [by] = both[0];
  for (const value of ['7MB', '9MB']) {
    await by?.query(`alter role app set work_mem = '${value}'`);
    for (const client of (await connectToBoth(weir, 8, 2)).flat()) t.equal(await show(client), value);
    for (const client of both.flat()) t.equal(await show(client), '4MB', 'who was there before');
  }
  await server.query('alter role app reset work_mem');
});

t.test('clients of two workers that share few servers find their own newest values of sequences', async (t) => {
  await server.query('create sequence counted; create table counts (id bigint default nextval($$counted$$), who int)');
  const weir = await start(t, { workers: 2, default_pool_size: 3 });
  const clients = (await connectToBoth(weir, 8, 3)).flat();
  const newest = new Map<number, string>();
  let read = 0;
  for (let round = 0; round < 6; round++) {
    await Promise.all(
      clients.map(async (client, who) => {
        const sql = 'insert into counts (who) values ($1) returning id';
        newest.set(who, (await client.query<{ id: string }>(sql, [who])).rows[0]?.id as string);
        for (const text of ['select lastval() as id', "select currval('counted') as id"]) {
          const found = await client.query<{ id: string }>(text).then(
            ({ rows }) => rows[0]?.id,
            ({ code }: { code: string }) => code,
          );
          if (found === '55000') continue;
          read++;
          t.equal(found, newest.get(who), text);
        }
      }),
    );
  }
  t.ok(read > 0, `${read} values were read`);
});
