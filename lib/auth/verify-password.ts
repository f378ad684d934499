// Checks a password sent in the clear against whatever is stored: a password, an md5 hash or a SCRAM verifier.

import { timingSafeEqual } from 'node:crypto';
import { type AuthFailure, passwordFailure, passwordTooLong } from './auth-failure.js';
import { passwordBytesMax } from './limits.js';
import { md5Hash } from './md5.js';
import type { ScramKeyCache } from './scram-cache.js';
import { deriveScramKeys, type ScramKeys, type ScramVerifier, sha256 } from './scram-keys.js';
import type { StoredSecret } from './stored-secret.js';

export type PasswordVerdict =
  /** `keys` are there if a SCRAM verifier was stored: they log in to a server that has the same one. */
  | { readonly kind: 'accepted'; readonly keys: ScramKeys | undefined }
  | { readonly kind: 'rejected'; readonly failure: AuthFailure };

/**
 * @param secret undefined for an unknown user; give the verifier of `ScramVerifiers.forUnknown` instead where known
 * users have verifiers, so that both take as long
 * @param password without the closing zero
 */
export async function verifyPassword(
  secret: StoredSecret | undefined,
  user: string,
  password: Buffer,
  keyCache: ScramKeyCache,
): Promise<PasswordVerdict> {
  if (password.length > passwordBytesMax) return { kind: 'rejected', failure: passwordTooLong() };
  if (password.length === 0) return rejected('empty password returned by client');
  switch (secret?.kind) {
    case 'plain':
      return verdict(equalDigests(Buffer.from(secret.password.reveal(), 'utf8'), password));
    case 'md5':
      return verdict(equalDigests(Buffer.from(secret.hash.reveal()), Buffer.from(md5Hash(user, password).reveal())));
    case 'scram':
      return verifyAgainstScram(secret.verifier, user, password, keyCache);
    case 'none':
    case undefined:
      equalDigests(password, password);
      return rejected(secret?.reason ?? 'no such user');
    default:
      return secret satisfies never;
  }
}

/** Only right passwords enter the cache: guesses would push out what is worth keeping. */
async function verifyAgainstScram(
  verifier: ScramVerifier,
  user: string,
  password: Buffer,
  keyCache: ScramKeyCache,
): Promise<PasswordVerdict> {
  const cached = keyCache.find(user, password, verifier);
  const keys = cached ?? (await deriveScramKeys(password, verifier));
  if (!verifier.matches(keys)) return rejected('wrong password');
  if (cached === undefined) keyCache.remember(user, password, keys);
  return { kind: 'accepted', keys };
}

/** Digests have one length whatever was sent, so neither content nor length shows in the time taken. */
function equalDigests(a: Buffer, b: Buffer): boolean {
  return timingSafeEqual(sha256(a), sha256(b));
}

function verdict(accepted: boolean): PasswordVerdict {
  return accepted ? { kind: 'accepted', keys: undefined } : rejected('wrong password');
}

function rejected(reason: string): PasswordVerdict {
  return { kind: 'rejected', failure: passwordFailure(reason) };
}
