// Runs the same statements through weir, whose servers have run connect_query, and on direct connections that begin with what it makes.

import type { Test } from 'tap';
import type { DatabaseSettings } from '../../../lib/config/index.js';
import { eventually, startPostgres, type TestPostgres } from '../../support/index.js';
import { RawClient, type RawLogin } from '../../support/raw-client.js';
import { startWeir, type TestWeir } from '../../support/weir.js';

export interface Client {
  /** The rows and errors, as one line of text. */
  say(sql: string): Promise<string>;
  readonly raw: RawClient;
}

export async function startBase(t: Test, sql: readonly string[] = []): Promise<TestPostgres> {
  const postgres = await startPostgres({
    hba: 'host all all 127.0.0.1/32 trust',
    sql: [
      'create role app login',
      'create role super login superuser',
      'create role reader',
      'create role writer',
      'grant reader, writer to app',
      'create schema sa authorization app',
      'create table sa.here (v text)',
      "insert into sa.here values ('in sa')",
      'grant all on sa.here to public',
      'grant usage on schema sa to public',
      ...sql,
    ],
  });
  t.teardown(() => postgres.stop());
  return postgres;
}

export async function weirWith(
  t: Test,
  postgres: TestPostgres,
  database: Partial<DatabaseSettings>,
  weir: NonNullable<Parameters<typeof startWeir>[0]['weir']> = {},
): Promise<TestWeir> {
  const started = await startWeir({
    server: postgres,
    users: { app: 'x', super: 'x' },
    database,
    weir: { auth_type: 'trust', default_pool_size: 1, leak_probe_every: 1, query_wait_timeout: 10, ...weir },
  });
  t.teardown(() => started.stop());
  return started;
}

export async function connect(
  t: Test,
  place: { readonly host: string; readonly port: number },
  login: RawLogin = {},
): Promise<Client> {
  const raw = await RawClient.connect(place, { user: 'app', database: 'postgres', ...login });
  t.teardown(() => raw.vanish());
  return {
    raw,
    say: async (sql) => {
      const { rows, errors } = await raw.query(sql);
      return JSON.stringify([...rows, ...errors.map((error) => `${error['C']} ${error['M']}`)]);
    },
  };
}

/** Nobody's server is in use, nor is anything done with one. */
export async function settled(weir: TestWeir): Promise<void> {
  await eventually(() =>
    [...weir.pooler.pools].every(({ counts }) => counts.active + counts.tested + counts.being_canceled === 0),
  );
}

/** What weir has found on its servers that it did not believe to be there. */
export function leaksOf(weir: TestWeir): number {
  return [...weir.pooler.pools]
    .flatMap(({ traffic }) => Object.values(traffic.ladder.leaks))
    .reduce((sum, count) => sum + count, 0);
}
