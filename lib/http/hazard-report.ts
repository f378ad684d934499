// What GET /hazards answers, written and read: which hazards occurred, for whom, and what transaction mode does about them.

import { type Outcome, outcomes, type Pooler } from '../pooler/index.js';

export interface HazardRow {
  readonly user: string;
  readonly database: string;
  readonly application_name: string;
  readonly hazard: string;
  readonly count: number;
  /** A statement without its literals; empty where it could not be read. */
  readonly example: string;
  readonly outcome: Outcome;
  /** The outcome in words. */
  readonly transaction_mode: string;
}

export interface HazardReport {
  readonly version: string;
  /** When the process began to count, in ISO 8601. */
  readonly since: string;
  /** Answered since then. */
  readonly queries: number;
  /** Whether statements are looked at now: without that nothing is found. */
  readonly inspected: boolean;
  readonly hazards: readonly HazardRow[];
  /** Occurrences there was no room for. */
  readonly dropped: number;
}

export function hazardReport(pooler: Pooler): HazardReport {
  const { config, hazardLog } = pooler;
  const hazards = pooler.hazardFindings().map(
    ({ user, database, application, hazard, count, example, policy, outcome, transactionMode }): HazardRow => ({
      user,
      database,
      application_name: application,
      hazard,
      count,
      example,
      outcome,
      transaction_mode: policy === 'auto' ? transactionMode : `${outcome}: ${transactionMode}`,
    }),
  );
  return {
    version: pooler.version,
    since: new Date(pooler.startedWallMs).toISOString(),
    queries: pooler.statistics().reduce((sum, { totals }) => sum + totals.query_count, 0),
    inspected: config.weir.track_session_state,
    hazards,
    dropped: hazardLog.dropped,
  };
}

/** One report of those of several processes. */
export function mergedHazards(parts: readonly [HazardReport, ...HazardReport[]]): HazardReport {
  const rows = new Map<string, HazardRow>();
  for (const row of parts.flatMap((part) => part.hazards)) {
    const key = JSON.stringify([row.user, row.database, row.application_name, row.hazard]);
    rows.set(key, { ...row, count: row.count + (rows.get(key)?.count ?? 0) });
  }
  return {
    version: parts[0].version,
    since: parts.map(({ since }) => since).sort()[0] ?? parts[0].since,
    queries: parts.reduce((sum, { queries }) => sum + queries, 0),
    inspected: parts[0].inspected,
    hazards: [...rows.values()],
    dropped: parts.reduce((sum, { dropped }) => sum + dropped, 0),
  };
}

/** @returns undefined for what is no such report */
export function readHazardReport(answer: unknown): HazardReport | undefined {
  if (!isRecord(answer)) return undefined;
  const { version, since, queries, inspected, hazards, dropped } = answer;
  if (typeof version !== 'string' || typeof since !== 'string' || typeof inspected !== 'boolean') return undefined;
  if (typeof queries !== 'number' || typeof dropped !== 'number' || !Array.isArray(hazards)) return undefined;
  const rows = hazards.filter(isHazardRow);
  return rows.length === hazards.length ? { version, since, queries, inspected, hazards: rows, dropped } : undefined;
}

const texts = ['user', 'database', 'application_name', 'hazard', 'example', 'transaction_mode'] as const;

function isHazardRow(row: unknown): row is HazardRow {
  if (!isRecord(row) || typeof row['count'] !== 'number') return false;
  return outcomes.some((outcome) => outcome === row['outcome']) && texts.every((key) => typeof row[key] === 'string');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
