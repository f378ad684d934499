// Clients inside weir go on when what their message waited for has come, as any client does.

import t from 'tap';
import { errorIn, InternalClient } from '../../lib/client/internal-client.js';
import { Effect, footprint } from '../../lib/session/index.js';
import { startPostgres } from '../support/index.js';
import { say } from '../support/raw-client.js';
import { startWeir } from '../support/weir.js';

const postgres = await startPostgres({ hba: 'host all all 127.0.0.1/32 trust' });
t.teardown(() => postgres.stop());

const listens = footprint({ effects: Effect.Listens, channels: [{ kind: 'listen', channel: 'news' }] });

class Asker extends InternalClient {
  readonly answer: Promise<Buffer>;
  #resolve!: (answer: Buffer) => void;
  #reject!: (error: Error) => void;

  constructor(pool: ConstructorParameters<typeof InternalClient>[0]) {
    super(pool, listens);
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  protected onAnswer(answer: Buffer): void {
    this.drop();
    this.#resolve(answer);
  }

  protected onFailure(error: Error): void {
    this.#reject(error);
  }
}

void t.test(
  'a message that waits for the answers to what stands before it in its batch',
  { timeout: 30_000 },
  async (t) => {
    const weir = await startWeir({
      server: postgres,
      users: { postgres: postgres.admin.password },
      weir: { auth_type: 'trust', default_pool_size: 1 },
    });
    t.teardown(() => weir.stop());
    const client = await weir.connect({ user: 'postgres', password: postgres.admin.password, database: 'postgres' });
    await client.query('select 1');
    const [pool] = weir.pooler.pools;
    if (pool === undefined) throw new Error('a client has made no pool');
    const asker = new Asker(pool);
    const once = [say.parse({ text: 'listen news' }), say.bind({}), say.execute({})];
    asker.run(Buffer.concat([...once, ...once, say.sync()]));
    const answer = await asker.answer;
    t.equal(errorIn(answer), undefined);
    t.equal(answer.toString('latin1').split('LISTEN').length, 3, 'both have run');
    await client.end();
  },
);
