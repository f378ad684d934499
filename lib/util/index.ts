// Small pieces every layer may use: errors, assertions, secrets, a ring, a tally, time. Never does I/O, never imports another folder.

export { AssertionFailure, assert } from './assert.js';
export type { Clock } from './clock.js';
export { systemClock } from './clock.js';
export type { PoolerErrorFields } from './pooler-error.js';
export { internalError, PoolerError } from './pooler-error.js';
export { Ring } from './ring.js';
export { Secret } from './secret.js';
export { Tally } from './tally.js';
