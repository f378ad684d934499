// What PostgreSQL's own log says was run, statement by statement, per backend, in its order.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** For postgresql.conf. */
export const logSettings = {
  logging_collector: 'on',
  log_destination: 'jsonlog',
  log_directory: 'log',
  log_statement: 'all',
  log_rotation_size: 0,
} as const;

export interface Logged {
  readonly pid: number;
  /** The prepared statement's name and the portal's, for one that was executed by the protocol. */
  readonly named: string | undefined;
  readonly sql: string;
  /** As the log writes them; undefined where there are none. */
  readonly parameters: string | undefined;
}

interface LogLine {
  readonly pid?: number;
  readonly user?: string;
  readonly dbname?: string;
  readonly error_severity?: string;
  readonly message?: string;
  readonly detail?: string;
}

/** @param users whose statements count, in that database */
export function readServerLog(dataDir: string, database: string, users: ReadonlySet<string>): Logged[] {
  const directory = join(dataDir, 'log');
  const files = readdirSync(directory).filter((name) => name.endsWith('.json'));
  const lines = files.sort().flatMap((name) => readFileSync(join(directory, name), 'utf8').split('\n'));
  return lines.flatMap((text) => {
    if (text === '') return [];
    const { pid, user = '', dbname, error_severity, message = '', detail } = JSON.parse(text) as LogLine;
    if (pid === undefined || dbname !== database || !users.has(user) || error_severity !== 'LOG') return [];
    const [, named, sql] = /^(?:statement|execute (?:fetch from )?(.*?)): ([\s\S]*)$/.exec(message) ?? [];
    if (sql === undefined) return [];
    const parameters = /^parameters: ([\s\S]*)$/i.exec(detail ?? '')?.[1];
    return [{ pid, named, sql, parameters }];
  });
}
