// The errors of TLS: what went wrong in a setting, a file or a handshake, and what to change.

import { PoolerError } from '../util/index.js';

const configFileError = 'F0000';
const connectionFailure = '08006';
const protocolViolation = '08P01';
const invalidAuthorization = '28000';

export function tlsConfigError(message: string, hint?: string, cause?: unknown): PoolerError {
  return new PoolerError(message, { sqlstate: configFileError, ...(hint === undefined ? {} : { hint }), cause });
}

/** A server refused TLS, or weir refuses what it offers instead. */
export function tlsRefused(message: string, hint: string): PoolerError {
  return new PoolerError(message, { sqlstate: connectionFailure, hint });
}

export function tlsProtocolError(message: string): PoolerError {
  return new PoolerError(message, { sqlstate: protocolViolation });
}

export function untrustedClient(detail: string): PoolerError {
  return new PoolerError('certificate authentication failed', {
    sqlstate: invalidAuthorization,
    detail,
    hint: 'Connect with a certificate (sslcert, sslkey) signed by an authority in client_tls_ca_file.',
  });
}

export function clientHandshakeFailed(cause: unknown): PoolerError {
  return new PoolerError('TLS handshake with the client failed', {
    sqlstate: protocolViolation,
    detail: describe(cause),
    cause,
  });
}

export function serverHandshakeFailed(host: string, cause: unknown): PoolerError {
  const hint = hints.get(codeOf(cause));
  return new PoolerError(`TLS handshake with server "${host}" failed`, {
    sqlstate: connectionFailure,
    detail: describe(cause),
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}

const caHint = 'Put the certificate of the authority that signed it into server_tls_ca_file.';
const hints: ReadonlyMap<string, string> = new Map([
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'Set host to a name in the certificate, or use server_tls_sslmode = verify-ca.'],
  ['CERT_HAS_EXPIRED', 'Renew the certificate of the server.'],
  ['CERT_NOT_YET_VALID', 'Check the clocks of both machines.'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', caHint],
  ['SELF_SIGNED_CERT_IN_CHAIN', caHint],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', caHint],
  ['UNABLE_TO_GET_ISSUER_CERT', caHint],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', caHint],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'Both sides must share a version: see server_tls_protocols.'],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'Both sides must share a version: see server_tls_protocols.'],
]);

function codeOf(cause: unknown): string {
  if (!(cause instanceof Error) || !('code' in cause)) return '';
  return typeof cause.code === 'string' ? cause.code : '';
}

/** OpenSSL's own text is a line of internals; its `reason`, where there is one, is the readable part. */
function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return 'the connection was closed';
  return 'reason' in cause && typeof cause.reason === 'string' ? cause.reason : cause.message;
}
