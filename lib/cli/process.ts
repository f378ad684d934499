// What a process of weir has to do with the operating system: signals, the pid file, privileges, errors nobody has caught.

import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { HttpServer } from '../http/index.js';
import type { ShutdownMode } from '../pooler/index.js';
import { AssertionFailure, PoolerError } from '../util/index.js';
import { BadConfiguration } from './load.js';

/** What a process runs: one pooler, or the primary of several. */
export interface Running {
  readonly log: Logger;
  readonly shutdownMode: ShutdownMode | undefined;
  /** Resolves when nobody is served any more. */
  readonly finished: Promise<void>;
  shutdown(mode: ShutdownMode): void;
}

/** How many clients are in a transaction, or keep a server otherwise. */
export type CountBusy = () => number;

/** What else signals ask for. */
export interface Actions {
  reopenLog(): void;
  reload(): Promise<unknown>;
  pause(): Promise<unknown>;
  resume(): Promise<unknown>;
  /** Not known where others serve. */
  readonly busy?: CountBusy;
}

/** Most shutdowns are over before. */
const waitingToldMs = 300;

/** PgBouncer's signals. @returns what stops listening to them */
function onSignals(running: Running, actions: Actions): () => void {
  const { log } = running;
  const warn = (text: string) => (error: unknown) => log.warn({ err: error }, text);
  const handlers: Partial<Record<NodeJS.Signals, () => void>> = {
    SIGHUP: () => {
      actions.reopenLog();
      actions.reload().catch((error: unknown) => {
        if (error instanceof BadConfiguration || error instanceof PoolerError) {
          log.error(`configuration not reloaded, nothing changed:\n${error.message}`);
        } else {
          warn('configuration not reloaded, nothing changed')(error);
        }
      });
    },
    // A second one does not wait any longer.
    SIGTERM: () => running.shutdown(running.shutdownMode === undefined ? 'wait_for_clients' : 'immediate'),
    SIGINT: () => {
      running.shutdown(running.shutdownMode === undefined ? 'wait_for_servers' : 'immediate');
      if (running.shutdownMode === 'wait_for_servers') tellWaiting(running, actions.busy);
    },
    SIGQUIT: () => running.shutdown('immediate'),
    SIGUSR1: () => void actions.pause().catch(warn('not paused')),
    SIGUSR2: () => {
      if (running.shutdownMode === undefined) actions.resume().catch(warn('not resumed'));
    },
  };
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler);
  };
}

/** Says whom a shutdown waits for, as often as that changes: on a terminal it would otherwise look as if it hung. */
function tellWaiting({ log, finished }: Running, busy: CountBusy | undefined): void {
  let told: number | undefined;
  const timer = setInterval(() => {
    const count = busy?.();
    if (count === 0 || (count === told && told !== undefined)) return;
    const whom = count === undefined ? 'clients' : `${count} client${count === 1 ? '' : 's'}`;
    log.info(`waiting for ${whom} in a transaction; Ctrl-C again to stop now`);
    told = count;
    if (count === undefined) clearInterval(timer);
  }, waitingToldMs);
  timer.unref();
  void finished.finally(() => clearInterval(timer));
}

/** A failed assertion concerns one connection, whose sockets are closed by then; anything else may concern all of them. */
export function onInternalErrors(log: Logger, flushNow: () => void): void {
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'internal error in the pooler');
    if (error instanceof AssertionFailure) return;
    flushNow();
    process.exit(1);
  });
}

/** @throws PoolerError */
export function dropPrivileges(user: string): void {
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

/** @throws PoolerError when another process of it runs */
export function writePidFile(path: string): void {
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

export function removePidFile(path: string): void {
  if (path === '') return;
  try {
    if (Number(readFileSync(path, 'utf8').trim()) === process.pid) unlinkSync(path);
  } catch {
    // Somebody else has removed it.
  }
}

/** From when nobody is served any more. */
const endMsMax = 30_000;

export interface ProcessParts {
  readonly http: HttpServer | undefined;
  readonly pidfile: string;
  readonly flush: () => Promise<void>;
}

/** Obeys signals until nobody is served any more, and cleans up. */
export async function untilFinished(running: Running, actions: Actions, parts: ProcessParts): Promise<void> {
  const stopSignals = onSignals(running, actions);
  await running.finished;
  // Whatever is still open, a socket of HTTP or a log that nobody reads: it does not keep the process.
  setTimeout(() => process.exit(), endMsMax).unref();
  stopSignals();
  await parts.http?.close();
  removePidFile(parts.pidfile);
  running.log.info('weir has stopped');
  await parts.flush();
}
