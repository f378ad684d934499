// Makes certificates for tests: an authority, a server, a client, an expired one, one of another authority.

import { createHash, webcrypto } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { type Teardown, temporaryDirectory } from './temporary-directory.js';

export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
  readonly der: Buffer;
}

export interface TestCertificates {
  readonly ca: CertificatePair;
  /** For 127.0.0.1, ::1 and localhost. */
  readonly server: CertificatePair;
  /** CN is the user name asked for. */
  readonly client: CertificatePair;
  readonly expiredServer: CertificatePair;
  readonly expiredClient: CertificatePair;
  readonly otherCa: CertificatePair;
  readonly otherServer: CertificatePair;
  readonly otherClient: CertificatePair;
}

/** A kind of key with a hash: what a certificate is signed with. */
export type SigningAlgorithm =
  | { readonly name: 'ECDSA'; readonly namedCurve: 'P-256' | 'P-384' | 'P-521'; readonly hash: string }
  | { readonly name: 'RSASSA-PKCS1-v1_5'; readonly hash: string }
  | { readonly name: 'RSA-PSS'; readonly hash: string; readonly saltLength: number }
  | { readonly name: 'Ed25519' };

const defaultAlgorithm: SigningAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const dayMs = 24 * 3600 * 1000;

x509.cryptoProvider.set(webcrypto as never);

/** @param user CN of the client certificates */
export async function makeCertificates(user = 'alice'): Promise<TestCertificates> {
  const [authority, other] = await Promise.all([makeAuthority('weir test ca'), makeAuthority('another ca')]);
  const [server, client, expiredServer, expiredClient, otherServer, otherClient] = await Promise.all([
    issue(authority, 'localhost', 'valid'),
    issue(authority, user, 'valid'),
    issue(authority, 'localhost', 'expired'),
    issue(authority, user, 'expired'),
    issue(other, 'localhost', 'valid'),
    issue(other, user, 'valid'),
  ]);
  return {
    ca: authority.pair,
    server,
    client,
    expiredServer,
    expiredClient,
    otherCa: other.pair,
    otherServer,
    otherClient,
  };
}

/** One self-signed certificate by the given algorithm. */
export async function makeSelfSigned(commonName: string, algorithm: SigningAlgorithm): Promise<CertificatePair> {
  return (await makeAuthority(commonName, algorithm)).pair;
}

/** Writes NAME.crt and NAME.key of each, keys readable by their owner only; answers the directory, which lasts as long as the test. */
export async function writeCertificates(t: Teardown, certificates: TestCertificates): Promise<string> {
  const directory = temporaryDirectory(t);
  await Promise.all(
    Object.entries(certificates).flatMap(([name, pair]: [string, CertificatePair]) => [
      writeFile(join(directory, `${name}.crt`), pair.cert),
      writeFile(join(directory, `${name}.key`), pair.key, { mode: 0o600 }),
    ]),
  );
  return directory;
}

interface Authority {
  readonly name: string;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly algorithm: SigningAlgorithm;
  readonly pair: CertificatePair;
}

async function makeAuthority(commonName: string, algorithm: SigningAlgorithm = defaultAlgorithm): Promise<Authority> {
  const keys = await makeKeys(algorithm);
  const name = `CN=${commonName}`;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialOf(commonName),
    name,
    notBefore: new Date(Date.now() - dayMs),
    notAfter: new Date(Date.now() + 30 * dayMs),
    keys,
    signingAlgorithm: algorithm as never,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { name, keys, algorithm, pair: await toPair(certificate, keys) };
}

async function issue(authority: Authority, commonName: string, life: 'valid' | 'expired'): Promise<CertificatePair> {
  const keys = await makeKeys(defaultAlgorithm);
  const endsInDays = life === 'valid' ? 30 : -1;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialOf(`${authority.name} ${commonName} ${life}`),
    subject: `CN=${commonName}`,
    issuer: authority.name,
    notBefore: new Date(Date.now() - 10 * dayMs),
    notAfter: new Date(Date.now() + endsInDays * dayMs),
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    signingAlgorithm: authority.algorithm as never,
    extensions: [
      new x509.BasicConstraintsExtension(false),
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
        { type: 'ip', value: '::1' },
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.keys.publicKey),
    ],
  });
  return toPair(certificate, keys);
}

function makeKeys(algorithm: SigningAlgorithm): Promise<webcrypto.CryptoKeyPair> {
  const parameters =
    algorithm.name === 'ECDSA' || algorithm.name === 'Ed25519'
      ? algorithm
      : { ...algorithm, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
  return webcrypto.subtle.generateKey(parameters as webcrypto.EcKeyGenParams, true, ['sign', 'verify']);
}

async function toPair(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair): Promise<CertificatePair> {
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return {
    cert: certificate.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${pemLines(key)}\n-----END PRIVATE KEY-----\n`,
    der: Buffer.from(certificate.rawData),
  };
}

/** Positive and not the same twice under one authority. */
function serialOf(text: string): string {
  return `01${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
}

function pemLines(bytes: Buffer): string {
  return (bytes.toString('base64').match(/.{1,64}/g) ?? []).join('\n');
}
