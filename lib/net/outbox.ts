// Gathers what is written to sockets during one turn of the event loop, so that each socket gets one write per turn.

/** Something with bytes to flush at the end of the turn. */
export interface Flushable {
  flush(): void;
}

const waiting: Flushable[] = [];
let scheduled = false;

function flushAll(): void {
  scheduled = false;
  // Flushing may make others wait: those are flushed too, in the same turn.
  for (let i = 0; i < waiting.length; i++) (waiting[i] as Flushable).flush();
  waiting.length = 0;
}

/** Calls `flush` once, after the sockets that are readable now have been read. */
export function flushSoon(target: Flushable): void {
  waiting.push(target);
  if (!scheduled) {
    scheduled = true;
    setImmediate(flushAll);
  }
}

const slabBytes = 64 * 1024;
/** Longer payloads get memory of their own, lest one of them pin a slab. */
const slabShareBytesMax = 16 * 1024;
let slab = Buffer.allocUnsafeSlow(slabBytes);
let used = 0;

/**
 * Memory for a payload on its way out. Slabs are never used twice: a view stays valid as long as somebody holds it, and
 * the collector frees a slab with its last view.
 */
export function allocate(length: number): Buffer {
  if (length > slabShareBytesMax) return Buffer.allocUnsafeSlow(length);
  if (used + length > slabBytes) {
    slab = Buffer.allocUnsafeSlow(slabBytes);
    used = 0;
  }
  const view = slab.subarray(used, used + length);
  used += length;
  return view;
}
