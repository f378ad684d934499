// Names of databases in commands: whether one exists, and whether it is the console itself.

import { consoleDatabases, findDatabase } from '../config/index.js';
import type { Pooler } from '../pooler/index.js';
import { refusal } from './command.js';

/** The console's own name, as PgBouncer shows it. */
export const consoleDatabase = 'pgbouncer';

/** @param deed what cannot be done to the console, such as `pause` @throws PoolerError */
export function requireDatabase(pooler: Pooler, name: string, deed: string): void {
  if (consoleDatabases.includes(name)) throw refusal(`cannot ${deed} admin db: ${name}`);
  if (findDatabase(pooler.config, name) === undefined) {
    throw refusal(`no such database: ${name}`, { hint: 'SHOW DATABASES lists them.' });
  }
}

/** As `requireDatabase`, for commands that need a name. @throws PoolerError */
export function namedDatabase(pooler: Pooler, name: string | undefined, deed: string): string {
  if (name === undefined) throw refusal('a database is required', { hint: 'SHOW DATABASES lists them.' });
  requireDatabase(pooler, name, deed);
  return name;
}
