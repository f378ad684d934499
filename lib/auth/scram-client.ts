// The client's half of SCRAM-SHA-256(-PLUS): weir proves itself to a server and makes the server prove itself.

import { timingSafeEqual } from 'node:crypto';
import type { Secret } from '../util/index.js';
import { type AuthFailure, serverLoginFailure, serverSaslFailure } from './auth-failure.js';
import { scramIterationsMax, scramNonceBytes, scramSaltBytesMax, scramServerMessageBytesMax } from './limits.js';
import type { ScramKeyCache } from './scram-cache.js';
import { type ScramKeys, sameParameters, scramKeyBytes, scramSignature, sha256, xorKeys } from './scram-keys.js';
import { decodeBase64, parseServerFinal, parseServerFirst, type ServerFirst } from './scram-messages.js';
import { channelBindingType, type RandomBytes, type ScramMechanism } from './scram-server.js';

export type ScramCredentials =
  | { readonly kind: 'password'; readonly user: string; readonly password: Secret }
  /** Pass-through: keys caught when the client logged in. Good only for the salt and iterations they were made with. */
  | { readonly kind: 'keys'; readonly keys: ScramKeys };

export interface ScramClientOptions {
  readonly credentials: ScramCredentials;
  /** As received in AuthenticationSASL; unknown names are skipped. */
  readonly offered: readonly string[];
  /** `tls-server-end-point` data of the server's certificate; undefined without TLS or if it has none. */
  readonly channelBinding?: Buffer;
  /** libpq's words: `require` refuses a server that cannot bind, `disable` never binds. */
  readonly bindingMode: 'disable' | 'prefer' | 'require';
  readonly keyCache: ScramKeyCache;
  readonly random: RandomBytes;
}

export type ScramClientStep =
  /** Send SASLInitialResponse. */
  | { readonly kind: 'initial'; readonly mechanism: ScramMechanism; readonly send: Buffer }
  /** Send SASLResponse. */
  | { readonly kind: 'response'; readonly send: Buffer }
  /** The keys are being derived off the event loop; `next` is the step to take then. It never rejects. */
  | { readonly kind: 'deriving'; readonly next: Promise<ScramClientStep> }
  /** The server has proved that it knows the secret. Only now may an AuthenticationOk be believed. */
  | { readonly kind: 'verified' }
  | { readonly kind: 'failed'; readonly failure: AuthFailure };

interface Opening {
  readonly gs2Header: string;
  readonly bare: string;
  readonly nonce: string;
  readonly boundTo: Buffer | undefined;
}

type State =
  | { readonly kind: 'start' }
  | { readonly kind: 'awaiting-first'; readonly opening: Opening }
  | { readonly kind: 'deriving' }
  | { readonly kind: 'awaiting-final'; readonly serverSignature: Buffer }
  | { readonly kind: 'over' };

export class ScramClient {
  readonly #options: ScramClientOptions;
  #state: State = { kind: 'start' };

  constructor(options: ScramClientOptions) {
    this.#options = options;
  }

  /** Chooses the mechanism and opens the exchange. */
  start(): ScramClientStep {
    if (this.#state.kind !== 'start') return this.#fail(serverSaslFailure('SASL was started twice'));
    const choice = this.#choose();
    if (choice.kind === 'failed') return this.#fail(choice.failure);
    const { mechanism, gs2Header, boundTo } = choice;
    const nonce = this.#options.random(scramNonceBytes).toString('base64');
    // The name stays empty as libpq's does: PostgreSQL takes it from the startup packet.
    const bare = `n=,r=${nonce}`;
    this.#state = { kind: 'awaiting-first', opening: { gs2Header, bare, nonce, boundTo } };
    return { kind: 'initial', mechanism, send: Buffer.from(gs2Header + bare, 'latin1') };
  }

  /** Takes the payload of AuthenticationSASLContinue or AuthenticationSASLFinal. */
  step(message: Buffer): ScramClientStep {
    if (message.length > scramServerMessageBytesMax) return this.#fail(serverSaslFailure('SASL message too long'));
    const text = message.toString('latin1');
    switch (this.#state.kind) {
      case 'awaiting-first':
        return this.#first(text, this.#state.opening);
      case 'awaiting-final':
        return this.#final(text, this.#state.serverSignature);
      case 'start':
      case 'deriving':
      case 'over':
        return this.#fail(serverSaslFailure('unexpected SASL message'));
      default:
        return this.#state satisfies never;
    }
  }

  #choose():
    | { kind: 'chosen'; mechanism: ScramMechanism; gs2Header: string; boundTo: Buffer | undefined }
    | { kind: 'failed'; failure: AuthFailure } {
    const { offered, bindingMode } = this.#options;
    const boundTo = bindingMode === 'disable' ? undefined : this.#options.channelBinding;
    if (boundTo !== undefined && offered.includes('SCRAM-SHA-256-PLUS')) {
      return { kind: 'chosen', mechanism: 'SCRAM-SHA-256-PLUS', gs2Header: `p=${channelBindingType},,`, boundTo };
    }
    if (bindingMode === 'require') {
      return {
        kind: 'failed',
        failure: serverLoginFailure('channel binding is required but not possible', bindingHint),
      };
    }
    if (!offered.includes('SCRAM-SHA-256')) {
      return { kind: 'failed', failure: serverLoginFailure('no SASL mechanism offered is supported', mechanismHint) };
    }
    // `y` lets the server notice that someone took -PLUS out of its offer (RFC 5802 §6).
    const gs2Header = boundTo === undefined ? 'n,,' : 'y,,';
    return { kind: 'chosen', mechanism: 'SCRAM-SHA-256', gs2Header, boundTo: undefined };
  }

  #first(text: string, opening: Opening): ScramClientStep {
    const first = parseServerFirst(text, scramSaltBytesMax);
    if (first.kind !== 'server-first') return this.#fail(serverSaslFailure(first.reason));
    if (!first.nonce.startsWith(opening.nonce) || first.nonce.length === opening.nonce.length) {
      return this.#fail(serverSaslFailure('the nonce does not match'));
    }
    if (first.iterations > scramIterationsMax) {
      return this.#fail(serverSaslFailure(`iteration count above ${scramIterationsMax}`));
    }
    const { credentials, keyCache } = this.#options;
    if (credentials.kind === 'keys') return this.#withKeys(credentials.keys, first, text, opening);
    const cached = keyCache.find(credentials.user, credentials.password, first);
    if (cached !== undefined) return this.#respond(cached, first, text, opening);
    this.#state = { kind: 'deriving' };
    const derived = keyCache.derive(credentials.user, credentials.password, first);
    const next = derived.then(
      (keys) => this.#resume(keys, first, text, opening),
      () => this.#fail(serverSaslFailure('key derivation failed')),
    );
    return { kind: 'deriving', next };
  }

  /** A message that came while keys were being derived has ended the exchange; keys do not revive it. */
  #resume(keys: ScramKeys, first: ServerFirst, text: string, opening: Opening): ScramClientStep {
    if (this.#state.kind !== 'deriving') return this.#fail(serverSaslFailure('unexpected SASL message'));
    return this.#respond(keys, first, text, opening);
  }

  #withKeys(keys: ScramKeys, first: ServerFirst, text: string, opening: Opening): ScramClientStep {
    if (sameParameters(keys, first)) return this.#respond(keys, first, text, opening);
    return this.#fail(serverLoginFailure('the stored SCRAM secret is not the one the server has', parametersHint));
  }

  #respond(keys: ScramKeys, first: ServerFirst, serverFirst: string, opening: Opening): ScramClientStep {
    const header = Buffer.from(opening.gs2Header, 'latin1');
    const binding = opening.boundTo === undefined ? header : Buffer.concat([header, opening.boundTo]);
    const withoutProof = `c=${binding.toString('base64')},r=${first.nonce}`;
    const authMessage = `${opening.bare},${serverFirst},${withoutProof}`;
    const clientSignature = scramSignature(sha256(keys.clientKey()), authMessage);
    const proof = xorKeys(keys.clientKey(), clientSignature).toString('base64');
    this.#state = { kind: 'awaiting-final', serverSignature: scramSignature(keys.serverKey(), authMessage) };
    return { kind: 'response', send: Buffer.from(`${withoutProof},p=${proof}`, 'latin1') };
  }

  #final(text: string, serverSignature: Buffer): ScramClientStep {
    const final = parseServerFinal(text);
    if (final.kind === 'server-error') return this.#fail(serverSaslFailure(`the server refused: ${final.text}`));
    if (final.kind !== 'server-final') return this.#fail(serverSaslFailure(final.reason));
    const signature = decodeBase64(final.signature, scramKeyBytes);
    if (signature?.length !== scramKeyBytes || !timingSafeEqual(signature, serverSignature)) {
      return this.#fail(serverSaslFailure('the server could not prove that it knows the password'));
    }
    this.#state = { kind: 'over' };
    return { kind: 'verified' };
  }

  #fail(failure: AuthFailure): ScramClientStep {
    this.#state = { kind: 'over' };
    return { kind: 'failed', failure };
  }
}

const bindingHint = 'Use TLS to a server whose certificate is signed with RSA or ECDSA, or relax channel binding.';
const mechanismHint = 'Weir speaks SCRAM-SHA-256 and SCRAM-SHA-256-PLUS; change the method in pg_hba.conf.';
const parametersHint =
  'Salt and iterations must be equal on both sides: copy the secret from pg_authid, or use auth_query.';
