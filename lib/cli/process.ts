// What a process of weir has to do with the operating system: signals, the pid file, privileges, errors nobody has caught.

import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { HttpServer } from '../http/index.js';
import type { ShutdownMode } from '../pooler/index.js';
import { AssertionFailure, PoolerError } from '../util/index.js';
import { BadConfiguration } from './load.js';

/** What signals act on: one process, or all of a cluster. */
export interface Controlled {
  readonly log: Logger;
  readonly shutdownMode: ShutdownMode | undefined;
  shutdown(mode: ShutdownMode): void;
  reopenLog(): void;
  reload(): Promise<unknown>;
  pause(): Promise<unknown>;
  resume(): Promise<unknown>;
}

/** PgBouncer's signals. @returns what stops listening to them */
export function onSignals(controlled: Controlled): () => void {
  const { log } = controlled;
  const warn = (text: string) => (error: unknown) => log.warn({ err: error }, text);
  const handlers: Partial<Record<NodeJS.Signals, () => void>> = {
    SIGHUP: () => {
      controlled.reopenLog();
      controlled.reload().catch((error: unknown) => {
        if (error instanceof BadConfiguration || error instanceof PoolerError) {
          log.error(`configuration not reloaded, nothing changed:\n${error.message}`);
        } else {
          warn('configuration not reloaded, nothing changed')(error);
        }
      });
    },
    // A second one does not wait any longer.
    SIGTERM: () => controlled.shutdown(controlled.shutdownMode === undefined ? 'wait_for_clients' : 'immediate'),
    SIGINT: () => controlled.shutdown(controlled.shutdownMode === undefined ? 'wait_for_servers' : 'immediate'),
    SIGQUIT: () => controlled.shutdown('immediate'),
    SIGUSR1: () => void controlled.pause().catch(warn('not paused')),
    SIGUSR2: () => {
      if (controlled.shutdownMode === undefined) controlled.resume().catch(warn('not resumed'));
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
  readonly stopSignals: () => void;
  readonly http: HttpServer | undefined;
  readonly pidfile: string;
  readonly log: Logger;
  readonly flush: () => void;
}

/** What is left to do when nobody is served any more. */
export async function endProcess({ stopSignals, http, pidfile, log, flush }: ProcessParts): Promise<void> {
  stopSignals();
  await http?.close();
  removePidFile(pidfile);
  log.info('weir has stopped');
  flush();
}
