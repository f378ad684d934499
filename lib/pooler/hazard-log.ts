// Which hazards occurred, for whom, with an example of each: what an operator wants to know before choosing transaction mode.

import { Effect, type Footprint, type HazardName, type HazardPolicy } from '../session/index.js';
import type { HazardPolicies } from './inspect.js';

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
  /** A statement without its literals. */
  readonly example: string;
  count: number;
}

/** What becomes of a hazard in transaction mode; `looked_at`: it depends on what is found behind the statement. */
export const outcomes = ['carried', 'looked_at', 'pinned', 'refused'] as const;
export type Outcome = (typeof outcomes)[number];

/** An entry in the light of a configuration. */
export interface HazardFinding extends HazardEntry {
  readonly policy: HazardPolicy;
  readonly outcome: Outcome;
  /** What transaction mode does about it, in a few words, or the setting that decides otherwise. */
  readonly transactionMode: string;
}

/** Where `on_hazard.NAME` is `auto`. */
const automatic: Readonly<Record<HazardName, { readonly outcome: Outcome; readonly words: string }>> = {
  setting: { outcome: 'carried', words: 'carried: the client has its value on every server' },
  role: { outcome: 'carried', words: 'carried: the client has its role on every server' },
  statement: { outcome: 'carried', words: 'carried: the client has its statements on every server' },
  listen: { outcome: 'carried', words: 'carried: one server listens for all clients of a pool' },
  cursor: { outcome: 'pinned', words: 'pinned until the cursor is closed' },
  temp: { outcome: 'pinned', words: 'pinned until the object is dropped' },
  advisory_lock: { outcome: 'pinned', words: 'pinned until all locks are released' },
  sequence: { outcome: 'pinned', words: 'pinned once the application has asked for currval or lastval' },
  load: { outcome: 'pinned', words: 'pinned until the client leaves, then the server is closed' },
  unknown: {
    outcome: 'looked_at',
    words: 'the session is looked at behind it; what is found is carried or pinned',
  },
};

function findingOf(entry: HazardEntry, policy: HazardPolicy): HazardFinding {
  const { outcome, words } = automatic[entry.hazard];
  if (policy === 'auto') return { ...entry, policy, outcome, transactionMode: words };
  return {
    ...entry,
    policy,
    outcome: policy === 'pin' ? 'pinned' : 'refused',
    transactionMode: `on_hazard.${entry.hazard} = ${policy}`,
  };
}

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
      this.#entries.set(key, { user, database, application, hazard, example, count: 1 });
    }
  }

  entries(): readonly HazardEntry[] {
    return [...this.#entries.values()];
  }

  /** The entries, with what a configuration makes of each. */
  findings(policies: HazardPolicies): HazardFinding[] {
    return this.entries().map((entry) => findingOf(entry, policies[entry.hazard] ?? 'auto'));
  }
}
