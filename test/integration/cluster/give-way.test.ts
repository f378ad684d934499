// With several workers too: what serves nobody gives way, whichever process it belongs to, and servers leave a database that is to be dropped.

import type pg from 'pg';
import t from 'tap';
import { eventually } from '../../support/index.js';
import { connectToBoth, server, start } from './rig.js';

t.test('with N places N clients in any workers are served', async (t) => {
  const weir = await start(t, {
    default_pool_size: 4,
    max_db_connections: 3,
    min_pool_size: 2,
    defer_begin: false,
    query_wait_timeout: 60,
  });
  const [left, right] = await connectToBoth(weir, 8, 3);
  // Each time the others' servers are idle in the other worker.
  for (const clients of [
    left,
    right,
    [...left.slice(0, 1), ...right.slice(0, 2)],
    [...left.slice(0, 2), ...right.slice(0, 1)],
  ]) {
    const three = clients.slice(0, 3);
    await Promise.all(three.map((client) => client.query('begin; select 1')));
    t.equal(three.length, 3);
    await Promise.all(three.map((client) => client.query('commit')));
  }
});

t.test('DROP DATABASE closes the idle servers of all workers', async (t) => {
  const weir = await start(t, { min_pool_size: 2, track_session_state: true });
  for (let round = 0; round < 3; round++) {
    await server.query('create database dropped');
    const visitors = await Promise.all(Array.from({ length: 8 }, () => weir.connect({ database: 'dropped' })));
    await Promise.all(visitors.map((client) => client.query('select 1')));
    await Promise.all(visitors.map((client) => client.end()));
    const admin = await weir.connect();
    await t.resolves(admin.query('drop database dropped'));
    await admin.end();
  }
});

t.test('clients that any worker has in a database are in the way, and are ended by force', async (t) => {
  const weir = await start(t, { track_session_state: true });
  const [[first], [second]] = (await connectToBoth(weir, 8, 1)) as unknown as [[pg.Client], [pg.Client]];
  for (const hasServer of [true, false]) {
    await server.query('create database kept');
    const visitor = await weir.connect({ database: 'kept', application_name: 'visitor' });
    await visitor.query('select 1');
    const ended = new Promise<Error & { code?: string }>((resolve) => visitor.on('error', resolve));
    const rows = await weir.console('show clients');
    const id = Number(rows.find(({ application_name }) => application_name === 'visitor')?.id);
    // Of another worker than the visitor's.
    const admin = id % 2 === 1 ? second : first;
    if (!hasServer) {
      const inside = "from pg_stat_activity where datname = 'kept'";
      await server.query(`select pg_terminate_backend(pid) ${inside}`);
      await eventually(async () => (await server.query(`select ${inside}`)).length === 0);
    }
    await t.rejects(admin.query('drop database kept'), {
      code: '55006',
      detail: 'There is 1 other session using the database.',
    });
    t.equal((await visitor.query('select 1 as one')).rows[0].one, 1, hasServer ? 'with a server' : 'without one');
    await t.resolves(admin.query('drop database kept with (force)'));
    t.equal((await ended).code, '57P01');
  }
});

t.test('a LISTEN that would take the last place of all workers is refused, and queries are served', async (t) => {
  const weir = await start(t, { max_db_connections: 1, query_wait_timeout: 60 });
  const listener = await weir.connect();
  await t.rejects(listener.query('listen x'), { code: '53300' });
  const other = await weir.connect();
  t.equal((await other.query('select 1 as one')).rows[0].one, 1);
});
