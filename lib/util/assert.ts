// A failed assertion is a bug in weir: whoever catches it closes the sockets involved and never re-uses the server.

export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

/** One fact per call. Throws AssertionFailure with `fact` as its text. */
export function assert(condition: boolean, fact: string): asserts condition {
  if (!condition) throw new AssertionFailure(fact);
}
