// Temporary roles of the policy with several processes: all workers have them, those that begin later too; counts are of all.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { eventually, temporaryDirectory } from '../../support/index.js';
import { isRunning } from '../../support/processes.js';
import { type Cluster, start } from './rig.js';

const policy = `
[policy]
mode = "enforce"
default = "allow"
[policy.roles.on_call]
granted_only = true
[[policy.rules]]
name = "numbers"
except = ["on_call"]
tables = ["public.numbers"]
verdict = "deny"
`;

const token = 'a token of some length';

async function startPoliced(t: Test): Promise<Cluster & { readonly policyFile: string }> {
  const directory = temporaryDirectory(t);
  const policyFile = join(directory, 'policy.toml');
  writeFileSync(policyFile, policy);
  const audit = { audit_dir: join(directory, 'audit'), audit_mode: 'before', audit_statements: ['denied'] };
  const weir = await start(t, { policy_file: policyFile, http_admin_token: token, ...audit });
  return { ...weir, policyFile };
}

/** What clients of each worker get: a SQLSTATE, or `ok`; by worker. */
async function outcomes(weir: Cluster, workers = 2): Promise<string[]> {
  const found = new Map<number, string>();
  await eventually(async () => {
    const client = await weir.connect();
    const { processID } = client as unknown as { processID: number };
    const outcome = await client.query('select count(*) from numbers').then(
      () => 'ok',
      (error: { code?: string }) => error.code ?? 'error',
    );
    // The worker's number is in the lower bits.
    found.set(processID & 63, outcome);
    await client.end();
    return found.size === workers;
  });
  return [...found.values()];
}

async function ask(weir: Cluster, method: string, body: unknown): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${weir.httpPort}/grants`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  await response.text();
  return response.status;
}

t.test('a grant of the console is in force in all workers, and in one that begins later', async (t) => {
  const weir = await startPoliced(t);
  t.same(await outcomes(weir), ['42501', '42501']);
  await weir.console("grant access on_call to app for '1 hour' reason 'ticket 9'");
  t.same(await outcomes(weir), ['ok', 'ok']);
  t.match(await weir.console('show grants'), [{ role: 'on_call', user: 'app', granted_by: 'console:app' }]);
  t.equal((await weir.console('show grants')).length, 1);

  const [first] = weir.workers();
  process.kill(first as number, 'SIGKILL');
  await eventually(() => !isRunning(first as number) && weir.workers().length === 2);
  t.same(await outcomes(weir), ['ok', 'ok'], 'also in the one that was started again');
  writeFileSync(weir.policyFile, policy.replace('"numbers"', '"all-numbers"'));
  await weir.console('reload');
  t.same(await outcomes(weir), ['ok', 'ok'], 'after a reload');

  await weir.console('revoke access on_call from app');
  t.same(await outcomes(weir), ['42501', '42501']);
  await t.rejects(weir.console('revoke access on_call from app'), { code: '42704' });
  const second = weir.workers()[0] as number;
  process.kill(second, 'SIGKILL');
  await eventually(() => !isRunning(second) && weir.workers().length === 2);
  t.same(await outcomes(weir), ['42501', '42501'], 'what has ended does not come back');
});

t.test('a grant by HTTP, too; metrics and SHOW add up what workers have decided', async (t) => {
  const weir = await startPoliced(t);
  t.same(await outcomes(weir), ['42501', '42501']);
  t.equal(await ask(weir, 'POST', { role: 'nobody', user: 'app', for: '1 hour', reason: 'x' }), 404);
  t.equal(await ask(weir, 'POST', { role: 'on_call', user: 'app', for: '1 hour', reason: 'ticket 10' }), 201);
  t.same(await outcomes(weir), ['ok', 'ok']);
  t.match(await weir.console('show grants'), [{ role: 'on_call', user: 'app', granted_by: 'http' }]);
  t.equal(await weir.metric('weir_policy_grants'), 1);
  t.equal(await weir.metric('weir_policy_mode'), 2);
  const rules = await weir.console('show rules');
  const denied = rules.filter(({ rule }) => rule === 'numbers');
  t.equal(denied.length, 1, 'one row a rule');
  t.ok(Number(denied[0]?.['denied']) >= 2);
  t.equal(
    await weir.metric('weir_policy_decisions_total{verdict="deny",rule="numbers"}'),
    Number(denied[0]?.['denied']),
  );
  const [shown, ...others] = await weir.console('show policy');
  t.same(others, []);
  t.match(shown, { mode: 'enforce', default: 'allow', rules: 1, grants: 1 });
  t.equal(await ask(weir, 'DELETE', { role: 'on_call', user: 'app' }), 204);
  t.same(await outcomes(weir), ['42501', '42501']);
});

t.test('a policy with an error in it changes nothing', async (t) => {
  const weir = await startPoliced(t);
  writeFileSync(weir.policyFile, policy.replace('verdict = "deny"', 'verdict = "denied"'));
  await t.rejects(weir.console('reload'), { code: 'F0000', detail: /policy\.toml:11/ });
  t.same(await outcomes(weir), ['42501', '42501']);
  t.match(readFileSync(weir.policyFile, 'utf8'), /denied/);
});
