// SHOW HELP: the commands, as a NOTICE.

import { commandComplete, noticeResponse } from '../../wire/index.js';
import type { ShowCommand } from '../command.js';
import { same } from '../merge.js';

/** @param usage one line a command; asked for late, because this command is one of them */
export function help(usage: () => readonly string[]): ShowCommand {
  return {
    name: 'help',
    role: 'stats',
    columns: {},
    rows: () => [],
    merge: same,
    answer: () => [
      noticeResponse({
        severity: 'NOTICE',
        sqlstate: '00000',
        message: 'Console usage',
        detail: `\n${usage()
          .map((line) => `\t${line}`)
          .join('\n')}`,
      }),
      commandComplete('SHOW'),
    ],
  };
}
