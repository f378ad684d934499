// What tests and benchmarks share: a real PostgreSQL of any supported version, a clock moved by hand, waiting without sleeping blindly.
// Holds no test and is imported by nothing in lib.

export { eventually } from './eventually.js';
export { FakeClock } from './fake-clock.js';
export { freePort } from './free-port.js';
export type { PostgresOptions, PostgresVersion, TestPostgres } from './postgres.js';
export { postgresVersions, startPostgres } from './postgres.js';
export { projectRoot } from './project-root.js';
export { stretch, stretched } from './stretch.js';
export type { Teardown } from './temporary-directory.js';
export { scratchBase, temporaryDirectory } from './temporary-directory.js';
