// Sessions over one shared server: what a client sets, makes or leaves behind is its own, and nobody else's.

import t from 'tap';
import { eventually, startPostgres } from '../support/index.js';
import { extended, frame, RawClient, type RawLogin, type Reply, say, startup } from '../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../support/weir.js';

const server = await startPostgres({
  settings: { timezone: 'GMT' },
  sql: [
    'create role other login',
    'create table account (id int primary key, amount int)',
    'insert into account select n, 100 from generate_series(1, 10) n',
    'create sequence counter',
    'create schema "odd, schema"',
  ],
});
t.teardown(() => server.stop());

type Mode = 'transaction' | 'session' | 'statement';

function start(pool_mode: Mode, weir: WeirOptions['weir'] = {}): Promise<TestWeir> {
  return startWeir({
    server,
    weir: { auth_type: 'trust', pool_mode, default_pool_size: 1, ...weir },
    users: { postgres: server.admin.password },
  });
}

const weir = await start('transaction');
t.teardown(() => weir.stop());

function connect(parameters: RawLogin['parameters'] = {}, more: RawLogin = {}): Promise<RawClient> {
  return RawClient.connect(weir, { parameters, ...more });
}

/** Clients that leave politely when the test is over, and every server back in its pool. */
async function withClients(
  count: number,
  work: (...clients: RawClient[]) => Promise<void>,
  parameters: RawLogin['parameters'] = {},
): Promise<void> {
  const clients = await Promise.all(Array.from({ length: count }, () => connect(parameters)));
  try {
    await work(...clients);
  } finally {
    await Promise.all(clients.map((client) => client.end()));
    await settled();
  }
}

async function settled(of: TestWeir = weir): Promise<void> {
  await eventually(() =>
    [...of.pooler.pools].every(({ counts }) => counts.active + counts.tested + counts.being_canceled === 0),
  );
}

function serverPid(client: RawClient): Promise<string | null> {
  return client.value('select pg_backend_pid()');
}

const code = ({ errors }: Reply): string | undefined => errors[0]?.['C'];

// Settings

const sessions: readonly { parameters: Record<string, string>; shows: Record<string, string> }[] = [
  {
    parameters: {
      application_name: `it's "one" \\ naïve`,
      TimeZone: 'Asia/Tokyo',
      DateStyle: 'German',
      client_encoding: 'UTF8',
    },
    shows: {
      application_name: `it's "one" \\ na\\xc3\\xafve`,
      TimeZone: 'Asia/Tokyo',
      DateStyle: 'German, DMY',
      client_encoding: 'UTF8',
    },
  },
  {
    parameters: {
      application_name: 'two',
      timezone: 'UTC',
      datestyle: 'SQL, DMY',
      IntervalStyle: 'iso_8601',
      client_encoding: 'SQL_ASCII',
    },
    shows: {
      application_name: 'two',
      TimeZone: 'UTC',
      DateStyle: 'SQL, DMY',
      IntervalStyle: 'iso_8601',
      client_encoding: 'SQL_ASCII',
    },
  },
  {
    parameters: {
      extra_float_digits: '-3',
      statement_timeout: '7s',
      options: '-c search_path=pg_catalog,\\ "odd,\\ schema" -c work_mem=5MB --lock-timeout=1min',
    },
    shows: {
      application_name: '',
      extra_float_digits: '-3',
      statement_timeout: '7s',
      search_path: 'pg_catalog, "odd, schema"',
      work_mem: '5MB',
      lock_timeout: '1min',
    },
  },
  {
    parameters: { standard_conforming_strings: 'off', 'my.own': "a'b", client_min_messages: 'debug1' },
    shows: { standard_conforming_strings: 'off', 'my.own': "a'b", client_min_messages: 'debug1', TimeZone: 'GMT' },
  },
];

t.test('clients that take turns on one server each keep what they asked for at startup', async (t) => {
  const clients = await Promise.all(sessions.map(({ parameters }) => connect(parameters)));
  const pids = new Set<string | null>();
  let compared = 0;
  for (let round = 0; round < 4; round++) {
    for (const [index, client] of clients.entries()) {
      pids.add(await serverPid(client));
      for (const [name, value] of Object.entries(sessions[index]?.shows ?? {})) {
        const shown = round % 2 === 0 ? await client.query(`show ${name}`) : await client.execute(`show ${name}`);
        const text = shown.rows[0]?.[0];
        // PostgreSQL keeps application_name in ASCII: other bytes are written in hexadecimal since 16.
        if (text !== value) t.equal(text, value, `${name} of client ${index} in round ${round}`);
        compared++;
      }
    }
  }
  t.equal(compared, 4 * sessions.reduce((sum, { shows }) => sum + Object.keys(shows).length, 0));
  t.equal(pids.size, 1, 'all of it on one server');

  const [one, two, three, four] = clients as [RawClient, RawClient, RawClient, RawClient];
  const moment = "select timestamptz '2026-02-03 04:05:06+00', interval '1 day 2 hours'";
  t.same((await one.query(moment)).rows, [['03.02.2026 13:05:06 JST', '1 day 02:00:00']]);
  t.same((await two.query(moment)).rows, [['03/02/2026 04:05:06 UTC', 'P1DT2H']]);
  t.equal(await three.value("select float8 '0.1' + float8 '0.2'"), '0.3');
  t.equal(await one.value("select float8 '0.1' + float8 '0.2'"), '0.30000000000000004');
  t.equal(await four.value("select length('a\\\\b')"), '3', 'a backslash escapes');
  t.equal(await one.value("select length('a\\\\b')"), '4', 'a backslash is a backslash');
  t.equal(one.parameters.get('TimeZone'), 'Asia/Tokyo');
  t.equal(one.parameters.get('DateStyle'), 'German, DMY');
  t.equal(two.parameters.get('IntervalStyle'), 'iso_8601');
  t.equal(four.parameters.get('standard_conforming_strings'), 'off');
  await Promise.all(clients.map((client) => client.end()));
});

t.test('clients of different encodings read and write the same text over one server', async (t) => {
  const utf8 = await connect({ client_encoding: 'UTF8' });
  const latin1 = await connect({ client_encoding: 'LATIN1' });
  const quoted = (text: Buffer): Buffer =>
    frame(
      'Q',
      Buffer.concat([Buffer.from("select '"), text, Buffer.from("' = U&'\\00e9', '"), text, Buffer.from("'\0")]),
    );
  for (let round = 0; round < 3; round++) {
    for (const [client, bytes] of [
      [utf8, Buffer.from('é', 'utf8')],
      [latin1, Buffer.from('é', 'latin1')],
    ] as const) {
      client.write(quoted(bytes));
      const row = (await client.until('Z')).find(({ tag }) => tag === 'D');
      // Two columns: `t`, and the bytes as they were sent.
      t.same(row?.body.subarray(2), Buffer.concat([Buffer.from([0, 0, 0, 1, 0x74, 0, 0, 0, bytes.length]), bytes]));
    }
  }
  await utf8.end();
  await latin1.end();
});

t.test('what a client changes of its reported settings stays with it, on whichever server it runs', (t) =>
  withClients(2, async (a, b) => {
    const see = async (client: RawClient): Promise<string> => {
      const { rows } = await client.query(
        "select current_setting('application_name'), current_setting('timezone'), current_setting('datestyle'), current_setting('intervalstyle')",
      );
      return rows[0]?.join('|') ?? '';
    };
    const before = await see(b);
    await a.query("set application_name = 'of a'");
    await a.query("set time zone 'America/Lima'");
    await a.query("set datestyle to 'SQL, MDY'; set intervalstyle = 'sql_standard'");
    t.equal(await see(b), before);
    t.equal(await see(a), 'of a|America/Lima|SQL, MDY|sql_standard');
    await b.execute("select set_config('timezone', $1, false)", ['Asia/Tokyo']);
    t.equal(await see(a), 'of a|America/Lima|SQL, MDY|sql_standard');
    t.equal((await see(b)).split('|')[1], 'Asia/Tokyo');
    t.equal(a.parameters.get('TimeZone'), 'America/Lima', 'the client was told');
  }),
);

t.test('ROLLBACK takes back what a transaction set: client and server agree', (t) =>
  withClients(2, async (a, b) => {
    const zone = (client: RawClient): Promise<string | null> => client.value('show timezone');
    await a.query("set timezone = 'Asia/Tokyo'");
    await a.query('begin');
    await a.query("set timezone = 'America/Lima'");
    t.equal(await zone(a), 'America/Lima');
    await a.query('rollback');
    t.equal(await zone(b), 'GMT');
    t.equal(await zone(a), 'Asia/Tokyo');

    await a.query('begin');
    await a.query('savepoint s');
    await a.query("set timezone = 'America/Lima'");
    await a.query('rollback to s');
    await a.query('commit');
    t.equal(await zone(b), 'GMT');
    t.equal(await zone(a), 'Asia/Tokyo');

    await a.query('begin');
    await a.query("set timezone = 'America/Lima'");
    t.equal(code(await a.query('select 1/0')), '22012');
    t.same((await a.query('commit')).commands, ['ROLLBACK']);
    t.equal(await zone(b), 'GMT');
    t.equal(await zone(a), 'Asia/Tokyo');

    await a.query('begin');
    await a.query("set local timezone = 'America/Lima'");
    t.equal(await zone(a), 'America/Lima');
    await a.query('commit');
    t.equal(await zone(b), 'GMT');
    t.equal(await zone(a), 'Asia/Tokyo');

    t.equal(code(await a.query("set timezone = 'America/Lima'; select 1/0")), '22012');
    t.equal(await zone(a), 'Asia/Tokyo', 'several statements in one query are one transaction');
    await a.query("begin; set timezone = 'America/Lima'; commit");
    t.equal(await zone(b), 'GMT');
    t.equal(await zone(a), 'America/Lima');
    t.equal(a.parameters.get('TimeZone'), 'America/Lima');
  }),
);

t.test('RESET, RESET ALL and DISCARD ALL bring a client back to its own beginning', async (t) => {
  const a = await connect({
    TimeZone: 'Asia/Tokyo',
    application_name: 'mine',
    options: '-c search_path=pg_catalog -c work_mem=5MB',
  });
  const b = await connect();
  const settings = ['application_name', 'timezone', 'search_path', 'work_mem'];
  const see = async (client: RawClient): Promise<string> =>
    (
      (await client.query(`select ${settings.map((name) => `current_setting('${name}')`).join(', ')}`)).rows[0] ?? []
    ).join('|');
  for (const reset of ['discard all', 'reset all', 'reset timezone; reset application_name']) {
    await a.query("set timezone = 'America/Lima'");
    await a.query("set application_name = 'changed'");
    t.equal(await see(b), '|GMT|"$user", public|4MB');
    t.equal(await see(a), 'changed|America/Lima|pg_catalog|5MB');
    t.same((await a.query(reset)).errors, []);
    t.equal(await see(a), 'mine|Asia/Tokyo|pg_catalog|5MB', `at once after ${reset}`);
    t.equal(await see(b), '|GMT|"$user", public|4MB', `another client after ${reset}`);
    t.equal(await see(a), 'mine|Asia/Tokyo|pg_catalog|5MB', reset);
    t.equal(a.parameters.get('TimeZone'), 'Asia/Tokyo', `what the client was told after ${reset}`);
  }
  await a.end();
  await b.end();
});

t.test('no setting that a user may change is ever seen by another client', (t) =>
  withClients(2, async (a, b) => {
    const all = 'select name, setting from pg_settings order by name';
    const look = async (): Promise<string[]> => (await b.query(all)).rows.map((row) => row.join(' = '));
    // Brings settings of its own, once per server.
    await a.query('do $$ begin null; end $$');
    const baseline = new Set(await look());
    const { rows: candidates } = await b.query(
      `select name, case vartype
           when 'bool' then case setting when 'on' then 'off' else 'on' end
           when 'enum' then (select e from unnest(enumvals) e where e <> setting order by e limit 1)
           else case when setting::float8 + 1 <= max_val::float8 then (setting::float8 + 1)::text else (setting::float8 - 1)::text end
         end
       from pg_settings
       where context in ('user', 'superuser') and vartype <> 'string'
         and name not in ('transaction_isolation', 'transaction_deferrable', 'transaction_read_only', 'exit_on_error')
         and name !~ '_timeout$'`,
    );
    t.ok(candidates.length > 150, `${candidates.length} settings to change`);
    let changed = 0;
    const seen: unknown[] = [];
    for (const [index, [name, value]] of candidates.entries()) {
      const how = [
        `set ${name} = '${value}'`,
        `select set_config('${name}', '${value}', false)`,
        `do $$ begin set ${name} = '${value}'; end $$`,
      ];
      const sql = how[index % how.length] ?? '';
      const { errors } = index % 2 === 0 ? await a.query(sql) : await a.execute(sql);
      if (errors.length === 0) changed++;
      const different = (await look()).filter((row) => !baseline.has(row));
      if (different.length > 0) seen.push({ sql, different });
      // The client keeps it, and some end a session that goes on with them.
      await a.query(`reset ${name}`);
    }
    t.ok(changed > 100, `${changed} settings changed`);
    t.same(seen, []);
  }),
);

t.test('a role taken by one client is never the role of another', (t) =>
  withClients(2, async (a, b) => {
    for (const sql of [
      'set role other',
      'set session authorization other',
      "select set_config('role', 'other', false)",
      "do $$ begin execute 'set role other'; end $$",
      'begin; set role other; commit',
    ]) {
      t.same((await a.query(sql)).errors, [], sql);
      t.equal(await b.value("select current_user || '/' || session_user"), 'postgres/postgres', sql);
    }
    t.equal(await b.value('show is_superuser'), 'on');
  }),
);

// Things

t.test('temporary tables, locks, prepared statements, cursors and listeners do not reach the next client', (t) =>
  withClients(1, async (b) => {
    const pid = await serverPid(b);
    const leaks: readonly (readonly [make: string, look: string, clean: string])[] = [
      ['create temp table mine (n int)', "select count(*) from pg_class where relname = 'mine'", '0'],
      ['select 1 as n into temp mine', "select count(*) from pg_class where relname = 'mine'", '0'],
      ['select pg_advisory_lock(42)', "select count(*) from pg_locks where locktype = 'advisory'", '0'],
      ['select pg_try_advisory_lock_shared(1, 2)', "select count(*) from pg_locks where locktype = 'advisory'", '0'],
      ['begin; select pg_advisory_lock(7); rollback', "select count(*) from pg_locks where locktype = 'advisory'", '0'],
      ['prepare mine as select 1', 'select count(*) from pg_prepared_statements where from_sql', '0'],
      ['begin; prepare mine as select 1; rollback', 'select count(*) from pg_prepared_statements where from_sql', '0'],
      ['declare mine cursor with hold for select 1', "select count(*) from pg_cursors where name = 'mine'", '0'],
      ['listen news', 'select count(*) from pg_listening_channels()', '0'],
      [
        'create temp table mine (n int); insert into mine values (1)',
        "select count(*) from pg_class where relname = 'mine'",
        '0',
      ],
      [
        'do $$ begin perform pg_advisory_lock(1); create temp table mine (n int); end $$',
        "select count(*) from pg_locks where locktype = 'advisory'",
        '0',
      ],
    ];
    for (const [make, look, clean] of leaks) {
      for (const way of ['simple', 'extended'] as const) {
        if (way === 'extended' && make.includes(';')) continue;
        // Some of it keeps the server with the client until that leaves.
        const a = await connect();
        const made = way === 'simple' ? await a.query(make) : await a.execute(make);
        t.same(made.errors, [], `${way}: ${make}`);
        await a.end();
        t.equal(await b.value(look), clean, `after ${make}`);
      }
    }
    const a = await connect();
    await a.query("select nextval('counter')");
    t.equal(code(await b.query("select currval('counter')")), '55000');
    t.equal(code(await b.query('select lastval()')), '55000');
    t.equal(await serverPid(b), pid, 'one server all the time');
    await a.end();
  }),
);

t.test('a library that was loaded takes its server with it', async (t) => {
  const a = await connect();
  const pid = await serverPid(a);
  const loaded = await a.query("load 'plpgsql'");
  t.same(loaded.errors, []);
  t.equal(await serverPid(a), pid, 'until it leaves the client has it');
  await a.end();
  const b = await connect();
  t.not(await serverPid(b), pid);
  await b.end();
});

t.test('inside one transaction a client has its temporary table, cursor, lock and settings', (t) =>
  withClients(2, async (a, b) => {
    await a.query('begin');
    const waiting = b.value('select 1');
    await a.query('create temp table mine (n int) on commit drop');
    await a.query("set search_path = pg_temp, public; set work_mem = '7MB'");
    await a.execute('insert into mine select generate_series(1, $1::int)', ['10']);
    await a.query('declare c cursor for select n from mine order by n');
    t.same((await a.query('fetch 2 from c')).rows, [['1'], ['2']]);
    t.equal(await a.value('show work_mem'), '7MB');
    t.equal(await a.value('select pg_try_advisory_xact_lock(5)'), 't');
    await a.query('commit');
    t.equal(await waiting, '1');
    t.equal(await b.value('show work_mem'), '4MB');
  }),
);

t.test('notices go to the client whose statement raised them', async (t) => {
  const clients = await Promise.all(Array.from({ length: 6 }, () => connect()));
  const wrong: unknown[] = [];
  let right = 0;
  await Promise.all(
    clients.map(async (client, c) => {
      for (let n = 0; n < 10; n++) {
        const { notices } = await client.query(`do $$ begin raise notice 'for % number %', ${c}, ${n}; end $$`);
        if (notices.length === 1 && notices[0]?.['M'] === `for ${c} number ${n}`) right++;
        else wrong.push(notices);
      }
    }),
  );
  t.same(wrong, []);
  t.equal(right, 60);
  await Promise.all(clients.map((client) => client.end()));
});

// The protocol

t.test('queries of several statements, and of none', (t) =>
  withClients(1, async (a) => {
    t.same(await a.query('select 1; select 2, 3; select 4'), {
      rows: [['1'], ['2', '3'], ['4']],
      commands: ['SELECT 1', 'SELECT 1', 'SELECT 1'],
      errors: [],
      notices: [],
      tags: 'TDCTDCTDCZ',
      status: 'I',
    });
    t.equal((await a.query('')).tags, 'IZ');
    t.equal((await a.query(' ; ; ')).tags, 'IZ');
    t.equal((await a.query('-- nothing')).tags, 'IZ');
    t.equal((await a.execute('')).tags, '12nIZ');
    const failed = await a.query('update account set amount = 0; select 1/0; select 2');
    t.equal(failed.tags, 'CEZ');
    t.equal(await a.value('select sum(amount) from account'), '1000', 'the update went with the error');
    t.equal((await a.query('begin; select 1')).status, 'T');
    t.equal((await a.query('select 1/0; commit')).status, 'E');
    t.equal((await a.query('rollback; begin; commit; begin')).status, 'T');
    t.equal((await a.query('end; select 5')).status, 'I');
  }),
);

t.test('pipelines of several clients over one server: every reply to whom it belongs, in order', async (t) => {
  const clients = await Promise.all(Array.from({ length: 5 }, () => connect()));
  const batches = 40;
  let right = 0;
  await Promise.all(
    clients.map(async (client, c) => {
      const messages: Buffer[] = [];
      for (let n = 0; n < batches; n++) {
        if (n % 5 === 4) messages.push(...extended('select 1/$1::int', ['0']), ...extended('select never'), say.sync());
        else
          messages.push(
            ...extended('select $1::text', [`${c}:${n}`]),
            ...extended('select $1::int + 1', [`${n}`]),
            say.sync(),
          );
      }
      client.write(...messages);
      for (let n = 0; n < batches; n++) {
        const reply = await client.reply();
        if (
          n % 5 === 4
            ? code(reply) === '22012' && reply.errors.length === 1
            : JSON.stringify(reply.rows) === `[["${c}:${n}"],["${n + 1}"]]`
        )
          right++;
      }
    }),
  );
  t.equal(right, clients.length * batches);
  await Promise.all(clients.map((client) => client.end()));
  await settled();
});

t.test('Flush answers without a Sync; a portal is read in pieces; an error is ignored up to the Sync', (t) =>
  withClients(2, async (a, b) => {
    a.write(say.parse({ text: 'select generate_series(1, 5)' }), say.bind({}), say.execute({ rows: 2 }), say.flush());
    t.equal((await a.until('s')).map(({ tag }) => tag).join(''), '12DDs');
    const waiting = b.value('select 8');
    a.write(say.execute({ rows: 10 }), say.flush());
    t.equal((await a.until('C')).map(({ tag }) => tag).join(''), 'DDDC');
    a.write(say.sync());
    t.equal((await a.reply()).tags, 'Z');
    t.equal(await waiting, '8');

    a.write(say.parse({ text: 'select 1 / (id - id) from account' }), say.bind({}), say.execute({}), say.flush());
    t.equal((await a.until('E')).map(({ tag }) => tag).join(''), '12E');
    a.write(...extended('select 1'), say.flush(), say.query('select 2'));
    a.write(...extended('select 3'), say.sync());
    t.equal((await a.reply()).tags, 'Z', 'everything before the Sync is ignored');
    t.equal(await a.value('select 9'), '9');
  }),
);

t.test('unnamed statements live across Syncs, each client having its own', (t) =>
  withClients(2, async (a, b) => {
    for (const [client, text] of [
      [a, "select 'a' || $1::text"],
      [b, "select 'b' || $1::text"],
    ] as const) {
      client.write(say.parse({ text }), say.sync());
      t.equal((await client.reply()).tags, '1Z');
    }
    for (let n = 0; n < 3; n++) {
      for (const [client, letter] of [
        [a, 'a'],
        [b, 'b'],
      ] as const) {
        client.write(say.bind({ values: [`${n}`] }), say.execute(), say.sync());
        t.same((await client.reply()).rows, [[`${letter}${n}`]]);
      }
    }
    await a.query('select 1');
    a.write(say.bind({ values: ['x'] }), say.execute(), say.sync());
    t.equal(code(await a.reply()), '26000', 'a simple query empties the slot');
    b.write(say.bind({ values: ['x'] }), say.execute(), say.sync());
    t.same((await b.reply()).rows, [['bx']]);
  }),
);

t.test('named statements: closed, replaced, failed, described, discarded, each client having its own', (t) =>
  withClients(2, async (a, b) => {
    const parse = async (client: RawClient, name: string, text: string): Promise<Reply> => {
      client.write(say.parse({ name, text }), say.sync());
      return client.reply();
    };
    const use = async (client: RawClient, statement: string): Promise<Reply> => {
      client.write(say.bind({ statement }), say.execute(), say.sync());
      return client.reply();
    };
    t.equal((await parse(a, 's', 'select 1')).tags, '1Z');
    t.equal((await parse(b, 's', 'select 2')).tags, '1Z');
    t.same((await use(a, 's')).rows, [['1']]);
    t.same((await use(b, 's')).rows, [['2']]);
    t.equal(code(await parse(a, 's', 'select 3')), '42P05');
    t.same((await use(a, 's')).rows, [['1']]);
    a.write(say.describe({ type: 'S', name: 's' }), say.sync());
    t.equal((await a.reply()).tags, 'tTZ');
    a.write(say.close({ type: 'S', name: 's' }), say.sync());
    t.equal((await a.reply()).tags, '3Z');
    t.equal(code(await use(a, 's')), '26000');
    t.same((await use(b, 's')).rows, [['2']]);
    t.equal((await parse(a, 's', 'select 4')).tags, '1Z');
    t.same((await use(a, 's')).rows, [['4']]);

    t.equal(code(await parse(a, 'bad', 'select * from nowhere')), '42P01');
    t.equal(code(await use(a, 'bad')), '26000');
    await server.query('create table nowhere (n int)');
    t.equal((await parse(a, 'bad', 'select * from nowhere')).tags, '1Z');
    t.same((await use(a, 'bad')).errors, []);

    // A Parse behind an error never happened.
    a.write(...extended('select 1/0'), say.parse({ name: 'behind', text: 'select 5' }), say.sync());
    t.equal(code(await a.reply()), '22012');
    t.equal(code(await use(a, 'behind')), '26000');
    t.equal((await parse(a, 'behind', 'select 5')).tags, '1Z');

    await a.query('discard all');
    t.equal(code(await use(a, 's')), '26000');
    t.same((await use(b, 's')).rows, [['2']]);
    t.equal((await parse(a, 's', 'select 6')).tags, '1Z');
    await b.query('deallocate all');
    t.equal(code(await use(b, 's')), '26000');
    t.same((await use(a, 's')).rows, [['6']]);

    await a.query('begin');
    t.equal((await parse(a, 'in', 'select 7')).tags, '1Z');
    await a.query('rollback');
    t.same((await use(a, 'in')).rows, [['7']], 'statements outlive the transaction they were prepared in');
  }),
);

t.test('FunctionCall runs and is answered like a query', (t) =>
  withClients(2, async (a, b) => {
    const oid = Number(await b.value("select 'pg_catalog.int4pl(int4,int4)'::regprocedure::oid"));
    const call = Buffer.alloc(4 + 2 + 2 + 2 + 8 + 8 + 2);
    let at = call.writeInt32BE(oid, 0);
    at = call.writeInt16BE(1, at);
    at = call.writeInt16BE(1, at);
    at = call.writeInt16BE(2, at);
    for (const n of [20, 22]) {
      at = call.writeInt32BE(4, at);
      at = call.writeInt32BE(n, at);
    }
    call.writeInt16BE(1, at);
    a.write(frame('F', call));
    const messages = await a.until('Z');
    t.equal(messages.map(({ tag }) => tag).join(''), 'VZ');
    t.equal(messages[0]?.body.readInt32BE(4), 42);
    t.equal(await b.value('select 1'), '1');
  }),
);

t.test(
  'COPY by the simple and the extended protocol, failed by the client, by the data, and with a Sync too many',
  (t) =>
    withClients(2, async (a, b) => {
      await a.query('create table copied (n int)');
      const count = (): Promise<string | null> => b.value('select count(*) from copied');
      a.write(say.query('copy copied from stdin'), say.copyData(Buffer.from('1\n2\n')), say.copyDone());
      t.equal((await a.reply()).tags, 'GCZ');
      t.equal(await count(), '2');
      a.write(...extended('copy copied from stdin'), say.copyData(Buffer.from('3\n')), say.copyDone(), say.sync());
      t.equal((await a.reply()).tags, '12nGCZ');
      t.equal(await count(), '3');
      // As libpq does it: Sync before it knows that a COPY begins.
      a.write(...extended('copy copied from stdin'), say.sync());
      t.equal((await a.until('G')).at(-1)?.tag, 'G');
      a.write(say.copyData(Buffer.from('4\n')), say.copyDone(), say.sync());
      t.equal((await a.reply()).tags, 'CZ');
      t.equal(await count(), '4');

      a.write(say.query('copy copied from stdin'), say.copyData(Buffer.from('5\n')), say.copyFail('no more'));
      const failed = await a.reply();
      t.equal(code(failed), '57014');
      t.match(failed.errors[0]?.['M'], /no more/);
      a.write(
        say.query('copy copied from stdin'),
        say.copyData(Buffer.from('x\n')),
        say.copyData(Buffer.from('6\n')),
        say.copyDone(),
      );
      t.equal(code(await a.reply()), '22P02');
      t.equal(await a.value('select 1'), '1', 'late copy messages are overlooked');
      t.equal(await count(), '4');

      const out = await a.query('copy copied to stdout');
      t.equal(out.tags, 'HddddcCZ');
      t.equal((await a.execute('copy (select 1/0) to stdout')).errors[0]?.['C'], '22012');
      t.equal((await a.query('copy copied to stdout; select 1; copy copied to stdout')).tags, 'HddddcCTDCHddddcCZ');
      t.equal(await count(), '4');
    }),
);

t.test('protocol 3.2 is spoken, newer ones are negotiated down, unknown options are named', async (t) => {
  const newer = await connect({}, { minor: 2 });
  t.equal(newer.cancelSecret.length, 32);
  t.equal(await newer.value('select 1'), '1');
  await newer.end();
  const oldest = await connect({}, { minor: 0 });
  t.equal(oldest.cancelSecret.length, 4);
  await oldest.end();
  const future = await RawClient.open(weir);
  future.write(startup({ minor: 9, parameters: { '_pq_.magic': 'on' } }));
  const first = await future.next();
  t.equal(first.tag, 'v');
  t.equal(first.body.readInt32BE(0) & 0xffff, 2);
  t.match(first.body.toString('latin1'), /_pq_\.magic/);
  t.equal((await future.reply()).status, 'I');
  await future.end();
});

t.test('a startup setting PostgreSQL does not take is refused in its own words', async (t) => {
  const refusals: readonly (readonly [Record<string, string>, string, RegExp])[] = [
    [{ TimeZone: 'Nowhere/Land' }, '22023', /^invalid value for parameter "TimeZone": "Nowhere\/Land"$/],
    [{ no_such_setting: '1' }, '42704', /^unrecognized configuration parameter "no_such_setting"$/],
    [{ options: '-c work_mem=lots' }, '22023', /^invalid value for parameter "work_mem": "lots"$/],
    [{ options: '-c statement_timeout=-5' }, '22023', /outside the valid range/],
    [{ client_encoding: 'KLINGON' }, '22023', /client_encoding/],
    [{ shared_buffers: '1MB' }, '55P02', /cannot be changed without restarting the server/],
    [
      { options: '-d 5' },
      '08P01',
      /^unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed$/,
    ],
    [{ 'bad name': '1' }, '08P01', /^unsupported startup parameter: bad name$/],
  ];
  for (const [parameters, sqlstate, message] of refusals) {
    const client = await RawClient.open(weir);
    client.write(startup({ parameters }));
    const fields = await client.fatal();
    t.match(fields, { S: 'FATAL', C: sqlstate, M: message }, JSON.stringify(parameters));
  }
  const fine = await connect();
  t.equal(await fine.value('show timezone'), 'GMT');
  await fine.end();
  await settled();
});

// Leaving

t.test('a client that leaves in a transaction releases its locks, and the server is used again', async (t) => {
  for (const [how, status] of [
    ['vanish', 'in a transaction'],
    ['end', 'in a transaction'],
    ['vanish', 'in a failed transaction'],
  ] as const) {
    const a = await connect();
    const pid = await serverPid(a);
    await a.query('begin');
    await a.query('update account set amount = 0 where id = 1');
    await a.query('select pg_advisory_lock(99)');
    if (status === 'in a failed transaction') await a.query('select 1/0');
    await a[how]();
    await withClients(1, async (b) => {
      t.equal(await b.value('select amount from account where id = 1 for update nowait'), '100', `${how} ${status}`);
      t.equal(await b.value("select count(*) from pg_locks where locktype = 'advisory'"), '0');
      t.equal(await serverPid(b), pid, 'the server was cleaned, not thrown away');
    });
  }
});

t.test('a client that leaves in mid-query: the query is cancelled and nobody else sees anything of it', async (t) => {
  for (const sql of [
    'select pg_sleep(60)',
    "select repeat('x', 1000) from generate_series(1, 10000000)",
    'begin; select pg_sleep(60)',
  ]) {
    for (const way of ['query', 'execute'] as const) {
      if (way === 'execute' && sql.startsWith('begin')) continue;
      const a = await connect();
      const b = await connect();
      a[way](sql).catch(() => {});
      await eventually(() => [...weir.pooler.pools].some(({ counts }) => counts.active === 1));
      await a.vanish();
      const started = performance.now();
      t.equal(await b.value("select 'mine'"), 'mine', sql);
      t.ok(performance.now() - started < 5_000);
      t.equal(
        await b.value(
          "select count(*) from pg_stat_activity where query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()",
        ),
        '0',
      );
      await b.end();
      await settled();
    }
  }
});

t.test('a client that leaves in mid-COPY or mid-message: nothing of it is kept, the next one is served', async (t) => {
  await server.query('create table half (n int)');
  const leave: readonly (readonly [string, readonly Buffer[]])[] = [
    ['COPY in', [say.query('copy half from stdin'), say.copyData(Buffer.from('1\n'))]],
    [
      'COPY in by the extended protocol',
      [...extended('copy half from stdin'), say.flush(), say.copyData(Buffer.from('1\n'))],
    ],
    ['half a CopyData', [say.query('copy half from stdin'), frame('d', Buffer.from('1\n'), 1_000_000)]],
    ['COPY out', [say.query('copy (select generate_series(1, 10000000)) to stdout')]],
    ['half a Query', [frame('Q', Buffer.from('insert into half values (1)'), 200_000)]],
    ['half a Bind', [say.parse({ text: 'select $1' }), frame('B', Buffer.from('\0\0\0\0\0\x01'), 500_000)]],
    ['no Sync', extended('insert into half values (1)')],
    ['no Sync, but Flush', [...extended('insert into half values (1)'), say.flush()]],
    ['no Sync after an error', [...extended('select 1/0'), say.flush()]],
  ];
  for (const [what, messages] of leave) {
    const a = await connect();
    const b = await connect();
    a.write(...messages);
    await new Promise((resolve) => setTimeout(resolve, 30));
    await a.vanish();
    t.equal(await b.value("select 'mine'"), 'mine', what);
    t.equal(await b.value('select count(*) from half'), '0', what);
    await b.end();
    await settled();
  }
});

t.test('a message whose rest never comes holds no server, or gives it back when the client leaves', async (t) => {
  const a = await connect();
  const b = await connect();
  a.write(say.query('select 1').subarray(0, 4));
  t.equal(await b.value('select 2'), '2');
  a.write(say.query('select 1').subarray(4, 9));
  t.equal(await b.value('select 2'), '2');
  a.write(say.query('select 1').subarray(9));
  t.same((await a.reply()).rows, [['1']]);
  await a.end();
  await b.end();
});

// Other modes

t.test('session mode: everything stays until the client leaves, then nothing does', async (t) => {
  const session = await start('session');
  t.teardown(() => session.stop());
  const a = await RawClient.connect(session, { parameters: { application_name: 'first' } });
  const pid = await serverPid(a);
  await a.query('create temp table mine (n int)');
  await a.query("set work_mem = '9MB'; prepare p as select 'p'; select pg_advisory_lock(3); listen news");
  a.write(say.parse({ name: 'q', text: "select 'q'" }), say.sync());
  await a.reply();
  const b = await RawClient.connect(session);
  const waiting = b.query(
    'select pg_backend_pid(), current_setting($$work_mem$$), current_setting($$application_name$$)',
  );
  t.equal(await a.value('show work_mem'), '9MB');
  t.equal(await a.value('execute p'), 'p');
  t.equal(await a.value('select count(*) from mine'), '0');
  await server.query('notify news');
  const heard = await a.next();
  t.equal(heard.tag, 'A');
  a.write(say.bind({ statement: 'q' }), say.execute(), say.sync());
  t.same((await a.reply()).rows, [['q']]);
  t.equal([...session.pooler.pools][0]?.waiting, 1, 'the other waits for the session to end');
  await a.end();
  t.same((await waiting).rows, [[pid, '4MB', '']]);
  for (const look of [
    "select count(*) from pg_class where relname = 'mine'",
    'select count(*) from pg_prepared_statements',
    'select count(*) from pg_listening_channels()',
    "select count(*) from pg_locks where locktype = 'advisory'",
  ]) {
    t.equal(await b.value(look), '0');
  }
  await b.end();
});

t.test('session mode: a client that leaves in the middle of things', async (t) => {
  const session = await start('session');
  t.teardown(() => session.stop());
  for (const sql of [
    'begin; update account set amount = 0',
    'select pg_sleep(60)',
    'copy half from stdin',
    'select pg_advisory_lock(4)',
  ]) {
    const a = await RawClient.connect(session);
    a.write(say.query(sql));
    await new Promise((resolve) => setTimeout(resolve, 30));
    await a.vanish();
    const b = await RawClient.connect(session);
    t.equal(await b.value('select sum(amount) from account'), '1000', sql);
    t.equal(await b.value("select count(*) from pg_locks where locktype = 'advisory'"), '0', sql);
    await b.end();
  }
});

t.test('statement mode: statements run, transactions are refused', async (t) => {
  const statement = await start('statement');
  t.teardown(() => statement.stop());
  const refusal = { S: 'FATAL', C: '08P01', M: 'transaction blocks not allowed in statement pooling mode' };
  for (const begin of ['begin', 'start transaction', 'select 1; begin']) {
    const a = await RawClient.connect(statement);
    t.equal(await a.value('select 1'), '1');
    a.write(say.query(begin));
    t.match(await a.fatal(), refusal, begin);
  }
  const b = await RawClient.connect(statement);
  t.same((await b.query('begin; update account set amount = amount; commit')).commands, [
    'BEGIN',
    'UPDATE 10',
    'COMMIT',
  ]);
  t.same((await b.execute('select $1::int', ['5'])).rows, [['5']]);
  t.equal(await b.value("select count(*) from pg_stat_activity where state like 'idle in transaction%'"), '0');
  await b.end();
});
