// Masked and unmasked clients of one database user send the same texts at the same time, on two servers they share.

import t, { type Test } from 'tap';
import { RawClient, type Reply, say } from '../../support/raw-client.js';
import type { TestWeir } from '../../support/weir.js';
import { planted, server, startPoliced } from './rig.js';

t.teardown(() => server.stop());

const policy = `
[policy]
default = "allow"
[policy.roles.analyst]
applications = ["report"]
[[policy.masks]]
roles = ["analyst"]
columns = ["public.people.email"]
with = "null"
`;

const texts = ['select email from people where id = 1', 'select email from people where id = 2', 'table people'];

type Way = (client: RawClient, text: string, name: string) => Promise<Reply>;

const ways: readonly Way[] = [
  (client, text) => client.query(text),
  (client, text) => client.execute(text),
  async (client, text, name) => {
    client.write(say.parse({ text, name }), say.bind({ statement: name }), say.execute({}), say.sync());
    await client.reply();
    client.write(say.bind({ statement: name }), say.execute({}), say.sync());
    return client.reply();
  },
  async (client, text) => {
    client.write(say.parse({ text }), say.sync());
    await client.reply();
    client.write(say.bind({}), say.execute({}), say.sync());
    return client.reply();
  },
  async (client, text) => {
    await client.query('begin');
    const reply = await client.query(text);
    await client.query('commit');
    return reply;
  },
  async (client, text, name) => {
    await client.query(`prepare ${name} as ${text}`);
    const reply = await client.query(`execute ${name}`);
    await client.query(`deallocate ${name}`);
    return reply;
  },
];

async function isMaskedThroughout(t: Test, weir: TestWeir, application: string, seed: number): Promise<boolean[]> {
  const parameters = { application_name: application };
  const client = await RawClient.connect(weir, { user: 'alice', parameters });
  t.teardown(() => client.vanish());
  const masked: boolean[] = [];
  for (let i = 0; i < 36; i++) {
    const way = ways[(i * 5 + seed) % ways.length] as Way;
    const { rows, errors } = await way(client, texts[(i + seed) % texts.length] as string, `s${i}`);
    t.strictSame([errors, rows.length > 0], [[], true]);
    masked.push(!JSON.stringify(rows).includes(planted));
  }
  return [...new Set(masked)];
}

void t.test('each sees what it may see', async (t) => {
  const weir = await startPoliced(t, policy, { weir: { default_pool_size: 2, lanes: 'auto' } });
  const applications = Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? 'report' : 'tool'));
  const seen = await Promise.all(applications.map((name, seed) => isMaskedThroughout(t, weir, name, seed >> 1)));
  t.strictSame(
    seen,
    applications.map((name) => [name === 'report']),
  );
});
