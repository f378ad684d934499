// SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]: ends the process, at once or when nobody needs it any more.

import type { ShutdownMode } from '../../pooler/index.js';
import { type ControlCommand, refusal } from '../command.js';

/** @throws PoolerError */
export function shutdownModeOf(argument: string | undefined): ShutdownMode {
  switch (argument?.toLowerCase()) {
    case undefined:
      return 'immediate';
    case 'wait_for_servers':
      return 'wait_for_servers';
    case 'wait_for_clients':
      return 'wait_for_clients';
    default:
      throw refusal('bad arguments', { hint: 'SHUTDOWN, SHUTDOWN WAIT_FOR_SERVERS or SHUTDOWN WAIT_FOR_CLIENTS.' });
  }
}

export const shutdown: ControlCommand = {
  name: 'shutdown',
  role: 'admin',
  usage: ['SHUTDOWN', 'SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS'],
  argument: 'optional',
  run: (argument, { pooler }) => {
    const mode = shutdownModeOf(argument);
    if (mode === 'immediate') {
      pooler.shutdown(mode);
      return undefined;
    }
    // After the answer: where nobody is left to wait for, the console is closed at once.
    setImmediate(() => {
      // Said again, it does not become the quick way out that a second signal is.
      if (pooler.shutdownMode !== mode) pooler.shutdown(mode);
    });
    return 'SHUTDOWN';
  },
};
