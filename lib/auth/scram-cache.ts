// Keeps derived SCRAM keys, so that PBKDF2 runs once per user and secret rather than once per login.

import { timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Secret } from '../util/index.js';
import { mockDerivationsMax, scramIterationsDefault, scramKeyEntriesMax, scramSaltBytes } from './limits.js';
import { deriveScramKeys, hmac, type ScramKeys, type ScramParameters, ScramVerifier } from './scram-keys.js';

export interface ScramKeyCacheOptions {
  /** Random, per process: under it the cache recognises a password without keeping it. */
  readonly secret: Buffer;
  readonly entriesMax?: number;
}

interface Entry {
  readonly fingerprint: Buffer;
  readonly keys: ScramKeys;
}

/** By (user, salt, iterations); an entry made from another password is not found. */
export class ScramKeyCache {
  readonly #secret: Buffer;
  readonly #entries: LRUCache<string, Entry>;
  /** As many as there are logins under way, which the caller bounds. */
  readonly #underWay = new Map<string, Promise<ScramKeys>>();

  constructor(options: ScramKeyCacheOptions) {
    this.#secret = options.secret;
    this.#entries = new LRUCache({ max: options.entriesMax ?? scramKeyEntriesMax });
  }

  get size(): number {
    return this.#entries.size;
  }

  find(user: string, password: Secret | Buffer, parameters: ScramParameters): ScramKeys | undefined {
    const entry = this.#entries.get(entryName(user, parameters));
    if (entry === undefined) return undefined;
    return timingSafeEqual(entry.fingerprint, this.#fingerprint(password)) ? entry.keys : undefined;
  }

  remember(user: string, password: Secret | Buffer, keys: ScramKeys): void {
    this.#entries.set(entryName(user, keys), { fingerprint: this.#fingerprint(password), keys });
  }

  /** Derives, once for all who ask meanwhile, and remembers. For passwords weir was given, not for guesses. */
  derive(user: string, password: Secret, parameters: ScramParameters): Promise<ScramKeys> {
    const cached = this.find(user, password, parameters);
    if (cached !== undefined) return Promise.resolve(cached);
    const name = `${this.#fingerprint(password).toString('base64')}:${entryName(user, parameters)}`;
    const running = this.#underWay.get(name);
    if (running !== undefined) return running;
    const derived = this.#deriveNew(user, password, parameters).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, derived);
    return derived;
  }

  async #deriveNew(user: string, password: Secret, parameters: ScramParameters): Promise<ScramKeys> {
    const keys = await deriveScramKeys(password.reveal(), parameters);
    this.remember(user, password, keys);
    return keys;
  }

  #fingerprint(password: Secret | Buffer): Buffer {
    return hmac(this.#secret, Buffer.isBuffer(password) ? password : password.reveal());
  }
}

export interface ScramVerifiersOptions {
  /** Random; give all processes behind one address the same, or a user's salt differs between them. */
  readonly secret: Buffer;
  readonly keyCache: ScramKeyCache;
  /** `scram_iterations`. */
  readonly iterations?: number;
}

/**
 * Verifiers for users of whom weir has a plain password, or nothing. Both get their salt from the same function, so
 * that it does not tell them apart, nor changes from one attempt to the next.
 */
export class ScramVerifiers {
  readonly #secret: Buffer;
  readonly #keyCache: ScramKeyCache;
  readonly #iterations: number;
  #mockDerivations = 0;

  constructor(options: ScramVerifiersOptions) {
    this.#secret = options.secret;
    this.#keyCache = options.keyCache;
    this.#iterations = options.iterations ?? scramIterationsDefault;
  }

  async forPlain(user: string, password: Secret): Promise<ScramVerifier> {
    return (await this.#keyCache.derive(user, password, this.#parameters(user))).verifier();
  }

  /** For an unknown user where known ones have stored verifiers: made without PBKDF2, as theirs are. */
  forUnknown(user: string): ScramVerifier {
    return new ScramVerifier(this.#parameters(user), this.#pseudo('stored', user), this.#pseudo('server', user));
  }

  /**
   * For an unknown user where known ones have plain passwords: their first login derives, so this one does too.
   * Nothing is kept, so that made-up names push no real user's keys out.
   */
  async forUnknownAmongPlain(user: string): Promise<ScramVerifier> {
    if (this.#mockDerivations >= mockDerivationsMax) return this.forUnknown(user);
    this.#mockDerivations++;
    try {
      await deriveScramKeys(this.#pseudo('password', user), this.#parameters(user));
    } finally {
      this.#mockDerivations--;
    }
    return this.forUnknown(user);
  }

  #parameters(user: string): ScramParameters {
    return { salt: this.#pseudo('salt', user).subarray(0, scramSaltBytes), iterations: this.#iterations };
  }

  #pseudo(purpose: string, user: string): Buffer {
    return hmac(this.#secret, `${purpose}:${user}`);
  }
}

function entryName(user: string, parameters: ScramParameters): string {
  return `${parameters.iterations}:${parameters.salt.toString('base64')}:${user}`;
}
