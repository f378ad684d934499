// The pids that clients are told: none that a backend could have, and each says which process serves its client.

import { workersMax } from '../config/index.js';

/**
 * Above all that an operating system gives to a process: Linux goes up to 2^22, macOS and FreeBSD to 99,999. What a client does to
 * this pid beside weir then never meets a backend of somebody else's.
 */
const clientPidMin = 2 ** 23;
/** Pids are positive and have 32 bits. */
const serialMax = Math.floor((2 ** 31 - clientPidMin) / workersMax) - 1;

/** The next number of a process behind `last`: from 1, never 0. */
export function nextSerial(last: number): number {
  return last >= serialMax ? 1 : last + 1;
}

/** The pid that a client is told; in its lower bits is the process that serves the client. */
export function clientPidOf(serial: number, index: number): number {
  return clientPidMin + serial * workersMax + index;
}

/** Whether a client could have been told this pid. */
export function isClientPid(pid: number): boolean {
  return Number.isInteger(pid) && pid >= clientPidMin && pid < 2 ** 31;
}

export function processOfClientPid(pid: number): number {
  return pid % workersMax;
}
