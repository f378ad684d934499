// Runs one process of weir until it is told to stop: pooler, console, HTTP, signals, pid file.

import { AdminConsole } from '../admin/index.js';
import { type HttpServer, ownSource, startHttp } from '../http/index.js';
import { type Loaded, Pooler } from '../pooler/index.js';
import { systemClock } from '../util/index.js';
import { openLog } from './log.js';
import { dropPrivileges, onInternalErrors, removePidFile, untilFinished, writePidFile } from './process.js';

export interface ServeOptions {
  readonly loaded: Loaded;
  /** For RELOAD. @throws PoolerError */
  readonly reread: () => Loaded;
  readonly quiet: boolean;
  readonly version: string;
  /** Called when clients can connect. */
  readonly onReady?: (places: readonly string[]) => void;
}

export interface Served {
  readonly pooler: Pooler;
  /** Resolves when the process may end. */
  readonly finished: Promise<void>;
}

/** @throws PoolerError when it cannot start */
export async function serve(options: ServeOptions): Promise<Served> {
  const { config } = options.loaded;
  dropPrivileges(config.weir.user);
  const { log, reopen, flush, flushNow } = openLog(config, options.quiet);
  const pooler = await Pooler.create({
    loaded: options.loaded,
    clock: systemClock,
    log,
    reread: options.reread,
    version: options.version,
  });
  pooler.console = new AdminConsole(pooler);
  writePidFile(config.weir.pidfile);
  let http: HttpServer | undefined;
  try {
    const { http_listen, http_admin_token } = config.weir;
    // First: whoever hears that weir is ready finds it listening, and where it cannot, no client has been let in.
    if (http_listen !== null) http = await startHttp(ownSource(pooler), http_listen, http_admin_token);
    const listening = await pooler.start();
    options.onReady?.(listening.places);
  } catch (error) {
    await http?.close();
    removePidFile(config.weir.pidfile);
    throw error;
  }
  const actions = {
    reopenLog: reopen,
    reload: () => pooler.reload(),
    pause: () => pooler.pause(undefined),
    resume: async () => pooler.resume(undefined),
    busy: () => [...pooler.pools].reduce((sum, { counts }) => sum + counts.active, 0),
  };
  onInternalErrors(log, flushNow);
  const finished = untilFinished(pooler, actions, { http, pidfile: config.weir.pidfile, flush });
  return { pooler, finished };
}
