// The small languages of a policy: patterns, networks, times of day and days of the week.

import fc from 'fast-check';
import t from 'tap';
import { Pattern, TextPattern } from '../../../lib/policy/index.js';
import { Network } from '../../../lib/policy/network.js';
import type { Parsed } from '../../../lib/policy/parsed.js';
import { parseDays, parseHours, parseTimeZone } from '../../../lib/policy/schedule.js';

function parsed<T>(result: Parsed<T>): T {
  if (!result.ok) throw new Error(result.message);
  return result.value;
}

void t.test('a star stands for any characters, and nothing else is special', async (t) => {
  const rows: readonly (readonly [pattern: string, text: string, matches: boolean])[] = [
    ['*', '', true],
    ['*', 'anything', true],
    ['a*', 'a', true],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'acb', false],
    ['*ab*ab*', 'ab', false],
    ['*ab*ab*', 'abab', true],
    ['a.c', 'abc', false],
    ['A', 'a', false],
    ['', 'a', false],
  ];
  for (const [pattern, text, matches] of rows) {
    t.equal(TextPattern.of(pattern).matches(text), matches, `${pattern} on ${text}`);
  }
  t.equal(TextPattern.exactly('a*').matches('ab'), false);
  t.equal(TextPattern.exactly('a*').matches('a*'), true);
});

void t.test('a pattern matches as the regular expression does that one would write for it', async (t) => {
  const word = (unit: readonly string[], maxLength: number) => fc.array(fc.constantFrom(...unit), { maxLength });
  let matched = 0;
  fc.assert(
    fc.property(word(['a', 'b', '*'], 7), word(['a', 'b'], 8), (pattern, text) => {
      const expected = new RegExp(`^${pattern.join('').replaceAll('*', '.*')}$`).test(text.join(''));
      if (expected) matched++;
      return TextPattern.of(pattern.join('')).matches(text.join('')) === expected;
    }),
    { seed: 5, numRuns: 3_000 },
  );
  t.ok(matched > 300, `${matched} of them matched`);
});

void t.test('a long pattern full of stars takes no time', async (t) => {
  const pattern = TextPattern.of(`${'*a'.repeat(500)}b`);
  const began = process.cpuUsage().user;
  t.equal(pattern.matches('a'.repeat(100_000)), false);
  t.ok(process.cpuUsage().user - began < 500_000);
});

void t.test('names are read as PostgreSQL reads them', async (t) => {
  const table = (text: string): Pattern => parsed(Pattern.parse(text, ['schema', 'table']));
  t.equal(table('Public.Orders').matches(['public', 'orders']), true);
  t.equal(table('public.orders').matches(['public', 'Orders']), false);
  t.equal(table('*.order*').matches(['sales', 'orders']), true);
  t.equal(table('*.order*').matches(['sales', 'public', 'orders']), false, 'it has two parts');
  t.equal(table('"My.Schema"."a""b*"').matches(['My.Schema', 'a"b*']), true);
  t.equal(table('"My.Schema"."a""b*"').matches(['My.Schema', 'a"bc']), false, 'a quoted star is a star');
  t.equal(table('public.größe').matches(['public', 'größe']), true);
  t.equal(table('public.ÄÖ').matches(['public', 'ÄÖ']), true, 'only ASCII letters are lower-cased');
  t.equal(table('public.*').text, 'public.*');
});

void t.test('a network holds its addresses, also IPv4 written as IPv6', async (t) => {
  const matches = (network: string, address: string | undefined) => parsed(Network.parse(network)).matches(address);
  t.equal(matches('10.1.0.0/16', '10.1.2.3'), true);
  t.equal(matches('10.1.0.0/16', '10.2.2.3'), false);
  t.equal(matches('10.1.0.0/16', '::ffff:10.1.2.3'), true);
  t.equal(matches('10.1.2.3', '10.1.2.3'), true);
  t.equal(matches('10.1.2.3', '10.1.2.4'), false);
  t.equal(matches('0.0.0.0/0', '192.0.2.1'), true);
  t.equal(matches('fd00::/8', 'fd12::1'), true);
  t.equal(matches('fe80::/10', 'fe80::1%eth0'), true);
  t.equal(matches('::1', '127.0.0.1'), false);
  t.equal(matches('unix', undefined), true);
  t.equal(matches('unix', '127.0.0.1'), false);
  t.equal(matches('0.0.0.0/0', undefined), false);
  t.equal(matches('0.0.0.0/0', 'nonsense'), false);
  for (const bad of ['', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/8/8', '::/129', 'fe80::1%eth0', 'localhost']) {
    t.equal(Network.parse(bad).ok, false, bad);
  }
});

void t.test('times over midnight and over the end of the week are whole', async (t) => {
  t.same(parsed(parseHours('00:00-24:00')), [{ fromMinute: 0, toMinute: 1440 }]);
  t.same(parsed(parseHours('22:30 - 00:00')), [{ fromMinute: 1350, toMinute: 1440 }]);
  t.same(parsed(parseHours('22:00-06:00')), [
    { fromMinute: 0, toMinute: 360 },
    { fromMinute: 1320, toMinute: 1440 },
  ]);
  for (const bad of ['', '08:00', '8:00-9:00', '08:60-09:00', '24:00-08:00', '08:00-24:01', '00:00-00:00']) {
    t.equal(parseHours(bad).ok, false, bad);
  }
  t.same(parsed(parseDays('sun')), [0]);
  t.same(parsed(parseDays('Mon-Fri')), [1, 2, 3, 4, 5]);
  t.same(parsed(parseDays('fri-mon')), [5, 6, 0, 1]);
  for (const bad of ['', 'monday', 'mon-', 'mon-tue-wed']) t.equal(parseDays(bad).ok, false, bad);
  t.same(
    ['UTC', 'Europe/Berlin', 'Berlin', ''].map((name) => parseTimeZone(name).ok),
    [true, true, false, false],
  );
});
