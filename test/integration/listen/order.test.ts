// At which moment a NOTIFY is the client's and at which it is not: as on a direct connection, whoever is told by whom.

import t, { type Test } from 'tap';
import { startPostgres } from '../../support/index.js';
import { RawClient, type RawLogin, say } from '../../support/raw-client.js';
import { startWeir } from '../../support/weir.js';
import { heard } from './rig.js';

const server = await startPostgres({
  hba: 'host all all 127.0.0.1/32 trust',
  sql: [
    'create role app login superuser',
    "create function listens() returns void language plpgsql as $$ begin execute 'listen ch'; end $$",
  ],
});
t.teardown(() => server.stop());

const rounds = 15;

/** One run of a story: what its listener has heard at its end, where a last notification is always heard. */
type Story = (listener: RawClient, notifier: RawClient) => Promise<void>;

const stories: Readonly<Record<string, Story>> = {
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
      for (let round = 0; round < rounds; round++) runs.push(await told(t, weir, story, login));
      t.same(
        runs.filter((notes) => JSON.stringify(notes) !== JSON.stringify(direct)),
        [],
        `${title}: ${JSON.stringify(direct)}`,
      );
    }
  });
}
