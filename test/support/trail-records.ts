// Reads the records of an audit trail, as whoever looks into it would.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export type AuditRecord = Readonly<Record<string, unknown>>;

/** Lines that are whole; a line that is no JSON fails the test. */
export function readTrail(directory: string): AuditRecord[] {
  return readdirSync(directory)
    .sort()
    .flatMap((name) => {
      const lines = readFileSync(join(directory, name), 'utf8').split('\n');
      return lines.slice(0, -1).map((line) => JSON.parse(line) as AuditRecord);
    });
}

/** Those of statements, in the order they ended: in `before` mode each with what its two records say. */
export function endedStatements(records: readonly AuditRecord[]): AuditRecord[] {
  const begun = new Map(records.filter(({ event }) => event === 'begin').map((begin) => [begin['seq'], begin]));
  return records.flatMap((record) => {
    if (record['event'] === 'statement') return [record];
    return record['event'] === 'end' ? [{ ...begun.get(record['begin']), ...record }] : [];
  });
}
