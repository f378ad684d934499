// RELOAD: reads the configuration and the files it names again; with an error nothing changes.

import { PoolerError } from '../../util/index.js';
import { type ControlCommand, refusal } from '../command.js';

export const reload: ControlCommand = {
  name: 'reload',
  role: 'admin',
  usage: ['RELOAD'],
  argument: 'none',
  run: async (_argument, { pooler }) => {
    try {
      await pooler.reload();
    } catch (error) {
      pooler.log.error({ err: error }, 'RELOAD failed');
      const known = error instanceof PoolerError ? error : undefined;
      throw refusal('RELOAD failed, see logs for additional details', {
        sqlstate: 'F0000',
        ...(known === undefined ? {} : { detail: known.message }),
        hint: known?.hint ?? 'Nothing has changed.',
      });
    }
    return 'RELOAD';
  },
};
