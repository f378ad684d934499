// Two tables: how a client must prove itself given auth_type and its stored secret, and how weir answers a server.

import type { Secret } from '../util/index.js';
import {
  type AuthFailure,
  certificateFailure,
  loginRejected,
  noSuchUser,
  saslFailure,
  serverLoginFailure,
  tlsRequired,
} from './auth-failure.js';
import type { ScramKeys } from './scram-keys.js';
import type { ScramMechanism } from './scram-server.js';
import type { StoredSecret } from './stored-secret.js';

/** PgBouncer's `auth_type`, `scram-sha-256-plus` (channel binding is a must) and hba's `reject`. */
export type AuthType = 'trust' | 'any' | 'plain' | 'md5' | 'scram-sha-256' | 'scram-sha-256-plus' | 'cert' | 'reject';

export interface LoginChannel {
  /** `bindable`: over TLS, with a certificate that has `tls-server-end-point` data. */
  readonly tls: 'off' | 'unbindable' | 'bindable';
  /** What an unknown user meets under auth_type md5; set it to what most known users would meet. Default md5. */
  readonly unknownAs?: 'md5' | 'scram';
}

/** `mockReason`: carry the exchange out to its end, then fail; it says why, for the log. */
export type Mechanism =
  | { readonly kind: 'open' }
  | { readonly kind: 'password'; readonly mockReason: string | undefined }
  | { readonly kind: 'md5'; readonly mockReason: string | undefined }
  | { readonly kind: 'scram'; readonly offer: readonly ScramMechanism[]; readonly mockReason: string | undefined }
  | { readonly kind: 'certificate'; readonly mockReason: string | undefined }
  | { readonly kind: 'refused'; readonly failure: AuthFailure };

type Row = Readonly<Record<StoredSecret['kind'] | 'unknown', Cell>>;
type Cell =
  | 'open'
  | 'password'
  | 'md5'
  | 'scram'
  | 'scram-bound'
  | 'certificate'
  | 'mock password'
  | 'mock md5'
  | 'mock scram'
  | 'mock scram-bound'
  | 'mock certificate'
  | 'mock as others'
  | 'no such user'
  | 'rejected';

// PgBouncer's rules, and PostgreSQL's where PgBouncer shows whether a user exists (an md5 secret under scram-sha-256).
const table: Readonly<Record<AuthType, Row>> = {
  trust: { plain: 'open', md5: 'open', scram: 'open', none: 'open', unknown: 'no such user' },
  any: { plain: 'open', md5: 'open', scram: 'open', none: 'open', unknown: 'open' },
  plain: { plain: 'password', md5: 'password', scram: 'password', none: 'mock password', unknown: 'mock password' },
  md5: { plain: 'md5', md5: 'md5', scram: 'scram', none: 'mock as others', unknown: 'mock as others' },
  'scram-sha-256': {
    plain: 'scram',
    md5: 'mock scram',
    scram: 'scram',
    none: 'mock scram',
    unknown: 'mock scram',
  },
  'scram-sha-256-plus': {
    plain: 'scram-bound',
    md5: 'mock scram-bound',
    scram: 'scram-bound',
    none: 'mock scram-bound',
    unknown: 'mock scram-bound',
  },
  cert: {
    plain: 'certificate',
    md5: 'certificate',
    scram: 'certificate',
    none: 'certificate',
    unknown: 'mock certificate',
  },
  reject: { plain: 'rejected', md5: 'rejected', scram: 'rejected', none: 'rejected', unknown: 'rejected' },
};

/** @param secret undefined for an unknown user */
export function chooseMechanism(
  authType: AuthType,
  secret: StoredSecret | undefined,
  channel: LoginChannel,
): Mechanism {
  const cell = table[authType][secret?.kind ?? 'unknown'];
  const mockReason = whyMock(secret);
  switch (cell) {
    case 'open':
      return { kind: 'open' };
    case 'password':
    case 'md5':
      return { kind: cell, mockReason: undefined };
    case 'scram':
      return scram(channel, undefined);
    case 'scram-bound':
      return boundScram(channel, undefined);
    case 'certificate':
      return certificate(channel, undefined);
    case 'mock password':
      return { kind: 'password', mockReason };
    case 'mock md5':
      return { kind: 'md5', mockReason };
    case 'mock scram':
      return scram(channel, mockReason);
    case 'mock scram-bound':
      return boundScram(channel, mockReason);
    case 'mock certificate':
      return certificate(channel, mockReason);
    case 'mock as others':
      return channel.unknownAs === 'scram' ? scram(channel, mockReason) : { kind: 'md5', mockReason };
    case 'no such user':
      return { kind: 'refused', failure: noSuchUser() };
    case 'rejected':
      return { kind: 'refused', failure: loginRejected('rejected by configuration') };
    default:
      return cell satisfies never;
  }
}

function whyMock(secret: StoredSecret | undefined): string {
  if (secret === undefined) return 'no such user';
  if (secret.kind === 'none') return secret.reason;
  return `the stored secret is ${secret.kind}, which this auth_type cannot check`;
}

function scram(channel: LoginChannel, mockReason: string | undefined): Mechanism {
  const offer: ScramMechanism[] = ['SCRAM-SHA-256'];
  if (channel.tls === 'bindable') offer.unshift('SCRAM-SHA-256-PLUS');
  return { kind: 'scram', offer, mockReason };
}

function boundScram(channel: LoginChannel, mockReason: string | undefined): Mechanism {
  if (channel.tls === 'bindable') return { kind: 'scram', offer: ['SCRAM-SHA-256-PLUS'], mockReason };
  const failure =
    channel.tls === 'off'
      ? tlsRequired('channel binding needs TLS')
      : saslFailure('our certificate has no channel binding data: sign it with RSA or ECDSA');
  return { kind: 'refused', failure };
}

function certificate(channel: LoginChannel, mockReason: string | undefined): Mechanism {
  if (channel.tls !== 'off') return { kind: 'certificate', mockReason };
  return { kind: 'refused', failure: certificateFailure('TLS connection required') };
}

/** What weir may have for logging in to a server. */
export type ServerCredential =
  | { readonly kind: 'plain'; readonly password: Secret }
  | { readonly kind: 'md5'; readonly hash: Secret }
  | { readonly kind: 'scram-keys'; readonly keys: ScramKeys }
  /** A verifier alone checks logins; it cannot make one. */
  | { readonly kind: 'scram-verifier' }
  | { readonly kind: 'none' };

/** AuthenticationCleartextPassword, AuthenticationMD5Password, AuthenticationSASL. */
export type ServerRequest = 'cleartext' | 'md5' | 'sasl';

export type ServerAnswer =
  | { readonly kind: 'send-password' | 'send-md5' | 'start-scram' }
  | { readonly kind: 'refused'; readonly failure: AuthFailure };

const copyHint = 'Store the password itself, or the same SCRAM secret as the server and let clients log in by SCRAM.';
const plainHint = 'Store the password itself for this user, or change the method in pg_hba.conf to scram-sha-256.';
const noneHint = 'Add the user to auth_file, or set password in the database entry.';

const answers: Readonly<Record<ServerCredential['kind'], Readonly<Record<ServerRequest, ServerAnswer['kind']>>>> = {
  plain: { cleartext: 'send-password', md5: 'send-md5', sasl: 'start-scram' },
  md5: { cleartext: 'refused', md5: 'send-md5', sasl: 'refused' },
  'scram-keys': { cleartext: 'refused', md5: 'refused', sasl: 'start-scram' },
  'scram-verifier': { cleartext: 'refused', md5: 'refused', sasl: 'refused' },
  none: { cleartext: 'refused', md5: 'refused', sasl: 'refused' },
};

export function chooseServerAnswer(request: ServerRequest, credential: ServerCredential): ServerAnswer {
  const kind = answers[credential.kind][request];
  return kind === 'refused' ? { kind, failure: whyRefused(request, credential.kind) } : { kind };
}

function whyRefused(request: ServerRequest, has: ServerCredential['kind']): AuthFailure {
  switch (has) {
    case 'none':
      return serverLoginFailure('the server wants a password and none is known', noneHint);
    case 'md5':
      return serverLoginFailure(`the server asks for ${request}, but only an md5 secret is known`, plainHint);
    case 'scram-keys':
      return serverLoginFailure(`the server asks for ${request}, but only a SCRAM secret is known`, plainHint);
    case 'scram-verifier':
      return serverLoginFailure(
        'password is SCRAM secret but client authentication did not provide SCRAM keys',
        copyHint,
      );
    case 'plain':
      return serverLoginFailure(`the server asks for ${request}`, plainHint);
    default:
      return has satisfies never;
  }
}
