// Runs the same steps on direct connections and through weir, where clients share servers: PostgreSQL says what weir has to say.

import type { Test } from 'tap';
import { AdminConsole } from '../../../lib/admin/index.js';
import { ownSource, startHttp } from '../../../lib/http/index.js';
import { eventually, startPostgres, stretched, type TestPostgres } from '../../support/index.js';
import { type Fields, RawClient, type RawLogin, readFields, say } from '../../support/raw-client.js';
import { startWeir, type TestWeir } from '../../support/weir.js';

export type Mode = 'direct' | 'weir';

/** Of the section [weir]. */
export type WeirSettings = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export interface RowOptions {
  /** Servers clients share: 1 unless told. */
  readonly servers?: number;
  readonly weir?: WeirSettings;
  /** Statements a superuser runs before each of the two runs, in an empty schema `public` that belongs to `app`. */
  readonly setup?: readonly string[];
  /** Only through weir: where PostgreSQL cannot be asked, as for pins. */
  readonly only?: 'weir';
}

export interface Notification {
  readonly channel: string;
  readonly payload: string;
}

export interface Outcome {
  /** Texts of all rows, of all statements. */
  readonly rows: (string | null)[][];
  readonly columns: string[];
  readonly commands: string[];
  readonly errors: Fields[];
  readonly notices: Fields[];
  /** Tags in the order they came, without ParameterStatus. */
  readonly tags: string;
  /** `I`, `T` or `E`; empty when the connection ended. */
  readonly status: string;
}

type Steps = (s: Scenario) => Promise<void>;

const stepMsMax = 12_000;
const startsWith =
  'drop schema if exists public cascade; create schema public authorization app; grant all on schema public to public';

export class Ladder {
  readonly postgres: TestPostgres;
  readonly #weirs = new Map<string, Promise<WatchedWeir>>();
  readonly #t: Test;

  private constructor(t: Test, postgres: TestPostgres) {
    this.#t = t;
    this.postgres = postgres;
  }

  /** A PostgreSQL with the logins `app`, `other` and `super`; `app` may become `reader` and `writer`. */
  static async start(t: Test, sql: readonly string[] = []): Promise<Ladder> {
    const postgres = await startPostgres({
      hba: 'host all all 127.0.0.1/32 trust',
      settings: { timezone: 'GMT' },
      sql: [
        'create role app login',
        'create role other login',
        'create role super login superuser',
        'create role reader',
        'create role writer',
        'grant reader, writer to app with inherit false',
        ...sql,
      ],
    });
    const ladder = new Ladder(t, postgres);
    t.teardown(async () => {
      await ladder.#stop();
      await postgres.stop();
    });
    return ladder;
  }

  /** One subtest: the steps on direct connections, then through weir, and what clients were told compared. */
  row(title: string, steps: Steps, options: RowOptions = {}): void {
    this.#t.test(title, async (t) => {
      const direct = options.only === 'weir' ? undefined : await this.#run(t, 'direct', steps, options);
      const through = await this.#run(t, 'weir', steps, options);
      if (direct !== undefined)
        t.same(differences(through, direct), [], 'clients of weir are told what PostgreSQL says');
    });
  }

  /** Through weir alone. */
  weirRow(title: string, steps: Steps, options: RowOptions = {}): void {
    this.row(title, steps, { ...options, only: 'weir' });
  }

  /** Last in each file: that the probes it relies on took place, and saw nothing. */
  probed(): void {
    this.#t.test('every release of a server was probed, and no probe found a difference', async (t) => {
      for (const [settings, starting] of this.#weirs) {
        const weir = await starting;
        if (!settings.includes('"leak_probe_every":1,') || settings.includes('"pool_mode":"session"')) continue;
        t.ok((await weir.sum('weir_probes_total')) > 0, `probes ran with ${settings}`);
        t.equal(await weir.sum('weir_leaks_total'), 0, `no leak with ${settings}`);
      }
    });
  }

  weirOf(options: RowOptions = {}): Promise<WatchedWeir> {
    const settings: WeirSettings = {
      leak_probe_every: 1,
      auth_type: 'trust',
      admin_users: ['ops'],
      default_pool_size: options.servers ?? 1,
      query_wait_timeout: 5,
      // What goes wrong in one row is not to be heard of in the next.
      server_login_retry: 1,
      ...options.weir,
    };
    const key = JSON.stringify(settings);
    const known = this.#weirs.get(key) ?? WatchedWeir.start(this.postgres, settings);
    this.#weirs.set(key, known);
    return known;
  }

  async #run(t: Test, mode: Mode, steps: Steps, options: RowOptions): Promise<Record<string, readonly string[]>> {
    for (const sql of [startsWith, ...(options.setup ?? [])]) await this.postgres.query(sql);
    const weir = mode === 'weir' ? await this.weirOf(options) : undefined;
    const leaksBefore = await weir?.sum('weir_leaks_total');
    const scenario = new Scenario(t, mode, this.postgres, weir);
    try {
      await steps(scenario);
      return scenario.transcript();
    } finally {
      await scenario.over();
      await scenario.endBackends();
      if (weir !== undefined) {
        await weir.settled();
        t.equal(await weir.sum('weir_leaks_total'), leaksBefore, 'no probe found a leak');
      }
    }
  }

  async #stop(): Promise<void> {
    for (const starting of this.#weirs.values()) await (await starting).stop();
  }
}

export interface Pin {
  readonly user: string;
  readonly reasons: readonly string[];
  readonly row: Readonly<Record<string, unknown>>;
}

/** A weir whose console and metrics are read. */
export class WatchedWeir {
  readonly weir: TestWeir;
  readonly #metricsUrl: string;
  readonly #stopHttp: () => Promise<void>;

  private constructor(weir: TestWeir, port: number, stopHttp: () => Promise<void>) {
    this.weir = weir;
    this.#metricsUrl = `http://127.0.0.1:${port}/metrics`;
    this.#stopHttp = stopHttp;
  }

  static async start(postgres: TestPostgres, settings: WeirSettings): Promise<WatchedWeir> {
    const weir = await startWeir({
      server: { host: postgres.host, port: postgres.port },
      users: { app: 'x', other: 'x', super: 'x', ops: 'x' },
      weir: settings,
    });
    weir.pooler.console = new AdminConsole(weir.pooler);
    const http = await startHttp(ownSource(weir.pooler), { host: '127.0.0.1', port: 0 });
    return new WatchedWeir(weir, http.port, () => http.close());
  }

  async show(what: string): Promise<Record<string, unknown>[]> {
    const client = await this.weir.connect({ user: 'ops', password: 'x', database: 'weir' });
    try {
      return (await client.query<Record<string, unknown>>(`SHOW ${what}`)).rows;
    } finally {
      await client.end();
    }
  }

  async pins(): Promise<Pin[]> {
    return (await this.show('PINS')).map((row) => ({
      user: String(row['user']),
      reasons: String(row['reasons'])
        .split(/[\s,{}]+/)
        .filter((reason) => reason !== '')
        .sort(),
      row,
    }));
  }

  /** All samples of a metric together, or those whose labels hold the text. */
  async sum(metric: string, label = ''): Promise<number> {
    const text = await (await fetch(this.#metricsUrl)).text();
    return text
      .split('\n')
      .filter((line) => (line.startsWith(`${metric}{`) || line.startsWith(`${metric} `)) && line.includes(label))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  /** No client but those of a console, no server at work. */
  async settled(): Promise<void> {
    await eventually(() =>
      [...this.weir.pooler.pools].every(({ counts }) => counts.active + counts.tested + counts.being_canceled === 0),
    );
  }

  async stop(): Promise<void> {
    await this.#stopHttp();
    await this.weir.stop();
  }
}

export class Scenario {
  readonly t: Test;
  readonly mode: Mode;
  readonly #postgres: TestPostgres;
  readonly #weir: WatchedWeir | undefined;
  readonly #actors: Actor[] = [];

  constructor(t: Test, mode: Mode, postgres: TestPostgres, weir: WatchedWeir | undefined) {
    this.t = t;
    this.mode = mode;
    this.#postgres = postgres;
    this.#weir = weir;
  }

  get where(): string {
    return this.mode === 'direct' ? 'on a direct connection' : 'through weir';
  }

  get weir(): WatchedWeir {
    if (this.#weir === undefined) throw new Error('these steps run on direct connections');
    return this.#weir;
  }

  /** A client of the user `app`, unless told. */
  async client(name: string, login: RawLogin = {}): Promise<Actor> {
    const place = this.#weir?.weir ?? this.#postgres;
    const raw = await within(RawClient.connect(place, { user: 'app', ...login }), `${name} logs in`);
    const actor = new Actor(this, name, raw);
    this.#actors.push(actor);
    return actor;
  }

  async pair(login: RawLogin = {}): Promise<[Actor, Actor]> {
    return [await this.client('a', login), await this.client('b', login)];
  }

  /** As superuser, beside weir. */
  admin(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return this.#postgres.query(sql, values);
  }

  /** Ends every server connection of weir's, as a failover does, and waits until they are gone. */
  async killServers(): Promise<void> {
    // A client whose server is being looked at is still in its lease, and is told of the loss.
    const servers = [...(this.#weir?.weir.pooler.pools ?? [])].flatMap((pool) => [...pool.servers]);
    await eventually(() => servers.every(({ channel }) => !channel.ladder.asking));
    const found = await this.admin(
      `select pid, pg_terminate_backend(pid) from pg_stat_activity
       where usename in ('app', 'other', 'super') and backend_type = 'client backend'`,
    );
    const pids = found.map((row) => row['pid']);
    await eventually(async () => {
      const rows = await this.admin('select 1 from pg_stat_activity where pid = any($1)', [pids]);
      return rows.length === 0;
    });
    // The end of a connection arrives a moment after it: until then weir cannot know.
    await new Promise((resolve) => setTimeout(resolve, 150));
  }

  /** A statement that outlives its direct client would hold its locks into the next run. */
  async endBackends(): Promise<void> {
    if (this.mode === 'weir') return;
    const pids = this.#actors.map((actor) => actor.raw.cancelPid);
    await eventually(async () => {
      const left = await this.admin('select pg_terminate_backend(pid) from pg_stat_activity where pid = any($1)', [
        pids,
      ]);
      return left.length === 0;
    });
  }

  /** Through weir: the reasons of all pins there are, eventually. */
  async pinned(...reasons: string[]): Promise<void> {
    if (this.mode === 'direct') return;
    const wanted = reasons.sort();
    let seen = await this.#reasons();
    await eventually(
      async () => {
        seen = await this.#reasons();
        return JSON.stringify(seen) === JSON.stringify(wanted);
      },
      { withinMs: 1_000 },
    ).catch(() => undefined);
    this.t.same(seen, wanted, reasons.length === 0 ? 'nothing is pinned' : `pinned for ${reasons.join(' and ')}`);
  }

  async #reasons(): Promise<string[]> {
    return (await this.weir.pins()).flatMap((pin) => pin.reasons).sort();
  }

  /** Eventually true, or the test fails. */
  async soon(what: string, attempt: () => Promise<boolean>, withinMs = 3_000): Promise<void> {
    const came = await eventually(attempt, { withinMs }).catch(() => false);
    this.t.equal(came, true, `${what} ${this.where}`);
  }

  transcript(): Record<string, readonly string[]> {
    return Object.fromEntries(this.#actors.map((actor) => [actor.name, actor.transcript()]));
  }

  async over(): Promise<void> {
    await Promise.all(this.#actors.map((actor) => within(actor.end(), `${actor.name} leaves`).catch(() => undefined)));
  }
}

function nothingYet(): Mutable<Outcome> {
  return { rows: [], columns: [], commands: [], errors: [], notices: [], tags: '', status: '' };
}

export class Actor {
  readonly name: string;
  readonly raw: RawClient;
  readonly parameters: Map<string, string>;
  readonly #scenario: Scenario;
  readonly #told: string[] = [];
  #notified: Notification[] = [];

  constructor(scenario: Scenario, name: string, raw: RawClient) {
    this.#scenario = scenario;
    this.name = name;
    this.raw = raw;
    this.parameters = new Map(raw.parameters);
  }

  /** What it was told so far, and the settings it believes the server has. */
  transcript(): readonly string[] {
    const settings = [...this.parameters].map(([name, value]) => `${name}=${value}`).sort();
    return [...this.#told, settings.join(' ')];
  }

  /** One simple Query. */
  async query(sql: string): Promise<Outcome> {
    return this.messages(sql, say.query(sql));
  }

  /** Several simple queries, each of which must succeed. */
  async does(...statements: string[]): Promise<void> {
    for (const sql of statements) {
      const { errors } = await this.query(sql);
      const problem = errors[0]?.['M'];
      if (problem !== undefined)
        this.#scenario.t.fail(`${this.name} ${this.#scenario.where}: ${sql}: ${problem}`, { stack: '' });
    }
  }

  /** One unnamed statement by the extended protocol. */
  async execute(sql: string, values: readonly (string | null)[] = []): Promise<Outcome> {
    return this.messages(
      `${sql} ${JSON.stringify(values)}`,
      say.parse({ text: sql }),
      say.bind({ values: [...values] }),
      say.describe({ type: 'P' }),
      say.execute(),
      say.sync(),
    );
  }

  /** Parse by name. */
  async parse(name: string, text: string, types: number[] = []): Promise<Outcome> {
    return this.messages(`parse ${name}: ${text}`, say.parse({ name, text, types }), say.sync());
  }

  /** Bind, Describe and Execute of a statement by name. */
  async bind(name: string, values: readonly (string | null)[] = []): Promise<Outcome> {
    return this.messages(
      `bind ${name} ${JSON.stringify(values)}`,
      say.bind({ statement: name, values: [...values] }),
      say.describe({ type: 'P' }),
      say.execute(),
      say.sync(),
    );
  }

  async describe(name: string): Promise<Outcome> {
    return this.messages(`describe ${name}`, say.describe({ type: 'S', name }), say.sync());
  }

  async close(name: string): Promise<Outcome> {
    return this.messages(`close ${name}`, say.close({ type: 'S', name }), say.sync());
  }

  /** Messages of which the last is a Query or a Sync, and what came for them. */
  async messages(label: string, ...messages: readonly Uint8Array[]): Promise<Outcome> {
    this.raw.write(...messages);
    const outcome = await this.read(label);
    this.#told.push(`${label} => ${said(outcome)}`);
    return outcome;
  }

  /** Everything up to ReadyForQuery, or to the end of the connection. */
  async read(label: string): Promise<Outcome> {
    const outcome = nothingYet();
    for (;;) {
      const message = await within(this.raw.next(), `${this.name} ${this.#scenario.where}: ${label}`).catch(
        (error: unknown) => {
          if (this.raw.over) return undefined;
          throw error;
        },
      );
      if (message === undefined) return outcome;
      this.#take(message.tag, message.body, outcome);
      if (message.tag === 'Z') return outcome;
    }
  }

  /** The first cell, not part of what is compared. */
  async peek(sql: string): Promise<string | null | undefined> {
    this.raw.write(say.query(sql));
    return (await this.read(sql)).rows[0]?.[0];
  }

  serverPid(): Promise<string | null | undefined> {
    return this.peek('select pg_backend_pid()');
  }

  /** Says that the first cell of the answer is this one. */
  async gives(sql: string, wanted: string | null, values?: readonly (string | null)[]): Promise<void> {
    const outcome = values === undefined ? await this.query(sql) : await this.execute(sql, values);
    const cell = outcome.errors[0] === undefined ? outcome.rows[0]?.[0] : `error ${outcome.errors[0]['M']}`;
    this.#scenario.t.equal(cell, wanted, `${this.name} ${this.#scenario.where}: ${sql}`);
  }

  async shows(setting: string, wanted: string): Promise<void> {
    await this.gives(`show ${setting}`, wanted);
  }

  /** Says that it fails, and with which SQLSTATE. */
  async fails(sql: string, sqlstate: string): Promise<Outcome> {
    const outcome = await this.query(sql);
    this.#scenario.t.equal(outcome.errors[0]?.['C'], sqlstate, `${this.name} ${this.#scenario.where}: ${sql}`);
    return outcome;
  }

  /** All that have come, once there are as many; they are forgotten then. */
  async notifications(count: number, withinMs = 3_000): Promise<readonly Notification[]> {
    await eventually(
      async () => {
        await this.drain();
        return this.#notified.length >= count;
      },
      { withinMs },
    ).catch(() => undefined);
    const came = this.#notified;
    this.#notified = [];
    this.#told.push(`notified ${JSON.stringify(came)}`);
    return came;
  }

  /** Says which notifications have come, `channel:payload` each. */
  async hears(...wanted: string[]): Promise<void> {
    const came = (await this.notifications(wanted.length)).map(({ channel, payload }) => `${channel}:${payload}`);
    this.#scenario.t.same(came, wanted, `${this.name} ${this.#scenario.where} is notified of ${wanted.join(' ')}`);
  }

  /** What came without being asked for. */
  async drain(): Promise<void> {
    const outcome = nothingYet();
    while (this.raw.untaken > 0) {
      const { tag, body } = await this.raw.next();
      this.#take(tag, body, outcome);
    }
  }

  async end(): Promise<void> {
    await this.raw.end();
  }

  async vanish(): Promise<void> {
    await this.raw.vanish();
  }

  #take(tag: string, body: Buffer, outcome: Mutable<Outcome>): void {
    if (tag === 'S') {
      const [name, value] = textsOf(body, 0);
      this.parameters.set(name ?? '', value ?? '');
      return;
    }
    if (tag === 'A') {
      const [channel, payload] = textsOf(body, 4);
      this.#notified.push({ channel: channel ?? '', payload: payload ?? '' });
      return;
    }
    if (tag === 'N') {
      const fields = readFields(body);
      // What a server tells of its own work is nobody's state.
      if (fields['V'] !== 'NOTICE' && fields['V'] !== 'WARNING') return;
      outcome.notices.push(fields);
    }
    outcome.tags += tag;
    if (tag === 'D') outcome.rows.push(rowOf(body));
    else if (tag === 'T') outcome.columns.push(...columnsOf(body));
    else if (tag === 'C') outcome.commands.push(textsOf(body, 0)[0] ?? '');
    else if (tag === 'E') outcome.errors.push(readFields(body));
    else if (tag === 'Z') outcome.status = body.toString('latin1');
  }
}

/** Fails rather than waits for ever. */
export async function within<T>(work: Promise<T>, what: string, ms = stepMsMax): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came within ${ms} ms: ${what}`)), stretched(ms));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const differencesMax = 5;

/** The first few only: one step that goes wrong takes others with it. */
function differences(
  through: Readonly<Record<string, readonly string[]>>,
  direct: Readonly<Record<string, readonly string[]>>,
): { client: string; weir: string | undefined; direct: string | undefined }[] {
  return Object.entries(direct)
    .flatMap(([client, lines]) => lines.map((line, i) => ({ client, weir: through[client]?.[i], direct: line })))
    .filter(({ weir, direct }) => weir !== direct)
    .slice(0, differencesMax);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function said({ rows, columns, commands, errors, notices, tags, status }: Outcome): string {
  const problems = [...errors, ...notices].map(
    ({ S, C, M, D, H, P }) =>
      `${S} ${C} ${M}${[D, H, P].map((field) => (field === undefined ? '' : ` (${field})`)).join('')}`,
  );
  return JSON.stringify([tags, status, columns.join(), rows, commands, problems]);
}

function textsOf(body: Buffer, start: number): string[] {
  return body.toString('utf8', start).split('\0');
}

function rowOf(body: Buffer): (string | null)[] {
  const row: (string | null)[] = [];
  let at = 2;
  for (let column = body.readInt16BE(0); column > 0; column--) {
    const length = body.readInt32BE(at);
    at += 4;
    row.push(length < 0 ? null : body.toString('utf8', at, at + length));
    at += Math.max(length, 0);
  }
  return row;
}

const columnTailBytes = 18;

function columnsOf(body: Buffer): string[] {
  const names: string[] = [];
  let at = 2;
  for (let column = body.readInt16BE(0); column > 0; column--) {
    const end = body.indexOf(0, at);
    names.push(body.toString('utf8', at, end));
    at = end + 1 + columnTailBytes;
  }
  return names;
}
