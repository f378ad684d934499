// LOAD: what a library changed in a server's process stays with the client that loaded it; then the process ends.

import t from 'tap';
import { Ladder } from './rig.js';

const ladder = await Ladder.start(t);
const two = { servers: 2 } as const;
const loaded = "select count(*) from pg_settings where name = 'auto_explain.log_min_duration'";

ladder.row(
  'LOAD: who loaded it has its settings, the others do not',
  async (s) => {
    const [a, b] = await s.pair({ user: 'super' });
    await a.does("load 'auto_explain'");
    await s.pinned('load');
    await b.fails('show auto_explain.log_min_duration', '42704');
    await a.shows('auto_explain.log_min_duration', '-1');
    await b.gives(loaded, '0');
    await a.does("set auto_explain.log_min_duration = '5s'");
    await b.gives("select current_setting('auto_explain.log_min_duration', true)", null);
    await a.shows('auto_explain.log_min_duration', '5s');
    await a.fails("set auto_explain.log_min_duration = 'long'", '22023');
    await a.does('reset all');
    await a.shows('auto_explain.log_min_duration', '-1');
    await s.pinned('load');
  },
  two,
);

ladder.row(
  'LOAD that is refused, or fails, or is rolled back',
  async (s) => {
    const [a, b] = await s.pair();
    await a.fails("load 'auto_explain'", '42501');
    await b.does('select 1');
    const c = await s.client('c', { user: 'super' });
    const d = await s.client('d', { user: 'super' });
    await c.fails("load 'no_such_library'", '58P01');
    await d.does('select 1');
    await c.does('select 1');
    await d.does('begin', "load 'auto_explain'", 'rollback');
    await c.gives(loaded, '0');
    await d.gives(loaded, '1');
  },
  two,
);

ladder.weirRow('the server of a client that loaded something ends with it', async (s) => {
  const a = await s.client('a', { user: 'super' });
  await a.does("load 'auto_explain'");
  const pid = await a.serverPid();
  await a.does('discard all');
  s.t.equal(await a.serverPid(), pid, 'no statement undoes a LOAD');
  await s.pinned('load');
  await a.end();
  const b = await s.client('b', { user: 'super' });
  s.t.not(await b.serverPid(), pid);
  await b.gives(loaded, '0');
  await s.soon(
    'the process ends',
    async () => (await s.admin('select 1 from pg_stat_activity where pid = $1', [pid])).length === 0,
  );
  await s.pinned();
});

ladder.weirRow('a client that vanishes in the middle of LOAD', async (s) => {
  const a = await s.client('a', { user: 'super' });
  await a.does('begin', "load 'auto_explain'");
  await a.vanish();
  const b = await s.client('b', { user: 'super' });
  await b.gives(loaded, '0');
  await s.pinned();
});

ladder.row(
  'CREATE EXTENSION, and a library that comes with a function s first call',
  async (s) => {
    const [a, b] = await s.pair({ user: 'super' });
    await a.does('create extension if not exists pg_trgm schema public');
    await b.gives("select similarity('word', 'words')::numeric(3, 2)", '0.57');
    await a.does('set pg_trgm.similarity_threshold = 0.9');
    await b.gives("select 'word' % 'words'", 't');
    await a.gives("select 'word' % 'words'", 'f');
    await b.shows('pg_trgm.similarity_threshold', '0.3');
    await a.shows('pg_trgm.similarity_threshold', '0.9');
  },
  { ...two, setup: ['drop extension if exists pg_trgm'] },
);

ladder.probed();
