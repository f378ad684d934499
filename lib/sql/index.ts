// Knows what a statement does, at the cost of a scan: shapes, PostgreSQL's own parser behind them, facts.
// Never touches a socket, never changes a text, never answers from a guess: what it cannot read is UNKNOWN.

export { anySetting, anyShown, setAct, showsLog } from './deed-kinds.js';
export type { Act, ColumnDeed, Deeds, FunctionDeed, RelationDeed, StatementDeeds } from './deeds.js';
export type { DefinedColumn, Definition, QualifiedName } from './definitions.js';
export { isPlainText, isSafeEncoding } from './encodings.js';
export type {
  KnownFacts,
  NameChange,
  NamedQuery,
  ParsedFacts,
  Shape,
  ShapeCounters,
  StatementFacts,
  TableName,
  UnknownFacts,
  UnknownReason,
} from './facts.js';
export { PENDING, UNKNOWN } from './facts.js';
export { isCatalogFunction } from './function-effects.js';
export type { Argument, DatabaseUse, Hazard, SessionEffects, TransactionOperation } from './hazards.js';
export { effectOf } from './hazards.js';
export { nameChangesMax } from './limits.js';
export { type Constants, constantsIn, opaquePlan, type Planned } from './planned.js';
export { type RelationSpan, TokenMap } from './relation-span.js';
export { type ScriptStatement, splitScript } from './script.js';
export { type SignalledPids, type SignalledPlace, signalFunctions, withPids } from './signal-calls.js';
export type {
  ScanMode,
  StatementCatalog,
  StatementCatalogOptions,
  StatementCatalogStats,
} from './statement-catalog.js';
export { createStatementCatalog } from './statement-catalog.js';
export type { StatementKind } from './statement-kinds.js';
export { isDefinition } from './statement-kinds.js';
export { StatementReader, type TextReading } from './statement-reader.js';
