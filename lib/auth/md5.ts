// PostgreSQL's md5 method: the stored hash, the answer to a salt, and both checked in constant time.

import { createHash, timingSafeEqual } from 'node:crypto';
import { Secret } from '../util/index.js';
import { type AuthFailure, passwordFailure } from './auth-failure.js';
import type { StoredSecret } from './stored-secret.js';

/** AuthenticationMD5Password carries this many random bytes. */
export const md5SaltBytes = 4;

/** `md5` and the hash of password and user name, as pg_authid stores it. */
export function md5Hash(user: string, password: Secret | Buffer): Secret {
  const hash = createHash('md5').update(Buffer.isBuffer(password) ? password : password.reveal());
  return new Secret(`md5${hash.update(user).digest('hex')}`);
}

/** What a client answers to `salt`: the payload of PasswordMessage without its closing zero. */
export function md5Response(hash: Secret, salt: Buffer): string {
  return `md5${createHash('md5').update(hash.reveal().slice(3), 'latin1').update(salt).digest('hex')}`;
}

/** `secret` undefined or without a hash is the mock exchange: the same work, and it always fails. */
export function verifyMd5Response(
  secret: StoredSecret | undefined,
  user: string,
  salt: Buffer,
  response: Buffer,
): AuthFailure | undefined {
  const hash = hashOf(secret, user);
  const expected = Buffer.from(md5Response(hash ?? md5Hash(user, mockPassword), salt), 'latin1');
  const equal = response.length === expected.length && timingSafeEqual(response, expected);
  if (hash === undefined) return passwordFailure('no secret that md5 could check');
  return equal ? undefined : passwordFailure('wrong password');
}

const mockPassword = Buffer.from('no such user');

function hashOf(secret: StoredSecret | undefined, user: string): Secret | undefined {
  if (secret?.kind === 'plain') return md5Hash(user, secret.password);
  return secret?.kind === 'md5' ? secret.hash : undefined;
}
