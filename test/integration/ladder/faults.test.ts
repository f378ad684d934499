// Faults with session state: servers that die, clients that vanish, queries that are cancelled; nobody inherits anything.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { type Actor, Ladder, type Scenario } from './rig.js';

const ladder = await Ladder.start(t);

interface Row {
  readonly name: string;
  readonly make: readonly string[];
  /** What a client that has none of it is told, and one that has. */
  readonly ask: string;
  readonly none: string;
  readonly own: string;
  /** Whether it can be had again on another server. */
  readonly carried: boolean;
}

const rows: readonly Row[] = [
  { name: 'setting', make: ["set work_mem = '5MB'"], ask: 'show work_mem', none: '4MB', own: '5MB', carried: true },
  {
    name: 'custom setting',
    make: ["set app.x = 'one'"],
    ask: "select coalesce(current_setting('app.x', true), '')",
    none: '',
    own: 'one',
    carried: true,
  },
  { name: 'role', make: ['set role reader'], ask: 'select current_user', none: 'app', own: 'reader', carried: true },
  { name: 'statement', make: ["prepare p as select 'x'"], ask: 'execute p', none: '26000', own: 'x', carried: true },
  {
    name: 'setting of a function',
    make: ["do $$ begin set work_mem = '5MB'; end $$"],
    ask: 'show work_mem',
    none: '4MB',
    own: '5MB',
    carried: true,
  },
  {
    name: 'temp',
    make: ["create temp table x as select 'x' as n"],
    ask: 'select n from x',
    none: '42P01',
    own: 'x',
    carried: false,
  },
  {
    name: 'advisory_lock',
    make: ['select pg_advisory_lock(1)'],
    ask: "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
    none: '0',
    own: '1',
    carried: false,
  },
  {
    name: 'cursor',
    make: ["declare c scroll cursor with hold for select 'x'"],
    ask: 'fetch first from c',
    none: '34000',
    own: 'x',
    carried: false,
  },
  {
    name: 'sequence',
    make: ["select nextval('s'); select currval('s')", "select nextval('s')"],
    ask: "select currval('s')",
    none: '55000',
    own: '2',
    carried: false,
  },
];
const setup = ['create sequence s', 'grant all on sequence s to public'];

async function asks(s: Scenario, client: Actor, { ask }: Row, wanted: string): Promise<void> {
  const { rows: found, errors } = await client.query(ask);
  s.t.equal(errors[0]?.['C'] ?? found[0]?.[0], wanted, `${client.name} ${s.where}: ${ask}`);
}

for (const row of rows) {
  ladder.row(
    `${row.name}: each has its own, and leaves it to nobody`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.does(...row.make.slice(0, 1));
      if (row.name !== 'sequence') await asks(s, a, row, row.own);
      await asks(s, b, row, row.none);
      await a.vanish();
      const c = await s.client('c');
      await asks(s, c, row, row.none);
      await asks(s, b, row, row.none);
    },
    { setup, servers: 2 },
  );

  ladder.row(
    `${row.name}: a client that vanishes in an open transaction`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.does('begin', ...row.make.slice(0, 1));
      await a.vanish();
      await asks(s, b, row, row.none);
      const c = await s.client('c');
      await asks(s, c, row, row.none);
    },
    { setup },
  );

  ladder.row(
    `${row.name}: a client that vanishes while its statement runs`,
    async (s) => {
      const b = await s.client('b');
      for (let i = 0; i < 3; i++) {
        const a = await s.client(`a${i}`);
        a.raw.write(say.query(`${row.make[0]}; select pg_sleep(0.05)`), say.query('select pg_sleep(0.3)'));
        await new Promise((resolve) => setTimeout(resolve, i * 40));
        await a.vanish();
        await asks(s, b, row, row.none);
      }
    },
    { setup },
  );

  ladder.row(
    `${row.name}: kept when the next statement is cancelled or fails`,
    async (s) => {
      const [a, b] = await s.pair();
      // What nextval answered is kept from the first time on that a client asks for it by itself.
      if (row.name === 'sequence') await a.query(row.ask);
      await a.does(...row.make);
      await a.fails('select 1 / 0', '22012');
      await a.fails('this is no sql', '42601');
      await a.fails("begin; set local statement_timeout = '20ms'; select pg_sleep(5)", '57014');
      await a.does('rollback');
      await asks(s, b, row, row.none);
      await asks(s, a, row, row.own);
    },
    { setup, servers: 2 },
  );

  ladder.weirRow(
    `${row.name}: the idle server is killed`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.does(...row.make);
      if (row.name !== 'sequence') await asks(s, a, row, row.own);
      // Asked for by itself once: the server is kept from the next nextval on.
      else await a.query(row.ask);
      if (row.name === 'sequence') await a.does("select nextval('s')");
      await s.killServers();
      await asks(s, b, row, row.none);
      if (row.carried) {
        await asks(s, a, row, row.own);
        await asks(s, b, row, row.none);
      } else {
        const { errors } = await a.query('select 1');
        s.t.ok(
          errors[0]?.['S'] === 'FATAL' || a.raw.over,
          'who had what cannot be had again is told, as on a connection of its own',
        );
      }
      await s.pinned();
    },
    { setup, servers: 2 },
  );

  ladder.weirRow(
    `${row.name}: the server is killed in the middle of the client s transaction`,
    async (s) => {
      const [a, b] = await s.pair();
      await a.does('begin', ...row.make.slice(0, 1));
      await s.killServers();
      const { errors } = await a.query('select 1');
      s.t.ok(errors.length > 0 || a.raw.over);
      await asks(s, b, row, row.none);
      const c = await s.client('c');
      await asks(s, c, row, row.none);
      await s.pinned();
    },
    { setup },
  );
}

ladder.weirRow('a cancel request while weir works for itself hits nobody', async (s) => {
  const [a, b] = await s.pair();
  await a.does("set work_mem = '5MB'");
  for (let i = 0; i < 20; i++) {
    a.raw.write(say.query('show work_mem'));
    const cancelling = a.raw.cancel(s.weir.weir);
    const outcome = await a.read('show work_mem');
    const code = outcome.errors[0]?.['C'];
    s.t.ok(code === undefined ? outcome.rows[0]?.[0] === '5MB' : code === '57014', `${code ?? outcome.rows[0]?.[0]}`);
    await b.shows('work_mem', '4MB');
    await cancelling;
    await b.shows('work_mem', '4MB');
  }
  await a.shows('work_mem', '5MB');
});

ladder.weirRow(
  'many servers, many clients, servers killed again and again: each keeps its own',
  async (s) => {
    const clients = await Promise.all(Array.from({ length: 8 }, (_, i) => s.client(`c${i}`)));
    for (const [i, client] of clients.entries())
      await client.does(
        `set work_mem = '${i + 64}MB'`,
        `prepare p as select '${i}'`,
        i % 2 === 0 ? 'set role reader' : 'select 1',
      );
    for (let round = 0; round < 3; round++) {
      // One that ends right after its login counts as a server that cannot be had.
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await s.killServers();
      await Promise.all(
        clients.map(async (client, i) => {
          await client.shows('work_mem', `${i + 64}MB`);
          await client.gives('execute p', `${i}`);
          await client.gives('select current_user', i % 2 === 0 ? 'reader' : 'app');
        }),
      );
    }
  },
  { servers: 3 },
);

ladder.probed();
