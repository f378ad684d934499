// The channel between the primary and a worker.

import t from 'tap';
import { Link } from '../../../lib/cluster/link.js';

t.test('what arrives from a process that has ended is not heard any more', async (t) => {
  let deliver: ((message: unknown) => void) | undefined;
  const heard: unknown[] = [];
  const hear = (body: unknown): void => {
    heard.push(body);
  };
  const link = new Link(
    {
      send: () => {},
      onMessage: (listener) => {
        deliver = listener;
      },
    },
    hear,
    async (body) => hear(body),
  );
  deliver?.([{ kind: 'notice', body: 'before' }]);
  link.close();
  deliver?.([
    { kind: 'notice', body: 'late' },
    { kind: 'question', id: 1, body: 'late too' },
  ]);
  t.same(heard, ['before']);
});
