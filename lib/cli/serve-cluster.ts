// Runs weir in several processes: the primary, which serves no client, and the workers it starts as the same command once more.

import cluster from 'node:cluster';
import { AdminConsole } from '../admin/index.js';
import { joinPrimary, Primary } from '../cluster/index.js';
import { type HttpServer, ownSource, startHttp } from '../http/index.js';
import { type Loaded, Pooler, tryListening } from '../pooler/index.js';
import { systemClock } from '../util/index.js';
import { openLog } from './log.js';
import { dropPrivileges, onInternalErrors, removePidFile, untilFinished, writePidFile } from './process.js';
import type { ServeOptions } from './serve.js';

/** Resolves when all workers serve, with what resolves when they have ended. @throws PoolerError when one cannot serve */
export async function servePrimary(
  options: Omit<ServeOptions, 'reread'>,
  count: number,
): Promise<{ readonly finished: Promise<void> }> {
  const { config } = options.loaded;
  dropPrivileges(config.weir.user);
  const { log, reopen, flush, flushNow } = openLog(config, options.quiet);
  writePidFile(config.weir.pidfile);
  onInternalErrors(log, flushNow);
  let http: HttpServer | undefined;
  let primary: Primary;
  try {
    const port = await tryListening(config.weir);
    primary = new Primary({ count, clock: systemClock, log, port, http: config.weir.http_listen !== null });
    const { http_listen, http_admin_token } = config.weir;
    // First, as in `serve`: workers that have begun would have to be ended again.
    if (http_listen !== null) http = await startHttp(primary, http_listen, http_admin_token);
    const listening = await primary.start();
    log.info(
      { listen: listening, workers: count, version: options.version, pid: process.pid },
      'all workers are ready',
    );
    options.onReady?.(listening);
  } catch (error) {
    await http?.close();
    removePidFile(config.weir.pidfile);
    throw error;
  }
  const actions = {
    reopenLog: () => {
      reopen();
      primary.reopenLog();
    },
    reload: () => primary.control('reload'),
    pause: () => primary.control('pause'),
    resume: () => primary.control('resume'),
  };
  const finished = untilFinished(primary, actions, { http, pidfile: config.weir.pidfile, flush });
  return { finished };
}

/** Signals a terminal or a service manager sends to all processes; the primary acts on them. */
const primarysSignals: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

export interface WorkerOptions {
  /** @throws PoolerError */
  readonly read: () => Loaded;
  readonly quiet: boolean;
  readonly version: string;
}

/** Resolves when the worker has ended. */
export async function serveWorker({ read, quiet, version }: WorkerOptions): Promise<void> {
  for (const signal of primarysSignals) process.on(signal, () => {});
  let pooler: Pooler | undefined;
  const worker = await joinPrimary(() => {
    // Nobody grants places any more, and nobody would ever stop this process.
    if (pooler === undefined) process.exit(1);
    pooler.shutdown('immediate');
  });
  try {
    const { index, port, http } = worker.beginning;
    // The port that all have, also where 0 is asked for.
    const readHere = (): Loaded => {
      const loaded = read();
      return { ...loaded, config: { ...loaded.config, weir: { ...loaded.config.weir, listen_port: port } } };
    };
    const loaded = readHere();
    const { log, reopen, flush, flushNow } = openLog(loaded.config, quiet, index);
    onInternalErrors(log, flushNow);
    const { siblings, fleet } = worker;
    pooler = await Pooler.create({ loaded, clock: systemClock, log, reread: readHere, version, siblings });
    const console = new AdminConsole(pooler, fleet);
    pooler.console = console;
    const source = http ? ownSource(pooler) : undefined;
    await worker.begin({ pooler, console, source, reopenLog: reopen });
    const { places } = await pooler.start();
    worker.ready(places);
    await pooler.finished;
    log.debug('worker has stopped');
    await flush();
  } catch (error) {
    // The primary says it.
    await worker.failed(error);
    process.exitCode = 1;
  } finally {
    cluster.worker?.disconnect();
  }
}
