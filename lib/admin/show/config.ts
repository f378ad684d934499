// SHOW CONFIG: the global settings in force; secrets are masked.

import { listSettings } from '../../config/index.js';
import { show } from '../command.js';
import { same } from '../merge.js';

const columns = { key: 'text', value: 'text', default: 'text', changeable: 'text' } as const;

export const config = show(
  'config',
  columns,
  ({ pooler }) =>
    listSettings(pooler.config).map((setting) => ({
      key: setting.key,
      value: setting.value,
      default: setting.default,
      changeable: setting.changeable ? 'yes' : 'no',
    })),
  same,
);
