// Translates PgBouncer's TLS settings (protocols, ciphers, curves) into what node:tls takes.

import { constants } from 'node:crypto';
import { DEFAULT_CIPHERS, type SecureContextOptions, type SecureVersion } from 'node:tls';
import { tlsConfigError } from './tls-error.js';

export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

export const sslModes: readonly SslMode[] = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];

/** The `client_tls_*` or `server_tls_*` settings; an empty string is unset. */
export interface TlsOptions {
  readonly sslmode: SslMode;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** `secure`, `all`, or a comma list of tlsv1.0 ... tlsv1.3. */
  readonly protocols?: string;
  /** `default`, `secure`, `fast`, `normal`, `all`, or an OpenSSL list; for TLS 1.2 and lower. */
  readonly ciphers?: string;
  /** TLS 1.3 suites by name, separated by colons. */
  readonly tls13Ciphers?: string;
  /** `auto`, `none`, or curve names separated by colons. */
  readonly ecdhCurve?: string;
  /** `auto` (as strong as the certificate), `none`, `legacy` (read as `auto`: 1024 bits are broken). */
  readonly dheParams?: string;
}

interface Protocol {
  readonly version: SecureVersion;
  /** Forbids this one version inside a range. */
  readonly off: number;
}

const protocols: readonly Protocol[] = [
  { version: 'TLSv1', off: constants.SSL_OP_NO_TLSv1 },
  { version: 'TLSv1.1', off: constants.SSL_OP_NO_TLSv1_1 },
  { version: 'TLSv1.2', off: constants.SSL_OP_NO_TLSv1_2 },
  { version: 'TLSv1.3', off: constants.SSL_OP_NO_TLSv1_3 },
];

/** Bits are indexes into `protocols`. */
const protocolWords: ReadonlyMap<string, number> = new Map([
  ['tlsv1.0', 0b0001],
  ['tlsv1.1', 0b0010],
  ['tlsv1.2', 0b0100],
  ['tlsv1.3', 0b1000],
  ['tlsv1', 0b1111],
  ['all', 0b1111],
  ['legacy', 0b1111],
  ['secure', 0b1100],
  ['default', 0b1100],
]);

const cipherWords: ReadonlyMap<string, string> = new Map([
  ['default', ''],
  ['secure', ''],
  ['fast', ''],
  ['normal', ''],
  ['all', 'ALL:!aNULL:!eNULL'],
]);

const tls13Default = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256';

/** Renegotiation has been nothing but attacks; PostgreSQL forbids it too. Compression leaks (CRIME). */
const alwaysOff = constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION;

export interface ProtocolRange {
  readonly minVersion: SecureVersion;
  readonly maxVersion: SecureVersion;
  /** Forbids the versions between these two that are not in the list. */
  readonly secureOptions: number;
}

/** @throws PoolerError naming `setting` if a word is unknown or nothing is left. */
export function parseProtocols(text: string, setting: string): ProtocolRange {
  let chosen = 0;
  for (const word of text
    .toLowerCase()
    .split(/[,:\s]+/)
    .filter((part) => part !== '')) {
    const bits = protocolWords.get(word.replace(/^!/, ''));
    if (bits === undefined) throw tlsConfigError(`${setting}: unknown protocol "${word}"`, protocolsHint);
    chosen = word.startsWith('!') ? chosen & ~bits : chosen | bits;
  }
  const inside = protocols.filter((_, index) => (chosen & (1 << index)) !== 0);
  const lowest = inside[0];
  const highest = inside[inside.length - 1];
  if (lowest === undefined || highest === undefined) {
    throw tlsConfigError(`${setting} allows no protocol`, protocolsHint);
  }
  const outside = protocols.filter((_, index) => (chosen & (1 << index)) === 0);
  return {
    minVersion: lowest.version,
    maxVersion: highest.version,
    secureOptions: outside.reduce((sum, protocol) => sum | protocol.off, 0),
  };
}

/** Everything of a context but files. `prefix` (`client_tls` or `server_tls`) begins the settings' names in errors. */
export function contextOptions(options: TlsOptions, prefix: string): SecureContextOptions {
  const range = parseProtocols(options.protocols || 'secure', `${prefix}_protocols`);
  const curve = options.ecdhCurve || 'auto';
  return {
    ...range,
    secureOptions: range.secureOptions | alwaysOff,
    honorCipherOrder: true,
    ciphers: cipherList(options, curve),
    ...(curve === 'none' ? {} : { ecdhCurve: curve }),
    ...((options.dheParams || 'auto') === 'none' ? {} : { dhparam: 'auto' }),
  };
}

/**
 * One list for both, as node:tls takes it. It must name suites of either kind: with none for TLS 1.3 node turns
 * TLS 1.3 off, and with none for TLS 1.2 that.
 */
function cipherList(options: TlsOptions, curve: string): string {
  const wanted = options.ciphers || 'default';
  const older = cipherWords.get(wanted.toLowerCase()) ?? wanted;
  const chosen = older === '' ? DEFAULT_CIPHERS.split(':').filter((suite) => !suite.startsWith('TLS_')) : [older];
  const withoutCurves = curve === 'none' ? ['!kECDHE'] : [];
  return [options.tls13Ciphers || tls13Default, ...chosen, ...withoutCurves].join(':');
}

const protocolsHint = 'Use secure, all, or a comma list of tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3.';
