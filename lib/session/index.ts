// The state of a session as data: settings, prepared statements, what statements leave behind, what a look at a server says.
// Never touches a socket.

export { listenTo, unlistenFrom } from './channels.js';
export {
  type ChannelUse,
  Effect,
  type Footprint,
  footprint,
  type HazardName,
  type HazardPolicy,
  hazardNames,
  inert,
  Notifies,
  opaque,
  SequenceUse,
  type StatementUse,
  type TransactionTag,
  unseen,
  withEffects,
} from './footprint.js';
export {
  everything,
  type Findings,
  type FoundStatement,
  lookedFor,
  probeQuery,
  readProbe,
} from './probe.js';
export { type ReadBarrier, ReadShape, readBarriers } from './read-shape.js';
export { Placed, ServerStatements } from './server-statements.js';
export {
  asciiLiteral,
  isReadBack,
  isReplayed,
  isSettingName,
  isStartupSetting,
  Settings,
  troublesome,
} from './settings.js';
export { ClientStatements, Statement, StatementRegistry, StatementText, type Version } from './statements.js';
