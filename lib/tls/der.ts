// A bounded reader of DER, just enough to find a certificate's signature algorithm. Never throws.

/** One element: tag, and where its contents begin and end in the bytes it was read from. */
export interface DerElement {
  readonly tag: number;
  readonly begin: number;
  readonly end: number;
}

export const derTag = { oid: 0x06, sequence: 0x30, contextConstructed0: 0xa0 } as const;

/** An OID of more bytes names no algorithm known here. */
const oidBytesMax = 32;

/** The element at `at`, which must end at or before `limit`; undefined if it is not definite-length DER. */
export function readDer(bytes: Buffer, at: number, limit: number): DerElement | undefined {
  if (at < 0 || limit > bytes.length || at + 2 > limit) return undefined;
  const tag = bytes[at] ?? 0;
  if ((tag & 0x1f) === 0x1f) return undefined;
  const first = bytes[at + 1] ?? 0;
  if (first < 0x80) return within(tag, at + 2, first, limit);
  const sizeBytes = first & 0x7f;
  if (sizeBytes === 0 || sizeBytes > 4 || at + 2 + sizeBytes > limit) return undefined;
  return within(tag, at + 2 + sizeBytes, bytes.readUIntBE(at + 2, sizeBytes), limit);
}

/** Dotted form of the OID element `oid`. */
export function readOid(bytes: Buffer, oid: DerElement): string | undefined {
  if (oid.tag !== derTag.oid || oid.end - oid.begin > oidBytesMax || oid.begin === oid.end) return undefined;
  const arcs: bigint[] = [];
  let arc = 0n;
  let open = false;
  for (const byte of bytes.subarray(oid.begin, oid.end)) {
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    open = (byte & 0x80) !== 0;
    if (open) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [head, ...rest] = arcs;
  if (open || head === undefined) return undefined;
  const top = head < 80n ? head / 40n : 2n;
  return [top, head - top * 40n, ...rest].join('.');
}

function within(tag: number, begin: number, size: number, limit: number): DerElement | undefined {
  return begin + size <= limit ? { tag, begin, end: begin + size } : undefined;
}
