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

/** What else signals ask for. */
export interface Actions {
  reopenLog(): void;
  reload(): Promise<unknown>;
  pause(): Promise<unknown>;
  resume(): Promise<unknown>;
}

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
    SIGINT: () => running.shutdown(running.shutdownMode === undefined ? 'wait_for_servers' : 'immediate'),
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

/** A failed assertion concerns one connection, whose sockets are closed by then; anything else may concern all of them. */
export function onInternalErrors(log: Logger, flush: () => void): void {
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'internal error in the pooler');
    if (error instanceof AssertionFailure) return;
    flush();
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

export interface ProcessParts {
  readonly http: HttpServer | undefined;
  readonly pidfile: string;
  readonly flush: () => void;
}

/** Obeys signals until nobody is served any more, and cleans up. */
export async function untilFinished(running: Running, actions: Actions, parts: ProcessParts): Promise<void> {
  const stopSignals = onSignals(running, actions);
  await running.finished;
  stopSignals();
  await parts.http?.close();
  removePidFile(parts.pidfile);
  running.log.info('weir has stopped');
  parts.flush();
}
