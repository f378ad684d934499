// Notifications of unknown senders: what other processes say of them, in which order they are told, and what waits behind them.

import t from 'tap';
import { SenderQueue } from '../../../lib/client/index.js';
import { readNotification, readNotificationPid } from '../../../lib/wire/index.js';

function frameOf(pid: number, payload: string): Buffer {
  const body = Buffer.from(`ch\0${payload}\0`);
  const frame = Buffer.alloc(9 + body.length);
  frame.write('A');
  frame.writeInt32BE(8 + body.length, 1);
  frame.writeInt32BE(pid, 5);
  body.copy(frame, 9);
  return frame;
}

/** Backends below 100 are this process'. */
function start() {
  const told: string[] = [];
  const questions: { readonly pids: readonly number[]; readonly answer: (pids: readonly (number | null)[]) => void }[] =
    [];
  const queue = new SenderQueue(
    {
      pidOf: (_, pid) => (pid < 100 ? pid * 10 : undefined),
      pidsElsewhere: (_, pids) => new Promise((resolve) => questions.push({ pids, answer: resolve })),
      onListening: () => {},
    },
    (bytes, begin, end) =>
      told.push(`${readNotificationPid(bytes, begin)} ${readNotification(bytes, begin, end)?.payload}`),
  );
  const notify = (pid: number, payload: string): void => {
    const frame = frameOf(pid, payload);
    queue.onNotification('there/1', frame, 0, frame.length);
    // The bytes are the socket's again.
    frame.fill(0);
  };
  const answer = async (...pids: (number | null)[]): Promise<void> => {
    questions.shift()?.answer(pids);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { told, questions, queue, notify, answer };
}

t.test('what is known is told at once, and behind what is asked for in its order', async (t) => {
  const { told, questions, queue, notify, answer } = start();
  notify(1, 'a');
  t.same(told, ['10 a']);
  notify(200, 'b');
  notify(2, 'c');
  notify(200, 'd');
  notify(300, 'e');
  queue.behind(() => told.push('answered'));
  t.same(told, ['10 a']);
  t.same(
    questions.map(({ pids }) => pids),
    [[200]],
  );
  await answer(2000);
  t.same(told, ['10 a', '2000 b'], 'what came after the question is asked for anew');
  t.same(
    questions.map(({ pids }) => pids),
    [[200, 300]],
  );
  await answer(2001, null);
  t.same(told.slice(2), ['20 c', '2001 d', '300 e', 'answered']);
  notify(3, 'f');
  queue.behind(() => told.push('answered'));
  t.same(told.slice(6), ['30 f', 'answered']);
});

t.test('at the end of the server what it has told of is told, and what was to happen behind does not', async (t) => {
  const { told, queue, notify, answer } = start();
  notify(200, 'a');
  queue.behind(() => told.push('answered'));
  notify(2, 'b');
  queue.end();
  t.same(told, ['200 a', '20 b']);
  await answer(2000);
  t.same(told, ['200 a', '20 b']);
});

t.test('where others do not answer no more than a thousand are held', async (t) => {
  const { told, notify } = start();
  for (let n = 0; n <= 1_000; n++) notify(200, `${n}`);
  t.same(
    told,
    Array.from({ length: 1_000 }, (_, n) => `200 ${n}`),
  );
});
