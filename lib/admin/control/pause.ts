// PAUSE [db]: no server is lent any more; answers when all of them are closed.

import { type ControlCommand, refusal } from '../command.js';
import { requireDatabase } from '../databases.js';

export const pause: ControlCommand = {
  name: 'pause',
  role: 'admin',
  usage: ['PAUSE [<db>]'],
  argument: 'optional',
  run: async (database, { pooler }) => {
    if (pooler.state !== 'active') throw refusal('already suspended/paused', { hint: 'RESUME ends the pause.' });
    if (database !== undefined) requireDatabase(pooler, database, 'pause');
    await pooler.pause(database);
    return 'PAUSE';
  },
};
