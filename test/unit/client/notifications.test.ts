// What is kept for clients that listen ends where its limits say, and a server that listens is tried for less and less often.

import t from 'tap';
import { ClientListening } from '../../../lib/client/client-listening.js';
import { Kept, NotificationMemory, NotificationQueue, type Overflow } from '../../../lib/client/notification-queue.js';
import { NotificationHub } from '../../../lib/client/notifications.js';
import type { Pool } from '../../../lib/pool/index.js';
import { PoolerError } from '../../../lib/util/index.js';

const frame = Buffer.alloc(872);
/** As the settings say it: 128 more than on the wire. */
const bytes = 1_000;

function queueIn(memory: NotificationMemory): { queue: NotificationQueue; over: Overflow[] } {
  const over: Overflow[] = [];
  return { queue: new NotificationQueue(memory, (by) => over.push(by)), over };
}

t.test('notification_queue_limit: kept up to the last byte, and cut off beyond it', async (t) => {
  for (const [limit, wanted] of [
    [3 * bytes, []],
    [3 * bytes - 1, ['client']],
  ] as const) {
    const memory = new NotificationMemory(limit, 1_000_000);
    const { queue, over } = queueIn(memory);
    for (let i = 0; i < 3; i++) queue.push(new Kept('a', frame));
    t.same(over, wanted, `three with a limit of ${limit}`);
    t.equal(memory.bytes, wanted.length === 0 ? 3 * bytes : 0, 'and what is kept is counted');
    queue.push(new Kept('a', frame));
    t.equal(queue.bytes, 0, 'behind the limit nothing is kept');
  }
});

t.test('notification_memory_limit: one notification counts once, and whoever has most goes first', async (t) => {
  const memory = new NotificationMemory(1_000_000, 3 * bytes + 2 * 16);
  const many = queueIn(memory);
  const few = queueIn(memory);
  for (let i = 0; i < 2; i++) {
    const kept = new Kept('a', frame);
    many.queue.push(kept);
    few.queue.push(kept);
  }
  many.queue.push(new Kept('b', frame));
  t.same([many.over, few.over], [[], []], 'at the limit nobody is cut off');
  few.queue.push(new Kept('c', Buffer.alloc(0)));
  t.same([many.over, few.over], [['process'], []], 'beyond it the one with most is');
  t.equal(memory.bytes, 2 * bytes + 128, 'and only what the other has is left');
  few.queue.shift();
  few.queue.filter(() => false);
  t.equal(memory.bytes, 0, 'what is told or dropped is not counted any more');
});

interface Attempt {
  readonly waitMs: number;
  readonly go: () => void;
}

function hubOf(run: (hub: NotificationHub) => void): {
  hub: NotificationHub;
  attempts: Attempt[];
  nowMs: { at: number };
} {
  const attempts: Attempt[] = [];
  const nowMs = { at: 0 };
  const pool = { sweep: () => {} } as unknown as Pool;
  const hub: NotificationHub = new NotificationHub(pool, {
    memory: new NotificationMemory(1_000, 1_000),
    clock: { now: () => nowMs.at, wallMs: () => 0 },
    events: { listenerLost: () => {}, listenerBack: () => {} },
    listener: (made) => ({ retires: false, run: () => run(made), rest: () => {}, stop: () => {} }),
    later: (waitMs, go) => {
      attempts.push({ waitMs, go });
      return () => {};
    },
  });
  return { hub, attempts, nowMs };
}

const lost = new PoolerError('lost', { sqlstate: '08006' });

function clientOf(hub: NotificationHub): ClientListening {
  return new ClientListening({ hub: () => hub, onNotified: () => {}, goOn: () => {}, fail: () => {} });
}

t.test(
  'a server that listens and is lost again and again is tried for at once, then less and less often',
  async (t) => {
    const { hub, attempts, nowMs } = hubOf((made) => made.answered(undefined));
    const client = clientOf(hub);
    t.equal(client.ready([{ kind: 'listen', channel: 'a' }]), 'ready', 'it listens');
    client.onChannels(['a'], []);
    for (let i = 0; i < 9; i++) {
      hub.failed(lost);
      attempts.at(-1)?.go();
    }
    t.same(
      attempts.map(({ waitMs }) => waitMs),
      [0, 250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000],
      'the waits',
    );
    nowMs.at += 5_000;
    hub.failed(lost);
    t.equal(attempts.at(-1)?.waitMs, 0, 'one that has listened for a while was no failure');
    t.equal(client.channels.length, 1, 'and the client listens all the time');
  },
);

t.test('a session may listen on 10,000 channels, and is refused one more', async (t) => {
  const { hub } = hubOf((made) => queueMicrotask(() => made.answered(undefined)));
  const client = clientOf(hub);
  const names = Array.from({ length: 10_000 }, (_, i) => `c${i}`);
  client.ready(names.map((channel) => ({ kind: 'listen', channel })));
  while (client.ready([]) === 'wait') await new Promise((resolve) => setImmediate(resolve));
  client.onChannels(names, []);
  t.equal(client.channels.length, 10_000, 'all are listened on');
  t.match(
    client.ready([{ kind: 'listen', channel: 'one more' }]),
    { severity: 'ERROR', sqlstate: '53400' },
    'one more',
  );
  t.equal(client.ready([{ kind: 'listen', channel: 'c7' }]), 'wait', 'one of them may be named again');
});
