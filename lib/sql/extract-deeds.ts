// Walks a parse tree once and tells what each statement does to what: deeds, in the terms of a policy.

import { actsOf, anySetting, anyShown, select, selectForUpdate, setAct } from './deed-kinds.js';
import type { Act, ColumnDeed, Deeds, FunctionDeed, RelationDeed, StatementDeeds } from './deeds.js';
import { deedsMax, textDeedsMax } from './limits.js';
import { opaquePlan, type Planned, plannedOf } from './planned.js';
import { argumentOf, isNode, listAt, type Node, nameParts, nodeAt, textAt } from './tree.js';

/** @param tree of a whole text @param text what was parsed to it, UTF-8 */
export function extractDeeds(tree: unknown, text: Uint8Array): Deeds {
  const statements: StatementDeeds[] = [];
  let unknown = false;
  let begun: boolean | undefined;
  const all = isNode(tree) ? listAt(tree, 'stmts') : [];
  let room = textDeedsMax;
  for (const raw of all) {
    const statement = isNode(raw) ? nodeAt(raw, 'stmt') : undefined;
    if (!isNode(raw) || statement === undefined) continue;
    if (room <= 0) return { statements, unknown: true };
    const walk: StatementWalk = new StatementWalk(begun, Math.min(room, deedsMax));
    walk.node(statement);
    statements.push(walk.deeds(walk.unknown ? opaquePlan : planOf(raw, statement, text, all.length === 1)));
    unknown ||= walk.unknown;
    begun = walk.begun;
    room -= walk.count + statementDeeds;
  }
  return { statements, unknown };
}

/** @param raw the statement with its place in the text */
function planOf(raw: Node, statement: Node, text: Uint8Array, isOnly: boolean): Planned {
  const [type] = Object.keys(statement);
  const body = type === undefined ? undefined : nodeAt(statement, type);
  if (type === undefined || body === undefined) return opaquePlan;
  const [start, length] = [numberAt(raw, 'stmt_location'), numberAt(raw, 'stmt_len')];
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.length);
  return plannedOf(type, body, bytes, start, length === 0 ? text.length : start + length, isOnly);
}

function numberAt(node: Node, key: string): number {
  const value = node[key];
  return typeof value === 'number' ? value : 0;
}

/** A statement takes as much memory as so many relations or columns. */
const statementDeeds = 4;

/** The names a query's WITH clauses hide relations behind, inner ones first. */
interface Scope {
  /** With their numbers. */
  readonly names: ReadonlyMap<string, number>;
  /** Only those before this one are seen. */
  readonly end: number;
  readonly outer: Scope | undefined;
}

/** What a relation that is found has done to it. */
interface Place {
  readonly acts: readonly Act[];
  readonly replaceable: boolean;
}

const isRead: Place = { acts: [select], replaceable: true };
/** What is read when the definition is used, and not now. */
const isReadLater: Place = { acts: [select], replaceable: false };

/** Statements whose queries are kept, to run later and as somebody else. */
const definitions: ReadonlySet<string> = new Set(['create_view', 'create_rule', 'create_function', 'create_policy']);

/** What DDL calls by lists of words. */
const relationTypes = /^OBJECT_(TABLE|VIEW|MATVIEW|FOREIGN_TABLE|SEQUENCE|INDEX)$/;
/** Their names begin with that of their relation. */
const partTypes = /^OBJECT_(TRIGGER|RULE|POLICY|COLUMN|TABCONSTRAINT)$/;

const unwritten = {
  alias: null,
  renamesColumns: false,
  temporary: false,
  location: -1,
  replaceable: false,
  allColumns: true,
  readsTarget: true,
};

class StatementWalk {
  unknown = false;
  /** Behind the statement. */
  begun: boolean | undefined;
  readonly #begun: boolean | undefined;
  readonly #acts = new Map<string, Act>();
  readonly #kinds = new Set<string>();
  readonly #relations: RelationDeed[] = [];
  readonly #functions = new Map<string, FunctionDeed>();
  readonly #operators = new Map<string, FunctionDeed>();
  readonly #columns: ColumnDeed[] = [];
  readonly #columnNames = new Set<string>();
  readonly #attributes = new Set<string>();
  readonly #executes: string[] = [];
  readonly #shows = new Set<string>();
  #anyColumn = false;
  #hasWhere = true;
  #hasLimit = false;
  #scope: Scope | undefined;
  #place = isRead;
  /** Deeper than the statement itself. */
  #within = false;
  /** Relations, functions, operators, columns and the like that it names, each time it does. */
  count = 0;
  readonly #countMax: number;

  constructor(begun: boolean | undefined, countMax: number) {
    this.begun = begun;
    this.#begun = begun;
    this.#countMax = countMax;
  }

  deeds(planned: Planned): StatementDeeds {
    for (const { act } of this.#relations) this.#acts.delete(act.join());
    return {
      acts: [...this.#acts.values()],
      kinds: this.#kinds,
      relations: this.#relations,
      functions: [...this.#functions.values()],
      operators: [...this.#operators.values()],
      columns: this.#columns,
      columnNames: this.#columnNames,
      attributes: this.#attributes,
      anyColumn: this.#anyColumn,
      executes: this.#executes,
      shows: this.#shows,
      hasWhere: this.#hasWhere,
      hasLimit: this.#hasLimit,
      begun: this.#begun,
      planned,
    };
  }

  /** A node with its type: `{ SelectStmt: {...} }`. */
  node(typed: Node): void {
    for (const type in typed) {
      const body = typed[type];
      if (isNode(body)) this.#typed(type, body);
    }
  }

  #any(value: unknown): void {
    if (Array.isArray(value)) for (const item of value) this.#any(item);
    else if (isNode(value)) this.#fields(value);
  }

  /** Fields beginning with a capital name the type of the node they hold. */
  #fields(node: Node): void {
    if (typeof node['relname'] === 'string') {
      this.#relation(node, this.#place);
      return;
    }
    if ('limitOption' in node && 'op' in node) {
      // Either side of a UNION, which stands there without its type.
      this.#select(node);
      return;
    }
    for (const key in node) {
      const value = node[key];
      if (typeof value !== 'object' || value === null) continue;
      const first = key.charCodeAt(0);
      if (first >= 65 && first <= 90 && isNode(value)) this.#typed(key, value);
      else this.#any(value);
    }
  }

  #typed(type: string, body: Node): void {
    switch (type) {
      case 'A_Const':
      case 'TypeName':
      case 'ParamRef':
      case 'RoleSpec':
        return;
      case 'ColumnRef':
        this.#column(body);
        return;
      case 'FuncCall':
        this.#call(body, 'select');
        return;
      case 'A_Expr':
        this.#operator(body['name']);
        this.#fields(body);
        return;
      case 'SubLink':
        this.#operator(body['operName']);
        this.#fields(body);
        return;
      case 'SortBy':
        this.#operator(body['useOp']);
        this.#fields(body);
        return;
      case 'A_Indirection':
        for (const part of listAt(body, 'indirection')) {
          if (isNode(part) && 'A_Star' in part) this.#anyColumn = true;
          for (const name of nameParts([part])) {
            this.#columnName(name);
            this.#attributes.add(name);
          }
        }
        this.#fields(body);
        return;
      case 'RangeTableSample':
        this.#at({ ...this.#place, replaceable: false }, () => this.#fields(body));
        return;
      case 'JoinExpr':
        // Under the alias of a join all columns of both sides go by one name.
        if (body['isNatural'] === true || body['alias'] !== undefined) this.#anyColumn = true;
        for (const name of nameParts(body['usingClause'])) this.#columnName(name);
        this.#fields(body);
        return;
      // Its relations are aliases of those that are read.
      case 'LockingClause':
        return;
      // `RETURNING WITH (OLD AS o)`: the target goes by another name.
      case 'ReturningOption':
        this.#anyColumn = true;
        return;
      case 'IndexElem':
      case 'StatsElem':
        if (typeof body['name'] === 'string') this.#columnName(body['name']);
        this.#fields(body);
        return;
      case 'SelectStmt':
        this.#select(body);
        return;
      default:
        if (type.endsWith('Stmt')) this.#statement(type, body);
        else this.#fields(body);
    }
  }

  #does(act: Act): void {
    this.#acts.set(act.join(), act);
    for (const kind of act) this.#kinds.add(kind);
  }

  /** Reads, now or later. */
  get #reads(): boolean {
    return this.#place.acts[0] === select;
  }

  #at(place: Place, walk: () => void): void {
    const outer = this.#place;
    this.#place = place;
    walk();
    this.#place = outer;
  }

  #statement(type: string, body: Node): void {
    const acts = actsOf(type, body);
    if (acts === undefined) {
      this.unknown = true;
      this.#fields(body);
      return;
    }
    for (const act of acts) this.#does(act);
    const isFirst = !this.#within;
    this.#within = true;
    switch (type) {
      case 'InsertStmt':
      case 'UpdateStmt':
      case 'DeleteStmt':
      case 'MergeStmt':
        this.#write(type, body, acts);
        return;
      case 'CopyStmt':
        this.#copy(body, acts);
        return;
      case 'ExecuteStmt':
        if (this.#hasRoom()) this.#executes.push(textAt(body, 'name'));
        this.#fields(body);
        return;
      case 'VariableShowStmt': {
        const name = textAt(body, 'name').toLowerCase();
        this.#shows.add(name === 'all' ? anyShown : name);
        return;
      }
      case 'CallStmt': {
        const call = nodeAt(body, 'funccall');
        if (call !== undefined) this.#call(call, 'call');
        return;
      }
      case 'TransactionStmt':
        if (isFirst) this.begun = begunBehind(body, this.begun);
        return;
      case 'LockStmt':
      case 'TruncateStmt':
      case 'VacuumStmt':
      case 'ClusterStmt':
      case 'ReindexStmt':
      case 'RefreshMatViewStmt':
        this.#at({ acts, replaceable: false }, () => this.#fields(body));
        return;
      default:
        if (acts.some((act) => act.includes('ddl'))) this.#define(type, body, acts);
        else this.#fields(body);
    }
  }

  #select(body: Node): void {
    const isFirst = !this.#within;
    this.#within = true;
    this.#does(select);
    if (isFirst) this.#hasLimit = isLimit(body['limitCount']);
    // Without what tells it from other nodes, or it would be met again among its own fields.
    const { intoClause, withClause, lockingClause, limitOption: _mark, ...rest } = body;
    if (isNode(intoClause)) {
      const into: Act = ['select_into'];
      this.#does(into);
      this.#at({ acts: [into], replaceable: false }, () => this.#any(intoClause));
    }
    // Within data definition it is read when what is defined is used.
    let place = this.#reads ? this.#place : isReadLater;
    if (Array.isArray(lockingClause)) {
      this.#does(selectForUpdate);
      place = { acts: [select, selectForUpdate], replaceable: place.replaceable };
    }
    this.#at(place, () => this.#with(withClause, () => this.#fields(rest)));
  }

  #write(type: string, body: Node, acts: readonly Act[]): void {
    const { relation, withClause, cols, targetList, ...rest } = body;
    const condition = type === 'MergeStmt' ? body['joinCondition'] : body['whereClause'];
    if (type !== 'InsertStmt' && !looksAtColumn(condition)) this.#hasWhere = false;
    // A rule of this view turns UPDATE into set_config.
    if (isNode(relation) && relation['relname'] === 'pg_settings') this.#does(['set', anySetting]);
    const conflict = nodeAt(body, 'onConflictClause');
    const targets = [...listAt(body, 'cols'), ...listAt(body, 'targetList')];
    this.#targets(targets);
    if (conflict !== undefined) this.#targets(listAt(conflict, 'targetList'));
    const isInsert = type === 'InsertStmt';
    if (isNode(relation)) {
      const place: Place = { acts, replaceable: false };
      const updates = conflict?.['action'] === 'ONCONFLICT_UPDATE';
      const readsTarget = !isInsert || updates || body['returningClause'] !== undefined;
      this.#relation(relation, place, { allColumns: isInsert && targets.length === 0, readsTarget });
    }
    this.#with(withClause, () => {
      this.#any(cols);
      this.#any(targetList);
      for (const clause of listAt(body, 'mergeWhenClauses')) {
        const when = isNode(clause) ? nodeAt(clause, 'MergeWhenClause') : undefined;
        if (when !== undefined) this.#targets(listAt(when, 'targetList'));
      }
      this.#fields(rest);
    });
  }

  #targets(targets: readonly unknown[]): void {
    for (const target of targets) {
      const result = isNode(target) ? nodeAt(target, 'ResTarget') : undefined;
      if (result !== undefined && typeof result['name'] === 'string') this.#columnName(result['name']);
    }
  }

  #copy(body: Node, acts: readonly Act[]): void {
    const { relation, attlist, ...rest } = body;
    for (const name of nameParts(attlist)) this.#columnName(name);
    const options = { allColumns: attlist === undefined, readsTarget: body['is_from'] !== true };
    if (isNode(relation)) this.#relation(relation, { acts, replaceable: false }, options);
    this.#fields(rest);
  }

  /** Data definition: every relation named is defined by it, but for those a query inside of it reads. */
  #define(type: string, body: Node, acts: readonly Act[]): void {
    const own: Place = { acts, replaceable: false };
    const { query, actions, sql_body: code, ...rest } = body;
    const later = acts.some((act) => act.some((kind) => definitions.has(kind))) || !this.#place.replaceable;
    this.#at(later ? isReadLater : isRead, () => {
      this.#any(query);
      this.#any(actions);
      this.#any(code);
    });
    this.#at(own, () => {
      this.#namedObjects(type, body, own);
      this.#fields(rest);
    });
  }

  /** Objects that DDL names by lists of words, and not as relations. */
  #namedObjects(type: string, body: Node, place: Place): void {
    const objectType = textAt(body, type === 'DropStmt' ? 'removeType' : 'objtype') || textAt(body, 'objectType');
    const objects = type === 'DropStmt' ? listAt(body, 'objects') : [body['object']];
    if (relationTypes.test(objectType)) for (const object of objects) this.#named(nameParts(object), place);
    else if (partTypes.test(objectType))
      for (const object of objects) this.#named(nameParts(object).slice(0, -1), place);
    else if (objectType === 'OBJECT_SCHEMA') for (const object of objects) this.#schema(nameParts(object)[0], place);
    if (textAt(body, 'renameType') === 'OBJECT_SCHEMA') this.#schema(textAt(body, 'subname'), place);
    if (body['targtype'] === 'ACL_TARGET_ALL_IN_SCHEMA') {
      for (const object of listAt(body, 'objects')) this.#schema(nameParts(object)[0], place);
    }
    if (body['for_all_tables'] === true || type === 'DropOwnedStmt' || type === 'ReassignOwnedStmt') {
      this.#schema(undefined, place);
    }
    for (const object of listAt(body, 'pubobjects')) {
      const spec = isNode(object) ? nodeAt(object, 'PublicationObjSpec') : undefined;
      if (spec === undefined || nodeAt(spec, 'pubtable') !== undefined) continue;
      this.#schema(typeof spec['name'] === 'string' ? spec['name'] : undefined, place);
    }
  }

  #named(parts: readonly string[], place: Place): void {
    const name = parts.at(-1);
    if (name !== undefined) this.#add({ schema: parts.at(-2) ?? null, name, place });
  }

  /** Every relation of a schema; of the database without one. */
  #schema(name: string | undefined, place: Place): void {
    this.#add({ schema: name ?? null, name: null, place });
  }

  #add({ schema, name, place }: { schema: string | null; name: string | null; place: Place }): void {
    for (const act of place.acts) {
      if (!this.#hasRoom()) return;
      this.#relations.push({ ...unwritten, act, schema, name, temporary: schema === 'pg_temp' });
    }
  }

  #relation(range: Node, place: Place, options = { allColumns: false, readsTarget: true }): void {
    const schema = typeof range['schemaname'] === 'string' ? range['schemaname'] : null;
    const name = textAt(range, 'relname');
    const { acts } = place;
    if (schema === null && acts[0] === select) {
      for (let at = this.#scope; at !== undefined; at = at.outer) if ((at.names.get(name) ?? at.end) < at.end) return;
    }
    const alias = nodeAt(range, 'alias');
    const isOther = typeof range['catalogname'] === 'string';
    for (const act of acts) {
      if (!this.#hasRoom()) return;
      this.#relations.push({
        ...options,
        act,
        schema,
        name,
        alias: alias === undefined ? null : textAt(alias, 'aliasname'),
        renamesColumns: alias !== undefined && listAt(alias, 'colnames').length > 0,
        temporary: schema === 'pg_temp' || range['relpersistence'] === 't',
        location: typeof range['location'] === 'number' ? range['location'] : -1,
        // With the database's name before it, it is the current one's or an error.
        replaceable: place.replaceable && !isOther,
      });
    }
  }

  /** Each WITH query sees those before it, all of them when RECURSIVE; the statement sees all. */
  #with(clause: unknown, walk: () => void): void {
    const outer = this.#scope;
    if (isNode(clause)) {
      const names = new Map<string, number>();
      const queries = listAt(clause, 'ctes').map(
        (cte) => (isNode(cte) ? nodeAt(cte, 'CommonTableExpr') : undefined) ?? {},
      );
      const isRecursive = clause['recursive'] === true;
      const end = queries.length;
      for (const [number, query] of queries.entries()) {
        const name = textAt(query, 'ctename');
        if (!names.has(name)) names.set(name, number);
      }
      for (const [number, query] of queries.entries()) {
        this.#scope = { names, end: isRecursive ? end : number, outer };
        this.#fields(query);
      }
      this.#scope = { names, end, outer };
    }
    walk();
    this.#scope = outer;
  }

  #call(body: Node, kind: FunctionDeed['kind']): void {
    const parts = nameParts(body['funcname']);
    const name = parts.at(-1) ?? '';
    const schema = parts.at(-2) ?? null;
    if (this.#hasRoom()) this.#functions.set(`${kind}.${schema ?? ''}.${name}`, { schema, name, kind });
    if (name === 'set_config') this.#setsByFunction(body);
    if (name === 'current_setting') {
      const setting = argumentOf(listAt(body, 'args')[0]);
      this.#shows.add(setting.kind === 'literal' && setting.value !== null ? setting.value.toLowerCase() : anyShown);
    }
    if (name === 'pg_notify') this.#does(['notify']);
    const { funcname: _name, ...rest } = body;
    this.#fields(rest);
  }

  #setsByFunction(body: Node): void {
    const [setting, value] = listAt(body, 'args').map(argumentOf);
    const isKnown = setting?.kind === 'literal' && setting.value !== null;
    const given = value?.kind === 'literal' ? (value.value ?? undefined) : undefined;
    this.#does(isKnown ? setAct(setting.value.toLowerCase(), given) : ['set', anySetting]);
  }

  #operator(name: unknown): void {
    const parts = nameParts(name);
    const last = parts.at(-1);
    if (last === undefined || !this.#hasRoom()) return;
    const schema = parts.at(-2) ?? null;
    this.#operators.set(`${schema ?? ''}.${last}`, { schema, name: last, kind: 'select' });
  }

  #column(reference: Node): void {
    if (!this.#hasRoom()) return;
    const parts = listAt(reference, 'fields').map((field) =>
      isNode(field) && 'A_Star' in field ? '*' : nameParts([field]).join(''),
    );
    const location = typeof reference['location'] === 'number' ? reference['location'] : -1;
    const last = parts.at(-1);
    if (parts.length > 1 && last !== undefined && last !== '*') this.#attributes.add(last);
    this.#columns.push({ parts, location });
  }

  #columnName(name: string): void {
    if (!this.#columnNames.has(name) && this.#hasRoom()) this.#columnNames.add(name);
  }

  #hasRoom(): boolean {
    if (this.count >= this.#countMax) this.unknown = true;
    return this.count++ < this.#countMax;
  }
}

/** LIMIT ALL and LIMIT NULL are none. */
function isLimit(count: unknown): boolean {
  if (!isNode(count)) return false;
  const cast = nodeAt(count, 'TypeCast');
  if (cast !== undefined) return isLimit(cast['arg']);
  return nodeAt(count, 'A_Const')?.['isnull'] !== true;
}

/** Whether a transaction block is open behind the statement, as the text tells; undefined where it does not. */
function begunBehind(body: Node, before: boolean | undefined): boolean | undefined {
  const kind = textAt(body, 'kind');
  if (/_(BEGIN|START)$/.test(kind)) return true;
  if (/_(COMMIT|ROLLBACK)$/.test(kind)) return body['chain'] === true;
  return kind === 'TRANS_STMT_PREPARE' ? false : before;
}

/** Whether a condition hangs on what is in the row: `WHERE true` and `WHERE 1 = 1` do not. */
function looksAtColumn(condition: unknown): boolean {
  if (Array.isArray(condition)) return condition.some(looksAtColumn);
  if (!isNode(condition)) return false;
  if ('ColumnRef' in condition || 'CurrentOfExpr' in condition) return true;
  return Object.values(condition).some(looksAtColumn);
}
