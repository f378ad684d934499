// The text of a record is the client's own, whatever has become of the name it was run under: portals, statements, cursors.

import t from 'tap';
import { extended, frame, type RawClient, say } from '../../support/raw-client.js';
import { type AuditRecord, server, start } from './rig.js';

t.teardown(() => server.stop());

const read = 'select word from pairs where id < 3';
const innocent = 'select 1 /* innocent */';

/** One write; the replies to it, one for each Sync and Query in it. */
async function ask(client: RawClient, ...messages: Buffer[]): Promise<string[]> {
  client.write(...messages);
  const ends = messages.filter(([tag]) => tag === 0x53 || tag === 0x51).length;
  const states: string[] = [];
  for (let left = ends; left > 0; left--) {
    const { errors } = await client.reply();
    states.push(...errors.map((error) => error['C'] ?? ''));
  }
  return states;
}

/** Texts of the statements that gave rows of `pairs`. */
function whatRead(records: readonly AuditRecord[]): unknown[] {
  return records.filter(({ rows }) => rows === 3).map(({ sql }) => sql);
}

interface Way {
  readonly audit_mode: 'after' | 'before';
  readonly pool_mode: 'transaction' | 'session';
}

const ways: readonly Way[] = (['after', 'before'] as const).flatMap((audit_mode) =>
  (['transaction', 'session'] as const).map((pool_mode) => ({ audit_mode, pool_mode })),
);

for (const way of ways) {
  void t.test(`${way.audit_mode}, ${way.pool_mode}`, async (t) => {
    const weir = await start(t, { ...way });
    const records = async (client: RawClient): Promise<AuditRecord[]> => {
      await client.end();
      return weir.statements();
    };
    const fresh = async (): Promise<{ client: RawClient; added: () => Promise<AuditRecord[]> }> => {
      const client = await weir.client();
      const before = (await weir.statements()).length;
      return { client, added: async () => (await records(client)).slice(before) };
    };

    await t.test('behind any number of portals', async (t) => {
      const { client, added } = await fresh();
      const portals = Array.from({ length: 1_200 }, (_, i) => say.bind({ portal: `p${i}`, statement: 's1' }));
      t.same(await ask(client, say.query('begin')), []);
      t.same(await ask(client, say.parse({ name: 's1', text: innocent }), ...portals, say.sync()), []);
      const hidden = [say.parse({ text: read }), say.bind({ portal: 'hid' }), say.execute({ portal: 'hid' })];
      t.same(await ask(client, ...hidden, say.sync()), []);
      t.same(await ask(client, say.execute({ portal: 'p1199' }), say.sync(), say.query('commit')), []);
      const all = await added();
      t.same(whatRead(all), [read]);
      t.same(
        all.map(({ sql }) => sql),
        ['begin', read, innocent, 'commit'],
      );
      t.match(
        all.find(({ sql }) => sql === read),
        { kinds: ['select'], tables: ['pairs'] },
      );
    });

    const takenPortal = [
      say.query('begin'),
      say.parse({ name: 'a', text: read }),
      say.parse({ name: 'b', text: innocent }),
      say.bind({ portal: 'p', statement: 'a' }),
      say.sync(),
      say.query('savepoint s'),
      say.bind({ portal: 'p', statement: 'b' }),
      say.sync(),
      say.query('rollback to s'),
      say.execute({ portal: 'p' }),
      say.sync(),
      say.query('commit'),
    ];
    await t.test('behind a Bind that failed because the portal was taken', async (t) => {
      const { client, added } = await fresh();
      const states: string[] = [];
      const batch: Buffer[] = [];
      for (const message of takenPortal) {
        batch.push(message);
        if (message[0] === 0x53 || message[0] === 0x51) states.push(...(await ask(client, ...batch.splice(0))));
      }
      t.same(states, ['42P03']);
      t.same(whatRead(await added()), [read]);
    });

    await t.test('the same in one write', async (t) => {
      const { client, added } = await fresh();
      t.same(await ask(client, ...takenPortal), ['42P03']);
      t.same(whatRead(await added()), [read]);
    });

    await t.test(
      'a portal bound anew behind one that is closed, and behind the end of its transaction, in one write',
      async (t) => {
        const { client, added } = await fresh();
        const run = (text: string): Buffer[] => [
          say.parse({ text }),
          say.bind({ portal: 'p' }),
          say.execute({ portal: 'p' }),
        ];
        const close = say.close({ type: 'P', name: 'p' });
        t.same(await ask(client, ...run(innocent), close, ...run(read), say.sync(), ...run(innocent), say.sync()), []);
        const all = await added();
        t.same(
          all.map(({ sql }) => sql),
          [innocent, read, innocent],
        );
        t.same(whatRead(all), [read]);
      },
    );

    for (const how of ['one by one', 'in one write'] as const) {
      await t.test(`behind a Parse that failed because the name was taken, ${how}`, async (t) => {
        const { client, added } = await fresh();
        const batches = [
          [say.parse({ name: 'x', text: read }), say.sync()],
          [say.parse({ name: 'x', text: innocent }), say.sync()],
          [say.bind({ statement: 'x' }), say.execute(), say.sync()],
        ];
        const states: string[] = [];
        if (how === 'in one write') states.push(...(await ask(client, ...batches.flat())));
        else for (const batch of batches) states.push(...(await ask(client, ...batch)));
        t.same(states, ['42P05']);
        t.same(whatRead(await added()), [read]);
      });

      await t.test(`behind an unnamed Parse that an error made the server overlook, ${how}`, async (t) => {
        const { client, added } = await fresh();
        const batches = [
          [say.parse({ text: read }), say.sync()],
          [say.bind({ statement: 'nobody' }), say.parse({ text: innocent }), say.sync()],
          [say.bind(), say.execute(), say.sync()],
        ];
        const states: string[] = [];
        if (how === 'in one write') states.push(...(await ask(client, ...batches.flat())));
        else for (const batch of batches) states.push(...(await ask(client, ...batch)));
        t.same(states, ['26000']);
        t.same(whatRead(await added()), [read]);
      });

      await t.test(`a statement that SQL prepares in place of another, ${how}`, async (t) => {
        const { client, added } = await fresh();
        const prepare = `prepare y as ${read}`;
        const batches = [
          [say.parse({ name: 'y', text: innocent }), say.sync()],
          [say.query('begin')],
          [say.query(`deallocate y; ${prepare}`)],
          [say.query('savepoint s')],
          [say.query(`prepare y as ${innocent}`)],
          [say.query('rollback to s')],
          [say.bind({ statement: 'y' }), say.execute(), say.sync()],
          [say.query('commit')],
        ];
        const states: string[] = [];
        if (how === 'in one write') states.push(...(await ask(client, ...batches.flat())));
        else for (const batch of batches) states.push(...(await ask(client, ...batch)));
        t.same(states, ['42P05']);
        t.same(whatRead(await added()), [`deallocate y; ${prepare}`]);
      });
    }

    await t.test('what PREPARE, EXECUTE, DECLARE and FETCH read', async (t) => {
      const { client, added } = await fresh();
      const texts = [
        'begin',
        `prepare zz as ${read}`,
        'prepare ww as insert into numbers values (1) on conflict do nothing',
        'execute zz',
        'explain execute zz',
        'execute ww',
        `declare c cursor for ${read}`,
        'fetch 1 from c',
        'move 1 in c',
      ];
      for (const text of texts) t.same(await ask(client, say.query(text)), [], text);
      t.same(await ask(client, ...extended('execute zz'), ...extended('fetch 1 c'), say.sync()), []);
      t.same(await ask(client, say.query('rollback')), []);
      const shown = (await added()).map(({ sql, kinds, tables, writes }) => [sql, kinds, tables, writes]);
      t.same(shown, [
        ['begin', ['transaction'], [], undefined],
        [texts[1], ['prepare', 'select'], ['pairs'], undefined],
        [texts[2], ['prepare', 'insert'], ['numbers'], undefined],
        ['execute zz', ['execute', 'select'], ['pairs'], undefined],
        ['explain execute zz', ['explain', 'select'], ['pairs'], undefined],
        ['execute ww', ['execute', 'insert'], ['numbers'], ['numbers']],
        [texts[6], ['declare', 'select'], ['pairs'], undefined],
        ['fetch 1 from c', ['fetch', 'select'], ['pairs'], undefined],
        ['move 1 in c', ['fetch', 'select'], ['pairs'], undefined],
        ['execute zz', ['execute', 'select'], ['pairs'], undefined],
        ['fetch 1 c', ['fetch', 'select'], ['pairs'], undefined],
        ['rollback', ['transaction'], [], undefined],
      ]);
    });

    await t.test('behind a BEGIN that a server was to get and that weir then answers', async (t) => {
      const { client, added } = await fresh();
      const messages = [say.parse({ name: 'z', text: innocent }), say.sync(), say.query('begin'), say.query(read)];
      t.same(await ask(client, ...messages, say.query('commit')), []);
      t.same(
        (await added()).map(({ sql }) => sql),
        ['begin', read, 'commit'],
      );
    });

    await t.test('a cursor that SQL has declared and the protocol runs', async (t) => {
      const { client, added } = await fresh();
      const declare = `declare k cursor for ${read}`;
      t.same(await ask(client, say.query(`begin; ${declare}`)), []);
      t.same(await ask(client, say.execute({ portal: 'k' }), say.sync()), []);
      t.same(await ask(client, say.query('commit')), []);
      t.same(whatRead(await added()), [`begin; ${declare}`]);
    });

    await t.test('a statement that PostgreSQL cannot read takes no place of another', async (t) => {
      const { client, added } = await fresh();
      const torn = frame('Q', Buffer.from('select 2\0more\0'));
      t.same(await ask(client, say.query(innocent), torn, say.query(read), say.query('selec')), ['08P01', '42601']);
      const shown = (await added()).map(({ sql, rows, sqlstate }) => [sql, rows, sqlstate]);
      t.same(shown, [
        [innocent, 1, undefined],
        ['select 2', 0, '08P01'],
        [read, 3, undefined],
        ['selec', 0, '42601'],
      ]);
    });
  });
}

void t.test('behind so many texts in a pipeline that they cannot all be kept', async (t) => {
  for (const pool_mode of ['transaction', 'session'] as const) {
    const weir = await start(t, { audit_mode: 'after', pool_mode });
    const client = await weir.client();
    const padding = Array.from({ length: 12 }, (_, i) => `select ${i} /*${'x'.repeat(60_000)}*/`);
    const sleep = 'select pg_sleep(0.3)';
    const simple = [sleep, ...padding, read];
    t.same(await ask(client, ...simple.map((text) => say.query(text))), []);
    t.same(await ask(client, ...simple.flatMap((text) => [...extended(text), say.sync()])), []);
    t.same(await ask(client, ...simple.flatMap((text) => extended(text)), say.sync()), []);
    await client.end();
    const all = await weir.statements();
    t.same(
      all.map(({ sql }) => sql),
      [...simple, ...simple, ...simple],
    );
    t.ok(all.every((record) => !('sql_bytes' in record)));
  }
});

void t.test('a text over inspect_limit is recorded in full, or refused', async (t) => {
  const weir = await start(t, { inspect_limit: 1_000, statement_memory_limit: 200_000 });
  const client = await weir.client();
  const long = (bytes: number): string => `/*${'x'.repeat(bytes)}*/ ${read}`;
  t.same(await ask(client, say.query(long(70_000)), ...extended(long(150_000)), say.sync()), []);
  t.same(await ask(client, say.query(long(250_000))), ['54000']);
  t.same(await ask(client, ...extended(long(250_000)), say.sync()), ['54000']);
  t.same(await ask(client, say.query('begin'), say.query(long(250_000)), say.query(read)), ['54000', '25P02']);
  t.same(await ask(client, say.query('rollback'), say.query(innocent)), []);
  await client.end();
  const all = await weir.statements();
  t.same(whatRead(all), [long(70_000), long(150_000)]);
  t.same(
    all.filter(({ sqlstate }) => sqlstate === '54000').map(({ sql }) => sql),
    Array(3).fill(long(250_000).slice(0, 8_192)),
  );
});

void t.test('portals beyond what a session may keep for the trail are refused', async (t) => {
  const weir = await start(t);
  const client = await weir.client();
  const text = `${read} /*${'x'.repeat(100_000)}*/`;
  t.same(await ask(client, say.query('begin'), say.parse({ text }), say.sync()), []);
  const binds = Array.from({ length: 300 }, (_, i) => say.bind({ portal: `p${i}` }));
  t.same(await ask(client, ...binds, say.sync()), ['53400']);
  t.same(await ask(client, say.query('rollback')), []);
  t.same(await ask(client, say.query('begin'), ...extended(read), say.sync(), say.query('commit')), []);
  await client.end();
  t.same(whatRead(await weir.statements()), [read]);
});
