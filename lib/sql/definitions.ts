// What data definition makes, as far as names and columns go: relations, their columns and types, functions, operators.

import { constantOf, isNode, listAt, type Node, nameParts, nodeAt, textAt } from './tree.js';

export interface QualifiedName {
  readonly schema: string | null;
  readonly name: string;
}

export interface DefinedColumn {
  readonly name: string;
  /** As CAST takes it: `character varying(20)`. */
  readonly type: string;
}

export type Definition =
  | {
      readonly kind: 'relation';
      readonly name: QualifiedName;
      readonly isView: boolean;
      readonly isForeign: boolean;
      /** In their order, with the relations whose columns are copied; undefined where a query makes them. */
      readonly columns: readonly (DefinedColumn | QualifiedName)[] | undefined;
      /** What it inherits from, or is a partition of. */
      readonly parents: readonly QualifiedName[];
    }
  /** One more for a relation that is there. */
  | { readonly kind: 'column'; readonly relation: QualifiedName; readonly column: DefinedColumn }
  | { readonly kind: 'parent'; readonly relation: QualifiedName; readonly parent: QualifiedName }
  | { readonly kind: 'function'; readonly name: QualifiedName }
  | { readonly kind: 'operator'; readonly name: QualifiedName };

/** @param tree of a whole text */
export function extractDefinitions(tree: unknown): Definition[] {
  return listAt(isNode(tree) ? tree : {}, 'stmts').flatMap((raw) => {
    const statement = isNode(raw) ? nodeAt(raw, 'stmt') : undefined;
    const [type] = Object.keys(statement ?? {});
    const body = type === undefined ? undefined : nodeAt(statement ?? {}, type);
    return type === undefined || body === undefined ? [] : definitionsOf(type, body);
  });
}

function definitionsOf(type: string, body: Node): Definition[] {
  switch (type) {
    case 'CreateStmt':
      return [tableOf(body, false)];
    case 'CreateForeignTableStmt':
      return [tableOf(nodeAt(body, 'base') ?? nodeAt(body, 'base_stmt') ?? body, true)];
    case 'ViewStmt':
      return queried(nodeAt(body, 'view'), true);
    case 'CreateTableAsStmt':
      return queried(nodeAt(nodeAt(body, 'into') ?? {}, 'rel'), body['objtype'] === 'OBJECT_MATVIEW');
    case 'CreateSeqStmt':
      return queried(nodeAt(body, 'sequence'), false);
    case 'CreateFunctionStmt':
      return named('function', nameParts(body['funcname']));
    case 'DefineStmt':
      if (body['kind'] === 'OBJECT_OPERATOR') return named('operator', nameParts(body['defnames']));
      return body['kind'] === 'OBJECT_AGGREGATE' ? named('function', nameParts(body['defnames'])) : [];
    case 'AlterTableStmt':
      return alterations(body);
    default:
      return [];
  }
}

function tableOf(body: Node, isForeign: boolean): Definition {
  const columns = listAt(body, 'tableElts').flatMap((element): (DefinedColumn | QualifiedName)[] => {
    if (!isNode(element)) return [];
    const column = nodeAt(element, 'ColumnDef');
    if (column !== undefined) return [columnOf(column)];
    const like = nodeAt(nodeAt(element, 'TableLikeClause') ?? {}, 'relation');
    return like === undefined ? [] : [nameOf(like)];
  });
  const parents = listAt(body, 'inhRelations').flatMap((parent) => {
    const relation = isNode(parent) ? nodeAt(parent, 'RangeVar') : undefined;
    return relation === undefined ? [] : [nameOf(relation)];
  });
  return { kind: 'relation', name: nameOf(nodeAt(body, 'relation') ?? {}), isView: false, isForeign, columns, parents };
}

/** A relation whose columns the text does not list. */
function queried(relation: Node | undefined, isView: boolean): Definition[] {
  if (relation === undefined) return [];
  return [{ kind: 'relation', name: nameOf(relation), isView, isForeign: false, columns: undefined, parents: [] }];
}

function named(kind: 'function' | 'operator', parts: readonly string[]): Definition[] {
  const name = parts.at(-1);
  return name === undefined ? [] : [{ kind, name: { schema: parts.at(-2) ?? null, name } }];
}

function alterations(body: Node): Definition[] {
  const relation = nameOf(nodeAt(body, 'relation') ?? {});
  return listAt(body, 'cmds').flatMap((item): Definition[] => {
    const command = (isNode(item) ? nodeAt(item, 'AlterTableCmd') : undefined) ?? {};
    const subject = nodeAt(command, 'def') ?? {};
    switch (command['subtype']) {
      case 'AT_AddColumn':
        return [{ kind: 'column', relation, column: columnOf(nodeAt(subject, 'ColumnDef') ?? {}) }];
      case 'AT_AttachPartition': {
        const part = nodeAt(nodeAt(subject, 'PartitionCmd') ?? {}, 'name') ?? {};
        return [{ kind: 'parent', relation: nameOf(part), parent: relation }];
      }
      case 'AT_AddInherit':
        return [{ kind: 'parent', relation, parent: nameOf(nodeAt(subject, 'RangeVar') ?? {}) }];
      default:
        return [];
    }
  });
}

function nameOf(relation: Node): QualifiedName {
  const schema = relation['schemaname'];
  return { schema: typeof schema === 'string' ? schema : null, name: textAt(relation, 'relname') };
}

function columnOf(column: Node): DefinedColumn {
  return { name: textAt(column, 'colname'), type: typeText(nodeAt(column, 'typeName') ?? {}) };
}

/** PostgreSQL's words for the types its grammar knows by others. */
const typeWords: Readonly<Record<string, string>> = {
  bool: 'boolean',
  int2: 'smallint',
  int4: 'integer',
  int8: 'bigint',
  serial: 'integer',
  serial4: 'integer',
  bigserial: 'bigint',
  serial8: 'bigint',
  smallserial: 'smallint',
  serial2: 'smallint',
  float4: 'real',
  float8: 'double precision',
  varchar: 'character varying',
  bpchar: 'character',
  varbit: 'bit varying',
  time: 'time without time zone',
  timetz: 'time with time zone',
  timestamp: 'timestamp without time zone',
  timestamptz: 'timestamp with time zone',
};

function typeText(type: Node): string {
  const parts = nameParts(type['names']);
  const last = parts.at(-1) ?? 'text';
  const isOther = parts.length > 1 && parts[0] !== 'pg_catalog';
  const word = isOther ? parts.map(quoted).join('.') : (typeWords[last] ?? quoted(last));
  const modifiers = listAt(type, 'typmods').map((one) => (isNode(one) ? constantOf(one) : undefined) ?? '');
  // The fields of an interval are a number that only the server's grammar knows how to write.
  const isShown = modifiers.length > 0 && !(last === 'interval' && !isOther);
  const inside = isShown ? `(${modifiers.join(',')})` : '';
  const [first, ...rest] = word.split(' ');
  const isTime = first === 'time' || first === 'timestamp';
  const whole = isTime ? [first + inside, ...rest].join(' ') : word + inside;
  return whole + '[]'.repeat(listAt(type, 'arrayBounds').length);
}

function quoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && name !== 'char' ? name : `"${name.replaceAll('"', '""')}"`;
}
