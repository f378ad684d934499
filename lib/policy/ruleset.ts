// The rules and masks that apply to whoever has certain roles in a certain database, in their order.

import type { MaskDefinition, PolicyDocument, RuleDefinition, Scope } from './document.js';
import { hiddenSettings, type Keeper, keptColumns } from './kept.js';
import type { Pattern } from './pattern.js';
import { isSystemSchema, type Relation, type Schema } from './schema.js';
import { type TimeLimits, timeLimitsOf } from './timeouts.js';

/** By column; `unknown` where the columns are. */
export type Masks = ReadonlyMap<string, MaskDefinition> | 'unknown';

export class Ruleset {
  readonly document: PolicyDocument;
  readonly roles: readonly string[];
  readonly rules: readonly RuleDefinition[];
  readonly masks: readonly MaskDefinition[];
  /**
   * Something must not be seen: then what weir cannot see into is refused. So it is where a mask applies, a rule denies
   * tables or columns, or everything is denied that no rule allows.
   */
  readonly isRestricted: boolean;
  /** Whether what names mean has to be known. */
  readonly needsSchema: boolean;
  /** Of some tables not all columns may be seen. */
  readonly hidesColumns: boolean;
  readonly deniesFunctions: boolean;
  /** A mask is made with a key, which a plan or a dump of it would show. */
  readonly hashes: boolean;
  /** Some rule asks what statements cost. */
  readonly limitsCosts: boolean;
  /** What the roles' sessions begin with, and may not change. */
  readonly timeLimits: TimeLimits;

  constructor(document: PolicyDocument, roles: readonly string[], database: string) {
    const applies = (scope: Scope): boolean =>
      (scope.roles.length === 0 || scope.roles.some((role) => roles.includes(role))) &&
      !scope.except.some((role) => roles.includes(role)) &&
      (scope.databases.length === 0 || scope.databases.some((pattern) => pattern.matches(database)));
    this.document = document;
    this.roles = roles;
    const rules = document.rules.filter(applies);
    const last = rules.findIndex(allowsAll);
    this.rules = last < 0 ? rules : rules.slice(0, last + 1);
    this.masks = document.masks.filter(applies);
    this.isRestricted =
      this.masks.length > 0 ||
      (document.default === 'deny' && last < 0) ||
      this.rules.some((rule) => rule.verdict === 'deny' && namesRelations(rule));
    this.needsSchema =
      this.isRestricted || this.rules.some((rule) => namesRelations(rule) || rule.functions.length > 0);
    this.hidesColumns =
      this.masks.length > 0 ||
      this.rules.some(
        ({ columns, verdict }) => columns.length > 0 && (verdict === 'deny' || document.default === 'deny'),
      );
    this.deniesFunctions = this.rules.some(({ functions, verdict }) => functions.length > 0 && verdict === 'deny');
    this.hashes = this.masks.some(({ method }) => method.kind === 'hash');
    this.limitsCosts = this.rules.some(({ maxCost, maxRows }) => maxCost !== undefined || maxRows !== undefined);
    this.timeLimits = timeLimitsOf(document, roles);
  }

  readonly #keptMasks = new WeakMap<Schema, Map<Relation, Masks | undefined>>();

  /**
   * Masks of a catalog that holds what restricted roles do not see: passwords, and values of tables that are hidden from them.
   * undefined where there are none.
   */
  keptMasks(relation: Relation, schema: Schema): Masks | undefined {
    const columns = keptColumns.get(`${relation.schema}.${relation.name}`);
    if (columns === undefined || !this.isRestricted) return undefined;
    let known = this.#keptMasks.get(schema);
    if (known === undefined) {
      known = new Map();
      this.#keptMasks.set(schema, known);
    }
    let masks = known.get(relation);
    if (masks === undefined) {
      const isHidden = this.#hiddenTest(schema);
      masks = new Map([...columns].map(([column, keeper]) => [column, keptMask(keeper, isHidden)]));
      known.set(relation, masks);
    }
    return masks;
  }

  /** Writes the test whether an SQL expression is the oid of a table that is hidden, or made since the schema was read. */
  #hiddenTest(schema: Schema): (oid: string) => string {
    const tables = schema.relationsIn(null).filter(({ oid }) => oid !== undefined);
    const hidden = tables.filter((table) => this.#isHidden(table, schema)).map(({ oid }) => oid);
    if (hidden.length > hiddenMax || tables.length === 0) return () => 'true';
    const last = Math.max(16_383, ...tables.map(({ oid = 0 }) => oid));
    return (oid) =>
      `${oid} OPERATOR(pg_catalog.=) ANY ('{${hidden.join()}}'::pg_catalog.oid[]) OR ${oid} OPERATOR(pg_catalog.>) ${last}::pg_catalog.oid`;
  }

  /** Something of it is not to be read. */
  #isHidden(relation: Relation, schema: Schema): boolean {
    if (this.guards(relation, schema)) return true;
    if (this.document.default === 'allow') return false;
    const names = [relation.schema, relation.name];
    return !this.rules.some(
      ({ verdict, statements, tables, columns, functions }) =>
        verdict === 'allow' &&
        (statements.size === 0 || statements.has('select')) &&
        (tables.length + columns.length + functions.length === 0 || tables.some((pattern) => pattern.matches(names))),
    );
  }

  /** The mask of each column of the relation that has one, the first of the file; undefined where none has. */
  masksOf(relation: Relation, schema: Schema): Masks | undefined {
    const kept = this.keptMasks(relation, schema);
    if (kept !== undefined) return kept;
    // A partition's columns are those of its table, and read with it.
    const family = relation.isView
      ? [relation]
      : [relation, ...schema.reached(relation, 'read').map((reached) => reached.relation)];
    if (!family.some((member) => this.isMasked(member))) return undefined;
    const columns = relation.columns?.map(({ name }) => name) ?? relation.assumedColumns;
    if (columns === undefined) return 'unknown';
    const found = new Map<string, MaskDefinition>();
    for (const name of columns) {
      const mask = this.masks.find(({ columns }) =>
        family.some((member) => columns.some((pattern) => pattern.matches([member.schema, member.name, name]))),
      );
      if (mask !== undefined) found.set(name, mask);
    }
    return found.size === 0 ? undefined : found;
  }

  /** Whether some of the relation's columns are masked, whatever they are. */
  isMasked(relation: Relation): boolean {
    const { schema, name } = relation;
    // A star is for the schemas people make: PostgreSQL's own have columns called as theirs.
    const isMeant = (pattern: Pattern): boolean => !isSystemSchema(schema) || pattern.exactPart(0) !== undefined;
    return this.masks.some(({ columns }) => columns.some((it) => it.matches([schema, name]) && isMeant(it)));
  }

  /** Whether some rule denies something of what the relation touches, or a mask hides it. */
  guards(relation: Relation, schema: Schema): boolean {
    return [relation, ...schema.reached(relation, 'write').map((reached) => reached.relation)].some((one) =>
      this.#guardsItself(one),
    );
  }

  #guardsItself(relation: Relation): boolean {
    const names = [relation.schema, relation.name];
    return (
      this.isMasked(relation) ||
      this.rules.some(
        (rule) =>
          rule.verdict === 'deny' && [...rule.tables, ...rule.columns].some((pattern) => pattern.matches(names)),
      )
    );
  }
}

/** Hidden tables that a rewritten text names; of more, the values of all are hidden. */
const hiddenMax = 1_000;

function keptMask(keeper: Keeper, isHidden: (oid: string) => string): MaskDefinition {
  const hidden =
    keeper.kind === 'nobody'
      ? 'true'
      : keeper.kind === 'table'
        ? isHidden(keeper.oid)
        : `${keeper.column} OPERATOR(pg_catalog.=) ANY ('{${[...hiddenSettings].join()}}'::pg_catalog.text[])`;
  const expression = `CASE WHEN ${hidden} THEN NULL ELSE {column} END`;
  return { ...everyone, name: undefined, columns: [], method: { kind: 'sql', expression } };
}

const everyone = { roles: [], except: [], databases: [], place: { file: null, line: null } };

/** Behind a rule that allows everything no other is reached. */
function allowsAll(rule: RuleDefinition): boolean {
  return rule.verdict === 'allow' && rule.statements.size === 0 && !namesRelations(rule) && rule.functions.length === 0;
}

function namesRelations(rule: RuleDefinition): boolean {
  return rule.tables.length > 0 || rule.columns.length > 0;
}

/** Tables of which rules and masks name columns, which have to be known; undefined where some are named by patterns: all. */
export function tablesWithColumns(document: PolicyDocument): string[] | undefined {
  const names = new Set<string>();
  for (const pattern of [...document.masks, ...document.rules].flatMap(({ columns }) => columns)) {
    const name = pattern.exactPart(1);
    if (name === undefined) return undefined;
    names.add(name);
  }
  return [...names];
}
