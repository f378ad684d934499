// RESUME [db]: ends what PAUSE and KILL began.

import { consoleDatabases } from '../../config/index.js';
import { type ControlCommand, refusal } from '../command.js';
import { requireDatabase } from '../databases.js';

export const resume: ControlCommand = {
  name: 'resume',
  role: 'admin',
  usage: ['RESUME [<db>]'],
  argument: 'optional',
  run: (database, { pooler }) => {
    if (database === undefined && pooler.shutdownMode !== undefined) throw refusal('pooler is shutting down');
    // The console is never paused, which is what `pooler.resume` then says.
    if (database !== undefined && !consoleDatabases.includes(database)) requireDatabase(pooler, database, 'resume');
    pooler.resume(database);
    return 'RESUME';
  },
};
