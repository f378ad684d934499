// Starts a weir inside the test's own process, in front of a test PostgreSQL, on a port of the system's choice.

import pg from 'pg';
import pino from 'pino';
import {
  type Config,
  type DatabaseSettings,
  defaultConfig,
  type GlobalSettings,
  newDatabase,
  newUser,
  type UserList,
} from '../../lib/config/index.js';
import { type Loaded, Pooler } from '../../lib/pooler/index.js';
import { Secret, systemClock } from '../../lib/util/index.js';
import { loadedPolicy } from './policy.js';

export interface WeirOptions {
  /** Where the servers are. */
  readonly server: { readonly host: string; readonly port: number };
  readonly weir?: Partial<GlobalSettings>;
  /** Of the database `*`. */
  readonly database?: Partial<DatabaseSettings>;
  /** Passwords by user; weir checks them and logs in with them. */
  readonly users?: Readonly<Record<string, string>>;
  readonly userList?: UserList;
  /** The text of a policy file. */
  readonly policy?: string;
  /** Everything else, last. */
  readonly config?: (config: Config) => Config;
  readonly log?: pino.Logger;
  /** What the names of prepared statements begin with on servers. */
  readonly statementPrefix?: string;
}

export interface TestWeir {
  readonly pooler: Pooler;
  readonly host: string;
  readonly port: number;
  config: Config;
  /** The text of the policy file; a change is in force after a reload. */
  policy: string | undefined;
  url(user: string, password: string, database?: string): string;
  /** A connected client of the `pg` driver. */
  connect(options?: pg.ClientConfig): Promise<pg.Client>;
  stop(): Promise<void>;
}

export async function startWeir(options: WeirOptions): Promise<TestWeir> {
  const base = defaultConfig();
  const host = { kind: 'tcp', host: options.server.host, port: options.server.port } as const;
  const users = new Map(
    Object.entries(options.users ?? {}).map(([name, password]) => [
      name,
      newUser(name, { password: new Secret(password) }),
    ]),
  );
  let config: Config = {
    ...base,
    weir: {
      ...base.weir,
      listen_port: 0,
      unix_socket_dir: '',
      auth_failure_delay: 0,
      max_client_conn: 10_000,
      ...options.weir,
    },
    databases: new Map([['*', newDatabase('*', [host], options.database)]]),
    users,
  };
  config = options.config?.(config) ?? config;
  const weir: { config: Config; policy: string | undefined } = { config, policy: options.policy };
  const userList = options.userList ?? new Map();
  const read = (): Loaded => {
    const { raw, document } = loadedPolicy(weir.policy);
    return { config: { ...weir.config, policy: raw }, users: userList, policy: document };
  };
  const pooler = await Pooler.create({
    loaded: read(),
    clock: systemClock,
    log: options.log ?? quietLog(),
    reread: read,
    version: 'weir test',
    ...(options.statementPrefix === undefined ? {} : { statementPrefix: options.statementPrefix }),
  });
  const listening = await pooler.start();
  const port = listening.port ?? 0;
  const [firstUser] = Object.entries(options.users ?? { postgres: '' });
  return {
    pooler,
    host: '127.0.0.1',
    port,
    get config() {
      return weir.config;
    },
    set config(next) {
      weir.config = next;
    },
    get policy() {
      return weir.policy;
    },
    set policy(next) {
      weir.policy = next;
    },
    url: (user, password, database = 'postgres') =>
      `postgresql://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`,
    connect: async (more = {}) => {
      const client = new pg.Client({
        host: '127.0.0.1',
        port,
        user: firstUser?.[0] ?? 'postgres',
        password: firstUser?.[1] ?? '',
        database: 'postgres',
        ...more,
      });
      await client.connect();
      return client;
    },
    stop: async () => {
      pooler.shutdown('immediate');
      await pooler.finished;
    },
  };
}

/** Says nothing unless it is asked to: a reload sets the level. */
function quietLog(): pino.Logger {
  const level = process.env['WEIR_TEST_LOG'];
  return level === undefined ? pino({ level: 'silent' }, { write: () => {} }) : pino({ level });
}
