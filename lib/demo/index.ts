// The PostgreSQL that weir starts when it is given no config file: finds the npm binaries, makes or re-uses a data directory, runs the
// server under a watchdog and stops it with weir. Never listens beyond 127.0.0.1 and a private socket, never runs PostgreSQL as root,
// never creates an OS user, never leaves a process or a temporary directory behind, and never meets a client: weir pools it like any other.

export type { Account } from './account.js';
export type { Binaries } from './binaries.js';
export { binariesAt, findBinaries } from './binaries.js';
export type { EmbeddedOptions, EmbeddedPostgres, ServerExit, StopMode } from './embedded.js';
export { startEmbedded } from './embedded.js';
export { freePort, isPortTaken } from './server-probe.js';
