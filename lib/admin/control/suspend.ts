// SUSPEND: refused; it exists in PgBouncer to hand over sockets to another process, which weir does not do.

import { type ControlCommand, refusal } from '../command.js';

export const suspend: ControlCommand = {
  name: 'suspend',
  role: 'admin',
  usage: [],
  argument: 'none',
  run: () => {
    throw refusal('SUSPEND is not supported', {
      sqlstate: '0A000',
      hint: 'PAUSE waits until no server is in use; SHUTDOWN WAIT_FOR_CLIENTS replaces a process without cutting clients.',
    });
  },
};
