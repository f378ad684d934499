// Starts the PostgreSQL that every target of a run shares, with settings that keep the storage out of the figures.

import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Secret } from '../lib/util/index.js';
import { startPostgres } from '../test/support/index.js';
import type { CertificateFiles } from './certificates.js';

export interface Postgres {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: Secret;
  readonly database: string;
  /** For people, e.g. `PostgreSQL 18.4`. */
  readonly version: string;
  /** The process whose tree is all of PostgreSQL. */
  readonly pid: number;
  /** Each statement by itself, over a connection that no target sees. */
  execute(statements: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Nothing waits for a disk, so that a round differs from the next by the poolers rather than by the storage; no
 * vacuum or checkpoint starts in the middle of one. README.md repeats these for the reader of a ratio.
 */
export const postgresSettings: Readonly<Record<string, string>> = {
  max_connections: '700',
  shared_buffers: '512MB',
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  autovacuum: 'off',
  checkpoint_timeout: '1h',
  max_wal_size: '8GB',
};

/** PostgreSQL trusts loopback as the poolers do: a connect is compared with a connect, not with a password exchange. */
const trustLoopback = 'host all all 127.0.0.1/32 trust';

export async function startBenchPostgres(certificate: CertificateFiles | undefined): Promise<Postgres> {
  const user = 'bench';
  const database = 'bench';
  const password = randomBytes(18).toString('base64url');
  const server = await startPostgres({
    settings: postgresSettings,
    hba: trustLoopback,
    superuser: { name: user, password },
    sql: [`CREATE DATABASE ${database}`],
    ...(certificate === undefined ? {} : { tls: await pemTexts(certificate) }),
  });
  const [row] = await server.query<{ server_version: string }>('SHOW server_version');
  const { host, port, pid } = server;
  return {
    ...{ host, port, user, database, pid },
    password: new Secret(password),
    version: `PostgreSQL ${row?.server_version ?? String(server.version)}`,
    execute: async (statements) => {
      for (const statement of statements) await server.query(statement, [], database);
    },
    stop: () => server.stop(),
  };
}

async function pemTexts(files: CertificateFiles): Promise<{ key: string; cert: string }> {
  return { key: await readFile(files.key, 'utf8'), cert: await readFile(files.certificate, 'utf8') };
}
