// Reads what an auth_file or an auth_query says about a user: a password, an md5 hash or a SCRAM verifier.

import { Secret } from '../util/index.js';
import { scramIterationsMax, scramSaltBytesMax } from './limits.js';
import { ScramVerifier, scramKeyBytes } from './scram-keys.js';
import { decodeBase64 } from './scram-messages.js';

export type StoredSecret =
  | { readonly kind: 'plain'; readonly password: Secret }
  /** `hash` is `md5` and 32 hexadecimal digits. */
  | { readonly kind: 'md5'; readonly hash: Secret }
  | { readonly kind: 'scram'; readonly verifier: ScramVerifier }
  /** The user exists, but no password will do. */
  | { readonly kind: 'none'; readonly reason: string };

const md5Form = /^md5[0-9a-f]{32}$/;
const scramForm = /^SCRAM-SHA-256\$([1-9][0-9]{0,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/;

/**
 * `null` is auth_query's «exists, has no password»; an empty password never logs in, as in PgBouncer and PostgreSQL.
 * A damaged verifier is nobody's password: taken for one, the text in the file would itself log in.
 */
export function parseStoredSecret(text: string | null): StoredSecret {
  if (text === null || text === '') return { kind: 'none', reason: 'no password is stored' };
  if (md5Form.test(text)) return { kind: 'md5', hash: new Secret(text) };
  if (!text.startsWith('SCRAM-SHA-256$')) return { kind: 'plain', password: new Secret(text) };
  const verifier = parseScramVerifier(text);
  return verifier === undefined
    ? { kind: 'none', reason: 'the stored SCRAM secret is damaged or over a limit' }
    : { kind: 'scram', verifier };
}

function parseScramVerifier(text: string): ScramVerifier | undefined {
  const match = scramForm.exec(text);
  if (match === null) return undefined;
  const [, iterationsText = '', saltText = '', storedKeyText = '', serverKeyText = ''] = match;
  const iterations = Number(iterationsText);
  const salt = decodeBase64(saltText, scramSaltBytesMax);
  const storedKey = decodeBase64(storedKeyText, scramKeyBytes);
  const serverKey = decodeBase64(serverKeyText, scramKeyBytes);
  if (salt === undefined || storedKey?.length !== scramKeyBytes || serverKey?.length !== scramKeyBytes)
    return undefined;
  if (iterations > scramIterationsMax) return undefined;
  return new ScramVerifier({ salt, iterations }, storedKey, serverKey);
}
