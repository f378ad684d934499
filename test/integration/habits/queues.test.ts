// pg-boss and pg-listen, unmodified: jobs are queued, worked, retried and scheduled, and notifications reach their listeners.

import { once } from 'node:events';
import pg from 'pg';
import t from 'tap';
import { eventually } from '../../support/index.js';
import { optionalPackage, startRig, withClients } from './rig.js';

interface Job {
  id: string;
  data: { n: number };
}

interface Boss {
  on(event: 'error', listener: (error: Error) => void): void;
  start(): Promise<Boss>;
  stop(options: { graceful: boolean; wait?: boolean; timeout?: number }): Promise<void>;
  createQueue(name: string, options?: object): Promise<void>;
  send(name: string, data: object, options?: object): Promise<string | null>;
  insert(jobs: { name: string; data: object }[]): Promise<void>;
  fetch(name: string, options?: object): Promise<Job[]>;
  complete(name: string, id: string): Promise<void>;
  work(name: string, options: object, handler: (jobs: Job[]) => Promise<unknown>): Promise<string>;
  getJobById(name: string, id: string): Promise<{ state: string; output: unknown; retryCount: number } | null>;
  getQueueSize(name: string): Promise<number>;
  schedule(name: string, cron: string, data?: object): Promise<void>;
  getSchedules(): Promise<{ name: string; cron: string }[]>;
}

interface Subscriber {
  notifications: NodeJS.EventEmitter;
  events: NodeJS.EventEmitter;
  connect(): Promise<void>;
  listenTo(channel: string): Promise<unknown>;
  notify(channel: string, payload?: unknown): Promise<unknown>;
  unlisten(channel: string): Promise<unknown>;
  getSubscribedChannels(): string[];
  close(): Promise<void>;
}

const bossPackage = (await optionalPackage('pg-boss')) as { default: new (options: object) => Boss } | undefined;
const listenPackage = (await optionalPackage('pg-listen')) as { default: CreateSubscriber | Wrapped } | undefined;
type CreateSubscriber = (connection: object, options?: object) => Subscriber;
/** As a CommonJS package with a default export of its own comes in. */
interface Wrapped {
  default: CreateSubscriber;
}

const rig = await startRig(t);

for (const place of rig.places) {
  const noBoss = bossPackage === undefined ? 'pg-boss is not installed' : false;
  t.test(`pg-boss, ${place.name}`, { skip: noBoss }, async (t) => {
    if (bossPackage === undefined) return;
    await rig.clean();
    const errors: Error[] = [];
    // Two processes of one application, which start and make the schema at the same time.
    const bosses = [1, 2].map(() => {
      const boss = new bossPackage.default({ ...place.login, max: 4, schema: 'pgboss', application_name: 'boss' });
      boss.on('error', (error) => errors.push(error));
      return boss;
    });
    const [one, two] = bosses as [Boss, Boss];
    try {
      await Promise.all(bosses.map((boss) => boss.start()));

      await one.createQueue('sums');
      let sum = 0;
      const seen = new Set<string>();
      for (const boss of bosses) {
        for (let worker = 0; worker < 2; worker++) {
          await boss.work('sums', { batchSize: 5, pollingIntervalSeconds: 0.5 }, async (jobs) => {
            for (const { id, data } of jobs) {
              if (seen.has(id)) errors.push(new Error('a job was worked twice'));
              seen.add(id);
              sum += data.n;
            }
          });
        }
      }
      await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? one : two).send('sums', { n })));
      await two.insert(Array.from({ length: 20 }, (_, n) => ({ name: 'sums', data: { n: n + 20 } })));
      await eventually(() => seen.size === 40);
      t.equal(sum, 780);
      t.equal(await one.getQueueSize('sums'), 0);

      await one.createQueue('failing', { name: 'failing', retryLimit: 1, retryDelay: 0 });
      const id = (await one.send('failing', { n: 1 })) ?? '';
      await two.work('failing', { pollingIntervalSeconds: 0.5 }, () => Promise.reject(new Error('not today')));
      await eventually(async () => (await one.getJobById('failing', id))?.state === 'failed');
      const failed = await one.getJobById('failing', id);
      t.equal(failed?.retryCount, 1);
      t.match(failed?.output, { message: 'not today' });

      await one.createQueue('single', { name: 'single', policy: 'short' });
      const sent = await Promise.all([1, 2, 3].map((n) => (n % 2 === 0 ? one : two).send('single', { n })));
      t.equal(sent.filter((each) => each !== null).length, 1, 'the queue takes one job');
      const [job] = await two.fetch('single');
      t.ok(job);
      await two.complete('single', job?.id ?? '');
      t.equal((await one.getJobById('single', job?.id ?? ''))?.state, 'completed');

      await one.createQueue('nightly');
      await one.schedule('nightly', '0 3 * * *', { n: 1 });
      t.match(await two.getSchedules(), [{ name: 'nightly', cron: '0 3 * * *' }]);
    } finally {
      await Promise.all(bosses.map((boss) => boss.stop({ graceful: false, wait: true, timeout: 5_000 })));
    }
    t.same(errors, []);
    await place.settled();
  });

  const noListen = listenPackage === undefined ? 'pg-listen is not installed' : false;
  t.test(`pg-listen, ${place.name}`, { skip: noListen }, async (t) => {
    if (listenPackage === undefined) return;
    const createSubscriber =
      typeof listenPackage.default === 'function' ? listenPackage.default : listenPackage.default.default;
    // It looks every half second whether its connection lives.
    const subscribers = [1, 2, 3].map(() =>
      createSubscriber(place.login, { paranoidChecking: 500, retryTimeout: 5_000, retryInterval: 100 }),
    );
    const errors: unknown[] = [];
    const heard: string[][] = subscribers.map(() => []);
    for (const [n, subscriber] of subscribers.entries()) {
      subscriber.events.on('error', (error) => errors.push(error));
      for (const channel of ['orders', 'Odd "channel"']) {
        subscriber.notifications.on(channel, (payload: { n: number }) => heard[n]?.push(`${channel} ${payload.n}`));
      }
    }
    const [one, two, three] = subscribers as [Subscriber, Subscriber, Subscriber];
    try {
      for (const subscriber of subscribers) await subscriber.connect();
      await one.listenTo('orders');
      await two.listenTo('orders');
      await two.listenTo('Odd "channel"');
      for (let n = 0; n < 10; n++) await three.notify('orders', { n });
      await three.notify('Odd "channel"', { n: 1 });
      const orders = Array.from({ length: 10 }, (_, n) => `orders ${n}`);
      await eventually(() => heard[0]?.length === 10 && heard[1]?.length === 11);
      t.same(heard, [orders, [...orders, 'Odd "channel" 1'], []]);

      const client = new pg.Client(place.login);
      await client.connect();
      await client.query('begin');
      await client.query("select pg_notify('orders', '{\"n\": 10}')");
      await client.query('notify orders, \'{"n": 11}\'');
      await client.query('commit');
      await client.query('begin');
      await client.query('notify orders, \'{"n": 12}\'');
      await client.query('rollback');
      await client.end();
      await eventually(() => heard[0]?.length === 12);
      t.same(heard[0]?.slice(-2), ['orders 10', 'orders 11']);

      await one.unlisten('orders');
      await three.notify('orders', { n: 13 });
      await eventually(() => heard[1]?.at(-1) === 'orders 13');
      t.same(one.getSubscribedChannels(), []);
      t.equal(heard[0]?.length, 12);
      // One's own comes too.
      await two.notify('orders', { n: 14 });
      await eventually(() => heard[1]?.at(-1) === 'orders 14');

      await new Promise((resolve) => setTimeout(resolve, 1_200));
      t.same(errors, [], 'its checks find the connection alive');
    } finally {
      await Promise.all(subscribers.map((subscriber) => subscriber.close()));
    }
    await place.settled();
  });

  t.test(`pg, ${place.name}: a client that only listens, while others work`, (t) =>
    withClients(place, 2, async (listener, worker) => {
      const heard: string[] = [];
      listener.on('notification', ({ payload }) => heard.push(payload ?? ''));
      await listener.query('listen work');
      await worker.query('create table if not exists done (n int)');
      const pool = new pg.Pool({ ...place.login, max: 5 });
      await Promise.all(
        Array.from({ length: 50 }, (_, n) =>
          pool.query(
            "with made as (insert into done values ($1) returning n) select pg_notify('work', n::text) from made",
            [n],
          ),
        ),
      );
      await pool.end();
      await worker.query("notify work, 'end'");
      await eventually(() => heard.at(-1) === 'end');
      t.equal(heard.length, 51);
      t.same(
        heard
          .slice(0, -1)
          .map(Number)
          .sort((a, b) => a - b),
        Array.from({ length: 50 }, (_, n) => n),
      );
      const next = once(listener, 'notification');
      await listener.query("notify work, 'own'");
      t.match(await next, [{ channel: 'work', payload: 'own' }]);
    }),
  );
}
