// What each client_tls_sslmode means for a client that connects, as one table.

import type { SslMode } from './options.js';

export interface ClientTlsPolicy {
  /** The answer to SSLRequest, and whether a direct TLS opening is taken. */
  readonly tls: 'refused' | 'offered';
  /** Whether a startup packet outside TLS is taken; Unix sockets always may, as in PgBouncer. */
  readonly plain: 'allowed' | 'refused';
  /** Not asked for where it is not verified: a certificate nobody checked must never name a user. */
  readonly certificate: 'not requested' | 'required and verified';
}

const offered: ClientTlsPolicy = { tls: 'offered', plain: 'allowed', certificate: 'not requested' };
const verified: ClientTlsPolicy = { tls: 'offered', plain: 'refused', certificate: 'required and verified' };

const policies: Readonly<Record<SslMode, ClientTlsPolicy>> = {
  disable: { tls: 'refused', plain: 'allowed', certificate: 'not requested' },
  allow: offered,
  prefer: offered,
  require: { tls: 'offered', plain: 'refused', certificate: 'not requested' },
  'verify-ca': verified,
  'verify-full': verified,
};

export function clientTlsPolicy(mode: SslMode): ClientTlsPolicy {
  return policies[mode];
}
