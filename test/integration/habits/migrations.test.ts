// Migration tools, two deployments at the same time: what they lock by holds through weir, and each migration is applied once.

import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import { Kysely, type Migration, Migrator, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import t from 'tap';
import { temporaryDirectory } from '../../support/index.js';
import { optionalPackage, type Place, startRig, withClients } from './rig.js';

const rig = await startRig(t);

/** As the tool's own `drizzle-kit generate` lays them out. */
function drizzleFolder(t: Parameters<typeof temporaryDirectory>[0], schema: string): string {
  const folder = temporaryDirectory(t);
  mkdirSync(join(folder, 'meta'));
  const migrations = [
    `create schema "${schema}";--> statement-breakpoint\ncreate table "${schema}".users (id serial primary key, name text);`,
    `insert into "${schema}".users (name) values ('first');--> statement-breakpoint\nselect pg_sleep(0.1);`,
    `alter table "${schema}".users add column email text;`,
  ];
  const entries = migrations.map((text, idx) => {
    const tag = `000${idx}_step`;
    writeFileSync(join(folder, `${tag}.sql`), text);
    return { idx, version: '7', when: 1_700_000_000_000 + idx, tag, breakpoints: true };
  });
  writeFileSync(
    join(folder, 'meta', '_journal.json'),
    JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
  );
  return folder;
}

/** Drizzle's migrator takes no lock of its own, so deployments take one around it. */
async function deployWithDrizzle(place: Place, migrationsFolder: string, migrationsSchema: string): Promise<void> {
  const client = new pg.Client(place.login);
  await client.connect();
  try {
    await client.query('select pg_advisory_lock(hashtext($1))', [migrationsSchema]);
    try {
      await migrate(drizzle(client), { migrationsFolder, migrationsSchema });
    } finally {
      await client.query('select pg_advisory_unlock(hashtext($1))', [migrationsSchema]);
    }
  } finally {
    await client.end();
  }
}

const steps: Record<string, Migration> = {
  '1': { up: (db) => db.schema.createTable('plants').addColumn('id', 'integer').execute() },
  '2': {
    up: async (db) => {
      await sql`insert into plants values (1)`.execute(db);
      await sql`select pg_sleep(0.1)`.execute(db);
    },
  },
  '3': { up: (db) => db.schema.alterTable('plants').addColumn('name', 'text').execute() },
};

/** Kysely's migrator takes a session's advisory lock on a connection it keeps for that. */
async function deployWithKysely(place: Place, schema: string): Promise<string[]> {
  const db = new Kysely<unknown>({
    dialect: new PostgresDialect({
      pool: new pg.Pool({ ...place.login, max: 2, options: `-c search_path=${schema}` }),
    }),
  });
  try {
    const migrator = new Migrator({ db, provider: { getMigrations: async () => steps }, migrationTableSchema: schema });
    const { error, results } = await migrator.migrateToLatest();
    if (error !== undefined) throw error;
    return (results ?? []).map(({ migrationName, status }) => `${migrationName} ${status}`);
  } finally {
    await db.destroy();
  }
}

interface NodePgMigrate {
  runner(options: {
    databaseUrl: pg.ClientConfig;
    dir: string;
    direction: 'up' | 'down';
    migrationsTable: string;
    migrationsSchema: string;
    schema: string;
    createSchema: boolean;
    count?: number;
    log: (message: string) => void;
  }): Promise<{ name: string }[]>;
}
const nodePgMigrate = (await optionalPackage('node-pg-migrate')) as NodePgMigrate | undefined;

for (const place of rig.places) {
  const fresh = (): string => `m_${randomBytes(4).toString('hex')}`;

  t.test(`Drizzle, ${place.name}: two deployments that lock around their migrations`, async (t) => {
    const schema = fresh();
    const folder = drizzleFolder(t, schema);
    await Promise.all([1, 2].map(() => deployWithDrizzle(place, folder, `${schema}_drizzle`)));
    await deployWithDrizzle(place, folder, `${schema}_drizzle`);
    await withClients(place, 1, async (client) => {
      const { rows } = await client.query(`select * from "${schema}".users`);
      t.same(rows, [{ id: 1, name: 'first', email: null }]);
      const applied = await client.query(`select count(*)::int as n from "${schema}_drizzle".__drizzle_migrations`);
      t.same(applied.rows, [{ n: 3 }]);
      const locks = await client.query("select count(*)::int as n from pg_locks where locktype = 'advisory'");
      t.same(locks.rows, [{ n: 0 }], 'no lock is left');
    });
  });

  t.test(`Kysely, ${place.name}: two deployments at once`, async (t) => {
    const schema = fresh();
    await withClients(place, 1, (client) => client.query(`create schema ${schema}`));
    const outcomes = await Promise.all([1, 2].map(() => deployWithKysely(place, schema)));
    t.same(outcomes.flat().sort(), ['1 Success', '2 Success', '3 Success']);
    t.same(await deployWithKysely(place, schema), []);
    await withClients(place, 1, async (client) => {
      t.same((await client.query(`select * from ${schema}.plants`)).rows, [{ id: 1, name: null }]);
      t.same((await client.query('show search_path')).rows, [{ search_path: '"$user", public' }]);
    });
  });

  const skip = nodePgMigrate === undefined ? 'node-pg-migrate is not installed' : false;
  t.test(`node-pg-migrate, ${place.name}: two deployments at once, then down again`, { skip }, async (t) => {
    if (nodePgMigrate === undefined) return;
    const schema = fresh();
    const dir = temporaryDirectory(t);
    const files = [
      'create table birds (id serial primary key, name text);',
      "insert into birds (name) values ('wren'); select pg_sleep(0.1);",
      'alter table birds add column wings int default 2;',
    ];
    for (const [n, up] of files.entries()) {
      const down = ['drop table birds;', 'delete from birds;', 'alter table birds drop column wings;'][n];
      writeFileSync(
        join(dir, `170000000000${n}_step-${n}.sql`),
        `-- Up Migration\n${up}\n-- Down Migration\n${down}\n`,
      );
    }
    const deploy = (direction: 'up' | 'down', count?: number): Promise<{ name: string }[]> =>
      nodePgMigrate.runner({
        databaseUrl: place.login,
        dir,
        direction,
        migrationsTable: 'migrations',
        migrationsSchema: schema,
        schema,
        createSchema: true,
        ...(count === undefined ? {} : { count }),
        log: () => {},
      });

    // It locks by `pg_try_advisory_lock`: who comes second is told so, or finds nothing to do.
    const outcomes = await Promise.allSettled([deploy('up'), deploy('up')]);
    let applied = 0;
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') applied += outcome.value.length;
      else t.match(String(outcome.reason), /Another migration is already running/);
    }
    t.equal(applied, 3);
    t.same(await deploy('up'), []);
    await withClients(place, 1, async (client) => {
      t.same((await client.query(`select * from ${schema}.birds`)).rows, [{ id: 1, name: 'wren', wings: 2 }]);
    });
    t.equal((await deploy('down', 2)).length, 2);
    await withClients(place, 1, async (client) => {
      t.same((await client.query(`select * from ${schema}.birds`)).rows, []);
      const locks = await client.query("select count(*)::int as n from pg_locks where locktype = 'advisory'");
      t.same(locks.rows, [{ n: 0 }], 'no lock is left');
    });
  });

  t.test(`a guard, ${place.name}: only one of many gets a lock it only tries`, async (t) => {
    // With fewer servers than clients the others wait, for what a lock holds is the whole server.
    const wanted = Math.min(place.servers, 4);
    await withClients(place, wanted, async (...clients) => {
      const got = await Promise.all(
        clients.map(
          async (client) => (await client.query('select pg_try_advisory_lock(77) as got')).rows[0].got as boolean,
        ),
      );
      t.equal(got.filter(Boolean).length, 1);
      const holder = clients[got.indexOf(true)];
      for (let n = 0; n < 3; n++) {
        for (const client of clients) {
          const { rows } = await client.query(
            "select count(*)::int as n from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
          );
          t.same(rows, [{ n: client === holder ? 1 : 0 }]);
        }
      }
      await holder?.query('select pg_advisory_unlock(77)');
      const [last] = clients.slice(-1);
      t.same((await last?.query('select pg_try_advisory_lock(77) as got'))?.rows, [{ got: true }]);
      await last?.query('select pg_advisory_unlock_all()');
    });
  });
}
