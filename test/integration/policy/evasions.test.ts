// Every way of the corpus to see what the policy hides, by both protocols, prepared, in pipelines: nothing planted comes back.

import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import t from 'tap';
import { projectRoot } from '../../support/project-root.js';
import { type RawClient, type Reply, say } from '../../support/raw-client.js';
import { connectAs, planted, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

const corpus = parse(readFileSync(`${projectRoot}/test/spec/policy/evasions.toml`, 'utf8')) as unknown as Readonly<
  Record<'denied' | 'hidden' | 'open', readonly string[]>
>;
const denied = '42501';

/** Whether one Parse can hold it. */
function isSingle(sql: string): boolean {
  return !sql.includes(';');
}

function isInsideOnly(sql: string): boolean {
  return sql.startsWith('begin;');
}

async function simple(client: RawClient, sql: string): Promise<Reply> {
  return client.query(sql);
}

async function extended(client: RawClient, sql: string): Promise<Reply> {
  return client.execute(sql);
}

/** Parsed under a name, described and run with a second statement in the same batch. */
async function prepared(client: RawClient, sql: string): Promise<Reply> {
  client.write(
    say.parse({ text: sql, name: 'stolen' }),
    say.describe({ type: 'S', name: 'stolen' }),
    say.bind({ statement: 'stolen' }),
    say.describe({ type: 'P' }),
    say.execute({}),
    say.close({ type: 'S', name: 'stolen' }),
    say.sync(),
  );
  return client.reply();
}

/** Behind another statement whose answer has not come. */
async function piped(client: RawClient, sql: string): Promise<Reply> {
  client.write(say.query('select 1'), say.query(sql));
  await client.reply();
  return client.reply();
}

/** Inside a transaction that a server has. */
async function within(client: RawClient, sql: string): Promise<Reply> {
  await client.query('begin');
  await client.query('select 1');
  const reply = await client.query(sql);
  await client.query('rollback');
  return reply;
}

const ways = { simple, extended, prepared, piped, within };

async function tidy(client: RawClient): Promise<void> {
  await client.query('rollback');
  await client.query('reset all');
}

for (const [way, run] of Object.entries(ways)) {
  const usable = (sql: string): boolean =>
    (isSingle(sql) || way === 'simple' || way === 'piped') && (!isInsideOnly(sql) || way !== 'within');

  void t.test(`denied, ${way}`, async (t) => {
    const weir = await startPoliced(t);
    const bob = await connectAs(t, weir, 'bob');
    for (const sql of corpus.denied.filter(usable)) {
      const reply = await run(bob, sql);
      t.equal(reply.errors[0]?.['C'], denied, sql);
      t.notOk(JSON.stringify(reply).includes(planted), `nothing planted: ${sql}`);
      await tidy(bob);
    }
  });

  void t.test(`hidden, ${way}`, async (t) => {
    const weir = await startPoliced(t);
    const bob = await connectAs(t, weir, 'bob');
    for (const sql of corpus.hidden.filter(usable)) {
      const reply = await run(bob, sql);
      const withoutTheQuestion = JSON.stringify(reply).replaceAll(JSON.stringify(sql).slice(1, -1), '');
      t.notOk(withoutTheQuestion.replace(/'PLANTED[^']*'/g, '').includes(planted), `nothing planted: ${sql}`);
      await tidy(bob);
    }
  });

  void t.test(`open, ${way}`, async (t) => {
    const weir = await startPoliced(t);
    const bob = await connectAs(t, weir, 'bob');
    const direct = await connectAs(t, server, 'bob');
    for (const sql of corpus.open.filter(usable)) {
      const [through, expected] = [await run(bob, sql), await run(direct, sql)];
      t.strictSame(
        [through.errors, through.rows, through.commands],
        [expected.errors, expected.rows, expected.commands],
        sql,
      );
    }
  });
}

void t.test('who has no role sees everything', async (t) => {
  const weir = await startPoliced(t);
  const [alice, direct] = [await connectAs(t, weir, 'alice'), await connectAs(t, server, 'alice')];
  for (const sql of ['select * from people order by id', 'select * from secrets', 'select peek()', 'table word_view']) {
    t.strictSame((await alice.query(sql)).rows, (await direct.query(sql)).rows, sql);
  }
});
