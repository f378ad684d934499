// Scripts for pgbench that it does not bring: what a change of settings costs, and a write on its own.

export type FileScript = 'set-local' | 'set-once' | 'set-each' | 'insert';

/** As in pgbench's own select-only, in the part of the table that is there at every scale. */
const select = ['\\set aid random(1, 100000)', 'SELECT abalance FROM pgbench_accounts WHERE aid = :aid;'];

export const scriptTexts: Readonly<Record<FileScript, string>> = {
  // Nothing outlives the transaction: this costs no more than any four statements.
  'set-local': lines('BEGIN;', 'SET LOCAL work_mem = 4097;', ...select, 'END;'),
  // Each client has a value of its own from its first transaction on: a server that comes from another client is given it.
  'set-once': lines(
    '\\if :first',
    '\\set kilobytes 4096 + :client_id',
    'SET work_mem = :kilobytes;',
    '\\set first 0',
    '\\endif',
    ...select,
  ),
  // Two changes a transaction, each of which is found out about.
  'set-each': lines('SET work_mem = 4097;', ...select, 'SET work_mem = 4098;', ...select),
  // What any write may be: a default or a trigger may read a sequence, so that it is not for any server at any time.
  insert: lines(
    '\\set aid random(1, 100000)',
    '\\set delta random(-5000, 5000)',
    'INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, now());',
  ),
};

/** Variables the scripts begin with, for every client. */
export const scriptVariables: Readonly<Record<string, string>> = { first: '1' };

function lines(...all: string[]): string {
  return `${all.join('\n')}\n`;
}
