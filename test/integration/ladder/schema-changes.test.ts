// Prepared statements over a change of the schema: a client meets PostgreSQL's 0A000 exactly where it would on its own server.

import t from 'tap';
import { frame, say } from '../../support/raw-client.js';
import { type Actor, Ladder, type Outcome, type RowOptions, type Scenario } from './rig.js';

const ladder = await Ladder.start(t);

const things = [
  'create table thing (x int, y text)',
  "insert into thing values (1, 'y')",
  'alter table thing owner to app',
];
const change = "alter table thing drop column x; alter table thing add column x text default 'secret'";

/** Bind and Execute alone, as by a driver that remembers the columns. */
async function run(client: Actor, name: string, values: readonly (string | null)[] = []): Promise<Outcome> {
  return client.messages(
    `run ${name} ${JSON.stringify(values)}`,
    say.bind({ statement: name, values: [...values] }),
    say.execute(),
    say.sync(),
  );
}

/** Parse, Describe, Bind and Execute, as drivers do the first time. */
async function first(client: Actor, name: string, text: string, values: readonly string[] = []): Promise<Outcome> {
  return client.messages(
    `first ${name}: ${text} ${JSON.stringify(values)}`,
    say.parse({ name, text, types: [] }),
    say.describe({ type: 'S', name }),
    say.bind({ statement: name, values: [...values] }),
    say.execute(),
    say.sync(),
  );
}

/** Other clients keep all servers but one that has not been used, so that whoever comes next gets that one. */
async function elsewhere(s: Scenario, used: number, steps: () => Promise<void>): Promise<void> {
  const others: Actor[] = [];
  for (let n = 0; n < used; n++) {
    const other = await s.client(`holder ${n} of ${used}`);
    await other.does('begin; select 1');
    others.push(other);
  }
  await steps();
  for (const other of others) await other.does('commit');
}

/** On one server without lanes, and on three with them. */
function row(title: string, steps: (s: Scenario) => Promise<void>, setup: readonly string[] = things): void {
  for (const [servers, lanes] of [
    [1, 'off'],
    [3, 'auto'],
  ] as const) {
    const options: RowOptions = { servers, setup, weir: { lanes } };
    ladder.row(`${title} (lanes ${lanes})`, steps, options);
  }
}

row('all who remember the columns get the error, each time', async (s) => {
  const clients = await Promise.all(['a', 'b', 'c', 'd'].map((name) => s.client(name)));
  for (const client of clients) await first(client, 's', 'select * from thing');
  await s.admin(change);
  for (let n = 0; n < 2; n++) {
    for (const client of clients) {
      const outcome = await run(client, 's');
      s.t.match(outcome.errors, [{ C: '0A000', R: 'RevalidateCachedQuery' }], s.where);
    }
  }
  for (const client of clients) {
    await client.close('s');
    await first(client, 's', 'select * from thing');
    s.t.same((await run(client, 's')).rows, [['y', 'secret']]);
  }
});

row('the error is the same after many reads, in a transaction, and behind a savepoint', async (s) => {
  const [a, b] = await s.pair();
  await first(a, 's', 'select * from thing');
  await first(b, 's', 'select * from thing');
  for (let n = 0; n < 20; n++) {
    await run(a, 's');
    await run(b, 's');
  }
  await b.does(change);
  s.t.equal((await run(a, 's')).errors[0]?.['C'], '0A000', s.where);
  await a.does('begin');
  s.t.equal((await run(a, 's')).status, 'E', s.where);
  await a.does('rollback', 'begin', 'savepoint one');
  await run(a, 's');
  await a.does('rollback to one');
  await a.query('select count(*) from thing');
  await a.does('commit');
  await run(b, 's');
});

row('changed back, the statement works again', async (s) => {
  const [a] = await s.pair();
  await first(a, 's', 'select y from thing');
  await s.admin('alter table thing alter column y type int using 1');
  s.t.equal((await run(a, 's')).errors[0]?.['C'], '0A000', s.where);
  await s.admin("alter table thing alter column y type text using 'again'");
  s.t.same((await run(a, 's')).rows, [['again']], s.where);
});

ladder.row(
  'on a server that never had the statement the error is the same',
  async (s) => {
    const [a, b] = await s.pair();
    await first(a, 's', 'select * from thing');
    await first(b, 's', 'insert into thing values (2, $1) returning *', ['two']);
    await s.admin(change);
    await elsewhere(s, 1, async () => {
      s.t.match((await run(a, 's')).errors, [{ C: '0A000', R: 'RevalidateCachedQuery' }], s.where);
      s.t.equal((await run(b, 's', ['three'])).errors[0]?.['C'], '0A000', s.where);
    });
    await elsewhere(s, 2, async () => {
      await a.messages('formats', say.bind({ statement: 's', binary: false }), say.execute(), say.sync());
      await a.does('begin');
      s.t.equal((await run(a, 's')).status, 'E', s.where);
      await a.does('rollback');
    });
    await a.query('select * from thing');
  },
  { servers: 3, setup: things },
);

ladder.row(
  'nothing is executed where the error comes',
  async (s) => {
    const [a] = await s.pair();
    await first(a, 's', 'insert into thing (x) values (2) returning *');
    await s.admin('alter table thing add column z int');
    await elsewhere(s, 1, async () => {
      s.t.equal((await run(a, 's')).errors[0]?.['C'], '0A000', s.where);
    });
    await a.gives('select count(*) from thing', '2');
  },
  { servers: 2, setup: things },
);

row('what is parsed anew has the new types', async (s) => {
  const [a, b] = await s.pair();
  const text = 'select x from thing where x = $1';
  await first(a, 's', text, ['1']);
  await s.admin('alter table thing alter column x type bigint');
  s.t.same((await first(b, 'n', text, ['5000000000'])).errors, [], s.where);
  await first(a, 'again', text, ['5000000000']);
  await run(a, 's', ['5000000000']);
  await run(a, 's', ['1']);
  await run(b, 'n', ['5000000000']);
  const late = await s.client('late');
  await late.messages('describe', say.parse({ name: 'l', text }), say.describe({ type: 'S', name: 'l' }), say.sync());
  await s.admin('alter table thing alter column x type text');
  await first(late, 'l2', text, ['five']);
  await first(b, 'n2', text, ['five']);
  await run(b, 'n', ['1']);
  await run(late, 'l2', ['five']);
});

row('an assignment that does not fit any more fails for who parsed it before, and for nobody else', async (s) => {
  const [a, b] = await s.pair();
  const text = 'insert into thing (y) values ($1) returning y';
  await first(a, 's', text, ['1']);
  await first(b, 's', text, ['1']);
  await s.admin("alter table thing alter column y type int using case when y = 'y' then 0 else y::int end");
  for (let n = 0; n < 2; n++) {
    s.t.equal((await run(a, 's', ['2'])).errors[0]?.['C'], '42804', s.where);
    s.t.same((await first(a, `again ${n}`, text, ['3'])).errors, [], s.where);
    s.t.same((await first(b, `again ${n}`, text, ['3'])).errors, [], s.where);
    s.t.equal((await run(b, 's', ['2'])).errors[0]?.['C'], '42804', s.where);
  }
});

row('a Parse of what has gone is refused', async (s) => {
  const [a, b] = await s.pair();
  await first(a, 's', 'select x from thing');
  await s.admin('alter table thing drop column x');
  s.t.equal((await b.parse('s', 'select x from thing')).errors[0]?.['C'], '42703', s.where);
  await run(a, 's');
  await run(b, 's');
  await first(b, 's', 'select x from thing');
});

row(
  'a Parse finds a new overload, and a table in a schema that comes first',
  async (s) => {
    const [a, b] = await s.pair();
    for (const client of [a, b]) await client.does('set search_path = one, public');
    const text = 'select f($1::int) as f, (select what from place) as what';
    await first(a, 's', text, ['1']);
    await s.admin("create function public.f(int) returns text language sql as $$ select 'int' $$");
    await s.admin("create table one.place as select 'one' as what; grant all on one.place to public");
    await first(b, 's', text, ['1']);
    await first(a, 'again', text, ['1']);
    await run(a, 'again', ['1']);
    await run(b, 's', ['1']);
  },
  [
    'drop schema if exists one cascade',
    'create schema one authorization app',
    "create function public.f(bigint) returns text language sql as $$ select 'bigint' $$",
    "create table public.place as select 'public' as what",
    'grant all on public.place to public',
  ],
);

row('what SQL has prepared gives the same errors', async (s) => {
  const [a, b] = await s.pair();
  await a.does('prepare p as select * from thing', 'prepare q(int) as select $1 + 1, x from thing');
  await b.does('prepare p as select y from thing');
  await a.query('execute p');
  await b.query('execute p');
  await a.query('execute q(1)');
  await s.admin(change);
  for (let n = 0; n < 2; n++) {
    s.t.equal((await a.query('execute p')).errors[0]?.['C'], '0A000', s.where);
    s.t.same((await b.query('execute p')).rows, [['y']], s.where);
    await a.query('execute q(1)');
  }
  await a.does('begin');
  s.t.equal((await a.query('execute p')).status, 'E', s.where);
  await a.does('rollback', 'deallocate p', 'prepare p as select * from thing');
  s.t.same((await a.query('execute p')).rows, [['y', 'secret']], s.where);
});

ladder.row(
  'what SQL has prepared gives the same errors on another server',
  async (s) => {
    const [a] = await s.pair();
    await a.does('prepare p as select * from thing');
    await s.admin(change);
    await elsewhere(s, 1, async () => {
      for (let n = 0; n < 2; n++) s.t.equal((await a.query('execute p')).errors[0]?.['C'], '0A000', s.where);
      await a.does('begin');
      s.t.equal((await a.query('execute p')).status, 'E', s.where);
      await a.does('rollback');
    });
    await a.does('deallocate p', 'prepare p as select * from thing');
    await elsewhere(s, 1, async () => {
      s.t.same((await a.query('execute p')).rows, [['y', 'secret']], s.where);
    });
  },
  { servers: 2, setup: things },
);

ladder.row(
  'an unnamed statement used behind its Sync, on another server',
  async (s) => {
    const [a, b] = await s.pair();
    const bind = [say.bind(), say.execute(), say.sync()];
    for (const client of [a, b]) {
      await client.messages('parse', say.parse({ text: 'select * from thing' }), say.sync());
      if (client === b) await client.messages('describe', say.describe({ type: 'S' }), say.sync());
    }
    await elsewhere(s, 1, async () => {
      await a.messages('bind', ...bind);
      await s.admin(change);
    });
    await elsewhere(s, 2, async () => {
      for (let n = 0; n < 2; n++) {
        s.t.equal((await a.messages('bind', ...bind)).errors[0]?.['C'], '0A000', s.where);
        s.t.equal((await b.messages('bind', ...bind)).errors[0]?.['C'], '0A000', s.where);
      }
    });
    await a.messages('parse', say.parse({ text: 'select * from thing' }), say.describe({ type: 'S' }), say.sync());
    s.t.same((await a.messages('bind', ...bind)).rows, [['y', 'secret']]);
  },
  { servers: 3, setup: things },
);

ladder.row(
  'the description of an unnamed EXECUTE is that of what it executes, on another server',
  async (s) => {
    const [a] = await s.pair();
    await a.does('prepare test as select 1 as first, 2 as second');
    await a.messages('parse', say.parse({ text: 'execute test' }), say.sync());
    await a.messages('parse', say.parse({ name: 'e', text: 'execute test' }), say.sync());
    await elsewhere(s, 1, async () => {
      s.t.equal((await a.messages('describe', say.describe({ type: 'S' }), say.sync())).columns.length, 2, s.where);
      await a.messages('bind', say.bind(), say.describe({ type: 'P' }), say.execute(), say.sync());
      await a.describe('e');
      await a.bind('e');
    });
  },
  { servers: 2 },
);

row('two statements of one batch, of which the second has changed', async (s) => {
  const [a] = await s.pair();
  await a.parse('one', 'insert into thing (x) values (5) returning x');
  await first(a, 'two', 'select * from thing');
  await s.admin('alter table thing add column z int');
  await a.messages(
    'both',
    say.bind({ statement: 'one' }),
    say.execute(),
    say.bind({ statement: 'two' }),
    say.execute(),
    say.sync(),
  );
  await a.gives('select count(*) from thing', '1');
});

t.test('clients that ask for the columns see no error, and leave it to the others', async (t) => {
  const l = await Ladder.start(t);
  for (const servers of [1, 2]) {
    l.weirRow(
      `with ${servers} servers`,
      async (s) => {
        const [a, b] = await s.pair();
        await first(a, 's', 'select * from thing');
        await first(b, 's', 'select * from thing');
        await s.admin(change);
        for (let n = 0; n < 3; n++) {
          s.t.same((await a.bind('s')).rows, [['y', 'secret']]);
          s.t.equal((await run(b, 's')).errors[0]?.['C'], '0A000');
        }
        await elsewhere(s, servers - 1, async () => {
          s.t.same((await a.bind('s')).rows, [['y', 'secret']]);
          s.t.equal((await run(b, 's')).errors[0]?.['C'], '0A000');
        });
        s.t.equal((await b.describe('s')).tags, 'tTZ');
        s.t.same((await b.bind('s')).rows, [['y', 'secret']]);
        s.t.same((await run(b, 's')).rows, [['y', 'secret']], 'it has been told the columns now');
      },
      { servers, setup: things },
    );
  }
});

/** A Bind with one binary value. */
function bindBinary(value: Buffer): Buffer {
  return say.bind({ statement: 's', values: [value] });
}

t.test('what is healed takes the values as the client knows the parameters', async (t) => {
  const l = await Ladder.start(t);
  const value = Buffer.from('0000000000000064', 'hex');
  for (const type of ['double precision', 'numeric', 'text', 'int', 'real']) {
    l.weirRow(
      `bigint to ${type}`,
      async (s) => {
        const [a] = await s.pair();
        await first(a, 's', 'insert into pay values (1, $1) returning *', ['1']);
        await s.admin(`alter table pay alter column amount type ${type}`);
        const parts = [bindBinary(value), say.describe({ type: 'P', name: '' }), say.execute(), say.sync()];
        const { rows, errors } = await a.messages('run with a binary value', ...parts);
        if (errors.length === 0) s.t.same(rows, [['1', '100']], s.where);
        else s.t.match(errors, [{ C: '0A000' }], s.where);
      },
      { servers: 1, setup: ['create table pay (id int, amount bigint)', 'alter table pay owner to app'] },
    );
  }
});

t.test('who has not been told the new columns is not served by them afterwards', async (t) => {
  const l = await Ladder.start(t);
  const text = 'select * from thing where x = $1 or 1 / $1 = 0';
  l.weirRow(
    'after an error of what was healed',
    async (s) => {
      const [a] = await s.pair();
      await first(a, 's', text, ['1']);
      await s.admin("alter table thing add column z text default 'new'");
      const described = [say.describe({ type: 'P', name: '' }), say.execute(), say.sync()];
      const failed = await a.messages('fails', say.bind({ statement: 's', values: ['0'] }), ...described);
      s.t.equal(failed.errors[0]?.['C'], '22012', s.where);
      s.t.match((await run(a, 's', ['1'])).errors, [{ C: '0A000', R: 'RevalidateCachedQuery' }], s.where);
      const told = await a.messages('is told', say.bind({ statement: 's', values: ['1'] }), ...described);
      s.t.same(told.rows, [['1', 'y', 'new']], s.where);
      s.t.same((await run(a, 's', ['1'])).rows, [['1', 'y', 'new']], s.where);
    },
    { servers: 1, setup: things },
  );
  const formats = (...codes: number[]): Buffer => {
    const body = Buffer.from([
      0,
      ...Buffer.from('s\0'),
      0,
      0,
      0,
      0,
      0,
      codes.length,
      ...codes.flatMap((code) => [0, code]),
    ]);
    return frame('B', body);
  };
  l.row(
    'where it has bound a format for each of the old columns',
    async (s) => {
      const [a] = await s.pair();
      await first(a, 's', 'select * from thing');
      await s.admin("alter table thing add column z text default 'new'");
      for (let n = 0; n < 2; n++) {
        const parts = [formats(1, 0), say.describe({ type: 'P', name: '' }), say.execute(), say.sync()];
        const { errors } = await a.messages('bind with formats', ...parts);
        s.t.match(errors, [{ C: '0A000', R: 'RevalidateCachedQuery' }], s.where);
      }
      await run(a, 's');
    },
    { servers: 1, setup: things },
  );
});

t.test("the same where another client's values of sequences are discarded before it", async (t) => {
  const l = await Ladder.start(t);
  l.weirRow(
    'on one server',
    async (s) => {
      const [a, b] = await s.pair();
      await first(a, 's', "insert into thing (y) values ('z') returning *");
      await b.query("select nextval('counter')");
      await s.admin(change);
      s.t.same((await a.bind('s')).rows, [['z', 'secret']]);
      s.t.equal((await a.query('select lastval()')).errors[0]?.['C'], '55000', 'they were');
    },
    { servers: 1, setup: [...things, 'create sequence counter', 'grant all on sequence counter to app'] },
  );
});

t.test('who does not ask for the columns before each run gets the error, whatever else the batch holds', async (t) => {
  const l = await Ladder.start(t);
  const bindAndRun = [say.bind({ statement: 's' }), say.execute()] as const;
  const described = [say.bind({ statement: 's' }), say.describe({ type: 'P', name: '' }), say.execute()] as const;
  const other = [say.bind({ statement: 'z' }), say.describe({ type: 'P', name: '' }), say.execute()] as const;
  const batches = {
    'another statement is described': [...bindAndRun, ...other],
    'it is described behind its first run': [...bindAndRun, ...described],
    'the statement is described behind its run': [...bindAndRun, say.describe({ type: 'S', name: 's' })],
    'it is described before its first run only': [...described, ...bindAndRun],
    'another one of the same text is not described': [...described, say.bind({ statement: 'same' }), say.execute()],
    'another one of the same text is described first': [say.describe({ type: 'S', name: 'same' }), ...bindAndRun],
  };
  for (const [title, batch] of Object.entries(batches)) {
    l.row(
      title,
      async (s) => {
        const [a] = await s.pair();
        await first(a, 's', 'select * from thing');
        await first(a, 'z', 'select 1 as one');
        await first(a, 'same', 'select * from thing');
        await s.admin(change);
        const outcome = await a.messages(title, ...batch, say.sync());
        s.t.match(outcome.errors, [{ C: '0A000', R: 'RevalidateCachedQuery' }], s.where);
      },
      { servers: 1, setup: things },
    );
  }
});

row(
  'an error of that state with another cause is no change of the columns',
  async (s) => {
    const [a] = await s.pair();
    const text = 'select * from held where b = $1';
    s.t.match((await first(a, 's', text, ['x'])).errors, [{ C: '0A000', R: 'record_in' }], s.where);
    await s.admin('alter table held alter column b type int using null');
    const described = [
      say.bind({ statement: 's', values: ['1'] }),
      say.describe({ type: 'P', name: '' }),
      say.execute(),
    ];
    const outcome = await a.messages('bind s and describe it', ...described, say.sync());
    s.t.match(outcome.errors, [{ C: '0A000', R: 'record_in' }], s.where);
  },
  ['create type pair as (l int, r text)', 'create table held (a int, b pair)', 'alter table held owner to app'],
);

row('SQL closes a name that has changed and prepares it anew in one text', async (s) => {
  const [a, b] = await s.pair();
  const texts = [
    'deallocate p; prepare p as select * from thing; execute p',
    'begin; deallocate p; prepare p as select * from thing; execute p; commit',
    'deallocate p; execute p',
  ];
  for (const [n, text] of texts.entries()) {
    await a.does('prepare p as select * from thing');
    await a.query('execute p');
    // Its server has that of another client instead.
    await b.does("prepare p as select 'of b'", 'execute p', 'deallocate p');
    await s.admin(`alter table thing add column n${n} int`);
    for (let run = 0; run < 2; run++) {
      await a.query(text);
      await a.query('rollback');
    }
    await a.query('deallocate p');
  }
});

t.test('what is refused behind a statement that has changed undoes it, as on a direct connection', async (t) => {
  const l = await Ladder.start(t);
  const text = "insert into thing (y) values ('z') returning *";
  const stale = [say.bind({ statement: 's' }), say.describe({ type: 'P', name: '' }), say.execute()] as const;
  const refusals = {
    'a Bind of a name that is unknown': [say.bind({ statement: 'nope' }), say.execute()],
    'a Describe of one': [say.describe({ type: 'S', name: 'nope' })],
    'a name that is taken': [say.parse({ name: 's', text, types: [] })],
    'an unnamed statement that is not there': [say.bind({ statement: '' }), say.execute()],
  };
  for (const [title, messages] of Object.entries(refusals)) {
    l.row(
      title,
      async (s) => {
        const [a, b] = await s.pair();
        await a.messages('parse', say.parse({ name: 's', text, types: [] }), say.sync());
        await b.messages('unnamed', say.parse({ name: '', text: 'select 2', types: [] }), say.sync());
        await s.admin(change);
        const outcome = await a.messages(title, ...stale, ...messages, say.sync());
        s.t.equal(outcome.errors[0]?.['C'], '0A000', s.where);
        await a.gives('select count(*) from thing', '1');
      },
      { servers: 1, setup: things },
    );
  }
});
