// KILL [db]: cuts all clients and servers at once; new clients wait for RESUME.

import { type ControlCommand, refusal } from '../command.js';
import { requireDatabase } from '../databases.js';

export const kill: ControlCommand = {
  name: 'kill',
  role: 'admin',
  usage: ['KILL [<db>]'],
  argument: 'optional',
  run: (database, { pooler }) => {
    if (pooler.state !== 'active') throw refusal('already suspended/paused', { hint: 'RESUME ends the pause.' });
    if (database !== undefined) requireDatabase(pooler, database, 'kill');
    pooler.kill(database);
    return 'KILL';
  },
};
