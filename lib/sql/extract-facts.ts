// Walks a parse tree once and gathers the facts: kinds, names, hazards.

import { extractDeeds } from './extract-deeds.js';
import type { NameChange, NamedQuery, ParsedFacts, TableName } from './facts.js';
import { functionEffect, isLaneFunction, sessionViews } from './function-effects.js';
import { type Argument, type DatabaseUse, effectOf, type Hazard, type SessionEffects } from './hazards.js';
import { hazardsMax, nameChangesMax, namesMax } from './limits.js';
import { isOwnOperator, isOwnType } from './own-code.js';
import { prepareBodyStart } from './prepare-body.js';
import { cursorHold, discardTarget, nameOrNull, sessionHazard } from './session-hazards.js';
import { settingHazard } from './setting-hazards.js';
import { type StatementKind, statementClass } from './statement-kinds.js';
import { argumentOf, isNode, listAt, type Node, nameParts, nodeAt, stringOf, textAt } from './tree.js';

export interface ExtractOptions {
  /** Functions the operator vouches for, folded, with or without schema: `uuid_generate_v4`, `app.tally`. */
  readonly trustedFunctions: ReadonlySet<string>;
  /** Whether deeds are wanted. */
  readonly deeds: boolean;
}

/** @param text what was parsed to `tree`, UTF-8 */
export function extractFacts(tree: unknown, text: Uint8Array, options: ExtractOptions): ParsedFacts {
  const walk = new Walk(text, options);
  const statements = isNode(tree) ? listAt(tree, 'stmts') : [];
  for (const statement of statements) walk.topLevel(statement);
  return { ...walk.facts(), deeds: options.deeds ? extractDeeds(tree, text) : undefined };
}

/** The names a query's WITH clauses hide tables behind, inner ones first. */
interface Scope {
  readonly names: ReadonlySet<string>;
  readonly outer: Scope | undefined;
}

class Walk {
  readonly #text: Uint8Array;
  readonly #options: ExtractOptions;
  readonly #kinds: StatementKind[] = [];
  readonly #tables = new Map<string, TableName>();
  readonly #columns = new Set<string>();
  readonly #functions = new Set<string>();
  readonly #hazards: Hazard[] = [];
  readonly #names: NameChange[] = [];
  readonly #fetches = new Set<string>();
  /** Calls that happen exactly once if their statement succeeds. */
  readonly #certainCalls = new Set<Node>();
  #readOnly = true;
  /** Nothing was called or read whose answer belongs to one server connection. */
  #isLaneSafe = true;
  #literalDependent = false;
  #unknownEffects = false;
  #ownCode = false;
  #parameterCount = 0;
  /** Where the statement at hand begins and ends in the text. */
  #location = 0;
  #end = 0;
  #truncated = false;

  constructor(text: Uint8Array, options: ExtractOptions) {
    this.#text = text;
    this.#options = options;
  }

  topLevel(raw: unknown): void {
    const statement = isNode(raw) ? nodeAt(raw, 'stmt') : undefined;
    if (statement === undefined || !isNode(raw)) return;
    this.#location = typeof raw['stmt_location'] === 'number' ? raw['stmt_location'] : 0;
    const length = typeof raw['stmt_len'] === 'number' ? raw['stmt_len'] : 0;
    this.#end = length > 0 ? this.#location + length : this.#text.length;
    const node = Object.keys(statement)[0] ?? '';
    const body = nodeAt(statement, node) ?? {};
    this.#kinds.push(statementClass(node)?.kind ?? 'other');
    if (node === 'SelectStmt') this.#noteCertainCalls(body);
    this.#nameChanges(node, body);
    this.#node(node, body, undefined);
  }

  /** Not of what is within another statement: an EXPLAIN makes no cursor. */
  #nameChanges(node: string, body: Node): void {
    switch (node) {
      case 'PrepareStmt':
        this.#named('statement', textAt(body, 'name'), this.#queryOf(body, false));
        return;
      case 'DeallocateStmt':
        this.#named('statement', nameOrNull(body, 'name'), undefined);
        return;
      case 'DeclareCursorStmt': {
        const { options } = body;
        const held = typeof options === 'number' && (options & cursorHold) !== 0;
        this.#named('cursor', textAt(body, 'portalname'), this.#queryOf(body, held));
        return;
      }
      case 'ClosePortalStmt':
        this.#named('cursor', nameOrNull(body, 'portalname'), undefined);
        return;
      case 'FetchStmt':
        this.#addName(this.#fetches, textAt(body, 'portalname'));
        return;
      case 'DiscardStmt':
        if (discardTarget(body) !== 'all') return;
        this.#named('statement', null, undefined);
        this.#named('cursor', null, undefined);
        return;
      default:
        return;
    }
  }

  #named(of: NameChange['of'], name: string | null, query: NamedQuery | undefined): void {
    if (this.#names.length >= nameChangesMax) this.#truncated = true;
    else this.#names.push({ of, name, statement: this.#kinds.length - 1, query });
  }

  #queryOf(body: Node, held: boolean): NamedQuery {
    const query = nodeAt(body, 'query') ?? {};
    const node = Object.keys(query)[0] ?? '';
    const inner = new Walk(this.#text, this.#options);
    inner.#node(node, nodeAt(query, node) ?? {}, undefined);
    return { kind: statementClass(node)?.kind ?? 'other', tables: [...inner.#tables.values()], held };
  }

  facts(): Omit<ParsedFacts, 'deeds'> {
    const sessionEffects = this.#sessionEffects();
    const readOnly = this.#readOnly;
    return {
      kinds: this.#kinds,
      readOnly,
      sessionEffects,
      literalDependent: this.#literalDependent,
      laneCandidate:
        readOnly &&
        sessionEffects === 'none' &&
        this.#isLaneSafe &&
        !this.#truncated &&
        this.#kinds.length === 1 &&
        this.#hazards.length === 0 &&
        this.#kinds[0] === 'select',
      tables: [...this.#tables.values()],
      columns: [...this.#columns],
      functions: [...this.#functions],
      ownCode: this.#ownCode,
      parameterCount: this.#parameterCount,
      hazards: this.#hazards,
      names: this.#names,
      fetches: [...this.#fetches],
      truncated: this.#truncated,
    };
  }

  #sessionEffects(): SessionEffects {
    if (this.#unknownEffects) return 'unknown';
    let worst: SessionEffects = 'none';
    for (const hazard of this.#hazards) {
      const effect = effectOf(hazard);
      if (effect === 'unknown') return 'unknown';
      if (effect === 'tracked') worst = 'tracked';
    }
    return worst;
  }

  #any(value: unknown, scope: Scope | undefined): void {
    if (Array.isArray(value)) {
      for (const item of value) this.#any(item, scope);
    } else if (isNode(value)) {
      this.#fields(value, scope);
    }
  }

  /** Fields beginning with a capital name the type of the node they hold. */
  #fields(node: Node, scope: Scope | undefined): void {
    if (typeof node['relname'] === 'string') {
      this.#table(node, 'read', scope);
      return;
    }
    for (const key in node) {
      const value = node[key];
      if (typeof value !== 'object' || value === null) continue;
      const first = key.charCodeAt(0);
      if (first >= 65 && first <= 90 && isNode(value)) this.#node(key, value, scope);
      else if ((key === 'larg' || key === 'rarg') && isNode(value) && 'limitOption' in value)
        this.#select(value, scope);
      else this.#any(value, scope);
    }
  }

  #node(type: string, body: Node, scope: Scope | undefined): void {
    switch (type) {
      case 'A_Const':
      case 'TypeName':
        return;
      case 'ParamRef':
        if (typeof body['number'] === 'number') this.#parameterCount = Math.max(this.#parameterCount, body['number']);
        return;
      case 'A_Expr':
        this.#ownCode ||= isOwnOperator(body['name']);
        this.#fields(body, scope);
        return;
      case 'SubLink':
        this.#ownCode ||= isOwnOperator(body['operName']);
        this.#fields(body, scope);
        return;
      case 'SortBy':
        this.#ownCode ||= isOwnOperator(body['useOp']);
        this.#fields(body, scope);
        return;
      case 'TypeCast': {
        const { typeName, ...rest } = body;
        this.#ownCode ||= isNode(typeName) && isOwnType(typeName);
        this.#fields(rest, scope);
        return;
      }
      case 'ColumnRef':
        this.#column(body);
        return;
      case 'FuncCall':
        this.#call(body, scope);
        return;
      case 'SelectStmt':
        this.#select(body, scope);
        return;
      case 'InsertStmt':
      case 'UpdateStmt':
      case 'DeleteStmt':
      case 'MergeStmt':
        this.#write(body, scope);
        return;
      default:
        if (statementClass(type) === undefined) this.#fields(body, scope);
        else this.#statement(type, body, scope);
    }
  }

  #select(body: Node, scope: Scope | undefined): void {
    const into = nodeAt(body, 'intoClause');
    if (into !== undefined) this.#createInto(into);
    if (listAt(body, 'lockingClause').length > 0) this.#readOnly = false;
    const { intoClause: _into, lockingClause: _locking, withClause, ...rest } = body;
    this.#fields(rest, this.#with(withClause, scope));
  }

  #write(body: Node, scope: Scope | undefined): void {
    this.#readOnly = false;
    const { relation, withClause, ...rest } = body;
    if (isNode(relation)) {
      this.#table(relation, 'write', undefined);
      // A rule of this view turns UPDATE into set_config.
      if (relation['relname'] === 'pg_settings') {
        const expression: Argument = { kind: 'expression' };
        this.#hazard({ kind: 'set_config', name: expression, value: expression, local: expression, certain: false });
      }
    }
    for (const target of [...listAt(body, 'cols'), ...listAt(body, 'targetList')]) {
      const result = isNode(target) ? nodeAt(target, 'ResTarget') : undefined;
      if (result !== undefined && typeof result['name'] === 'string') this.#addName(this.#columns, result['name']);
    }
    this.#fields(rest, this.#with(withClause, scope));
  }

  /** Each WITH query sees those before it, all of them when RECURSIVE; the statement sees all. */
  #with(clause: unknown, outer: Scope | undefined): Scope | undefined {
    if (!isNode(clause)) return outer;
    const names = new Set<string>();
    const scope: Scope = { names, outer };
    const queries = listAt(clause, 'ctes').map(
      (cte) => (isNode(cte) ? nodeAt(cte, 'CommonTableExpr') : undefined) ?? {},
    );
    const isRecursive = clause['recursive'] === true;
    if (isRecursive) for (const query of queries) names.add(textAt(query, 'ctename'));
    for (const query of queries) {
      this.#fields(query, isRecursive ? scope : { names: new Set(names), outer });
      names.add(textAt(query, 'ctename'));
    }
    return scope;
  }

  #statement(type: string, body: Node, scope: Scope | undefined): void {
    const standing = statementClass(type)!.standing;
    switch (standing) {
      case 'reads':
        this.#fields(body, scope);
        return;
      case 'writes':
        this.#readOnly = false;
        if (type === 'LockStmt' || type === 'TruncateStmt') this.#writeRelations(body);
        else this.#fields(body, scope);
        return;
      case 'ddl':
        this.#readOnly = false;
        this.#ddl(type, body, scope);
        return;
      case 'special':
        this.#special(type, body, scope);
        return;
      case 'unknown':
        this.#readOnly = false;
        this.#hazard({ kind: 'unknown_statement', node: type });
        this.#fields(body, scope);
        return;
      default:
        standing satisfies never;
    }
  }

  #writeRelations(body: Node): void {
    for (const relation of listAt(body, 'relations')) {
      const range = isNode(relation) ? nodeAt(relation, 'RangeVar') : undefined;
      if (range !== undefined) this.#table(range, 'write', undefined);
    }
  }

  #special(type: string, body: Node, scope: Scope | undefined): void {
    this.#readOnly =
      this.#readOnly && (type === 'TransactionStmt' || type === 'DeclareCursorStmt' || type === 'FetchStmt');
    if (type === 'VariableSetStmt') {
      const setting = settingHazard(body);
      if (setting === undefined) return;
      // The parser does not tell a quoted value from a bare word.
      if (body['kind'] === 'VAR_SET_VALUE') this.#literalDependent = true;
      this.#hazard(setting);
      return;
    }
    const found = sessionHazard(type, body);
    if (found !== undefined) {
      if (found.literalDependent) this.#literalDependent = true;
      this.#hazard(
        found.hazard.kind === 'prepare'
          ? { ...found.hazard, bodyStart: prepareBodyStart(this.#text, this.#location), bodyEnd: this.#end }
          : found.hazard,
      );
    }
    // What PREPARE holds runs at EXECUTE and is looked up as a text of its own.
    if (type === 'PrepareStmt') return;
    if (type === 'CopyStmt') {
      this.#copy(body, scope);
      return;
    }
    const call = nodeAt(body, 'funccall');
    this.#fields(call === undefined ? body : { args: call['args'] }, scope);
  }

  #copy(body: Node, scope: Scope | undefined): void {
    const { relation, ...rest } = body;
    if (isNode(relation)) this.#table(relation, body['is_from'] === true ? 'write' : 'read', undefined);
    this.#fields(rest, scope);
  }

  #ddl(type: string, body: Node, scope: Scope | undefined): void {
    this.#hazard({ kind: 'ddl', node: type });
    const databases = vacantDatabases(type, body);
    if (databases.length > 0) this.#hazard({ kind: 'vacant', databases });
    // What is the name of a template may stand in quotes of either kind.
    if (type === 'CreatedbStmt') this.#literalDependent = true;
    if (type === 'DropStmt') {
      const names = listAt(body, 'objects').map((object) => nameParts(object).join('.'));
      this.#hazard({
        kind: 'drop',
        object: textAt(body, 'removeType')
          .replace(/^OBJECT_/, '')
          .toLowerCase(),
        names,
      });
      return;
    }
    if (type === 'CreateFunctionStmt') {
      this.#createFunction(body);
      return;
    }
    const created = nodeAt(body, 'relation') ?? nodeAt(body, 'view') ?? nodeAt(body, 'sequence');
    const into = nodeAt(body, 'into');
    if (into !== undefined) this.#createInto(into);
    else if (created !== undefined && isTemporary(created)) {
      this.#temporary(textAt(created, 'relname'), body['oncommit'] === 'ONCOMMIT_DROP');
    } else if (namesTemporarySchema(body)) this.#temporary('', false);
    const { into: _into, relation, view, sequence, ...rest } = body;
    for (const target of [relation, view, sequence]) if (isNode(target)) this.#table(target, 'write', undefined);
    this.#fields(rest, scope);
  }

  /** A body in quotes stays opaque; only C functions do something now: their library is loaded. */
  #createFunction(body: Node): void {
    if (nameParts(body['funcname'])[0]?.startsWith('pg_temp') === true) this.#temporary('', false);
    for (const option of listAt(body, 'options')) {
      const element = isNode(option) ? nodeAt(option, 'DefElem') : undefined;
      if (element?.['defname'] !== 'language') continue;
      const language = nameParts(element['arg'])[0];
      if (language === 'sql' || language === 'plpgsql') return;
      this.#literalDependent = true;
      if (language === 'c') this.#hazard({ kind: 'load' });
      return;
    }
  }

  #createInto(into: Node): void {
    this.#readOnly = false;
    const rel = nodeAt(into, 'rel');
    if (rel === undefined) return;
    this.#table(rel, 'write', undefined);
    if (isTemporary(rel)) this.#temporary(textAt(rel, 'relname'), into['onCommit'] === 'ONCOMMIT_DROP');
  }

  #temporary(name: string, onCommitDrop: boolean): void {
    this.#hazard({ kind: 'temp_object', name, onCommitDrop });
  }

  #call(body: Node, scope: Scope | undefined): void {
    const parts = nameParts(body['funcname']);
    const name = parts.at(-1) ?? '';
    const written = parts.join('.');
    this.#addName(this.#functions, written);
    const isCatalog = parts.length === 1 || (parts.length === 2 && parts[0] === 'pg_catalog');
    const isTrusted = this.#options.trustedFunctions.has(written);
    if (!isTrusted) this.#functionHazard(name, written, isCatalog, body);
    if (!isCatalog || !isLaneFunction(name)) this.#isLaneSafe = false;
    const { funcname: _name, ...rest } = body;
    this.#fields(rest, scope);
  }

  #functionHazard(name: string, written: string, isCatalog: boolean, body: Node): void {
    const effect = isCatalog ? functionEffect(name) : name.startsWith('dblink') ? 'dblink' : 'unknown';
    const certain = this.#certainCalls.has(body);
    // A policy asks which one is shown.
    if (name === 'current_setting') this.#literalDependent = true;
    switch (effect) {
      case 'harmless':
        return;
      case 'set_config': {
        const given = listAt(body, 'args').map(argumentOf);
        const expression: Argument = { kind: 'expression' };
        const [setting = expression, value = expression, local = expression] = given.length === 3 ? given : [];
        this.#literalDependent = true;
        this.#hazard({ kind: 'set_config', name: setting, value, local, certain });
        return;
      }
      case 'advisory_lock':
      case 'advisory_unlock': {
        const given = listAt(body, 'args').map(argumentOf);
        if (given.some((argument) => argument.kind === 'literal')) this.#literalDependent = true;
        this.#hazard({ kind: effect, function: name, arguments: given, certain });
        return;
      }
      case 'nextval':
        this.#hazard({ kind: 'nextval', function: name === 'setval' ? 'setval' : 'nextval' });
        return;
      case 'currval':
      case 'lastval':
      case 'setseed':
        this.#hazard({ kind: effect });
        return;
      case 'dblink':
        this.#hazard({ kind: 'dblink', function: written });
        return;
      case 'session':
        this.#hazard({ kind: 'session_function', function: written });
        return;
      case 'unknown':
        this.#hazard({ kind: 'unknown_function', function: written });
        return;
      default:
        effect satisfies never;
    }
  }

  #noteCertainCalls(select: Node): void {
    const isBare = Object.keys(select).every((key) => key === 'targetList' || key === 'limitOption' || key === 'op');
    if (!isBare || select['op'] !== 'SETOP_NONE') return;
    for (const target of listAt(select, 'targetList')) {
      const result = isNode(target) ? nodeAt(target, 'ResTarget') : undefined;
      const call = result === undefined ? undefined : nodeAt(nodeAt(result, 'val') ?? {}, 'FuncCall');
      if (call !== undefined) this.#certainCalls.add(call);
    }
  }

  #table(range: Node, access: 'read' | 'write', scope: Scope | undefined): void {
    const schema = typeof range['schemaname'] === 'string' ? range['schemaname'] : null;
    const name = textAt(range, 'relname');
    if (schema === null && access === 'read') {
      for (let at = scope; at !== undefined; at = at.outer) if (at.names.has(name)) return;
    }
    if (sessionViews.has(name)) this.#isLaneSafe = false;
    const key = JSON.stringify([schema, name, access]);
    if (this.#tables.has(key)) return;
    if (this.#tables.size >= namesMax) this.#truncated = true;
    else this.#tables.set(key, { schema, name, access });
  }

  #column(reference: Node): void {
    const parts = listAt(reference, 'fields').map((field) =>
      isNode(field) && 'A_Star' in field ? '*' : nameParts([field]).join(''),
    );
    this.#addName(this.#columns, parts.join('.'));
  }

  #addName(names: Set<string>, name: string): void {
    if (names.size < namesMax || names.has(name)) names.add(name);
    else this.#truncated = true;
  }

  #hazard(hazard: Hazard): void {
    if (this.#hazards.length < hazardsMax) {
      this.#hazards.push(hazard);
      return;
    }
    this.#truncated = true;
    this.#unknownEffects = true;
  }
}

const temporarySchema = /^pg_temp(_\d+)?$/;

function isTemporary(range: Node): boolean {
  return range['relpersistence'] === 't' || temporarySchema.test(textAt(range, 'schemaname'));
}

/** Types, operators and the like may be created in, or moved to, the session's own schema. */
function namesTemporarySchema(value: unknown): boolean {
  if (typeof value === 'string') return temporarySchema.test(value);
  if (Array.isArray(value)) return value.some(namesTemporarySchema);
  return isNode(value) && Object.values(value).some(namesTemporarySchema);
}

/** The databases in which no other session may be: DROP, RENAME, SET TABLESPACE, and the template of CREATE; and the names that are given. */
function vacantDatabases(type: string, body: Node): DatabaseUse[] {
  const option = (name: string): Node | undefined =>
    listAt(body, 'options')
      .map((each) => (isNode(each) ? nodeAt(each, 'DefElem') : undefined))
      .find((each) => each !== undefined && textAt(each, 'defname') === name);
  const given = (key: string, use: DatabaseUse['use']): DatabaseUse => ({ name: textAt(body, key), use });
  switch (type) {
    case 'DropdbStmt':
      return [given('dbname', option('force') === undefined ? 'alone' : 'forced')];
    case 'CreatedbStmt': {
      const template = stringOf(option('template')?.['arg']) ?? 'template1';
      return [{ name: template, use: 'alone' }, given('dbname', 'name')];
    }
    case 'AlterDatabaseStmt':
      return option('tablespace')?.['arg'] === undefined ? [] : [given('dbname', 'alone')];
    case 'RenameStmt':
      return body['renameType'] === 'OBJECT_DATABASE' ? [given('subname', 'alone'), given('newname', 'name')] : [];
    default:
      return [];
  }
}
