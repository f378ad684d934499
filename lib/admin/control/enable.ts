// ENABLE db: the database takes new clients again.

import type { ControlCommand } from '../command.js';
import { namedDatabase } from '../databases.js';

export const enable: ControlCommand = {
  name: 'enable',
  role: 'admin',
  usage: ['ENABLE <db>'],
  argument: 'required',
  run: (database, { pooler }) => {
    pooler.enable(namedDatabase(pooler, database, 'enable'));
    return 'ENABLE';
  },
};
