// Runs one process of weir until it is told to stop: pooler, console, HTTP, signals, pid file.

import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { AdminConsole } from '../admin/index.js';
import { type HttpServer, startHttp } from '../http/index.js';
import { type Loaded, Pooler } from '../pooler/index.js';
import { AssertionFailure, PoolerError, systemClock } from '../util/index.js';
import { BadConfiguration } from './load.js';
import { openLog } from './log.js';

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
  const { log, reopen, flush } = openLog(config, options.quiet);
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
    const listening = await pooler.start();
    if (config.weir.http_listen !== null) http = await startHttp(pooler, config.weir.http_listen);
    options.onReady?.(listening.places);
  } catch (error) {
    removePidFile(config.weir.pidfile);
    throw error;
  }
  const stopSignals = onSignals(pooler, reopen);
  // A failed assertion concerns one connection, whose sockets are closed by then; anything else may concern all of them.
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'internal error in the pooler');
    if (error instanceof AssertionFailure) return;
    flush();
    process.exit(1);
  });
  const finished = pooler.finished.then(async () => {
    stopSignals();
    await http?.close();
    removePidFile(config.weir.pidfile);
    log.info('weir has stopped');
    flush();
  });
  return { pooler, finished };
}

/** PgBouncer's signals. */
function onSignals(pooler: Pooler, reopenLog: () => void): () => void {
  const warn = (text: string) => (error: unknown) => pooler.log.warn({ err: error }, text);
  const handlers: Partial<Record<NodeJS.Signals, () => void>> = {
    SIGHUP: () => {
      reopenLog();
      pooler.reload().catch((error: unknown) => {
        if (error instanceof BadConfiguration || error instanceof PoolerError) {
          pooler.log.error(`configuration not reloaded, nothing changed:\n${error.message}`);
        } else {
          warn('configuration not reloaded, nothing changed')(error);
        }
      });
    },
    // A second one does not wait any longer.
    SIGTERM: () => pooler.shutdown(pooler.shutdownMode === undefined ? 'wait_for_clients' : 'immediate'),
    SIGINT: () => pooler.shutdown(pooler.shutdownMode === undefined ? 'wait_for_servers' : 'immediate'),
    SIGQUIT: () => pooler.shutdown('immediate'),
    SIGUSR1: () => void pooler.pause(undefined).catch(warn('not paused')),
    SIGUSR2: () => {
      if (pooler.shutdownMode !== undefined) return;
      try {
        pooler.resume(undefined);
      } catch (error) {
        warn('not resumed')(error);
      }
    },
  };
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler);
  };
}

function dropPrivileges(user: string): void {
  if (user === '' || process.getuid?.() !== 0) return;
  try {
    // Not in every version of the type definitions.
    (process as unknown as { initgroups?: (user: string, group: string) => void }).initgroups?.(user, user);
    process.setgid?.(user);
    process.setuid?.(user);
  } catch (cause) {
    throw new PoolerError(`cannot become user ${user}`, {
      sqlstate: '58000',
      hint: 'Check that the user and its group exist.',
      cause,
    });
  }
}

function writePidFile(path: string): void {
  if (path === '') return;
  let running: number | undefined;
  try {
    running = Number(readFileSync(path, 'utf8').trim());
    process.kill(running, 0);
  } catch {
    running = undefined;
  }
  if (running !== undefined && running !== process.pid) {
    throw new PoolerError(`pidfile ${path} names process ${running}, which runs`, {
      sqlstate: '58000',
      hint: 'Stop it first, or use another pidfile.',
    });
  }
  writeFileSync(path, `${process.pid}\n`);
}

function removePidFile(path: string): void {
  if (path === '') return;
  try {
    if (Number(readFileSync(path, 'utf8').trim()) === process.pid) unlinkSync(path);
  } catch {
    // Somebody else has removed it.
  }
}
