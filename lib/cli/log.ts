// The process's log: JSON lines, or readable ones on a terminal; to standard output, and to a file that can be reopened.

import { openSync } from 'node:fs';
import { isatty } from 'node:tty';
import pino from 'pino';
import pretty from 'pino-pretty';
import { type Config, resolveLogLevel } from '../config/index.js';
import { PoolerError } from '../util/index.js';

export interface ProcessLog {
  readonly log: pino.Logger;
  /** Opens the file again, after rotation. */
  reopen(): void;
  /** Everything logged so far is on its way to where it belongs. */
  flush(): void;
}

/** Bytes written at once, of whole lines: more would be torn where several processes write to one pipe. */
const maxWrite = 4_096;

/** What is never to appear, should an object that holds it ever be logged. */
const redact = ['password', '*.password', 'secret', '*.secret', 'key', 'req.headers.authorization'];

/**
 * @param quiet nothing to standard output
 * @param worker which of several processes this is
 * @throws PoolerError when the file cannot be opened
 */
export function openLog(config: Config, quiet: boolean, worker?: number): ProcessLog {
  const { weir } = config;
  const streams: pino.StreamEntry[] = [];
  const files: ReturnType<typeof pino.destination>[] = [];
  if (!quiet) {
    const wantsPretty = weir.log_format === 'pretty' || (weir.log_format === 'auto' && isatty(1));
    if (wantsPretty) {
      streams.push({
        level: 'trace',
        stream: pretty({ colorize: isatty(1), sync: true, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss.l' }),
      });
    } else {
      const standardOutput = pino.destination({ dest: 1, sync: false, maxWrite });
      files.push(standardOutput);
      streams.push({ level: 'trace', stream: standardOutput });
    }
  }
  let logfile: ReturnType<typeof pino.destination> | undefined;
  if (weir.logfile !== '') {
    try {
      // Opened once here: a bad path is an error of the start, not of the first line.
      openSync(weir.logfile, 'a');
    } catch (cause) {
      throw new PoolerError(`logfile ${weir.logfile} cannot be opened`, {
        sqlstate: '58030',
        hint: 'Check the path and its permissions.',
        cause,
      });
    }
    logfile = pino.destination({ dest: weir.logfile, append: true, sync: false, maxWrite });
    files.push(logfile);
    streams.push({ level: 'trace', stream: logfile });
  }
  const log = pino(
    { level: resolveLogLevel(weir), base: worker === undefined ? null : { worker }, redact },
    pino.multistream(streams),
  );
  return {
    log,
    reopen: () => logfile?.reopen(),
    flush: () => {
      for (const file of files) {
        try {
          file.flushSync();
        } catch {
          // Nobody reads any more; there is nowhere left to say so.
        }
      }
    },
  };
}
