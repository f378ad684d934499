// What a database has, as far as a policy must know it: relations, what reading each of them touches, functions, the search path.

import { keptColumns, opaqueCatalogs } from './kept.js';
import { nameBytesMax } from './pattern.js';
import { unseenFamilies, unseenFunctions } from './unseen.js';

/**
 * A relation that a view reads, or whose rows a partition holds. Which of its columns is not told: pg_depend says nothing of
 * a row that is read as a whole.
 */
export interface BaseUse {
  readonly schema: string;
  readonly name: string;
  /** `write`: by a rule, when the relation is written to. */
  readonly when: 'read' | 'write';
}

export interface Column {
  readonly name: string;
  /** As CAST takes it: `character varying(20)`. */
  readonly type: string;
}

/** A function that a view or a rule calls and that is not PostgreSQL's own, or shows what it is told to: nobody sees into it. */
export interface Call {
  readonly schema: string;
  readonly name: string;
  /** As of a base. */
  readonly when: 'read' | 'write';
}

export interface Relation {
  readonly schema: string;
  readonly name: string;
  readonly isView: boolean;
  /** undefined where no database has told it. */
  readonly oid: number | undefined;
  /** Its rows are elsewhere: in whatever table of whatever server. */
  readonly isForeign: boolean;
  readonly calls: readonly Call[];
  readonly bases: readonly BaseUse[];
  /** In their order; undefined where they were not asked for. */
  readonly columns: readonly Column[] | undefined;
  /** Of a relation that is only assumed to be there: some columns it may have. */
  readonly assumedColumns?: readonly string[];
}

/**
 * `base`: a view or a rule names it, so it is read for what it is. `part`: a partition or child, whose rows are the relation's.
 * `parent`: the relation is a part of it.
 */
export type Tie = 'base' | 'part' | 'parent';

/** What is touched where a relation is read or written. */
export interface Reached {
  readonly relation: Relation;
  readonly tie: Tie;
}

/** In a fixed order: the same database gives the same. Rows of the queries of the same names below. */
export interface SchemaRows {
  readonly relations: readonly (readonly (string | null)[])[];
  readonly bases: readonly (readonly (string | null)[])[];
  readonly calls: readonly (readonly (string | null)[])[];
  readonly columns: readonly (readonly (string | null)[])[];
  readonly functions: readonly (readonly (string | null)[])[];
  readonly path: readonly (readonly (string | null)[])[];
  /** undefined: all of them. */
  readonly usable: readonly (readonly (string | null)[])[] | undefined;
}

const notTemporary = "NOT n.nspname OPERATOR(pg_catalog.~) '^pg_(temp|toast_temp)_'";

const isView = `c.relkind OPERATOR(pg_catalog.=) ANY ('{v,m}'::pg_catalog."char"[])`;
const isUnseenFunction = `(p.proname OPERATOR(pg_catalog.=) ANY ('{${unseenFunctions.join()}}'::pg_catalog.name[])
    OR p.proname OPERATOR(pg_catalog.~) '${unseenFamilies}')`;
/** Rules of views and tables that people have made. */
const ownRules = `pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.ev_class
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    AND n.nspname OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema}'::pg_catalog.name[])`;
const ruleWhen = `CASE WHEN r.ev_type OPERATOR(pg_catalog.=) '1' THEN 'read' ELSE 'write' END`;

/** Schema, name, whether it is a view, whether a foreign table, oid. */
export const relationsQuery = `SELECT n.nspname, c.relname, (${isView})::pg_catalog.text,
    (c.relkind OPERATOR(pg_catalog.=) 'f')::pg_catalog.text, c.oid::pg_catalog.text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f,S}'::pg_catalog."char"[]) AND ${notTemporary} ORDER BY 1, 2`;

/** Schema and name of a relation, of one it is made of, or is a part of, and when: read or write. */
export const basesQuery = `WITH catalogs AS MATERIALIZED (SELECT b.oid, b.relname FROM pg_catalog.pg_class b
    WHERE b.relnamespace OPERATOR(pg_catalog.=) 11::pg_catalog.oid
      AND b.relname OPERATOR(pg_catalog.=) ANY ('{${opaqueCatalogs.join()}}'::pg_catalog.name[])),
  suspects AS MATERIALIZED (
    SELECT n.nspname, c.relname, ${ruleWhen} AS used, r.ev_action::pg_catalog.text AS code FROM ${ownRules}
    WHERE r.ev_action::pg_catalog.text OPERATOR(pg_catalog.~) (
      SELECT pg_catalog.concat(':relid (', pg_catalog.string_agg(b.oid::pg_catalog.text, '|'), ') ') FROM catalogs b))
  SELECT n.nspname, c.relname, bn.nspname, b.relname, ${ruleWhen}
  FROM ${ownRules}
  JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    AND d.objid OPERATOR(pg_catalog.=) r.oid AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.refobjid OPERATOR(pg_catalog.<>) c.oid
  JOIN pg_catalog.pg_class b ON b.oid OPERATOR(pg_catalog.=) d.refobjid
  JOIN pg_catalog.pg_namespace bn ON bn.oid OPERATOR(pg_catalog.=) b.relnamespace
  UNION
  SELECT s.nspname, s.relname, 'pg_catalog', b.relname, s.used FROM suspects s JOIN catalogs b
    ON pg_catalog.strpos(s.code, pg_catalog.concat(':relid ', b.oid, ' ')) OPERATOR(pg_catalog.>) 0
  UNION
  SELECT n.nspname, c.relname, pn.nspname, p.relname, 'read'
  FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) i.inhparent
  JOIN pg_catalog.pg_namespace pn ON pn.oid OPERATOR(pg_catalog.=) p.relnamespace
  WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f}'::pg_catalog."char"[]) ORDER BY 1, 2, 3, 4, 5`;

/**
 * Schema and name of a relation, of a function that a rule of it calls and nobody sees into, and when: read or write. What is
 * not PostgreSQL's own counts, whatever its language; of operators, as where a text uses them, those that are not in C.
 * pg_depend has nothing of PostgreSQL's own functions: they are looked for in the rule.
 */
export const callsQuery = `WITH suspects AS MATERIALIZED (
    SELECT n.nspname, c.relname, ${ruleWhen} AS used, r.ev_action::pg_catalog.text AS code FROM ${ownRules}
    WHERE r.ev_action::pg_catalog.text OPERATOR(pg_catalog.~) (
      SELECT pg_catalog.concat(':funcid (', pg_catalog.string_agg(p.oid::pg_catalog.text, '|'), ') ')
      FROM pg_catalog.pg_proc p WHERE p.pronamespace OPERATOR(pg_catalog.=) 11::pg_catalog.oid AND ${isUnseenFunction}))
  SELECT s.nspname, s.relname, 'pg_catalog', p.proname, s.used FROM suspects s
  JOIN pg_catalog.pg_proc p ON p.pronamespace OPERATOR(pg_catalog.=) 11::pg_catalog.oid AND ${isUnseenFunction}
    AND pg_catalog.strpos(s.code, pg_catalog.concat(':funcid ', p.oid, ' ')) OPERATOR(pg_catalog.>) 0
  UNION
  SELECT n.nspname, c.relname, pn.nspname, p.proname, ${ruleWhen}
  FROM ${ownRules}
  JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    AND d.objid OPERATOR(pg_catalog.=) r.oid
    AND d.refclassid OPERATOR(pg_catalog.=) ANY (ARRAY['pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid,
      'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid])
  LEFT JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) d.refobjid
    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) COALESCE(o.oprcode::pg_catalog.oid, d.refobjid)
  JOIN pg_catalog.pg_namespace pn ON pn.oid OPERATOR(pg_catalog.=) p.pronamespace
  WHERE CASE WHEN o.oid IS NOT NULL THEN p.prolang OPERATOR(pg_catalog.<>) ALL ('{12,13}'::pg_catalog.oid[])
      ELSE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid OR pn.nspname OPERATOR(pg_catalog.<>) 'pg_catalog' END
    OR (pn.nspname OPERATOR(pg_catalog.=) 'pg_catalog' AND ${isUnseenFunction})
  ORDER BY 1, 2, 3, 4, 5`;

/** Schema, relation, column and its type, in order; for the relations named in $1, a JSON array, all where it is empty, and for catalogs with kept columns. */
export const columnsQuery = `SELECT n.nspname, c.relname, a.attname,
    CASE WHEN t.typnamespace OPERATOR(pg_catalog.=) 11::pg_catalog.oid THEN pg_catalog.format_type(a.atttypid, a.atttypmod)
      ELSE pg_catalog.format('%I.%I', tn.nspname, t.typname) END
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
  JOIN pg_catalog.pg_namespace tn ON tn.oid OPERATOR(pg_catalog.=) t.typnamespace
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
    AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog."char"[])
    AND (pg_catalog.concat(n.nspname, '.', c.relname) OPERATOR(pg_catalog.=) ANY ('{${[...keptColumns.keys()].join()}}'::pg_catalog.text[])
    OR n.nspname OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema}'::pg_catalog.name[])
    AND ($1 OPERATOR(pg_catalog.=) '[]' OR c.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
      WITH RECURSIVE family AS (
        SELECT k.oid FROM pg_catalog.pg_class k WHERE k.relname OPERATOR(pg_catalog.=) ANY (
          ARRAY(SELECT w.value FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) w(value)))
        UNION SELECT CASE WHEN i.inhparent OPERATOR(pg_catalog.=) f.oid THEN i.inhrelid ELSE i.inhparent END
          FROM pg_catalog.pg_inherits i
          JOIN family f ON f.oid OPERATOR(pg_catalog.=) i.inhparent OR f.oid OPERATOR(pg_catalog.=) i.inhrelid)
      SELECT family.oid FROM family))))
  ORDER BY a.attrelid, a.attnum`;

/** Schema and name of the functions that are not PostgreSQL's, `f`, and of such operators whose names PostgreSQL has not, `o`. */
export const functionsQuery = `SELECT DISTINCT n.nspname, p.proname, 'f' FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  WHERE n.nspname OPERATOR(pg_catalog.<>) 'pg_catalog' OR p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
  SELECT DISTINCT n.nspname, o.oprname, 'o' FROM pg_catalog.pg_operator o
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode
  WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.prolang OPERATOR(pg_catalog.<>) ALL ('{12,13}'::pg_catalog.oid[])
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_operator b
      WHERE b.oprname OPERATOR(pg_catalog.=) o.oprname AND b.oprnamespace OPERATOR(pg_catalog.=) 11::pg_catalog.oid)
  ORDER BY 3, 1, 2`;

/** The search path of a new session as written, and who the session is. */
export const pathQuery = `SELECT pg_catalog.current_setting('search_path'), session_user::pg_catalog.text`;

/** The schemas whose objects the user may name, and whether everybody may: others are skipped in a search path. */
export const usableQuery = `SELECT n.nspname, pg_catalog.has_schema_privilege('public', n.oid, 'USAGE')::pg_catalog.text
  FROM pg_catalog.pg_namespace n WHERE pg_catalog.has_schema_privilege(n.oid, 'USAGE') ORDER BY 1`;

const catalogSchema = 'pg_catalog';

/** Of PostgreSQL itself. */
export function isSystemSchema(name: string): boolean {
  return name === catalogSchema || name === 'information_schema';
}

function keyOf(schema: string, name: string): string {
  return `${schema}\0${name}`;
}

/** One state of a database; never changed. */
export class Schema {
  readonly #relations = new Map<string, Relation>();
  readonly #byName = new Map<string, Relation[]>();
  /** Schemas of functions that are not PostgreSQL's, by name. */
  readonly #functions = new Map<string, Set<string>>();
  readonly #operators = new Set<string>();
  readonly #reached = {
    read: new WeakMap<Relation, readonly Reached[]>(),
    write: new WeakMap<Relation, readonly Reached[]>(),
  };
  /** Partitions and children, by their parent. */
  readonly #parts = new Map<string, Relation[]>();
  /** By schema, whether everybody may use it; undefined where all may be. */
  readonly #usable: ReadonlyMap<string, boolean> | undefined;
  /** Of a session that has not set another, as written. */
  readonly searchPath: string;
  readonly sessionUser: string;

  constructor(rows: SchemaRows) {
    const bases = new Map<string, BaseUse[]>();
    for (const [schema, name, baseSchema, baseName, when] of rows.bases) {
      const use: BaseUse = {
        schema: baseSchema ?? '',
        name: baseName ?? '',
        when: when === 'write' ? 'write' : 'read',
      };
      entry(bases, keyOf(schema ?? '', name ?? ''), () => []).push(use);
    }
    const calls = new Map<string, Call[]>();
    for (const [schema, name, calledSchema, calledName, when] of rows.calls) {
      const call: Call = {
        schema: calledSchema ?? '',
        name: calledName ?? '',
        when: when === 'write' ? 'write' : 'read',
      };
      entry(calls, keyOf(schema ?? '', name ?? ''), () => []).push(call);
    }
    const columnsOf = new Map<string, Column[]>();
    for (const [schema, name, column, type] of rows.columns) {
      entry(columnsOf, keyOf(schema ?? '', name ?? ''), () => []).push({ name: column ?? '', type: type ?? 'text' });
    }
    for (const [schema, name, isView, isForeign, oid] of rows.relations) {
      const key = keyOf(schema ?? '', name ?? '');
      const relation: Relation = {
        schema: schema ?? '',
        name: name ?? '',
        isView: isView === 'true',
        isForeign: isForeign === 'true',
        oid: oid ? Number(oid) : undefined,
        calls: calls.get(key) ?? [],
        bases: bases.get(key) ?? [],
        columns: columnsOf.get(key),
      };
      this.#relations.set(key, relation);
      entry(this.#byName, relation.name, () => []).push(relation);
      for (const base of relation.isView ? [] : relation.bases) {
        if (base.when === 'read') entry(this.#parts, keyOf(base.schema, base.name), () => []).push(relation);
      }
    }
    this.#usable = rows.usable && new Map(rows.usable.map(([schema, isPublic]) => [schema ?? '', isPublic === 'true']));
    for (const [schema, name, sort] of rows.functions) {
      if (sort === 'f') entry(this.#functions, name ?? '', () => new Set()).add(schema ?? '');
      else this.#operators.add(name ?? '');
    }
    const [path] = rows.path;
    this.searchPath = path?.[0] ?? '';
    this.sessionUser = path?.[1] ?? '';
  }

  /** One that was put together without a database. @param made rows as a database would answer */
  static of({ user, ...made }: { readonly user: string } & Partial<SchemaRows>): Schema {
    const path = [['"$user", public', user]];
    return new Schema({
      relations: [],
      bases: [],
      calls: [],
      columns: [],
      functions: [],
      usable: undefined,
      path,
      ...made,
    });
  }

  relation(schema: string, name: string): Relation | undefined {
    return this.#relations.get(keyOf(schema, name));
  }

  /**
   * What a name can mean.
   * @param path the schemas that are searched; undefined where they are not known: then any relation of the name may be meant
   */
  candidates(schema: string | null, name: string, path: readonly string[] | undefined): readonly Relation[] {
    if (schema !== null) {
      const found = this.relation(schema, name);
      return found === undefined ? [] : [found];
    }
    if (path === undefined) return this.#byName.get(name) ?? [];
    const searched = path.includes(catalogSchema) ? path : [catalogSchema, ...path];
    for (const at of searched) {
      const found = this.relation(at, name);
      if (found !== undefined) return [found];
    }
    return [];
  }

  /** All of a schema, or of the database but its system schemas. */
  relationsIn(schema: string | null): Relation[] {
    return [...this.#relations.values()].filter((relation) =>
      schema === null ? !isSystemSchema(relation.schema) : relation.schema === schema,
    );
  }

  /** Schemas with a function of this name that is not PostgreSQL's. */
  functionSchemas(name: string): ReadonlySet<string> {
    return this.#functions.get(name) ?? noSchemas;
  }

  hasOperator(name: string): boolean {
    return this.#operators.has(name);
  }

  /**
   * The schemas of a search path that are searched; undefined where that is not known.
   * @param user who the session acts as
   */
  searched(path: readonly string[] | undefined, user: string): readonly string[] | undefined {
    const usable = this.#usable;
    if (usable === undefined) return path;
    if (user === this.sessionUser) return path?.filter((name) => usable.has(name));
    return path?.every((name) => usable.get(name) === true) === true ? path : undefined;
  }

  /**
   * Everything that is touched where the relation is read, or written, but itself: what views and rules name, through views of
   * views, the parts of all that and of the relation, and what each of them is a part of. The one answer to that question;
   * found once.
   */
  reached(relation: Relation, when: 'read' | 'write'): readonly Reached[] {
    let found = this.#reached[when].get(relation);
    if (found === undefined) {
      found = this.#reach(relation, when);
      this.#reached[when].set(relation, found);
    }
    return found;
  }

  #reach(start: Relation, when: 'read' | 'write'): readonly Reached[] {
    const ties = new Map<Relation, Tie>([[start, 'base']]);
    // A set is walked to its end also where it grows on the way.
    const named = new Set([start]);
    for (const relation of named) {
      for (const base of this.#bases(relation, when)) named.add(base);
    }
    for (const relation of named) ties.set(relation, 'base');
    const rows = new Set(named);
    for (const { schema, name, isView } of rows) {
      for (const part of isView ? [] : (this.#parts.get(keyOf(schema, name)) ?? [])) rows.add(part);
    }
    for (const relation of rows) if (!ties.has(relation)) ties.set(relation, 'part');
    const whole = new Set(rows);
    for (const relation of whole) for (const parent of this.#parents(relation)) whole.add(parent);
    for (const relation of whole) if (!ties.has(relation)) ties.set(relation, 'parent');
    ties.delete(start);
    return [...ties].map(([relation, tie]) => ({ relation, tie }));
  }

  /** What the rules of the relation name. */
  #bases({ isView, bases }: Relation, when: 'read' | 'write'): Relation[] {
    return this.#known(bases.filter((base) => (base.when === 'write' ? when === 'write' : isView)));
  }

  #parents({ isView, bases }: Relation): Relation[] {
    return isView ? [] : this.#known(bases.filter((base) => base.when === 'read'));
  }

  #known(uses: readonly BaseUse[]): Relation[] {
    return uses.flatMap(({ schema, name }) => this.relation(schema, name) ?? []);
  }
}

const noSchemas: ReadonlySet<string> = new Set();

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

/**
 * The schemas a `search_path` names, in order; undefined where it cannot be told, as where names may be folded or cut.
 * @param user stands for `"$user"`
 */
export function schemasOf(searchPath: string, user: string): string[] | undefined {
  const schemas: string[] = [];
  // What PostgreSQL takes for a space, and nothing else.
  let rest = searchPath.replace(/^[ \t\n\r\f\v]+/, '');
  while (rest !== '') {
    const part = /^(?:"((?:[^"]|"")*)"|([a-z0-9_$]+))[ \t\n\r\f\v]*(?:,|$)[ \t\n\r\f\v]*/i.exec(rest);
    if (part === null) return undefined;
    const [whole, inQuotes, bare] = part;
    const name = inQuotes === undefined ? (bare as string).toLowerCase() : inQuotes.replaceAll('""', '"');
    if (Buffer.byteLength(name) > nameBytesMax) return undefined;
    schemas.push(name === '$user' ? user : name);
    rest = rest.slice(whole.length);
  }
  return schemas;
}
