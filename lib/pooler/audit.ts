// The audit trail as the configuration has it, and what the log says of it.

import type { Logger } from 'pino';
import { type AuditPolicy, AuditTrail, auditSelections, diskDirectory, readSealKey } from '../audit/index.js';
import type { Config } from '../config/index.js';
import { type Clock, PoolerError } from '../util/index.js';

/** Begins the trail of one process; undefined where none is configured. @throws PoolerError when it cannot be written */
export async function openAudit(
  config: Config,
  process: number,
  clock: Clock,
  log: Logger,
): Promise<AuditTrail | undefined> {
  const { audit_dir, audit_key_file } = config.weir;
  if (audit_dir === '') return undefined;
  const key = audit_key_file === '' ? undefined : readSealKey(audit_key_file);
  try {
    return await AuditTrail.open({
      directory: diskDirectory(audit_dir),
      clock,
      process,
      key,
      policy: auditPolicy(config),
      onTrouble: (error, dropped) => {
        if (error === undefined) log.warn({ dropped }, 'the audit trail is written again');
        else log.error({ err: error, dropped }, 'the audit trail cannot be written');
      },
      onSegment: (segment, seal) => log.info({ segment, seal }, 'audit segment begun'),
      onSeal: (segment, seal, records) => log.info({ segment, seal, records }, 'audit seal'),
      onWarning: (text, error) => log.warn({ err: error }, text),
    });
  } catch (cause) {
    throw new PoolerError(`the audit trail cannot be begun in ${audit_dir}`, {
      sqlstate: '58030',
      detail: cause instanceof Error ? cause.message : String(cause),
      hint: 'Let audit_dir name a directory that weir may write in and that has room, or leave it empty.',
      cause,
    });
  }
}

export function auditPolicy({ weir }: Config): AuditPolicy {
  return {
    statements: new Set(auditSelections.filter((name) => weir.audit_statements.includes(name))),
    rules: new Set(weir.audit_rules),
    mode: weir.audit_mode,
    onFull: weir.audit_on_full,
    sql: weir.audit_sql,
    parameters: weir.audit_parameters,
    userTag: weir.audit_user_tag,
    flushMs: weir.audit_flush_interval * 1_000,
    queueBytesMax: weir.audit_queue_bytes,
    limits: {
      segmentBytes: weir.audit_segment_bytes,
      segmentAgeMs: weir.audit_segment_age * 1_000,
      keeping: { segments: weir.audit_keep_segments, days: weir.audit_keep_days },
    },
  };
}
