// Where a client comes from: an address, a network, or the Unix socket.

import { BlockList, isIP } from 'node:net';
import type { Parsed } from './parsed.js';

export class Network {
  /** As written. */
  readonly text: string;
  /** null: the Unix socket. */
  readonly #addresses: BlockList | null;

  private constructor(text: string, addresses: BlockList | null) {
    this.text = text;
    this.#addresses = addresses;
  }

  static parse(text: string): Parsed<Network> {
    if (text === 'unix') return { ok: true, value: new Network(text, null) };
    const [address, bits, ...more] = text.split('/') as [string, ...string[]];
    const version = isIP(address);
    const bitsMax = version === 4 ? 32 : 128;
    const length = bits === undefined ? bitsMax : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
    if (version === 0 || address.includes('%') || more.length > 0 || !(length <= bitsMax)) return notANetwork;
    const addresses = new BlockList();
    addresses.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6');
    return { ok: true, value: new Network(text, addresses) };
  }

  /** @param address of the client; undefined: it came by the Unix socket. IPv4 in IPv6 (`::ffff:10.0.0.1`) is IPv4. */
  matches(address: string | undefined): boolean {
    if (address === undefined || this.#addresses === null) return address === undefined && this.#addresses === null;
    const bare = address.replace(/%.*$/, '');
    const version = isIP(bare);
    return version !== 0 && this.#addresses.check(bare, version === 4 ? 'ipv4' : 'ipv6');
  }
}

const notANetwork = {
  ok: false,
  message: 'neither an address nor a network',
  details: { allowed: 'such as 10.0.0.0/8, 192.168.1.7, fd00::/8, or unix' },
} as const;
