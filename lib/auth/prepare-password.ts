// Turns a password into the bytes that SCRAM hashes: SASLprep, or the bytes as they are when SASLprep refuses them.

import { isAscii, isUtf8 } from 'node:buffer';
import { saslprep } from '@mongodb-js/saslprep';

/**
 * As PostgreSQL does: text that is not UTF-8, or that RFC 4013 prohibits, is hashed unprepared, so that any password
 * the server would accept is accepted here.
 */
export function preparePassword(password: string | Buffer): Buffer {
  const raw = typeof password === 'string' ? Buffer.from(password, 'utf8') : password;
  if (isAscii(raw) || !isUtf8(raw)) return raw;
  try {
    const prepared = saslprep(raw.toString('utf8'));
    return prepared.length === 0 ? raw : Buffer.from(prepared, 'utf8');
  } catch {
    return raw;
  }
}
