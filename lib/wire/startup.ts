// The packets of the first phase, which have a length but no tag: startup, SSLRequest, GSSENCRequest, CancelRequest.

/** PostgreSQL's MAX_STARTUP_PACKET_LENGTH; longer ones are refused unread. */
export const startupBytesMax = 10_000;
/** PostgreSQL 18 accepts secrets of 4 to 256 bytes. */
export const cancelSecretBytesMax = 256;

const sslRequestCode = 80_877_103;
const gssEncRequestCode = 80_877_104;
const cancelRequestCode = 80_877_102;

export const protocolVersions = { oldest: { major: 3, minor: 0 }, newest: { major: 3, minor: 2 } } as const;

export type StartupPacket =
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gss' }
  | { readonly kind: 'cancel'; readonly pid: number; readonly secret: Buffer }
  | {
      readonly kind: 'startup';
      readonly major: number;
      readonly minor: number;
      /** In the order sent; values as latin1 so that every byte survives. */
      readonly parameters: ReadonlyMap<string, string>;
    }
  | { readonly kind: 'bad'; readonly reason: string };

/** Length of the first packet when its length word is here, `undefined` before; `-1` when it cannot be a packet. */
export function startupPacketLength(bytes: Buffer, from: number, to: number): number | undefined {
  if (to - from < 4) return undefined;
  const length = bytes.readInt32BE(from);
  return length < 8 || length > startupBytesMax ? -1 : length;
}

/** Decodes one complete packet. */
export function parseStartupPacket(bytes: Buffer, from: number, length: number): StartupPacket {
  const code = bytes.readInt32BE(from + 4);
  if (code === sslRequestCode) return length === 8 ? { kind: 'ssl' } : { kind: 'bad', reason: 'SSLRequest has a body' };
  if (code === gssEncRequestCode)
    return length === 8 ? { kind: 'gss' } : { kind: 'bad', reason: 'GSSENCRequest has a body' };
  if (code === cancelRequestCode) {
    const secretLength = length - 12;
    if (secretLength < 4 || secretLength > cancelSecretBytesMax)
      return { kind: 'bad', reason: 'cancel key of a wrong length' };
    return {
      kind: 'cancel',
      pid: bytes.readInt32BE(from + 8),
      secret: Buffer.from(bytes.subarray(from + 12, from + length)),
    };
  }
  const parameters = new Map<string, string>();
  // What another major version puts behind its number is its own affair.
  if (code >>> 16 !== protocolVersions.newest.major) {
    return { kind: 'startup', major: code >>> 16, minor: code & 0xffff, parameters };
  }
  let position = from + 8;
  const end = from + length;
  while (position < end) {
    const nameEnd = bytes.indexOf(0, position);
    if (nameEnd < 0 || nameEnd >= end) return { kind: 'bad', reason: 'startup parameter is not terminated' };
    if (nameEnd === position) {
      if (position !== end - 1) return { kind: 'bad', reason: 'bytes after the last startup parameter' };
      return { kind: 'startup', major: code >>> 16, minor: code & 0xffff, parameters };
    }
    const valueEnd = bytes.indexOf(0, nameEnd + 1);
    if (valueEnd < 0 || valueEnd >= end) return { kind: 'bad', reason: 'startup parameter has no value' };
    parameters.set(bytes.toString('latin1', position, nameEnd), bytes.toString('latin1', nameEnd + 1, valueEnd));
    position = valueEnd + 1;
  }
  return { kind: 'bad', reason: 'startup packet is not terminated' };
}

/** A startup packet. Names and values are latin1 strings. */
export function startupMessage(minor: number, parameters: Iterable<readonly [string, string]>): Buffer {
  const parts: string[] = [];
  for (const [name, value] of parameters) parts.push(name, '\0', value, '\0');
  parts.push('\0');
  const body = Buffer.from(parts.join(''), 'latin1');
  const packet = Buffer.allocUnsafe(8 + body.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE((3 << 16) | minor, 4);
  body.copy(packet, 8);
  return packet;
}

export function sslRequestMessage(): Buffer {
  const packet = Buffer.allocUnsafe(8);
  packet.writeInt32BE(8, 0);
  packet.writeInt32BE(sslRequestCode, 4);
  return packet;
}

export function cancelRequestMessage(pid: number, secret: Buffer): Buffer {
  const packet = Buffer.allocUnsafe(12 + secret.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(cancelRequestCode, 4);
  packet.writeInt32BE(pid, 8);
  secret.copy(packet, 12);
  return packet;
}
