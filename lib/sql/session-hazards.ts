// The hazards of statements that exist for their session: transactions, prepared statements, cursors, channels, COPY.

import type { Hazard, TransactionOperation } from './hazards.js';
import { argumentOf, listAt, type Node, nameParts, nodeAt, textAt } from './tree.js';

export interface FoundHazard {
  readonly hazard: Hazard;
  /** Some value in it was a literal of the text. */
  readonly literalDependent: boolean;
}

/** The option of a DECLARE. */
export const cursorHold = 0x20;

export function sessionHazard(type: string, body: Node): FoundHazard | undefined {
  switch (type) {
    case 'TransactionStmt':
      return found(transaction(body));
    case 'PrepareStmt':
      return {
        hazard: { kind: 'prepare', name: textAt(body, 'name'), bodyStart: -1, bodyEnd: -1 },
        literalDependent: true,
      };
    case 'ExecuteStmt': {
      const given = listAt(body, 'params').map(argumentOf);
      return {
        hazard: { kind: 'execute', name: textAt(body, 'name'), arguments: given },
        literalDependent: given.length > 0,
      };
    }
    case 'DeallocateStmt':
      return found({ kind: 'deallocate', name: nameOrNull(body, 'name') });
    case 'DiscardStmt':
      return found({ kind: 'discard', what: discardTarget(body) });
    case 'ListenStmt':
      return found({ kind: 'listen', channel: textAt(body, 'conditionname') });
    case 'UnlistenStmt':
      return found({ kind: 'unlisten', channel: nameOrNull(body, 'conditionname') });
    case 'NotifyStmt':
      return found({ kind: 'notify', channel: textAt(body, 'conditionname') });
    case 'DeclareCursorStmt': {
      const options = body['options'];
      const isHeld = typeof options === 'number' && (options & cursorHold) !== 0;
      return isHeld ? found({ kind: 'declare_hold', name: textAt(body, 'portalname') }) : undefined;
    }
    case 'ClosePortalStmt':
      return found({ kind: 'close', name: nameOrNull(body, 'portalname') });
    case 'LoadStmt':
      return found({ kind: 'load' });
    case 'DoStmt':
      return found({ kind: 'do' });
    case 'CallStmt':
      return found({ kind: 'call', procedure: nameParts(nodeAt(body, 'funccall')?.['funcname']).join('.') });
    case 'CopyStmt':
      return found(copy(body));
    case 'FetchStmt':
      return undefined;
    default:
      return found({ kind: 'unknown_statement', node: type });
  }
}

function found(hazard: Hazard): FoundHazard {
  return { hazard, literalDependent: false };
}

/** Of what may be ALL: null. */
export function nameOrNull(body: Node, key: string): string | null {
  return typeof body[key] === 'string' ? body[key] : null;
}

const operations: ReadonlyMap<string, TransactionOperation> = new Map<string, TransactionOperation>([
  ['TRANS_STMT_BEGIN', 'begin'],
  ['TRANS_STMT_START', 'start'],
  ['TRANS_STMT_COMMIT', 'commit'],
  ['TRANS_STMT_ROLLBACK', 'rollback'],
  ['TRANS_STMT_SAVEPOINT', 'savepoint'],
  ['TRANS_STMT_RELEASE', 'release'],
  ['TRANS_STMT_ROLLBACK_TO', 'rollback_to'],
  ['TRANS_STMT_PREPARE', 'prepare'],
  ['TRANS_STMT_COMMIT_PREPARED', 'commit_prepared'],
  ['TRANS_STMT_ROLLBACK_PREPARED', 'rollback_prepared'],
]);

function transaction(body: Node): Hazard {
  const operation = operations.get(textAt(body, 'kind'));
  if (operation === undefined) return { kind: 'unknown_statement', node: 'TransactionStmt' };
  return {
    kind: 'transaction',
    operation,
    chain: body['chain'] === true,
    savepoint: nameOrNull(body, 'savepoint_name'),
  };
}

export function discardTarget(body: Node): 'all' | 'plans' | 'sequences' | 'temp' {
  switch (body['target']) {
    case 'DISCARD_PLANS':
      return 'plans';
    case 'DISCARD_SEQUENCES':
      return 'sequences';
    case 'DISCARD_TEMP':
      return 'temp';
    default:
      return 'all';
  }
}

function copy(body: Node): Hazard {
  const direction = body['is_from'] === true ? 'from' : 'to';
  const hasFile = typeof body['filename'] === 'string';
  const stream = direction === 'from' ? 'stdin' : 'stdout';
  return { kind: 'copy', direction, target: body['is_program'] === true ? 'program' : hasFile ? 'file' : stream };
}
