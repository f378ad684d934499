// WAIT_CLOSE [db]: answers when no server is left that RECONNECT or a changed setting wants closed.

import type { ControlCommand } from '../command.js';
import { requireDatabase } from '../databases.js';

export const waitClose: ControlCommand = {
  name: 'wait_close',
  role: 'admin',
  usage: ['WAIT_CLOSE [<db>]'],
  argument: 'optional',
  run: async (database, { pooler }) => {
    if (database !== undefined) requireDatabase(pooler, database, 'wait in');
    await pooler.waitClose(database);
    return 'WAIT_CLOSE';
  },
};
