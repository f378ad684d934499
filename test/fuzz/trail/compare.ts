// Holds the trail of a weir against the log of its server: each statement that ran has a record with its text, and no other one.

import type { AuditRecord } from '../../support/trail-records.js';
import type { Logged } from './server-log.js';

/**
 * What weir runs of its own, by kind. None of it is in the trail, and no statement of the programs is like it: those are
 * written in lower case, or name nothing with a schema.
 */
const ownKinds: readonly (readonly [kind: string, pattern: RegExp])[] = [
  ['replay of settings', /^(SET|RESET|select pg_catalog\.set_config|SELECT pg_catalog\.set_config)\b/],
  ['look at a session', /^(BEGIN READ ONLY;|COMMIT$|SELECT '(all )?[a-z]+',)/],
  ['end of a client', /^ROLLBACK$/],
  ['what is left is discarded', /^(DISCARD|CLOSE ALL|UNLISTEN|LISTEN|DEALLOCATE)\b/],
  [
    'look at the catalog',
    /^(WITH own AS \(SELECT oid FROM pg_catalog\.pg_proc\b|SELECT pg_catalog\.json_agg\(DISTINCT )/,
  ],
  ['check of a server', /^SELECT 1$/],
  ['savepoint', /^(SAVEPOINT|ROLLBACK TO SAVEPOINT) weir_/],
];

/** Errors that PostgreSQL finds before it logs what it is to run: it cannot be read, there is no such portal, or it is empty. */
const beforeLog: ReadonlySet<unknown> = new Set(['42601', '34000', '22021', '42P05', '26000', '25P02', '0A000']);

/** How far apart the same statement is looked for. */
const nearMax = 8;

export interface Comparison {
  /** Statements that both have. */
  compared: number;
  /** By kind. */
  readonly own: Map<string, number>;
  readonly differences: string[];
}

/** @param records of statements, in the order they ended @param logged of the same servers */
export function compareTrail(records: readonly AuditRecord[], logged: readonly Logged[]): Comparison {
  const found: Comparison = { compared: 0, own: new Map(), differences: [] };
  const answered = new Set(records.filter(({ server }) => server === undefined).map(({ sql }) => sql));
  const pids = new Set(logged.map(({ pid }) => pid));
  for (const pid of pids) {
    const ran = logged.filter((line) => line.pid === pid);
    const recorded = records.filter(({ server, skipped }) => pidOf(server) === pid && skipped !== true);
    compareServer(pid, ran, recorded, answered, found);
  }
  for (const { server, sql, skipped, sqlstate } of records) {
    const pid = pidOf(server);
    if (pid === undefined || pids.has(pid) || skipped === true || beforeLog.has(sqlstate)) continue;
    found.differences.push(`${pid}: recorded, and the server has no log: ${String(sql)}`);
  }
  return found;
}

function compareServer(
  pid: number,
  ran: readonly Logged[],
  recorded: readonly AuditRecord[],
  answered: ReadonlySet<unknown>,
  found: Comparison,
): void {
  let next = 0;
  const skipTo = (to: number): void => {
    for (; next < to; next++) {
      const record = recorded[next] as AuditRecord;
      if (!mayBeUnlogged(record)) found.differences.push(`${pid}: recorded, not run: ${shownRecord(record)}`);
    }
  };
  const isNext = ({ sql }: Logged, record: AuditRecord): boolean => record['sql'] === sql;
  for (const line of ran) {
    const record = recorded[next];
    const kind = record !== undefined && isNext(line, record) ? undefined : kindOf(line, answered);
    if (kind !== undefined) {
      found.own.set(kind, (found.own.get(kind) ?? 0) + 1);
      continue;
    }
    // Where they are not in step, they may be again soon, behind what the server refused before it logged it too.
    let near = next;
    while (near < recorded.length && mayBeUnlogged(recorded[near])) near++;
    const same = recorded.findIndex((each, index) => index >= next && index < near + nearMax && isNext(line, each));
    const matched = recorded[same];
    if (matched === undefined) {
      found.differences.push(`${pid}: run, not recorded: ${line.sql}; next is ${shownRecord(record)}`);
      continue;
    }
    skipTo(same);
    next = same + 1;
    found.compared++;
    const values = matched['parameters'];
    if (Array.isArray(values) && line.parameters !== undefined && !hasParameters(values, line.parameters))
      found.differences.push(`${pid}: other parameters: ${line.parameters}; ${shownRecord(matched)}`);
  }
  skipTo(recorded.length);
}

function shownRecord(record: AuditRecord | undefined): string {
  return record === undefined ? 'nothing' : JSON.stringify([record['sql'], record['parameters'], record['sqlstate']]);
}

/** A text that holds no statement, which runs nothing when it is executed. */
const nothing = /^(\s|;|--[^\n]*(\n|$))*$/;

function mayBeUnlogged(record: AuditRecord | undefined): boolean {
  return beforeLog.has(record?.['sqlstate']) || (record?.['commands'] === 0 && nothing.test(String(record['sql'])));
}

function kindOf({ sql, named }: Logged, answered: ReadonlySet<unknown>): string | undefined {
  // Weir has answered it, and the server has got it with the statement behind it.
  if (named?.startsWith('weir_') === true && answered.has(sql) && /^\s*(begin|start)\b/i.test(sql))
    return 'deferred BEGIN';
  return ownKinds.find(([, pattern]) => pattern.test(sql))?.[0];
}

/** PostgreSQL writes values as their types show them: a boolean by its letter. */
function hasParameters(values: readonly unknown[], logged: string): boolean {
  const quoted = (value: string): string => `'${value.replaceAll("'", "''")}'`;
  let rest = logged;
  return values.every((value, index) => {
    const text = value === null ? 'NULL' : String(value);
    const forms = value === null ? [text] : [quoted(text), quoted(text.slice(0, 1))];
    const found = forms
      .map((form) => `${index > 0 ? ', ' : ''}$${index + 1} = ${form}`)
      .find((form) => rest.startsWith(form));
    rest = rest.slice(found?.length ?? 0);
    return found !== undefined;
  });
}

function pidOf(server: unknown): number | undefined {
  return typeof server === 'string' ? Number(/\/(\d+)$/.exec(server)?.[1]) : undefined;
}
