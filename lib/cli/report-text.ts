// The readiness report for people: what each application does that outlives a transaction, and what transaction mode makes of it.

import type { HazardReport, HazardRow } from '../http/index.js';
import type { Outcome } from '../pooler/index.js';

/** Of a name or a statement. */
const shownCharsMax = 200;

/** Several lines, the last of them the verdict. */
export function reportText(report: HazardReport): string {
  const { version, queries, since, dropped } = report;
  const groups = new Map<string, HazardRow[]>();
  for (const row of [...report.hazards].sort((a, b) => (place(a) < place(b) ? -1 : 1))) {
    const title = `database ${shown(row.database)}, user ${shown(row.user)}, ${applicationOf(row)}`;
    groups.set(title, [...(groups.get(title) ?? []), row]);
  }
  return [
    `${version}, ${times(queries, 'query', 'queries')} since ${since}`,
    ...[...groups].map(([title, rows]) => [title, ...rowLines(rows)].join('\n')),
    ...(dropped > 0 ? [`${times(dropped, 'more occurrence', 'more occurrences')} found no room in the report.`] : []),
    verdict(report),
  ].join('\n\n');
}

function place({ database, user, application_name, hazard }: HazardRow): string {
  return [database, user, application_name, hazard].join('\0');
}

function applicationOf({ application_name }: HazardRow): string {
  return application_name === '' ? 'no application name' : `application ${shown(application_name)}`;
}

function rowLines(rows: readonly HazardRow[]): string[] {
  const counts = rows.map(({ count }) => times(count, 'time', 'times'));
  const nameWidth = Math.max(...rows.map(({ hazard }) => hazard.length));
  const countWidth = Math.max(...counts.map((count) => count.length));
  return rows.flatMap(({ hazard, transaction_mode, example }, i) => [
    `  ${shown(hazard).padEnd(nameWidth)}  ${counts[i]?.padStart(countWidth)}  ${shown(transaction_mode)}`,
    ...(example === '' ? [] : [`  ${' '.repeat(nameWidth + countWidth + 4)}${shown(example)}`]),
  ]);
}

function verdict({ hazards, inspected, queries }: HazardReport): string {
  if (!inspected)
    return 'track_session_state is off: weir does not look at statements and cannot say what would be pinned.';
  if (queries === 0 && hazards.length === 0)
    return 'No queries yet: let your applications work through weir, then ask again.';
  const named = (outcome: Outcome): string =>
    [...new Set(hazards.filter((row) => row.outcome === outcome).map((row) => shown(row.hazard)))].sort().join(', ');
  const [refused, pinned, lookedAt] = [named('refused'), named('pinned'), named('looked_at')];
  const parts = [
    ...(refused === '' ? [] : [`would refuse: ${refused}`]),
    ...(pinned === '' ? [] : [`would pin a server for: ${pinned}`]),
    ...(lookedAt === '' ? [] : [`might pin a server for: ${lookedAt}`]),
  ];
  if (parts.length === 0) return 'Transaction mode would pin no server and refuse nothing.';
  return `Transaction mode ${parts.join('; ')}.`;
}

function times(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Clients choose these texts: nothing in them may steer the terminal. */
function shown(text: string): string {
  const line = text.replace(/\s+/g, ' ').replace(/\p{C}/gu, '?');
  return line.length > shownCharsMax ? `${line.slice(0, shownCharsMax)}...` : line;
}
