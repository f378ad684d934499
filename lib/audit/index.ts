// The audit trail of one process: records, the chain of their seals, segments on disk, and their verification. Never decides
// what a client may do, never touches a socket, never renames or shortens a file it has written.

export { sealPattern } from './chain.js';
export { type Admission, type AuditIdentity, ClientAuditor } from './client-auditor.js';
export { type AuditDirectory, type AuditFile, diskDirectory } from './files.js';
export { readSealKey } from './key-file.js';
export type { NamedText, Naming } from './names.js';
export { textBytesMax } from './statement-text.js';
export { type AuditedStatement, statementsOf } from './statements.js';
export {
  type AuditPolicy,
  type AuditState,
  AuditTrail,
  type AuditTrailOptions,
  auditSelections,
  type Decision,
} from './trail.js';
export { type SegmentReport, type VerifyOptions, type VerifyReport, verifySegments } from './verify.js';
