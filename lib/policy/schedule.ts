// Times of day, days of the week and time zones, as a role writes them.

import type { Parsed } from './parsed.js';

/** Minutes of a day, from 0 to 1440; the end is not included, and always later than the beginning. */
export interface Hours {
  readonly fromMinute: number;
  readonly toMinute: number;
}

const minutesOfDay = 24 * 60;

/** A range over midnight gives two. */
export function parseHours(text: string): Parsed<readonly Hours[]> {
  const match = /^(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)$/.exec(text);
  const [fromMinute, toMinute] = [minuteOf(match?.[1], match?.[2]), minuteOf(match?.[3], match?.[4])];
  if (fromMinute === undefined || toMinute === undefined || fromMinute === toMinute || fromMinute === minutesOfDay)
    return { ok: false, message: 'not a time of day', details: { allowed: 'such as 08:00-18:00, 00:00 to 24:00' } };
  if (fromMinute < toMinute) return { ok: true, value: [{ fromMinute, toMinute }] };
  const evening = { fromMinute, toMinute: minutesOfDay };
  return { ok: true, value: toMinute === 0 ? [evening] : [{ fromMinute: 0, toMinute }, evening] };
}

function minuteOf(hour: string | undefined, minute: string | undefined): number | undefined {
  const minutes = Number(hour) * 60 + Number(minute);
  return Number(minute) < 60 && minutes <= minutesOfDay ? minutes : undefined;
}

/** In the order of their numbers: 0 is Sunday, as `Date.getDay` has it. */
const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

/** Numbers of days. `fri-mon` goes over the end of the week. */
export function parseDays(text: string): Parsed<readonly number[]> {
  const [first, last = first, ...more] = text
    .toLowerCase()
    .split('-')
    .map((name) => dayNames.indexOf(name.trim()));
  if (first === undefined || last === undefined || first < 0 || last < 0 || more.length > 0)
    return { ok: false, message: 'not a day of the week', details: { allowed: `${dayNames.join(', ')}, or mon-fri` } };
  const count = ((last - first + 7) % 7) + 1;
  return { ok: true, value: Array.from({ length: count }, (_, index) => (first + index) % 7) };
}

/** One that Intl knows. */
export function parseTimeZone(name: string): Parsed<string> {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return { ok: true, value: name };
  } catch {
    return { ok: false, message: 'not a time zone', details: { allowed: 'such as Europe/Berlin' } };
  }
}
