// Decides whether the name in a verified client certificate is the user who asks to log in.

import { type AuthFailure, certificateFailure } from './auth-failure.js';

/** X.520's ub-common-name; user names are at most 63 bytes anyway. */
const commonNameLengthMax = 64;

/** Control characters, NUL first of all: the classic way to make two readers see two names in one certificate. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being refused
const odd = /[\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffd]/;

/** Undefined if `commonName` is `user`, byte for byte: no folding, no wildcards. */
export function matchCertificate(commonName: string | undefined, user: string): AuthFailure | undefined {
  if (commonName === undefined || commonName === '') return certificateFailure('the certificate has no single CN');
  if (commonName.length > commonNameLengthMax) return certificateFailure('the CN of the certificate is too long');
  if (odd.test(commonName)) return certificateFailure('the CN of the certificate has characters no user name has');
  return commonName === user ? undefined : certificateFailure('the CN of the certificate is not the user name');
}
