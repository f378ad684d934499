// Makes SQL from a seed: statements from a small grammar, with odd spelling, and token soup.

/** Mulberry32: the same numbers for the same seed everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export class SqlGenerator {
  readonly #random: () => number;
  #depth = 0;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  /** Mostly valid. */
  statement(): string {
    this.#depth = 0;
    const text = this.#statement();
    const tail = this.#pick(['', '', ';', ' ; ', '-- end', '/* end */;', ';\n-- x\n']);
    return this.#chance(0.1) ? `${text};${this.#space()}${this.#statement()}${tail}` : text + tail;
  }

  /** Hardly ever valid. */
  soup(): string {
    const count = 1 + this.#below(14);
    let text = '';
    for (let i = 0; i < count; i++) text += this.#pick(soupTokens) + this.#pick(['', '', ' ', '\n']);
    return this.#chance(0.5) ? `select ${text}` : text;
  }

  /** A statement with a few bytes changed. */
  mutated(): Buffer {
    const bytes = Buffer.from(this.#chance(0.7) ? this.statement() : this.soup());
    const changes = 1 + this.#below(3);
    for (let i = 0; i < changes && bytes.length > 0; i++) {
      const at = this.#below(bytes.length);
      bytes[at] = this.#chance(0.8) ? this.#pick(oddBytes).charCodeAt(0) : this.#below(256);
    }
    return bytes;
  }

  #statement(): string {
    const s = () => this.#space();
    const table = () => this.#table();
    const e = () => this.#expression();
    return this.#pick([
      () => this.#select(),
      () => this.#select(),
      () => this.#select(),
      () => `${this.#word('insert into')}${s()}${table()}${s()}(a,b)${s()}values${s()}(${e()},${s()}${e()})`,
      () => `insert into ${table()} ${this.#select()} ${this.#pick(['', 'on conflict do nothing', 'returning *'])}`,
      () => `${this.#word('update')} ${table()} set a${s()}=${s()}${e()}, b = default where ${e()}`,
      () => `${this.#word('delete from')} ${table()}${s()}where${s()}${e()}`,
      () =>
        `merge into ${table()} t using ${table()} s on ${e()} when matched then update set a = ${e()} when not matched then insert values (${e()})`,
      () =>
        `${this.#word('set')} ${this.#pick(['', 'local ', 'session '])}${this.#pick(['x.y', 'work_mem', 'search_path'])} ${this.#pick(['=', 'to'])}${s()}${this.#pick([this.#literal(), 'on', 'a, b', '-1', 'default'])}`,
      () => `set time zone ${this.#pick([this.#string(), 'local', "interval '1' hour", '-5'])}`,
      () => `fetch ${this.#pick(['1', '-2', 'absolute 3', 'all', 'next'])} from c`,
      () =>
        `create table ${table()} (a int default ${this.#literal()}, b float(${1 + this.#below(20)}), c varchar(${1 + this.#below(50)}) check (c in (${this.#list()})))`,
      () => `create index on ${table()} ((${e()})) where ${e()}`,
      () => `copy ${table()} from ${this.#pick(['stdin', this.#string(), `program ${this.#string()}`])}`,
      () => `do ${this.#string()}`,
      () => `prepare p as ${this.#select()}`,
      () => `execute p(${this.#list()})`,
      () => `comment on table ${table()} is ${this.#string()}`,
      () => `explain (analyze ${this.#pick(['', 'off', '0', "'t'"])}) ${this.#select()}`,
      () => `declare c cursor with hold for ${this.#select()}`,
      () => `notify c, ${this.#string()}`,
      () => `begin isolation level serializable`,
      () =>
        `create function f(in a int, b text default ${this.#string()}) returns int language sql as ${this.#string()}`,
      () => `create table p partition of q for values in (${this.#list()})`,
    ])();
  }

  #select(): string {
    const s = () => this.#space();
    const from = this.#chance(0.7) ? `${s()}${this.#word('from')}${s()}${this.#from()}` : '';
    const where = from !== '' && this.#chance(0.6) ? `${s()}${this.#word('where')}${s()}${this.#expression()}` : '';
    const order = this.#chance(0.2) ? ` order by ${this.#pick(['1', '2 desc', 'a', `${this.#expression()}`])}` : '';
    const limit = this.#chance(0.2) ? ` limit ${this.#pick(['1', '10', this.#number(), 'all'])}` : '';
    const lock = this.#chance(0.05) ? ' for update' : '';
    const items = [this.#item(), ...(this.#chance(0.5) ? [this.#item()] : [])].join(`,${s()}`);
    const select = `${this.#word('select')}${s()}${items}${from}${where}${order}${limit}${lock}`;
    if (this.#depth < 2 && this.#chance(0.1)) {
      this.#depth++;
      const inner = this.#select();
      this.#depth--;
      return this.#pick([`with w as (${inner}) ${select}`, `(${inner}) union all (${select})`]);
    }
    return select;
  }

  #item(): string {
    return this.#expression() + this.#pick(['', '', ' as x', ' "Y"', ' é']);
  }

  #from(): string {
    return this.#pick([
      () => this.#table(),
      () => `${this.#table()} t join ${this.#table()} u on ${this.#expression()}`,
      () => `generate_series(${this.#number()}, ${this.#number()}) g`,
      () => `(values (${this.#list()})) v`,
    ])();
  }

  #expression(): string {
    if (this.#depth > 3) return this.#primary();
    this.#depth++;
    const text = this.#pick([
      () => this.#primary(),
      () => this.#primary(),
      () => this.#primary() + this.#gap() + this.#pick(operators) + this.#gap() + this.#primary(),
      () =>
        `${this.#expression()} ${this.#pick(['and', 'OR', '=', '<>', '!=', '>=', '+', '-', '*', '||'])} ${this.#expression()}`,
      () => `${this.#pick(['-', '- ', '+', '-/* c */', '@ ', '~', 'not '])}${this.#primary()}`,
      () =>
        `${this.#primary()}${this.#space()}${this.#pick(['in', 'IN', 'not in'])}${this.#pick(['', ' ', '/**/'])}(${this.#list()})`,
      () => `array${this.#pick(['', ' '])}[${this.#list()}]`,
      () => `array[[${this.#list()}],[${this.#list()}]]`,
      () => `(${this.#expression()})`,
      () => `f(${this.#expression()},${this.#space()}${this.#expression()})`,
      () =>
        `${this.#primary()}::${this.#pick(['int', 'text', 'numeric(10,2)', 'varchar(5)', 'int[]', 'float(5)', 'pg_catalog.int4'])}`,
      () => `case when ${this.#expression()} then ${this.#literal()} else ${this.#primary()} end`,
      () => `${this.#primary()} between ${this.#literal()} and ${this.#literal()}`,
      () => `position(${this.#string()} in ${this.#pick([this.#string(), `(${this.#list()})`])})`,
      () => `extract(year from ${this.#primary()})`,
      () => `interval ${this.#string()} ${this.#pick(['', 'year', 'day to second'])}`,
      () => `a[${this.#below(5)}:${this.#below(5)}]`,
      () => `exists (${this.#select()})`,
      () => `substring(${this.#primary()} from ${this.#below(5)} for 2)`,
      () => `row(${this.#list()})`,
      () => `s.in(${this.#list()})`,
      () => `${this.#primary()} is ${this.#pick(['null', 'not null', 'true'])}`,
      () => `${this.#primary()} like ${this.#string()} escape '!'`,
    ])();
    this.#depth--;
    return text;
  }

  #primary(): string {
    return this.#chance(0.5)
      ? this.#literal()
      : this.#pick(['a', 'b.c', 'T.A', '"Q i"', '"a""b"', '$1', '$2', 'null', 'true', 'été', 't.*', 'now()', 'a$1']);
  }

  #list(): string {
    const count = 1 + this.#below(4);
    const isPlain = this.#chance(0.6);
    const same = (): string =>
      isPlain
        ? String(this.#below(100))
        : this.#pick([
            this.#literal(),
            this.#primary(),
            `- ${this.#below(9)}`,
            `(${this.#below(9)})`,
            `${this.#below(9)}+1`,
            `-${this.#below(9)}+1`,
          ]);
    const items: string[] = Array.from({ length: count }, same);
    return items.join(this.#pick([',', ', ', ' , ', ',\n']));
  }

  #literal(): string {
    return this.#chance(0.5) ? this.#number() : this.#string();
  }

  #number(): string {
    return this.#pick([
      '1',
      '0',
      '42',
      '1.5',
      '.5',
      '1.',
      '1e5',
      '1.5E-3',
      '2147483647',
      '2147483648',
      '99999999999',
      '0x1F',
      '0b101',
      '0o17',
      '1_000',
      '0xFFFFFFFF',
      '1_0.5e1_0',
    ]);
  }

  #string(): string {
    return this.#pick([
      "'a'",
      "''",
      "'it''s'",
      "'-- no'",
      "'/* no */'",
      "'$$'",
      "E'a\\'b'",
      "e'\\\\'",
      "E'\\n'",
      "'\\'",
      "b'101'",
      "B''",
      "x'1F'",
      "N'n'",
      "U&'\\0041'",
      "U&'!0041' uescape '!'",
      '$$dollar$$',
      "$a$ it's $$ $a$",
      '$_é1$x$_é1$',
      "'a'\n'b'",
      "'a' -- c\n  'b'",
      "E'a'\n'\\''",
      "'a'\n\n\t'b'\r'c'",
      "'é'",
      "'a' 'b'",
      "';'",
      "'\"'",
    ]);
  }

  #table(): string {
    return this.#pick(['t', 'T', 's.t', 's . t', '"T"', 'été', 'only t', 'pg_catalog.pg_class']);
  }

  #word(text: string): string {
    return this.#pick([text, text.toUpperCase(), text.charAt(0).toUpperCase() + text.slice(1)]);
  }

  #space(): string {
    return this.#pick([
      ' ',
      ' ',
      ' ',
      '\n',
      '\t ',
      '/* c */',
      '/* a /* b */ c */',
      ' -- c\n',
      '/**/ ',
      '\r\n',
      '\f',
      " /* ' */ ",
    ]);
  }

  #gap(): string {
    return this.#pick(['', '', ' ', '/**/']);
  }

  #pick<T>(from: ArrayLike<T>): T {
    return from[this.#below(from.length)]!;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }
}

const operators = [
  '+',
  '-',
  '*',
  '/',
  '%',
  '^',
  '=',
  '<',
  '>',
  '<=',
  '>=',
  '<>',
  '!=',
  '||',
  '->',
  '->>',
  '@>',
  '<@',
  '?',
  '?|',
  '#>>',
  '~~*',
  '!~',
  '&&',
  '@-',
  '+-',
  '*-',
  '-+',
  '<->',
  '@@',
  '&-',
  '=-',
  '<-',
  '>-',
  '|/',
  '<=>',
];

const soupTokens = [
  ...operators,
  "'a'",
  "'",
  '"',
  '""',
  '"a"',
  'E',
  "E'",
  "e'\\'",
  '\\',
  'b',
  "b'",
  'x',
  "X'1",
  'n',
  "N'",
  'U&',
  "U&'",
  'u&"a"',
  'uescape',
  '$',
  '$$',
  '$a$',
  '$1',
  '$1a',
  '$é$',
  '--',
  '/*',
  '*/',
  '/**/',
  '-- x\n',
  '1',
  '1.',
  '.1',
  '1..2',
  '1e',
  '1e5',
  '1a',
  '0x',
  '0xg',
  '0x1_',
  '1__0',
  '1_',
  '.',
  '..',
  '::',
  ':=',
  ':',
  '=>',
  ',',
  '(',
  ')',
  '[',
  ']',
  ';',
  '{',
  '}',
  'a',
  'A',
  'é',
  'in',
  'in (',
  'array[',
  'position(',
  '1,1',
  ',1',
  '1)',
  '- 1',
  '\v',
  '\0',
  '\u00a0',
  '\u2028',
  'select',
  'from t',
  '_',
  '#',
  '@',
  '?',
  '`',
  '|',
];

const oddBytes = '\'"\\$-/*;()[],.:+@ \n\r\t0e1xEUNb_&é?';
