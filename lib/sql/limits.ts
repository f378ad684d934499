// Every limit of this folder in one place; what the operator may set arrives as an option of the catalog.

/** Canonical text up to this length is parsed on the event loop: no pattern of it overflows the parser's stack. */
export const inlineParseBytesMax = 4096;
/** Above this a text is unknown whatever the operator asks for: the scanner would hold the event loop too long. */
export const inspectBytesMax = 1 << 20;
/** Texts waiting for the parser's thread. */
export const workerQueueMax = 64;
export const workerQueueBytesMax = 4 << 20;
/** A parse that takes longer than this is taken for a hang: the thread is ended and another one started. */
export const workerParseMs = 5_000;
export const workerStackMb = 64;
export const workerHeapMb = 512;
/** A parser instance grown beyond this is replaced: it begins with 128 MB of address space and never shrinks. */
export const parserMemoryBytesMax = 192 << 20;
/** Entries of one hash chain; a longer chain loses its oldest, so that colliding texts cost a constant. */
export const chainLengthMax = 8;
/** Names of one sort (tables, columns, functions) kept for one text. */
export const namesMax = 256;
/** Hazards kept for one text; a text with more has unknown effects. */
export const hazardsMax = 64;
/** Bytes of a literal-free text that the identical-text memo keeps, and its slots. */
export const memoBytesMax = 128;
export const memoSlots = 64;
/** Relations, functions, operators and columns that one statement may name, each time it does; one with more is unknown. */
export const deedsMax = 4096;
/** The same of a whole text, where a statement counts as four. */
export const textDeedsMax = 65_536;
/** Prepared statements and cursors that one text may name or end: with more the facts are incomplete. */
export const nameChangesMax = 256;
