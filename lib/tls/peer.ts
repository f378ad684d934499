// What a finished TLS connection says of its peer: certificate name, channel binding, ALPN; and what TLS looks like.

import type { TLSSocket } from 'node:tls';
import { tlsServerEndPoint } from './channel-binding.js';

/** The protocol name registered for PostgreSQL; a must in direct TLS. */
export const alpnProtocol = 'postgresql';

/** First byte of a TLS record that carries a ClientHello. A startup packet begins with 0: its length is below 16 MB. */
const tlsHandshakeRecord = 0x16;

export function isDirectTls(firstByte: number): boolean {
  return firstByte === tlsHandshakeRecord;
}

/** Without ALPN a direct opening may be another protocol's, replayed at us (ALPACA). */
export function hasNegotiatedAlpn(socket: TLSSocket): boolean {
  return socket.alpnProtocol === alpnProtocol;
}

export interface PeerIdentity {
  /** The one CN of the subject; undefined if it has none or several. */
  readonly commonName: string | undefined;
  /** For logs and SHOW CLIENTS. */
  readonly subject: string;
  readonly serialNumber: string;
  readonly issuer: string;
}

/** Of a certificate that was verified; undefined if the peer sent none. */
export function peerIdentity(socket: TLSSocket): PeerIdentity | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  // Not from `subject`: there a line break inside a name looks like the next name.
  const names: unknown = socket.getPeerCertificate().subject.CN;
  return {
    commonName: typeof names === 'string' ? names : undefined,
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    serialNumber: certificate.serialNumber,
  };
}

/** `tls-server-end-point` data of the certificate the other end showed. */
export function peerChannelBinding(socket: TLSSocket): Buffer | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? undefined : tlsServerEndPoint(certificate.raw);
}

function oneLine(name: string | undefined): string {
  return (name ?? '').replaceAll('\n', ', ').replace(/\p{Cc}/gu, '?');
}
