// Takes the four messages of RFC 5802 §7 apart, strictly. Latin-1 strings stand for bytes: one character, one byte.

/** Why a message was refused: bad form, or a feature that nobody here has. */
export interface Refusal {
  readonly kind: 'malformed' | 'unsupported';
  readonly reason: string;
}

export interface ClientFirst {
  readonly kind: 'client-first';
  readonly binding: { readonly flag: 'n' | 'y' } | { readonly flag: 'p'; readonly type: string };
  /** Up to and with the comma before client-first-message-bare; client-final must repeat it. */
  readonly gs2Header: string;
  readonly bare: string;
  readonly nonce: string;
}

export interface ServerFirst {
  readonly kind: 'server-first';
  readonly nonce: string;
  readonly salt: Buffer;
  readonly iterations: number;
}

export interface ClientFinal {
  readonly kind: 'client-final';
  readonly channelBinding: string;
  readonly nonce: string;
  readonly withoutProof: string;
  readonly proof: string;
}

export type ServerFinal =
  | { readonly kind: 'server-final'; readonly signature: string }
  | { readonly kind: 'server-error'; readonly text: string };

const printable = /^[\x21-\x2b\x2d-\x7e]+$/;
const extension = /^[A-Za-z]=[^,\0]+$/;
const iterationCount = /^[1-9][0-9]{0,9}$/;

export function parseClientFirst(text: string): ClientFirst | Refusal {
  const bindingEnd = text.indexOf(',');
  if (bindingEnd < 0) return malformed('gs2 header expected');
  const binding = parseBindingFlag(text.slice(0, bindingEnd));
  if (binding === undefined) return malformed('unexpected channel-binding flag');
  if (text[bindingEnd + 1] === 'a') return unsupported('authorization identities are not supported');
  if (text[bindingEnd + 1] !== ',') return malformed('"," expected after the channel-binding flag');
  const bareAt = bindingEnd + 2;
  const bare = text.slice(bareAt);
  const attributes = bare.split(',');
  if (attributes[0]?.startsWith('m=') === true) return unsupported('mandatory extensions are not supported');
  const user = value(attributes, 0, 'n');
  const nonce = value(attributes, 1, 'r');
  // The name inside SCRAM is ignored, as PostgreSQL does: the startup packet has said who it is.
  if (user === undefined || user.includes('\0')) return malformed('attribute "n" expected');
  if (nonce === undefined || !printable.test(nonce)) return malformed('attribute "r" with a printable nonce expected');
  return (
    refuseExtensions(attributes.slice(2)) ?? {
      kind: 'client-first',
      binding,
      gs2Header: text.slice(0, bareAt),
      bare,
      nonce,
    }
  );
}

export function parseServerFirst(text: string, saltBytesMax: number): ServerFirst | Refusal {
  const attributes = text.split(',');
  if (attributes[0]?.startsWith('m=') === true) return unsupported('mandatory extensions are not supported');
  const nonce = value(attributes, 0, 'r');
  const salt = decodeBase64(value(attributes, 1, 's') ?? '', saltBytesMax);
  const iterations = value(attributes, 2, 'i');
  if (nonce === undefined || !printable.test(nonce)) return malformed('attribute "r" with a printable nonce expected');
  if (salt === undefined) return malformed('attribute "s" with a base64 salt expected');
  if (iterations === undefined || !iterationCount.test(iterations)) return malformed('attribute "i" above 0 expected');
  return refuseExtensions(attributes.slice(3)) ?? { kind: 'server-first', nonce, salt, iterations: Number(iterations) };
}

export function parseClientFinal(text: string): ClientFinal | Refusal {
  const attributes = text.split(',');
  const last = attributes.length - 1;
  const channelBinding = value(attributes, 0, 'c');
  const nonce = value(attributes, 1, 'r');
  const proof = value(attributes, last, 'p');
  if (channelBinding === undefined) return malformed('attribute "c" expected');
  if (nonce === undefined) return malformed('attribute "r" expected');
  if (proof === undefined) return malformed('attribute "p" expected at the end');
  const withoutProof = text.slice(0, text.length - 'p='.length - proof.length - 1);
  return (
    refuseExtensions(attributes.slice(2, last)) ?? {
      kind: 'client-final',
      channelBinding,
      nonce,
      withoutProof,
      proof,
    }
  );
}

export function parseServerFinal(text: string): ServerFinal | Refusal {
  const attributes = text.split(',');
  const error = value(attributes, 0, 'e');
  if (error !== undefined) return { kind: 'server-error', text: error.replace(/[^\x20-\x7e]/g, '?') };
  const signature = value(attributes, 0, 'v');
  if (signature === undefined) return malformed('attribute "v" expected');
  return refuseExtensions(attributes.slice(1)) ?? { kind: 'server-final', signature };
}

/** Strict: no white space, no URL alphabet, right padding, 1 to `bytesMax` bytes. */
export function decodeBase64(text: string, bytesMax: number): Buffer | undefined {
  if (text.length === 0 || text.length > Math.ceil(bytesMax / 3) * 4) return undefined;
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 0 || bytes.length > bytesMax) return undefined;
  return bytes.toString('base64') === text ? bytes : undefined;
}

function parseBindingFlag(text: string): ClientFirst['binding'] | undefined {
  if (text === 'n' || text === 'y') return { flag: text };
  return /^p=[A-Za-z0-9.-]+$/.test(text) ? { flag: 'p', type: text.slice(2) } : undefined;
}

function value(attributes: readonly string[], index: number, name: string): string | undefined {
  const attribute = attributes[index];
  return attribute?.startsWith(`${name}=`) === true ? attribute.slice(2) : undefined;
}

function refuseExtensions(attributes: readonly string[]): Refusal | undefined {
  for (const attribute of attributes) {
    if (attribute.startsWith('m=')) return unsupported('mandatory extensions are not supported');
    if (!extension.test(attribute)) return malformed('attribute expected');
  }
  return undefined;
}

function malformed(reason: string): Refusal {
  return { kind: 'malformed', reason: `malformed SCRAM message: ${reason}` };
}

function unsupported(reason: string): Refusal {
  return { kind: 'unsupported', reason };
}
