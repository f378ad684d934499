// What the policy's commands are asked about: who runs a statement, when, under which policy, and what the database has.

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { assumedNames, type PolicyDocument, Rehearsal, type RehearsedNames, schemaOfSql } from '../policy/index.js';
import type { StatementReader } from '../sql/index.js';
import { PoolerError } from '../util/index.js';
import { liveSchema } from './live-schema.js';

/** Who runs statements, and when. */
export interface Circumstances {
  readonly user: string;
  readonly database: string;
  readonly application?: string | undefined;
  readonly address?: string | undefined;
  readonly certificate?: string | undefined;
  readonly wallMs: number;
  /** In place of the roles that follow from the rest. */
  readonly role?: string | undefined;
}

/** Of commands about one user. */
export interface SubjectFlags {
  readonly user?: string;
  readonly role?: string;
  readonly database?: string;
  readonly application?: string;
  readonly address?: string;
  readonly certificate?: string;
  readonly at?: string;
}

/** Where a command learns what the database has. */
export interface SchemaFlags {
  readonly schema?: string;
  /** true: as the configuration says. */
  readonly connect?: string | true;
}

export function withSubject(command: Command): Command {
  return command
    .option('--user <name>', 'the database user')
    .option('--role <name>', 'a role of the policy, in place of those the user has')
    .option('--database <name>', 'the database, as clients name it; by default the name of the user')
    .option('--application <name>', 'application_name')
    .option('--address <ip>', 'where the client comes from; by default the Unix socket')
    .option('--certificate <name>', "the name in the client's certificate")
    .option('--at <time>', 'when, such as 2026-03-01T09:30:00Z; by default now');
}

export function withSchema(command: Command): Command {
  return command
    .option('--schema <file>', 'what the database has, as SQL: CREATE TABLE, VIEW, FUNCTION')
    .option('--connect [url]', "read it from the database: a URL, or the database's host in the configuration");
}

/** @throws PoolerError */
export function circumstancesOf(flags: SubjectFlags): Circumstances {
  const { user = flags.role, role, application, address, certificate } = flags;
  if (user === undefined) {
    throw new PoolerError('who runs the statements is not said', { sqlstate: '22023', hint: 'Give --user or --role.' });
  }
  const database = flags.database ?? user;
  return { user, role, database, application, address, certificate, wallMs: timeOf(flags.at) };
}

/** @throws PoolerError */
export function timeOf(at: string | undefined): number {
  const wallMs = at === undefined ? Date.now() : Date.parse(at);
  if (!Number.isNaN(wallMs)) return wallMs;
  throw new PoolerError(`not a time: ${at}`, { sqlstate: '22007', hint: 'Write it as 2026-03-01T09:30:00Z.' });
}

/** @param path of the configuration, for its hosts @throws PoolerError, BadConfiguration */
export async function namesOf(
  { schema, connect }: SchemaFlags,
  { user, database }: Circumstances,
  reader: StatementReader,
  path: string,
): Promise<RehearsedNames> {
  if (connect !== undefined) {
    const live = await liveSchema(path, connect, database, user);
    return connect === true ? { schema: live } : { schema: live, sessionUser: user };
  }
  if (schema === undefined) return assumedNames(user);
  return { schema: await schemaAt(schema, reader, user), assumes: 'catalog' };
}

/** @throws PoolerError that names the line */
export async function schemaAt(file: string, reader: StatementReader, user: string): Promise<RehearsedNames['schema']> {
  const result = await schemaOfSql(readText(file), reader, user);
  if (result.ok) return result.schema;
  throw new PoolerError(`${file}:${result.line}: ${result.message}`, {
    sqlstate: '42601',
    hint: 'The schema is SQL as PostgreSQL reads it, such as pg_dump --schema-only writes it.',
  });
}

/** @throws PoolerError */
export function rehearsalOf(
  document: PolicyDocument,
  { user, database, application = '', address, certificate, wallMs, role }: Circumstances,
  names: RehearsedNames,
): Rehearsal {
  if (role !== undefined && !document.roles.has(role)) {
    throw new PoolerError(`the policy has no role ${role}`, {
      sqlstate: '42704',
      hint: `It has: ${[...document.roles.keys()].join(', ')}.`,
    });
  }
  const subject = { user, database, application, address, certificate };
  return new Rehearsal({ document, subject, wallMs, names, ...(role === undefined ? {} : { roles: [role] }) });
}

/** @throws PoolerError */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new PoolerError(`cannot read ${file}`, {
      sqlstate: '58P01',
      detail: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}
