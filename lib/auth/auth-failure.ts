// The texts and SQLSTATEs of failed logins: what the peer may read, and apart from it the reason for the log.

import { PoolerError } from '../util/index.js';

/** A failed login as a value. `error` may be shown to the peer; `reason` is for the log only and holds no secret. */
export interface AuthFailure {
  readonly error: PoolerError;
  readonly reason: string;
}

const invalidPassword = '28P01';
const invalidAuthorization = '28000';
const protocolViolation = '08P01';
const featureNotSupported = '0A000';

/** Wrong password, unknown user, no usable secret: one text for all, so that it tells nothing. */
export function passwordFailure(reason: string): AuthFailure {
  return { error: new PoolerError('password authentication failed', { sqlstate: invalidPassword }), reason };
}

export function passwordTooLong(): AuthFailure {
  return { error: new PoolerError('password too long', { sqlstate: protocolViolation }), reason: 'password too long' };
}

/** A wrong proof. It carries no detail: whoever guesses learns nothing but that the guess was wrong. */
export function saslFailure(reason: string): AuthFailure {
  return { error: new PoolerError('SASL authentication failed', { sqlstate: invalidPassword }), reason };
}

/** A SASL message that breaks RFC 5802. The detail is about the peer's own message, so it may be told. */
export function saslMalformed(reason: string): AuthFailure {
  return {
    error: new PoolerError('SASL authentication failed', { sqlstate: protocolViolation, detail: reason }),
    reason,
  };
}

export function saslUnsupported(reason: string): AuthFailure {
  return {
    error: new PoolerError('SASL authentication failed', { sqlstate: featureNotSupported, detail: reason }),
    reason,
  };
}

/** Channel binding that does not hold: either end, or someone between them, is not what the other sees. */
export function channelBindingFailure(reason: string): AuthFailure {
  return {
    error: new PoolerError('SASL authentication failed', {
      sqlstate: invalidAuthorization,
      detail: reason,
      hint: 'Something between the two ends may be terminating TLS; compare the certificates seen at both.',
    }),
    reason,
  };
}

export function certificateFailure(reason: string): AuthFailure {
  return { error: new PoolerError('certificate authentication failed', { sqlstate: invalidAuthorization }), reason };
}

export function noSuchUser(): AuthFailure {
  return { error: new PoolerError('no such user', { sqlstate: invalidAuthorization }), reason: 'no such user' };
}

export function loginRejected(reason: string): AuthFailure {
  return { error: new PoolerError('login rejected', { sqlstate: invalidAuthorization }), reason };
}

export function tlsRequired(reason: string): AuthFailure {
  return {
    error: new PoolerError('SSL required', {
      sqlstate: invalidAuthorization,
      hint: 'Connect with sslmode=require or stronger.',
    }),
    reason,
  };
}

/** Weir could not log in to a server with what it has; `hint` says what to change. */
export function serverLoginFailure(reason: string, hint: string): AuthFailure {
  return {
    error: new PoolerError(`server login failed: ${reason}`, { sqlstate: invalidAuthorization, hint }),
    reason,
  };
}

/** A server whose SASL messages break RFC 5802, or that could not prove it knows the secret. */
export function serverSaslFailure(reason: string): AuthFailure {
  return {
    error: new PoolerError(`server login failed: ${reason}`, { sqlstate: protocolViolation }),
    reason,
  };
}
