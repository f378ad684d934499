// Memory for bytes on their way out. Small payloads are cut from slabs the collector frees; large ones get chunks that are lent and used
// again: garbage outside of the JavaScript heap is collected late, after hundreds of megabytes where a huge result passes through.

const slabBytes = 64 * 1024;
/** What is longer is lent a chunk, lest it pin a slab. */
export const slabShareBytesMax = 16 * 1024;
let slab = Buffer.allocUnsafeSlow(slabBytes);
let used = 0;

/**
 * For a payload of at most `slabShareBytesMax`. Slabs are never used twice: a view stays valid as long as somebody holds it, and
 * the collector frees a slab with its last view.
 */
export function allocate(length: number): Buffer {
  if (used + length > slabBytes) {
    slab = Buffer.allocUnsafeSlow(slabBytes);
    used = 0;
  }
  const view = slab.subarray(used, used + length);
  used += length;
  return view;
}

export const chunkBytes = 64 * 1024;
const freeChunksMax = 64;
const free: Buffer[] = [];

/** A chunk of `chunkBytes` that is the caller's until he gives it back, or for ever. */
export function borrow(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(chunkBytes);
}

/** @param chunks as they were borrowed; nobody reads or writes them any more, the kernel included */
export function giveBack(chunks: readonly Buffer[]): void {
  for (let i = 0; i < chunks.length && free.length < freeChunksMax; i++) free.push(chunks[i] as Buffer);
}
