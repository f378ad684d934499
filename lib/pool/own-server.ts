// A server connection for one client alone, outside of the pool but within the limits on servers per database and user.

import { cancelServer, type Dialler, dial, type LoggedIn, type ServerTarget } from '../server/index.js';
import { PoolerError } from '../util/index.js';
import type { PlaceLimits, PlaceSeeker, ServerPlaces } from './budget.js';

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
  /** How long a place is waited for, where other processes have them. */
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
    const own: ServerTarget = { ...target, parameters: [...all], connectQuery: undefined };
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
    const seeker: PlaceSeeker = {
      database,
      user,
      apart: true,
      onPlace: () => {
        if (!taken && places.take(seeker, limits, 'waiting') === 'taken') settle();
      },
      // It is in use until its client leaves.
      onPlaceWanted: () => {},
      onPlaceKept: () => {},
    };
    const answer = places.take(seeker, limits, 'waiting');
    if (answer === 'taken') settle();
    else if (answer === 'asked') {
      timer = setTimeout(() => {
        places.withdraw(seeker);
        reject(tooMany('max_db_connections or max_user_connections'));
      }, waitMs);
    } else {
      reject(tooMany(answer === 'database-full' ? 'max_db_connections' : 'max_user_connections'));
    }
  });
}

function tooMany(key: string): PoolerError {
  return new PoolerError(`no more server connections allowed (${key})`, {
    sqlstate: '53300',
    hint: `Raise ${key}, or close connections.`,
  });
}
