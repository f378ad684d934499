// The process between weir and PostgreSQL: runs one program at a time for weir and, when weir's end of the channel closes for whatever
// reason (SIGKILL included), ends the program and removes the directories named on its command line.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { type EndSignal, type FromWatchdog, type Program, toWatchdog } from './watchdog-messages.js';

/** A fast shutdown waits for a checkpoint; an immediate one gives the backends five seconds before it kills them. */
const fastShutdownMsMax = 10_000;
const immediateShutdownMsMax = 8_000;

// So that whoever kills every "node" leaves it to clean up.
process.title = 'weir-watchdog';

const directories = process.argv.slice(2);
let running: { child: ChildProcess; endSignal: EndSignal; timer?: NodeJS.Timeout } | undefined;
let ending = false;

process.on('message', (message: unknown) => {
  const order = toWatchdog(message);
  if (order?.kind === 'launch') launch(order.program);
  if (order?.kind === 'end') endProgram(order.signal);
});
process.on('disconnect', endAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, endAll);
tell({ kind: 'ready' });

function launch(program: Program): void {
  if (running !== undefined || ending) {
    tell({ kind: 'failed', reason: 'another program is running' });
    return;
  }
  const { command, args, cwd, env, account, endSignal } = program;
  // Standard error leads to weir; a program that outlives weir for a moment gets EPIPE there, never a full pipe.
  const child = spawn(command, args, { cwd, env, ...account, stdio: ['ignore', 2, 2] });
  running = { child, endSignal };
  child.once('spawn', () => tell({ kind: 'started', pid: child.pid as number }));
  child.once('error', (error) => {
    if (child.pid !== undefined) return;
    running = undefined;
    tell({ kind: 'failed', reason: error.message });
    if (ending) finish();
  });
  child.once('exit', (code, signal) => {
    clearTimeout(running?.timer);
    running = undefined;
    tell({ kind: 'exited', code, signal });
    if (ending) finish();
  });
}

function endProgram(signal: EndSignal): void {
  if (running === undefined) return;
  const { child } = running;
  child.kill(signal);
  // A stopped postmaster would never see the signal; once awake it kills the backends that stay stopped.
  child.kill('SIGCONT');
  clearTimeout(running.timer);
  running.timer =
    signal === 'SIGQUIT'
      ? setTimeout(() => child.kill('SIGKILL'), immediateShutdownMsMax)
      : setTimeout(() => endProgram('SIGQUIT'), fastShutdownMsMax);
}

function endAll(): void {
  if (ending) return;
  ending = true;
  if (running === undefined) finish();
  else endProgram(running.endSignal);
}

function finish(): never {
  // rm(1) walks by directory handles, so nobody can lead a privileged removal astray through a link planted meanwhile.
  if (directories.length > 0) spawnSync('rm', ['-rf', '--', ...directories], { stdio: 'ignore' });
  process.exit(0);
}

function tell(message: FromWatchdog): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}
