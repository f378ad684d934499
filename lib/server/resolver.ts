// Turns host names into addresses, for a limited time, so that a server that moved is found again.

import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Host } from '../config/index.js';
import { type Clock, PoolerError } from '../util/index.js';
import type { Address } from './target.js';

interface Entry {
  readonly addresses: readonly string[];
  readonly untilMs: number;
}

/** Names that may be cached: those of the configuration, and no client can add one. */
const namesMax = 10_000;

export type Lookup = (name: string) => Promise<readonly string[]>;

const systemLookup: Lookup = async (name) => {
  const found = await lookup(name, { all: true });
  return found.map((entry) => entry.address);
};

export class Resolver {
  readonly #clock: Clock;
  readonly #lookup: Lookup;
  readonly #entries = new Map<string, Entry>();
  /** How long an answer is used, in milliseconds. */
  ttlMs: number;

  constructor(clock: Clock, ttlMs: number, find: Lookup = systemLookup) {
    this.#clock = clock;
    this.ttlMs = ttlMs;
    this.#lookup = find;
  }

  /** Every address of the host. @throws PoolerError when the name is not known */
  async resolve(host: Host): Promise<readonly Address[]> {
    if (host.kind === 'unix') return [host];
    if (isIP(host.host) !== 0) return [{ kind: 'tcp', name: host.host, ip: host.host, port: host.port }];
    const addresses = await this.addresses(host.host);
    return addresses.map((ip) => ({ kind: 'tcp', name: host.host, ip, port: host.port }));
  }

  async addresses(name: string): Promise<readonly string[]> {
    const now = this.#clock.now();
    const known = this.#entries.get(name);
    if (known !== undefined && now < known.untilMs) return known.addresses;
    let addresses: readonly string[];
    try {
      addresses = await this.#lookup(name);
    } catch (cause) {
      throw new PoolerError(`could not translate host name "${name}" to address`, {
        sqlstate: '08001',
        hint: 'Check the host of the database entry and the name service of this machine.',
        cause,
      });
    }
    if (this.#entries.size >= namesMax) this.#entries.clear();
    this.#entries.set(name, { addresses, untilMs: now + this.ttlMs });
    return addresses;
  }

  /** For SHOW DNS_HOSTS. */
  *names(): Iterable<{ name: string; addresses: readonly string[]; ttlMs: number }> {
    const now = this.#clock.now();
    for (const [name, entry] of this.#entries) {
      yield { name, addresses: entry.addresses, ttlMs: Math.max(0, entry.untilMs - now) };
    }
  }
}
