// KILL_CLIENT id: cuts one client, named by its id in SHOW CLIENTS.

import { type ControlCommand, refusal } from '../command.js';

const wholeNumber = /^\d{1,15}$/;

export const killClient: ControlCommand = {
  name: 'kill_client',
  role: 'admin',
  usage: ['KILL_CLIENT <client_id>'],
  argument: 'required',
  run: (id, { pooler }) => {
    if (id === undefined || !wholeNumber.test(id)) {
      throw refusal('invalid client pointer supplied', { hint: 'Give the id of the client in SHOW CLIENTS.' });
    }
    if (!pooler.killClient(Number(id))) {
      throw refusal('client not found', { hint: 'Give the id of the client in SHOW CLIENTS.' });
    }
    return 'KILL_CLIENT';
  },
};
