// Two databases that begin alike, one for each side, and what stands in front of the second: weir, or nothing.

import { eventually, type TestPostgres } from '../../support/index.js';
import { RawClient } from '../../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../../support/weir.js';
import type { Place } from './peer.js';
import { schemas } from './pieces.js';
import type { Setup } from './run.js';

export type TargetKind = 'weir' | 'direct';

const template: readonly string[] = [
  ...schemas.filter((name) => name !== 'public').map((name) => `create schema "${name}"`),
  ...schemas.flatMap((name) => [
    `create table "${name}".t(v text)`,
    `insert into "${name}".t values ('${name}')`,
    `grant all on schema "${name}" to public`,
  ]),
  'create table plain_rows(client int, note text)',
  'create table notes(id serial primary key, client int, note text)',
  'create table parent(id serial primary key, v int check (v > 0))',
  'create sequence seq_a',
  'create sequence seq_b',
  "create table shadowed(v text); insert into shadowed values ('permanent')",
  "create table secret_a(v text); insert into secret_a values ('for role_a')",
  'grant all on all tables in schema public, sa, sb, "B c" to public; revoke all on secret_a from public',
  'grant all on secret_a to role_a',
  'grant all on all sequences in schema public to public',
  `create function f_set(name text, value text) returns text language plpgsql as
    $$ begin return set_config(name, value, false); end $$`,
  `create function f_local(name text, value text) returns text language plpgsql as
    $$ begin return set_config(name, value, true); end $$`,
  `create function f_fail(name text, value text) returns text language plpgsql as
    $$ begin perform set_config(name, value, false); raise exception 'failed on purpose'; end $$`,
  `create function f_caught(name text, value text) returns text language plpgsql as
    $$ begin begin perform set_config(name, value, false); raise exception 'caught'; exception when others then null; end;
      return current_setting(name, true); end $$`,
  `create function f_clause() returns text language plpgsql set work_mem = '3MB' as
    $$ begin perform set_config('lock_timeout', '63s', false); return current_setting('work_mem'); end $$`,
  `create function f_lock(key bigint) returns void language plpgsql as $$ begin perform pg_advisory_lock(key); end $$`,
  // No notice when it is there: how its context quotes the function was decided by whoever called it first on the server.
  `create function f_temp(name text) returns void language plpgsql as $$ begin
    if to_regclass(format('pg_temp.%I', name)) is null then execute format('create temp table %I(v text)', name); end if;
  end $$`,
  `create function f_nothing() returns int language plpgsql as $$ begin return 1; end $$`,
  `create procedure p_set(name text, value text) language plpgsql as
    $$ begin perform set_config(name, value, false); end $$`,
  `create procedure p_commit(name text, value text) language plpgsql as
    $$ begin perform set_config(name, value, false); commit; perform set_config('work_mem', '2222', false); rollback; end $$`,
];

/** What programs leave behind in a database, undone. */
const reset = [
  'truncate plain_rows, notes, parent restart identity',
  "select setval('seq_a', 1, false), setval('seq_b', 1, false)",
  ...schemas.map(
    (name) => `drop table if exists ${[0, 1, 2, 3].map((client) => `"${name}".own_${client}`).join(', ')}`,
  ),
].join('; ');

export class Playground {
  readonly #server: TestPostgres;
  readonly kind: TargetKind;
  readonly #admins: RawClient[] = [];
  readonly #weirs = new Map<string, TestWeir>();
  /** Reads that shared a server, of weirs that are gone. */
  reads = 0;

  private constructor(server: TestPostgres, kind: TargetKind) {
    this.#server = server;
    this.kind = kind;
  }

  static async create(server: TestPostgres, kind: TargetKind): Promise<Playground> {
    const playground = new Playground(server, kind);
    const databases = (await server.query('select datname from pg_database')).map(({ datname }) => String(datname));
    if (!databases.includes('model')) {
      for (const role of ['role_a', 'role_b']) await server.query(`create role ${role}`);
      await server.query('create role plain login in role role_a, role_b');
      await server.query('create role super login superuser');
      await server.query('create database model');
      for (const sql of template) await server.query(sql, [], 'model');
    }
    for (const database of ['one', 'two']) {
      await server.query(`drop database if exists ${database}`);
      await server.query(`create database ${database} template model`);
      playground.#admins.push(
        await RawClient.connect(server, { database, parameters: { client_min_messages: 'error' } }),
      );
    }
    return playground;
  }

  direct({ superuser }: Setup): Place {
    const { host, port } = this.#server;
    return { host, port, user: superuser ? 'super' : 'plain', database: 'one' };
  }

  async target(setup: Setup): Promise<Place> {
    const { host, port } = this.kind === 'direct' ? this.#server : await this.#weir(setup);
    return { ...this.direct(setup), host, port, database: 'two' };
  }

  /** Both databases as they were, every server of weir's idle. */
  async tidy(): Promise<void> {
    await eventually(() =>
      [...this.#weirs.values()].every(({ pooler }) =>
        [...pooler.pools].every(({ counts }) => counts.active + counts.tested + counts.being_canceled === 0),
      ),
    );
    const replies = await Promise.all(this.#admins.map((admin) => admin.query(reset)));
    for (const { errors } of replies) if (errors[0] !== undefined) throw new Error(errors[0]['M']);
  }

  /** The next program begins with a weir that has seen nothing. */
  async renew(): Promise<void> {
    const weirs = [...this.#weirs.values()];
    this.#weirs.clear();
    for (const { pooler } of weirs) for (const pool of pooler.pools) this.reads += pool.traffic.lanes.reads;
    await Promise.all(weirs.map((weir) => weir.stop()));
  }

  async stop(): Promise<void> {
    await this.renew();
    for (const admin of this.#admins) await admin.end();
  }

  async #weir({ poolSize, sequencesPin, sequencesAsked }: Setup): Promise<TestWeir> {
    const key = `${poolSize} ${sequencesPin} ${sequencesAsked}`;
    let weir = this.#weirs.get(key);
    if (weir === undefined) {
      const settings = {
        auth_type: 'trust',
        default_pool_size: poolSize,
        pool_mode: 'transaction',
        leak_probe_every: 1,
        // What is sent early, late or along with others' is to look no different.
        lanes: process.env['LANES'] === 'off' ? 'off' : 'auto',
        defer_begin: process.env['DEFER'] !== 'off',
        'on_hazard.sequence': sequencesPin ? 'pin' : 'auto',
      };
      weir = await startWeir({
        server: this.#server,
        weir: settings as WeirOptions['weir'] & object,
        users: { plain: '', super: '' },
      });
      this.#weirs.set(key, weir);
    }
    return weir;
  }
}
