// SHOW STATE: whether weir is active, paused or suspended.

import { show } from '../command.js';
import { same } from '../merge.js';

export const state = show(
  'state',
  { key: 'text', value: 'text' },
  ({ pooler }) =>
    (['active', 'paused', 'suspended'] as const).map((key) => ({ key, value: pooler.state === key ? 'yes' : 'no' })),
  same,
);
