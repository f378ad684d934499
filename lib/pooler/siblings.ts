// What a process asks of the others that serve the same clients, where there are any: places under common limits, cancel requests.

import { workersMax } from '../config/index.js';
import type { ServerPlaces } from '../pool/index.js';
import type { PoolerError } from '../util/index.js';
import type { ClientLimits } from './client-limits.js';
import type { VacancySiblings } from './vacancy.js';

export interface Siblings extends VacancySiblings {
  /** Which of them this process is, from 0. */
  readonly index: number;
  readonly count: number;
  /** Common, so that an unknown user looks the same to whoever asks several of them. */
  readonly secretKey: Buffer;
  readonly places: ServerPlaces;
  /** Takes a place under the limits on clients, or says which is reached. */
  admit(database: string, user: string, limits: ClientLimits): Promise<PoolerError | undefined>;
  dismiss(database: string, user: string): void;
  /** Sends a cancel request to the process that gave out the key; resolves when it has been dealt with. */
  cancel(pid: number, secret: Buffer): Promise<void>;
  /** A wrong password, and a right one after that, count in all processes. */
  loginFailed(place: string, user: string): void;
  loginSucceeded(place: string, user: string): void;
}

/** What is left of a cancel key's pid, which is positive and has 32 bits, once it says which process gave it out. */
const serialMax = Math.floor(2 ** 31 / workersMax) - 1;

/** The next number of a process behind `last`: from 1, never 0. */
export function nextSerial(last: number): number {
  return last >= serialMax ? 1 : last + 1;
}

export function cancelPidOf(serial: number, index: number): number {
  return serial * workersMax + index;
}

export function processOfCancelPid(pid: number): number {
  return pid % workersMax;
}
