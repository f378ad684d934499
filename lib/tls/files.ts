// Reads certificate, key and CA files, and checks each so that an error names the file that is wrong.

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { SecureContextOptions } from 'node:tls';
import { tlsConfigError } from './tls-error.js';

/** A bundle of all public authorities has about 0.25 MB. */
export const tlsFileBytesMax = 4 * 1024 * 1024;

export interface TlsFiles {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

export interface LoadedFiles {
  readonly context: Pick<SecureContextOptions, 'ca' | 'cert' | 'key'>;
  /** Our own certificate, the first in `certFile`. */
  readonly certificate: X509Certificate | undefined;
}

const pemCertificate =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

/** @throws PoolerError naming the file */
export async function loadFiles(files: TlsFiles): Promise<LoadedFiles> {
  const [ca, own] = await Promise.all([
    files.caFile ? loadCa(files.caFile) : undefined,
    files.certFile || files.keyFile ? loadPair(files.certFile, files.keyFile) : undefined,
  ]);
  return {
    context: { ...(ca === undefined ? {} : { ca }), ...(own === undefined ? {} : { cert: own.cert, key: own.key }) },
    certificate: own?.certificate,
  };
}

async function loadCa(file: string): Promise<string[]> {
  const blocks = (await readText(file)).match(pemCertificate) ?? [];
  if (blocks.length === 0) throw tlsConfigError(`no certificate in "${file}"`, pemHint);
  for (const block of blocks) parseCertificate(block, file);
  return blocks;
}

async function loadPair(
  certFile: string | undefined,
  keyFile: string | undefined,
): Promise<{ cert: string; key: string; certificate: X509Certificate }> {
  if (!certFile) throw tlsConfigError(`a key file ("${keyFile ?? ''}") without a certificate file`, pairHint);
  if (!keyFile) throw tlsConfigError(`a certificate file ("${certFile}") without a key file`, pairHint);
  const [cert, key] = await Promise.all([readText(certFile), readText(keyFile)]);
  const certificate = parseCertificate(cert, certFile);
  if (!certificate.checkPrivateKey(parseKey(key, keyFile))) {
    throw tlsConfigError(`the key in "${keyFile}" does not belong to the certificate in "${certFile}"`);
  }
  return { cert, key, certificate };
}

function parseCertificate(pem: string, file: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw tlsConfigError(`no valid certificate in "${file}"`, pemHint, cause);
  }
}

function parseKey(pem: string, file: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw tlsConfigError(`no valid private key in "${file}"`, 'Use PEM without a passphrase.', cause);
  }
}

async function readText(file: string): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(file, { end: tlsFileBytesMax })) chunks.push(chunk as Buffer);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw tlsConfigError(`cannot read "${file}": ${code}`, undefined, cause);
  }
  const bytes = Buffer.concat(chunks);
  if (bytes.length > tlsFileBytesMax) throw tlsConfigError(`"${file}" is larger than ${tlsFileBytesMax} bytes`);
  return bytes.toString('latin1');
}

const pemHint = 'Use PEM: it begins with -----BEGIN CERTIFICATE-----.';
const pairHint = 'Set both, or neither.';
