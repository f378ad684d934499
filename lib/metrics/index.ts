// Counters and histograms that hot code writes to. Never does I/O; who exposes them is above.

export { BoundedCounter } from './bounded-counter.js';
export { TimeHistogram, timeBucketsMs } from './histogram.js';
