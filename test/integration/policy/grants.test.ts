// Temporary roles given on the console and by HTTP: what the user may do, who may give them, what is recorded, what survives a reload.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import t, { type Test } from 'tap';
import { AdminConsole } from '../../../lib/admin/index.js';
import { ownSource, startHttp } from '../../../lib/http/index.js';
import { Secret } from '../../../lib/util/index.js';
import { eventually, temporaryDirectory } from '../../support/index.js';
import { RawClient, type Reply } from '../../support/raw-client.js';
import type { TestWeir, WeirOptions } from '../../support/weir.js';
import { linesOf } from '../../support/weir-command.js';
import { connectAs, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

const policy = `
[policy]
mode = "enforce"
default = "deny"
unknown = "deny"
[policy.roles.reader]
users = ["alice"]
[policy.roles.on_call]
granted_only = true
users = ["bob"]
[[policy.rules]]
name = "readers"
roles = ["reader", "on_call"]
tables = ["public.orders"]
statements = ["select"]
verdict = "allow"
`;
const read = 'select count(*) from orders';

async function start(t: Test, more: Partial<WeirOptions> = {}): Promise<TestWeir> {
  const weir = await startPoliced(t, policy, {
    ...more,
    weir: { admin_users: ['postgres'], stats_users: ['alice'], ...more.weir },
  });
  weir.pooler.console = new AdminConsole(weir.pooler);
  return weir;
}

async function command(weir: TestWeir, text: string, user = 'postgres'): Promise<Reply> {
  const console = await RawClient.connect(weir, { user, database: 'pgbouncer' });
  const reply = await console.query(text);
  await console.end();
  return reply;
}

function codeOf(reply: Reply): string | undefined {
  return reply.errors[0]?.['C'];
}

const grant = "GRANT ACCESS on_call TO bob FOR '1 hour' REASON 'ticket 7'";

void t.test('a grant is in force at once, survives a reload, and is taken back', async (t) => {
  const weir = await start(t);
  const bob = await connectAs(t, weir, 'bob');
  t.equal(codeOf(await bob.query(read)), '42501');
  t.same((await command(weir, grant)).commands, ['GRANT']);
  t.same((await bob.query(read)).rows, [['50']]);
  const [row] = (await command(weir, 'SHOW GRANTS', 'alice')).rows;
  t.match(row, ['on_call', 'bob', /^20.*Z$/, /^3[56]\d\d$/, 'ticket 7', 'console:postgres']);
  t.match((await command(weir, 'SHOW POLICY')).rows, [['enforce', 'deny', 'deny', 'p.toml', '2', '1', '0', '1', '1']]);

  weir.policy = policy.replace('"readers"', '"all-readers"');
  await weir.pooler.reload();
  t.same((await bob.query(read)).rows, [['50']]);

  t.same((await command(weir, 'REVOKE ACCESS on_call FROM bob')).commands, ['REVOKE']);
  t.equal(codeOf(await bob.query(read)), '42501');
  t.match((await command(weir, 'REVOKE ACCESS on_call FROM bob')).errors[0], { C: '42704', H: /SHOW GRANTS/ });
  t.same((await command(weir, 'SHOW GRANTS')).rows, []);
});

void t.test('a grant ends by itself, in the middle of a session', async (t) => {
  const weir = await start(t);
  const bob = await connectAs(t, weir, 'bob');
  await command(weir, "GRANT ACCESS on_call TO bob FOR '1 s' REASON 'in a hurry'");
  t.same((await bob.query(read)).rows, [['50']]);
  await eventually(async () => codeOf(await bob.query(read)) === '42501');
  t.same((await command(weir, 'SHOW GRANTS')).rows, []);
});

void t.test('who may not, or says too little, is told why', async (t) => {
  const weir = await start(t, { weir: { policy_grant_max: 7_200 } });
  t.match((await command(weir, grant, 'alice')).errors[0], { M: 'admin access needed' });
  t.match((await command(weir, 'REVOKE ACCESS on_call FROM bob', 'alice')).errors[0], { M: 'admin access needed' });
  const refused: readonly (readonly [string, string, RegExp])[] = [
    ["GRANT ACCESS on_call TO bob FOR '1 hour'", '08P01', /REASON/],
    ["GRANT ACCESS on_call TO bob FOR '1 hour' REASON ' '", '22023', /what it is for/],
    ["GRANT ACCESS on_call TO bob FOR '1 moon' REASON 'x'", '22023', /30 min/],
    ["GRANT ACCESS on_call TO bob FOR '3 hours' REASON 'x'", '22023', /policy_grant_max allows 7200/],
    ["GRANT ACCESS nobody TO bob FOR '1 hour' REASON 'x'", '42704', /reader, on_call/],
    ["GRANT ACCESS on_call TO alice FOR '1 hour' REASON 'x'", '22023', /users of the role/],
    ['REVOKE ACCESS on_call', '08P01', /REVOKE ACCESS role FROM user/],
  ];
  for (const [text, sqlstate, hint] of refused) {
    t.match((await command(weir, text)).errors[0], { C: sqlstate, H: hint }, text);
  }
  weir.policy = undefined;
  await weir.pooler.reload();
  t.match((await command(weir, grant)).errors[0], { C: '55000', M: 'there is no policy in force' });
  t.match((await command(weir, 'SHOW POLICY')).rows, [['off', null, null, null, '0', '0', '0', '0', '0']]);
  t.same((await command(weir, 'SHOW RULES')).rows, []);
});

void t.test('grants and their ends are in the audit trail and in the log', async (t) => {
  const audit_dir = temporaryDirectory(t);
  let logged = '';
  const log = pino({ level: 'info' }, { write: (line: string) => (logged += line) });
  const weir = await start(t, { log, weir: { audit_dir, audit_mode: 'before', audit_statements: ['denied'] } });
  await command(weir, grant);
  const records = (): Record<string, unknown>[] =>
    readdirSync(audit_dir)
      .flatMap((name) => readFileSync(join(audit_dir, name), 'utf8').split('\n'))
      .filter((line) => line.includes('"event":"grant"') || line.includes('"event":"revoke"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const given = { role: 'on_call', user: 'bob', reason: 'ticket 7', by: 'console:postgres' };
  t.match(records(), [{ event: 'grant', until: /Z$/, ...given }], 'on disk before the command is answered');
  await command(weir, 'REVOKE ACCESS on_call FROM bob');
  await eventually(() => records().length === 2);
  t.match(records()[1], { event: 'revoke', role: 'on_call', user: 'bob', by: 'console:postgres' });
  const said = linesOf(logged).map(({ msg }) => msg);
  t.ok(said.includes('access granted') && said.includes('access revoked'));
});

const token = 'a token of some length';

async function startWithHttp(t: Test, adminToken: Secret | null) {
  const weir = await start(t);
  const http = await startHttp(ownSource(weir.pooler), { host: '127.0.0.1', port: 0 }, adminToken);
  t.teardown(() => http.close());
  const ask = async (method: string, body?: unknown, authorization = `Bearer ${token}`) => {
    const response = await fetch(`http://127.0.0.1:${http.port}/grants`, {
      method,
      headers: { authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : (JSON.parse(text) as unknown) };
  };
  return { weir, ask };
}

const wish = { role: 'on_call', user: 'bob', for: '1 hour', reason: 'ticket 8' };

void t.test('HTTP gives, lists and takes roles for who has the token', async (t) => {
  const { weir, ask } = await startWithHttp(t, new Secret(token));
  const bob = await connectAs(t, weir, 'bob');
  const shown = { role: 'on_call', user: 'bob', until: /Z$/, reason: 'ticket 8', granted_by: 'http' };
  t.match(await ask('POST', wish), { status: 201, body: shown });
  t.same((await bob.query(read)).rows, [['50']]);
  t.match(await ask('GET'), { status: 200, body: [shown] });
  t.same(await ask('DELETE', { role: 'on_call', user: 'bob' }), { status: 204, body: undefined });
  t.equal(codeOf(await bob.query(read)), '42501');
  t.match(await ask('DELETE', { role: 'on_call', user: 'bob' }), { status: 404, body: { sqlstate: '42704' } });
  t.same(await ask('GET'), { status: 200, body: [] });

  t.match(await ask('POST', { ...wish, role: 'nobody' }), { status: 404, body: { hint: /reader, on_call/ } });
  t.match(await ask('POST', { ...wish, for: 'ever' }), { status: 400, body: { sqlstate: '22023', hint: /1 hour/ } });
  const { reason: _reason, ...unexplained } = wish;
  t.match(await ask('POST', unexplained), { status: 400, body: { error: '"reason" is missing or no text' } });
  t.match(await ask('POST', { ...wish, user: 7 }), { status: 400 });
  t.match(await ask('POST', '{'), { status: 400, body: { error: 'bad request' } });
  t.match(await ask('POST', { ...wish, reason: 'x'.repeat(5_000) }), { status: 413 });
  t.match(await ask('PUT', wish), { status: 404 });

  for (const wrong of ['', 'Bearer', `Bearer ${token}x`, `Basic ${token}`, `Bearer ${token.slice(1)}`]) {
    for (const method of ['GET', 'POST', 'DELETE']) {
      const body = method === 'GET' ? undefined : wish;
      t.match(await ask(method, body, wrong), { status: 401, body: { error: 'unauthorized' } }, `${method} ${wrong}`);
    }
  }
  t.same((await command(weir, 'SHOW GRANTS')).rows, []);
  weir.policy = undefined;
  await weir.pooler.reload();
  t.match(await ask('POST', wish), { status: 409, body: { error: 'there is no policy in force' } });
});

void t.test('without a token there is no such route', async (t) => {
  const { ask } = await startWithHttp(t, null);
  for (const method of ['GET', 'POST', 'DELETE']) {
    t.same(await ask(method, method === 'GET' ? undefined : wish), { status: 404, body: { error: 'not found' } });
  }
});
