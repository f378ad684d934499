// The arithmetic of RFC 5802 with SHA-256: derived keys, the verifier a server stores, signatures and proofs.

import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { preparePassword } from './prepare-password.js';

/** SHA-256 output; both keys and both signatures have this size. */
export const scramKeyBytes = 32;

const pbkdf2Async = promisify(pbkdf2);

/** What a verifier was made with. Two secrets are interchangeable only if these are equal too. */
export interface ScramParameters {
  readonly salt: Buffer;
  readonly iterations: number;
}

/** What logs in without the password: ClientKey proves, ServerKey checks the server. Prints as nothing. */
export class ScramKeys implements ScramParameters {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly #clientKey: Buffer;
  readonly #serverKey: Buffer;

  constructor(parameters: ScramParameters, clientKey: Buffer, serverKey: Buffer) {
    this.salt = parameters.salt;
    this.iterations = parameters.iterations;
    this.#clientKey = clientKey;
    this.#serverKey = serverKey;
  }

  clientKey(): Buffer {
    return this.#clientKey;
  }

  serverKey(): Buffer {
    return this.#serverKey;
  }

  verifier(): ScramVerifier {
    return new ScramVerifier(this, sha256(this.#clientKey), this.#serverKey);
  }
}

/** What a server stores: enough to check a client and to prove itself, not enough to log in. Prints as nothing. */
export class ScramVerifier implements ScramParameters {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly #storedKey: Buffer;
  readonly #serverKey: Buffer;

  constructor(parameters: ScramParameters, storedKey: Buffer, serverKey: Buffer) {
    this.salt = parameters.salt;
    this.iterations = parameters.iterations;
    this.#storedKey = storedKey;
    this.#serverKey = serverKey;
  }

  storedKey(): Buffer {
    return this.#storedKey;
  }

  serverKey(): Buffer {
    return this.#serverKey;
  }

  /** In constant time: whether `keys` are those this verifier was made from. */
  matches(keys: ScramKeys): boolean {
    return timingSafeEqual(sha256(keys.clientKey()), this.#storedKey);
  }

  /** The form of pg_authid.rolpassword. A secret: only for storing. */
  reveal(): string {
    const encode = (bytes: Buffer): string => bytes.toString('base64');
    return `SCRAM-SHA-256$${this.iterations}:${encode(this.salt)}$${encode(this.#storedKey)}:${encode(this.#serverKey)}`;
  }
}

/** PBKDF2 in the thread pool, about 0.33 ms per 1000 iterations; the event loop goes on meanwhile. */
export async function deriveScramKeys(password: string | Buffer, parameters: ScramParameters): Promise<ScramKeys> {
  const { salt, iterations } = parameters;
  const salted = await pbkdf2Async(preparePassword(password), salt, iterations, scramKeyBytes, 'sha256');
  return new ScramKeys(parameters, hmac(salted, 'Client Key'), hmac(salted, 'Server Key'));
}

/** A verifier as `ALTER ROLE ... PASSWORD` would store it. */
export async function buildScramVerifier(
  password: string | Buffer,
  iterations: number,
  salt: Buffer,
): Promise<ScramVerifier> {
  return (await deriveScramKeys(password, { salt, iterations })).verifier();
}

export function sameParameters(a: ScramParameters, b: ScramParameters): boolean {
  return a.iterations === b.iterations && a.salt.equals(b.salt);
}

/** ClientSignature or ServerSignature. The messages are Latin-1 strings, one character a byte. */
export function scramSignature(key: Buffer, authMessage: string): Buffer {
  return createHmac('sha256', key).update(authMessage, 'latin1').digest();
}

/** Proof from key and signature, and key from proof and signature. */
export function xorKeys(a: Buffer, b: Buffer): Buffer {
  const out = Buffer.alloc(scramKeyBytes);
  for (let i = 0; i < scramKeyBytes; i++) out[i] = (a[i] ?? 0) ^ (b[i] ?? 0);
  return out;
}

export function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

export function hmac(key: Buffer, text: string | Buffer): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
