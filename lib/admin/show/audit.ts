// SHOW AUDIT: per process, the file its records go to, how many there are, and what the disk does not take.

import { show } from '../command.js';

const columns = {
  segment: 'text',
  mode: 'text',
  on_full: 'text',
  records: 'int8',
  durable: 'int8',
  dropped: 'int8',
  refused: 'int8',
  queue_bytes: 'int8',
  lag_us: 'int8',
  failure: 'text',
  seal: 'text',
} as const;

export const audit = show('audit', columns, ({ pooler: { trail } }) => {
  if (trail === undefined) return [];
  const { segment, seal, records, durable, dropped, refused, queuedBytes, lagMs, failure } = trail.state();
  const { mode, onFull } = trail.policy;
  return [
    {
      segment,
      mode,
      on_full: onFull,
      records,
      durable,
      dropped,
      refused,
      queue_bytes: queuedBytes,
      lag_us: Math.round(lagMs * 1_000),
      failure: failure === undefined ? null : failure.message,
      seal,
    },
  ];
});
