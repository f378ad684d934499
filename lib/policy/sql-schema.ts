// Reads what a database has from the SQL that makes it: CREATE TABLE, VIEW, FUNCTION and their like.

import {
  type DefinedColumn,
  type Definition,
  type QualifiedName,
  type StatementDeeds,
  type StatementReader,
  splitScript,
  type TextReading,
} from '../sql/index.js';
import { Schema, type SchemaRows } from './schema.js';
import { isPlainFunction } from './unseen.js';

export type SqlSchemaResult =
  | { readonly ok: true; readonly schema: Schema }
  /** @param line of the statement that cannot be read */
  | { readonly ok: false; readonly line: number; readonly message: string };

/** @param user who the session is whose names are looked up */
export async function schemaOfSql(script: string, reader: StatementReader, user: string): Promise<SqlSchemaResult> {
  const builder = new SchemaBuilder();
  for (const { text, line } of splitScript(script)) {
    const reading = await reader.read(text);
    if (reading.kind === 'unread') return { ok: false, line, message: reading.message };
    builder.take(reading);
  }
  return { ok: true, schema: builder.schema(user) };
}

interface Built {
  readonly isView: boolean;
  readonly isForeign: boolean;
  /** undefined: not known. */
  columns: DefinedColumn[] | undefined;
}

type ReadText = Extract<TextReading, { kind: 'read' }>;
type Row = SchemaRows['relations'][number];

class SchemaBuilder {
  /** By schema and name as JSON. */
  readonly #relations = new Map<string, Built>();
  readonly #bases: Row[] = [];
  readonly #calls: Row[] = [];
  readonly #functions: Row[] = [];
  /** Where names are made that say no schema. */
  #current = 'public';

  take({ facts, definitions }: ReadText): void {
    for (const definition of definitions) this.#define(definition);
    for (const statement of facts.deeds?.statements ?? []) this.#readThrough(statement);
    for (const hazard of facts.hazards) {
      if (hazard.kind !== 'set' || hazard.name !== 'search_path') continue;
      const [first] = hazard.values ?? [];
      this.#current = first?.kind === 'literal' && first.value ? first.value : 'public';
    }
  }

  schema(user: string): Schema {
    const relations = [...this.#relations].map(([key, { isView, isForeign }]) => [
      ...namesOf(key),
      String(isView),
      String(isForeign),
    ]);
    const columns = [...this.#relations].flatMap(([key, built]) =>
      (built.columns ?? []).map(({ name, type }) => [...namesOf(key), name, type]),
    );
    return Schema.of({ user, relations, columns, bases: this.#bases, calls: this.#calls, functions: this.#functions });
  }

  #define(definition: Definition): void {
    switch (definition.kind) {
      case 'relation':
        this.#relation(definition);
        return;
      case 'column':
        this.#relations.get(this.#key(definition.relation))?.columns?.push(definition.column);
        return;
      case 'parent':
        this.#bases.push(this.#basis(definition.relation, definition.parent, 'read'));
        return;
      case 'function':
        this.#functions.push([...this.#names(definition.name), 'f']);
        return;
      case 'operator':
        this.#functions.push([...this.#names(definition.name), 'o']);
        return;
      default:
        definition satisfies never;
    }
  }

  #relation({ name, isView, isForeign, columns, parents }: Extract<Definition, { kind: 'relation' }>): void {
    const own = columns?.flatMap((column) => ('type' in column ? [column] : this.#columnsOf(column)));
    const inherited = parents.flatMap((parent) => this.#columnsOf(parent));
    const all = own === undefined ? undefined : [...inherited, ...own];
    const unlike = all?.filter((column, index) => all.findIndex((other) => other.name === column.name) === index);
    this.#relations.set(this.#key(name), { isView, isForeign, columns: unlike });
    for (const parent of parents) this.#bases.push(this.#basis(name, parent, 'read'));
  }

  #columnsOf(name: QualifiedName): readonly DefinedColumn[] {
    return this.#relations.get(this.#key(name))?.columns ?? [];
  }

  /** What a view reads, and what a rule of a relation's reads and writes. */
  #readThrough({ relations, functions }: StatementDeeds): void {
    const maker = relations.find(({ act }) => act.includes('create_view') || act.includes('create_rule'));
    if (maker?.name === undefined || maker.name === null) return;
    const name = { schema: maker.schema, name: maker.name };
    const when = maker.act.includes('create_view') ? 'read' : 'write';
    for (const { schema, name: called } of functions) {
      const isPlain = (schema ?? 'pg_catalog') === 'pg_catalog' && isPlainFunction(called);
      if (!isPlain) this.#calls.push([...this.#names(name), ...this.#names({ schema, name: called }), when]);
    }
    for (const deed of relations) {
      if (deed === maker || deed.name === null) continue;
      this.#bases.push(this.#basis(name, { schema: deed.schema, name: deed.name }, when));
    }
  }

  #basis(name: QualifiedName, base: QualifiedName, when: 'read' | 'write'): Row {
    return [...this.#names(name), ...this.#names(base), when];
  }

  #names({ schema, name }: QualifiedName): readonly [string, string] {
    return [schema ?? this.#current, name];
  }

  #key(name: QualifiedName): string {
    return JSON.stringify(this.#names(name));
  }
}

function namesOf(key: string): readonly string[] {
  return JSON.parse(key) as string[];
}
