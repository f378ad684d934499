// The `weir` command: arguments, files, signals, the log. Starts what the folders below offer; never looks into a message or a pool.

export { BadConfiguration, type LoadedFile, load } from './load.js';
export { type Served, type ServeOptions, serve } from './serve.js';
