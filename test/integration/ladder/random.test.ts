// Random programs of two or three clients over one server: each is told exactly what it would be told on its own connection.

import t from 'tap';
import { type Actor, Ladder } from './rig.js';

const ladder = await Ladder.start(t);
const seeds = Array.from({ length: 12 }, (_, i) => Number(process.env['SEED'] ?? 1) * 1000 + i);
const stepsMax = 70;

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Act = (client: Actor, n: number) => Promise<unknown>;

const query =
  (...texts: readonly string[]): Act =>
  (client, n) =>
    client.query((texts[n % texts.length] ?? '').replaceAll('%', `${(n % 7) + 1}`));

const outside: readonly Act[] = [
  query("set work_mem = '%MB'", 'set enable_sort = off', "set app.x = 'v%'", "set timezone = 'Etc/GMT-%'"),
  query('reset work_mem', 'reset all', 'set work_mem to default', 'reset app.x', 'discard all', 'reset role'),
  query("select set_config('work_mem', '%MB', false)", "select set_config('app.y', repeat('y', %), false)"),
  query("set local work_mem = '%MB'", "select set_config('app.x', 'local%', true)"),
  query(
    'set role reader',
    'set role writer',
    'set role none',
    'set role super',
    "select set_config('role', 'reader', false)",
  ),
  query('prepare p% as select %', "prepare p%(text) as select $1 || '%'", 'prepare p% as select no_such_column'),
  query('execute p%', "execute p%('x')"),
  query('deallocate p%', 'deallocate all', 'discard plans'),
  query('select name from pg_prepared_statements order by name'),
  query("do $$ begin perform set_config('work_mem', '%MB', false); end $$", 'do $$ begin set role reader; end $$'),
  query('do $$ begin set enable_sort = off; perform 1 / 0; end $$'),
  query("set work_mem = '%MB'; select 1 / 0", "set app.x = 'a%'; set enable_sort = off; select 1"),
  query('select 1 / 0', 'no sql', "set work_mem = 'much'"),
  (client, n) => client.parse(`p${(n % 7) + 1}`, `select ${n % 7}`),
  (client, n) => client.bind(`p${(n % 7) + 1}`),
  (client, n) => client.describe(`p${(n % 7) + 1}`),
  (client, n) => client.close(`p${(n % 7) + 1}`),
  (client, n) =>
    client.execute('select set_config($1, $2, $3)', ['work_mem', `${(n % 9) + 1}MB`, n % 3 === 0 ? 't' : 'f']),
];
const ends: readonly Act[] = [query('commit', 'rollback', 'commit and chain', 'rollback and chain', 'end', 'abort')];
const inside: readonly Act[] = [
  query('savepoint one', 'savepoint two', 'release one', 'rollback to one', 'rollback to two', 'release two'),
  query('savepoint one', 'rollback to one'),
];
const begin: readonly Act[] = [query('begin', 'start transaction', 'begin isolation level serializable')];
const stateOf =
  "select current_user, session_user, current_setting('work_mem'), current_setting('enable_sort'), current_setting('TimeZone'), coalesce(current_setting('app.x', true), ''), coalesce(current_setting('app.y', true), '')";

for (const seed of seeds) {
  ladder.row(`random program ${seed}`, async (s) => {
    const random = randomOf(seed);
    const upTo = (n: number): number => Math.floor(random() * n);
    const pick = <T>(items: readonly T[]): T => items[upTo(items.length)] as T;
    const clients = [await s.client('a'), await s.client('b'), await s.client('c')];
    let open: Actor | undefined;
    for (let step = 0; step < stepsMax; step++) {
      const client: Actor = open ?? pick(clients);
      const acts = pick(open === undefined ? [outside, outside, outside, begin] : [outside, outside, inside, ends]);
      await pick(acts)(client, upTo(1_000));
      if (random() < 0.5) await client.query(stateOf);
      const status = await client.messages('status', ...[Buffer.from([0x53, 0, 0, 0, 4])]);
      open = status.status === 'I' ? undefined : client;
      if (open === undefined) await pick(clients).query(stateOf);
    }
    if (open !== undefined) await open.query('rollback');
    for (const client of clients) await client.query(stateOf);
    s.t.ok(
      clients.every((client) => !client.raw.over),
      `all clients are there ${s.where}`,
    );
  });
}

ladder.probed();
