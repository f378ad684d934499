// Whether the statements behind a statement still have the plans that any other session would get for them.

import type { StatementDeeds, StatementFacts } from '../sql/index.js';

/** They change neither what names mean nor what there is. */
const steadyKinds: ReadonlySet<string> = new Set([
  'select',
  'select_for_update',
  'insert',
  'update',
  'delete',
  'merge',
  'show',
  'explain',
  'declare',
  'fetch',
  'close',
  'copy_to',
  'transaction',
  'savepoint',
  'listen',
  'unlisten',
  'notify',
  'lock',
  // Of these settings no plan hangs.
  'set',
  'set_application_name',
  'set_client_min_messages',
  'set_extra_float_digits',
  'set_idle_in_transaction_session_timeout',
  'set_lock_timeout',
  'set_statement_timeout',
  'set_transaction',
]);

/** Whatever runs code that nobody has read may have changed anything. */
const steadyHazards: ReadonlySet<string> = new Set([
  'set',
  'transaction',
  'listen',
  'unlisten',
  'notify',
  'close',
  'declare_hold',
  'advisory_lock',
  'advisory_unlock',
  'nextval',
  'currval',
  'lastval',
  'copy',
]);

/** @param statement one of its statements; all of them unless told */
export function keepsPlans({ deeds, hazards }: StatementFacts, statement?: StatementDeeds): boolean {
  const statements = statement === undefined ? (deeds?.statements ?? []) : [statement];
  return (
    deeds?.unknown === false &&
    hazards.every(({ kind }) => steadyHazards.has(kind)) &&
    statements.every(({ kinds }) => [...kinds].every((kind) => steadyKinds.has(kind)))
  );
}
