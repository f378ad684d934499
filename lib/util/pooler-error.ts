// The one error type whose text may be shown to a client: a failed operation, with its SQLSTATE.

export interface PoolerErrorFields {
  /** Five-character SQLSTATE, e.g. `08P01`. */
  readonly sqlstate: string;
  readonly detail?: string;
  /** What to change so that it does not happen again. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** A failed operation. Its message, detail and hint reach clients and logs, so they never hold a secret. */
export class PoolerError extends Error {
  override readonly name = 'PoolerError';
  readonly sqlstate: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  /** Host and port of the server that it concerns, for the log; known to who has dialled it. */
  at: string | undefined;

  constructor(message: string, fields: PoolerErrorFields) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.sqlstate = fields.sqlstate;
    this.detail = fields.detail;
    this.hint = fields.hint;
  }
}

/** A defect of weir's: what made it notice is for the log, the rest for whoever meets it. */
export function internalError(cause: unknown, detail?: string): PoolerError {
  return new PoolerError('internal error in the pooler', {
    sqlstate: 'XX000',
    hint: 'Please report it with the log.',
    cause,
    ...(detail === undefined ? {} : { detail }),
  });
}
