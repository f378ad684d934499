// What a process asks of the others that serve the same clients, where there are any: places under common limits, cancel requests.

import type { HeldStandIn } from '../client/index.js';
import type { ServerPlaces } from '../pool/index.js';
import type { Address } from '../server/index.js';
import type { PoolerError } from '../util/index.js';
import type { ClientLimits } from './client-limits.js';
import type { SenderSiblings } from './senders.js';
import type { VacancySiblings } from './vacancy.js';

export interface Siblings extends SenderSiblings, VacancySiblings {
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
  /** A backend that stands in for the client of another process: see `StandIns.open`. */
  standInFor(pid: number, address: Address): Promise<HeldStandIn | undefined>;
  /** ALTER ROLE or ALTER DATABASE has been committed here: who logs in afterwards, wherever, begins with what holds then. */
  settingsAltered(): void;
  /** A wrong password, and a right one after that, count in all processes. */
  loginFailed(place: string, user: string): void;
  loginSucceeded(place: string, user: string): void;
}
