// At which moment a NOTIFY is the client's and at which it is not: as on a direct connection, whoever is told by whom.

import t, { type Test } from 'tap';
import { eventually, startPostgres } from '../../support/index.js';
import { RawClient, type RawLogin, say } from '../../support/raw-client.js';
import { startWeir } from '../../support/weir.js';
import { heard } from './rig.js';

const server = await startPostgres({
  hba: 'host all all 127.0.0.1/32 trust',
  sql: [
    'create role app login superuser',
    "create function listens() returns void language plpgsql as $$ begin execute 'listen ch'; end $$",
    'create table copied (a int)',
  ],
});
t.teardown(() => server.stop());

const rounds = 15;
/** Of what does not hang on who is faster. */
const fewRounds = 4;

/** One run of a story: what its listener has heard at its end, where a last notification is always heard. */
type Story = (listener: RawClient, notifier: RawClient) => Promise<void>;

/** One write, of which each text is a Query, or a batch of its own. */
async function pipeline(client: RawClient, how: 'Query' | 'batches', texts: readonly string[]): Promise<void> {
  client.write(
    ...texts.flatMap((text) =>
      how === 'Query' ? [say.query(text)] : [say.parse({ text }), say.bind(), say.execute(), say.sync()],
    ),
  );
  for (const _ of texts) await client.reply();
}

/** Each in one write of a client that listens on `ch`, and behind it another client's NOTIFY. */
const pipelines: readonly (readonly string[])[] = [
  ["notify ch, '0'", 'unlisten ch'],
  ["notify ch, '0'", 'unlisten *', "notify ch, '1'"],
  ["notify ch, '0'", 'discard all'],
  ["notify ch, '0'", 'select 1', 'unlisten ch', 'listen ch'],
  ["notify ch, '0'", 'unlisten ch', "notify ch, '1'", 'listen ch', "notify ch, '2'"],
  ['unlisten ch', "notify ch, '1'", 'listen ch'],
  ['unlisten *', "notify ch, '1'", 'select 1', 'listen ch', "notify ch, '2'"],
  ['discard all', "notify ch, '1'", 'listen ch'],
  ["notify ch, '0'", 'begin', 'unlisten ch', "notify ch, '1'", 'commit', "notify ch, '2'", 'listen ch'],
  ['begin', 'unlisten ch', 'commit', "notify ch, '1'", 'listen ch', "notify ch, '2'"],
  ['begin', 'unlisten ch', 'rollback', "notify ch, '0'"],
  ['unlisten ch', 'select 1/0', "notify ch, '0'"],
  ['listen other', "notify other, '0'", 'unlisten other', "notify other, '1'", 'listen other', "notify other, '2'"],
  ["notify other, '0'", 'listen other', "notify other, '1'"],
  ['listen other', 'select 1/0', "notify other, '0'", 'begin', 'unlisten other', 'commit', "notify other, '1'"],
];

/** Something is committed while the listener's pipeline stands at its `hold`. */
async function notifiedMeanwhile(listener: RawClient, notifier: RawClient, texts: readonly string[]): Promise<void> {
  await notifier.query('begin; select pg_advisory_xact_lock(1)');
  const over = pipeline(listener, 'Query', texts);
  await eventually(async () => (await server.query('select 1 from pg_locks where not granted')).length > 0);
  await server.query("notify ch, 'meanwhile'");
  await notifier.query('commit');
  await over;
}

const hold = 'select pg_advisory_xact_lock(1)';

const stories: Readonly<Record<string, Story>> = {
  ...Object.fromEntries(
    pipelines.flatMap((texts) =>
      (['Query', 'batches'] as const).map((how): [string, Story] => [
        `in one write, by ${how}: ${texts.join(' | ')}`,
        async (listener, notifier) => {
          await listener.query('listen ch');
          await pipeline(listener, how, texts);
          await notifier.query("notify ch, 'behind'");
        },
      ]),
    ),
  ),
  'in one write: a text that unlistens behind a NOTIFY': async (listener) => {
    for (const sql of ['begin; unlisten ch; commit', 'select 1; unlisten ch']) {
      await listener.query('listen ch');
      await pipeline(listener, 'Query', [`notify ch, 'before ${sql}'`, sql, "notify ch, 'behind'"]);
    }
  },
  'what is committed before an UNLISTEN runs is heard': async (listener, notifier) => {
    await listener.query('listen ch');
    await notifiedMeanwhile(listener, notifier, [hold, 'unlisten ch']);
    await notifier.query("notify ch, 'behind'");
  },
  'what is committed before a LISTEN runs, or its transaction commits, is not heard': async (listener, notifier) => {
    await notifiedMeanwhile(listener, notifier, [hold, 'listen ch']);
    await listener.query('unlisten ch');
    await notifiedMeanwhile(listener, notifier, ['begin', 'listen ch', hold, 'commit']);
    await notifier.query("notify ch, 'behind'");
  },
  'a NOTIFY of its own before a transaction that unlistens is heard': async (listener, notifier) => {
    await listener.query('listen ch');
    await listener.query("notify ch, 'before'");
    await listener.query('begin');
    await listener.query('unlisten ch');
    await listener.query("notify ch, 'within'");
    await listener.query('commit');
    await notifier.query("notify ch, 'behind'");
  },
  'a NOTIFY that was answered before an UNLISTEN was sent is heard': async (listener, notifier) => {
    await listener.query('listen ch');
    await listener.query('select 1');
    await notifier.query("notify ch, 'before'");
    await listener.query('unlisten ch');
    await notifier.query("notify ch, 'behind'");
  },
  'so it is before UNLISTEN *, DISCARD ALL and an UNLISTEN that was prepared': async (listener, notifier) => {
    for (const sql of ['unlisten *', 'discard all']) {
      await listener.query('listen ch');
      await notifier.query(`notify ch, 'before ${sql}'`);
      await listener.query(sql);
      await notifier.query("notify ch, 'behind'");
    }
    await listener.query('listen ch');
    await notifier.query("notify ch, 'before'");
    await listener.execute('unlisten ch');
    await notifier.query("notify ch, 'behind'");
  },
  'a NOTIFY that was answered before the COMMIT of a LISTEN was sent is not heard': async (listener, notifier) => {
    await listener.query('begin');
    await listener.query('listen ch');
    await notifier.query("notify ch, 'before'");
    await listener.query('commit');
    await notifier.query("notify ch, 'behind'");
  },
  'two with the same channel, of which one commits and one does not': async (listener, notifier) => {
    await listener.query('begin');
    await listener.query('listen ch');
    await listener.query('savepoint one');
    await notifier.query('begin');
    await notifier.query('listen ch');
    await listener.query('listen other');
    await listener.query('rollback to one');
    await notifier.query('rollback');
    await listener.query('commit');
    await notifier.query("notify ch, 'heard'");
    await notifier.query("notify other, 'not heard'");
  },
  'what DO or a function listens on is heard from its answer on': async (listener, notifier) => {
    await listener.query("do $$ begin execute 'listen ch'; end $$");
    for (let n = 0; n < 3; n++) await notifier.query(`notify ch, 'DO ${n}'`);
    await listener.query('unlisten *');
    await notifier.query("notify ch, 'not heard'");
    await listener.query('select listens()');
    for (let n = 0; n < 3; n++) await notifier.query(`notify ch, 'function ${n}'`);
    await listener.query('listen ch');
    await notifier.query("notify ch, 'once'");
    await listener.query('unlisten ch');
    await notifier.query("notify ch, 'not heard'");
  },
  'what is listened on already stays so where DO listens on it and on another': async (listener, notifier) => {
    await listener.query('listen ch');
    await listener.query("do $$ begin execute 'listen ch'; execute 'listen other'; end $$");
    await notifier.query("notify ch, 'one'");
    await listener.query('unlisten ch');
    await notifier.query("notify ch, 'not heard'");
    await notifier.query("notify other, 'two'");
    await listener.query('unlisten other');
    await notifier.query("notify other, 'not heard'");
  },
  'a channel of more than 63 bytes of other letters, and one in capitals': async (listener, notifier) => {
    const long = '\u00e9'.repeat(40);
    await listener.query(`listen "${long}"`);
    await listener.query('listen "CH"');
    await notifier.query(`notify "${long}", 'long'`);
    await notifier.query(`notify ch, 'not heard'`);
    await notifier.query(`notify "CH", 'capitals'`);
  },
  'a LISTEN in one write with what fails behind it, and a pipeline': async (listener, notifier) => {
    await listener.query('listen other; select 1/0');
    listener.write(
      ...[say.parse({ text: 'listen ch' }), say.bind(), say.execute()],
      ...[say.parse({ text: 'select 1' }), say.bind(), say.execute(), say.sync()],
    );
    await listener.reply();
    await notifier.query("notify other, 'not heard'");
    await notifier.query("notify ch, 'heard'");
  },
};

async function told(
  t: Test,
  place: { readonly host: string; readonly port: number },
  story: Story,
  login: RawLogin,
): Promise<string[]> {
  const listener = await RawClient.connect(place, { user: 'app', ...login });
  const notifier = await RawClient.connect(place, { user: 'app' });
  const notes: string[] = [];
  const take = async (until: string): Promise<void> => {
    for (;;) {
      const [note] = await heard(listener, 1);
      if (note === undefined) {
        t.fail('the last one does not come');
        return;
      }
      if (note.payload === until) return;
      notes.push(note.payload);
    }
  };
  const queried = listener.reply.bind(listener);
  // What comes among the messages of an answer counts too.
  listener.reply = async () => {
    const messages = await listener.until('Z');
    for (const { tag, body } of messages)
      if (tag === 'A') notes.push(body.toString('latin1', body.indexOf(0, 4) + 1, body.length - 1));
    return { rows: [], commands: [], errors: [], notices: [], tags: '', status: '' };
  };
  await story(listener, notifier);
  await listener.query('listen last');
  await notifier.query("notify last, 'last'");
  await take('last');
  listener.reply = queried;
  await Promise.all([listener.end(), notifier.end()]);
  return notes;
}

for (const [settings, login] of [
  [{}, {}],
  [{ lanes: 'off', defer_begin: false }, {}],
  [{}, { parameters: { client_encoding: 'LATIN1' } }],
  [{ 'on_hazard.listen': 'pin' }, {}],
  [{ pool_mode: 'session' }, {}],
] as const) {
  t.test(`with ${JSON.stringify({ ...settings, ...login })}`, async (t) => {
    const weir = await startWeir({
      server,
      users: { app: 'x' },
      weir: { auth_type: 'trust', default_pool_size: 4, ...settings },
    });
    t.teardown(() => weir.stop());
    for (const [title, story] of Object.entries(stories)) {
      const direct = await told(t, server, story, login);
      const runs: string[][] = [];
      const times = title.startsWith('in one write') ? fewRounds : rounds;
      for (let round = 0; round < times; round++) runs.push(await told(t, weir, story, login));
      t.same(
        runs.filter((notes) => JSON.stringify(notes) !== JSON.stringify(direct)),
        [],
        `${title}: ${JSON.stringify(direct)}`,
      );
    }
  });
}

t.test('an UNLISTEN or a LISTEN instead of the data of a COPY does not wait for its end', async (t) => {
  const weir = await startWeir({ server, users: { app: 'x' }, weir: { auth_type: 'trust' } });
  t.teardown(() => weir.stop());
  for (const sql of ['unlisten ch', 'listen other']) {
    for (const place of [server, weir]) {
      const client = await RawClient.connect(place, { user: 'app' });
      await client.query('listen ch');
      client.write(say.query('copy copied from stdin'), say.query(sql));
      t.equal(await eventually(() => client.over), true, `${sql}: PostgreSQL ends the session`);
    }
  }
});
