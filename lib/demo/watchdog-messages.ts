// What weir and its watchdog say to each other over the IPC channel between them.

import type { Account } from './account.js';

/** PostgreSQL's words: SIGINT is a fast shutdown, SIGQUIT an immediate one; SIGTERM ends initdb. */
export type EndSignal = 'SIGINT' | 'SIGQUIT' | 'SIGTERM';

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly account?: Account | undefined;
  /** How the watchdog ends the program when weir is gone. */
  readonly endSignal: EndSignal;
}

export type ToWatchdog =
  | { readonly kind: 'launch'; readonly program: Program }
  | { readonly kind: 'end'; readonly signal: EndSignal };

export type FromWatchdog =
  | { readonly kind: 'ready' }
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'exited'; readonly code: number | null; readonly signal: string | null };

/** Both ends are the same program, so the kind alone proves the shape. Undefined for anything foreign. */
export function toWatchdog(message: unknown): ToWatchdog | undefined {
  const kind = kindOf(message);
  return kind === 'launch' || kind === 'end' ? (message as ToWatchdog) : undefined;
}

export function fromWatchdog(message: unknown): FromWatchdog | undefined {
  const kind = kindOf(message);
  return kind === 'ready' || kind === 'started' || kind === 'failed' || kind === 'exited'
    ? (message as FromWatchdog)
    : undefined;
}

function kindOf(message: unknown): unknown {
  return typeof message === 'object' && message !== null && 'kind' in message ? message.kind : undefined;
}
