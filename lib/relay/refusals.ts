// What a client is told that weir does not let do something.

import type { HazardName } from '../session/index.js';
import type { ErrorFields } from '../wire/index.js';
import { printable } from './client-bytes.js';

export const abortedTransaction: ErrorFields = {
  severity: 'ERROR',
  sqlstate: '25P02',
  message: 'current transaction is aborted, commands ignored until end of transaction block',
};

/** Of a text that ends such a transaction and may then read what others have taken from sequences on the server. */
export const mixedWithEnd: ErrorFields = {
  ...abortedTransaction,
  detail:
    "What the session remembers of sequences is not the client's, and cannot be discarded before the transaction ends.",
  hint: 'Send ROLLBACK by itself.',
};

/** A statement that the audit trail has no room for. */
export const unrecorded: ErrorFields = {
  severity: 'ERROR',
  sqlstate: '53100',
  message: 'the statement cannot be recorded in the audit trail',
  hint: 'Make room in audit_dir, or set audit_on_full to block or drop.',
};

/** A statement whose text is too long to be recorded as a whole. */
export function tooLongToRecord(bytesMax: number): ErrorFields {
  return {
    severity: 'ERROR',
    sqlstate: '54000',
    message: `the statement cannot be recorded in the audit trail: it is longer than ${bytesMax} bytes`,
    hint: 'Send less at a time, or raise statement_memory_limit, up to 16 MB.',
  };
}

/** One more portal, cursor or prepared statement than the audit trail can keep the text of. */
export const tooManyNames: ErrorFields = {
  severity: 'ERROR',
  sqlstate: '53400',
  message: 'the audit trail cannot keep the texts of more portals, cursors and prepared statements of this session',
  hint: 'Close those that are no longer used.',
};

/** As PostgreSQL says it, to whom it says so: drivers look at the routine. */
export const changedPlan: ErrorFields = {
  severity: 'ERROR',
  sqlstate: '0A000',
  message: 'cached plan must not change result type',
  routine: 'RevalidateCachedQuery',
};

/** The body of a Parse, sent to make PostgreSQL fail where weir has to answer with an error of its own: its state must be that of an error. */
export const provocation = Buffer.from('weir: this statement is refused\0\0\0', 'latin1');

/** Of statements that the configuration forbids. */
export const refusedState = '0A000';

export function unknownStatement(name: string): ErrorFields {
  return {
    severity: 'ERROR',
    sqlstate: '26000',
    message:
      name === ''
        ? 'unnamed prepared statement does not exist'
        : `prepared statement "${printable(name)}" does not exist`,
  };
}

const hazardTexts: Readonly<Record<HazardName, string>> = {
  setting: 'changing a setting of the session',
  role: 'changing the role of the session',
  statement: 'PREPARE, EXECUTE and DEALLOCATE',
  listen: 'LISTEN and UNLISTEN',
  cursor: 'a cursor WITH HOLD',
  temp: 'a temporary object that outlives its transaction',
  advisory_lock: 'an advisory lock of the session',
  sequence: 'asking for the last value of a sequence',
  load: 'a statement whose effect nothing undoes',
  unknown: 'a statement whose effects on the session are not known',
};

export function refusal(hazard: HazardName): ErrorFields {
  return {
    severity: 'ERROR',
    sqlstate: refusedState,
    message: `${hazardTexts[hazard]} is refused by the pooler (${hazard})`,
    hint: `Set on_hazard.${hazard} to auto or pin, or use a database or user with pool_mode = session.`,
  };
}
