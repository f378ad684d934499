// Where each habit is tried: on a direct connection, through weir in session mode, and in transaction mode over few servers.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import pg from 'pg';
import type { Test } from 'tap';
import { eventually, projectRoot, startPostgres, stretched, type TestPostgres } from '../../support/index.js';
import { startWeir } from '../../support/weir.js';

export const user = 'app';
export const password = 'app secret';
export const database = 'habits';

type PostgresOptions = NonNullable<Parameters<typeof startPostgres>[0]>;

export interface Place {
  readonly name: string;
  readonly mode: 'direct' | 'session' | 'transaction';
  /** How many clients can have a server at the same time. */
  readonly servers: number;
  readonly host: string;
  readonly port: number;
  /** As pg's and postgres.js' options take it. */
  readonly login: { host: string; port: number; user: string; password: string; database: string };
  /** `postgresql://app:password@host:port/habits`, of another database when one is named. */
  url(database?: string): string;
  /** Every server is free again: no test leaves one behind for the next. */
  settled(): Promise<void>;
}

export interface Rig {
  readonly server: TestPostgres;
  /** Direct first: what the others are compared with. */
  readonly places: readonly Place[];
  /** The application's database as it was at the start. */
  clean(): Promise<void>;
}

export interface RigOptions {
  readonly postgres?: PostgresOptions;
  /** Pool sizes of transaction mode. */
  readonly sizes?: readonly number[];
  /** Of the role `app`, as in CREATE ROLE. */
  readonly attributes?: string;
}

const many = 30;
/** A client that waits in vain is told, before the test's own limit. */
const queryWaitSecondsMax = 10;

export async function startRig(
  t: { teardown(handler: () => Promise<void>): unknown },
  options: RigOptions = {},
): Promise<Rig> {
  const { postgres = {}, sizes = [1, 2], attributes = '' } = options;
  const server = await startPostgres({
    ...postgres,
    sql: [
      `create role ${user} login ${attributes} password '${password}'`,
      `create database ${database} owner ${user}`,
      ...(postgres.sql ?? []),
    ],
  });
  t.teardown(() => server.stop());

  const direct = place({ name: 'direct', mode: 'direct', servers: many }, server, async () => {
    await eventually(async () => (await server.connectionCount(user)) === 0);
  });
  const places = [direct];
  for (const [mode, servers] of [['session', many], ...sizes.map((size) => ['transaction', size] as const)] as const) {
    const weir = await startWeir({
      server,
      weir: { pool_mode: mode, default_pool_size: servers, query_wait_timeout: queryWaitSecondsMax },
      users: { [user]: password },
    });
    t.teardown(() => weir.stop());
    const name = mode === 'session' ? mode : `${mode} mode over ${servers}`;
    const settled = async (): Promise<void> => {
      await eventually(() => [...weir.pooler.pools].every(({ counts }) => counts.active + counts.tested === 0));
    };
    places.push(place({ name, mode, servers }, weir, settled));
  }

  const clean = async (): Promise<void> => {
    await server.query(`drop owned by ${user} cascade`, [], database);
  };
  return { server, places, clean };
}

function place(
  what: Pick<Place, 'name' | 'mode' | 'servers'>,
  { host, port }: { host: string; port: number },
  settled: () => Promise<void>,
): Place {
  return {
    ...what,
    host,
    port,
    login: { host, port, user, password, database },
    url: (other = database) => `postgresql://${user}:${encodeURIComponent(password)}@${host}:${port}/${other}`,
    settled,
  };
}

/** Clients of `pg` that leave politely when the work is done. */
export async function withClients<T>(
  where: Place,
  count: number,
  work: (...clients: pg.Client[]) => Promise<T>,
): Promise<T> {
  const clients: pg.Client[] = [];
  try {
    for (let n = 0; n < count; n++) {
      const client = new pg.Client(where.login);
      client.on('error', () => {});
      await client.connect();
      clients.push(client);
    }
    return await work(...clients);
  } finally {
    await Promise.all(clients.map((client) => client.end()));
    await where.settled();
  }
}

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

const runMsMax = 70_000;

/** Runs a program to its end; one that takes too long is killed and has the code null. */
export async function run(
  command: string,
  args: readonly string[],
  { input = '', env = {} }: { input?: string; env?: Record<string, string> } = {},
): Promise<Ran> {
  const child = spawn(command, args, {
    env: { ...process.env, PGPASSWORD: password, LC_ALL: 'C.UTF-8', PSQLRC: '/dev/null', ...env },
    timeout: stretched(runMsMax),
    killSignal: 'SIGKILL',
  });
  const chunks: { out: Buffer[]; err: Buffer[] } = { out: [], err: [] };
  child.stdout.on('data', (chunk: Buffer) => chunks.out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.err.push(chunk));
  // A program that ends before it has read everything says so by its code.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out: Buffer.concat(chunks.out).toString(), err: Buffer.concat(chunks.err).toString() };
}

/** Whether a command can be run; what it prints does not matter. */
export function works(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** The path of a program that lies beside the tests; it is not compiled and so not in `dist`. */
export function program(file: string): string {
  return join(projectRoot, 'test', 'integration', 'habits', file);
}

/** A package that need not be installed. Its name is no literal, so that the compiler does not look for it. */
export async function optionalPackage(name: string): Promise<unknown> {
  try {
    return await import(name);
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

export type Transcript = ReadonlyMap<string, readonly string[]>;

/**
 * A driver program tells what it sees, scenario by scenario; everywhere it must be what it sees on a direct connection.
 * @param wanted what is better in transaction mode than it can be on a direct connection, by scenario
 */
export async function compareTranscripts(
  t: Test,
  rig: Rig,
  runAt: (place: Place) => Promise<Ran>,
  wanted: Transcript = new Map(),
): Promise<void> {
  const transcript = async (at: Place): Promise<Transcript> => {
    await rig.clean();
    const { code, out, err } = await runAt(at);
    t.equal(code, 0, `${at.name}: the program ends by itself: ${err}`);
    return scenarios(out);
  };
  const [direct, ...pooled] = rig.places as [Place, ...Place[]];
  const expected = await transcript(direct);
  t.ok(expected.size > 10, 'there are scenarios');
  t.same(
    [...expected].filter(([, lines]) => lines.length === 0 || lines.some((line) => line.startsWith('raised'))),
    [],
    'the scenarios are right about PostgreSQL',
  );
  for (const at of pooled) {
    const better = at.mode === 'transaction' ? wanted : new Map<string, string[]>();
    for (const [name, lines] of await transcript(at)) {
      t.same(lines, better.get(name) ?? expected.get(name), `${at.name}: ${name}`);
    }
    await at.settled();
  }
}

/** `## name` begins a scenario. */
function scenarios(out: string): Transcript {
  const all = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of out.split('\n')) {
    if (line.startsWith('## ')) {
      lines = [];
      all.set(line.slice(3), lines);
    } else if (line !== '') {
      lines.push(line);
    }
  }
  return all;
}

/** The system's own Python is where a distribution puts its packages; the first in the path may be another. */
export function pythonWith(module: string): string | undefined {
  return ['python3', '/usr/bin/python3'].find((python) => works(python, ['-c', `import ${module}`]));
}
