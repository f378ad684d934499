// pg_dump, pg_restore and psql's describing commands give through weir, byte by byte, what they give on a direct connection.

import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import t from 'tap';
import { type PostgresVersion, postgresVersions, temporaryDirectory } from '../../support/index.js';
import { database, type Place, type Ran, run, startRig } from './rig.js';

const tools = ['psql', 'pg_dump', 'pg_restore'] as const;

/** The tools' common version; pg_dump wants a server that is not newer. */
function toolsVersion(): PostgresVersion | string {
  const versions = tools.map((tool) => {
    const { error, stdout } = spawnSync(tool, ['--version'], { encoding: 'utf8' });
    return error === undefined ? Number(/\) (\d+)/.exec(stdout)?.[1]) : undefined;
  });
  const missing = tools.filter((_, n) => versions[n] === undefined);
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`;
  const oldest = Math.min(...versions.map(Number));
  return postgresVersions.filter((version) => version <= oldest).at(-1) ?? `the tools are of version ${oldest}`;
}

/** What a database of some age has: every kind of object that pg_dump and psql describe, with names that need quotes. */
const content = `
create schema shop;
create schema "Odd ""schema""";
comment on schema shop is 'what is sold';
create type shop.mood as enum ('sad', 'it''s ok', 'happy');
create type shop.point3 as (x int, y int, label text);
create type shop.span as range (subtype = timestamptz);
create domain shop.positive as int check (value > 0);
create sequence shop.counter start 5 increment 3 cache 2 cycle maxvalue 500;
create function shop.twice(n int, out result int) language sql immutable as 'select n * 2';
create function shop.describe(v anyelement, variadic rest text[] default '{}') returns text language plpgsql stable as $f$
begin
  -- It keeps its comments, 'quotes' and $dollars$.
  return format('%s and %s', v, array_to_string(rest, E'\\t'));
end
$f$;
comment on function shop.twice(int) is 'two times';
create procedure shop.tidy(inout n int) language plpgsql as 'begin n := n + 1; end';
create function shop.touch() returns trigger language plpgsql as 'begin new.at := now(); return new; end';
create aggregate shop.longest(text) (sfunc = textcat, stype = text, initcond = '');
create operator shop.=== (leftarg = int, rightarg = int, function = int4eq, commutator = operator(shop.===));
create table shop.customer (
  id bigint generated always as identity primary key,
  name varchar(40) not null default 'some one',
  born date default '2000-01-02',
  born_at timestamptz default '2026-01-02 03:04:05+00',
  height float8 default 0.1,
  bytes bytea default '\\x00ff',
  spare interval default '1 day 02:03:04',
  mood shop.mood default 'happy',
  place shop.point3,
  tags text[] default '{a,"b c"}',
  extra jsonb default '{"a": [1, 2]}',
  doubled int generated always as (length(name) * 2) stored,
  at timestamptz,
  constraint "a 'check'" check (length(name) > 1)
);
comment on table shop.customer is E'people\\nover two lines';
comment on column shop.customer.mood is 'how they are';
create trigger touching before update on shop.customer for each row when (old.name is distinct from new.name) execute function shop.touch();
create unique index customer_name on shop.customer (lower(name) text_pattern_ops, born desc nulls last) include (height) where born is not null;
create index customer_extra on shop.customer using gin (extra);
create statistics shop.customer_stats (dependencies, ndistinct) on name, born from shop.customer;
alter table shop.customer alter column height set statistics 200, alter column name set storage external;
create table shop."Order" (
  id int, customer bigint references shop.customer on delete cascade deferrable initially deferred,
  day date not null, amount shop.positive, note text collate "C", primary key (id, day)
) partition by range (day);
create table shop.order_2025 partition of shop."Order" for values from ('2025-01-01') to ('2026-01-01');
create table shop.order_2026 partition of shop."Order" for values from ('2026-01-01') to ('2027-01-01') partition by hash (id);
create table shop.order_2026_0 partition of shop.order_2026 for values with (modulus 2, remainder 0);
create table shop.order_2026_1 partition of shop.order_2026 for values with (modulus 2, remainder 1);
create table shop.order_rest partition of shop."Order" default;
create index on shop."Order" (customer);
create table "Odd ""schema""".parent (a int, "column with "" quote" text);
create table "Odd ""schema""".child (b numeric(10, 2)) inherits ("Odd ""schema""".parent) with (fillfactor = 70);
create unlogged table shop.scratch (t text);
alter table "Odd ""schema""".child replica identity full;
create view shop.recent with (security_barrier) as
  select c.name, o.day, o.amount from shop.customer c join shop."Order" o on o.customer = c.id where o.day > '2025-06-01' order by o.day with no data
`
  .replace(' with no data', '')
  .concat(`;
create materialized view shop.totals as select customer, sum(amount) as total from shop."Order" group by 1 with no data;
create view shop.changeable as select id, name from shop.customer where id > 0 with local check option;
create rule quiet as on insert to shop.scratch where new.t is null do instead nothing;
alter table shop.customer enable row level security;
create policy own on shop.customer for select to public using (name = current_user or mood > 'sad');
create role reader nologin;
grant usage on schema shop to reader;
grant select, update (name) on shop.customer to reader with grant option;
grant execute on function shop.twice(int) to reader;
revoke execute on procedure shop.tidy(int) from public;
alter default privileges in schema shop grant select on tables to reader;
alter role reader set work_mem to '9MB';
alter function shop.twice(int) set search_path to shop, pg_catalog;
create text search configuration shop.english (copy = pg_catalog.english);
create event trigger noticing on ddl_command_end when tag in ('DROP TABLE') execute function shop.noticed();
create publication news for table shop.customer;
insert into shop.customer (name, place, at)
  select 'customer ' || n, row(n, -n, E'tab\\t and \\\\ ' || n)::shop.point3, timestamptz '2026-01-01 00:00+00' + n * interval '1 hour'
  from generate_series(1, 500) n;
insert into shop."Order" select n, 1 + n % 500, date '2024-06-01' + n, n, case when n % 3 > 0 then E'note\\n' || n end from generate_series(1, 900) n;
insert into "Odd ""schema""".child values (1, 'x', 1.5), (null, null, null);
refresh materialized view shop.totals;
select setval('shop.counter', 50);
`);

const largeObjects = `select lo_from_bytea(0, decode(repeat('00ff27', 20000), 'hex')); select lo_from_bytea(0, ''); select lo_create(0);`;

/** What psql has for each kind of object, and with details. */
const describing = `
\\d
\\d+
\\d shop.*
\\d+ shop.*
\\d "Odd ""schema""".*
\\d+ "Odd ""schema""".*
\\dt *.*
\\dt+ shop.*
\\dti+ shop.*
\\di+ shop.*
\\dv+ shop.*
\\dm+ shop.*
\\ds+ shop.*
\\dn+
\\df+ shop.*
\\dfa shop.*
\\da shop.*
\\do shop.*
\\dT+ shop.*
\\dD+ shop.*
\\dp shop.*
\\ddp
\\du+
\\drds
\\dx+
\\dy+
\\dRp+
\\dX shop.*
\\dP+ shop.*
\\dF+ shop.*
\\dd shop.*
\\dC+ integer
\\dO pg_catalog.C
\\pset format unaligned
\\db+
\\pset format aligned
\\dL+
\\dA+
\\dAc btree int4*
\\des
\\dconfig work_mem
\\l habits*
\\lo_list
\\z shop.*
\\sf+ shop.describe
\\sf shop.twice(int)
\\sv+ shop.recent
\\dt customer
set search_path to shop, public;
\\dt
\\d customer
\\d+ "Order"
\\df
\\dT
\\sf describe
set datestyle to 'German, DMY';
set bytea_output to 'escape';
set intervalstyle to 'iso_8601';
\\d customer
select * from customer order by id limit 3;
reset all;
\\pset format csv
select id, born_at, spare, bytes from shop.customer order by id limit 3;
\\x on
select * from shop."Order" order by id limit 2;
\\errverbose
select 1/0;
\\errverbose
begin;
savepoint a;
declare c cursor for select n from generate_series(1, 10) n;
fetch 3 from c;
rollback to a;
commit;
\\set FETCH_COUNT 7
select n from generate_series(1, 20) n;
\\gdesc
select 1 as one, 'x' as two \\gdesc
select 'select ' || n from generate_series(1, 3) n \\gexec
\\crosstabview
prepare q (int) as select $1 + 1;
execute q(41);
deallocate q;
select format('drop table if exists %I', 'none') \\gexec
\\encoding
\\encoding latin1
select length('x') as n, current_setting('client_encoding') as e;
\\encoding utf8
\\conninfo_is_not_a_command
\\echo :SERVER_VERSION_NUM :ENCODING :AUTOCOMMIT :ROW_COUNT
`;

const version = toolsVersion();

t.test('dumping, restoring and describing', { skip: typeof version === 'string' ? version : false }, async (t) => {
  if (typeof version === 'string') return;
  const rig = await startRig(t, {
    // The objects of superusers are dumped too.
    attributes: 'superuser',
    postgres: { version, settings: { timezone: 'GMT', datestyle: 'ISO, DMY', wal_level: 'logical' } },
  });
  const [direct, ...pooled] = rig.places as [Place, ...Place[]];
  const noticed = "create function shop.noticed() returns event_trigger language plpgsql as 'begin end';";
  const made = await run('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', direct.url()], {
    input: content.replace('create event trigger', `${noticed}\ncreate event trigger`) + largeObjects,
  });
  t.equal(made.code, 0, made.err);

  const good = async (command: string, args: readonly string[], input = ''): Promise<Ran> => {
    const ran = await run(command, args, { input });
    t.equal(ran.code, 0, `${command} ${args.slice(0, -1).join(' ')}: ${ran.err}`);
    return ran;
  };
  const dump = async (url: string, ...options: string[]): Promise<string> =>
    withoutKey((await good('pg_dump', [...options, url])).out);
  const all = await dump(direct.url());
  t.ok(all.length > 50_000, 'there is something to dump');
  t.match(all, /lowrite/);

  for (const place of pooled) {
    t.test(place.name, async (t) => {
      const others = place.mode === 'transaction' ? await Others.start(place) : undefined;
      try {
        for (const options of [
          [],
          ['--inserts', '--rows-per-insert=50', '--quote-all-identifiers'],
          ['--schema-only', '--no-owner', '--no-privileges'],
          ['--data-only', '--serializable-deferrable', '--column-inserts', '-t', 'shop.customer'],
          ['--clean', '--if-exists', '--create', '--no-blobs', '--load-via-partition-root'],
        ]) {
          const [wanted, got] = [await dump(direct.url(), ...options), await dump(place.url(), ...options)];
          t.ok(got === wanted, `pg_dump ${options.join(' ')}: ${firstDifference(wanted, got)}`);
        }

        const directory = temporaryDirectory(t);
        const file = join(directory, 'custom');
        await good('pg_dump', ['-Fc', '-f', file, place.url()]);
        const listed = withoutKey((await good('pg_restore', ['-f', '-', file])).out);
        t.ok(withoutComments(listed) === withoutComments(all), firstDifference(all, listed));

        // Each of its two workers takes the snapshot of the first connection: three servers at a time.
        if (place.servers > 2) {
          const folder = join(directory, 'parallel');
          await good('pg_dump', ['-Fd', '-j', '2', '-f', folder, place.url()]);
          t.ok(readdirSync(folder).length > 5);
          t.ok(readdirSync(folder).every((name) => statSync(join(folder, name)).size > 0));
        }

        const restored = `${database}_${place.mode}_${place.servers}`;
        for (const options of [
          ['--exit-on-error'],
          ['--exit-on-error', '--single-transaction', '--use-set-session-authorization'],
          ['--exit-on-error', '-j', '2'],
        ]) {
          if (options.includes('-j') && place.servers < 2) continue;
          await rig.server.query(`drop database if exists ${restored} with (force)`);
          await rig.server.query(`create database ${restored} owner app`);
          await good('pg_restore', [...options, '-d', place.url(restored), file]);
          const again = await dump(direct.url(restored));
          t.ok(again === all, `pg_restore ${options.join(' ')}: ${firstDifference(all, again)}`);
        }
        // And by psql, from the plain text, then dumped through the same place.
        await rig.server.query(`drop database if exists ${restored} with (force)`);
        await rig.server.query(`create database ${restored} owner app`);
        await good('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', place.url(restored)], all);
        const again = await dump(place.url(restored));
        t.ok(again === all, `psql: ${firstDifference(all, again)}`);

        const options = ['-X', '-a', '-E'];
        const wanted = await run('psql', [...options, direct.url()], { input: describing });
        const got = await run('psql', [...options, place.url()], { input: describing });
        t.ok(wanted.out.length > 50_000);
        const [said, saidDirectly] = [withoutSizes(got.out), withoutSizes(wanted.out)];
        t.match(said, /^pg_global\|.*\|size\|/m);
        t.ok(said === saidDirectly, `psql: ${firstDifference(saidDirectly, said)}`);
        t.equal(withoutPlace(got.err), withoutPlace(wanted.err));
        t.same(others?.wrong ?? [], [], 'the others kept their settings');
        t.ok(others === undefined || others.rounds > 0);
      } finally {
        await others?.stop();
      }
      await place.settled();
    });
  }
});

/** Clients with settings that would spoil a dump, at work on the same servers all the time. */
class Others {
  readonly wrong: string[] = [];
  rounds = 0;
  #stopped = false;
  #work: Promise<unknown> = Promise.resolve();

  static async start(place: Place): Promise<Others> {
    const others = new Others();
    const clients = await Promise.all(
      [1, 2].map(async (n) => {
        const client = new pg.Client(place.login);
        await client.connect();
        await client.query(
          `set search_path to ${n === 1 ? 'shop' : 'pg_catalog'}; set datestyle to 'SQL, MDY'; set extra_float_digits to -10;
           set bytea_output to 'escape'; set intervalstyle to 'sql_standard'; set quote_all_identifiers to on;
           set timezone to 'Asia/Tokyo'; set default_transaction_read_only to on; set statement_timeout to ${n * 10_000}`,
        );
        return client;
      }),
    );
    others.#work = Promise.all(clients.map((client, n) => others.#loop(client, n + 1)));
    return others;
  }

  async #loop(client: pg.Client, n: number): Promise<void> {
    const wanted = [n === 1 ? 'shop' : 'pg_catalog', '01/02/2026', 'Asia/Tokyo', `${n * 10}s`, 'on'];
    while (!this.#stopped) {
      const { rows } = await client.query({
        name: 'settings',
        text: `select current_setting('search_path'), ('2026-01-02'::date)::text, current_setting('timezone'),
               current_setting('statement_timeout'), current_setting('default_transaction_read_only')`,
        rowMode: 'array',
      });
      const seen = JSON.stringify(rows[0]);
      if (seen !== JSON.stringify(wanted) && this.wrong.length < 10) this.wrong.push(seen);
      this.rounds++;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await client.end();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#work;
  }
}

/** A key that is drawn anew for each dump, against commands of psql in the data. */
function withoutKey(text: string): string {
  return text.replaceAll(/^(\\(?:un)?restrict) \w+$/gm, '$1 key');
}

/** pg_restore begins its text with the archive's own remarks. */
function withoutComments(dump: string): string {
  return dump.replaceAll(/^--.*\n|^\n/gm, '');
}

/** The server itself makes its tablespaces larger and smaller while one looks at them. */
function withoutSizes(text: string): string {
  return text.replaceAll(/^(pg_(?:default|global)\|.*\|)\d+ (?:bytes|[kMGT]B)\|/gm, '$1size|');
}

/** A message names the place of the server and, of some errors, the time. */
function withoutPlace(text: string): string {
  return text.replaceAll(/port "?\d+"?/g, 'port');
}

function firstDifference(wanted: string, got: string): string {
  const [one, other] = [wanted.split('\n'), got.split('\n')];
  const at = one.findIndex((line, n) => line !== other[n]);
  if (at < 0) return one.length === other.length ? 'no difference' : 'it goes on';
  return `line ${at + 1} is ${JSON.stringify(other[at])} and not ${JSON.stringify(one[at])}`;
}
