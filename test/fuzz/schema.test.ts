// Random changes of the schema between executions of prepared statements: each client is told what PostgreSQL tells it.

import pg from 'pg';
import t, { type Test } from 'tap';
import { startPostgres, stretched } from '../support/index.js';
import { Random } from '../support/random.js';
import { startWeir, type WeirOptions } from '../support/weir.js';
import { databases, SchemaWorld, type Tally } from './schema/world.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 4_000);
/** Unless told how many steps: fewer of them on a slow machine. */
const msMax = process.env['STEPS'] === undefined ? 12_000 : Number.POSITIVE_INFINITY;
/** Of one world, which is the same each time it is played. */
const stepsOfOne = 120;
/** To play one world of those of a seed again. */
const only = process.env['WORLD'] === undefined ? undefined : Number(process.env['WORLD']);

interface Arrangement {
  readonly servers: number;
  readonly weir: WeirOptions['weir'];
}

const arrangements: Readonly<Record<string, Arrangement>> = {
  'one server': { servers: 1, weir: { lanes: 'off' } },
  'three servers with lanes': { servers: 3, weir: { lanes: 'auto', lane_views: true } },
  'three servers that keep two statements': { servers: 3, weir: { lanes: 'off', max_prepared_statements: 2 } },
};

const postgres = await startPostgres({
  hba: 'host all all all trust',
  sql: ['create role app login superuser', ...Object.values(databases).map((name) => `create database ${name}`)],
});
const outsider = async (database: string): Promise<pg.Client> => {
  const client = new pg.Client({ ...postgres.admin, database, statement_timeout: stretched(20_000) });
  await client.connect();
  return client;
};
const outsiders = { through: await outsider(databases.through), beside: await outsider(databases.beside) };
t.teardown(async () => {
  for (const client of Object.values(outsiders)) await client.end();
  await postgres.stop();
});

async function play(t: Test, name: string, { servers, weir: settings }: Arrangement, number: number): Promise<void> {
  const weir = await startWeir({
    server: postgres,
    users: { app: 'x' },
    weir: { auth_type: 'trust', default_pool_size: servers, query_wait_timeout: 15, ...settings },
  });
  const tally: Tally = { steps: 0, stale: 0, healed: 0, errors: 0 };
  const until = performance.now() + msMax;
  try {
    for (let n = only ?? 0; tally.steps < steps && performance.now() < until; n++) {
      const random = new Random((seed * 10 + number) * 1_000_003 + n);
      const world = new SchemaWorld({ postgres, outsiders, weir, servers, random, tally });
      const problem = await world.play(stepsOfOne);
      if (problem !== undefined) {
        t.fail(`world ${n} of SEED=${seed}, ${name}: ${problem}`, { diary: world.diary });
        return;
      }
      if (only !== undefined) break;
    }
  } finally {
    await weir.stop();
  }
  t.ok(tally.stale > 0 || only !== undefined, `${JSON.stringify(tally)}`);
  t.comment(`${name}: ${JSON.stringify(tally)}`);
}

for (const [number, [name, arrangement]] of Object.entries(arrangements).entries()) {
  t.test(`with ${name} (SEED=${seed} STEPS=${steps})`, { timeout: 0 }, (t) => play(t, name, arrangement, number));
}
