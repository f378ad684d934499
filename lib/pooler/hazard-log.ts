// Which hazards occurred, for whom, with an example of each: what an operator wants to know before choosing transaction mode.

import { Effect, type Footprint, type HazardName } from '../session/index.js';

/** Users, databases and applications are what clients make of them. */
const entriesMax = 5_000;
const exampleCharsMax = 200;
/** PostgreSQL's own limit. */
const applicationCharsMax = 63;

export interface HazardEntry {
  readonly user: string;
  readonly database: string;
  readonly application: string;
  readonly hazard: HazardName;
  /** What transaction mode does about it. */
  readonly rung: string;
  /** A statement without its literals. */
  readonly example: string;
  count: number;
}

/** By hazard, in a few words. */
const rungs: Readonly<Record<HazardName, string>> = {
  setting: 'carried: the client has its value on every server',
  role: 'carried: the client has its role on every server',
  statement: 'carried: the client has its statements on every server',
  listen: 'carried: one server listens for all clients of a pool',
  cursor: 'pinned until the cursor is closed',
  temp: 'pinned until the object is dropped',
  advisory_lock: 'pinned until all locks are released',
  sequence: 'pinned once the application has asked for currval or lastval',
  load: 'pinned until the client leaves, then the server is closed',
  unknown: 'the session is looked at behind it; what is found is carried or pinned',
};

export class HazardLog {
  readonly #entries = new Map<string, HazardEntry>();
  /** Occurrences that found no room. */
  dropped = 0;

  record(user: string, database: string, applicationName: string, footprint: Footprint): void {
    const application = applicationName.slice(0, applicationCharsMax);
    for (const hazard of footprint.hazards) {
      const key = `${user}\0${database}\0${application}\0${hazard}`;
      const known = this.#entries.get(key);
      if (known !== undefined) {
        known.count++;
        continue;
      }
      if (this.#entries.size >= entriesMax) {
        this.dropped++;
        continue;
      }
      const unread = (footprint.effects & Effect.Unknown) !== 0 ? '(a statement that could not be read)' : '';
      const example = footprint.example?.toString('utf8').slice(0, exampleCharsMax) ?? unread;
      this.#entries.set(key, { user, database, application, hazard, rung: rungs[hazard], example, count: 1 });
    }
  }

  entries(): readonly HazardEntry[] {
    return [...this.#entries.values()];
  }
}
