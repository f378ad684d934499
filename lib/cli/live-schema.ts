// Reads what a database has as a running weir does, by a pool of one server that nobody else uses.

import pino from 'pino';
import { type Config, defaultConfig, newDatabase, newUser } from '../config/index.js';
import type { Schema } from '../policy/index.js';
import { type Loaded, Pooler, readSchema } from '../pooler/index.js';
import { PoolerError, Secret, systemClock } from '../util/index.js';
import { load } from './load.js';

/**
 * @param path of the configuration, where `connect` is no URL
 * @param user whose search path counts, and who is logged in where neither the URL nor the configuration names anybody
 * @throws PoolerError, BadConfiguration
 */
export async function liveSchema(
  path: string,
  connect: string | true,
  database: string,
  user: string,
): Promise<Schema> {
  const found = connect === true ? configured(path, user) : addressed(connect, database, user);
  const name = connect === true ? database : wantedDatabase;
  const pooler = await Pooler.create({
    loaded: found.loaded,
    clock: systemClock,
    log: pino({ level: 'silent' }),
    reread: () => found.loaded,
    version: 'weir policy',
  });
  const made = pooler.poolFor(name, found.user);
  if (made instanceof PoolerError) throw made;
  return readSchema(made.pool, undefined);
}

interface Found {
  readonly loaded: Loaded;
  readonly user: string;
}

/** In a configuration of one database what it is called does not matter. */
const wantedDatabase = 'wanted';

function configured(path: string, user: string): Found {
  const loaded = load(path);
  const { config } = loaded;
  // What a process writes or listens with is not opened here.
  const weir: Config['weir'] = { ...config.weir, audit_dir: '', client_tls_sslmode: 'disable' };
  const users = withPassword(config.users, user);
  return { loaded: { ...loaded, config: { ...config, weir, users } }, user };
}

function addressed(text: string, database: string, user: string): Found {
  const url = parsed(text);
  const login = decodeURIComponent(url.username) || user;
  const host = decodeURIComponent(url.hostname).replace(/^\[|\]$/g, '') || '127.0.0.1';
  const endpoint = { kind: 'tcp', host, port: Number(url.port) || 5432 } as const;
  const dbname = decodeURIComponent(url.pathname.slice(1)) || database;
  const users = withPassword(new Map(), login, decodeURIComponent(url.password));
  const databases = new Map([[wantedDatabase, newDatabase(wantedDatabase, [endpoint], { dbname })]]);
  const config: Config = { ...defaultConfig(), databases, users };
  return { loaded: { config, users: new Map(), policy: undefined }, user: login };
}

function withPassword(users: Config['users'], user: string, given = ''): Config['users'] {
  const password = given || process.env['PGPASSWORD'];
  if (password === undefined || password === '') return users;
  const settings = users.get(user) ?? newUser(user);
  return new Map([...users, [user, { ...settings, password: new Secret(password) }]]);
}

function parsed(text: string): URL {
  // Never with the text itself: a password may be in it.
  if (URL.canParse(text) && /^postgres(ql)?:$/.test(new URL(text).protocol)) return new URL(text);
  throw new PoolerError('--connect takes a URL', {
    sqlstate: '22023',
    hint: 'Write it as postgresql://user@host:5432/database, with the password in PGPASSWORD.',
  });
}
