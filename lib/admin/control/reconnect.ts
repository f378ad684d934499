// RECONNECT [db]: each server connection is closed when it is next free, and made anew when needed.

import type { ControlCommand } from '../command.js';
import { requireDatabase } from '../databases.js';

export const reconnect: ControlCommand = {
  name: 'reconnect',
  role: 'admin',
  usage: ['RECONNECT [<db>]'],
  argument: 'optional',
  run: (database, { pooler }) => {
    if (database !== undefined) requireDatabase(pooler, database, 'reconnect');
    pooler.reconnect(database);
    return 'RECONNECT';
  },
};
