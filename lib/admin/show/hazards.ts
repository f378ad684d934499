// SHOW HAZARDS: what clients did that outlives a transaction, for whom, how often, and what transaction mode does about it.

import type { HazardFinding } from '../../pooler/index.js';
import { show } from '../command.js';
import { summed } from '../merge.js';

const columns = {
  user: 'text',
  database: 'text',
  application_name: 'text',
  hazard: 'text',
  count: 'int8',
  transaction_mode: 'text',
  example: 'text',
} as const;

export const hazards = show(
  'hazards',
  columns,
  ({ pooler }) =>
    pooler
      .hazardFindings()
      .sort((a, b) => (place(a) < place(b) ? -1 : 1))
      .map(({ user, database, application, hazard, count, transactionMode, example }) => ({
        user,
        database,
        application_name: application,
        hazard,
        count,
        transaction_mode: transactionMode,
        example,
      })),
  summed({ by: ['user', 'database', 'application_name', 'hazard'], add: ['count'] }),
);

function place({ user, database, application, hazard }: HazardFinding): string {
  return [user, database, application, hazard].join('\0');
}
