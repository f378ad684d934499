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
