// Whatever a client sends under whatever rules: every message is answered, or its connection ends. Nobody waits for ever.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { postgresVersions, startPostgres, stretched } from '../support/index.js';
import { Random } from '../support/random.js';
import { RawClient, say } from '../support/raw-client.js';
import { startWeir, type TestWeir } from '../support/weir.js';

const seed = Number(process.env['SEED'] ?? 1);
/** Programs for each way of serving. */
const programs = Number(process.env['STEPS'] ?? 60);
const version = postgresVersions.find((each) => each === Number(process.env['PGVERSION'] ?? 15)) ?? 15;
/** A program is a few messages: one that takes longer waits for something that does not come. */
const programMsMax = 20_000;

const policy = `[policy]
default = "allow"
[[policy.rules]]
name = "no-secrets"
tables = ["public.secrets"]
verdict = "deny"
[[policy.rules]]
name = "cheap"
statements = ["select", "update"]
max_cost = 50000
[[policy.rules]]
name = "few"
statements = ["select", "copy_to"]
max_rows = 2000
[[policy.rules]]
name = "slow"
statements = ["insert"]
rate = "1000/min"
[[policy.rules]]
name = "where"
statements = ["delete"]
require = ["where", "transaction"]
[[policy.masks]]
columns = ["public.people.email"]
with = "null"
`;

const server = await startPostgres({
  version,
  hba: 'host all all 127.0.0.1/32 trust',
  sql: [
    'create role bob login superuser',
    'create table items as select i as id, i * 10 as n from generate_series(1, 100) i',
    'create table secrets (word text)',
    'create table people (id int, email text)',
    'analyze items',
  ],
});
t.teardown(() => server.stop());

const dear = 'select count(*) from items a, items b, items c, items d';
const texts = [
  'select n from items where id = 1',
  'select n from items where id = $1::int',
  'select x from generate_series(1, $1::int) x',
  'select x from generate_series(1, 5000) x',
  dear,
  `${dear} where a.id < $1::int`,
  'select word from secrets',
  'select id, email from people',
  'insert into people values (1, null)',
  'insert into people values ($1::int, null)',
  'update items set n = n where id = $1::int',
  'delete from people where id = 7',
  'begin',
  'begin',
  'commit',
  'rollback',
  'savepoint s',
  'rollback to s',
  'set work_mem = 1000',
  'set cpu_tuple_cost = 0',
  'set search_path = public',
  'create temp table made as select id from items where id < 3',
  'drop table if exists made',
  'select nothing from items',
  'selec 1',
  '',
  `explain ${dear}`,
  'explain analyze select n from items where id = 2',
  'copy (select n from items where id = 3) to stdout',
  'prepare p as select 1',
  'execute p',
  'deallocate p',
  'declare c cursor for select id from items',
  'fetch 2 c',
  'listen news',
  'notify news',
  'discard all',
] as const;

/** One message, or several that belong together. */
function draw(random: Random): Buffer[] {
  const text = random.pick(texts);
  const name = random.pick(['', '', 'a', 'b']);
  const values = text.includes('$1') ? [random.pick(['3', '9000', 'x'])] : [];
  return random.weighted<() => Buffer[]>([
    [6, () => [say.query(random.oneIn(4) ? `${text}; ${random.pick(texts)}` : text)]],
    [
      6,
      () => [
        say.parse({ name, text }),
        say.bind({ statement: name, values }),
        say.describe({ type: 'P' }),
        say.execute(),
      ],
    ],
    [2, () => [say.parse({ name, text }), say.describe({ type: 'S', name })]],
    [2, () => [say.bind({ statement: name, values: random.oneIn(2) ? ['4'] : [] }), say.execute()]],
    [1, () => [say.close({ type: 'S', name })]],
    [1, () => [say.flush()]],
    [7, () => [say.sync()]],
    [1, () => [Buffer.from(`460000001c00000a4200010001000100000008${'00'.repeat(10)}`, 'hex')]],
  ])();
}

/** @returns why it failed, undefined where it did not */
async function play(weir: TestWeir, random: Random, marker: string): Promise<string | undefined> {
  const client = await RawClient.connect(weir, { user: 'bob' });
  const messages: Buffer[] = [];
  for (let i = 1 + random.below(12); i > 0; i--) messages.push(...draw(random));
  messages.push(say.sync(), say.query('rollback'), say.query(`select '${marker}'`));
  const bytes = Buffer.concat(messages);
  const answered = (async (): Promise<void> => {
    for (;;) {
      const message = await client.next().catch(() => undefined);
      if (message === undefined || message.body.includes(marker)) return;
    }
  })();
  for (let at = 0; at < bytes.length; ) {
    const piece = random.oneIn(2) ? bytes.length : 1 + random.below(200);
    client.write(bytes.subarray(at, at + piece));
    at += piece;
    if (random.oneIn(3)) await new Promise((resolve) => setTimeout(resolve, random.below(5)));
  }
  const late = new Promise<'late'>((resolve) => {
    setTimeout(resolve, stretched(programMsMax), 'late').unref();
  });
  const outcome = await Promise.race([answered, late]);
  await client.vanish();
  return outcome === 'late' ? messages.map((each) => JSON.stringify(each.toString('latin1'))).join(' ') : undefined;
}

async function playAll(t: Test, weir: TestWeir): Promise<void> {
  const random = new Random(seed);
  let played = 0;
  let waiting: string | undefined;
  while (played < programs && waiting === undefined) {
    // Several at once, so that some wait for a server.
    const some = Array.from({ length: 4 }, (_, i) =>
      play(weir, new Random(random.below(2 ** 30)), `marker ${played + i}`),
    );
    waiting = (await Promise.all(some)).find((each) => each !== undefined);
    played += some.length;
  }
  t.equal(waiting, undefined, `${played} programs came to their ends (SEED=${seed} STEPS=${programs})`);
}

for (const pool_mode of ['transaction', 'session', 'statement'] as const)
  for (const audit_mode of ['after', 'before'] as const)
    void t.test(`${pool_mode} mode, audit ${audit_mode}`, async (t) => {
      const directory = mkdtempSync(join(tmpdir(), 'weir-answers-'));
      t.teardown(() => rmSync(directory, { recursive: true }));
      const weir = await startWeir({
        server,
        policy,
        users: { bob: '' },
        weir: {
          ...{ auth_type: 'trust', pool_mode, default_pool_size: 2, query_wait_timeout: 60 },
          ...{ audit_dir: directory, audit_mode, audit_flush_interval: 0.005 },
        },
      });
      t.teardown(() => weir.stop());
      await playAll(t, weir);
    });
