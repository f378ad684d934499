// What the names of a client's portals, cursors and statements stand for: only an answer of the server's changes that.

import type { NamedQuery, StatementFacts } from '../sql/index.js';
import type { Decision } from './trail.js';

/** What a portal, a cursor or a prepared statement runs. */
export interface Named {
  /** As the client sent it. */
  readonly text: Buffer;
  readonly facts: StatementFacts;
  /** Of one that SQL has made: `text` then is of the message that made it. */
  readonly query: NamedQuery | undefined;
  /** JSON; undefined where none are recorded. */
  readonly parameters: Buffer | undefined;
  /** What the policy said when it was made. */
  readonly decision: Decision | undefined;
  /** It may have been something else that was bound. */
  readonly inDoubt: boolean;
  /** How often code that nobody sees had run when it was last sure what the name stands for. */
  hiddenRuns: number;
}

/** A prepared statement that may be bound. */
export type NamedText = Pick<Named, 'text' | 'facts' | 'query' | 'inDoubt'>;

/** A name that is to stand for something else, or for nothing, once the server has answered. */
export interface Naming {
  readonly names: Names;
  readonly key: string;
  readonly named: Named | undefined;
  /** The batch it was sent in. */
  readonly batch: number;
}

interface Slot {
  known: Named | undefined;
  /** The newest that has not been answered: answers come in order. */
  asked: Naming | undefined;
}

/** Bytes of one client's names, with their texts and parameters. */
const namesBytesMax = 16 * 1024 * 1024;
/** What a name takes beside those. */
const slotBytes = 256;
/** PostgreSQL looks at so many bytes of a name. */
const nameBytesMax = 63;

/** How much the names of one client take, those of portals and of statements together. */
export class NamesMemory {
  bytes = 0;

  /** @param bytes of a text and its parameters */
  hasRoom(bytes: number): boolean {
    return this.bytes + slotBytes + bytes <= namesBytesMax;
  }
}

/**
 * Portals and cursors share one such table, statements have another. Within a batch a name means what was asked last, since an
 * error has the server overlook the rest; beyond it nothing is known before the answer.
 */
export class Names {
  readonly #memory: NamesMemory;
  readonly #slots = new Map<string, Slot>();

  constructor(memory: NamesMemory) {
    this.#memory = memory;
  }

  /** Whether the name may come to stand for something else by answers to batches before this one. */
  isOpen(name: string, batch: number): boolean {
    const asked = this.#slots.get(keyOf(name))?.asked;
    return asked !== undefined && asked.batch !== batch;
  }

  /** What the name stands for in a batch. */
  find(name: string): Named | undefined {
    const slot = this.#slots.get(keyOf(name));
    return slot?.asked === undefined ? slot?.known : slot.asked.named;
  }

  /** A message that changes what the name stands for is sent; `took` or `refused` says what came of it. */
  ask(name: string, named: Named | undefined, batch: number): Naming {
    const key = keyOf(name);
    const naming = { names: this, key, named, batch };
    const slot = this.#slots.get(key);
    if (slot === undefined) this.#slots.set(key, { known: undefined, asked: naming });
    else slot.asked = naming;
    this.#memory.bytes += costOf(named);
    return naming;
  }

  took(naming: Naming): void {
    const slot = this.#slots.get(naming.key);
    if (slot === undefined) return;
    this.#memory.bytes -= costOf(slot.known);
    slot.known = naming.named;
    this.#answered(slot, naming);
  }

  refused(naming: Naming): void {
    this.#memory.bytes -= costOf(naming.named);
    const slot = this.#slots.get(naming.key);
    if (slot !== undefined) this.#answered(slot, naming);
  }

  #answered(slot: Slot, naming: Naming): void {
    if (slot.asked === naming) slot.asked = undefined;
    if (slot.known === undefined && slot.asked === undefined) this.#slots.delete(naming.key);
  }

  /** All are gone, or those that are not held: not what has been asked since. */
  end(which: 'all' | 'not held'): void {
    for (const [key, slot] of this.#slots) {
      if (slot.known === undefined || (which === 'not held' && slot.known.query?.held === true)) continue;
      this.#memory.bytes -= costOf(slot.known);
      slot.known = undefined;
      if (slot.asked === undefined) this.#slots.delete(key);
    }
  }
}

function costOf(named: Named | undefined): number {
  return named === undefined ? 0 : slotBytes + named.text.length + (named.parameters?.length ?? 0);
}

function keyOf(name: string): string {
  return name.length > nameBytesMax ? name.slice(0, nameBytesMax) : name;
}
