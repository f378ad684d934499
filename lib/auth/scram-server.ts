// The server's half of SCRAM-SHA-256(-PLUS), RFC 5802 and 7677: two messages in, two out, no I/O, no throw.

import { timingSafeEqual } from 'node:crypto';
import { assert } from '../util/index.js';
import {
  type AuthFailure,
  channelBindingFailure,
  saslFailure,
  saslMalformed,
  saslUnsupported,
} from './auth-failure.js';
import { scramClientMessageBytesMax, scramNonceBytes } from './limits.js';
import { ScramKeys, type ScramVerifier, scramKeyBytes, scramSignature, sha256, xorKeys } from './scram-keys.js';
import {
  type ClientFinal,
  type ClientFirst,
  decodeBase64,
  parseClientFinal,
  parseClientFirst,
  type Refusal,
} from './scram-messages.js';

export type ScramMechanism = 'SCRAM-SHA-256' | 'SCRAM-SHA-256-PLUS';

/** The only binding type PostgreSQL knows (RFC 5929 §4). */
export const channelBindingType = 'tls-server-end-point';

export type RandomBytes = (size: number) => Buffer;

export interface ScramServerOptions {
  readonly verifier: ScramVerifier;
  /** As sent in AuthenticationSASL. */
  readonly mechanisms: readonly ScramMechanism[];
  /** `tls-server-end-point` data of our certificate; must be there if a -PLUS mechanism is offered. */
  readonly channelBinding?: Buffer;
  /** Set for a user who cannot log in: every step is done, the proof fails, and this goes to the log. */
  readonly mockReason?: string;
  readonly random: RandomBytes;
}

export type ScramServerStep =
  /** Send AuthenticationSASLContinue, wait for a SASLResponse. */
  | { readonly kind: 'continue'; readonly send: Buffer }
  /** Send AuthenticationSASLFinal and AuthenticationOk. `keys` can log in to a server with the same verifier. */
  | { readonly kind: 'done'; readonly send: Buffer; readonly keys: ScramKeys }
  | { readonly kind: 'failed'; readonly failure: AuthFailure };

type State =
  | { readonly kind: 'start' }
  | { readonly kind: 'awaiting-first'; readonly mechanism: ScramMechanism }
  | {
      readonly kind: 'awaiting-final';
      readonly first: ClientFirst;
      readonly serverFirst: string;
      readonly nonce: string;
    }
  | { readonly kind: 'over' };

export class ScramServer {
  readonly #options: ScramServerOptions;
  #state: State = { kind: 'start' };

  constructor(options: ScramServerOptions) {
    const offersBinding = options.mechanisms.includes('SCRAM-SHA-256-PLUS');
    assert(!offersBinding || options.channelBinding !== undefined, 'a -PLUS mechanism is offered with binding data');
    this.#options = options;
  }

  /** Takes SASLInitialResponse; `initial` is undefined if the client sent the mechanism alone. */
  start(mechanism: string, initial: Buffer | undefined): ScramServerStep {
    if (this.#state.kind !== 'start') return this.#fail(saslMalformed('a second SASLInitialResponse'));
    const chosen = this.#options.mechanisms.find((offered) => offered === mechanism);
    if (chosen === undefined) {
      return this.#fail(saslMalformed('client selected an invalid SASL authentication mechanism'));
    }
    this.#state = { kind: 'awaiting-first', mechanism: chosen };
    return initial === undefined ? { kind: 'continue', send: Buffer.alloc(0) } : this.step(initial);
  }

  /** Takes SASLResponse. After `done` or `failed` every further message fails. */
  step(message: Buffer): ScramServerStep {
    if (message.length > scramClientMessageBytesMax) return this.#fail(saslMalformed('SASL message too long'));
    const text = message.toString('latin1');
    switch (this.#state.kind) {
      case 'start':
        return this.#fail(saslMalformed('SASLResponse before SASLInitialResponse'));
      case 'awaiting-first':
        return this.#first(text, this.#state.mechanism);
      case 'awaiting-final':
        return this.#final(text, this.#state);
      case 'over':
        return this.#fail(saslMalformed('SASL message after the end of the exchange'));
      default:
        return this.#state satisfies never;
    }
  }

  #first(text: string, mechanism: ScramMechanism): ScramServerStep {
    const first = parseClientFirst(text);
    if (first.kind !== 'client-first') return this.#fail(refusalFailure(first));
    const failure = this.#checkBindingFlag(first, mechanism);
    if (failure !== undefined) return this.#fail(failure);
    const { verifier, random } = this.#options;
    const nonce = first.nonce + random(scramNonceBytes).toString('base64');
    const serverFirst = `r=${nonce},s=${verifier.salt.toString('base64')},i=${verifier.iterations}`;
    this.#state = { kind: 'awaiting-final', first, serverFirst, nonce };
    return { kind: 'continue', send: Buffer.from(serverFirst, 'latin1') };
  }

  /** RFC 5802 §6: who strips -PLUS from our offer is found out by the client's `y`. */
  #checkBindingFlag(first: ClientFirst, mechanism: ScramMechanism): AuthFailure | undefined {
    const bound = mechanism === 'SCRAM-SHA-256-PLUS';
    switch (first.binding.flag) {
      case 'p':
        if (!bound) return saslMalformed('channel binding data with a mechanism that has none');
        if (first.binding.type === channelBindingType) return undefined;
        return saslMalformed('unsupported SCRAM channel-binding type');
      case 'y':
        if (bound) return saslMalformed('SCRAM-SHA-256-PLUS without channel binding data');
        if (!this.#options.mechanisms.includes('SCRAM-SHA-256-PLUS')) return undefined;
        return channelBindingFailure('the client supports SCRAM channel binding but thinks the server does not');
      case 'n':
        return bound ? saslMalformed('SCRAM-SHA-256-PLUS without channel binding data') : undefined;
      default:
        return first.binding satisfies never;
    }
  }

  #final(text: string, state: State & { kind: 'awaiting-final' }): ScramServerStep {
    const final = parseClientFinal(text);
    if (final.kind !== 'client-final') return this.#fail(refusalFailure(final));
    if (final.channelBinding !== this.#expectedBinding(state.first)) {
      return this.#fail(channelBindingFailure('SCRAM channel binding check failed'));
    }
    if (final.nonce !== state.nonce) return this.#fail(saslMalformed('the nonce does not match'));
    const proof = decodeBase64(final.proof, scramKeyBytes);
    if (proof?.length !== scramKeyBytes) return this.#fail(saslMalformed('malformed SCRAM message: malformed proof'));
    return this.#prove(final, proof, state);
  }

  #expectedBinding(first: ClientFirst): string {
    const header = Buffer.from(first.gs2Header, 'latin1');
    const data = first.binding.flag === 'p' ? this.#options.channelBinding : undefined;
    return (data === undefined ? header : Buffer.concat([header, data])).toString('base64');
  }

  /** The same work whoever it is: a mock exchange is told apart only after everything has been computed. */
  #prove(final: ClientFinal, proof: Buffer, state: State & { kind: 'awaiting-final' }): ScramServerStep {
    const { verifier, mockReason } = this.#options;
    const authMessage = `${state.first.bare},${state.serverFirst},${final.withoutProof}`;
    const clientKey = xorKeys(proof, scramSignature(verifier.storedKey(), authMessage));
    const proven = timingSafeEqual(sha256(clientKey), verifier.storedKey());
    const send = Buffer.from(`v=${scramSignature(verifier.serverKey(), authMessage).toString('base64')}`, 'latin1');
    if (!proven || mockReason !== undefined) return this.#fail(saslFailure(mockReason ?? 'the proof does not match'));
    this.#state = { kind: 'over' };
    return { kind: 'done', send, keys: new ScramKeys(verifier, clientKey, verifier.serverKey()) };
  }

  #fail(failure: AuthFailure): ScramServerStep {
    this.#state = { kind: 'over' };
    return { kind: 'failed', failure };
  }
}

function refusalFailure(refusal: Refusal): AuthFailure {
  return refusal.kind === 'malformed' ? saslMalformed(refusal.reason) : saslUnsupported(refusal.reason);
}
