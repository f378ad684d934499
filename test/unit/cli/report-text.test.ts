// The readiness report for people: grouped, aligned, safe to print, and its last line right.

import t from 'tap';
import { reportText } from '../../../lib/cli/report-text.js';
import type { HazardReport, HazardRow } from '../../../lib/http/index.js';

const carried: HazardRow = {
  database: 'app',
  user: 'alice',
  application_name: 'web',
  hazard: 'setting',
  count: 12,
  example: 'set search_path to a',
  outcome: 'carried',
  transaction_mode: 'carried: as it was',
};
const pinned: HazardRow = {
  ...carried,
  hazard: 'temp',
  count: 1,
  example: '',
  outcome: 'pinned',
  transaction_mode: 'pinned until it is dropped',
};

function report(hazards: readonly HazardRow[], more: Partial<HazardReport> = {}): HazardReport {
  const since = '2026-01-02T03:04:05.000Z';
  return { version: 'weir 1.2', since, queries: 40, inspected: true, dropped: 0, hazards, ...more };
}

function lastLine(hazards: readonly HazardRow[], more: Partial<HazardReport> = {}): string {
  return reportText(report(hazards, more)).split('\n').at(-1) ?? '';
}

t.test('hazards stand below their database, user and application, in columns', async (t) => {
  const other = { ...pinned, database: 'aaa', application_name: '' };
  t.equal(
    reportText(report([pinned, carried, other])),
    [
      'weir 1.2, 40 queries since 2026-01-02T03:04:05.000Z',
      '',
      'database aaa, user alice, no application name',
      '  temp  1 time  pinned until it is dropped',
      '',
      'database app, user alice, application web',
      '  setting  12 times  carried: as it was',
      '                     set search_path to a',
      '  temp       1 time  pinned until it is dropped',
      '',
      'Transaction mode would pin a server for: temp.',
    ].join('\n'),
  );
});

t.test('the last line says what would be pinned or refused', async (t) => {
  const refused: HazardRow = { ...carried, hazard: 'role', outcome: 'refused' };
  const unknown: HazardRow = { ...carried, hazard: 'unknown', outcome: 'looked_at' };
  const cursor: HazardRow = { ...pinned, hazard: 'cursor', user: 'bob' };
  t.equal(lastLine([carried]), 'Transaction mode would pin no server and refuse nothing.');
  t.equal(lastLine([]), 'Transaction mode would pin no server and refuse nothing.');
  t.equal(
    lastLine([unknown, pinned, refused, cursor, { ...pinned, user: 'carol' }]),
    'Transaction mode would refuse: role; would pin a server for: cursor, temp; might pin a server for: unknown.',
  );
  t.match(lastLine([], { queries: 0 }), /^No queries yet/);
  t.match(lastLine([carried], { inspected: false }), /^track_session_state is off/, 'which is no good news');
});

t.test('what found no room is said', async (t) => {
  t.match(reportText(report([], { dropped: 1 })), /\n1 more occurrence found no room in the report\.\n/);
});

t.test('what clients chose cannot steer the terminal, and is shown only in part', async (t) => {
  const text = reportText(
    report([{ ...carried, application_name: '\u001b[2Jx\u009b\u202ey', example: `a\n\tb ${'z'.repeat(10_000)}` }]),
  );
  t.match(text, /application \?\[2Jx\?\?y$/m);
  t.match(text, / a b z+\.\.\.$/m);
  t.notMatch(text, /[^\P{C}\n]/u);
  t.ok(text.length < 1_000);
});
