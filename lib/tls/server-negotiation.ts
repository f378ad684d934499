// How weir agrees with a server on TLS or not, for all six modes of server_tls_sslmode, as values without a socket.

import type { PoolerError } from '../util/index.js';
import type { SslMode } from './options.js';
import { tlsProtocolError, tlsRefused } from './tls-error.js';

/** One connection attempt. `retry` is what a second attempt may still try, should this one fail before login. */
export interface TlsAttempt {
  readonly mode: SslMode;
  readonly opening: 'plain' | 'tls';
  readonly retry: 'plain' | 'tls' | 'none';
}

export type TlsMove =
  /** Go on without TLS on this connection. */
  | { readonly kind: 'send-startup'; readonly attempt: TlsAttempt }
  | { readonly kind: 'send-ssl-request' }
  | { readonly kind: 'start-tls' }
  /** Close, connect anew, and begin with `attempt`. */
  | { readonly kind: 'reconnect'; readonly attempt: TlsAttempt }
  | { readonly kind: 'fail'; readonly error: PoolerError };

const firstAttempts: Readonly<Record<SslMode, Omit<TlsAttempt, 'mode'>>> = {
  disable: { opening: 'plain', retry: 'none' },
  allow: { opening: 'plain', retry: 'tls' },
  prefer: { opening: 'tls', retry: 'plain' },
  require: { opening: 'tls', retry: 'none' },
  'verify-ca': { opening: 'tls', retry: 'none' },
  'verify-full': { opening: 'tls', retry: 'none' },
};

/** Over a Unix socket there is no TLS, whatever the mode: as libpq and PgBouncer. */
export function firstAttempt(mode: SslMode, transport: 'tcp' | 'unix'): TlsAttempt {
  return transport === 'unix' ? { mode, opening: 'plain', retry: 'none' } : { mode, ...firstAttempts[mode] };
}

export function onConnected(attempt: TlsAttempt): TlsMove {
  return attempt.opening === 'plain' ? { kind: 'send-startup', attempt } : { kind: 'send-ssl-request' };
}

const answerS = 0x53;
const answerN = 0x4e;
const answerE = 0x45;

/**
 * The one byte after SSLRequest. `bytesAfter` is how many more came with it: whatever a server sends before its TLS
 * begins was put there by someone else (CVE-2021-23222).
 */
export function onSslAnswer(attempt: TlsAttempt, answer: number, bytesAfter: number): TlsMove {
  switch (answer) {
    case answerS:
      if (bytesAfter === 0) return { kind: 'start-tls' };
      return { kind: 'fail', error: tlsProtocolError('received unencrypted data after SSL response') };
    case answerN:
      if (bytesAfter !== 0) return { kind: 'fail', error: tlsProtocolError('received data after SSL refusal') };
      if (attempt.retry !== 'plain') return { kind: 'fail', error: serverWithoutTls(attempt.mode) };
      return { kind: 'send-startup', attempt: { mode: attempt.mode, opening: 'plain', retry: 'none' } };
    case answerE:
      // An ErrorResponse outside TLS is anybody's; its text is not passed on (CVE-2024-10977).
      return onFailure(attempt, 'handshake', tlsRefused('the server answered SSLRequest with an error', busyHint));
    default:
      return { kind: 'fail', error: tlsProtocolError('unexpected answer to SSLRequest') };
  }
}

/** SQLSTATE with which pg_hba.conf turns a connection away, in the clear or over TLS. */
const hbaRefused = '28000';

/**
 * The attempt failed before the server asked for authentication. `cause` is `handshake`, or the SQLSTATE of the
 * server's ErrorResponse: only pg_hba's is worth another try (too many connections stay too many).
 */
export function onFailure(attempt: TlsAttempt, cause: string, error: PoolerError): TlsMove {
  const curable = cause === 'handshake' || cause === hbaRefused;
  if (!curable || attempt.retry === 'none') return { kind: 'fail', error };
  return { kind: 'reconnect', attempt: { mode: attempt.mode, opening: attempt.retry, retry: 'none' } };
}

export type ServerVerification = 'none' | 'authority' | 'authority and name';

const verifications: Readonly<Record<SslMode, ServerVerification>> = {
  disable: 'none',
  allow: 'none',
  prefer: 'none',
  require: 'none',
  'verify-ca': 'authority',
  'verify-full': 'authority and name',
};

export function serverVerification(mode: SslMode): ServerVerification {
  return verifications[mode];
}

function serverWithoutTls(mode: SslMode): PoolerError {
  return tlsRefused(
    'the server does not support TLS',
    `Set ssl = on there, or relax server_tls_sslmode (now ${mode}).`,
  );
}

const busyHint = "The server's log has the reason.";
