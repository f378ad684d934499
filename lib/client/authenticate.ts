// Makes a client prove who it is, by the method its stored secret and auth_type allow.

import { randomBytes } from 'node:crypto';
import {
  type AuthFailure,
  chooseMechanism,
  type Mechanism,
  matchCertificate,
  md5SaltBytes,
  passwordFailure,
  ScramServer,
  type ScramServerStep,
  type StoredSecret,
  saslFailure,
  verifyMd5Response,
  verifyPassword,
} from '../auth/index.js';
import type { Peer } from '../net/index.js';
import {
  authenticationCleartextPassword,
  authenticationMd5Password,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from '../wire/index.js';
import type { Dialogue } from './dialogue.js';
import type { House } from './house.js';

export type Proof = { readonly kind: 'proved' } | { readonly kind: 'failed'; readonly failure: AuthFailure };

const proved: Proof = { kind: 'proved' };

function settle(failure: AuthFailure | undefined): Proof {
  return failure === undefined ? proved : { kind: 'failed', failure };
}

/** The password of a PasswordMessage without its terminator. */
function passwordOf(body: Buffer): Buffer {
  const end = body.indexOf(0);
  return end < 0 ? body : body.subarray(0, end);
}

export async function authenticate(
  house: House,
  peer: Peer,
  dialogue: Dialogue,
  database: string,
  user: string,
  secret: StoredSecret | undefined,
): Promise<Proof> {
  const binding = house.tls?.channelBinding;
  const mechanism = chooseMechanism(house.config.weir.auth_type, secret, {
    tls: dialogue.tls === undefined ? 'off' : binding === undefined ? 'unbindable' : 'bindable',
    unknownAs: house.commonSecretKind === 'scram' ? 'scram' : 'md5',
  });
  switch (mechanism.kind) {
    case 'open':
      return proved;
    case 'refused':
      return settle(mechanism.failure);
    case 'certificate': {
      const mismatch = matchCertificate(dialogue.tls?.peer?.commonName, user);
      return settle(
        mismatch ?? (mechanism.mockReason === undefined ? undefined : passwordFailure(mechanism.mockReason)),
      );
    }
    case 'password': {
      peer.writeOwned(authenticationCleartextPassword());
      const password = passwordOf(await dialogue.passwordBody());
      const known = secret === undefined || secret.kind === 'none' ? undefined : secret;
      const verdict = await verifyPassword(known, user, password, house.keyCache);
      if (verdict.kind === 'rejected') return settle(verdict.failure);
      if (verdict.keys !== undefined) house.rememberKeys(database, user, verdict.keys);
      return settle(mechanism.mockReason === undefined ? undefined : passwordFailure(mechanism.mockReason));
    }
    case 'md5': {
      const salt = randomBytes(md5SaltBytes);
      peer.writeOwned(authenticationMd5Password(salt));
      const response = passwordOf(await dialogue.passwordBody());
      const known = mechanism.mockReason === undefined ? secret : undefined;
      return settle(verifyMd5Response(known, user, salt, response));
    }
    case 'scram':
      return scram(house, peer, dialogue, database, user, secret, mechanism, binding);
    default:
      return mechanism satisfies never;
  }
}

async function scram(
  house: House,
  peer: Peer,
  dialogue: Dialogue,
  database: string,
  user: string,
  secret: StoredSecret | undefined,
  mechanism: Mechanism & { kind: 'scram' },
  binding: Buffer | undefined,
): Promise<Proof> {
  const verifier =
    secret?.kind === 'scram'
      ? secret.verifier
      : secret?.kind === 'plain'
        ? await house.verifiers.forPlain(user, secret.password)
        : house.commonSecretKind === 'plain'
          ? await house.verifiers.forUnknownAmongPlain(user)
          : house.verifiers.forUnknown(user);
  const server = new ScramServer({
    verifier,
    mechanisms: mechanism.offer,
    ...(binding === undefined || dialogue.tls === undefined ? {} : { channelBinding: binding }),
    ...(mechanism.mockReason === undefined ? {} : { mockReason: mechanism.mockReason }),
    random: randomBytes,
  });
  peer.writeOwned(authenticationSasl(mechanism.offer));
  let step = startScram(server, await dialogue.passwordBody());
  while (step.kind === 'continue') {
    peer.writeOwned(authenticationSaslContinue(step.send));
    step = server.step(Buffer.from(await dialogue.passwordBody()));
  }
  if (step.kind === 'failed') return settle(step.failure);
  peer.writeOwned(authenticationSaslFinal(step.send));
  house.rememberKeys(database, user, step.keys);
  return proved;
}

/** SASLInitialResponse: mechanism, length, payload. */
function startScram(server: ScramServer, body: Buffer): ScramServerStep {
  const nameEnd = body.indexOf(0);
  if (nameEnd < 0 || nameEnd + 5 > body.length) {
    return { kind: 'failed', failure: saslFailure('SASLInitialResponse cannot be read') };
  }
  const length = body.readInt32BE(nameEnd + 1);
  const payload = body.subarray(nameEnd + 5);
  // -1: the mechanism alone.
  if (length === -1 ? payload.length > 0 : length !== payload.length) {
    return { kind: 'failed', failure: saslFailure('SASLInitialResponse has a wrong length') };
  }
  return server.start(body.toString('latin1', 0, nameEnd), length < 0 ? undefined : Buffer.from(payload));
}
