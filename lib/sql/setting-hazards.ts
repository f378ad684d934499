// The hazards of SET and RESET in all their forms.

import type { Argument, Hazard } from './hazards.js';
import { argumentOf, isNode, listAt, type Node, nodeAt, textAt } from './tree.js';

/** @returns undefined for what ends with the transaction and names no setting: SET TRANSACTION, SET CONSTRAINTS */
export function settingHazard(statement: Node): Hazard | undefined {
  const name = textAt(statement, 'name');
  const local = statement['is_local'] === true;
  switch (statement['kind']) {
    case 'VAR_SET_VALUE':
      return setHazard(name, local, valuesOf(statement));
    case 'VAR_SET_DEFAULT':
      return setHazard(name, local, null);
    case 'VAR_RESET':
      return resetHazard(name);
    case 'VAR_RESET_ALL':
      return { kind: 'reset_all' };
    case 'VAR_SET_MULTI':
      return name === 'SESSION CHARACTERISTICS' ? characteristics(statement) : undefined;
    default:
      return { kind: 'unknown_statement', node: 'VariableSetStmt' };
  }
}

/** Words and quoted values look alike here; intervals (SET TIME ZONE INTERVAL ...) stay expressions. */
function valuesOf(statement: Node): Argument[] {
  return listAt(statement, 'args').map((argument) =>
    isNode(argument) && 'TypeCast' in argument ? { kind: 'expression' } : argumentOf(argument),
  );
}

function setHazard(name: string, local: boolean, values: Argument[] | null): Hazard {
  if (name !== 'role' && name !== 'session_authorization') return { kind: 'set', name, local, values };
  const kind = name === 'role' ? 'set_role' : 'session_authorization';
  const [value] = values ?? [];
  return { kind, local, role: value?.kind === 'literal' ? value.value : null };
}

function resetHazard(name: string): Hazard {
  if (name === 'role') return { kind: 'set_role', local: false, role: null };
  if (name === 'session_authorization') return { kind: 'session_authorization', local: false, role: null };
  return { kind: 'reset', name };
}

function characteristics(statement: Node): Hazard {
  const settings = listAt(statement, 'args').flatMap((item) => {
    const element = isNode(item) ? nodeAt(item, 'DefElem') : undefined;
    if (element === undefined) return [];
    const name = `default_${textAt(element, 'defname')}`;
    const argument = argumentOf(element['arg']);
    const value = argument.kind === 'literal' && argument.value !== null ? argument.value : '';
    return [{ name, value: name === 'default_transaction_isolation' ? value : value === '0' ? 'off' : 'on' }];
  });
  return { kind: 'session_characteristics', settings };
}
