// Roles of the policy that users have been given for a time.

import { type Clock, PoolerError } from '../util/index.js';

/** Grants in force at a time. */
const grantsMax = 10_000;

export interface Grant {
  readonly role: string;
  readonly user: string;
  /** Milliseconds of the wall clock. */
  readonly untilMs: number;
  readonly reason: string;
  /** `console:` and a user, or `http`. */
  readonly grantedBy: string;
}

export interface Revocation {
  readonly role: string;
  readonly user: string;
  /** As of a grant. */
  readonly revokedBy: string;
}

const none: ReadonlySet<string> = new Set();

export class Grants {
  readonly #clock: Clock;
  /** By user, then role. */
  readonly #byUser = new Map<string, Map<string, Grant>>();
  /** What `of` has answered, for as long as it holds. */
  readonly #answers = new Map<string, { readonly roles: ReadonlySet<string>; readonly untilMs: number }>();
  #size = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Roles the user has been granted; the same object until that changes. */
  of(user: string): ReadonlySet<string> {
    // Asked with each statement: whoever has none must not pay for those of others.
    if (!this.#byUser.has(user)) return none;
    const known = this.#answers.get(user);
    const now = this.#clock.wallMs();
    if (known !== undefined && now < known.untilMs) return known.roles;
    this.#expire(now);
    const grants = [...(this.#byUser.get(user)?.values() ?? [])];
    if (grants.length === 0) return none;
    const answer = {
      roles: new Set(grants.map(({ role }) => role)),
      untilMs: Math.min(...grants.map(({ untilMs }) => untilMs)),
    };
    this.#answers.set(user, answer);
    return answer.roles;
  }

  /** One more, or a longer or shorter one in the place of the same. @throws PoolerError when there are too many */
  add(grant: Grant): void {
    this.#expire(this.#clock.wallMs());
    const ofUser = this.#byUser.get(grant.user) ?? new Map<string, Grant>();
    if (!ofUser.has(grant.role)) {
      if (this.#size >= grantsMax) {
        throw new PoolerError('too many grants', { sqlstate: '53400', hint: 'Revoke some that are no longer needed.' });
      }
      this.#size++;
    }
    ofUser.set(grant.role, grant);
    this.#byUser.set(grant.user, ofUser);
    this.#answers.delete(grant.user);
  }

  /** @returns false where there was none */
  remove(role: string, user: string): boolean {
    const ofUser = this.#byUser.get(user);
    if (ofUser?.delete(role) !== true) return false;
    this.#size--;
    if (ofUser.size === 0) this.#byUser.delete(user);
    this.#answers.delete(user);
    return true;
  }

  /** Those in force. */
  list(): Grant[] {
    this.#expire(this.#clock.wallMs());
    return [...this.#byUser.values()].flatMap((ofUser) => [...ofUser.values()]);
  }

  #expire(now: number): void {
    for (const ofUser of this.#byUser.values()) {
      for (const { role, user, untilMs } of ofUser.values()) if (untilMs <= now) this.remove(role, user);
    }
  }
}
