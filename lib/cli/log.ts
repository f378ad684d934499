// The process's log: JSON lines, or readable ones on a terminal; to standard output, and to a file that can be reopened.

import { isatty } from 'node:tty';
import pino from 'pino';
import { prettyFactory } from 'pino-pretty';
import { type Config, resolveLogLevel } from '../config/index.js';
import { PoolerError } from '../util/index.js';
import { fileSink, type LogSink, standardOutputSink } from './log-sink.js';

export interface ProcessLog {
  readonly log: pino.Logger;
  /** Opens the file again, after rotation. */
  reopen(): void;
  /** Resolves when everything logged so far is where it belongs, or cannot be soon. */
  flush(): Promise<void>;
  /** For a process that ends here and now. */
  flushNow(): void;
}

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
  const sinks: LogSink[] = [];
  if (!quiet) {
    const sink = standardOutputSink();
    sinks.push(sink);
    const wantsPretty = weir.log_format === 'pretty' || (weir.log_format === 'auto' && isatty(1));
    streams.push({ level: 'trace', stream: wantsPretty ? readable(sink) : sink });
  }
  if (weir.logfile !== '') {
    const sink = openFile(weir.logfile);
    sinks.push(sink);
    streams.push({ level: 'trace', stream: sink });
  }
  const log = pino(
    { level: resolveLogLevel(weir), base: worker === undefined ? null : { worker }, redact },
    pino.multistream(streams),
  );
  return {
    log,
    reopen: () => {
      for (const sink of sinks) sink.reopen();
    },
    flush: async () => {
      await Promise.all(sinks.map((sink) => sink.flush()));
    },
    flushNow: () => {
      for (const sink of sinks) sink.flushNow();
    },
  };
}

/** @throws PoolerError: a bad path is an error of the start, not of the first line */
function openFile(path: string): LogSink {
  try {
    return fileSink(path);
  } catch (cause) {
    throw new PoolerError(`logfile ${path} cannot be opened`, {
      sqlstate: '58030',
      hint: 'Check the path and its permissions.',
      cause,
    });
  }
}

/** For people: a line each. */
function readable(sink: LogSink): pino.DestinationStream {
  const pretty = prettyFactory({
    colorize: isatty(1),
    singleLine: true,
    ignore: 'pid,hostname',
    translateTime: 'SYS:HH:MM:ss.l',
  });
  return { write: (line) => sink.write(pretty(line)) };
}
