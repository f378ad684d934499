// What EXPLAIN could be asked about a statement: which part of its text has a plan, and whether the plan hangs on its constants.

import { TokenMap } from './relation-span.js';
import { isNode, listAt, type Node, nameParts, nodeAt, textAt } from './tree.js';

/**
 * Which constants and parameters a statement has, by what they can do to its plan. `compared`: only such as stand on one side
 * of an equation, are inserted or are shown. `deciding`: ranges, limits, patterns, lists, arguments of functions and the like.
 */
export type Constants = 'none' | 'compared' | 'deciding';

export type Planned =
  /** Nothing is run that has a plan, as in BEGIN, EXPLAIN or CREATE VIEW. */
  | { readonly kind: 'free' }
  /** Something is run whose plan nobody tells, as in CALL or REINDEX. */
  | { readonly kind: 'opaque' }
  | {
      readonly kind: 'plan';
      readonly constants: Constants;
      /** The statement's place in the text; -1 where EXPLAIN can be put before the whole text. */
      readonly start: number;
      readonly end: number;
      /** What has the plan where it does not stand in the text. */
      readonly instead: string | undefined;
    };

export const free: Planned = { kind: 'free' };
export const opaquePlan: Planned = { kind: 'opaque' };

const explainable: ReadonlySet<string> = new Set([
  'SelectStmt',
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'DeclareCursorStmt',
  'ExecuteStmt',
  'CreateTableAsStmt',
]);

/** They read or write tables, or run code, and have no plan that could be asked for. */
const opaqueStatements: ReadonlySet<string> = new Set([
  'DoStmt',
  'CallStmt',
  'LoadStmt',
  'VacuumStmt',
  'ClusterStmt',
  'ReindexStmt',
  'RefreshMatViewStmt',
  'IndexStmt',
  'AlterTableStmt',
  'CreatedbStmt',
  'CheckPointStmt',
]);

/**
 * @param type of the statement's node, which the reader of deeds knows
 * @param text the tree was made of, UTF-8
 * @param start of the statement in it @param end behind it
 * @param isOnly nothing else is in the text
 */
export function plannedOf(
  type: string,
  body: Node,
  text: Buffer,
  start: number,
  end: number,
  isOnly: boolean,
): Planned {
  if (explainable.has(type)) {
    const isEmpty = type === 'CreateTableAsStmt' && nodeAt(body, 'into')?.['skipData'] === true;
    if (isEmpty) return free;
    const place = isOnly ? { start: -1, end: -1 } : { start, end };
    return { kind: 'plan', constants: constantsIn({ [type]: body }), ...place, instead: undefined };
  }
  if (type === 'ExplainStmt') return explained(body, text, start, end);
  if (type === 'CopyStmt') return copied(body, text, start, end);
  return opaqueStatements.has(type) ? opaquePlan : free;
}

/** EXPLAIN ANALYZE runs what it explains. */
function explained(body: Node, text: Buffer, start: number, end: number): Planned {
  const runs = listAt(body, 'options').some(
    (option) => isNode(option) && nodeAt(option, 'DefElem')?.['defname'] === 'analyze',
  );
  if (!runs) return free;
  const [type] = Object.keys(nodeAt(body, 'query') ?? {});
  if (type === undefined || !explainable.has(type)) return opaquePlan;
  const tokens = tokensOf(text, start, end);
  let at = 1;
  if (tokens[at]?.word === '(') at = behindParenthesis(tokens, at);
  else while (tokens[at]?.word === 'analyze' || tokens[at]?.word === 'analyse' || tokens[at]?.word === 'verbose') at++;
  const first = tokens[at];
  if (tokens[0]?.word !== 'explain' || first === undefined) return opaquePlan;
  return { kind: 'plan', constants: constantsIn(body['query']), start: first.start, end, instead: undefined };
}

function copied(body: Node, text: Buffer, start: number, end: number): Planned {
  if (body['is_from'] === true) return opaquePlan;
  const relation = nodeAt(body, 'relation');
  if (relation !== undefined) {
    const names = [textAt(relation, 'schemaname'), textAt(relation, 'relname')].filter((name) => name !== '');
    const instead = `TABLE ONLY ${names.map((name) => `"${name.replaceAll('"', '""')}"`).join('.')}`;
    return { kind: 'plan', constants: 'none', start: -1, end: -1, instead };
  }
  const tokens = tokensOf(text, start, end);
  if (tokens[0]?.word !== 'copy' || tokens[1]?.word !== '(') return opaquePlan;
  const inner = tokens[2];
  const close = tokens[behindParenthesis(tokens, 1) - 1];
  if (inner === undefined || close?.word !== ')') return opaquePlan;
  const place = { start: inner.start, end: close.start };
  return { kind: 'plan', constants: constantsIn(body['query']), ...place, instead: undefined };
}

interface Token {
  readonly word: string;
  readonly start: number;
}

/** Long tokens are no words that are looked for. */
const wordBytesMax = 16;

function tokensOf(text: Buffer, start: number, end: number): readonly Token[] {
  const found = TokenMap.of(text)?.tokens ?? [];
  return found
    .filter((token) => token.start >= start && token.end <= end)
    .map((token) => ({
      word: text.toString('latin1', token.start, Math.min(token.end, token.start + wordBytesMax)).toLowerCase(),
      start: token.start,
    }));
}

/** @param at the number of an opening parenthesis. @returns that of the token behind the closing one */
function behindParenthesis(tokens: readonly Token[], at: number): number {
  let depth = 0;
  for (let i = at; i < tokens.length; i++) {
    const word = tokens[i]?.word;
    if (word === '(') depth++;
    else if (word === ')') depth--;
    if (depth === 0) return i + 1;
  }
  return tokens.length;
}

/** @param tree of one statement */
export function constantsIn(tree: unknown): Constants {
  return (['none', 'compared', 'deciding'] as const)[weightOf(tree, false)];
}

/** @param isPlain the value stands where it decides little @returns 0 without constants, 1 where all are plain, else 2 */
function weightOf(value: unknown, isPlain: boolean): 0 | 1 | 2 {
  if (Array.isArray(value)) return heaviest(value, isPlain);
  if (!isNode(value)) return 0;
  let most: 0 | 1 | 2 = 0;
  for (const key in value) {
    const weight = weightAt(key, value[key], isPlain);
    if (weight === 2) return 2;
    if (weight > most) most = weight;
  }
  return most;
}

function heaviest(values: readonly unknown[], isPlain: boolean): 0 | 1 | 2 {
  let most: 0 | 1 | 2 = 0;
  for (const value of values) {
    const weight = weightOf(value, isPlain);
    if (weight === 2) return 2;
    if (weight > most) most = weight;
  }
  return most;
}

function weightAt(key: string, value: unknown, isPlain: boolean): 0 | 1 | 2 {
  if (!isNode(value)) return weightOf(value, false);
  switch (key) {
    case 'A_Const':
      // NULL, TRUE and FALSE are part of a shape.
      return value['isnull'] === true || 'boolval' in value ? 0 : isPlain ? 1 : 2;
    case 'ParamRef':
      return isPlain ? 1 : 2;
    case 'TypeName':
    case 'typeName':
      return 0;
    case 'TypeCast':
      return weightOf(value['arg'], isPlain);
    case 'A_Expr': {
      const isEquation = value['kind'] === 'AEXPR_OP' && nameParts(value['name']).at(-1) === '=';
      return heaviest([value['lexpr'], value['rexpr']], isEquation);
    }
    case 'ResTarget':
      return Math.max(weightOf(value['val'], true), weightOf(value['indirection'], false)) as 0 | 1 | 2;
    case 'List':
      return weightOf(value['items'], isPlain);
    case 'InsertStmt': {
      const { selectStmt, ...rest } = value;
      const { valuesLists, ...query } = (isNode(selectStmt) ? nodeAt(selectStmt, 'SelectStmt') : undefined) ?? {};
      return Math.max(weightOf(rest, false), weightOf(query, false), weightOf(valuesLists, true)) as 0 | 1 | 2;
    }
    default:
      return weightOf(value, false);
  }
}
