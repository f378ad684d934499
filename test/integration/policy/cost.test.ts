// max_cost and max_rows: what is asked, of whom, under which settings, for how long an answer holds, and that nobody waits for ever.

import t, { type Test } from 'tap';
import { type RawClient, type Reply, say } from '../../support/raw-client.js';
import { connectAs, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

/** SQLSTATE of the error, or what was answered. */
function came({ errors, commands }: Reply): string | undefined {
  return errors[0]?.['C'] ?? commands.at(-1);
}

const tooMuch = '53400';

function costPolicy(limit: string, statements = '["select"]'): string {
  return `[policy]\ndefault = "allow"\n[[policy.rules]]\nname = "cheap"\nstatements = ${statements}\n${limit}\n`;
}

async function connectUnder(t: Test, policy: string, more = {}): Promise<RawClient> {
  const weir = await startPoliced(t, policy, more);
  return connectAs(t, weir, 'bob');
}

const modes = ['transaction', 'session', 'statement'] as const;

for (const pool_mode of modes)
  void t.test(`${pool_mode} mode: every statement of a pipeline is answered`, { timeout: 60_000 }, async (t) => {
    const bob = await connectUnder(t, costPolicy('max_cost = 1000'), { weir: { pool_mode } });
    bob.write(say.query('select 1 as a'), say.query('select now() as b'), say.query('select 3 as c'));
    for (let i = 0; i < 3; i++) t.equal(came(await bob.reply()), 'SELECT 1');
    for (const text of ['select 4 as d', 'select 5, 6', 'select count(*) from orders a, orders b, orders c, orders d'])
      bob.write(say.parse({ text }), say.bind({}), say.execute({}), say.sync());
    t.strictSame(
      [came(await bob.reply()), came(await bob.reply()), came(await bob.reply())],
      ['SELECT 1', 'SELECT 1', tooMuch],
    );
    t.equal(came(await bob.query('select 7, 8, 9')), 'SELECT 1');
  });
