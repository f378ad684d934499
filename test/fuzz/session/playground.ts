// Two databases that begin alike, one for each side, and what stands in front of the second: weir, or nothing.

import type { Pool } from '../../../lib/pool/index.js';
import { eventually, type TestPostgres } from '../../support/index.js';
import { RawClient } from '../../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../../support/weir.js';
import { type ClusterOptions, startWeirCluster } from '../../support/weir-cluster.js';
import type { Place } from './peer.js';
import { schemas } from './pieces.js';
import type { Setup } from './run.js';

export type TargetKind = 'weir' | 'direct';

/** How weir serves. */
export interface Form {
  /** Processes. */
  readonly workers: number;
  readonly lanes: 'auto' | 'off';
  /** Whether its servers run a connect_query. */
  readonly base: 'none' | 'settings' | 'role';
  /** Further settings of each weir, for one with a number of its own. */
  readonly more?: (weir: number) => Readonly<Record<string, unknown>>;
}

interface Base {
  readonly connectQuery: string;
  /** What a direct connection begins with instead. */
  readonly options: string;
}

const baseSettings: readonly (readonly [name: string, value: string])[] = [
  ['work_mem', '7MB'],
  ['search_path', 'sb,\\ public'],
  ['statement_timeout', '4min'],
  ['TimeZone', 'Asia/Tokyo'],
  ['app.x', 'base'],
  ['extra_float_digits', '0'],
];
const settingsQuery =
  "set work_mem = '7MB'; set search_path = sb, public; set statement_timeout = '4min'; set timezone = 'Asia/Tokyo'; select set_config('app.x', 'base', false); do $$ begin perform set_config('extra_float_digits', '0', false); end $$";
const settingsOptions = baseSettings.map(([name, value]) => `-c ${name}=${value}`).join(' ');
const bases: Readonly<Record<Form['base'], Base | undefined>> = {
  none: undefined,
  settings: { connectQuery: settingsQuery, options: settingsOptions },
  role: { connectQuery: `${settingsQuery}; set role role_a`, options: `${settingsOptions} -c role=role_a` },
};

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

/** What stands in front of the second database. */
interface Stage {
  readonly host: string;
  readonly port: number;
  /** Servers that are in use, or that something is done with. */
  busy(): Promise<number>;
  /** Reads that shared a server. */
  reads(): Promise<number>;
  /** Differences between servers and what weir believed of them. */
  leaks(): Promise<number>;
  stop(): Promise<void>;
}

export class Playground {
  readonly #server: TestPostgres;
  readonly kind: TargetKind;
  readonly #form: Form;
  readonly #admins: RawClient[] = [];
  readonly #weirs = new Map<string, Stage>();
  /** Weirs, so far. */
  #made = 0;
  /** Of weirs that are gone. */
  reads = 0;
  leaks = 0;

  private constructor(server: TestPostgres, kind: TargetKind, form: Form) {
    this.#server = server;
    this.kind = kind;
    this.#form = form;
  }

  static async create(server: TestPostgres, kind: TargetKind, form: Form): Promise<Playground> {
    const playground = new Playground(server, kind, form);
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
    const base = bases[this.#form.base]?.options;
    return { host, port, user: superuser ? 'super' : 'plain', database: 'one', base };
  }

  async target(setup: Setup): Promise<Place> {
    const { host, port } = this.kind === 'direct' ? this.#server : await this.#weir(setup);
    const base = this.kind === 'direct' ? bases[this.#form.base]?.options : undefined;
    return { ...this.direct(setup), host, port, database: 'two', base };
  }

  /** Both databases as they were, every server of weir's idle. */
  async tidy(): Promise<void> {
    for (const weir of this.#weirs.values()) await eventually(async () => (await weir.busy()) === 0);
    const replies = await Promise.all(this.#admins.map((admin) => admin.query(reset)));
    for (const { errors } of replies) if (errors[0] !== undefined) throw new Error(errors[0]['M']);
  }

  /** The next program begins with a weir that has seen nothing. */
  async renew(): Promise<void> {
    const weirs = [...this.#weirs.values()];
    this.#weirs.clear();
    for (const weir of weirs) {
      this.reads += await weir.reads();
      this.leaks += await weir.leaks();
      await weir.stop();
    }
  }

  async stop(): Promise<void> {
    await this.renew();
    for (const admin of this.#admins) await admin.end();
  }

  async #weir({ poolSize, sequencesPin, sequencesAsked }: Setup): Promise<Stage> {
    const key = `${poolSize} ${sequencesPin} ${sequencesAsked}`;
    let weir = this.#weirs.get(key);
    if (weir === undefined) {
      const settings = {
        auth_type: 'trust',
        default_pool_size: poolSize,
        pool_mode: 'transaction',
        leak_probe_every: 1,
        // What is sent early, late or along with others' is to look no different.
        lanes: this.#form.lanes,
        defer_begin: process.env['DEFER'] !== 'off',
        'on_hazard.sequence': sequencesPin ? 'pin' : 'auto',
        ...this.#form.more?.(++this.#made),
      };
      const connect_query = bases[this.#form.base]?.connectQuery;
      const database = connect_query === undefined ? {} : { connect_query };
      const options = { server: this.#server, users: { plain: '', super: '' }, database };
      weir =
        this.#form.workers === 1
          ? inProcess(await startWeir({ ...options, weir: settings as WeirOptions['weir'] & object }))
          : await inProcesses({ ...settings, workers: this.#form.workers }, options);
      this.#weirs.set(key, weir);
    }
    return weir;
  }
}

function inProcess(weir: TestWeir): Stage {
  const sum = (value: (pool: Pool) => number): Promise<number> =>
    Promise.resolve([...weir.pooler.pools].reduce((before, pool) => before + value(pool), 0));
  return {
    host: weir.host,
    port: weir.port,
    busy: () => sum(({ counts }) => counts.active + counts.tested + counts.being_canceled),
    reads: () => sum(({ traffic }) => traffic.lanes.reads),
    leaks: () => sum(({ traffic }) => Object.values(traffic.ladder.leaks).reduce((before, count) => before + count, 0)),
    stop: () => weir.stop(),
  };
}

async function inProcesses(
  settings: Readonly<Record<string, unknown>>,
  options: Omit<ClusterOptions, 'settings'>,
): Promise<Stage> {
  const endings: (() => unknown)[] = [];
  const log = { log_connections: false, log_disconnections: false, log_pooler_errors: false };
  const weir = await startWeirCluster(
    { teardown: (ending) => endings.unshift(ending) },
    { ...options, settings: { ...settings, ...log, max_client_conn: 10_000 } },
  );
  const states = ['active', 'tested', 'being_canceled'];
  return {
    host: weir.host,
    port: weir.port,
    busy: async () => {
      const text = await (await fetch(`http://127.0.0.1:${weir.httpPort}/metrics`)).text();
      const busy = text.matchAll(/^weir_servers\{(?=[^}]*state="([a-z_]+)")[^}]*\} (\d+)$/gm);
      return [...busy].reduce((sum, [, state = '', count]) => sum + (states.includes(state) ? Number(count) : 0), 0);
    },
    reads: async () => (await weir.metric('weir_lane_reads_total')) ?? 0,
    leaks: async () => (await weir.metric('weir_leaks_total')) ?? 0,
    stop: async () => {
      weir.process.signal('SIGQUIT');
      await weir.process.ended;
      for (const ending of endings) await ending();
    },
  };
}
