// What the trail says of what the policy decides: verdict and rule of each statement, also of those that no server has seen.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { eventually, temporaryDirectory } from '../../support/index.js';
import { say } from '../../support/raw-client.js';
import type { TestWeir } from '../../support/weir.js';
import { connectAs, server, sleepByNumber, startPoliced } from './rig.js';

t.teardown(() => server.stop());

async function startAudited(
  t: Test,
  more: Record<string, unknown> = {},
  policy?: string,
): Promise<{ weir: TestWeir; seen: () => Promise<unknown[]> }> {
  const directory = temporaryDirectory(t);
  const weir = await startPoliced(t, policy, {
    weir: { audit_dir: directory, audit_flush_interval: 0.005, ...more },
  });
  const seen = async (): Promise<unknown[]> => {
    await eventually(() => weir.pooler.trail?.state().queuedBytes === 0);
    return readdirSync(directory)
      .sort()
      .flatMap((name) => readFileSync(join(directory, name), 'utf8').trimEnd().split('\n'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ event }) => event === 'statement' || event === 'begin')
      .map(({ sql, verdict, rule, sqlstate }) => [sql, verdict, rule, sqlstate]);
  };
  return { weir, seen };
}

for (const audit_mode of ['after', 'before'] as const) {
  void t.test(`${audit_mode}: verdict and rule stand in every record`, async (t) => {
    const { weir, seen } = await startAudited(t, { audit_mode });
    const bob = await connectAs(t, weir, 'bob');
    await bob.query('select id from orders where id = 1');
    await bob.query('select * from secrets');
    await bob.execute('select word from secrets');
    await bob.query('begin');
    await bob.query('select 1');
    await bob.query('delete from orders');
    await bob.query('rollback');
    await bob.query("select 'unfinished");
    const records = (await seen()) as unknown[][];
    const of = (sql: string): unknown => records.find(([text]) => text === sql)?.slice(1, 3);
    t.same(of('select id from orders where id = 1'), ['allow', undefined]);
    t.same(of('select * from secrets'), ['deny', 'no-secrets']);
    t.same(of('select word from secrets'), ['deny', 'no-secrets']);
    t.same(of('delete from orders'), ['deny', 'no-ddl'], 'in a transaction that a server has');
    t.same(of("select 'unfinished"), ['deny', '(unknown)']);
    t.ok(records.filter(([, verdict]) => verdict === 'deny').length === 4);
    t.equal(records.find(([text]) => text === 'select * from secrets')?.[3], '42501');
  });
}

/** All is allowed but what a rule says of a table; the rule has the table's name. */
function policyOn(verdicts: Readonly<Record<string, 'allow' | 'deny' | 'observe'>>): string {
  const rules = Object.entries(verdicts).map(
    ([table, verdict]) => `[[policy.rules]]\nname = "${table}"\ntables = ["public.${table}"]\nverdict = "${verdict}"\n`,
  );
  return `[policy]\ndefault = "allow"\n${rules.join('')}`;
}

void t.test('only what is denied, and what certain rules allow, where that is asked for', async (t) => {
  const settings = { audit_statements: ['denied'], audit_rules: ['orders'] };
  const { weir, seen } = await startAudited(t, settings, policyOn({ orders: 'allow', secrets: 'deny' }));
  const bob = await connectAs(t, weir, 'bob');
  for (const sql of [
    'select 1',
    'select id from orders limit 1',
    'select * from secrets',
    'select id from people limit 1',
  ]) {
    await bob.query(sql);
  }
  const texts = ((await seen()) as unknown[][]).map(([sql]) => sql);
  t.same(texts, ['select id from orders limit 1', 'select * from secrets']);
});

for (const audit_mode of ['after', 'before'] as const) {
  void t.test(`${audit_mode}: a function call that is denied is recorded as denied`, async (t) => {
    const { weir, seen } = await startAudited(t, { audit_mode, audit_statements: ['denied'] });
    const bob = await connectAs(t, weir, 'bob');
    bob.write(sleepByNumber);
    t.equal((await bob.reply()).errors[0]?.['C'], '42501');
    // In `before`, the SQLSTATE is in the record of its end.
    t.match(await seen(), [['', 'deny', '(unseen)', audit_mode === 'after' ? '42501' : undefined]]);
  });

  void t.test(`${audit_mode}: each of several portals stands with what was decided of it`, async (t) => {
    const policy = policyOn({ orders: 'allow', people: 'observe' });
    const { weir, seen } = await startAudited(t, { audit_mode }, policy);
    const bob = await connectAs(t, weir, 'bob');
    const texts = { orders: 'select id from orders limit 1', people: 'select id from people limit 1' };
    bob.write(
      ...Object.entries(texts).map(([name, text]) => say.parse({ name, text })),
      ...Object.keys(texts).map((name) => say.bind({ portal: `p_${name}`, statement: name })),
      ...Object.keys(texts).map((name) => say.execute({ portal: `p_${name}` })),
      say.sync(),
    );
    t.same((await bob.reply()).errors, []);
    t.same(
      (await seen()).map((record) => (record as unknown[]).slice(0, 3)),
      [
        [texts.orders, 'allow', 'orders'],
        [texts.people, 'observe', 'people'],
      ],
    );
  });
}

for (const audit_mode of ['after', 'before'] as const) {
  for (const pool_mode of ['transaction', 'session'] as const) {
    void t.test(
      `${audit_mode}, ${pool_mode}: the client's own text, what of it was masked, and its roles`,
      async (t) => {
        const directory = temporaryDirectory(t);
        const weir = await startPoliced(t, undefined, {
          weir: { audit_dir: directory, audit_flush_interval: 0.005, audit_mode, pool_mode },
        });
        const bob = await connectAs(t, weir, 'bob');
        const read = 'select email from people where id = 1';
        const run = async (text: string): Promise<void> => {
          t.same((await bob.query(text)).errors, [], text);
        };
        await run(read);
        t.same((await bob.execute(read)).errors, []);
        bob.write(say.parse({ name: 'n', text: read }), say.sync());
        t.same((await bob.reply()).errors, []);
        bob.write(say.bind({ statement: 'n' }), say.execute(), say.sync());
        t.same((await bob.reply()).errors, []);
        await run('begin');
        await run(`prepare s as ${read}`);
        await run('execute s');
        await run(`declare c cursor for ${read}`);
        await run('fetch c');
        bob.write(say.bind({ statement: 's' }), say.execute(), say.execute({ portal: 'c' }), say.sync());
        t.same((await bob.reply()).errors, []);
        await run('commit');
        await run('select id from orders where id = 1');
        await eventually(() => weir.pooler.trail?.state().queuedBytes === 0);
        const records = readdirSync(directory)
          .flatMap((name) => readFileSync(join(directory, name), 'utf8').trimEnd().split('\n'))
          .map((line) => JSON.parse(line) as Record<string, unknown>)
          .filter(({ event }) => event === 'statement' || event === 'begin');
        const masked = ['public.people.email'];
        const none = undefined;
        t.same(
          records.map(({ sql, masked, roles }) => [sql, masked, roles]),
          [
            [read, masked, ['analyst']],
            [read, masked, ['analyst']],
            [read, masked, ['analyst']],
            ['begin', none, ['analyst']],
            [`prepare s as ${read}`, masked, ['analyst']],
            ['execute s', masked, ['analyst']],
            [`declare c cursor for ${read}`, masked, ['analyst']],
            ['fetch c', masked, ['analyst']],
            [`prepare s as ${read}`, masked, ['analyst']],
            [`declare c cursor for ${read}`, masked, ['analyst']],
            ['commit', none, ['analyst']],
            ['select id from orders where id = 1', none, ['analyst']],
          ],
        );
      },
    );
  }
}
