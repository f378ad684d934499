// What the policy says holds for one message: in pieces, too long, stopped and shown again, out of order, unread.

import t from 'tap';
import { say } from '../../support/raw-client.js';
import { connectAs, planted, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

const denied = '42501';

void t.test('a Bind that is too long to be kept lets nothing else pass', async (t) => {
  const weir = await startPoliced(t);
  const bob = await connectAs(t, weir, 'bob');
  const long = 'x'.repeat(100_000);
  bob.write(
    say.parse({ text: 'select length($1)' }),
    say.bind({ values: [long] }),
    say.execute({}),
    say.parse({ text: 'select word from secrets' }),
    say.bind({}),
    say.execute({}),
    say.sync(),
  );
  const reply = await bob.reply();
  t.same(reply.rows, [['100000']]);
  t.equal(reply.errors[0]?.['C'], denied);
  bob.write(say.bind({ values: [long] }), say.sync(), say.query('select word from secrets'));
  await bob.reply();
  t.equal((await bob.reply()).errors[0]?.['C'], denied);
});

void t.test('what waits for a server is judged for itself', async (t) => {
  const weir = await startPoliced(t, undefined, { weir: { default_pool_size: 1 } });
  const [holder, bob] = [await connectAs(t, weir, 'bob'), await connectAs(t, weir, 'bob')];
  await holder.query('begin');
  await holder.query('select 1');
  bob.write(
    say.query('select 1'),
    say.query('select word from secrets'),
    say.query('select email from people where id = 1'),
  );
  await new Promise((resolve) => setTimeout(resolve, 30));
  await holder.query('commit');
  t.same((await bob.reply()).rows, [['1']]);
  t.equal((await bob.reply()).errors[0]?.['C'], denied);
  t.same((await bob.reply()).rows, [[null]]);
});

void t.test('messages cut at every byte', async (t) => {
  const weir = await startPoliced(t);
  const bob = await connectAs(t, weir, 'bob');
  const whole = Buffer.concat([say.query('select email from people where id = 1'), say.query('table secrets')]);
  for (let cut = 1; cut < whole.length; cut += 3) {
    bob.write(whole.subarray(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    bob.write(whole.subarray(cut));
    t.same((await bob.reply()).rows, [[null]], `cut at ${cut}`);
    t.equal((await bob.reply()).errors[0]?.['C'], denied);
  }
});

void t.test('texts that are not read, and calls by number, are denied', async (t) => {
  const weir = await startPoliced(t, undefined, { weir: { inspect_limit: 2000 } });
  const bob = await connectAs(t, weir, 'bob');
  const padding = ' '.repeat(3000);
  t.equal((await bob.query(`select 1${padding}`)).errors[0]?.['C'], denied);
  t.equal((await bob.execute(`select 1${padding}`)).errors[0]?.['C'], denied);
  t.equal((await bob.query('select 1')).errors.length, 0);
  const call = Buffer.alloc(14);
  call.writeUInt32BE(1299);
  bob.write(Buffer.concat([Buffer.from('F'), Buffer.from([0, 0, 0, 4 + call.length]), call]));
  t.equal((await bob.reply()).errors[0]?.['C'], denied);
});

void t.test('a statement too large for the event loop waits for its parse and is then decided', async (t) => {
  const weir = await startPoliced(t);
  const bob = await connectAs(t, weir, 'bob');
  const columns = Array.from({ length: 800 }, (_, i) => `id as column_${i}`).join(', ');
  t.equal((await bob.query(`select ${columns} from orders where id = 1`)).rows.length, 1);
  t.equal((await bob.query(`select ${columns} from secrets`)).errors[0]?.['C'], denied);
  const masked = await bob.query(`select ${columns}, email from people`);
  t.equal(masked.errors.length, 0);
  t.notOk(JSON.stringify(masked.rows).includes(planted));
  t.equal((await bob.execute(`select ${columns} from orders, secrets`)).errors[0]?.['C'], denied);
});

void t.test('a denied statement in a pipeline fails what follows up to its Sync, and a transaction', async (t) => {
  const weir = await startPoliced(t);
  const bob = await connectAs(t, weir, 'bob');
  bob.write(
    say.parse({ text: 'insert into orders values (7001, 1, 1, null)' }),
    say.bind({}),
    say.execute({}),
    say.parse({ text: 'delete from orders' }),
    say.bind({}),
    say.execute({}),
    say.parse({ text: 'select 1' }),
    say.sync(),
    say.query('select count(*) from orders where id = 7001'),
  );
  const failed = await bob.reply();
  t.equal(failed.errors[0]?.['C'], denied);
  t.same(failed.commands, ['INSERT 0 1']);
  t.same((await bob.reply()).rows, [['0']], 'what came before it is rolled back');
  await bob.query('begin');
  t.equal((await bob.query('delete from orders')).status, 'E', 'a transaction that no server knows of fails');
  t.equal((await bob.query('select 1')).errors[0]?.['C'], '25P02');
  t.equal((await bob.query('commit')).commands[0], 'ROLLBACK');
  await bob.query('begin');
  await bob.query('select 1');
  t.equal((await bob.query('delete from orders')).status, 'E', 'and one that a server has');
  t.equal((await bob.query('select 1')).errors[0]?.['C'], '25P02');
  t.equal((await bob.query('rollback')).status, 'I');
});

void t.test('session pooling: the same rules', async (t) => {
  const weir = await startPoliced(t, undefined, { weir: { pool_mode: 'session' } });
  const bob = await connectAs(t, weir, 'bob');
  t.equal((await bob.query('table secrets')).errors[0]?.['C'], denied);
  t.same((await bob.execute('select email from people where id = $1', ['1'])).rows, [[null]]);
  t.same((await bob.query('prepare p as select email from people where id = 1; execute p')).rows, [[null]]);
  t.same((await bob.query('execute p')).rows, [[null]]);
  t.equal((await bob.query('execute unknown')).errors[0]?.['C'], denied);
});

void t.test(
  'a transaction that fails before a server knows of it is ended in every form',
  { timeout: 30_000 },
  async (t) => {
    const weir = await startPoliced(t);
    const bob = await connectAs(t, weir, 'bob');
    const rollback = [
      say.parse({ name: 'end', text: 'rollback' }),
      say.describe({ type: 'S', name: 'end' }),
      say.bind({ statement: 'end' }),
      say.execute({}),
      say.sync(),
    ];
    for (const end of [rollback, rollback.slice(2), [say.query('rollback')], rollback.slice(2)]) {
      t.equal((await bob.query('begin')).status, 'T');
      bob.write(say.parse({ text: 'select word from secrets' }), say.describe({ type: 'S', name: '' }), say.flush());
      await bob.until('E');
      bob.write(say.sync());
      t.equal((await bob.reply()).status, 'E');
      t.match(await bob.execute('select 1'), { errors: [{ C: '25P02' }], status: 'E' });
      bob.write(...end);
      t.match(await bob.reply(), { errors: [], commands: ['ROLLBACK'], status: 'I' });
      t.same((await bob.query('select 1')).rows, [['1']]);
    }
  },
);

void t.test(
  'what stands behind a refusal up to the Sync is skipped, and waits for nothing',
  { timeout: 30_000 },
  async (t) => {
    const weir = await startPoliced(
      t,
      '[policy]\ndefault = "allow"\n[[policy.rules]]\nname = "no"\ntables = ["public.secrets"]\nverdict = "deny"\n' +
        '[[policy.rules]]\nname = "cheap"\nstatements = ["select"]\nmax_cost = 50000\n',
    );
    const bob = await connectAs(t, weir, 'bob');
    const refused = say.parse({ text: 'select word from secrets' });
    bob.write(refused, say.query('select 1'), say.sync(), say.query('select 2'));
    t.match(await bob.reply(), { errors: [{ C: denied }], rows: [], status: 'I' });
    t.match(await bob.reply(), { rows: [['2']] }, 'a Query within the batch is none');
    bob.write(
      say.query('begin'),
      refused,
      say.query('select 3'),
      say.sync(),
      say.query('select 4'),
      say.query('rollback'),
    );
    t.equal((await bob.reply()).status, 'T');
    t.match(await bob.reply(), { errors: [{ C: denied }], status: 'E' });
    t.match(await bob.reply(), { errors: [{ C: '25P02' }], status: 'E' }, 'nothing is asked about it');
    t.match(await bob.reply(), { commands: ['ROLLBACK'], status: 'I' });
    bob.write(say.parse({ text: 'select 1/0' }), say.bind({}), say.execute({}));
    bob.write(say.query('begin'), say.query('select 5'), say.sync(), say.query('select 6'));
    t.match(await bob.reply(), { errors: [{ C: '22012' }], rows: [], status: 'I' });
    t.match(await bob.reply(), { rows: [['6']] }, 'behind an error of the server as well');
  },
);
