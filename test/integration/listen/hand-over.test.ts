// A LISTEN that is answered counts, whoever else leaves its channel at the same moment; so it does in several processes.

import t, { type Test } from 'tap';
import { startPostgres } from '../../support/index.js';
import { RawClient, say } from '../../support/raw-client.js';
import { startWeir } from '../../support/weir.js';
import { startWeirCluster } from '../../support/weir-cluster.js';
import { heard } from './rig.js';

const server = await startPostgres({
  hba: 'host all all 127.0.0.1/32 trust',
  sql: ['create role app login superuser'],
});
t.teardown(() => server.stop());

type Place = { readonly host: string; readonly port: number };
type Leaves = (client: RawClient) => void;

const rounds = 20;

const waysToLeave: readonly (readonly [string, Leaves])[] = [
  ['its socket is closed', (client) => client.socket.destroy()],
  ['it says goodbye', (client) => client.write(say.end())],
  ['it unlistens', (client) => client.write(say.query('unlisten ch'))],
];

const waysToListen: readonly (readonly [string, (client: RawClient) => void])[] = [
  ['by Query', (client) => client.write(say.query('listen ch'))],
  [
    'by the extended protocol',
    (client) => client.write(say.parse({ text: 'listen ch' }), say.bind(), say.execute(), say.sync()),
  ],
];

/** How many of the rounds' listeners hear nothing, although they were told that they listen. */
async function deafIn(place: Place, listens: (client: RawClient) => void, leaves: Leaves): Promise<number> {
  const login = { user: 'app', database: 'postgres' };
  const notifier = await RawClient.connect(place, login);
  let deaf = 0;
  for (let round = 0; round < rounds; round++) {
    const first = await RawClient.connect(place, login);
    await first.query('listen ch');
    const second = await RawClient.connect(place, login);
    listens(second);
    leaves(first);
    await second.reply();
    await notifier.query(`notify ch, '${round}'`);
    const [note] = await heard(second, 1);
    if (note?.payload !== `${round}`) deaf++;
    second.socket.destroy();
    first.socket.destroy();
  }
  await notifier.end();
  return deaf;
}

async function handOvers(t: Test, place: Place): Promise<void> {
  for (const [how, listens] of waysToListen) {
    for (const [when, leaves] of waysToLeave) {
      t.equal(
        await deafIn(place, listens, leaves),
        0,
        `nobody is deaf: LISTEN ${how} while the only other listener leaves: ${when}`,
      );
    }
  }
}

t.test('whoever listens hears, although the last other listener leaves meanwhile', async (t) => {
  await handOvers(t, server);
  const weir = await startWeir({
    server,
    users: { app: 'x' },
    weir: { auth_type: 'trust', default_pool_size: 5 },
  });
  t.teardown(() => weir.stop());
  await handOvers(t, weir);
});

t.test('the same in two processes', async (t) => {
  const weir = await startWeirCluster(t, {
    server,
    settings: { auth_type: 'trust', default_pool_size: 6 },
    users: { app: 'x' },
  });
  await handOvers(t, weir);
});
