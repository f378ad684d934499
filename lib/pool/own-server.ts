// A server connection for one client alone, outside of the pool but within the limits on servers per database and user.

import { cancelServer, type Dialler, dial, type LoggedIn, type ServerTarget } from '../server/index.js';
import type { FullLimit, PlaceLimits, PlaceSeeker, ServerPlaces } from './budget.js';
import { noPlace } from './errors.js';

export interface OwnServer {
  readonly login: LoggedIn;
  /** Sends a cancel request; resolves when it has arrived. @throws PoolerError */
  cancel(): Promise<void>;
  /** The connection is closed: its place is free. May be called again. */
  release(): void;
}

export interface OwnServerRequest {
  readonly database: string;
  readonly user: string;
  readonly target: ServerTarget;
  /** Of the startup packet, over the target's. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly limits: PlaceLimits;
  /** How long a place is waited for, where none is free. */
  readonly waitMs: number;
  readonly cancelMs: number;
}

/** @throws PoolerError */
export async function openOwnServer(
  request: OwnServerRequest,
  places: ServerPlaces,
  dialler: Dialler,
): Promise<OwnServer> {
  const { target, parameters } = request;
  const release = await takePlace(request, places);
  try {
    const all = new Map([...target.parameters, ...parameters]);
    const own: ServerTarget = { ...target, parameters: [...all], connectQuery: undefined, tracked: false };
    const login = await dial(own, dialler, 0);
    return { login, release, cancel: () => cancelServer(own, login, request.cancelMs) };
  } catch (error) {
    release();
    throw error;
  }
}

/** @returns what gives it back */
function takePlace({ database, user, limits, waitMs }: OwnServerRequest, places: ServerPlaces): Promise<() => void> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    let taken = false;
    const settle = (): void => {
      clearTimeout(timer);
      taken = true;
      resolve(() => {
        if (taken) places.give(seeker);
        taken = false;
      });
    };
    const onPlace = (): void => {
      if (!taken && places.take(seeker, limits, 'waiting') === 'taken') settle();
    };
    const refuse = (full: FullLimit | 'either'): void => {
      clearTimeout(timer);
      reject(noPlace(full, seeker.use));
    };
    const seeker: PlaceSeeker = {
      database,
      user,
      use: 'replication',
      onPlace,
      reconsider: onPlace,
      onPlaceRefused: refuse,
      // It is in use until its client leaves.
      onPlaceWanted: () => {},
      onPlaceKept: () => {},
      spareSinceMs: () => undefined,
      giveWay: () => false,
    };
    timer = setTimeout(() => {
      places.withdraw(seeker);
      refuse('either');
    }, waitMs);
    onPlace();
  });
}
