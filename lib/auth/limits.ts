// Every bound on what a peer or a configuration can make authentication store, read or compute.

/** PostgreSQL refuses longer SASL messages too (PG_MAX_SASL_MESSAGE_LENGTH); cf. CVE-2026-6664 and -6665. */
export const scramClientMessageBytesMax = 1024;

/** What a server may send in one SASL message: a salt may be long, but not a way to fill memory. */
export const scramServerMessageBytesMax = 4096;

export const scramSaltBytesMax = 1024;

/** About 0.3 s of one thread; a server (or a stored secret) asking for more is refused rather than obeyed. */
export const scramIterationsMax = 1_000_000;

/** PostgreSQL's default for `scram_iterations`. */
export const scramIterationsDefault = 4096;

/** PostgreSQL's SCRAM_DEFAULT_SALT_LEN: verifiers made here look like the server's own. */
export const scramSaltBytes = 16;

/** PostgreSQL's SCRAM_RAW_NONCE_LEN. */
export const scramNonceBytes = 18;

/** PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH: the longest password message it reads. */
export const passwordBytesMax = 65_535;

/** Derived keys kept, over all users, salts and iteration counts. */
export const scramKeyEntriesMax = 10_000;

/** Derivations for unknown users that may run at once; they may not crowd real logins out of the thread pool. */
export const mockDerivationsMax = 8;

/** Failed logins remembered, per kind of key. */
export const throttleEntriesMax = 10_000;
