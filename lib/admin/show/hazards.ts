// SHOW HAZARDS: what clients did that outlives a transaction, for whom, how often, and what transaction mode does about it.

import type { Pooler } from '../../pooler/index.js';
import { show } from '../command.js';

const columns = {
  user: 'text',
  database: 'text',
  application_name: 'text',
  hazard: 'text',
  count: 'int8',
  transaction_mode: 'text',
  example: 'text',
} as const;

type Entry = ReturnType<Pooler['hazardLog']['entries']>[number];

export const hazards = show('hazards', columns, ({ pooler }) =>
  [...pooler.hazardLog.entries()]
    .sort((a, b) => (place(a) < place(b) ? -1 : 1))
    .map(({ application, rung, ...entry }) => {
      const policy = pooler.config.weir[`on_hazard.${entry.hazard}`];
      return {
        ...entry,
        application_name: application,
        transaction_mode: policy === 'auto' ? rung : `on_hazard.${entry.hazard} = ${policy}`,
      };
    }),
);

function place({ user, database, application, hazard }: Entry): string {
  return [user, database, application, hazard].join('\0');
}
