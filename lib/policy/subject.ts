// Who a client is to the policy, and which roles that gives it now.

import type { PolicyDocument, RoleDefinition } from './document.js';
import type { TextPattern } from './pattern.js';

export interface Subject {
  readonly user: string;
  readonly database: string;
  /** As it says itself, and may change. */
  readonly application: string;
  /** undefined: by the Unix socket. */
  readonly address: string | undefined;
  /** The name in its certificate, if it has shown one. */
  readonly certificate: string | undefined;
}

const minuteMs = 60_000;

/** @param granted roles that the user has for a time. @returns in the order of the file */
export function rolesOf(
  document: PolicyDocument,
  subject: Subject,
  granted: ReadonlySet<string>,
  wallMs: number,
): readonly string[] {
  const roles: string[] = [];
  for (const role of document.roles.values()) {
    const { user } = subject;
    const isNamed = granted.has(role.name) ? mayBeGranted(role, user) : !role.grantedOnly && isAny(role.users, user);
    if (isNamed && isMember(role, subject, wallMs)) roles.push(role.name);
  }
  return roles;
}

/** A grant stands for being one of a role's `users`, but where the role is only granted: there they are who may be given it. */
export function mayBeGranted(role: RoleDefinition, user: string): boolean {
  return !role.grantedOnly || isAny(role.users, user);
}

/** When the roles have to be looked at again: with the next minute, where the time of day counts. */
export function rolesHoldUntil(document: PolicyDocument, wallMs: number): number {
  const isTimed = [...document.roles.values()].some((role) => role.hours.length > 0 || role.days.size > 0);
  return isTimed ? (Math.floor(wallMs / minuteMs) + 1) * minuteMs : Number.POSITIVE_INFINITY;
}

function isMember(role: RoleDefinition, subject: Subject, wallMs: number): boolean {
  return (
    isAny(role.databases, subject.database) &&
    isAny(role.applications, subject.application) &&
    (role.networks.length === 0 || role.networks.some((network) => network.matches(subject.address))) &&
    isAny(role.certificates, subject.certificate) &&
    isTime(role, wallMs)
  );
}

function isAny(patterns: readonly TextPattern[], text: string | undefined): boolean {
  return patterns.length === 0 || (text !== undefined && patterns.some((pattern) => pattern.matches(text)));
}

const weekdays: Readonly<Record<string, number>> = { Sun: 0, Mon: 1, Tue: 2, Wed: 3, Thu: 4, Fri: 5, Sat: 6 };

function isTime({ hours, days, timeZone }: RoleDefinition, wallMs: number): boolean {
  if (hours.length === 0 && days.size === 0) return true;
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const parts = new Map(format.formatToParts(wallMs).map(({ type, value }) => [type, value]));
  if (days.size > 0 && !days.has(weekdays[parts.get('weekday') ?? ''] ?? -1)) return false;
  const minute = Number(parts.get('hour')) * 60 + Number(parts.get('minute'));
  return hours.length === 0 || hours.some(({ fromMinute, toMinute }) => minute >= fromMinute && minute < toMinute);
}
