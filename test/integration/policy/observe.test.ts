// A policy on trial: nothing is refused, masked or held up; log, counts and metrics say what would have been.

import pino from 'pino';
import t, { type Test } from 'tap';
import { AdminConsole } from '../../../lib/admin/index.js';
import { Metrics } from '../../../lib/http/metrics.js';
import { eventually } from '../../support/eventually.js';
import { RawClient } from '../../support/raw-client.js';
import type { TestWeir } from '../../support/weir.js';
import { linesOf } from '../../support/weir-command.js';
import { analystPolicy, connectAs, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

interface Watched {
  readonly weir: TestWeir;
  /** The log's lines about decisions: verdict and rule. */
  decisions(): (readonly [unknown, unknown])[];
  /** One line of /metrics. */
  metric(beginning: string): Promise<string | undefined>;
  show(command: string): Promise<(string | null)[][]>;
}

async function startWatched(t: Test, policy: string): Promise<Watched> {
  let logged = '';
  const log = pino({ level: 'info' }, { write: (line: string) => (logged += line) });
  const weir = await startPoliced(t, policy, { log, weir: { admin_users: ['postgres'] } });
  weir.pooler.console = new AdminConsole(weir.pooler);
  const metrics = new Metrics(weir.pooler);
  return {
    weir,
    decisions: () =>
      linesOf(logged)
        .filter(({ msg }) => msg === 'policy decision')
        .map(({ verdict, rule }) => [verdict, rule] as const),
    metric: async (beginning) => {
      const { body } = await metrics.text('prometheus');
      return body.split('\n').find((line) => line.startsWith(beginning));
    },
    show: async (command) => {
      const console = await RawClient.connect(weir, { user: 'postgres', database: 'pgbouncer' });
      const { rows } = await console.query(command);
      await console.end();
      return rows;
    },
  };
}

const wouldBeRefused = [
  ['select count(*) from secrets', 'no-secrets'],
  ['truncate orders', 'no-ddl'],
  ['create table tried (id int)', 'no-ddl'],
  ['drop table tried', 'no-ddl'],
  ['do $$ begin end $$', 'no-ddl'],
  ['select count(*) from people_view', '(mask)'],
  ['select count(*) from peek()', '(unseen)'],
] as const;

void t.test('mode = "observe" refuses and masks nothing, and says what it would do', async (t) => {
  const { weir, decisions, metric, show } = await startWatched(t, analystPolicy.replace('"enforce"', '"observe"'));
  const bob = await connectAs(t, weir, 'bob');
  for (const [sql] of wouldBeRefused) t.same((await bob.query(sql)).errors, [], sql);
  for (const [sql] of wouldBeRefused) t.same((await bob.execute(sql)).errors, [], sql);
  t.match((await bob.query('select email from people where id = 1')).rows, [[/PLANTED/]]);
  t.match((await bob.query('selec')).errors[0], { C: '42601' }, "PostgreSQL's own error");

  t.same(
    decisions().slice(0, wouldBeRefused.length),
    wouldBeRefused.map(([, rule]) => ['observe', rule]),
  );
  t.equal(await metric('weir_policy_mode'), 'weir_policy_mode 1');
  const counted = (await metric('weir_policy_decisions_total{verdict="observe",rule="no-secrets"}')) ?? '';
  t.ok(Number(counted.split(' ').at(-1)) >= 2, counted);
  t.equal(await metric('weir_policy_decisions_total{verdict="deny"'), undefined);
  const [row] = await show('show policy');
  t.match(row, ['observe', 'allow', 'deny', 'p.toml', '1', '2', '1', '0', '1']);
  const rules = await show('show rules');
  t.match(rules[0]?.slice(0, 4), ['no-ddl', 'deny', '0', '0']);
  t.ok(Number(rules[0]?.[4]) >= 8);
  t.match(
    rules.find(([rule]) => rule === '(unknown)'),
    ['(unknown)', null, '0', '0', '1'],
  );
});

const trial = `
[policy]
mode = "enforce"
default = "allow"
[[policy.rules]]
name = "on-trial"
statements = ["truncate"]
verdict = "observe"
[[policy.rules]]
name = "where-on-trial"
statements = ["update"]
require = ["where"]
verdict = "observe"
[[policy.rules]]
name = "rate-on-trial"
tables = ["public.people"]
rate = "1/day"
verdict = "observe"
[[policy.rules]]
name = "no-drop"
statements = ["drop_table"]
verdict = "deny"
`;

void t.test('a rule with verdict = "observe" lets pass what it matches, and the next one decides', async (t) => {
  const { weir, decisions, metric, show } = await startWatched(t, trial);
  const alice = await connectAs(t, weir, 'alice');
  for (const sql of [
    'truncate orders',
    'update orders set total = 1',
    'update orders set total = 1 where id = 1',
    'select count(*) from people',
    'select count(*) from people',
  ]) {
    t.same((await alice.query(sql)).errors, [], sql);
  }
  t.match((await alice.query('drop table orders')).errors[0], { C: '42501' });
  t.same(decisions(), [
    ['observe', 'on-trial'],
    ['observe', 'where-on-trial'],
    ['observe', 'rate-on-trial'],
    ['deny', 'no-drop'],
  ]);
  t.equal(
    await metric('weir_policy_decisions_total{verdict="observe",rule="where-on-trial"}'),
    'weir_policy_decisions_total{verdict="observe",rule="where-on-trial"} 1',
  );
  t.equal(await metric('weir_policy_mode'), 'weir_policy_mode 2');
  t.ok(Number((await metric('weir_policy_cache_hits_total'))?.split(' ').at(-1)) >= 1);
  t.ok(Number((await metric('weir_policy_schema_age_seconds'))?.split(' ').at(-1)) < 60);
  const rules = await show('show rules');
  t.same(
    rules.slice(0, 4).map(([rule, , , denied, observed]) => [rule, denied, observed]),
    [
      ['on-trial', '0', '1'],
      ['where-on-trial', '0', '1'],
      ['rate-on-trial', '0', '1'],
      ['no-drop', '1', '0'],
    ],
  );
});

void t.test('a statement that waits for a server is counted once, and takes one of its rate', async (t) => {
  const policy = trial.replace('"rate-on-trial"', '"rated"').replace('"1/day"\nverdict = "observe"', '"1/day"');
  const weir = await startPoliced(t, policy, { weir: { default_pool_size: 1 } });
  const [first, second] = [await connectAs(t, weir, 'alice'), await connectAs(t, weir, 'alice')];
  await first.query('begin');
  await first.query('select 1 from orders limit 1');
  const { decisions } = weir.pooler.policing;
  const before = decisions.of('(default)')?.allow ?? 0;
  const waiting = second.query('select count(*) from people');
  await eventually(() => [...weir.pooler.pools].some((pool) => pool.waiting > 0));
  await first.query('commit');
  t.same((await waiting).errors, []);
  t.equal((decisions.of('(default)')?.allow ?? 0) - before, 2, 'the COMMIT and the read');
  t.match((await second.query('select count(*) from people')).errors[0], { C: '53400' });
});
