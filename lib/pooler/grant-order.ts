// What somebody asks for who wants a role of the policy given to a user, and the grant it becomes.

import { mayBeGranted, type PolicyDocument } from '../policy/index.js';
import { PoolerError } from '../util/index.js';
import type { Grant } from './grants.js';

export interface GrantOrder {
  readonly role: string;
  readonly user: string;
  /** For how long, such as `1 hour`. */
  readonly duration: string;
  readonly reason: string;
  readonly grantedBy: string;
}

/** Bytes of a reason. */
const reasonBytesMax = 1_000;
/** Bytes of a user's name; no longer one can log in. */
const userBytesMax = 127;
/** Roles that an error lists. */
const listedRolesMax = 20;

/** @param msMax how long a grant may be @throws PoolerError */
export function grantOf(
  { role, user, duration, reason, grantedBy }: GrantOrder,
  document: PolicyDocument | undefined,
  msMax: number,
  wallMs: number,
): Grant {
  if (document === undefined) {
    throw refused('55000', 'there is no policy in force', 'Roles are those of a [policy] whose mode is not off.');
  }
  const definition = document.roles.get(role);
  if (definition === undefined) throw refused('42704', 'the policy has no such role', rolesHint(document));
  if (user === '' || Buffer.byteLength(user) > userBytesMax) {
    throw refused('22023', 'this is no name of a user', `Give one of at most ${userBytesMax} bytes.`);
  }
  if (!mayBeGranted(definition, user)) {
    throw refused('22023', 'the role may not be given to this user', 'Add the user to the users of the role.');
  }
  if (reason.trim() === '' || Buffer.byteLength(reason) > reasonBytesMax) {
    throw refused('22023', 'a grant needs a reason', `Say in at most ${reasonBytesMax} bytes what it is for.`);
  }
  const ms = durationMs(duration);
  if (ms === undefined)
    throw refused('22023', 'this is no duration', "Give one such as '30 min', '1 hour' or '2 days'.");
  if (ms > msMax) {
    throw refused('22023', 'the grant is too long', `policy_grant_max allows ${msMax / 1_000} seconds.`);
  }
  return { role, user, untilMs: wallMs + ms, reason, grantedBy };
}

const unitMs: ReadonlyMap<string, number> = new Map([
  ...['s', 'second', 'seconds'].map((unit) => [unit, 1_000] as const),
  ...['min', 'minute', 'minutes'].map((unit) => [unit, 60_000] as const),
  ...['h', 'hour', 'hours'].map((unit) => [unit, 3_600_000] as const),
  ...['d', 'day', 'days'].map((unit) => [unit, 86_400_000] as const),
]);

/** Of a whole number and a unit; undefined where it is something else, or no time at all. */
function durationMs(text: string): number | undefined {
  const [, count, unit = ''] = /^\s*(\d{1,9})\s*([a-z]+)\s*$/i.exec(text) ?? [];
  const each = unitMs.get(unit.toLowerCase());
  return count === undefined || each === undefined || Number(count) === 0 ? undefined : Number(count) * each;
}

function rolesHint({ roles }: PolicyDocument): string {
  const names = [...roles.keys()];
  if (names.length === 0) return 'It has none: add [policy.roles.NAME].';
  const more = names.length > listedRolesMax ? ', ...' : '';
  return `Its roles: ${names.slice(0, listedRolesMax).join(', ')}${more}.`;
}

function refused(sqlstate: string, message: string, hint: string): PoolerError {
  return new PoolerError(message, { sqlstate, hint });
}
