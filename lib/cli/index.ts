// The `weir` command: arguments, files, signals, the log. Starts what the folders below offer; never looks into a message or a pool.

export { BadConfiguration, load, type LoadedFile } from './load.js';
export { serve, type Served, type ServeOptions } from './serve.js';
