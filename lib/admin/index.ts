// The SQL console on the databases `pgbouncer` and `weir`: looks at one process and acts on it, one file a command.
// Never touches a socket, never keeps state of its own beyond a count, and never shows a secret or logs what may hold one.

export type { AnyRow, Columns, ColumnType, ControlCommand, Role, ShowCommand } from './command.js';
export { controlCommands, showCommands } from './commands.js';
export { AdminConsole, type Fleet } from './console.js';
export { shutdownModeOf } from './control/shutdown.js';
export { commandBytesMax } from './parse.js';
