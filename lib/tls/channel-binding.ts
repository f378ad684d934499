// Makes `tls-server-end-point` data (RFC 5929 §4): the hash of a certificate by its own signature's hash algorithm.

import { createHash } from 'node:crypto';
import { derTag, readDer, readOid } from './der.js';

/** Post-quantum signatures make the largest certificates, about 50 kB. */
export const certificateBytesMax = 128 * 1024;

type Hash = 'sha224' | 'sha256' | 'sha384' | 'sha512';

const rsaPss = '1.2.840.113549.1.1.10';

/** RFC 5929: MD5 and SHA-1 are replaced by SHA-256. Ed25519 and Ed448 have no hash algorithm and are not here. */
const hashOfSignature: ReadonlyMap<string, Hash> = new Map([
  ['1.2.840.113549.1.1.4', 'sha256'],
  ['1.2.840.113549.1.1.5', 'sha256'],
  ['1.2.840.113549.1.1.14', 'sha224'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.1', 'sha256'],
  ['1.2.840.10045.4.3.1', 'sha224'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.2.840.10040.4.3', 'sha256'],
  ['2.16.840.1.101.3.4.3.1', 'sha224'],
  ['2.16.840.1.101.3.4.3.2', 'sha256'],
]);

const hashOfDigest: ReadonlyMap<string, Hash> = new Map([
  ['1.2.840.113549.2.5', 'sha256'],
  ['1.3.14.3.2.26', 'sha256'],
  ['2.16.840.1.101.3.4.2.4', 'sha224'],
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
]);

/** Undefined if the certificate's signature names no hash algorithm: such a connection cannot be bound. */
export function tlsServerEndPoint(certificate: Buffer): Buffer | undefined {
  const hash = signatureHash(certificate);
  return hash === undefined ? undefined : createHash(hash).update(certificate).digest();
}

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signature } */
export function signatureHash(certificate: Buffer): Hash | undefined {
  if (certificate.length > certificateBytesMax) return undefined;
  const whole = readDer(certificate, 0, certificate.length);
  if (whole?.tag !== derTag.sequence) return undefined;
  const signed = readDer(certificate, whole.begin, whole.end);
  if (signed?.tag !== derTag.sequence) return undefined;
  const algorithm = readDer(certificate, signed.end, whole.end);
  if (algorithm?.tag !== derTag.sequence) return undefined;
  const name = readDer(certificate, algorithm.begin, algorithm.end);
  const oid = name === undefined ? undefined : readOid(certificate, name);
  if (name === undefined || oid === undefined) return undefined;
  return oid === rsaPss ? pssHash(certificate, name.end, algorithm.end) : hashOfSignature.get(oid);
}

/** RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm SEQUENCE { OID, ... } DEFAULT sha1, ... } (RFC 4055 §3.1) */
function pssHash(certificate: Buffer, at: number, limit: number): Hash | undefined {
  const parameters = readDer(certificate, at, limit);
  if (parameters?.tag !== derTag.sequence) return undefined;
  if (parameters.begin === parameters.end) return 'sha256';
  const first = readDer(certificate, parameters.begin, parameters.end);
  if (first === undefined) return undefined;
  if (first.tag !== derTag.contextConstructed0) return 'sha256';
  const algorithm = readDer(certificate, first.begin, first.end);
  if (algorithm?.tag !== derTag.sequence) return undefined;
  const name = readDer(certificate, algorithm.begin, algorithm.end);
  const oid = name === undefined ? undefined : readOid(certificate, name);
  return oid === undefined ? undefined : hashOfDigest.get(oid);
}
