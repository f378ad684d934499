// Random queries over masked tables: no answer, and no error, contains a value that was planted in a masked column.

import t from 'tap';
import { connectAs, planted, server, startPoliced } from '../integration/policy/rig.js';
import { Random } from '../support/random.js';

t.teardown(() => server.stop());

const seed = Number(process.env['SEED'] ?? 1);
const queries = Number(process.env['QUERIES'] ?? 600);

/** A relation in scope: its alias, and its columns by type. */
interface Source {
  readonly alias: string;
  readonly texts: readonly string[];
  readonly numbers: readonly string[];
}

class Generator {
  readonly #random: Random;
  #aliases = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  statement(): string {
    const query = this.#query(2);
    return this.#random.weighted([
      [8, query],
      [1, `begin; declare c cursor for ${query}; fetch all c; commit`],
      [1, `explain (verbose, costs off) ${query}`],
      [1, `copy (${query}) to stdout`],
      [1, `prepare q as ${query}; execute q; deallocate q`],
      [1, `create temp table made on commit drop as ${query}`],
      [1, `with kept as materialized (${query}) select * from kept`],
    ]);
  }

  #alias(): string {
    return `a${this.#aliases++}`;
  }

  #query(depth: number): string {
    const sources = [this.#source(depth)];
    let from = sources[0]!.sql;
    while (this.#random.oneIn(3)) {
      const next = this.#source(depth);
      const on = `on ${this.#number([sources[0]!.source], 0)} = ${this.#number([next.source], 0)}`;
      from = this.#random.pick([
        `${from} cross join ${next.sql}`,
        `${from}, ${next.sql}`,
        `${from} left join ${next.sql} ${on}`,
        `${from} full join ${next.sql} ${on}`,
        `${from} cross join lateral (select ${this.#text([sources[0]!.source], 0)} as email, 1 as id) l${this.#aliases++}`,
      ]);
      if (from.includes(next.sql)) sources.push(next);
    }
    const scope = sources.map(({ source }) => source);
    const count = 1 + this.#random.below(3);
    const shown = Array.from({ length: count }, () => this.#shown(scope, depth)).join(', ');
    const where = this.#random.oneIn(2) ? ` where ${this.#condition(scope, depth)}` : '';
    const order = this.#random.oneIn(3) ? ` order by ${this.#text(scope, 1)} nulls first` : '';
    const limit = this.#random.oneIn(3) ? ' limit 5' : '';
    const query = `select ${this.#random.oneIn(5) ? 'distinct ' : ''}${shown} from ${from}${where}`;
    if (depth > 0 && this.#random.oneIn(6)) return `(${query}) union all (${query})`;
    return this.#random.oneIn(5) ? query : `${query}${query.includes('distinct') ? '' : order}${limit}`;
  }

  #source(depth: number): { readonly sql: string; readonly source: Source } {
    const alias = this.#alias();
    const texts = ['email'];
    const numbers = ['id'];
    if (depth > 0 && this.#random.oneIn(4)) {
      const { sql, source } = this.#source(depth - 1);
      const kind = this.#random.pick([
        `(select * from ${sql}) ${alias}`,
        `(select ${source.alias}.* from ${sql}) as ${alias}`,
        `(select ${this.#text([source], 1)} as email, 1 as id from ${sql}) ${alias}`,
        `(with w as (select * from ${sql}) select email, id from w) ${alias}`,
      ]);
      return { sql: kind, source: { alias, texts, numbers } };
    }
    const table = this.#random.pick([
      'people',
      'public.people',
      'only people',
      'people *',
      '"people"',
      'events',
      'events_1',
      'orders',
      'public . people',
    ]);
    const sql = this.#random.oneIn(2) ? `${table} as ${alias}` : `${table} ${alias}`;
    return { sql, source: { alias, texts, numbers } };
  }

  #shown(scope: readonly Source[], depth: number): string {
    const { alias } = this.#random.pick(scope);
    const make = this.#random.weighted<() => string>([
      [3, () => this.#text(scope, 2)],
      [1, () => '*'],
      [1, () => `${alias}.*`],
      [1, () => alias],
      [1, () => `(${alias}).email`],
      [1, () => `row_to_json(${alias})`],
      [1, () => `array_agg(${this.#text(scope, 1)}) over ()`],
      [1, () => `lag(${this.#text(scope, 1)}) over (order by ${this.#number(scope, 1)})`],
      [depth > 0 ? 1 : 0, () => `(select ${this.#text(scope, 1)} limit 1)`],
      [depth > 0 ? 1 : 0, () => `array(${this.#query(0)})::text`],
    ]);
    return make();
  }

  #text(scope: readonly Source[], depth: number): string {
    const source = this.#random.pick(scope);
    const column = `${source.alias}.${this.#random.pick(source.texts)}`;
    if (depth === 0) return column;
    const inner = this.#text(scope, depth - 1);
    return this.#random.pick([
      column,
      `upper(${inner})`,
      `(${inner} || 'x')`,
      `coalesce(${inner}, 'none')`,
      `substr(${inner}, 2)`,
      `(case when ${inner} like 'P%' then ${column} else 'no' end)`,
      `cast(${inner} as varchar(9))`,
      `format('%s-%s', ${inner}, ${source.alias})`,
      `(to_jsonb(${source.alias}) ->> 'email')`,
      `(array[${inner}, ${column}])[2]`,
      `${source.alias}::text`,
      `replace(${inner}, 'a', 'b')`,
      `convert_from(convert_to(${inner}, 'UTF8'), 'UTF8')`,
      `(xpath('/x', xmlelement(name x, ${inner})))[1]::text`,
    ]);
  }

  #number(scope: readonly Source[], depth: number): string {
    const source = this.#random.pick(scope);
    const column = `${source.alias}.${this.#random.pick(source.numbers)}`;
    if (depth === 0) return column;
    return this.#random.pick([column, `length(${this.#text(scope, 1)})`, `hashtext(${this.#text(scope, 1)})`]);
  }

  #condition(scope: readonly Source[], depth: number): string {
    const text = this.#text(scope, 1);
    const conditions = [`${text} like 'P%'`, `${text} is not null`, `${this.#number(scope, 1)} > 2`];
    if (depth === 0) return this.#random.pick(conditions);
    const nested = this.#query(depth - 1);
    return this.#random.pick([
      ...conditions,
      `exists (${nested})`,
      `${text} in (select email from people)`,
      `${text} ~ any (array(select email from people))`,
    ]);
  }
}

void t.test(`${queries} random queries over masked tables show nothing planted (SEED=${seed})`, async (t) => {
  const weir = await startPoliced(t);
  const bob = await connectAs(t, weir, 'bob');
  const alice = await connectAs(t, weir, 'alice');
  // Some are joins of everything with everything.
  for (const client of [bob, alice]) await client.query('set statement_timeout = 100');
  const generator = new Generator(new Random(seed));
  const shown: string[] = [];
  const counts = { answered: 0, refused: 0, failed: 0, worthwhile: 0 };
  for (let i = 0; i < queries; i++) {
    const sql = generator.statement();
    const reply = i % 2 === 0 || sql.includes(';') ? await bob.query(sql) : await bob.execute(sql);
    if (JSON.stringify(reply).includes(planted)) shown.push(sql);
    const sqlstate = reply.errors[0]?.['C'];
    if (sqlstate === undefined) counts.answered++;
    else if (sqlstate === '42501') counts.refused++;
    else counts.failed++;
    // Without a mask it would have been seen.
    if (sqlstate === undefined && JSON.stringify(await alice.query(sql)).includes(planted)) counts.worthwhile++;
    if (reply.status !== 'I') await bob.query('rollback');
    await alice.query('rollback');
  }
  t.strictSame(shown, []);
  t.ok(counts.answered > queries / 3, `most are answered: ${JSON.stringify(counts)}`);
  t.ok(counts.worthwhile > queries / 5, 'and would have shown something');
  t.comment(JSON.stringify(counts));
});
