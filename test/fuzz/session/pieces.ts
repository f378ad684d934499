// Statements a random program is put together from, by class; classes can be left out.

import type { Random } from '../../support/random.js';
import { checkSql, Trace } from './steps.js';

export const kinds = [
  'settings',
  'setconfig',
  'role',
  'characteristics',
  'transactions',
  'errors',
  'statements',
  'prepare',
  'temp',
  'advisory',
  'cursors',
  'sequences',
  /** Some of the programs run with `on_hazard.sequence` = `pin`. */
  'sequencepin',
  'listen',
  'discard',
  'functions',
  'load',
  'data',
  'multi',
  'pipelines',
  /** More after a Sync in the same write. */
  'syncs',
  'reconnect',
  'catalog',
  'constants',
  'encodings',
  /** Extended protocol in an aborted transaction. */
  'aborted',
  /** A wrong number of values for a statement. */
  'mismatch',
  /** The names of prepared statements read from their view. */
  'names',
] as const;
export type Kind = (typeof kinds)[number];

export interface Piece {
  readonly sql: string;
  /** For `$1`, `$2` ... in the text. */
  readonly values?: readonly string[];
  readonly trace?: number;
  readonly names?: readonly (readonly [name: string, trace: number])[];
  readonly uses?: readonly string[];
  /** What the client will believe is there afterwards, or no longer: so that most of what it draws next makes sense. */
  readonly makes?: string;
  readonly ends?: string;
}

/** What the pieces of one client's next step hang on. */
export interface Scene {
  readonly random: Random;
  readonly client: number;
  /** Nobody's connection before or after has the same: a server may be cleaned a moment after its client has left. */
  readonly incarnation: number;
  readonly superuser: boolean;
  /** `on_hazard.sequence` is `pin`. */
  readonly sequencesPin: boolean;
  readonly status: string;
  readonly has: (kind: Kind) => boolean;
  /** The `makes` of pieces drawn, less their `ends`. */
  readonly believed: ReadonlySet<string>;
}

export const statementNames = ['s1', 's2', 's3'] as const;
/**
 * Of statements that other settings, or the loss of a table, may keep from being prepared anew. They have no parameters: where
 * PostgreSQL counts those before it looks for the table, weir says that there is no table: a documented limit.
 */
export const fragileNames = ['f1', 'f2'] as const;
/** Of DISCARD ALL and DEALLOCATE ALL. */
export const forgettingName = 'd1';
export const schemas = ['public', 'sa', 'sb', 'B c'] as const;

/** What a user may set, with values it may have; those that would show times or disturb the run are not here. */
const userSettings: readonly (readonly [string, readonly string[]])[] = [
  ['work_mem', ["'1MB'", "'2MB'", '3000', "'5MB'", '64', "'12345kB'"]],
  ['statement_timeout', ['60000', "'5min'", '0', "'90s'"]],
  ['lock_timeout', ['60000', "'2min'"]],
  ['idle_in_transaction_session_timeout', ['600000', "'11min'"]],
  ['timezone', ["'UTC'", "'Europe/Rome'", "'Asia/Tokyo'", '5', "'<+03>-03'", "'GMT'"]],
  ['datestyle', ["'ISO, DMY'", 'german', 'iso, ymd', "'SQL, DMY'", 'postgres']],
  ['intervalstyle', ['iso_8601', 'sql_standard', "'postgres_verbose'", 'postgres']],
  ['extra_float_digits', ['0', '1', '-3', '3']],
  ['bytea_output', ['escape', "'hex'"]],
  [
    'search_path',
    ['sa', 'sb, public', '"B c", sa', "''", '"$user", public', 'pg_temp, public', "'sa, sb'", 'sb,pg_catalog'],
  ],
  ['application_name', ["'it''s'", 'plain', "'two words'", "'\\'", "''"]],
  ['client_min_messages', ['warning', 'error', "'notice'"]],
  ['standard_conforming_strings', ['off', 'on']],
  ['escape_string_warning', ['off', 'on']],
  ['backslash_quote', ['on', 'off', 'safe_encoding']],
  ['default_transaction_isolation', ["'serializable'", "'repeatable read'", "'read committed'"]],
  ['default_transaction_read_only', ['on', 'off', 'off']],
  ['default_transaction_deferrable', ['on', 'off']],
  ['enable_seqscan', ['off', 'on', 'false', '1']],
  ['enable_hashjoin', ['no', 'yes']],
  ['random_page_cost', ['1.5', '2', '1.25']],
  ['plan_cache_mode', ['force_generic_plan', 'force_custom_plan', 'auto']],
  ['array_nulls', ['off', 'on']],
  ['quote_all_identifiers', ['on', 'off']],
  ['row_security', ['off', 'on']],
  ['lc_monetary', ["'C'"]],
  ['lc_numeric', ["'C'", "'POSIX'"]],
  ['xmlbinary', ['hex', 'base64']],
  // Not default_text_search_config: how it is quoted was decided by quote_all_identifiers when it was set, a documented limit.
  ['password_encryption', ["'md5'", "'scram-sha-256'"]],
  ['synchronous_commit', ['off', 'local', 'on']],
  ['constraint_exclusion', ['on', 'partition']],
  ['gin_fuzzy_search_limit', ['10', '0']],
  ['temp_tablespaces', ["''", 'pg_default']],
  ['vacuum_cost_delay', ['5', '0.5']],
  ['jit', ['off', 'on']],
  ['app.x', ["'1'", "'it''s'", "'a,b'", 'word', '17', "'  '", "'\\n'", "'\u00e9'"]],
  ['app.y', ["'2'", "''", '\'"q"\'']],
  ['"My".z', ["'3'", 'on']],
];
const superSettings: readonly (readonly [string, readonly string[]])[] = [
  ['session_replication_role', ['replica', 'origin', 'local']],
  ['zero_damaged_pages', ['on', 'off']],
  ['log_min_duration_statement', ['100000', '-1']],
  ['lc_messages', ["'C'"]],
  ['deadlock_timeout', ["'20s'", '15000']],
];
const wrongSettings = [
  "work_mem = 'much'",
  'nonsense = 1',
  'datestyle = 7',
  "timezone = 'Nowhere/Land'",
  'port = 1',
  'search_path.x.y = 1',
  "log_min_messages = 'none'",
];
const encodings = ['LATIN1', 'UTF8', 'SQL_ASCII', 'WIN1252', 'EUC_JP', 'SJIS', 'LATIN2'] as const;
const roles = ['role_a', 'role_b'] as const;

function setting(scene: Scene): readonly [name: string, value: string] {
  const { random } = scene;
  const [name, values] = random.pick(scene.superuser && random.oneIn(6) ? superSettings : userSettings);
  return [name, random.pick(values)];
}

function unquoted(value: string): string {
  return value.startsWith("'") ? value.slice(1, -1).replaceAll("''", "'") : value;
}

export function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** For a function's argument: plain name, plain value, and none that PostgreSQL would not take from anywhere. */
function plainSetting(scene: Scene): readonly [name: string, value: string] {
  for (;;) {
    const [name, value] = setting(scene);
    if (!name.includes('"') && !value.includes('\\') && name !== 'timezone') return [name, unquoted(value)];
  }
}

/** No dots: a function's text hides under which name it sets something, and weir cannot list such names. */
function hiddenSetting(scene: Scene): readonly [name: string, value: string] {
  for (;;) {
    const found = plainSetting(scene);
    if (!found[0].includes('.')) return found;
  }
}

const settingsPiece = (scene: Scene): Piece => {
  const { random } = scene;
  const [name, value] = setting(scene);
  const at = scene.status === 'T' && random.oneIn(3) ? 'local ' : random.oneIn(6) ? 'session ' : '';
  const sql = random.weighted<() => string>([
    [12, () => `set ${at}${name} ${random.pick(['=', 'to'])} ${value}`],
    [1, () => `set ${at}${name} to default`],
    [3, () => `reset ${name}`],
    [1, () => 'reset all'],
    [
      1,
      () =>
        `set ${at}time zone ${random.pick(["'Asia/Tokyo'", 'local', 'default', "interval '+02:00' hour to minute", '-3'])}`,
    ],
    [1, () => `set ${at}schema ${random.pick(["'sa'", "'B c'", "'public'"])}`],
    [1, () => `set ${at}names ${random.pick(["'UTF8'", 'default'])}`],
    [1, () => `set ${random.pick(wrongSettings)}`],
    [1, () => `SET  /* why */ ${at}"${random.pick(['work_mem', 'app.x'])}"='${random.pick(['7MB', '8MB'])}' ;`],
    [5, () => `show ${name.includes('.') ? 'work_mem' : name}`],
    [
      4,
      () =>
        `select current_setting('${name.replaceAll('"', '')}', true) is not distinct from '' or current_setting('${name.replaceAll('"', '')}', true) is null, coalesce(current_setting('${name.replaceAll('"', '')}', true), '')`,
    ],
    [1, () => 'reset time zone'],
  ])();
  return { sql };
};

const setconfigPiece = (scene: Scene): Piece => {
  const { random } = scene;
  const [name, value] = plainSetting(scene);
  const local = random.oneIn(4);
  return random.weighted<() => Piece>([
    [4, () => ({ sql: `select set_config('${name}', ${quote(value)}, ${local})` })],
    [4, () => ({ sql: 'select pg_catalog.set_config($1, $2, $3)', values: [name, value, String(local)] })],
    [3, () => ({ sql: `select set_config('${name}', $1, ${local})`, values: [value] })],
    [
      3,
      () => {
        const [hidden, plain] = hiddenSetting(scene);
        return {
          sql: random.pick([
            `select set_config(lower('${hidden.toUpperCase()}'), ${quote(plain)} || '', false)`,
            `select set_config(n, v, false) from (values ('${hidden}', ${quote(plain)})) as x(n, v)`,
            `with c as (select set_config('${hidden}', ${quote(plain)}, false) as s) select s from c`,
          ]),
        };
      },
    ],
    [
      1,
      () => ({
        sql: "select set_config('work_mem', $1, false), set_config('app.x', $2, false)",
        values: ['6MB', 'both'],
      }),
    ],
    [1, () => ({ sql: "select set_config('role', $1, false)", values: [random.pick(['role_a', 'none', 'missing'])] })],
    [1, () => ({ sql: "update pg_catalog.pg_settings set setting = '4321' where name = 'work_mem'" })],
    [1, () => ({ sql: `select set_config('work_mem', case when 1/${random.below(2)} = 1 then '9MB' end, false)` })],
  ])();
};

const rolePiece = ({ random, superuser, status }: Scene): Piece => {
  const local = status === 'T' && random.oneIn(4) ? 'local ' : '';
  const role = random.pick(roles);
  return {
    sql: random.weighted<string>([
      [4, `set ${local}role ${role}`],
      [1, `set session role '${role}'`],
      [2, 'reset role'],
      [1, 'set role none'],
      [1, 'set role missing'],
      [4, 'select current_user, session_user'],
      [2, 'select v from secret_a'],
      [1, 'show role'],
      [superuser ? 3 : 1, `set ${local}session authorization ${random.pick(['plain', 'role_b'])}`],
      [superuser ? 2 : 1, random.pick(['reset session authorization', 'set session authorization default'])],
    ]),
  };
};

const characteristicsPiece = ({ random }: Scene): Piece => ({
  sql: random.pick([
    'set session characteristics as transaction read only',
    'set session characteristics as transaction read write',
    'set session characteristics as transaction isolation level serializable',
    'set session characteristics as transaction isolation level read committed, read write',
    'set session characteristics as transaction isolation level repeatable read, read only, deferrable',
    'show transaction_isolation',
    'show transaction_read_only',
    'show default_transaction_isolation',
    'set transaction isolation level repeatable read',
    'set transaction read only',
  ]),
});

const transactionsPiece = ({ random, status }: Scene): Piece => {
  const savepoint = random.pick(['a', 'b']);
  const inside: readonly (readonly [number, string])[] = [
    [9, 'commit'],
    [4, 'rollback'],
    [5, `savepoint ${savepoint}`],
    [4, `rollback to savepoint ${savepoint}`],
    [3, `release ${savepoint}`],
    [1, random.pick(['commit and chain', 'rollback and chain'])],
    [1, 'begin'],
    [1, random.pick(['end', 'abort'])],
  ];
  const outside: readonly (readonly [number, string])[] = [
    [10, 'begin'],
    [1, 'start transaction isolation level repeatable read'],
    [1, 'begin read only'],
    [1, random.pick(['commit', 'rollback', 'savepoint a'])],
  ];
  return { sql: random.weighted(status === 'I' ? outside : inside) };
};

const errorsPiece = ({ random }: Scene): Piece => ({
  sql: random.pick([
    'select 1/0',
    'selec nonsense',
    'select * from missing',
    'insert into parent(v) values (-1)',
    "do $$ begin raise exception 'on purpose' using errcode = 'P0007', hint = 'none'; end $$",
    "select 'x'::int",
    "do $$ begin raise notice 'noted'; raise warning 'warned'; end $$",
  ]),
});

const tempPiece = ({ random, client, believed }: Scene): Piece => {
  const table = random.pick(['tt1', 'tt2']);
  const there = believed.has(table);
  const [make, use] = there ? [1, 4] : [5, 1];
  const makes = table;
  const trace = Trace.Holds;
  return random.weighted<Piece>([
    [2 * make, { sql: `create temp table ${table}(v text)`, trace, makes }],
    [make, { sql: `create temporary table if not exists ${table} as select 'x'::text as v`, trace, makes }],
    [
      make,
      { sql: `create temp table ${table}(v text) on commit ${random.pick(['drop', 'delete rows'])}`, trace, makes },
    ],
    [make, { sql: `select 'into'::text as v into temp ${table}`, trace, makes }],
    [make, { sql: `create table pg_temp.${table}(v text)`, trace, makes }],
    [2 * use, { sql: `insert into ${table} values ('row ${random.below(9)}')` }],
    [3 * use, { sql: `select count(*), min(v) from ${table}` }],
    [2 * use, { sql: `drop table ${table}`, ends: table }],
    [use, { sql: `drop table if exists pg_temp.${table}`, ends: table }],
    [1, { sql: 'create temp table shadowed(v text)', trace }],
    [2, { sql: 'select v from shadowed' }],
    [1, { sql: 'drop table if exists pg_temp.shadowed' }],
    [1, { sql: "create or replace temp view tv as select 'view'::text as v", trace }],
    [1, { sql: 'drop view if exists tv' }],
    [1, { sql: 'select v from tv' }],
    // Temporary where search_path begins with pg_temp.
    [1, { sql: `create table own_${client}(v text)`, trace }],
    [1, { sql: `drop table if exists own_${client}` }],
    [1, { sql: `select count(*) from own_${client}` }],
    [1, { sql: "create function pg_temp.tf() returns int language sql as 'select 7'", trace }],
    [1, { sql: 'select pg_temp.tf()' }],
    [1, { sql: 'drop function if exists pg_temp.tf()' }],
  ]);
};

const advisoryPiece = ({ random, client, incarnation }: Scene): Piece => {
  const key = (client * 1_000 + incarnation) * 10 + random.below(3);
  const lock = random.pick([
    'pg_advisory_lock',
    'pg_try_advisory_lock',
    'pg_advisory_lock_shared',
    'pg_try_advisory_lock_shared',
  ]);
  return random.weighted<() => Piece>([
    [5, () => ({ sql: `select ${lock}(${key})`, trace: Trace.Holds })],
    [2, () => ({ sql: `select ${lock}($1)`, values: [String(key)], trace: Trace.Holds })],
    [1, () => ({ sql: `select ${lock}(${client}, ${key})`, trace: Trace.Holds })],
    [5, () => ({ sql: `select pg_advisory_unlock(${key})` })],
    [2, () => ({ sql: 'select pg_advisory_unlock($1)', values: [String(key)] })],
    [2, () => ({ sql: `select pg_advisory_unlock_shared(${key})` })],
    [1, () => ({ sql: `select pg_advisory_unlock(${client}, ${key})` })],
    [2, () => ({ sql: 'select pg_advisory_unlock_all()' })],
    [2, () => ({ sql: `select pg_advisory_xact_lock(${key})` })],
    [1, () => ({ sql: `select pg_try_advisory_xact_lock_shared(${key})` })],
    [
      1,
      () => ({
        sql: `select case when ${random.below(2)} = 1 then pg_try_advisory_lock(${key}) end`,
        trace: Trace.Holds,
      }),
    ],
  ])();
};

const cursorsPiece = ({ random, believed }: Scene): Piece => {
  const name = random.pick(['h1', 'h2']);
  const there = believed.has(name);
  const [make, use] = there ? [1, 3] : [4, 1];
  const trace = Trace.Holds;
  return random.weighted<Piece>([
    [3 * make, { sql: `declare ${name} cursor with hold for values (1), (2), (3), (4)`, trace, makes: name }],
    [make, { sql: `declare ${name} scroll cursor with hold for select v from t`, trace, makes: name }],
    [1, { sql: `declare ${name} cursor for select generate_series(1, 5)` }],
    [4 * use, { sql: `fetch ${random.pick(['1', '2', 'all', 'next'])} from ${name}` }],
    [use, { sql: `move 1 in ${name}` }],
    [2 * use, { sql: `close ${name}`, ends: name }],
    [1, { sql: 'close all' }],
  ]);
};

/**
 * Unless sequences pin, a value is asked for in the statement that took it, or by a client that took none: across
 * transactions weir answers 55000 to the first to ask. A client that asks keeps its server from then on.
 */
const sequencesPiece = (scene: Scene): Piece => {
  const { random, sequencesPin } = scene;
  const name = random.pick(['seq_a', 'seq_b']);
  const next = Trace.TakesNext | (sequencesPin ? Trace.HoldsOn : 0);
  const asks = Trace.TakesNext | Trace.HoldsOn;
  const take: Piece = { sql: `select nextval('${name}')`, trace: next };
  const insert: Piece = { sql: `insert into notes(client, note) values (${scene.client}, 'n')`, trace: next };
  const ask: Piece = {
    sql: random.pick([`select currval('${name}')`, `select currval('${name}')`, 'select lastval()']),
    trace: Trace.Asks | Trace.HoldsOn,
  };
  const both: Piece = { sql: `select nextval('${name}'), currval('${name}'), lastval()`, trace: asks };
  return random.weighted<Piece>([
    [6, take],
    [2, insert],
    [2, { sql: 'insert into parent(v) values (1) returning id', trace: next }],
    [sequencesPin ? 5 : 1, ask],
    [sequencesPin ? 2 : 1, both],
    [sequencesPin ? 1 : 0, { sql: `select setval('${name}', ${100 + random.below(50)})`, trace: asks }],
  ]);
};

let payload = 0;
export function restartPayloads(): void {
  payload = 0;
}

const listenPiece = ({ random }: Scene): Piece => {
  const channel = random.pick(['c1', 'c2', '"C 3"']);
  const plain = channel.replaceAll('"', '');
  return random.weighted<() => Piece>([
    [4, () => ({ sql: `listen ${channel}`, trace: Trace.Listens })],
    [2, () => ({ sql: `unlisten ${channel}` })],
    [1, () => ({ sql: 'unlisten *' })],
    [4, () => ({ sql: `notify ${channel}, 'p${payload++}'`, trace: Trace.Notifies })],
    [1, () => ({ sql: `notify ${channel}`, trace: Trace.Notifies })],
    [3, () => ({ sql: `select pg_notify('${plain}', $1)`, values: [`p${payload++}`], trace: Trace.Notifies })],
  ])();
};

const discardPiece = ({ random }: Scene): Piece =>
  random.weighted<Piece>([
    [4, { sql: 'discard all', ends: '*' }],
    [2, { sql: 'discard plans' }],
    [2, { sql: 'discard temp' }],
    [2, { sql: 'discard sequences' }],
    [2, { sql: 'deallocate all', ends: '*' }],
    [1, { sql: 'DISCARD ALL ;', ends: '*' }],
    [1, { sql: 'close all' }],
    [1, { sql: 'reset all' }],
  ]);

const functionsPiece = (scene: Scene): Piece => {
  const { random, client, incarnation } = scene;
  const [name, value] = hiddenSetting(scene);
  const [n, v] = [quote(name), quote(value)];
  const key = (client * 1_000 + incarnation) * 10 + random.below(3);
  return random.weighted<() => Piece>([
    [4, () => ({ sql: `select f_set(${n}, ${v})` })],
    [2, () => ({ sql: 'select f_set($1, $2)', values: [name, value] })],
    [2, () => ({ sql: `select f_local(${n}, ${v})` })],
    [3, () => ({ sql: `do $$ begin perform set_config(${n}, ${v}, false); end $$` })],
    [1, () => ({ sql: `do $$ begin execute 'set work_mem = ''${1 + random.below(9)}MB'''; end $$` })],
    [1, () => ({ sql: `do $$ begin execute 'set role ${random.pick(roles)}'; end $$` })],
    [1, () => ({ sql: `call p_set(${n}, ${v})` })],
    [1, () => ({ sql: `call p_commit(${n}, ${v})` })],
    [1, () => ({ sql: `select f_fail(${n}, ${v})` })],
    [1, () => ({ sql: `select f_caught(${n}, ${v})` })],
    [1, () => ({ sql: 'select f_clause()' })],
    [1, () => ({ sql: `select f_lock(${key})`, trace: Trace.Holds })],
    [1, () => ({ sql: `select pg_advisory_unlock(${key})` })],
    [1, () => ({ sql: "select f_temp('tt1')", trace: Trace.Holds })],
    [1, () => ({ sql: 'select count(*), min(v) from tt1' })],
    [1, () => ({ sql: 'select f_nothing()' })],
  ])();
};

const loadPiece = ({ random, superuser }: Scene): Piece =>
  random.weighted<Piece>([
    [superuser ? 1 : 0, { sql: "load 'auto_explain'", trace: Trace.HoldsOn }],
    [2, { sql: `select setseed(0.${1 + random.below(9)}); select random(), random()`, trace: Trace.HoldsOn }],
    [1, { sql: `set seed = 0.${1 + random.below(9)}; select random()`, trace: Trace.HoldsOn }],
  ]);

const dataPiece = ({ random, client }: Scene): Piece =>
  random.weighted<() => Piece>([
    [4, () => ({ sql: 'select v from t' })],
    [3, () => ({ sql: `select $1::int + ${random.below(5)}`, values: [String(random.below(50))] })],
    [
      2,
      () => ({
        sql: "select 1.0::float8/3, '\\xdeadbeef'::bytea, '1 day 2 hours'::interval, timestamptz '2024-02-03 04:05:06+00'",
      }),
    ],
    [2, () => ({ sql: `insert into plain_rows values (${client}, $1)`, values: [`r${random.below(100)}`] })],
    [2, () => ({ sql: 'select client, count(*) from plain_rows group by client order by client' })],
    [1, () => ({ sql: 'copy (values (1, 2), (3, 4)) to stdout' })],
    [1, () => ({ sql: "select 'a\\'||'b', array_agg(n) from generate_series(1, 3) n" })],
    [1, () => ({ sql: '' })],
    [1, () => ({ sql: "explain (costs off) select * from t where v = 'x'" })],
    [1, () => ({ sql: '-- nothing' })],
  ])();

const catalogPiece = ({ random, has }: Scene): Piece =>
  random.weighted<Piece>([
    [has('names') ? 2 : 0, { sql: 'select name from pg_prepared_statements order by name' }],
    [2, { sql: checkSql }],
    [
      1,
      {
        sql: "select name, setting from pg_settings where name in ('work_mem', 'search_path', 'DateStyle', 'role') order by name",
      },
    ],
    [1, { sql: 'select name from pg_cursors where is_holdable order by name' }],
  ]);

const encodingsPiece = ({ random }: Scene): Piece => {
  const encoding = random.pick(encodings);
  return {
    sql: random.weighted<string>([
      [3, `set client_encoding = '${encoding}'`],
      [1, `set names '${encoding}'`],
      [1, 'reset client_encoding'],
      [1, 'show client_encoding'],
      [3, "select 'caf\u00e9'::text, length('caf\u00e9')"],
      [1, "select U&'\\00e9\\0142'"],
      [2, "set app.x = 'caf\u00e9'"],
    ]),
  };
};

/** Texts whose meaning hangs on settings at the time they are read. */
const constantsPiece = ({ random }: Scene): Piece => ({
  sql: random.pick([
    "select '01/02/2024'::date::text",
    "select 'x\\'::text",
    "select '2024-01-01 00:00'::timestamptz at time zone 'UTC'",
  ]),
});

/** What is looked up by search_path, or may be gone. */
const lookedUp = /(?<!public\.)\b(t|tt1|tt2|shadowed|tv|own_\d|secret_a|plain_rows|seq_a|f_\w+|p_\w+|tf)\b/;

export function isFragile({ sql }: Piece): boolean {
  return lookedUp.test(sql);
}

/** A text to be executed by name later, perhaps often. */
function preparable(scene: Scene, fragile: boolean): Piece {
  return fitting(() => anyPreparable(scene), fragile);
}

function fitting(draw: () => Piece, fragile: boolean): Piece {
  for (;;) {
    const piece = draw();
    // Behind a Parse that weir answers without a server, which takes no snapshot, PostgreSQL would refuse it and the server does not.
    if (/^set transaction isolation|^(discard|deallocate) all/i.test(piece.sql)) continue;
    // Whether it notices a temporary table of that name that is made later hangs on whether its server has ever had one.
    if (isFragile(piece) === fragile && !(fragile && piece.values !== undefined))
      return piece.sql === 'select v from shadowed' ? { sql: 'select v from t' } : piece;
  }
}

function anyPreparable(scene: Scene): Piece {
  const { random, client, incarnation, sequencesPin, has } = scene;
  const key = incarnation * 10 + random.below(3);
  // Whatever value it is given, as one meant for another statement: no other client waits for the lock.
  const lock = `${(client + 1) * 1_000_000} + $1::bigint`;
  const next = Trace.TakesNext | (sequencesPin ? Trace.HoldsOn : 0);
  return random.weighted<Piece>([
    [4, { sql: 'select v from t' }],
    [4, { sql: 'select $1::int + 1', values: [String(random.below(9))] }],
    [2, { sql: 'select $1::text || $2::text', values: ['a', 'b'] }],
    [2, { sql: "select current_setting('work_mem'), current_user" }],
    [2, { sql: 'values (1), (2), (3), (4)' }],
    [1, { sql: 'select 1/$1::int', values: [String(random.below(2))] }],
    [2, { sql: 'insert into public.plain_rows values ($1::int, $2)', values: [String(client), 'p'] }],
    [1, { sql: 'select count(*) from plain_rows' }],
    [
      has('setconfig') ? 2 : 0,
      { sql: "select set_config('work_mem', $1, false)", values: [random.pick(['1MB', '2MB', 'bad'])] },
    ],
    [
      has('setconfig') ? 1 : 0,
      { sql: 'select set_config($1, $2, false)', values: [random.pick(['app.x', 'work_mem']), '5MB'] },
    ],
    [
      has('functions') ? 1 : 0,
      { sql: "select public.f_set('lock_timeout', $1)", values: [random.pick(['61s', '62s'])] },
    ],
    [has('advisory') ? 1 : 0, { sql: `select pg_advisory_lock(${lock})`, values: [String(key)], trace: Trace.Holds }],
    [has('advisory') ? 1 : 0, { sql: `select pg_advisory_unlock(${lock})`, values: [String(key)] }],
    [has('temp') ? 2 : 0, { sql: 'select count(*), min(v) from tt1' }],
    [has('temp') ? 1 : 0, { sql: "insert into tt1 values ('by name')" }],
    [has('temp') ? 1 : 0, { sql: 'select v from shadowed' }],
    [has('sequences') ? 1 : 0, { sql: "select nextval('seq_a')", trace: next }],
    [has('listen') ? 1 : 0, { sql: "select pg_notify('c1', $1)", values: [`p${payload++}`], trace: Trace.Notifies }],
    [has('constants') ? 2 : 0, constantsPiece(scene)],
  ]);
}

/** What the protocol can prepare and PREPARE cannot. Nothing that does not parse: weir may say first that the name is taken. */
export function protocolPreparable(scene: Scene, fragile: boolean): Piece {
  const { random, has } = scene;
  if (!random.oneIn(5)) return preparable(scene, fragile);
  const candidates: (() => Piece)[] = [];
  if (!fragile) {
    candidates.push(
      (): Piece => ({ sql: 'begin' }),
      (): Piece => ({ sql: random.pick(['commit', 'rollback']) }),
      (): Piece => ({ sql: '' }),
    );
  }
  for (const kind of [
    'settings',
    'role',
    'temp',
    'listen',
    'discard',
    'cursors',
    'functions',
    'characteristics',
  ] as const)
    if (has(kind)) candidates.push(() => pieces[kind](scene));
  return fitting(() => (candidates.length === 0 ? anyPreparable(scene) : random.pick(candidates)()), fragile);
}

/** Mostly one that is believed to be there; or not there, to be made. */
export function drawName({ random, believed }: Scene, wanted: 'there' | 'free', fragile: boolean): string {
  if (!fragile && random.oneIn(25)) return 'S 4';
  const names = fragile ? fragileNames : statementNames;
  const fit = names.filter((name) => believed.has(name) === (wanted === 'there'));
  return random.pick(fit.length > 0 && !random.oneIn(8) ? fit : names);
}

const preparePiece = (scene: Scene): Piece => {
  const { random, believed } = scene;
  const fragile = random.oneIn(4);
  const found = drawName(scene, 'there', fragile);
  const fresh = drawName(scene, 'free', fragile);
  const [quoted, freshQuoted] = [`"${found}"`, random.oneIn(2) && fresh !== 'S 4' ? fresh : `"${fresh}"`];
  const { sql, trace = 0, values = [] } = preparable(scene, fragile);
  const [make, use] = [...statementNames, ...fragileNames].some((name) => believed.has(name)) ? [2, 3] : [6, 1];
  return random.weighted<Piece>([
    [3 * make, { sql: `prepare ${freshQuoted} as ${sql}`, names: [[fresh, trace]], makes: fresh }],
    [fragile ? 0 : make, { sql: `prepare ${freshQuoted}(int) as select $1 + 1`, names: [[fresh, 0]], makes: fresh }],
    [3 * use, { sql: `execute ${quoted}`, uses: [found] }],
    [fragile ? 0 : 3 * use, { sql: `execute ${quoted}(${random.pick(['1', "'2'", '3', '0'])})`, uses: [found] }],
    [values.length === 2 ? use : 0, { sql: `execute ${quoted}('app.x', '7MB')`, uses: [found] }],
    [1, { sql: `explain (costs off) execute ${quoted}`, uses: [found] }],
    [1, { sql: `create temp table tt2 as execute ${quoted}`, uses: [found], trace: Trace.Holds }],
    [use, { sql: `deallocate ${random.pick(['', 'prepare '])}${quoted}`, ends: found }],
    [1, { sql: 'deallocate all', ends: '*' }],
    [1, { sql: `prepare ${freshQuoted} as selec nonsense` }],
  ]);
};

/** The classes that are statements; the others are ways to send them. */
export const pieces = {
  settings: settingsPiece,
  setconfig: setconfigPiece,
  role: rolePiece,
  characteristics: characteristicsPiece,
  transactions: transactionsPiece,
  errors: errorsPiece,
  prepare: preparePiece,
  temp: tempPiece,
  advisory: advisoryPiece,
  cursors: cursorsPiece,
  sequences: sequencesPiece,
  listen: listenPiece,
  discard: discardPiece,
  functions: functionsPiece,
  load: loadPiece,
  data: dataPiece,
  catalog: catalogPiece,
  constants: constantsPiece,
  encodings: encodingsPiece,
} as const satisfies Partial<Record<Kind, (scene: Scene) => Piece>>;

/** How often each is drawn. */
export const weights: Readonly<Record<keyof typeof pieces, number>> = {
  settings: 18,
  setconfig: 7,
  role: 6,
  characteristics: 3,
  transactions: 16,
  errors: 4,
  prepare: 12,
  temp: 7,
  advisory: 5,
  cursors: 4,
  sequences: 4,
  listen: 7,
  discard: 3,
  functions: 6,
  load: 1,
  data: 10,
  catalog: 4,
  constants: 2,
  encodings: 3,
};
