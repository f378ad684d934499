// A directory in memory whose files fail when they are told to, and a trail that writes there.

import { type AuditDirectory, type AuditFile, type AuditPolicy, AuditTrail } from '../../../lib/audit/index.js';
import type { Secret } from '../../../lib/util/index.js';
import { FakeClock } from '../../support/index.js';

export type Fault = 'write' | 'half a write' | 'sync' | 'create';

export class MemoryDirectory implements AuditDirectory {
  readonly files = new Map<string, Buffer>();
  /** What fails until it is taken back. */
  fault: Fault | undefined;
  /** Called before each sync: what it resolves, delays it. */
  beforeSync: () => Promise<void> = () => Promise.resolve();
  syncs = 0;

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  create(name: string): Promise<AuditFile> {
    if (this.fault === 'create' || this.fault === 'write') return Promise.reject(noSpace());
    if (this.files.has(name)) return Promise.reject(new Error(`${name} is there`));
    this.files.set(name, Buffer.alloc(0));
    return Promise.resolve({
      write: (bytes, start, end, position) => this.#write(name, bytes.subarray(start, end), position),
      sync: () => this.#sync(),
      close: () => Promise.resolve(),
    });
  }

  #write(name: string, bytes: Buffer, position: number): Promise<number> {
    if (this.fault === 'write') return Promise.reject(noSpace());
    const half = this.fault === 'half a write';
    const taken = half ? bytes.subarray(0, Math.floor(bytes.length / 2)) : bytes;
    const before = this.files.get(name) ?? Buffer.alloc(0);
    if (position > before.length) return Promise.reject(new Error('a gap'));
    this.files.set(name, Buffer.concat([before.subarray(0, position), taken]));
    return half ? Promise.reject(noSpace()) : Promise.resolve(taken.length);
  }

  async #sync(): Promise<void> {
    await this.beforeSync();
    this.syncs++;
    if (this.fault === 'sync') throw new Error('EIO: input/output error');
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  list(): Promise<{ name: string; modifiedMs: number }[]> {
    return Promise.resolve([...this.files.keys()].map((name) => ({ name, modifiedMs: 0 })));
  }

  async *read(name: string): AsyncIterable<Buffer> {
    const bytes = this.files.get(name) ?? Buffer.alloc(0);
    // In pieces that end anywhere.
    for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
  }

  remove(name: string): Promise<void> {
    this.files.delete(name);
    return Promise.resolve();
  }

  text(): string {
    return [...this.files.values()].map((bytes) => bytes.toString('utf8')).join('');
  }

  /** All records, each parsed: a line that is no JSON fails the test. */
  records(): Record<string, unknown>[] {
    return this.text()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((record) => 'seq' in record);
  }
}

function noSpace(): Error {
  return new Error('ENOSPC: no space left on device');
}

export const policy: AuditPolicy = {
  statements: new Set(['all']),
  rules: new Set(),
  mode: 'after',
  onFull: 'block',
  sql: 'full',
  parameters: 'none',
  userTag: 'user',
  flushMs: 1,
  queueBytesMax: 64 * 1024,
  limits: { segmentBytes: 1024 * 1024, segmentAgeMs: 0, keeping: { segments: 0, days: 0 } },
};

export interface Rig {
  readonly directory: MemoryDirectory;
  readonly trail: AuditTrail;
  readonly clock: FakeClock;
  readonly troubles: (string | undefined)[];
  /** Those it told. */
  readonly seals: string[];
}

export async function rig(
  changes: Partial<AuditPolicy> = {},
  directory = new MemoryDirectory(),
  clock = new FakeClock(1_700_000_000_000),
  key?: Secret,
): Promise<Rig> {
  const seals: string[] = [];
  const troubles: (string | undefined)[] = [];
  const trail = await AuditTrail.open({
    directory,
    clock,
    process: 0,
    policy: { ...policy, ...changes },
    onTrouble: (error) => troubles.push(error?.message),
    onSegment: () => {},
    onSeal: (_segment, seal) => seals.push(seal),
    key,
    onWarning: () => {},
    retryMs: 2,
  });
  return { directory, trail, clock, troubles, seals };
}

/** One record with a text in it. */
export function note(trail: AuditTrail, text: string): void {
  trail.loginRefused({ text });
}
