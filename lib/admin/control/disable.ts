// DISABLE db: new clients of the database are refused; those there stay.

import type { ControlCommand } from '../command.js';
import { namedDatabase } from '../databases.js';

export const disable: ControlCommand = {
  name: 'disable',
  role: 'admin',
  usage: ['DISABLE <db>'],
  argument: 'required',
  run: (database, { pooler }) => {
    pooler.disable(namedDatabase(pooler, database, 'disable'));
    return 'DISABLE';
  },
};
