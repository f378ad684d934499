// SHOW FDS: refused, for it hands out cancel keys, passwords and open sockets.

import { refusal, type ShowCommand } from '../command.js';
import { same } from '../merge.js';

export const fds: ShowCommand = {
  name: 'fds',
  role: 'admin',
  columns: {},
  answer: () => [],
  merge: same,
  rows: () => {
    throw refusal('SHOW FDS is not supported', {
      sqlstate: '0A000',
      detail: 'It would show passwords, keys and open sockets.',
      hint: 'SHOW SOCKETS lists connections; SHUTDOWN WAIT_FOR_CLIENTS replaces a process without cutting clients.',
    });
  },
};
